"""Checkpoints of a running fit, one file an epoch, sealed by a hash; never unpickles code, never leaves half a file visible."""

import hashlib
import io
import os
from pathlib import Path
from typing import Any

import torch

KEEP = 2


def write_bytes(path: Path, content: bytes) -> None:
    """Writes beside, flushes to disk, then renames."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def save(folder: Path, epoch: int, state: dict[str, Any]) -> None:
    """Writes the state after an epoch and removes all but the newest `KEEP` files."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    write_bytes(folder / f"epoch-{epoch:05d}-{hashlib.sha256(content).hexdigest()[:16]}.pt", content)
    for old in _newest_first(folder)[KEEP:]:
        old.unlink(missing_ok=True)


def load_newest(folder: Path, device: str | torch.device = "cpu") -> dict[str, Any] | None:
    """The newest state whose content matches the hash in its name; None where there is none.  A damaged file is passed over."""
    for path in _newest_first(folder):
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest()[:16] == path.stem.rsplit("-", 1)[-1]:
            state: dict[str, Any] = torch.load(io.BytesIO(content), map_location=device, weights_only=True)
            return state
    return None


def clear(folder: Path) -> None:
    """Removes every checkpoint of a fit that is done."""
    for path in _newest_first(folder):
        path.unlink(missing_ok=True)


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("epoch-*.pt"), reverse=True)
