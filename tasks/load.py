"""A table of the user's as a lazy long frame: unique_id, ds (UTC or integer), y and features; never sorts, fills or drops a row.

Text times are ISO 8601, year first; explicit offsets are converted to UTC, times without one are taken as UTC.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from polars.exceptions import PolarsError
from prefect import task
from prefect.cache_policies import NO_CACHE

from params.errors import UserError
from params.schema import DataParams, RunParams
from tasks.source import Table, open_tables, require_column, source_digest

ROOT = Path(__file__).resolve().parents[1]
NULLS = ("", "na", "n/a", "nan", "null", "none")
OFFSET = r"(?:[Zz]|[+-]\d{2}(?::?\d{2})?)$"
CLOCK = r"^\d{4}-\d{2}-\d{2}(?: \d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?)?$"


def scan_series(data: DataParams, columns: Sequence[str], root: Path = ROOT) -> pl.LazyFrame:
    """unique_id, ds, y and those of `columns` that exist, as they stand in the files: text columns stay text.

    Raises UserError for files that cannot be read, a missing id, time or target column, or a time column of a wrong type.
    """
    tables = open_tables(data, root)
    for table in tables:
        for name, key in ((data.id, "data.id"), (data.time, "data.time"), (data.target, "data.target")):
            if name is not None:
                require_column(table, name, key)
    return pl.concat([_long(table, data, columns) for table in tables], how="vertical_relaxed")


def _long(table: Table, data: DataParams, columns: Sequence[str]) -> pl.LazyFrame:
    unique_id = pl.lit(data.target) if data.id is None else _cleaned(table, data.id).cast(pl.String)
    values = {"y": data.target} | {name: name for name in columns if name != "y" and name in table.columns}
    return table.rows.select(
        unique_id.alias("unique_id"),
        _time(table, data).alias("ds"),
        *(_value(table, name).alias(alias) for alias, name in values.items()),
    )


def _cleaned(table: Table, name: str) -> pl.Expr:
    """A column with the words for nothing as null, where it is text."""
    column = pl.col(name)
    if table.columns[name] == pl.String:
        text = column.str.strip_chars()
        return pl.when(text.str.to_lowercase().is_in(NULLS)).then(None).otherwise(text)
    return column


def _value(table: Table, name: str) -> pl.Expr:
    dtype = table.columns[name]
    if dtype == pl.Boolean or dtype.is_decimal():
        return pl.col(name).cast(pl.Float64)
    return _cleaned(table, name)


def _time(table: Table, data: DataParams) -> pl.Expr:
    column, dtype = pl.col(data.time), table.columns[data.time]
    if isinstance(data.frequency, int):
        if dtype.is_integer() or dtype == pl.String:
            return _cleaned(table, data.time).cast(pl.Int64, strict=False)
        raise UserError(
            f"{table.name}: column {data.time!r} holds {dtype}, but data.frequency is a whole number: give a duration such as 1h"
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


def parse_time(text: pl.Expr) -> pl.Expr:
    """ISO 8601 text, year first, as UTC microseconds; null where it is none."""
    plain = text.str.strip_chars().str.replace(r"^(\d{4})/(\d{2})/(\d{2})", "$1-$2-$3").str.replace(r"^(.{10})[Tt]", "$1 ")
    timed = plain.str.len_chars() > 10
    zone = pl.when(timed).then(plain.str.extract(f"({OFFSET})")).otherwise(None)
    body = pl.when(timed).then(plain.str.replace(OFFSET, "")).otherwise(plain).str.strip_chars()
    body = pl.when(body.str.contains(CLOCK)).then(body).otherwise(None)
    seconds = (
        pl.when(body.str.len_chars() == 10)
        .then(body + " 00:00:00")
        .when(body.str.len_chars() == 16)
        .then(body + ":00")
        .otherwise(body)
    )
    naive = seconds.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False)
    sign = pl.when(zone.str.starts_with("-")).then(-1).otherwise(1)
    digits = zone.str.replace_all(r"[^0-9]", "").str.pad_end(4, "0")
    minutes = sign * (
        digits.str.slice(0, 2).cast(pl.Int64, strict=False) * 60 + digits.str.slice(2, 2).cast(pl.Int64, strict=False)
    )
    return (naive - pl.duration(minutes=minutes.fill_null(0))).dt.replace_time_zone("UTC")


def check_keys(data: DataParams, root: Path = ROOT) -> int:
    """The number of rows, after one pass over ids and times.

    Raises UserError for a table without rows, a row without a series or time, a time that does not parse (the first is shown), and
    a time column in which some rows have an offset from UTC and some have none.
    """
    rows = 0
    for table in open_tables(data, root):
        raw, is_text = pl.col(data.time), table.columns[data.time] == pl.String
        lost = _time(table, data).is_null()
        timed = raw.str.strip_chars() if is_text else pl.lit(None, pl.String)
        zoned = timed.str.contains(OFFSET) & (timed.str.len_chars() > 10)
        unnamed = pl.lit(False) if data.id is None else _cleaned(table, data.id).is_null()
        try:
            facts = table.rows.select(
                rows=pl.len(), lost=lost.sum(), bad=raw.filter(lost).first().cast(pl.String), unnamed=unnamed.sum(),
                zoned=zoned.sum(), naive=(~zoned).sum(), example=timed.filter(~zoned).first(),
            ).collect(engine="streaming").row(0, named=True)  # fmt: skip
        except (PolarsError, OSError) as error:
            raise UserError(
                f"{table.name}: this file cannot be read to its end ({_first_line(error)}); is it complete?"
            ) from None
        if facts["lost"]:
            kind = (
                "a whole number"
                if isinstance(data.frequency, int)
                else "a time: write it year first, such as 2013-01-31T18:00:00Z"
            )
            shown = f"{facts['bad']!r} is not {kind}" if facts["bad"] is not None else "is empty"
            raise UserError(
                f"{table.name}: column {data.time!r}: {facts['lost']} of {facts['rows']} times cannot be read; the first {shown}"
            )
        if facts["unnamed"]:
            raise UserError(
                f"{table.name}: column {data.id!r} is empty in {facts['unnamed']} rows: every row needs the name of its series"
            )
        if is_text and not isinstance(data.frequency, int) and facts["zoned"] and facts["naive"]:
            raise UserError(
                f"{table.name}: column {data.time!r} mixes times with an offset from UTC and times without one "
                f"({facts['naive']} of {facts['rows']}, such as {facts['example']!r}): give all of them an offset, or none"
            )
        rows += facts["rows"]
    if not rows:
        raise UserError(f"data.path {data.path}: a header and no rows; give a table with rows")
    return rows


def _first_line(error: Exception) -> str:
    return (str(error).strip().split("\n")[0] or type(error).__name__)[:200]


def long_frame(run: RunParams, checks: Mapping[str, Any] | None = None, root: Path = ROOT) -> pl.LazyFrame:
    """The long frame with numbers for values, less the features and series that the checks dropped.

    Raises UserError for a feature that is no column of the table.
    """
    dropped = set(checks["dropped_features"]) if checks else set()
    features = [name for name in run.windows.features if name != "y" and name not in dropped]
    frame = scan_series(run.data, features, root)
    found = frame.collect_schema().names()
    for name in features:
        if name not in found:
            table = open_tables(run.data, root)[0]
            require_column(table, name, "windows.features")
    frame = frame.with_columns(pl.col(name).cast(pl.Float64, strict=False) for name in ("y", *features))
    if checks and checks["dropped_series"]:
        frame = frame.filter(~pl.col("unique_id").is_in(list(checks["dropped_series"])))
    return frame


@task(cache_policy=NO_CACHE)
def load_series(run: RunParams) -> dict[str, Any]:
    """Opens the source, reads ids and times once, and takes its digest: `files`, `bytes`, `sha256`, `rows`."""
    scan_series(run.data, list(run.windows.features))
    return source_digest(run.data, ROOT) | {"rows": check_keys(run.data)}
