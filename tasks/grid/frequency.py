"""The time grid of a table: positions, timestamps and durations as polars expressions.

Timestamps are microseconds UTC, or Int64 where the frequency is a whole number.  Fixed spans (s m h d w) are exact; calendar
spans (mo q y) count months from the first row: a last day of a month stays one (28 Feb, 31 Mar, 30 Apr), any other day is kept
where the month has it (30 Jan, 28 Feb, 30 Mar).
"""

import re
from dataclasses import dataclass

import polars as pl

from params.errors import UserError

MICROSECONDS = {"s": 10**6, "m": 60 * 10**6, "h": 3600 * 10**6, "d": 86400 * 10**6, "w": 7 * 86400 * 10**6}
MONTHS = {"mo": 1, "q": 3, "y": 12}


@dataclass(frozen=True)
class Frequency:
    """One step of a grid: a duration as in a run file (`15m`, `1h`, `1mo`) or a whole number of integer time steps."""

    span: str | int

    @property
    def microseconds(self) -> int | None:
        """The length of a fixed step; None for calendar and integer steps."""
        return self._size(MICROSECONDS)

    @property
    def months(self) -> int | None:
        """The length of a calendar step; None for fixed and integer steps."""
        return self._size(MONTHS)

    def _size(self, units: dict[str, int]) -> int | None:
        if isinstance(self.span, int):
            return None
        found = re.fullmatch(r"(\d+)([a-z]+)", self.span)
        assert found is not None, f"the schema let the span {self.span!r} pass"
        unit = found[2]
        return int(found[1]) * units[unit] if unit in units else None

    @property
    def dtype(self) -> pl.DataType:
        """The type of `ds` on this grid."""
        return pl.Int64() if isinstance(self.span, int) else pl.Datetime("us", "UTC")

    def position(self, ds: pl.Expr, first: pl.Expr) -> pl.Expr:
        """Int64: whole steps from `first` to `ds`, rounded down."""
        if isinstance(self.span, int):
            return (ds - first) // self.span
        if self.microseconds is not None:
            return _elapsed(ds, first) // self.microseconds
        months = _month_number(ds) - _month_number(first)
        return (months - (_plus_months(first, months) > ds).cast(pl.Int64)) // self.months

    def at(self, first: pl.Expr, position: pl.Expr | int) -> pl.Expr:
        """The timestamp `position` steps after `first` (before it where negative): the inverse of `position`."""
        if isinstance(position, int):
            position = pl.lit(position, pl.Int64)
        if isinstance(self.span, int):
            return first + position * self.span
        if self.microseconds is not None:
            return first + (position * self.microseconds).cast(pl.Duration("us"))
        return _plus_months(first, position * self.months)

    def on_grid(self, ds: pl.Expr, first: pl.Expr) -> pl.Expr:
        """Boolean: `ds` lies a whole number of steps after (or before) `first`."""
        if isinstance(self.span, int):
            return (ds - first) % self.span == 0
        if self.microseconds is not None:
            return _elapsed(ds, first) % self.microseconds == 0
        return self.at(first, self.position(ds, first)) == ds

    def shift(self, ds: pl.Expr, steps: pl.Expr | int, first: pl.Expr | None = None) -> pl.Expr:
        """`ds` moved by `steps`, back where negative.

        Give `first`, the first row of the series, where `ds` may be a shortened month: 28 Feb of a grid that began on
        30 Jan moves to 30 Mar with it, and to 31 Mar without.
        """
        if first is None or self.months is None:
            return self.at(ds, steps)
        return self.at(first, self.position(ds, first) + steps)

    def rows_in(self, span: str | int) -> int:
        """Steps that fit a duration: `28d` is 672 at 1h; a whole number is rows already.

        Raises UserError where the duration is not a whole number of steps.
        """
        if isinstance(span, int):
            return span
        other = Frequency(span)
        ours, theirs = (self.microseconds, other.microseconds) if self.months is None else (self.months, other.months)
        if ours is None or theirs is None or theirs % ours:
            raise UserError(f"{span} is not a whole number of steps of {self.span}: give a multiple of it, or a number of rows")
        return theirs // ours


def _elapsed(ds: pl.Expr, first: pl.Expr) -> pl.Expr:
    return ds.cast(pl.Int64) - first.cast(pl.Int64)


def _month_number(ds: pl.Expr) -> pl.Expr:
    return ds.dt.year().cast(pl.Int64) * 12 + ds.dt.month().cast(pl.Int64) - 1


def _plus_months(first: pl.Expr, months: pl.Expr) -> pl.Expr:
    """`first` plus whole months: the last day of a month where it is one, else its own day or the last of a shorter month."""
    number = _month_number(first) + months
    start = pl.datetime(number // 12, number % 12 + 1, 1, time_unit="us", time_zone="UTC")
    last = start.dt.month_end().dt.day()
    is_end = first.dt.day() == first.dt.month_end().dt.day()
    day = pl.when(is_end).then(last).otherwise(pl.min_horizontal(first.dt.day(), last)).cast(pl.Int64)
    return start + pl.duration(days=day - 1) + (first - first.dt.truncate("1d"))
