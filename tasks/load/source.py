"""A table of the user's as a lazy long frame: unique_id, ds (UTC or integer), y and features; never sorts or fills a row.

Text times are ISO 8601, year first; explicit offsets are converted to UTC, times without one are taken as UTC.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from prefect import task
from prefect.cache_policies import NO_CACHE

from params.data import DataParams
from params.errors import UserError
from params.schema import RunParams
from tasks.grid.times import OFFSET, parse_time
from tasks.load.cells import NULLS as NULLS
from tasks.load.cells import cleaned, values_of
from tasks.load.files import Table, collect, open_tables, require_column, source_digest
from tasks.load.snapshot import forget

ROOT = Path(__file__).resolve().parents[2]
LongFrame = pl.LazyFrame  # unique_id, ds, y and features
KEYS = ("unique_id", "ds")


def scan_series(data: DataParams, columns: Sequence[str], root: Path = ROOT, categories: Collection[str] = ()) -> pl.LazyFrame:
    """unique_id, ds, y and those of `columns` that exist, as they stand in the files: text stays text, true and false are "1"
    and "0" except in `categories`.

    Raises UserError for files that cannot be read, a missing id, time or target column, or a column of a wrong type.
    """
    for name in (data.id, data.time, data.target, *columns):
        if name == "*" or (name and name.startswith("^") and name.endswith("$")):
            raise UserError(f"a column cannot be called {name!r}, which is a pattern to polars: rename it")
    for name in columns:
        if name in KEYS:
            raise UserError(f"{name!r} is a key of every table: take it out of windows.features and validation.ranges")
    tables = _tables(data, root)
    return pl.concat([_long(table, data, columns, categories) for table in tables], how="vertical_relaxed")


def _tables(data: DataParams, root: Path) -> list[Table]:
    """The files of the source, each with its id, time and target column."""
    tables = open_tables(data, root)
    for table in tables:
        for name, key in ((data.id, "data.id"), (data.time, "data.time"), (data.target, "data.target")):
            if name is not None:
                require_column(table, name, key)
    return tables


def _long(table: Table, data: DataParams, columns: Sequence[str], categories: Collection[str]) -> pl.LazyFrame:
    names = {"y": data.target} | {name: name for name in columns if name != "y" and name in table.columns}
    return table.rows.select(
        _series_name(table, data).alias("unique_id"),
        _time(table, data).alias("ds"),
        *values_of(table, names, categories),
    )


def _series_name(table: Table, data: DataParams) -> pl.Expr:
    """The id as text, null where it is empty; `NA` and `none` are names here."""
    if data.id is None:
        return pl.lit(data.target)
    dtype, column = table.columns[data.id], pl.col(data.id)
    if dtype.is_nested() or dtype in (pl.Binary, pl.Duration, pl.Object):
        raise UserError(f"{table.name}: column {data.id!r} (data.id) holds {dtype}; the name of a series is text or a number")
    text = (column.fill_nan(None) if dtype.is_float() else column).cast(pl.String).str.strip_chars()
    return pl.when(text != "").then(text)


def _time(table: Table, data: DataParams) -> pl.Expr:
    column, dtype = pl.col(data.time), table.columns[data.time]
    if isinstance(data.frequency, int):
        if dtype.is_integer() or dtype == pl.String:
            return (cleaned(column) if dtype == pl.String else column).cast(pl.Int64, strict=False)
        hint = "give a duration such as 1h" if dtype.is_temporal() else "make the times whole numbers"
        raise UserError(
            f"{table.name}: column {data.time!r} (data.time) holds {dtype}, but data.frequency is a whole number: {hint}"
        )
    if isinstance(dtype, pl.Datetime):
        return (
            column.dt.convert_time_zone("UTC") if dtype.time_zone else column.dt.replace_time_zone("UTC")
        ).dt.cast_time_unit("us")
    if dtype == pl.Date:
        return column.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    if dtype == pl.String:
        return parse_time(column)
    hint = "for integer time steps write data.frequency as a whole number" if dtype.is_integer() else "it must hold times"
    raise UserError(f"{table.name}: column {data.time!r} (data.time) holds {dtype}; {hint}")


def check_keys(data: DataParams, root: Path = ROOT) -> int:
    """The number of rows, after one pass over ids and times.

    Raises UserError for a table without rows, a row without a series or time, a time that does not parse (the first is shown),
    or a time column in which some rows have an offset from UTC and some have none.
    """
    rows, zoned, naive = 0, "", ""
    for table in _tables(data, root):
        facts = _key_facts(table, data)
        _refuse_lost(table, data, facts)
        zoned = zoned or (table.name if facts["zoned"] else "")
        naive = naive or (f"{table.name} (such as {facts['example']})" if facts["naive"] else "")
        if zoned and naive:
            raise UserError(
                f"{data.where}: column {data.time!r} mixes times with an offset from UTC, in {zoned}, and times "
                f"without one, in {naive}: give all of them an offset, or none"
            )
        rows += facts["rows"]
    if not rows:
        raise UserError(f"{data.where}: a header and no rows; give a table with rows")
    return rows


def _key_facts(table: Table, data: DataParams) -> dict[str, Any]:
    """rows; lost, bad: times that are none, and the first; unnamed: rows without a series; zoned, naive, example: offsets."""
    raw, dtype = pl.col(data.time), table.columns[data.time]
    lost = _time(table, data).is_null()
    if isinstance(data.frequency, int):
        zoned = pl.lit(None, pl.Boolean)
    elif dtype == pl.String:
        zoned = raw.str.strip_chars().str.contains(OFFSET) & (raw.str.strip_chars().str.len_chars() > 10)
    else:
        zoned = pl.when(raw.is_not_null()).then(isinstance(dtype, pl.Datetime) and dtype.time_zone is not None)
    rows = table.rows.with_columns(__lost=lost, __zoned=zoned, __unnamed=_series_name(table, data).is_null())
    facts = rows.select(
        rows=pl.len(), lost=pl.col("__lost").sum(), bad=raw.filter(pl.col("__lost")).first().cast(pl.String),
        unnamed=pl.col("__unnamed").sum(), zoned=pl.col("__zoned").any(), naive=(~pl.col("__zoned")).any(),
        example=raw.filter(~pl.col("__zoned")).first().cast(pl.String),
    )  # fmt: skip
    return collect(facts, table.name).row(0, named=True)


def _refuse_lost(table: Table, data: DataParams, facts: Mapping[str, Any]) -> None:
    if facts["lost"]:
        whole = isinstance(data.frequency, int)
        kind = "a whole number" if whole else "a time: write it year first, such as 2013-01-31T18:00:00Z"
        shown = f"{facts['bad']!r} is not {kind}" if facts["bad"] is not None else "is empty: give every row its time"
        raise UserError(
            f"{table.name}: column {data.time!r}: {facts['lost']} of {facts['rows']} times cannot be read; the first {shown}"
        )
    if facts["unnamed"]:
        raise UserError(
            f"{table.name}: column {data.id!r} is empty in {facts['unnamed']} rows: every row needs the name of its series"
        )


def categories_of(run: RunParams) -> list[str]:
    """The static covariates that are names and no numbers."""
    return [name for name, kind in run.windows.static.items() if kind == "categorical"]


def long_frame(run: RunParams, checks: Mapping[str, Any] | None = None, root: Path = ROOT) -> pl.LazyFrame:
    """The long frame with numbers for values (text for categories), less the features and series that the checks dropped.

    Raises UserError for a covariate that is no column of the table.
    """
    dropped, kinds = set(checks["dropped_features"]) if checks else set(), run.windows.static
    columns = [name for name in run.windows.columns if name not in dropped or name in run.windows.future]
    frame = scan_series(run.data, columns, root, categories_of(run))
    found = frame.collect_schema().names()
    for name in columns:
        if name not in found:
            table = open_tables(run.data, root)[0]
            section = "static" if name in kinds else "features" if name in run.windows.features else "future"
            require_column(table, name, f"windows.{section}")
    frame = frame.with_columns(
        pl.col(name).cast(pl.String) if kinds.get(name) == "categorical" else pl.col(name).cast(pl.Float64, strict=False)
        for name in ("y", *columns)
    )
    if run.validation.on_duplicates == "keep_first":
        frame = frame.unique(subset=["unique_id", "ds"], keep="first", maintain_order=True)
    if checks and checks["dropped_series"]:
        frame = frame.filter(~pl.col("unique_id").is_in(list(checks["dropped_series"])))
    return frame


@task(cache_policy=NO_CACHE)
def load_series(run: RunParams) -> dict[str, Any]:
    """Opens the source, a query anew, and takes its digest: `files`, `bytes`, `sha256`; the checks read its rows."""
    forget(run.data)
    scan_series(run.data, run.windows.columns)
    return source_digest(run.data, ROOT)
