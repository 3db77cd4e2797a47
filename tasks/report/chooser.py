"""The forecasts that the picture of the report shows: which series and origins, and their numbers."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from models.data.panel import Data
from params.schema import RunParams
from params.shown import visible
from tasks.compare.compare import Comparison
from tasks.lags.past import target_frame
from tasks.report.distribution import shown_level
from tasks.report.pictures import beside, start_series
from tasks.report.plots.forecasts import evenly

MOST_SERIES, ENDS = 200, 20  # series; of more, so many of the worst and of the best, and a sample of the others
NUMBERS = 80_000  # in the page, which is half a megabyte; fewer origins where there are more series
BEFORE, LEAST, MOST = 2, 28, 168  # history: in horizons; at least and at most in rows
DIGITS = 5

Numbers = list[float | int | None]


@dataclass(frozen=True)
class Shown:
    """A forecast from one origin: times as text, and a number per row (None: unknown).

    `actual` [history + gap + horizon]; `model`, `other`, `low`, `high` [horizon].
    """

    cutoff: str
    first: str
    last: str
    actual: Numbers
    model: Numbers
    other: Numbers
    low: Numbers
    high: Numbers


@dataclass(frozen=True)
class Line:
    """A series with its place by error, and its origins, the oldest first."""

    name: str
    place: int
    origins: tuple[Shown, ...]


@dataclass(frozen=True)
class Chooser:
    """What the picture draws: `model` with the interval of `level` percent (None: without), next to `other`.

    `history` rows up to the cutoff, `gap` rows, then the horizon.  `series`: the worst first, of `ranked` in
    all; `start`: the place of the first one drawn.
    """

    unit: str
    model: str
    other: str
    level: int | None
    history: int
    gap: int
    ranked: int
    start: int
    series: tuple[Line, ...]

    def words(self) -> str:
        """Which series and origins can be chosen."""
        count, most = len(self.series), max((len(one.origins) for one in self.series), default=0)
        of = f"all {count:,} series" if count == self.ranked else f"{count:,} of {self.ranked:,} series"
        which = "" if count == self.ranked else " (the worst, the best, and a sample of the others)"
        return f"To choose from: {of}{which}, the largest MAE first; up to {most:,} test origins of each, evenly spread."

    def to_dict(self) -> dict[str, Any]:
        """As the script of the page reads it."""
        return asdict(self)


def chooser_of(comparison: Comparison, run: RunParams, data: Data) -> Chooser | None:
    """What the picture draws; None if the model to use has no forecasts on test."""
    model, other = comparison.shown, beside(comparison)
    errors = comparison.errors_by_series(model).drop_nulls(model).sort(model, "unique_id", descending=[True, False])
    ranked, start = errors["unique_id"].to_list(), start_series(comparison)
    if start is None:
        return None
    windows, horizon = data.windows, comparison.test.horizon
    history = max(LEAST, min(BEFORE * horizon, MOST))
    each = history + windows.gap + 5 * horizon  # the actuals, and four numbers a step
    places = some_places(len(ranked), min(MOST_SERIES, max(NUMBERS // each, 1)), ranked.index(start))
    origins = max(NUMBERS // (each * len(places)), 1)
    level = shown_level(run.evaluation.levels)
    ends = [f"{model}-{end}-{level}" for end in ("lo", "hi")]
    ends = [name for name in ends if name in pl.read_parquet_schema(comparison.test.path)]
    rows = comparison.test.read(model, other, *ends, series=[ranked[place] for place in places])
    of_each = {key[0]: part for key, part in rows.partition_by("unique_id", as_dict=True).items()}
    columns, lines = (model, other, *ends), list[Line]()
    for place in places:
        own = target_frame(data.panel, [ranked[place]]).sort("ds")
        some = tuple(_shown(own, of_each[ranked[place]], columns, history, windows.gap, origins))
        lines.append(Line(visible(ranked[place]), place + 1, some))
    at = places.index(ranked.index(start))
    return Chooser(
        visible(run.data.target), model, other, level if ends else None, history, windows.gap, len(ranked), at, tuple(lines)
    )


def some_places(count: int, most: int, start: int) -> list[int]:
    """At most `most` of `count` places: the first and the last ENDS, `start`, and a sample of the others.

    The sample is the same at every call.
    """
    if count <= most:
        return list(range(count))
    ends = min(ENDS, max((most - 1) // 2, 0))
    kept = {start, *range(ends), *range(count - ends, count)}
    others = [place for place in range(count) if place not in kept]
    drawn = np.random.default_rng(0).permutation(len(others))[: max(most - len(kept), 0)]
    return sorted(kept | {others[place] for place in drawn})


def _shown(own: pl.DataFrame, rows: pl.DataFrame, columns: Sequence[str], history: int, gap: int, most: int) -> Iterator[Shown]:
    """Some origins of one series.  `own`: its whole target by time; `rows`: its test forecasts."""
    rows = rows.filter(pl.col(columns[0]).is_finite().any().over("cutoff")).sort("cutoff", "step")
    parts = rows.partition_by("cutoff", maintain_order=True)
    times, y, whole = own["ds"], own["y"].to_list(), _whole_days(own["ds"])
    for part in (parts[place] for place in evenly(len(parts), most)):
        at = times.search_sorted(part["cutoff"][0])
        begin, end = at - history + 1, at + gap + part.height + 1
        actual = [y[row] if 0 <= row < len(y) else None for row in range(begin, end)]
        model, other, *ends = (_numbers(part[name].to_list()) for name in columns)
        cutoff, first, last = (_moment(one, whole) for one in (times[at], times[max(begin, 0)], part["ds"][-1]))
        low, high = ends or ([], [])
        yield Shown(cutoff, first, last, _numbers(actual), model, other, low, high)


def _whole_days(times: pl.Series) -> bool:
    """Whether all times are midnights."""
    if times.dtype != pl.Datetime:
        return False
    return bool(((times.dt.hour() == 0) & (times.dt.minute() == 0) & (times.dt.second() == 0)).all())


def _moment(time: object, whole_days: bool) -> str:
    if isinstance(time, datetime):
        return f"{time:%Y-%m-%d}" if whole_days else f"{time:%Y-%m-%d %H:%M}"
    return str(time)


def _numbers(values: Sequence[float | None]) -> Numbers:
    """Numbers with five digits, as short as they can be written; None for what is no number."""
    return [None if one is None or not np.isfinite(one) else _short(one) for one in values]


def _short(value: float) -> float | int:
    rounded = float(f"{value:.{DIGITS}g}")
    return int(rounded) if rounded == int(rounded) else rounded
