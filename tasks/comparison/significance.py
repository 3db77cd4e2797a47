"""Whether two models differ on the test origins: Diebold-Mariano and a moving-block bootstrap; never chooses one.

What is compared is the mean absolute error of each origin, over the series that both models forecast from it and all steps: a
value an origin, in time order, so that what series have in common is not counted as often as there are series.  Forecasts of
neighbouring origins overlap, which makes their errors alike: `overlap` origins in a row share a target.
Diebold & Mariano 1995 (JBES 13); Harvey, Leybourne & Newbold 1997 (IJF 13) for few origins; Kuensch 1989 for the bootstrap;
Holm 1979 for many comparisons.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from scipy.stats import t as student

LEVEL = 0.05  # of a false alarm, over all comparisons with one model
FEWEST = 10  # origins, and twice as many as overlap: fewer say nothing
RESAMPLES = 2000


def differences(frame: pl.DataFrame, model: str, other: str) -> np.ndarray:
    """[origins] mean |error| of `model` minus that of `other`, oldest origin first, on rows that have both and an actual.

    `frame`: a wide forecast frame.
    """
    numbers = pl.col("y", *dict.fromkeys((model, other))).cast(pl.Float64).fill_nan(None)
    rows = frame.select("cutoff", numbers).drop_nulls()
    gap = (pl.col(model) - pl.col("y")).abs() - (pl.col(other) - pl.col("y")).abs()
    return rows.group_by("cutoff").agg(gap.mean().alias("gap")).sort("cutoff")["gap"].to_numpy()


def overlap_of(horizon: int, gap: int, stride: int) -> int:
    """How many origins in a row, `stride` rows apart, forecast a common row, so that their errors are alike; at least 1."""
    return max(1, math.ceil((gap + horizon) / stride))


def diebold_mariano(difference: np.ndarray, overlap: int) -> tuple[float, float] | None:
    """(statistic, two-sided p) of a mean difference of zero; None where there are too few origins or nothing differs.

    The variance of the mean counts the autocovariances of the first `overlap` - 1 lags in full; where that is not positive,
    with falling weights (Bartlett's), under which it always is.
    """
    count = len(difference)
    if count < max(FEWEST, 2 * overlap) or not difference.any():
        return None
    apart = difference - difference.mean()
    covariances = np.array([apart[lag:] @ apart[: count - lag] for lag in range(overlap)]) / count
    variance = covariances[0] + 2 * covariances[1:].sum()
    if variance <= 0:
        variance = covariances[0] + 2 * ((1 - np.arange(1, overlap) / overlap) * covariances[1:]).sum()
    if variance <= 0:  # every origin differs by the same
        return math.copysign(math.inf, difference.mean()), 0.0
    small = math.sqrt((count + 1 - 2 * overlap + overlap * (overlap - 1) / count) / count)
    statistic = small * float(difference.mean()) / math.sqrt(variance / count)
    return statistic, float(2 * student.sf(abs(statistic), count - 1))


def mean_interval(difference: np.ndarray, overlap: int, coverage: float = 0.9, seed: int = 0) -> tuple[float, float] | None:
    """The interval of the mean difference by resampling blocks of origins in a row; None where there are too few."""
    count = len(difference)
    if count < max(FEWEST, 2 * overlap):
        return None
    block = min(count, max(overlap, math.ceil(count ** (1 / 3))))
    starts = np.random.default_rng(seed).integers(0, count - block + 1, (RESAMPLES, -(-count // block)))
    rows = (starts[..., None] + np.arange(block)).reshape(RESAMPLES, -1)[:, :count]
    low, high = np.quantile(difference[rows].mean(1), ((1 - coverage) / 2, (1 + coverage) / 2))
    return float(low), float(high)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """The same p values, each raised so that all that lie below a level are wrong together with at most its probability."""
    found: dict[str, float] = {}
    least = 0.0
    for rank, name in enumerate(sorted(p_values, key=lambda name: (p_values[name], name))):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[name]))
        found[name] = least
    return found


def against(frame: pl.DataFrame, models: Sequence[str], other: str, overlap: int) -> dict[str, float]:
    """The p value (Holm) of each model that can be compared with `other`."""
    tried = {name: diebold_mariano(differences(frame, name, other), overlap) for name in models if name != other}
    return holm({name: found[1] for name, found in tried.items() if found is not None})
