"""Which columns of a table give its time, and in which form."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from params.data import DataParams
from params.errors import UserError
from params.shown import visible
from tasks.explore.asked import Asked
from tasks.explore.columns import Column, sorted_by_name
from tasks.explore.names import TIME_NAMES
from tasks.load.files import Table, collect
from tasks.load.moments import read_time
from tasks.load.parts import Part, part_of
from tasks.load.unread import SOME, form_of, unit_of
from tasks.names import column

DAYS = ((Part.YEAR, Part.MONTH, Part.DAY), (Part.YEAR, Part.WEEK, Part.WEEKDAY), (Part.YEAR, Part.QUARTER))
CLOCKS = ((Part.HOUR, Part.MINUTE, Part.SECOND), (Part.CLOCK,))
MOST_TRIED = 12
EPOCH_NAMES = {"epoch", "unix", "ts", "timestamp", "time", "datetime", "ds", "date", "utc"}


@dataclass(frozen=True)
class Times:
    """The columns that give the time together, and how: `steps` are integers, `unit` counts from 1970.

    `took`: what was assumed, in words, where it is not obvious.
    """

    names: tuple[str, ...]
    steps: bool = False
    unit: str | None = None
    form: str | None = None
    zone: str | None = None
    took: str = ""

    @property
    def keys(self) -> dict[str, Any]:
        """The keys for DataParams; the step is not known yet: one second, or 1."""
        time = self.names[0] if len(self.names) == 1 else self.names
        step = 1 if self.steps else "1s"
        return {
            "time": time, "time_unit": self.unit, "time_format": self.form, "time_zone": self.zone, "frequency": step,
        }  # fmt: skip


def times_of(tables: Sequence[Table], columns: Sequence[Column], asked: Asked) -> Times | None:
    """The columns of the time: as asked, else one column of times or dates, several together, numbers since
    1970, or integer steps with a telling name."""
    if asked.times:
        columns = [c for c in columns if c.name in asked.times]
        if len(asked.times) > 1:
            return Times(asked.times, form=asked.time_format, took="read together")
    if asked.time_format is not None:
        return _in_format(tables, columns, asked.time_format)
    if asked.times and columns and columns[0].kind in ("whole", "number"):
        name, (digits, unit) = asked.times[0], (_digits(tables, asked.times[0]), _unit(tables, asked.times[0]))
        took = "whole numbers, read as dates" if digits else f"numbers, read as {unit} since 1970" if unit else ""
        return Times((name,), steps=not took, unit=None if digits else unit, took=took)
    if asked.times:
        return Times(asked.times)
    whole = [c for c in columns if c.kind == "whole" and not c.null_share and c.distinct > 2]
    times = sorted_by_name([c for c in columns if c.kind == "time" and not c.null_share], TIME_NAMES)
    if times:
        return _with_clock(tables, columns, times[0])
    named = [c for c in sorted_by_name(whole, TIME_NAMES) if c.name.lower() in TIME_NAMES or part_of(c.name)]
    for candidate in [*named, *(c for c in whole if c not in named)]:
        if (digits := _digits(tables, candidate.name)) == 8 or (digits == 6 and candidate in named):
            form = "YYYYMMDD" if digits == 8 else "YYYYMM"
            return Times((candidate.name,), took=f"whole numbers, read as dates ({form})")
    together = _together(tables, columns)
    if together is not None:
        return together
    for candidate in whole:
        unit = _unit(tables, candidate.name)
        if unit and {*re.split("[^a-z]+", candidate.name.lower())} & EPOCH_NAMES:
            return Times((candidate.name,), unit=unit, took=f"numbers, read as {unit} since 1970 (data.time_unit)")
    steps = [c for c in named if c.name.lower() in TIME_NAMES]
    return Times((steps[0].name,), steps=True) if steps else None


def _in_format(tables: Sequence[Table], columns: Sequence[Column], form: str) -> Times:
    """The column that a format reads.  Raises UserError if there is none."""
    texts = sorted_by_name([c for c in columns if c.kind in ("text", "time", "whole") and not c.null_share], TIME_NAMES)
    readable = next((times for c in texts if _reads(tables, times := Times((c.name,), form=form))), None)
    if readable is None:
        raise UserError(f"{tables[0].name}: no column holds times in the form --time-format {form!r}, with none empty")
    return readable


def _with_clock(tables: Sequence[Table], columns: Sequence[Column], date: Column) -> Times:
    """A column of times; if it holds only days and others the clock, these too."""
    alone = Times((date.name,))
    moments, t = pl.concat([table.rows.select(_read(table, alone).alias("t")) for table in tables]), pl.col("t")
    days = collect(moments.select(days=(t == t.dt.truncate("1d")).all(), twice=t.is_duplicated().any()), tables[0].name)
    if days.row(0) != (True, True):
        return alone
    clocks = [c.name for c in columns if c.kind in ("text", "other") and not c.null_share][:MOST_TRIED]
    for names in [*(_named(columns, parts, date.name) for parts in CLOCKS), *((name,) for name in clocks)]:
        both = Times((date.name, *names), took="read together")
        if names and _reads(tables, both) and _fewer(tables, both.names, alone.names):
            return both
    return alone


def _together(tables: Sequence[Table], columns: Sequence[Column]) -> Times | None:
    """Year, month, day and so on, each in its own column."""
    for days in DAYS:
        names = _named(columns, days, "")
        if len(names) < 2:
            continue
        clocks = [_named(columns, parts, "") for parts in CLOCKS] if len(names) == 3 else []
        for more in (*clocks, ()):
            times = Times((*names, *more), took="read together")
            if _reads(tables, times):
                return times
    return None


def _named(columns: Sequence[Column], parts: Sequence[Part], other: str) -> tuple[str, ...]:
    """The columns whose names mean these parts, up to the first part without one."""
    names: list[str] = []
    for part in parts:
        name = next((c.name for c in columns if part_of(c.name) is part and not c.null_share and c.name != other), None)
        if name is None:
            break
        names.append(name)
    return tuple(names)


def _read(table: Table, times: Times) -> pl.Expr:
    return read_time(table, DataParams.model_construct(**times.keys))


def _reads(tables: Sequence[Table], times: Times) -> bool:
    """Whether all rows have a time."""
    try:
        return not any(collect(table.rows.select(_read(table, times).is_null().any()), table.name).item() for table in tables)
    except UserError:
        return False


def _fewer(tables: Sequence[Table], more: Sequence[str], fewer: Sequence[str]) -> bool:
    """Whether more columns distinguish more rows."""
    rows = pl.concat([table.rows.select(more) for table in tables], how="vertical_relaxed")
    counts = collect(
        rows.select(pl.struct(more).n_unique().alias("more"), pl.struct(fewer).n_unique().alias("fewer")), tables[0].name
    )
    return bool(counts["more"][0] > counts["fewer"][0])


def _digits(tables: Sequence[Table], name: str) -> int | None:
    """The number of digits of all numbers of a column if all are dates; else None."""
    text = column(name).cast(pl.Float64, strict=False).cast(pl.Int64, strict=False).cast(pl.String).str.len_chars()
    lengths = set()
    for table in tables:
        lengths |= set(collect(table.rows.select(text.min().alias("a"), text.max().alias("b")), table.name).row(0))
    if len(lengths) != 1 or not lengths <= {6, 8}:
        return None
    return lengths.pop() if _reads(tables, Times((name,))) else None


def _unit(tables: Sequence[Table], name: str) -> str | None:
    """The unit in which a column's numbers count from 1970; None if they may be anything else."""
    number = column(name).cast(pl.Int64, strict=False)
    ends = [collect(table.rows.select(number.min().alias("a"), number.max().alias("b")), table.name).row(0) for table in tables]
    return unit_of([str(end) for pair in ends for end in pair])


def no_time(path: str, tables: Sequence[Table], columns: Sequence[Column]) -> UserError:
    """The error that no column of a table can be its time, with advice."""
    texts = sorted_by_name(
        [c for c in columns if c.kind in ("text", "whole") and not c.null_share and c.distinct > 2], TIME_NAMES
    )
    for candidate in texts:
        some = (
            collect(tables[0].rows.select(column(candidate.name).cast(pl.String)).head(SOME), tables[0].name)
            .to_series()
            .to_list()
        )
        form = form_of(some)
        if form is not None:
            such = f"{visible(candidate.name)} holds {some[0]!r}"
            return UserError(f"{path}: no column holds times that are written year first; {such}: write them so{form}")
    return UserError(
        f"{path}: no column holds times: write them year first (2013-01-31 18:00), or as whole numbers under a name "
        f"such as ds or step, with none empty (columns found: {', '.join(repr(c.name) for c in columns)[:300]})"
    )
