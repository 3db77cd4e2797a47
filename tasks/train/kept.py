"""Verifies the files in a fit's folder before they are used again; moves damaged ones aside.

A link, pipe, device or folder in place of a file is never read or written: no fit creates one.
"""

import json
import os
import shutil
import stat
from pathlib import Path

import torch

from models.fit.job import read_result, weights_hash
from models.fit.settings import Result
from models.worker import Evaluated

UNREADABLE = (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError)


def own_folder(folder: Path) -> list[str]:
    """Creates a fit's folder if missing; moves aside, and names, what is not a folder or regular file."""
    gone = [folder.name[:16]] if folder.is_symlink() or (folder.exists() and not folder.is_dir()) else []
    if gone:
        _put_aside(folder)
    folder.mkdir(parents=True, exist_ok=True)
    foreign = [path for path in folder.iterdir() if not stat.S_ISREG(path.lstat().st_mode) and path.suffix != ".damaged"]
    for path in foreign:
        _put_aside(path)
    return [*gone, *(path.name for path in foreign)]


def put_damaged_aside(folder: Path) -> list[str]:
    """Moves damaged files of a fit aside, so that it trains or forecasts again; returns their names."""
    bad = [name for name in ("job.json", "result.json") if (folder / name).exists() and not _is_json(folder / name)]
    if "result.json" not in bad:
        bad += _damaged_results(folder)
    if not bad and (folder / "evaluation.json").exists() and Evaluated.read(folder) is None:
        bad.append("evaluation.json")
    for name in bad:
        _put_aside(folder / name)
    return bad


def emptied(folder: Path) -> None:
    """Removes everything in a fit's folder except its job."""
    for old in folder.iterdir():
        if old.name != "job.json":
            _remove(old)


def _is_json(path: Path) -> bool:
    try:
        return isinstance(json.loads(path.read_bytes()), dict)
    except UNREADABLE:
        return False


def _damaged_results(folder: Path) -> list[str]:
    """The damaged files of a fit that ended well: an invalid result, or weights with another hash."""
    if not (folder / "result.json").exists():
        return []
    try:
        result = read_result(folder)
        if not _is_whole(result):
            return ["result.json"]
    except UNREADABLE:
        return ["result.json"]
    if not result.finished or not (folder / "weights.pt").exists():
        return []
    try:
        weights = torch.load(folder / "weights.pt", map_location="cpu", weights_only=True)
        digest = weights_hash(weights, result.forecasts)
    except Exception:  # whatever torch raises for a damaged archive
        digest = ""
    return [] if digest == result.weights else ["weights.pt", "result.json"]


def _is_whole(result: Result) -> bool:
    """Whether a result's fields have the right types."""
    rows = isinstance(result.history, list) and all(isinstance(row, dict) and "epoch" in row for row in result.history)
    counts = (result.best_epoch, result.steps, result.parts, result.epoch_steps, result.num_parameters)
    numbers = (result.train_seconds, result.windows_per_second, result.val_mae or 0.0)
    return rows and all(isinstance(value, int) for value in counts) and all(isinstance(value, int | float) for value in numbers)


def _put_aside(path: Path) -> None:
    """Renames a file or folder that may be worth a look; removes a link or a pipe, without following it."""
    if not (path.is_symlink() or path.is_file() or path.is_dir()) or path.is_symlink():
        path.unlink()
        return
    aside = path.with_name(f"{path.name}.damaged")
    _remove(aside)
    os.replace(path, aside)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
