"""Whether one model is better than another by more than chance: Diebold-Mariano and a block bootstrap.

What is compared is the absolute error, a mean over the steps of a series at an origin and, for a variant with several seeds,
over those.  The series of one origin have their weather in common, so an origin counts once: the test runs over the origins
in time order, each the mean of its series.  Forecasts of neighbouring origins overlap, which makes their errors alike:
`overlap` origins in a row share a target.  Where there are too few origins for that (one, on M4), the series are what is
counted, each the mean of its origins.
Diebold & Mariano 1995 (JBES 13); Harvey, Leybourne & Newbold 1997 (IJF 13) for few origins; Kuensch 1989 for the bootstrap;
Holm 1979 for many comparisons.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import polars as pl
from scipy.stats import t as student

from tasks.compare.board import Difference

FEWEST = 10  # origins, and twice as many as overlap, or else series: fewer say nothing
RESAMPLES = 2000


def differences(frame: pl.DataFrame, models: Sequence[str], others: Sequence[str]) -> pl.DataFrame:
    """unique_id, cutoff, gap: mean |error| of `models` (the seeds of one) less that of `others`, on rows that have all.

    `frame`: a wide forecast frame.
    """
    numbers = pl.col("y", *dict.fromkeys((*models, *others))).cast(pl.Float64).fill_nan(None)
    rows = frame.select("unique_id", "cutoff", numbers).drop_nulls()
    ours, theirs = (
        pl.sum_horizontal((pl.col(name) - pl.col("y")).abs() for name in names) / len(names) for names in (models, others)
    )
    return rows.group_by("unique_id", "cutoff").agg((ours - theirs).mean().alias("gap")).sort("cutoff", "unique_id")


def overlap_of(horizon: int, gap: int, stride: int) -> int:
    """How many origins in a row, `stride` rows apart, forecast a common row, so that their errors are alike; at least 1."""
    return max(1, math.ceil((gap + horizon) / stride))


def judge(gaps: pl.DataFrame, overlap: int) -> Difference | None:
    """What the gaps of `differences` say; None where there are none."""
    if gaps.is_empty():
        return None
    by_origin, by_series = (
        gaps.group_by(key).agg(pl.col("gap").mean()).sort(key)["gap"].to_numpy() for key in ("cutoff", "unique_id")
    )
    if enough(by_origin, overlap) or not enough(by_series, 1):
        values, over = by_origin, "origins"
    else:
        values, over, overlap = by_series, "series", 1
    found, interval = diebold_mariano(values, overlap), mean_interval(values, overlap)
    low, high = interval or (None, None)
    statistic, p = found or (None, None)
    return Difference(float(values.mean()), low, high, statistic, p, over, len(values))


def enough(values: np.ndarray, overlap: int) -> bool:
    """Whether there are enough origins (or series, of overlap 1) to say anything."""
    return len(values) >= max(FEWEST, 2 * overlap)


def diebold_mariano(difference: np.ndarray, overlap: int) -> tuple[float, float] | None:
    """(statistic, two-sided p) of a mean difference of zero; None where there are too few origins or nothing differs.

    The variance of the mean counts the autocovariances of the first `overlap` - 1 lags in full; where that is not positive,
    with falling weights (Bartlett's), under which it always is.
    """
    count = len(difference)
    if not enough(difference, overlap) or not difference.any():
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
    if not enough(difference, overlap):
        return None
    block = min(count, max(overlap, math.ceil(count ** (1 / 3)))) if overlap > 1 else 1
    sums = np.concatenate(([0.0], np.cumsum(difference)))
    rng = np.random.default_rng(seed)
    totals = np.array([_resampled(sums, block, rng) for _ in range(RESAMPLES)])
    low, high = np.quantile(totals / count, ((1 - coverage) / 2, (1 + coverage) / 2))
    return float(low), float(high)


def _resampled(sums: np.ndarray, block: int, rng: np.random.Generator) -> float:
    """The sum of one resample, as long as the series: its last block is cut.  `sums`: the running sums, from 0."""
    count = len(sums) - 1
    whole, rest = divmod(count, block)
    starts = rng.integers(0, count - block + 1, whole)
    total = float((sums[starts + block] - sums[starts]).sum())
    if rest:
        last = int(rng.integers(0, count - rest + 1))
        total += float(sums[last + rest] - sums[last])
    return total


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """The same p values, each raised so that all that lie below a level are wrong together with at most its probability."""
    found: dict[str, float] = {}
    least = 0.0
    for rank, name in enumerate(sorted(p_values, key=lambda name: (p_values[name], name))):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[name]))
        found[name] = least
    return found


def corrected(found: Mapping[str, Difference]) -> dict[str, Difference]:
    """The same differences with `p_holm`, over all that have a p value, and how many those are."""
    raised = holm({name: difference.p for name, difference in found.items() if difference.p is not None})
    return {name: replace(one, p_holm=raised.get(name), tested=len(raised)) for name, one in found.items()}
