"""Drift of one feature: whether its newest rows differ from training's more than training's own windows do.

All is counted: rows per time bucket (a day, or a step of a day or more) and bin of the feature.  Shapes: T
buckets of training, N buckets since, B bins: missing, below training, training's percentiles, above.
"""

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy.stats import t as student

ALLOWED = 0.01  # share of windows like training's that exceed the bar, over all lengths that are tried
LEAST_PSI, LEAST_DISTANCE = 0.2, 0.05  # below these nothing is drift, however even training was
GROUPS = 10  # of the PSI, equal shares of training
FEWEST = 6  # windows of a length that training must hold to set a bar
STRETCHES = (3, 7, 14, 28)  # buckets before and after a jump
AROUND = 4  # lengths on each side of a jump in which its place is sought
FEWEST_ROWS = 12  # on each side of a jump
SHORTEST = 3  # buckets of a window, if there are so many
SMALLEST = 1e-3  # a distance or PSI counts as at least this much, or training without any would allow none
MOST_VALUES = 1 << 20  # values whose percentiles are taken


@dataclass(frozen=True)
class Drift:
    """How far a feature's newest `window` buckets are from training, and the bars that training's own set.

    `psi`, `distance` (Kolmogorov-Smirnov): of the window that exceeds its bars by most.  `jump`: the distance of
    the `stretch` buckets before and after the place where a jump is most likely.  `since`: the bucket
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
    jump: float = 0.0
    jump_bar: float = 1.0
    stretch: int = 0
    since: int | None = None
    missing: float = 0.0
    missing_before: float = 0.0
    judged: bool = True

    @property
    def excess(self) -> float:
        """How far it is above its bars: drift if more than 1."""
        return max(self.psi / self.psi_bar, above(self.distance, self.distance_bar), above(self.jump, self.jump_bar))


def above(distance: float, bar: float) -> float:
    """A distance as a share of its bar; one of 1, which a few rows reach easily, is no more than just below it."""
    return min(distance, 1 - SMALLEST) / bar


def edges_of(values: np.ndarray) -> np.ndarray:
    """The borders of the bins: training's minimum, percentiles and maximum; empty without a value."""
    some = values[:: max(len(values) // MOST_VALUES, 1)]
    some = some[np.isfinite(some)]
    if not len(some):
        return np.empty(0)
    edges = np.unique(np.quantile(some, np.linspace(0, 1, 101), method="inverted_cdf"))
    return np.concatenate(([np.nextafter(edges[0], -np.inf)], edges))


def counted(values: np.ndarray, bucket: np.ndarray, buckets: int, edges: np.ndarray) -> np.ndarray:
    """int64 [buckets, B]: rows of each bucket and bin; `values` [rows] NaN where missing."""
    bins = len(edges) + 2
    place = np.where(np.isfinite(values), np.searchsorted(edges, values, side="left") + 1, 0)
    return np.bincount(bucket * bins + place, minlength=buckets * bins).reshape(buckets, bins)


def drift(feature: str, trained: np.ndarray, since: np.ndarray) -> Drift:
    """Judges a feature by its counts in training [T, B] and since [N, B], in two ways.

    The newest windows of several lengths are compared with training as a whole; their bars come from
    training's own windows, each compared with the rest.  And each bucket since is tried as the start of a
    jump: the rows after it are compared with as many before, which shows a step that stays within training's
    range.  All bars are set so that `ALLOWED` of columns like training's exceed any of them.
    """
    lengths = _lengths(len(trained), len(since))
    if not lengths or not since.sum() or not trained.sum():
        return Drift(feature, judged=False)
    group = _groups(trained.sum(0))
    below = _below(trained)
    windows = [_window(feature, length, below, since, group, ALLOWED / 2 / len(lengths)) for length in lengths]
    worst = max(windows, key=lambda one: one.excess)
    jump = _jump(trained, since)
    begin = None
    if jump.excess > 1:
        begin = _placed(np.concatenate((trained, since)), len(trained), jump)
    elif worst.excess > 1:
        begin = began(trained.sum(0)[None], since)
    return replace(worst, jump=jump.distance, jump_bar=jump.bar, stretch=jump.length, since=begin)


def _below(counts: np.ndarray) -> np.ndarray:
    """[rows + 1, B] sums of the rows before each."""
    return np.concatenate((np.zeros((1, counts.shape[1]), np.int64), np.cumsum(counts, axis=0)))


class _Jump(NamedTuple):
    """The distance of the `length` buckets from `at` on from as many before, and its bar."""

    distance: float = 0.0
    bar: float = 1.0
    length: int = 0
    at: int = 0

    @property
    def excess(self) -> float:
        return above(self.distance, self.bar)


def _jump(trained: np.ndarray, since: np.ndarray) -> _Jump:
    """The place in the rows since that looks most like the start of a jump, over several lengths."""
    least = FEWEST_ROWS * len(trained) / max(trained.sum(), 1)
    lengths = [one for one in STRETCHES if least <= one <= len(since) and len(trained) // one > FEWEST]
    below, first, jumps = _below(np.concatenate((trained, since))), len(trained), [_Jump()]
    for length in lengths:
        allowed = ALLOWED / 2 / len(lengths) / len(since)
        distances = _adjacent(below, np.arange(length, len(below) - length), length)
        own, new = distances[: first - 2 * length + 1], distances[first - length :]
        bar = max(_share(_bar(_logit(own[np.isfinite(own)]), len(trained) // length - 1, allowed)), LEAST_DISTANCE)
        if np.isfinite(new).any():
            at = int(np.nanargmax(new))
            jumps.append(_Jump(float(new[at]), bar, length, at))
    return max(jumps, key=lambda one: one.excess)


def _adjacent(below: np.ndarray, places: np.ndarray, length: int) -> np.ndarray:
    """[P] the distance of the buckets after each place from those before; NaN where either has no row."""
    before, after = below[places] - below[places - length], below[places + length] - below[places]
    full = (before.sum(1) > 0) & (after.sum(1) > 0)
    return np.where(full, _distances(after, before), np.nan)


def _lengths(trained: int, since: int) -> list[int]:
    """The lengths of the newest windows that are judged, in buckets: each half of the one before."""
    length, lengths = min(since, trained // FEWEST), list[int]()
    while length >= min(SHORTEST, max(since, 1)) and length > 0:
        lengths.append(length)
        length //= 2
    return lengths


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
        max(_share(_bar(_logit(distances), separate, allowed)), LEAST_DISTANCE),
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


def _share(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))


def _bar(values: np.ndarray, separate: int, allowed: float) -> float:
    """What one more of some normal values exceeds with probability `allowed` (prediction interval); at least their largest.

    `separate`: the number of independent values among them.
    """
    spread = student.ppf(1 - allowed, separate - 1) * math.sqrt(1 + 1 / separate)
    return max(float(values.mean() + spread * values.std(ddof=1)), float(values.max()))


def _placed(counts: np.ndarray, first: int, jump: _Jump) -> int:
    """Where a jump begins, by all rows around it: as many lengths as there are, four at most."""
    at, reach = first + jump.at, AROUND * jump.length
    low, high = max(first, at - jump.length), min(at + jump.length, len(counts) - 1)
    return low - first + began(counts[max(low - reach, 0) : low], counts[low : high + reach], high + 1 - low)


def began(before: np.ndarray, since: np.ndarray, tried: int | None = None) -> int:
    """The bucket since which all rows differ most from those before: `before` [.., B] and since [N, B].

    It maximises the distance of the two sides, times the root of their harmonic size, over the first `tried`.
    """
    counts = np.concatenate((before, since))
    below, first = _below(counts), len(before)
    places = np.arange(first, first + (len(since) if tried is None else tried))
    places = places[(below[places].sum(1) > 0) & (below[places].sum(1) < below[-1].sum())]
    left = below[places]
    size = left.sum(1) * (below[-1] - left).sum(1) / below[-1].sum()
    return int(places[np.argmax(_distances(below[-1] - left, left) * np.sqrt(size))]) - first if len(places) else 0
