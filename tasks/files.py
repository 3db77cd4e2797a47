"""File handling: the root of this checkout, and atomic writes of files and folders."""

import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from params.errors import UserError

if TYPE_CHECKING:
    import polars as pl

ROOT = Path(__file__).resolve().parents[1]
TABLES = (".csv", ".parquet")  # formats in which a table is written, by file name suffix
RUN_FILES = (".yaml", ".yml")
PICTURES = (".html", ".png")
NOT_ORDINARY = "that is no ordinary file"


@contextmanager
def placed(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """Yields a temporary path next to `path`, renamed to `path` if the block succeeds, else removed.

    It keeps the suffix of `path`.  A link is followed and its target replaced.  `durable`: fsynced before the
    rename.  A folder replaces nothing or an empty folder.  Raises OSError as writing does, and if `path` is a
    device, a pipe or a socket.
    """
    path = _followed(path)
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise FileExistsError(errno.EEXIST, NOT_ORDINARY, str(path))
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


def _followed(path: Path) -> Path:
    """The target of a link.  Raises OSError for a link that leads to itself."""
    if not path.is_symlink():
        return path
    target = Path(os.path.realpath(path))
    if target.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    return target


def unwritable(path: Path, endings: Sequence[str] = ()) -> str | None:
    """Why no file with one of these `endings` can be written at `path`, and what to do; None if it can.
    Found by trying."""
    fits = not endings or path.suffix.lower() in endings
    try:
        path = _followed(path)
        folder = path.absolute().parent
        if not folder.is_dir():
            return f"there is no folder {folder}; make it first"
        if path.is_dir():
            return f"that is a folder; name a file in it, such as {path / f'forecasts{(endings or TABLES)[-1]}'}"
        if path.exists() and not path.is_file():
            return f"{NOT_ORDINARY}; name another"
        if not fits:
            return f"it must end in {' or '.join(endings)}, which says how it is written"
        partial = _beside(path)
        partial.touch(mode=0o600, exist_ok=False)
        partial.unlink()
    except (OSError, ValueError) as error:
        return f"cannot be written ({getattr(error, 'strerror', None) or error}); name a file in a folder that you may write"
    return None


def require_writable(option: str, path: Path, endings: Sequence[str] = ()) -> Path:
    """The path that an option names.  Raises UserError if no such file can be written."""
    if (why := unwritable(path, endings)) is not None:
        raise UserError(f"{option} {path}: {why}")
    return path


def write_parquet(frame: "pl.DataFrame", path: Path) -> None:
    """Writes a frame to `path` atomically."""
    with placed(path) as partial:
        frame.write_parquet(partial)


def write_table(frame: "pl.DataFrame", path: Path) -> None:
    """Writes a frame atomically, as CSV or Parquet by suffix; times in a CSV as 2024-01-31 05:00:00."""
    with placed(path) as partial:
        if path.suffix.lower() == ".csv":
            zoned = {name: dtype.time_zone for name, dtype in frame.schema.items() if hasattr(dtype, "time_zone")}
            # columns are aliased, since polars reads a name like ^...$ as a pattern
            form, plain = "%Y-%m-%d %H:%M:%S%.f", {name: frame[name].alias("times") for name in zoned}
            times = [plain[name].dt.strftime(form + ("%:z" if zone else "")).alias(name) for name, zone in zoned.items()]
            frame.with_columns(times).write_csv(partial)
        else:
            frame.write_parquet(partial)


def spread(count: int, most: int) -> list[int]:
    """At most `most` of the numbers 0 .. count - 1, each once, evenly spread from first to last."""
    import numpy as np  # not for the state folder and the locks, which import this module

    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int)).tolist() if count > 0 else []
