"""The time grid of a table: positions, timestamps and durations as polars expressions.

Timestamps are microseconds, or Int64 if the frequency is an integer.  Fixed spans (s m h d w) are exact;
calendar spans (mo q y) count months from the first row and keep the `day` of their series: 31 if all rows
are month ends, else the latest day of any row, or the last day of a shorter month.  Business days (bd) skip
weekends and holidays.  Steps of a day or more follow the zone's wall clock, shorter ones absolute time.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Protocol

import numpy as np
import polars as pl

from params.errors import UserError
from tasks.grid.zone import to_day, to_instant

MICROSECONDS = {"s": 10**6, "m": 60 * 10**6, "h": 3600 * 10**6, "d": 86400 * 10**6, "w": 7 * 86400 * 10**6}
MONTHS = {"mo": 1, "q": 3, "y": 12}
BUSINESS = {"bd": 1}
DAY = MICROSECONDS["d"]
YEAR_1 = date(1, 1, 1)  # a Monday, the origin of business day counts
MONTH_END = 31


class Gridded(Protocol):
    """What defines a grid: the facts of a panel or of a bundle."""

    @property
    def frequency(self) -> str | int:
        """The step: a duration, or an integer number of time steps."""
        ...

    @property
    def zone(self) -> str | None:
        """The time zone of days; None for UTC."""
        ...

    @property
    def holidays(self) -> Sequence[str]:
        """Days that are not business days."""
        ...


@dataclass(frozen=True)
class Frequency:
    """One step of a grid: a duration as in a run file (`15m`, `1h`, `1mo`, `1bd`), or an integer.

    `zone`: whose wall clock applies to steps of a day or more; `holidays`: sorted, skipped by business days.
    """

    span: str | int
    zone: str | None = None
    holidays: tuple[date, ...] = ()

    @classmethod
    def of(cls, gridded: Gridded) -> "Frequency":
        """The grid of a panel or a bundle."""
        return cls(gridded.frequency, gridded.zone, tuple(map(date.fromisoformat, gridded.holidays)))

    @property
    def microseconds(self) -> int | None:
        """The length of a fixed step; None for calendar, business day and integer steps."""
        return self._size(MICROSECONDS)

    @property
    def months(self) -> int | None:
        """The length of a calendar step in months; None for others."""
        return self._size(MONTHS)

    @property
    def business_days(self) -> int | None:
        """The length of a step in business days; None for others."""
        return self._size(BUSINESS)

    @property
    def by_day(self) -> bool:
        """Whether a step is a day or more, and so follows the wall clock."""
        return not isinstance(self.span, int) and (self.microseconds is None or self.microseconds >= DAY)

    def _size(self, units: dict[str, int]) -> int | None:
        if isinstance(self.span, int):
            return None
        match = re.fullmatch(r"(\d+)([a-z]+)", self.span)
        assert match is not None, f"the schema let the span {self.span!r} pass"
        unit = match[2]
        return int(match[1]) * units[unit] if unit in units else None

    @property
    def dtype(self) -> pl.DataType:
        """The dtype of `ds` on this grid."""
        return pl.Int64() if isinstance(self.span, int) else pl.Datetime("us", "UTC")

    def day(self, ds: pl.Expr) -> pl.Expr:
        """Int64 over a series' rows: the day of the month that its grid keeps; 0 unless it counts months."""
        if self.months is None:
            return pl.lit(0, pl.Int64).first()
        day = ds.dt.day().cast(pl.Int64)
        return pl.when((day == _last_day(ds)).all()).then(MONTH_END).otherwise(day.max())

    def days(self, times: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        """[S] `day` for series stored one after another, each from its offset to the next."""
        counts = np.diff(offsets)
        if self.months is None or not len(times):
            return np.zeros(len(counts), np.int64)
        rows = pl.DataFrame({"series": np.repeat(np.arange(len(counts)), counts), "ds": times}).cast({"ds": self.dtype})
        return rows.group_by("series", maintain_order=True).agg(day=self.day(pl.col("ds")))["day"].to_numpy()

    def position(self, ds: pl.Expr, first: pl.Expr, day: pl.Expr | None = None) -> pl.Expr:
        """Int64: whole steps from `first` to `ds`, rounded down.  `day`: of the series, else of `first`."""
        if isinstance(self.span, int):
            return (ds - first) // self.span
        if self.microseconds is not None:
            return _elapsed(ds, first) // self.microseconds
        if self.business_days is not None:
            return (self._workday(ds - _time_of_day(first)) - self._workday(first)) // self.business_days
        months = _month_number(ds) - _month_number(first)
        return (months - (_plus_months(first, months, day) > ds).cast(pl.Int64)) // self.months

    def at(self, first: pl.Expr, position: pl.Expr | int, day: pl.Expr | None = None) -> pl.Expr:
        """The timestamp `position` steps after `first` (before, if negative): the inverse of `position`."""
        if isinstance(position, int):
            position = pl.lit(position, pl.Int64)
        if isinstance(self.span, int):
            return first + position * self.span
        if self.microseconds is not None:
            return first + (position * self.microseconds).cast(pl.Duration("us"))
        if self.business_days is not None:
            later = first.dt.date().dt.add_business_days(
                position * self.business_days, holidays=list(self.holidays), roll="backward"
            )
            return later.cast(pl.Datetime("us")).dt.replace_time_zone("UTC") + _time_of_day(first)
        return _plus_months(first, position * self.months, day)

    def on_grid(self, ds: pl.Expr, first: pl.Expr, day: pl.Expr | None = None) -> pl.Expr:
        """Boolean: `ds` is a whole number of steps after (or before) `first`."""
        if isinstance(self.span, int):
            return (ds - first) % self.span == 0
        if self.microseconds is not None:
            return _elapsed(ds, first) % self.microseconds == 0
        return self.at(first, self.position(ds, first, day), day) == ds

    def shift(self, ds: pl.Expr, steps: pl.Expr | int, first: pl.Expr | None = None, day: pl.Expr | None = None) -> pl.Expr:
        """`ds` moved by `steps` (back, if negative).

        Pass the series' `first` and `day` if `ds` may be in a shortened month: with them, 28 Feb of a grid of
        day 30 moves to 30 Mar, without them to 31 Mar.
        """
        if first is None or self.months is None:
            return self.at(ds, steps)
        return self.at(first, self.position(ds, first, day) + steps, day)

    def rows_in(self, span: str | int) -> int:
        """The steps in a duration: `28d` is 672 at 1h and 20 at 1bd; an integer is already in rows.

        Raises UserError if the duration is not a whole number of steps.
        """
        if isinstance(span, int):
            return span
        other = Frequency(span)
        ours, theirs = (self.microseconds, other.microseconds) if self.months is None else (self.months, other.months)
        if self.business_days is not None:  # five in a week of seven days
            ours, weeks = self.business_days, (other.microseconds or 0) / MICROSECONDS["w"]
            theirs = other.business_days or (int(weeks * 5) if weeks and weeks == int(weeks) else None)
        if ours is None or theirs is None or theirs % ours:
            raise UserError(f"{span} is not a whole number of steps of {self.span}: give a multiple of it, or a number of rows")
        return theirs // ours

    def before(self, ds: pl.Expr, span: str) -> pl.Expr:
        """`ds` minus a duration; business days count as steps.  Raises UserError for them on another grid."""
        if Frequency(span).business_days is not None:
            return self.shift(ds, -self.rows_in(span))
        return ds.dt.offset_by(f"-{span}")

    @property
    def clock(self) -> str | None:
        """The zone whose wall clock the grid's times show; None for instants or an unknown zone."""
        return self.zone if self.by_day else None

    def instants(self, ds: pl.Expr) -> pl.Expr:
        """The grid's times as instants, as stored in our own files."""
        return to_instant(ds, self.clock)

    def shown(self, instants: pl.Expr) -> pl.Expr:
        """Instants as times of the grid."""
        return to_day(instants, self.clock)

    def _workday(self, ds: pl.Expr) -> pl.Expr:
        """The number of the business day of a time, or of the last one before it."""
        after = ds.dt.date() + timedelta(days=1)
        return pl.business_day_count(pl.lit(YEAR_1), after, holidays=list(self.holidays)).cast(pl.Int64)


def _elapsed(ds: pl.Expr, first: pl.Expr) -> pl.Expr:
    return ds.cast(pl.Int64) - first.cast(pl.Int64)


def _time_of_day(ds: pl.Expr) -> pl.Expr:
    """The time of day as a duration since midnight."""
    return ds - ds.dt.truncate("1d")


def _month_number(ds: pl.Expr) -> pl.Expr:
    return ds.dt.year().cast(pl.Int64) * 12 + ds.dt.month().cast(pl.Int64) - 1


def _last_day(ds: pl.Expr) -> pl.Expr:
    """The last day of the month."""
    return ds.dt.month_end().dt.day().cast(pl.Int64)


def _plus_months(first: pl.Expr, months: pl.Expr, day: pl.Expr | None) -> pl.Expr:
    """`first` plus whole months, on the given day of the month, or the last of a shorter month.

    Without a day: month end if `first` is one, else the day of `first`.
    """
    number = _month_number(first) + months
    start = pl.datetime(number // 12, number % 12 + 1, 1, time_unit="us", time_zone="UTC")
    if day is None:
        own_day = first.dt.day().cast(pl.Int64)
        day = pl.when(own_day == _last_day(first)).then(MONTH_END).otherwise(own_day)
    return start + pl.duration(days=pl.min_horizontal(day, _last_day(start)) - 1) + _time_of_day(first)
