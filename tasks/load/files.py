"""Which files a table (or a query's snapshot) lies in, their columns and contents; never converts a value and never writes.

CSV is opened as text throughout (polars would rename a repeated header and pad short rows without a word), Parquet with
its types.
"""

import csv
import difflib
import glob
import gzip
import hashlib
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import polars as pl
from polars.exceptions import ComputeError, PolarsError

from params.data import DataParams
from params.errors import UserError
from tasks.load.snapshot import snapshot

SEPARATORS = {".csv": ",", ".csv.gz": ",", ".tsv": "\t", ".tsv.gz": "\t"}
SUFFIXES = (*SEPARATORS, ".parquet")
MOST_NAMED = 20
ABSENT = "\x1f"  # a separator that no text file holds: a whole line comes back as one field


@dataclass(frozen=True)
class Table:
    """One opened file: its name for messages, its lazy contents, its columns, and whether it is text throughout."""

    name: str
    rows: pl.LazyFrame
    columns: pl.Schema
    is_text: bool


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
            raise UserError(f"{file}: cannot tell what kind of table this is; it must end in one of {_listed(SUFFIXES)}")
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
        raise UserError(f"data.path {name}: the folder holds no table; it needs files ending in {_listed(SUFFIXES)}")
    return files


def source_digest(data: DataParams, root: Path) -> dict[str, Any]:
    """What the source is: `files` (names), `bytes` (sizes) and one `sha256` over names and contents; JSON-ready.

    Of a query: `env:NAME`, the size of its snapshot, and the sha256 over its text and rows.
    """
    files = find_files(data, root)
    if data.path is None:
        return {"files": [data.uri], "bytes": [files[0].stat().st_size], "sha256": snapshot(data).sha256}
    folder = os.path.commonpath([file.parent for file in files])
    names = [file.relative_to(folder).as_posix() for file in files]
    whole = hashlib.sha256()
    for name, file in zip(names, files, strict=True):
        try:
            with file.open("rb") as stream:
                whole.update(f"{name}\0{hashlib.file_digest(stream, 'sha256').hexdigest()}\n".encode())
        except OSError as error:
            raise _unreadable(file, error) from None
    return {"files": names, "bytes": [file.stat().st_size for file in files], "sha256": whole.hexdigest()}


def open_tables(data: DataParams, root: Path) -> list[Table]:
    """Every file of the source, opened lazily.  Raises UserError where one cannot be read or has other columns than another."""
    tables = [_open(file) for file in find_files(data, root)]
    if data.path is None:
        return [replace(tables[0], name=data.where)]
    first = tables[0]
    for table in tables[1:]:
        differ = sorted(set(first.columns) ^ set(table.columns))
        if differ:
            raise UserError(
                f"{table.name}: its columns are not those of {first.name} (only one of them has {_listed(differ)}); "
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
    raise UserError(f"{table.name}: there is no column {name!r} ({key}); columns found: {_listed(found)}{hint}")


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


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(repr(name)[1:-1] or "(empty)" for name in names[:MOST_NAMED]) + more  # repr: nothing acts on a terminal


def _unreadable(file: Path, error: Exception) -> UserError:
    reason = str(error).strip().split("\n")[0] or type(error).__name__
    return UserError(f"{file}: this file cannot be read ({reason}); is it complete, and of the kind that its name says?")


def _open(file: Path) -> Table:
    try:
        if file.stat().st_size == 0:
            raise UserError(f"{file}: the file is empty (0 bytes); give a table with a header and rows")
        suffix = _suffix(file)
        if suffix in SEPARATORS:
            return _open_text(file, SEPARATORS[suffix])
        rows = pl.scan_parquet(file, glob=False)
        return Table(str(file), rows, rows.collect_schema(), is_text=False)
    except (PolarsError, OSError, EOFError, UnicodeDecodeError, csv.Error, zlib.error) as error:
        raise _unreadable(file, error) from None


def _open_text(file: Path, separator: str) -> Table:
    with _as_text(file) as stream:
        header = next((row for row in csv.reader(stream, delimiter=separator) if row), [])
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        raise UserError(f"{file}: the header names {_listed(repeated)} more than once; rename or remove the others")
    _refuse_ragged(file, separator, len(header))
    rows = pl.scan_csv(file, separator=separator, infer_schema=False, glob=False)
    written = rows.filter(~pl.all_horizontal(pl.all().is_null()))  # a blank line comes back as a row of nulls
    return Table(str(file), written, rows.collect_schema(), is_text=True)


def _as_text(file: Path) -> IO[str]:
    if file.name.lower().endswith(".gz"):
        return gzip.open(file, "rt", encoding="utf-8-sig", newline="")
    return file.open(encoding="utf-8-sig", newline="")


def _refuse_ragged(file: Path, separator: str, width: int) -> None:
    """Raises UserError, naming the line, where a row has more or fewer fields than the header; blank lines are passed over."""
    lines = pl.scan_csv(
        file, separator=ABSENT, has_header=False, quote_char=None, infer_schema=False, glob=False,
        schema={"line": pl.String}, row_index_name="number", row_index_offset=1,
    )  # fmt: skip
    line = pl.col("line")
    uneven = (line.str.count_matches(separator, literal=True) != width - 1) & (line.str.strip_chars("\r") != "")
    quoted, number = (
        lines.select(line.str.contains('"', literal=True).any(), pl.col("number").filter(uneven).min().alias("first"))
        .collect()
        .row(0)
    )
    if quoted:  # separators and line ends may stand inside quotes: only a CSV reader can tell
        number = None
        with _as_text(file) as stream:
            reader = csv.reader(stream, delimiter=separator)
            number = next((reader.line_num for row in reader if row and len(row) != width), None)
    if number is not None:
        raise UserError(f"{file}:{number}: this row does not have the {width} fields of the header; mend or remove it")
