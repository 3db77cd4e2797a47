"""An open file of a table (or a query's snapshot): its columns and rows, and the digest of a source."""

import difflib
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from polars.exceptions import ComputeError

from params.data import CsvParams, DataParams
from params.errors import UserError
from tasks.load.numbers import PLAIN
from tasks.load.snapshot import snapshot
from tasks.load.text import listed

os.environ.setdefault("POLARS_ROW_GROUP_PREFETCH_SIZE", "1")  # more holds half a gigabyte


@dataclass(frozen=True)
class Table:
    """One open file: its name in messages, its path, its lazy rows, its columns.

    `bytes`: its size; `sha256`: if opening read it all; `csv`: the number format of a text table.
    """

    name: str
    file: Path
    rows: pl.LazyFrame
    columns: pl.Schema
    bytes: int
    sha256: str | None = None
    csv: CsvParams = PLAIN


@dataclass(frozen=True)
class Digest:
    """The digest of a source: names and sizes (bytes) of its files, one sha256 over names and contents.

    For a query: `env:NAME`, the size of its snapshot, and the sha256 over its text and rows.
    """

    files: tuple[str, ...]
    bytes: tuple[int, ...]
    sha256: str


def source_digest(data: DataParams, tables: Sequence[Table]) -> Digest:
    """The digest of open tables; hashes those not hashed yet.  Raises UserError if unreadable."""
    sizes = tuple(table.bytes for table in tables)
    if data.path is None:
        return Digest((str(data.uri),), sizes, snapshot(data).sha256)
    folder = os.path.commonpath([table.file.parent for table in tables])
    names = tuple(table.file.relative_to(folder).as_posix() for table in tables)
    whole = hashlib.sha256()
    for name, table in zip(names, tables, strict=True):
        whole.update(f"{name}\0{table.sha256 or _file_digest(table.file)}\n".encode())
    return Digest(names, sizes, whole.hexdigest())


def _file_digest(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise unreadable(file, error) from None


def require_column(table: Table, name: str, key: str) -> None:
    """Raises UserError, listing the columns and the nearest, if a table lacks the one that `key` names."""
    if name in table.columns:
        return
    columns = list(table.columns)
    hint = did_you_mean(name, columns)
    if len(columns) == 1 and any(mark in columns[0] for mark in ";\t|"):
        hint = " (the header is one field: separate the columns by commas, or tabs in a .tsv file)"
    raise UserError(f"{table.name}: there is no column {name!r} ({key}); columns found: {listed(columns)}{hint}")


def collect(rows: pl.LazyFrame, name: str) -> pl.DataFrame:
    """The rows of a query over `name`, streamed.  Raises UserError if a file turns out to be damaged."""
    try:
        return rows.collect(engine="streaming")
    except (ComputeError, OSError) as error:
        reason = (str(error).strip().split("\n")[0] or type(error).__name__)[:200]
        raise UserError(f"{name}: this table cannot be read to its end ({reason}); is it complete?") from None


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """A hint at the known name nearest to a mistaken one, or an empty string."""
    lower = {k.lower(): k for k in known}
    close = difflib.get_close_matches(name.lower(), lower, n=1)
    return f"; did you mean {lower[close[0]]!r}?" if close else ""


def unreadable(file: Path, error: Exception) -> UserError:
    """The error for a file that is damaged, or not what its name says."""
    reason = str(error).strip().split("\n")[0] or type(error).__name__
    return UserError(f"{file}: this file cannot be read ({reason}); is it complete, and of the kind that its name says?")
