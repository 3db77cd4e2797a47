"""Writes the lag table to Parquet or CSV part by part, in constant memory."""

import mmap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from models.data.panel import Panel
from models.data.window import WindowParams
from tasks.files import placed
from tasks.grid.frequency import Frequency
from tasks.lags.rows import table_rows
from tasks.lags.table import Edges, lag_table, table_part, table_reach

PART = 32 << 20  # bytes of the table made at a time, unless a window is longer
LEAST = 1024  # rows


class Written(NamedTuple):
    """The size of a written table."""

    rows: int
    columns: int


def write_lag_table(
    panel: Panel,
    params: WindowParams,
    out: Path,
    edges: Edges = "keep",
    rolling: Sequence[int] = (),
    part: int | None = None,
    report: Callable[[int, int], None] = lambda done, rows: None,
) -> Written:
    """Writes the lag table as CSV or Parquet (by the suffix of `out`), atomically and in constant memory.

    `part`: rows made at a time, by default according to their width.  `report` is called after each part with
    the number of rows done and of all rows (edges kept).
    """
    rows, instants = table_rows(panel), Frequency.of(panel.facts).instants(pl.col("ds"))
    first = _arrow(table_part(panel, params, edges, rolling, 0, 0))
    text = [column.name for column in first.schema if pa.types.is_large_string(column.type)]
    written = 0

    def writer_of(path: Path) -> pq.ParquetWriter | pc.CSVWriter:
        if out.suffix.lower() == ".csv":
            return pc.CSVWriter(path, first.schema)
        # no dictionary for numbers: it does not pay for lags of real values, and takes four times as long
        return pq.ParquetWriter(path, first.schema, compression="zstd", use_dictionary=text)

    with placed(out) as partial, writer_of(partial) as writer:
        for start, stop in _parts(rows, part or _part(len(first.schema), params, rolling)):
            made = table_part(panel, params, edges, rolling, start, stop)
            table = _arrow(made.with_columns(ds=instants))
            if len(table):
                writer.write_table(table)
            written += len(table)
            report(stop, rows)
            _release(panel)
    return Written(written, len(first.schema))


def whole_table(panel: Panel, params: WindowParams, edges: Edges = "keep", rolling: Sequence[int] = ()) -> pl.DataFrame:
    """The lag table in memory, its times as they are written."""
    return lag_table(panel, params, edges, rolling).with_columns(ds=Frequency.of(panel.facts).instants(pl.col("ds")))


def _part(columns: int, params: WindowParams, rolling: Sequence[int]) -> int:
    """Rows to make at a time; at least those that adjacent parts read twice."""
    return max(PART // (4 * columns), sum(table_reach(params, rolling)), LEAST)


def _parts(rows: int, part: int) -> Iterator[tuple[int, int]]:
    return ((start, min(start + part, rows)) for start in range(0, rows, part))


def _arrow(table: pl.DataFrame) -> pa.Table:
    return table.to_arrow(compat_level=pl.CompatLevel.oldest())


def _release(panel: Panel) -> None:
    """Releases the panel's pages read so far, which count as this process's memory."""
    for array in (panel.target, panel.values, panel.times):
        if isinstance(array.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            array.base.madvise(mmap.MADV_DONTNEED)
