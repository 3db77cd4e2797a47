"""Files: where this checkout lies, and how a file or folder is put in place whole."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

ROOT = Path(__file__).resolve().parents[1]


@contextmanager
def placed(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """A path beside `path` to write a file or a folder to; renamed to `path` where the block ends well, else removed.

    It keeps the suffix of `path`.  `durable`: flushed to the disk before it is renamed.  A folder takes the place of
    none or of an empty one.  Raises OSError as writing does.
    """
    partial = _beside(path)
    try:
        yield partial
        if durable:
            descriptor = os.open(partial, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        os.replace(partial, path)
    except BaseException:
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        with suppress(OSError):
            partial.unlink()
        raise


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.stem}.{os.getpid()}-{os.urandom(4).hex()}.partial{path.suffix}")


def unwritable(path: Path) -> str | None:
    """Why no file can be put in place at `path`, and what to do, in words; None where one can.  Found by trying."""
    folder = path.absolute().parent
    try:
        if not folder.is_dir():
            return f"there is no folder {folder}; make it first"
        if path.is_dir():
            return f"that is a folder; name a file in it, such as {path / 'forecasts.parquet'}"
        if path.exists() and not path.is_file():
            return "that is no ordinary file; name another"
        partial = _beside(path)
        partial.touch(mode=0o600, exist_ok=False)
        partial.unlink()
    except (OSError, ValueError) as error:
        return f"cannot be written ({getattr(error, 'strerror', None) or error}); name a file in a folder that you may write"
    return None


def write_parquet(frame: "pl.DataFrame", path: Path) -> None:
    """Writes a frame in place of `path`, whole or not at all."""
    with placed(path) as partial:
        frame.write_parquet(partial)


def spread(count: int, most: int) -> list[int]:
    """At most `most` of the numbers 0 .. count - 1, evenly spread from the first to the last, each once; none of none."""
    import numpy as np  # the state folder and the locks need none of it

    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int)).tolist() if count > 0 else []
