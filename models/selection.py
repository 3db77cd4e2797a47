"""Forward selection with replacement (Caruana et al. 2004, "Ensemble selection from libraries of models").

The best single member is picked first; each later pick is the member that most improves the mean of all
picks.  A member's weight is how often it was picked.  The best of these means is kept, so it is never worse
than the best member on the rows it was learnt on.  Sums are in float64 and in fixed order, and ties go to the
first member: the same rows give the same counts.  Shapes: W windows, H horizon, M members, S series.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from models.fit.settings import Measure
from models.objective import KINDS, Shares, Sums, errors, shares_of
from models.serving import Bounds

PICKS = 50
ROWS = 1 << 15  # per chunk: fits in the cache, so memory does not grow with the windows


@dataclass(frozen=True)
class Range:
    """Rows of one validation range and every member's forecasts for them.

    `y` [W, H], NaN where missing; `members`: M arrays [W, H], possibly memory-mapped; `series` [W],
    ascending; `unit` [S]: from `objective.units`; `naive2`: the index of that member, for an OWA.  `some`:
    the windows that count; None: all.
    """

    by: Measure
    y: np.ndarray
    members: Sequence[np.ndarray]
    series: np.ndarray
    unit: np.ndarray
    bounds: Bounds = field(default_factory=Bounds)
    naive2: int | None = None
    some: np.ndarray | None = None

    def _chunks(self) -> Iterator[tuple[np.ndarray | slice, np.ndarray]]:
        """Chunks of windows, with a mask of the rows that have an actual and all members' forecasts."""
        count = len(self.y) if self.some is None else len(self.some)
        step = max(ROWS // max(self.y.shape[1], 1), 1)
        for start in range(0, count, step):
            part = slice(start, min(start + step, count))
            at = part if self.some is None else self.some[part]
            there = np.isfinite(self.y[at])
            for member in self.members:
                there &= np.isfinite(member[at])
            yield at, there

    @cached_property
    def _there(self) -> list[tuple[np.ndarray | slice, np.ndarray]]:
        return list(self._chunks())

    @cached_property
    def shares(self) -> Shares | None:
        """The weight of each error in the score; None if there is nothing to score."""
        rows = np.zeros(len(self.unit))
        for at, there in self._there:
            rows += np.bincount(self.series[at], there.sum(axis=1), minlength=len(self.unit))
        naive2 = None if self.naive2 is None else self._sums(np.zeros(self.y.shape), 1, [self.naive2])[0]
        return shares_of(self.by, self.unit, rows, naive2)

    def scores(self, total: np.ndarray, count: int) -> np.ndarray:
        """[M] the score of the sum `total` [W, H] plus each member, divided by `count`."""
        assert self.shares is not None
        return np.array([self.shares.score(sums) for sums in self._sums(total, count, range(len(self.members)))])

    def _sums(self, total: np.ndarray, count: int, members: Sequence[int]) -> list[Sums]:
        """The errors of `total` plus each given member, by series."""
        by_member: list[Sums] = [{kind: np.zeros(len(self.unit)) for kind in KINDS[self.by]} for _ in members]
        for at, there in self._there:
            y, before, series, whole = self.y[at], total[at], self.series[at], bool(there.all())
            first, last = int(series[0]), int(series[-1]) + 1
            for sums, member in zip(by_member, members, strict=True):
                made = (before + self.members[member][at]) / count
                made = made if self.bounds == Bounds() else self.bounds.of(made)
                for kind, sum_ in sums.items():
                    error = errors(y, made, kind)
                    each = (error if whole else np.where(there, error, 0.0)).sum(axis=1)
                    sum_[first:last] += np.bincount(series - first, each, minlength=last - first)
        return by_member


@dataclass(frozen=True)
class Selected:
    """How often each member was picked, the score of that mean, and each member's own score [M]."""

    counts: tuple[int, ...]
    score: float
    singles: tuple[float, ...]


def select(ranges: Sequence[Range], picks: int = PICKS) -> Selected | None:
    """The counts that forward selection learns from the mean score over `ranges`; None without a score."""
    ranges = [split_range for split_range in ranges if split_range.shares is not None]
    if not ranges:
        return None
    totals = [np.zeros(split_range.y.shape) for split_range in ranges]
    counts = np.zeros(len(ranges[0].members), np.int64)
    best, singles = Selected((), math.inf, ()), np.empty(0)
    for number in range(1, picks + 1):
        scores = np.mean([split_range.scores(total, number) for split_range, total in zip(ranges, totals, strict=True)], axis=0)
        singles = scores if number == 1 else singles
        pick = int(np.argmin(scores))
        counts[pick] += 1
        for split_range, total in zip(ranges, totals, strict=True):
            total += split_range.members[pick]
        if scores[pick] < best.score:
            best = Selected(tuple(counts.tolist()), float(scores[pick]), tuple(singles.tolist()))
    return best if best.counts else None
