"""Scores of forecast distributions: interval coverage and width, and quantile losses.

For a row with the actual y, an interval of L percent from lo to hi, and quantiles q at levels a:

coverage_L          whether lo <= y <= hi
width_L             hi - lo
interval_score_L    width + 2 / alpha * what lies outside, alpha = 1 - L / 100 (Gneiting & Raftery 2007, JASA 102)
msis_L              interval score / mean |y_t - y_(t-m)| of all rows of the series up to the cutoff, m: evaluation.season
                    (Makridakis et al. 2020, "The M4 Competition", IJF 36)
wql                 sum of 2 * pinball / sum of |y|, the mean over the levels 0.1, 0.2 .. 0.9
crps                twice the pinball loss, each level weighing as much as lies nearest to it: an integral over the levels

A row counts if it has an actual and what the score needs.  The scores of single rows are in columns with a
leading underscore, since they may stand next to those of models.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from models.data.panel import Data, Panel
from models.serving import Bounds, Calibration, ends_of, seasonal
from params.schema import RunParams
from tasks.compare.board import Score
from tasks.compare.sums import merged
from tasks.evaluate.bounds import bounds_of
from tasks.evaluate.frames import Outcome
from tasks.lags.past import series_parts

DECILES = tuple(k / 10 for k in range(1, 10))
FEW = 10  # series; with fewer, each is its own group
GROUPS = 5
FIFTHS = {"1": "smallest fifth", "2": "second fifth", "3": "third fifth", "4": "fourth fifth", "5": "largest fifth"}


@dataclass(frozen=True)
class Shape:
    """Where the actuals lie in the forecast distributions of one model.

    `under`, `upto` [Q]: the share of actuals below, and not above, its quantiles of `levels` [Q]; NaN if
    unknown.  `pit` [10]: the share of the `rows` between two deciles, the first below 0.1, the last above
    0.9.  An actual that equals several deciles, as counts do, is spread evenly over them (Czado et al. 2009,
    Biometrics 65).
    """

    levels: np.ndarray
    under: np.ndarray
    upto: np.ndarray
    pit: np.ndarray
    rows: int


@dataclass(frozen=True)
class Ruler:
    """What a run's test distributions are scored by.

    `levels`: of the intervals, in percent.  `scale` [O]: an MSIS's divisor for each origin's rows.  `groups`:
    unique_id, _fifth.
    """

    levels: Sequence[int]
    bounds: Bounds
    scale: np.ndarray
    groups: pl.DataFrame

    @classmethod
    def of(cls, run: RunParams, data: Data, origins: np.ndarray, sizes: pl.DataFrame) -> "Ruler":
        """The ruler for some origins.  `sizes`: as for `fifths`."""
        scale = season_errors(data.panel, origins, run.evaluation.season)
        groups = fifths(sizes).rename({"fifth": "_fifth"})
        return cls(run.evaluation.levels, bounds_of(run.data), scale, groups)


def fifths(sizes: pl.DataFrame) -> pl.DataFrame:
    """unique_id, fifth: each series' size group, "1" (smallest) to "5", by its mean |y| in the training rows.

    With fewer than ten series each is a group with its own name.  A series without training rows has no group
    and is left out.  `sizes`: unique_id, size, as in `Scale.series`.
    """
    sizes = sizes.select("unique_id", "size").drop_nulls().sort("size", "unique_id")
    place = pl.int_range(pl.len()) * GROUPS // max(sizes.height, 1) + 1
    group = pl.col("unique_id") if sizes.height < FEW else place.cast(pl.String)
    return sizes.select("unique_id", group.alias("fifth")).sort("unique_id")


def season_errors(panel: Panel, origins: np.ndarray, season: int) -> np.ndarray:
    """[O] the mean |y_t - y_(t-m)| over a series' rows up to each origin; NaN if missing or 0.

    Missing values are handled as in `measures.scales`."""
    errors = np.full(len(origins), np.nan)
    for some in series_parts(panel.offsets):
        offsets = panel.offsets[some.start : some.stop + 1]
        inside = (origins >= offsets[0]) & (origins < offsets[-1])
        if inside.any():
            y, borders = np.asarray(panel.target[offsets[0] : offsets[-1]], np.float64), offsets - offsets[0]
            errors[inside] = _mean_errors(y, np.repeat(borders[:-1], np.diff(borders)), season)[origins[inside] - offsets[0]]
    return np.where(errors > 0, errors, np.nan)


def _mean_errors(y: np.ndarray, start: np.ndarray, season: int) -> np.ndarray:
    """[rows] the mean error of the seasonal naive over a series' rows, from `start`, up to each row."""
    error = pl.Series("error", np.abs(y - seasonal(y, np.arange(len(y)) - season, start, season))).fill_nan(None)
    mean = pl.col("error").fill_null(0.0).cum_sum() / pl.col("error").is_not_null().cum_sum()
    means: np.ndarray = pl.DataFrame([error, pl.Series("start", start)]).select(mean.over("start")).to_series().to_numpy()
    return means


class RowScores:
    """The row scores of one model, block by block, and the shape over all blocks."""

    def __init__(self, calibration: Calibration, bounds: Bounds, levels: Sequence[int]) -> None:
        self.calibration, self.bounds, self.levels = calibration, bounds, levels
        self.counts = _Counts(calibration.levels)

    def of(self, block: Outcome, scale: np.ndarray | None = None) -> pl.DataFrame:
        """`_coverage_L` ... per level in percent, `_crps`, and the parts of WQL and MSIS.

        These are `_loss`, `_size` and `_scale`.  Null where unknown.  `scale` [R]: the MSIS divisor of each
        row; None: no MSIS.
        """
        quantiles, tenths = self.counted(block)
        columns: dict[str, np.ndarray] = {}
        for level in self.levels:
            ends = _at(self.calibration, quantiles, ends_of(level))
            columns |= _of_interval(block.y, ends[:, 0], ends[:, 1], level)
        columns |= _of_quantiles(block.y, quantiles, self.calibration.levels, tenths)
        columns["_scale"] = np.full(len(block.y), np.nan) if scale is None else scale
        known = pl.DataFrame(columns).with_columns(pl.all().fill_nan(None))
        return known.with_columns(pl.col("^_coverage_.*$").cast(pl.Boolean))

    def counted(self, block: Outcome) -> tuple[np.ndarray, np.ndarray]:
        """The quantiles [R, Q] and deciles [R, 9] of a block, which is also added to the shape."""
        quantiles = self.calibration.quantiles(block.point, block.step, block.series, block.own)
        quantiles = self.bounds.outward(quantiles, self.calibration.levels)
        tenths = _deciles(self.calibration, quantiles)
        self.counts.add(block.y, quantiles, tenths)
        return quantiles, tenths

    def shape(self) -> Shape:
        """The shape over all blocks so far."""
        return self.counts.shape()


def _at(calibration: Calibration, quantiles: np.ndarray, asked: Sequence[float]) -> np.ndarray:
    """Like `Calibration.at`, but without arithmetic if all requested levels are forecast."""
    places = [np.flatnonzero(calibration.levels == level) for level in asked]
    if all(len(place) for place in places):
        return np.asarray(quantiles[:, [place[0] for place in places]])
    return calibration.at(quantiles, asked)


def _deciles(calibration: Calibration, quantiles: np.ndarray) -> np.ndarray:
    """[R, 9]; NaN if the forecast levels do not reach 0.1 and 0.9."""
    known = len(calibration.levels) and calibration.levels[0] <= DECILES[0] and calibration.levels[-1] >= DECILES[-1]
    return _at(calibration, quantiles, DECILES) if known else np.full((len(quantiles), len(DECILES)), np.nan)


def _of_interval(y: np.ndarray, low: np.ndarray, high: np.ndarray, level: int) -> dict[str, np.ndarray]:
    width = high - low
    score = width + 200 / (100 - level) * (np.maximum(low - y, 0) + np.maximum(y - high, 0))
    known = ~np.isnan(score)
    return {
        f"_coverage_{level}": np.where(known, (low <= y) & (y <= high), np.nan),
        f"_width_{level}": np.where(known, width, np.nan),
        f"_interval_score_{level}": score,
    }


def _of_quantiles(y: np.ndarray, quantiles: np.ndarray, levels: np.ndarray, tenths: np.ndarray) -> dict[str, np.ndarray]:
    borders = np.r_[0.0, (levels[1:] + levels[:-1]) / 2, 1.0]
    loss = 2 * _pinball(y, tenths, np.array(DECILES)).mean(axis=1)
    crps = 2 * (_pinball(y, quantiles, levels) * np.diff(borders)).sum(
        axis=1
    )  # not a matrix product, whose rounding may depend on position
    return {"_loss": loss, "_size": np.where(np.isnan(loss), np.nan, np.abs(y)), "_crps": crps}


def _pinball(y: np.ndarray, quantiles: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """[R, Q] the loss of each quantile."""
    error = y[:, None] - quantiles
    return np.asarray(np.maximum(levels * error, (levels - 1) * error))


class _Counts:
    """The counts behind a `Shape`, over blocks of rows."""

    def __init__(self, levels: np.ndarray) -> None:
        self.levels = levels
        self.known, self.under, self.upto = (np.zeros(len(levels)) for _ in range(3))
        self.pit = np.zeros(len(DECILES) + 1)

    def add(self, y: np.ndarray, quantiles: np.ndarray, tenths: np.ndarray) -> None:
        self.known += (~np.isnan(quantiles) & ~np.isnan(y)[:, None]).sum(axis=0)
        self.under += (y[:, None] < quantiles).sum(axis=0)
        self.upto += (y[:, None] <= quantiles).sum(axis=0)
        some = ~np.isnan(y) & ~np.isnan(tenths).any(axis=1)
        least = (tenths[some] < y[some, None]).sum(axis=1)
        most = (tenths[some] <= y[some, None]).sum(axis=1)
        pairs = np.bincount(least * len(self.pit) + most, minlength=len(self.pit) ** 2).reshape(len(self.pit), -1)
        for first, last in np.argwhere(pairs):
            self.pit[first : last + 1] += pairs[first, last] / (last + 1 - first)

    def shape(self) -> Shape:
        total = self.pit.sum()
        with np.errstate(invalid="ignore"):
            return Shape(self.levels, self.under / self.known, self.upto / self.known, self.pit / total, round(total))


def sums_of(block: pl.DataFrame) -> dict[str, np.ndarray]:
    """The sums of the row scores, each with the number of rows that have it (`_with_...`)."""
    names = [name for name in block.columns if name.startswith(("_coverage_", "_width_", "_interval_score_", "_crps"))]
    values = {name: _numbers(block[name]) for name in names}
    scale = _numbers(block["_scale"])
    values |= {n.replace("_interval_score", "_msis"): v / scale for n, v in values.items() if n.startswith("_interval_score_")}
    known = {name: ~np.isnan(column) for name, column in values.items()}
    sums = {name: np.where(known[name], column, 0.0) for name, column in values.items()}
    sums |= {name: np.nan_to_num(_numbers(block[name]), nan=0.0, posinf=np.inf, neginf=-np.inf) for name in ("_loss", "_size")}
    return sums | {f"_with{name}": there.astype(float) for name, there in known.items()}


def means_from(sums: pl.DataFrame) -> pl.DataFrame:
    """Each score, `coverage_L` ..., from sums over rows; null if no row has it; MSIS weighs rows equally."""
    named = [name for name in sums.columns if f"_with{name}" in sums.columns]
    size = pl.col("_size")
    return sums.select(
        *(pl.when(pl.col(f"_with{name}") > 0).then(pl.col(name) / pl.col(f"_with{name}")).alias(name[1:]) for name in named),
        pl.when(size > 0).then(pl.col("_loss") / size).alias("wql"),
    )


def overall(series: pl.DataFrame, groups: pl.DataFrame) -> dict[str, Score]:
    """Each score over all rows, and `worst_fifth_coverage_L`: the lowest coverage of a size group.

    `series`: unique_id and the sums per series; `groups`: unique_id, _fifth.  An MSIS is the mean over series
    of the mean over their rows.
    """
    columns = [name for name in series.columns if name != "unique_id"]
    whole = means_from(merged([series.select(pl.lit(0).alias("_all"), *columns)], ["_all"]))
    scores = whole.row(0, named=True) if whole.height else dict.fromkeys(whole.columns)
    by_series = means_from(series)
    for name in by_series.columns:
        if name.startswith("msis_"):
            known = by_series[name].drop_nulls().to_numpy()
            scores[name] = float(known.mean()) if len(known) else None
    lowest = means_from(merged([in_groups(series, groups)], ["_fifth"]))
    return scores | {f"worst_fifth_{n}": lowest[n].min() for n in lowest.columns if n.startswith("coverage_")}


def in_groups(series: pl.DataFrame, groups: pl.DataFrame) -> pl.DataFrame:
    """The sums per series with its group, `_fifth`, instead of its name; drops series without a group."""
    grouped = series.join(groups, on="unique_id", how="left", maintain_order="left").drop("unique_id")
    return grouped.filter(pl.col("_fifth").is_not_null())


def _numbers(column: pl.Series) -> np.ndarray:
    return column.cast(pl.Float64).fill_null(np.nan).to_numpy()
