"""Drift of one feature: whether its newest rows differ from training's more than training's own windows do.

All is counted: rows per time bucket (a day, or a step of a day or more) and bin of the feature.  Shapes: T
buckets of training, N buckets since, B bins: missing, below training, training's percentiles, above.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

ALLOWED = 0.01  # share of windows like training's that exceed the bar, over all lengths that are tried
LEAST_PSI, LEAST_DISTANCE = 0.2, 0.05  # below these nothing is drift, however even training was
GROUPS = 10  # of the PSI, equal shares of training
FEWEST = 6  # windows of a length that training must hold to set a bar
SHORTEST = 3  # buckets of a window, if there are so many
SMALLEST = 1e-3  # a distance or PSI counts as at least this much, or training without any would allow none
MOST_VALUES = 1 << 20  # values whose percentiles are taken


@dataclass(frozen=True)
class Drift:
    """How far a feature's newest `window` buckets are from training, and the bars that training's own set.

    `psi`, `distance` (Kolmogorov-Smirnov): of the window that exceeds its bars by most.  `since`: the bucket
    after training, counted from 0, at which a drift began; None without one.  `judged`: False if there is
    nothing since, or too little training for a bar.  `missing`, `missing_before`: shares of rows without a
    value, in the window and in training.
    """

    feature: str
    psi: float = 0.0
    psi_bar: float = LEAST_PSI
    distance: float = 0.0
    distance_bar: float = LEAST_DISTANCE
    window: int = 0
    since: int | None = None
    missing: float = 0.0
    missing_before: float = 0.0
    judged: bool = True

    @property
    def excess(self) -> float:
        """How far it is above its bars: drift if more than 1."""
        return max(self.psi / self.psi_bar, self.distance / self.distance_bar)


def edges_of(values: np.ndarray) -> np.ndarray:
    """The borders of the bins: training's minimum, percentiles and maximum; empty without a value."""
    some = values[:: max(len(values) // MOST_VALUES, 1)]
    some = some[np.isfinite(some)]
    if not len(some):
        return np.empty(0)
    found = np.unique(np.quantile(some, np.linspace(0, 1, 101), method="inverted_cdf"))
    return np.concatenate(([np.nextafter(found[0], -np.inf)], found))


def counted(values: np.ndarray, bucket: np.ndarray, buckets: int, edges: np.ndarray) -> np.ndarray:
    """int64 [buckets, B]: rows of each bucket and bin; `values` [rows] NaN where missing."""
    bins = len(edges) + 2
    place = np.where(np.isfinite(values), np.searchsorted(edges, values, side="left") + 1, 0)
    return np.bincount(bucket * bins + place, minlength=buckets * bins).reshape(buckets, bins)


def drift(feature: str, trained: np.ndarray, since: np.ndarray) -> Drift:
    """Judges a feature by its counts in training [T, B] and since [N, B].

    The newest windows of several lengths are each held against training as a whole, and the bars are what
    training's own windows of that length, each against the rest of training, exceed 1 % of the time.
    """
    lengths = _lengths(len(trained), len(since))
    if not lengths or not since.sum() or not trained.sum():
        return Drift(feature, judged=False)
    group = _groups(trained.sum(0))
    below = np.concatenate((np.zeros((1, trained.shape[1]), np.int64), np.cumsum(trained, axis=0)))
    found = [_window(feature, length, below, since, group, ALLOWED / len(lengths)) for length in lengths]
    worst = max(found, key=lambda one: one.excess)
    if worst.excess <= 1:
        return worst
    return Drift(**{**vars(worst), "since": began(trained.sum(0), since)})


def _lengths(trained: int, since: int) -> list[int]:
    """The lengths of the newest windows that are judged, in buckets: each half of the one before."""
    length, found = min(since, trained // FEWEST), list[int]()
    while length >= min(SHORTEST, max(since, 1)) and length > 0:
        found.append(length)
        length //= 2
    return found


def _groups(trained: np.ndarray) -> np.ndarray:
    """[B] the group of the PSI that each bin is in: missing values alone, the others by training's share."""
    values = trained[1:]
    middle = (np.cumsum(values) - values / 2) / max(values.sum(), 1)
    return np.concatenate(([0], 1 + np.minimum((middle * GROUPS).astype(np.int64), GROUPS - 1)))


def _window(feature: str, length: int, below: np.ndarray, since: np.ndarray, group: np.ndarray, allowed: float) -> Drift:
    """One length: its newest window against training, and the bars."""
    newest, whole = since[-length:].sum(0), below[-1]
    starts = np.arange(len(below) - 1 - length, -1, -max(length // 4, 1))
    own = below[starts + length] - below[starts]
    own = own[own.sum(1) > 0]
    separate = (len(below) - 1) // length  # windows that do not overlap
    distances, psis = _distances(own, whole - own), _psis(own, whole - own, group)
    return Drift(
        feature,
        float(_psis(newest[None], whole[None], group)[0]),
        max(math.exp(_bar(np.log(np.maximum(psis, SMALLEST)), separate, allowed)), LEAST_PSI),
        float(_distances(newest[None], whole[None])[0]),
        max(1 / (1 + math.exp(-_bar(_logit(distances), separate, allowed))), LEAST_DISTANCE),
        length,
        missing=float(newest[0] / max(newest.sum(), 1)),
        missing_before=float(whole[0] / whole.sum()),
    )


def _distances(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    """[W] the Kolmogorov-Smirnov distance of each pair of counts [W, B]; missing values rank lowest."""
    gap = _shares(np.cumsum(some, axis=1)) - _shares(np.cumsum(others, axis=1))
    return np.asarray(np.abs(gap).max(axis=1))


def _shares(cumulated: np.ndarray) -> np.ndarray:
    return np.asarray(cumulated / np.maximum(cumulated[:, -1:], 1))


def _psis(some: np.ndarray, others: np.ndarray, group: np.ndarray) -> np.ndarray:
    """[W] the population stability index of each pair of counts [W, B], half a row added to each group."""
    member = np.arange(GROUPS + 1)[:, None] == group
    member = member[member.any(axis=1)]
    a, b = (counts @ member.T + 0.5 for counts in (some, others))
    p, q = a / a.sum(axis=1, keepdims=True), b / b.sum(axis=1, keepdims=True)
    return np.asarray(((p - q) * np.log(p / q)).sum(axis=1))


def _logit(shares: np.ndarray) -> np.ndarray:
    some = np.clip(shares, SMALLEST, 1 - SMALLEST)
    return np.asarray(np.log(some / (1 - some)))


def _bar(values: np.ndarray, separate: int, allowed: float) -> float:
    """What one more of some normal values exceeds with probability `allowed` (prediction interval).

    `separate`: the number of independent values among them.
    """
    spread = student.ppf(1 - allowed, separate - 1) * math.sqrt(1 + 1 / separate)
    return float(values.mean() + spread * values.std(ddof=1))


def began(trained: np.ndarray, since: np.ndarray) -> int:
    """The bucket since which all rows differ most from those before: `trained` [B] and since [N, B].

    It maximises the distance of the two sides, times the root of the share of buckets on each.
    """
    after = np.cumsum(since[::-1], axis=0)[::-1]
    before = trained + since.sum(0) - after
    left = np.arange(len(since), 0, -1)
    return int(np.argmax(_distances(after, before) * np.sqrt(left)))
