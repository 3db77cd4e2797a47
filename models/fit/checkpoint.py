"""Checkpoints of a running fit, verified by hash; never unpickles code, never leaves half a file visible."""

import contextlib
import errno
import hashlib
import io
import os
import re
import warnings
from pathlib import Path
from typing import TypedDict

import torch
from torch import Tensor
from torch.optim.optimizer import StateDict

from models.fit.settings import Epoch

KEEP = 2
NAME = re.compile(r"step-\d{9,}-\d{5,}-[0-9a-f]{16}\.pt", re.ASCII)
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Best(TypedDict):
    """The epoch that a fit would end with; for a refit the last one, without a score."""

    epoch: int
    val_mae: float | None
    score: float
    weights: dict[str, Tensor] | None


class State(TypedDict):
    """Everything that the rest of a fit depends on."""

    steps: int
    weights: dict[str, Tensor]
    average: list[Tensor]
    optimizer: StateDict
    generators: dict[str, Tensor]
    losses: Tensor
    history: list[Epoch]
    best: Best
    seconds: float
    parts: int


class StorageFull(OSError):
    """The disk is full, or a quota or limit is reached."""


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Writes a temporary file, flushes and renames it; nothing partial stays.  Raises StorageFull."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        if error.errno in NO_SPACE:
            raise StorageFull(error.errno, f"no room for {path.name} ({error.strerror})", str(path.parent)) from error
        raise


def save(folder: Path, step: int, epoch: int, state: State) -> None:
    """Writes the state after `step` steps and `epoch` whole epochs; keeps only the newest `KEEP` files."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    keep(folder, f"step-{step:09d}-{epoch:05d}-{_seal(content)}.pt", content)


def keep(folder: Path, name: str, content: bytes) -> None:
    """Puts a checkpoint in place atomically and removes all but the newest `KEEP`.

    Raises StorageFull, and ValueError if the name is not a checkpoint's or does not match the content.
    """
    if not NAME.fullmatch(name) or _seal(content) != Path(name).stem.rsplit("-", 1)[-1]:
        raise ValueError(f"{name} is not the checkpoint that it is named")
    write_bytes(folder / name, content)
    for old in newest_first(folder)[KEEP:]:
        old.unlink(missing_ok=True)


def load_newest(folder: Path) -> State | None:
    """The newest state whose content matches the hash in its name, on the CPU; None if there is none.

    A damaged one is renamed to `*.damaged` with a warning, and the one before it is used.
    """
    for partial in folder.glob(".*.partial"):  # left by a process killed while writing
        partial.unlink(missing_ok=True)
    for path in newest_first(folder):
        content = path.read_bytes()
        if _seal(content) == path.stem.rsplit("-", 1)[-1]:
            state: State = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
            return state
        aside = path.with_suffix(".damaged")
        os.replace(path, aside)
        warnings.warn(f"the checkpoint {path.name} is damaged and was set aside as {aside.name}", stacklevel=2)
    return None


def clear(folder: Path) -> None:
    """Removes every checkpoint of a finished fit."""
    for path in (*newest_first(folder), *folder.glob("step-*.damaged")):
        path.unlink(missing_ok=True)


def _seal(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def newest_first(folder: Path) -> list[Path]:
    """The checkpoints in a folder, newest first."""
    return sorted(folder.glob("step-*.pt"), reverse=True)
