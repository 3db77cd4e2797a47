"""A user's table, opened once per command, as a lazy long frame: unique_id, ds, y, features.

`ds` is UTC, local time or an integer.  Nothing is sorted or filled here.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl
from prefect import task
from prefect.cache_policies import NO_CACHE

from params.data import DataParams
from params.errors import UserError
from params.schema import RunParams
from params.shown import discreet
from tasks.files import ROOT
from tasks.grid.frequency import Frequency
from tasks.grid.holidays import holidays_of
from tasks.load.cells import values_of
from tasks.load.clock import Clock, clock_of
from tasks.load.files import Digest, Table, require_column, source_digest
from tasks.load.find import find_files
from tasks.load.ids import series_name
from tasks.load.opening import open_tables
from tasks.load.recognise import open_alike, open_recognised, what_to_write
from tasks.load.remote import forget as forget_mirror
from tasks.load.remote import is_here, named
from tasks.load.snapshot import forget
from tasks.load.tail import tail_of, without_tail
from tasks.names import column

LongFrame = pl.LazyFrame  # unique_id, ds, y and features
KEYS = ("unique_id", "ds")


@dataclass(frozen=True)
class Source:
    """An open table: the params that give its columns' roles, and its files (for a query, its snapshot)."""

    data: DataParams
    tables: tuple[Table, ...]

    @property
    def columns(self) -> list[str]:
        """The columns of the table."""
        return list(self.tables[0].columns)

    @cached_property
    def digest(self) -> Digest:
        """Names, sizes and sha256, computed on first use."""
        return source_digest(self.data, self.tables)

    @cached_property
    def clock(self) -> Clock:
        """The time zone of the table, determined on first use."""
        return clock_of(self.tables, self.data)

    @cached_property
    def frequency(self) -> Frequency:
        """The grid that its times should be on."""
        return Frequency(self.data.frequency, self.clock.zone, holidays_of(self.data.holidays))

    def require_keys(self) -> None:
        """Raises UserError if a file lacks the id, time or target column."""
        keys = {"data.id": self.data.ids, "data.time": self.data.times, "data.target": (self.data.target,)}
        for table in self.tables:
            for key, name in ((key, name) for key, names in keys.items() for name in names):
                try:
                    require_column(table, name, key)
                except UserError as error:
                    raise UserError(named(f"{error}{what_to_write([table.file], self.data.csv)}")) from None


def open_source(data: DataParams, root: Path = ROOT) -> Source:
    """Opens the files of a source, or its query's snapshot.  Raises UserError if they cannot be read."""
    try:
        return Source(data, open_tables(data, root))
    except UserError as error:
        raise UserError(named(f"{error}{_hint(data, root)}")) from None


def look_into(data: DataParams, root: Path = ROOT, known: Mapping[str, Any] | None = None) -> Source:
    """Like `open_source` for text in any format, which `data.csv` then holds.  `known`: given keys of it.

    Raises UserError if the format is unclear.
    """
    try:
        return Source(*open_recognised(data, root, find_files(data, root), known or {}))
    except UserError as error:
        raise UserError(named(str(error))) from None


def open_like(data: DataParams, read: Collection[str], root: Path) -> Source:
    """A table like that of a run, whose text format may differ.  `read`: the columns whose numbers count."""
    try:
        return Source(*open_alike(data, root, find_files(data, root), read))
    except UserError as error:
        raise UserError(named(f"{error}{_hint(data, root)}")) from None


def _hint(data: DataParams, root: Path) -> str:
    if not is_here(data.path):
        return ""
    try:
        return what_to_write(find_files(data, root), data.csv)
    except UserError:  # there are no files, as already reported
        return ""


def scan_series(source: Source, columns: Sequence[str], categories: Collection[str] = ()) -> pl.LazyFrame:
    """unique_id, ds, y and the existing `columns`, unparsed: text stays text, true and false are "1" and "0";
    `categories` are text.

    Raises UserError for a missing id, time or target column, or an unsuitable dtype.
    """
    for name in columns:
        if name in KEYS:
            raise UserError(f"{name!r} is a key of every table: take it out of windows.features and validation.ranges")
    source.require_keys()
    parts = [_long(source, number, columns, categories) for number in range(len(source.tables))]
    return pl.concat(parts, how="vertical_relaxed")


def _long(source: Source, number: int, columns: Sequence[str], categories: Collection[str]) -> pl.LazyFrame:
    table, data = source.tables[number], source.data
    names = {"y": data.target} | {name: name for name in columns if name != "y" and name in table.columns}
    rows, time = source.clock.times(number, table, data)
    return rows.select(series_name(table, data).alias("unique_id"), time.alias("ds"), *values_of(table, names, categories))


def categories_of(run: RunParams) -> list[str]:
    """The categorical static covariates."""
    return [name for name, kind in run.windows.static.items() if kind == "categorical"]


def long_frame(
    run: RunParams, source: Source, dropped_features: Collection[str] = (), dropped_series: Collection[str] = ()
) -> pl.LazyFrame:
    """The long frame with numeric values (text for categories), without dropped features and series.

    Its newest rows may lack a target; those of `history_frame` do not.

    Raises UserError for a covariate that the table lacks.
    """
    kinds = run.windows.static
    columns = [name for name in run.windows.columns if name not in dropped_features or name in run.windows.future]
    frame = scan_series(source, columns, categories_of(run))
    for name in columns:
        if name != "y" and name not in source.columns:
            section = "static" if name in kinds else "features" if name in run.windows.features else "future"
            require_column(source.tables[0], name, f"windows.{section}")
    frame = frame.with_columns(
        column(name).cast(pl.String) if kinds.get(name) == "categorical" else column(name).cast(pl.Float64, strict=False)
        for name in ("y", *columns)
    )
    if run.validation.on_duplicates == "keep_first":
        frame = frame.unique(subset=["unique_id", "ds"], keep="first", maintain_order=True)
    if dropped_series:
        frame = frame.filter(~pl.col("unique_id").is_in(list(dropped_series)))
    return frame


def history_frame(
    run: RunParams,
    source: Source,
    dropped_features: Collection[str] = (),
    dropped_series: Collection[str] = (),
    has_tail: bool = True,
) -> pl.LazyFrame:
    """`long_frame` up to each series' last observed target; needs another pass if the table `has_tail`."""
    frame = long_frame(run, source, dropped_features, dropped_series)
    return without_tail(frame, tail_of(frame, run.data.where)) if has_tail else frame


@task(cache_policy=NO_CACHE)
@discreet
def load_series(run: RunParams) -> Source:
    """Opens the source of a run, reading query or address again, and takes its digest; checks follow."""
    forget(run.data)
    forget_mirror(run.data.path or "")
    source = open_source(run.data)
    scan_series(source, run.windows.columns)
    _ = source.digest  # of the bytes as they are now
    return source
