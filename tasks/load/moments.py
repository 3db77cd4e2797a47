"""The time of each row as its columns give it: an instant if they name a zone, else as if in UTC.

Times are year-first text, text in data.time_format, or numbers since 1970 (data.time_unit); integers are
dates if they look so (20200131, 202001).  Several columns give a time together.  Zones: `cells.time_of`.
"""

import re
from collections.abc import Mapping

import polars as pl

from params.data import DataParams
from params.errors import UserError
from tasks.grid.forms import MONTHS
from tasks.grid.times import OFFSET, UTC, parse_clock, parse_format, parse_time
from tasks.load.files import Table
from tasks.load.parts import Part, parts_of
from tasks.names import column as named

MICROSECONDS = {"s": 1_000_000, "ms": 1_000, "us": 1}
CLOCKED = {Part.HOUR: (24, 3_600_000_000), Part.MINUTE: (59, 60_000_000), Part.SECOND: (60, 1_000_000)}


def read_time(table: Table, data: DataParams) -> pl.Expr:
    """Microseconds UTC, or integers if the frequency is one; null if unreadable.

    Raises UserError for a dtype that is not a time on this grid.
    """
    if len(data.times) > 1:
        return _together(table, data)
    (name,) = data.times
    return _steps(table, name) if isinstance(data.frequency, int) else _moment(table, name, data)


def has_offset(table: Table, data: DataParams) -> pl.Expr:
    """Whether a row's time has a UTC offset; null without a time."""
    if isinstance(data.frequency, int):
        return pl.lit(None, pl.Boolean)
    name = dated(table, data)
    column, dtype = named(name), table.columns[name]
    if data.time_format is not None:
        return pl.when(column.is_not_null()).then("%z" in data.time_format)
    if dtype == pl.String and data.time_unit is None:
        text = column.str.strip_chars()
        return text.str.contains(OFFSET) & (text.str.len_chars() > 10)
    zoned = data.time_unit is not None or (isinstance(dtype, pl.Datetime) and dtype.time_zone is not None)
    return pl.when(column.is_not_null()).then(zoned)


def dated(table: Table, data: DataParams) -> str:
    """The column that gives the day, or more of it than the others."""
    if len(data.times) == 1:
        return data.times[0]
    parts = parts_of(table, data.times, data.time_format)
    return next((name for name, part in parts.items() if part is Part.DATE), data.times[0])


def _steps(table: Table, name: str) -> pl.Expr:
    column, dtype = named(name), table.columns[name]
    if dtype.is_integer() or dtype == pl.String:
        return (column.str.strip_chars() if dtype == pl.String else column).cast(pl.Int64, strict=False)
    hint = "give a duration such as 1h" if dtype.is_temporal() else "make the times whole numbers"
    raise UserError(f"{table.name}: column {name!r} (data.time) holds {dtype}, but data.frequency is a whole number: {hint}")


def _moment(table: Table, name: str, data: DataParams) -> pl.Expr:
    column, dtype = named(name), table.columns[name]
    if isinstance(dtype, pl.Datetime):
        return (
            column.dt.convert_time_zone("UTC") if dtype.time_zone else column.dt.replace_time_zone("UTC")
        ).dt.cast_time_unit("us")
    if dtype == pl.Date:
        return column.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    if dtype == pl.Null:
        return pl.lit(None, UTC)
    if data.time_unit is not None and (dtype.is_numeric() or dtype == pl.String):
        return _since_1970(column, data.time_unit)
    if dtype.is_numeric() or dtype in (pl.String, pl.Categorical, pl.Enum):
        text = _as_text(column, dtype)
        years = isinstance(data.frequency, str) and re.fullmatch(r"\d+y", data.frequency) is not None
        return parse_time(text, years) if data.time_format is None else parse_format(text, data.time_format)
    hint = "it must hold times"
    if dtype == pl.Time:
        hint = f"it says no day: name the column that does first, data.time: [DAY, {name}]"
    raise UserError(f"{table.name}: column {name!r} (data.time) holds {dtype}; {hint}")


def _as_text(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """A number without the .0 of a float; a fraction is not a time."""
    if dtype.is_float() or dtype.is_decimal():
        whole = column.cast(pl.Float64)
        column = pl.when(whole == whole.floor()).then(whole).cast(pl.Int64, strict=False)
    return column.cast(pl.String)


def _since_1970(column: pl.Expr, unit: str) -> pl.Expr:
    whole = column.cast(pl.Int64, strict=False)
    if unit == "ns":
        micro = whole // 1000
    else:
        part = (column.cast(pl.Float64, strict=False) * MICROSECONDS[unit]).round().cast(pl.Int64, strict=False)
        exact = pl.when(column.cast(pl.Float64, strict=False) == whole).then(whole * MICROSECONDS[unit])
        micro = pl.coalesce(exact, part)
    return micro.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def _together(table: Table, data: DataParams) -> pl.Expr:
    """The day from one column, or from year and month, week or quarter, plus what the other columns add."""
    parts = parts_of(table, data.times, data.time_format)
    if isinstance(data.frequency, int):
        raise UserError(
            f"{table.name}: data.time names several columns, which say a time; data.frequency must be a duration such as 1h"
        )
    number: dict[Part, pl.Expr] = {
        part: _whole(named(name), table.columns[name], part)
        for name, part in parts.items()
        if part not in (Part.DATE, Part.CLOCK)
    }
    dates = [_moment(table, name, data) for name, part in parts.items() if part is Part.DATE]
    day = dates[0] if dates else parse_time(_day(number), years=True)
    added = [_clock(named(name), table.columns[name]) for name, part in parts.items() if part is Part.CLOCK]
    for part, (most, micro) in CLOCKED.items():
        if part in number:
            value = pl.when(number[part].is_between(0, most)).then(number[part])
            added.append((value * micro).cast(pl.Duration("us")))
    return pl.sum_horizontal(day.cast(pl.Int64), *(part.cast(pl.Int64) for part in added), ignore_nulls=False).cast(UTC)


def _day(number: Mapping[Part, pl.Expr]) -> pl.Expr:
    """The day as text: 2020-3-1, 2020-W05-1, 2020Q1, or 2020 alone."""
    text = {part: value.cast(pl.String) for part, value in number.items()}
    year, first = text[Part.YEAR], pl.lit("1")
    if Part.WEEK in text:
        return year + "-W" + text[Part.WEEK].str.zfill(2) + "-" + text.get(Part.WEEKDAY, first)
    if Part.QUARTER in text and Part.MONTH not in text:
        return year + "Q" + text[Part.QUARTER]
    return year + "-" + text[Part.MONTH] + "-" + text.get(Part.DAY, first) if Part.MONTH in text else year


def _whole(column: pl.Expr, dtype: pl.DataType, part: Part) -> pl.Expr:
    """An integer, however written (5, 05, 5.0); a month may be a name."""
    text = dtype in (pl.String, pl.Categorical, pl.Enum)
    value = (column.cast(pl.String).str.strip_chars() if text else column).cast(pl.Float64, strict=False)
    whole = pl.when(value == value.floor()).then(value).cast(pl.Int64, strict=False)
    if not text or part is not Part.MONTH:
        return whole
    named = column.cast(pl.String).str.strip_chars().str.slice(0, 3).str.to_lowercase()
    return pl.coalesce(whole, named.replace_strict(MONTHS, range(1, 13), default=None, return_dtype=pl.Int64))


def _clock(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if dtype == pl.Time:
        return column.cast(pl.Duration("us"))
    return parse_clock(_as_text(column, dtype))
