"""The measure of a run (`evaluation.choose_by`) on arrays, as ensemble weights are learnt by it.

Equal to `tasks/compare/measures.py`, which has the formulas, on the rows with an actual and all members'
forecasts.
Shapes: W windows, H horizon, S series of the panel.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from models.data.panel import Panel, Split
from models.fit.settings import Measure
from models.serving import seasonal

Kind = Literal["plain", "square", "relative"]  # |e|, e^2, 200 |e| / (|y| + |forecast|)
Sums = dict[Kind, np.ndarray]  # [S] sums of one model's errors, by series
KINDS: dict[Measure, tuple[Kind, ...]] = {
    "mae": ("plain",),
    "mase": ("plain",),
    "mae_scaled": ("plain",),
    "owa": ("plain", "relative"),
    "rmsse": ("square",),
    "mse_scaled": ("square",),
}


@dataclass(frozen=True)
class Shares:
    """The weight of each kind of error in a score, by series [S].

    `roots`: the score is the mean, over this many series, of the root of the sum of their shares; 0: the sum
    of all.
    """

    of: Sums
    roots: int = 0

    def score(self, sums: Sums) -> float:
        """The score of a model from the sums of its errors."""
        parts = [sums[kind] * share for kind, share in self.of.items()]
        if self.roots:
            return float(np.sqrt(parts[0]).sum()) / self.roots
        return float(sum(part.sum() for part in parts))


def errors(y: np.ndarray, forecast: np.ndarray, kind: Kind) -> np.ndarray:
    """The errors of one kind, NaN (or 0) where the actual or forecast is missing."""
    error: np.ndarray = np.abs(forecast - y)
    if kind == "plain":
        return error
    if kind == "square":
        return np.asarray(np.square(error))
    size = np.abs(y) + np.abs(forecast)
    return np.asarray(np.divide(200 * error, size, out=np.zeros_like(error), where=size > 0))


def units(panel: Panel, split: Split, season: int, by: Measure) -> np.ndarray:
    """[S] what each series' errors are divided by, from its training rows.

    The MAE or MSE of the seasonal naive, or the population standard deviation; NaN if missing or 0.  1 for an MAE.
    """
    if by == "mae":
        return np.ones(len(panel.ids))
    y, begins, counts = np.asarray(panel.target, np.float64), panel.offsets[:-1].astype(np.int64), np.diff(panel.offsets)
    series, rows = np.repeat(np.arange(len(counts)), counts), np.arange(len(y))
    _, stops = split.target_ranges(panel.times, panel.offsets, "train")
    starts = begins + panel.facts.start_padding
    inside = (rows >= starts[series]) & (rows < (begins + stops)[series]) & np.isfinite(y)
    if by in ("mae_scaled", "mse_scaled"):
        error = y - _means(y, series, inside, len(counts))[series]
    else:
        error = y - seasonal(y, rows - season, starts[series], season)
        inside &= np.isfinite(error)
    means = _means(np.abs(error) if by in ("mase", "owa") else np.square(error), series, inside, len(counts))
    means = np.sqrt(means) if by in ("mae_scaled", "mse_scaled") else means
    return np.where(means > 0, means, np.nan)


def _means(values: np.ndarray, series: np.ndarray, inside: np.ndarray, count: int) -> np.ndarray:
    """[S] the mean of each series' values that lie inside; NaN if none does."""
    sums = np.bincount(series[inside], values[inside], minlength=count)
    rows = np.bincount(series[inside], minlength=count)
    return np.asarray(np.divide(sums, rows, out=np.full(count, np.nan), where=rows > 0))


def shares_of(by: Measure, unit: np.ndarray, rows: np.ndarray, naive2: Sums | None = None) -> Shares | None:
    """The shares of a measure; None if there is nothing to score.

    `unit` [S], `rows` [S]: the unit and row count of each series; `naive2`: that baseline's errors on them,
    for an OWA.
    """
    known = np.isfinite(unit) & (rows > 0)
    series, count = int(known.sum()), float(rows[known].sum())
    if not series:
        return None
    safe, number = np.where(known, unit, 1.0), np.maximum(rows, 1)
    if by in ("mae", "mae_scaled"):
        return Shares({"plain": np.where(known, 1 / (safe * count), 0.0)})
    if by == "mse_scaled":
        return Shares({"square": np.where(known, 1 / (safe**2 * count), 0.0)})
    alike = np.where(known, 1 / (safe * number), 0.0)  # weights errors so that every series counts equally
    if by == "rmsse":
        return Shares({"square": alike}, series)
    if by == "mase":
        return Shares({"plain": alike / series})
    if naive2 is None:
        raise ValueError("an OWA divides by naive2, which is no member")
    smape, mase = float(naive2["relative"].sum()) / rows.sum(), float((alike * naive2["plain"]).sum()) / series
    if not smape or not mase:
        return None
    relative = np.full(len(unit), 1 / (2 * float(rows.sum()) * smape))
    return Shares({"plain": alike / (2 * series * mase), "relative": relative})
