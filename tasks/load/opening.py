"""Opens the files of a source: CSV as text throughout, Parquet with its dtypes; skips files without rows."""

import zlib
from csv import Error
from dataclasses import replace
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from params.data import CsvParams, DataParams
from params.errors import UserError
from tasks.load.delta import open_delta
from tasks.load.files import Table, collect, unreadable
from tasks.load.find import find_files
from tasks.load.kinds import ARROW, TEXTS, is_delta, suffix_of
from tasks.load.numbers import PLAIN
from tasks.load.remote import named
from tasks.load.text import read_through, separator_of
from tasks.load.unite import aligned, partitioned


def open_tables(data: DataParams, root: Path) -> tuple[Table, ...]:
    """Every file of the source with rows, opened lazily, with one dtype per column; CSV files are read once.

    Raises UserError if a file cannot be read or its columns differ from the others'.
    """
    csv = data.csv or PLAIN
    tables = [_open(file, csv) for file in find_files(data, root)]
    if data.path is None:
        return (replace(tables[0], name=data.where),)
    if len(tables) > 1:
        tables = [table for table in tables if not _is_empty(table)] or tables[:1]
    return aligned(partitioned(tables))


def _is_empty(table: Table) -> bool:
    """Whether a file has no rows, so that the dtypes of its columns mean nothing."""
    return not table.columns or collect(table.rows.head(1), table.name).is_empty()


def _open(file: Path, csv: CsvParams) -> Table:
    name = named(str(file))
    try:
        if is_delta(file):
            return open_delta(file, name)
        size = file.stat().st_size
        if not size:
            raise UserError(f"{file}: the file is empty (0 bytes); give a table with a header and rows")
        suffix = suffix_of(file)
        if suffix not in TEXTS:
            rows = _arrow(file) if suffix in ARROW else pl.scan_parquet(file, glob=False, hive_partitioning=False)
            return Table(name, file, rows, rows.collect_schema(), size, csv=csv)
        text = read_through(file, csv)
        rows = pl.scan_csv(
            text.utf8, separator=separator_of(file, csv), skip_lines=csv.skip, infer_schema=False, glob=False,
            with_column_names=lambda _: list(text.header),  # polars does not unescape doubled quotes in names
        )  # fmt: skip
        written = rows.filter(~pl.all_horizontal(pl.all().is_null()))  # polars reads a blank line as nulls
        return Table(name, file, written, rows.collect_schema(), size, text.sha256, csv)
    except (PolarsError, OSError, EOFError, UnicodeDecodeError, Error, zlib.error) as error:
        raise unreadable(file, error) from None


def _arrow(file: Path) -> pl.LazyFrame:
    """An Arrow (or Feather) file, or an Arrow stream, which has no index and is read whole."""
    with file.open("rb") as start:
        indexed = start.read(6) == b"ARROW1"
    return pl.scan_ipc(file, glob=False, hive_partitioning=False) if indexed else pl.read_ipc_stream(file).lazy()
