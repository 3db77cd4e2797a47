"""Which files a table (or a query's snapshot) lies in, their columns and contents.

CSV is opened as text throughout, Parquet with its types.
"""

import csv
import difflib
import glob
import hashlib
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl
from polars.exceptions import ComputeError, PolarsError

from params.data import DataParams
from params.errors import UserError
from tasks.load.snapshot import snapshot
from tasks.load.text import listed, read_through

SEPARATORS = {".csv": ",", ".csv.gz": ",", ".tsv": "\t", ".tsv.gz": "\t"}
SUFFIXES = (*SEPARATORS, ".parquet")


@dataclass(frozen=True)
class Table:
    """One opened file: its name for messages, where it lies, its lazy contents, its columns.

    `sha256` of its bytes, where all of them were read to open it.
    """

    name: str
    file: Path
    rows: pl.LazyFrame
    columns: pl.Schema
    sha256: str | None = None


@dataclass(frozen=True)
class Digest:
    """What a source is: the names and sizes in bytes of its files, and one sha256 over names and contents.

    Of a query: `env:NAME`, the size of its snapshot, and the sha256 over its text and rows.
    """

    files: tuple[str, ...]
    bytes: tuple[int, ...]
    sha256: str


def find_files(data: DataParams, root: Path) -> list[Path]:
    """The files that `data.path` names, sorted: itself, the tables in a folder, or what a glob matches.

    A relative path counts from `root`, or from the working folder where it exists only there.  A query has the file
    of its snapshot.  Raises UserError.
    """
    if data.path is None:
        return [snapshot(data).file]
    try:
        files = _files_below(root, data.path) or _files_below(Path.cwd(), data.path)
    except OSError as error:
        raise UserError(f"data.path {data.path[:200]}: cannot be looked up ({error.strerror}); correct it") from None
    if not files:
        what = "no file matches this pattern" if glob.has_magic(data.path) else "there is no such file or folder"
        raise UserError(f"data.path {data.path}: {what}; a relative path counts from {root}")
    for file in files:
        if not _suffix(file):
            raise UserError(f"{file}: cannot tell what kind of table this is; it must end in one of {listed(SUFFIXES)}")
    return files


def _files_below(base: Path, name: str) -> list[Path]:
    path = base / name
    if path.is_file():
        return [path]
    if not path.is_dir():
        found = (base / match for match in glob.glob(name, root_dir=base, recursive=True))  # noqa: PTH207 - it takes absolute patterns
        return sorted(file for file in found if file.is_file())
    files = sorted(p for p in path.iterdir() if p.is_file() and _suffix(p) and not p.name.startswith((".", "_")))
    if not files:
        raise UserError(f"data.path {name}: the folder holds no table; it needs files ending in {listed(SUFFIXES)}")
    return files


def source_digest(data: DataParams, tables: Sequence[Table]) -> Digest:
    """The digest of opened tables; reads those again whose bytes are not hashed yet.  Raises UserError where it cannot."""
    sizes = tuple(table.file.stat().st_size for table in tables)
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
        raise _unreadable(file, error) from None


def open_tables(data: DataParams, root: Path) -> tuple[Table, ...]:
    """Every file of the source, opened lazily; a CSV file is read once from end to end.

    Raises UserError where one cannot be read or has other columns than another.
    """
    tables = tuple(_open(file) for file in find_files(data, root))
    if data.path is None:
        return (replace(tables[0], name=data.where),)
    first = tables[0]
    for table in tables[1:]:
        differ = sorted(set(first.columns) ^ set(table.columns))
        if differ:
            raise UserError(
                f"{table.name}: its columns are not those of {first.name} (only one of them has {listed(differ)}); "
                "give files with the same columns, or name fewer files in data.path"
            )
    return tables


def require_column(table: Table, name: str, key: str) -> None:
    """Raises UserError, with the columns found and the nearest one, where a table lacks a column that `key` names."""
    if name in table.columns:
        return
    found = list(table.columns)
    hint = did_you_mean(name, found)
    if len(found) == 1 and any(mark in found[0] for mark in ";\t|"):
        hint = " (the header is one field: separate the columns by commas, or tabs in a .tsv file)"
    raise UserError(f"{table.name}: there is no column {name!r} ({key}); columns found: {listed(found)}{hint}")


def collect(rows: pl.LazyFrame, name: str) -> pl.DataFrame:
    """The rows of a query over `name`, streamed.  Raises UserError where a file turns out to be damaged."""
    try:
        return rows.collect(engine="streaming")
    except (ComputeError, OSError) as error:
        reason = (str(error).strip().split("\n")[0] or type(error).__name__)[:200]
        raise UserError(f"{name}: this table cannot be read to its end ({reason}); is it complete?") from None


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """A hint at the known name nearest to a mistaken one, or nothing."""
    lower = {k.lower(): k for k in known}
    close = difflib.get_close_matches(name.lower(), lower, n=1)
    return f"; did you mean {lower[close[0]]!r}?" if close else ""


def _suffix(file: Path) -> str | None:
    name = file.name.lower()
    return next((suffix for suffix in SUFFIXES if name.endswith(suffix)), None)


def _unreadable(file: Path, error: Exception) -> UserError:
    reason = str(error).strip().split("\n")[0] or type(error).__name__
    return UserError(f"{file}: this file cannot be read ({reason}); is it complete, and of the kind that its name says?")


def _open(file: Path) -> Table:
    try:
        if file.stat().st_size == 0:
            raise UserError(f"{file}: the file is empty (0 bytes); give a table with a header and rows")
        suffix = _suffix(file)
        if suffix not in SEPARATORS:
            rows = pl.scan_parquet(file, glob=False)
            return Table(str(file), file, rows, rows.collect_schema())
        sha256 = read_through(file, SEPARATORS[suffix])
        rows = pl.scan_csv(file, separator=SEPARATORS[suffix], infer_schema=False, glob=False)
        written = rows.filter(~pl.all_horizontal(pl.all().is_null()))  # a blank line comes back as a row of nulls
        return Table(str(file), file, written, rows.collect_schema(), sha256)
    except (PolarsError, OSError, EOFError, UnicodeDecodeError, csv.Error, zlib.error) as error:
        raise _unreadable(file, error) from None
