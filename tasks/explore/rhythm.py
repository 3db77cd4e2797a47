"""The step, gaps and season of series, from their times and values."""

import math
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import polars as pl

from params.errors import UserError
from tasks.grid.frequency import MICROSECONDS, MONTHS, Frequency
from tasks.load.files import collect

MONTH = 28 * MICROSECONDS["d"]
UNITS = ("w", "d", "h", "m", "s")
WHOLE_SEASONS = (4, 7, 12, 24, 48, 52, 96, 168)  # tried for integer steps
CALENDAR_SEASONS = {1: (12,), 3: (4,), 12: ()}
CLEAR = 0.1  # least autocorrelation of a season
MOST_MISSING = 0.8  # with more steps missing, the step is wrong
SEVERAL = 5  # series whose mean may show what none of them does alone
SERIES, ROWS = 24, 20_000  # sample for the season: this many series, their newest rows


@dataclass(frozen=True)
class Grid:
    """Properties of a table's times; `lengths`: the steps of each series, gaps included, ascending."""

    span: str | int
    lengths: tuple[int, ...]
    rows: int
    missing: int
    worst_gap_share: float
    gappy: int
    first: object
    last: object
    together: bool

    @property
    def days(self) -> float:
        """The time from the first to the last row in days; 0 for integer steps."""
        return (
            (self.last - self.first) / timedelta(days=1)
            if isinstance(self.last, date) and isinstance(self.first, date)
            else 0.0
        )


def span_of(keys: pl.LazyFrame, whole: bool, name: str) -> str | int:
    """The step of a frame (unique_id, ds; sorted): the commonest difference, or a finer one that fits all.

    Raises UserError if no series has two rows, or the times are on no grid.
    """
    same = pl.col("unique_id") == pl.col("unique_id").shift()
    months = pl.col("ds").dt.year().cast(pl.Int64) * 12 + pl.col("ds").dt.month() if not whole else pl.lit(0)
    steps = keys.with_columns(pl.col("ds").cast(pl.Int64).diff().alias("step"), months.diff().alias("months"))
    counts = collect(steps.filter(same & (pl.col("step") > 0)).group_by("step", "months").len(), name)
    if not counts.height:
        raise UserError(f"{name}: no series has two rows at different times: too short to see a step")
    sizes = counts.group_by("step").agg(pl.col("len").sum()).sort("len", "step", descending=[True, False])
    usual, finest = int(sizes["step"][0]), math.gcd(*sizes["step"].to_list())
    if whole:
        return usual if finest == usual else finest
    if usual >= MONTH:
        return _calendar_span(counts, usual, keys, name)
    if finest != usual and finest * 4 < usual:
        off, every = (sum(some["len"].to_list()) for some in (sizes.filter(pl.col("step") % usual != 0), sizes))
        raise UserError(
            f"{name}: the times lie on no regular grid: the usual step is {span_text(usual) or f'{usual} microseconds'}, but "
            f"{off / every:.1%} of the steps are no whole multiple of it; resample the table first"
        )
    if finest == MICROSECONDS["d"] and 3 * finest in sizes["step"] and not _on_weekends(keys, name):
        return "1bd"
    text = span_text(finest)
    if text is None:
        raise UserError(f"{name}: the times are finer than one second: resample the table to whole seconds first")
    return text


def _on_weekends(keys: pl.LazyFrame, name: str) -> bool:
    return bool(collect(keys.select((pl.col("ds").dt.weekday() > 5).any()), name).item())


def _calendar_span(counts: pl.DataFrame, usual: int, keys: pl.LazyFrame, name: str) -> str:
    """Months, quarters or years if the times are on their grid; else the fixed step."""
    months = math.gcd(*(int(m) for m in counts["months"].to_list()))
    unit = next((unit for unit, size in reversed(MONTHS.items()) if months and months % size == 0), None)
    for text in (f"{months // MONTHS[unit]}{unit}" if unit else None, span_text(usual)):
        if text is None:
            continue
        frequency, ds = Frequency(text), pl.col("ds")
        off = keys.group_by("unique_id", maintain_order=True).agg((~frequency.on_grid(ds, ds.first(), frequency.day(ds))).sum())
        if not collect(off.select(pl.col("ds").sum()), name).item():
            return text
    raise UserError(f"{name}: the times lie on no regular grid of days, months or years; resample the table first")


def span_text(step: int) -> str | None:
    """Microseconds as a duration: 604_800_000_000 is 1w; None for fractions of a second."""
    unit = next((unit for unit in UNITS if step % MICROSECONDS[unit] == 0), None)
    return f"{step // MICROSECONDS[unit]}{unit}" if unit else None


def grid_of(keys: pl.LazyFrame, span: str | int, name: str) -> Grid:
    """The lengths and gaps of all series of a frame (unique_id, ds; sorted) on the grid of `span`.

    Raises UserError if most steps are missing.
    """
    frequency, ds = Frequency(span), pl.col("ds")
    each = keys.group_by("unique_id").agg(first=ds.min(), last=ds.max(), rows=pl.len(), day=frequency.day(ds))
    steps = frequency.position(pl.col("last"), pl.col("first"), pl.col("day")) + 1
    series = collect(each, name).with_columns(steps=steps).with_columns(gap=1 - pl.col("rows") / pl.col("steps"))
    newest = series["last"].max()
    frame = series.with_columns(late=frequency.position(pl.lit(newest, series.schema["last"]), pl.col("last")))
    lengths, rows = series["steps"].to_list(), series["rows"].to_list()
    missing = 1 - sum(rows) / sum(lengths)
    if missing > MOST_MISSING:
        raise UserError(
            f"{name}: the times lie on no regular grid: {missing:.1%} of the steps of {span} are missing; resample it first"
        )
    ends = frame.filter(pl.col("late") > pl.col("steps") * 0.02 + 1).height
    return Grid(
        span, tuple(sorted(lengths)), sum(rows), sum(lengths) - sum(rows), max(series["gap"].to_list()),
        series.filter(pl.col("gap") > 0).height, series["first"].min(), newest, ends == 0,
    )  # fmt: skip


def seasons_to_try(span: str | int) -> tuple[int, ...]:
    """The usual seasons at a step, in rows, shortest first."""
    if isinstance(span, int):
        return WHOLE_SEASONS
    frequency = Frequency(span)
    if frequency.months is not None:
        return CALENDAR_SEASONS.get(frequency.months, ())
    if frequency.business_days is not None:
        return tuple(season // frequency.business_days for season in (5, 260) if season >= 4 * frequency.business_days)
    step = frequency.microseconds or 1
    day, week = MICROSECONDS["d"], MICROSECONDS["w"]
    if step == week:
        return (52,)
    spans = [MICROSECONDS["h"], day, week, *([365 * day] if step >= day else [])]
    return tuple(span // step for span in spans if span % step == 0 and span // step >= 4 and span // step <= 10_080)


def strength(values: np.ndarray, season: int) -> float:
    """Autocorrelation at a season of the values minus their moving mean over it; NaN if there are too few.

    0 or less if it does not exceed that at slightly different lags.  `values` on a grid, NaN for missing.
    """
    if np.isfinite(values).sum() < 3 * season:
        return float("nan")
    known = np.isfinite(values)
    total, weight = _moving_sum(np.where(known, values, 0.0), season), _moving_sum(known.astype(float), season)
    side = season // 2
    middle = values[side : len(values) - side]
    rest = middle - np.divide(total, weight, out=np.full_like(total, np.nan), where=weight > season / 2)
    near = max(1, season // 8)
    here = correlation(rest, season)
    return here if here > max(correlation(rest, season - near), correlation(rest, season + near)) else min(here, 0.0)


def _moving_sum(values: np.ndarray, season: int) -> np.ndarray:
    """The sum over a season around each value that has one; an even season counts half of both ends."""
    whole = np.concatenate(([0.0], np.cumsum(values)))
    sums = whole[season:] - whole[:-season]
    return sums if season % 2 else (sums[1:] + sums[:-1]) / 2


def correlation(values: np.ndarray, lag: int) -> float:
    """The autocorrelation at a lag over observed pairs; NaN for fewer than 10."""
    if len(values) - lag < 10:
        return float("nan")
    early, late = values[:-lag], values[lag:]
    both = np.isfinite(early) & np.isfinite(late)
    if both.sum() < 10:
        return float("nan")
    centre = np.nanmean(values)
    spread = np.nanvar(values)
    return float(np.mean((early[both] - centre) * (late[both] - centre)) / spread) if spread > 0 else float("nan")


def some_series(frame: pl.LazyFrame, span: str | int, name: str) -> list[np.ndarray]:
    """The newest values of the longest series of a long frame, on the grid, NaN for missing."""
    lengths = collect(frame.group_by("unique_id").len(), name).sort("len", "unique_id", descending=[True, False])
    names = lengths["unique_id"].head(SERIES).to_list()
    some = collect(frame.filter(pl.col("unique_id").is_in(names)).select("unique_id", "ds", "y"), name).sort("unique_id", "ds")
    frequency, ds = Frequency(span), pl.col("ds")
    position = frequency.position(ds, ds.first(), frequency.day(ds))
    arrays = []
    for _, series in some.group_by("unique_id", maintain_order=True):
        at = series.select(position).to_series().to_numpy()
        values = np.full(int(at[-1]) + 1, np.nan)
        values[at] = series["y"].cast(pl.Float64, strict=False).to_numpy()
        arrays.append(values[-ROWS:])
    return arrays


def seasons_of(arrays: list[np.ndarray], span: str | int) -> dict[int, float]:
    """The clear seasons of series that end together, shortest first, with their median strength.

    If none is clear in half of the series, as each is small and noisy, those of their mean count.
    """
    return _clear_in(arrays, span) or (_clear_in([_mean_of(arrays)], span) if len(arrays) >= SEVERAL else {})


def _mean_of(arrays: list[np.ndarray]) -> np.ndarray:
    """The mean of series that end together, each divided by its own mean, over the rows that all have."""
    rows = min(map(len, arrays))
    sizes = [float(np.nanmean(np.abs(array))) if np.isfinite(array).any() else 0.0 for array in arrays]
    parts = [array[len(array) - rows :] / size for array, size in zip(arrays, sizes, strict=True) if size > 0]
    if not parts:
        return np.full(rows, np.nan)
    known = np.isfinite(parts).sum(0)
    mean: np.ndarray = np.divide(np.nansum(parts, 0), known, out=np.full(rows, np.nan), where=known > 0)
    return mean


def _clear_in(arrays: list[np.ndarray], span: str | int) -> dict[int, float]:
    medians = {}
    for season in seasons_to_try(span):
        each = [strength(values, season) for values in arrays]
        # short series show some autocorrelation by chance
        clear = [
            v - max(CLEAR, 3 / math.sqrt(np.isfinite(a).sum())) for v, a in zip(each, arrays, strict=True) if math.isfinite(v)
        ]
        if len(clear) >= max(1, len(each) / 2) and float(np.median(clear)) > 0:
            medians[season] = float(np.nanmedian(each))
    return medians
