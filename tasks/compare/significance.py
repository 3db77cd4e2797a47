"""Whether one model is better than another by more than chance: Diebold-Mariano and a block bootstrap.

Models are compared in the run's measure (`measures.py`) on the rows both forecast; a variant counts by the
mean over its seeds.  The series of one origin share their weather, so an origin counts once: the test runs
over the origins in time order, each with its rows' share in the score.  Forecasts of neighbouring origins
overlap, which correlates their errors: `overlap` consecutive origins share a target.  With too few origins
for that (one, on M4), series are counted instead.  A score that is not a mean over rows (RMSSE) is tested by
the bootstrap alone.
Diebold & Mariano 1995 (JBES 13); Harvey, Leybourne & Newbold 1997 (IJF 13) for few origins; Kuensch 1989 for
the bootstrap; Holm 1979 for multiple comparisons.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from scipy.stats import t as student

from tasks.compare.board import Difference

FEWEST = 10  # the fewest origins (and twice the overlap), or else series, to say anything
RESAMPLES = 2000
AT_A_TIME = 250  # resamples drawn at once
NUMBERS = 1 << 20  # numbers in memory at once

Again = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Shares:
    """The errors' shares of two models in their scores on the `rows` both forecast.

    `origins` [O, 3], `series` [S, 3]: for each, in order, a weight and both models' shares, whose sum over
    `rows` is the score.  `overlap`: of the origins (`overlap_in`).  `again`: both scores with origins
    weighted as drawn [draws, O], for a score that is not a mean over rows; its p value comes from that
    bootstrap.
    """

    rows: float
    origins: np.ndarray
    series: np.ndarray
    overlap: int
    again: Again | None = None


@dataclass(frozen=True)
class _Units:
    """What is counted for a pair: `over` origins or series, and how many in a row `overlap`."""

    over: str
    table: np.ndarray
    overlap: int
    again: Again | None

    @classmethod
    def of(cls, pair: Shares) -> "_Units":
        if not enough(pair.origins, pair.overlap) and enough(pair.series, 1):
            return cls("series", pair.series, 1, None)
        return cls("origins", pair.origins, pair.overlap, pair.again)

    @property
    def drawn(self) -> tuple[int, int]:
        """What its resamples depend on: pairs with equal values share their draws."""
        return len(self.table), self.overlap


def judged(pairs: Sequence[Shares]) -> list[Difference]:
    """The verdict of each pair on the errors of two models on the same rows."""
    units = [_Units.of(pair) for pair in pairs]
    again = _again([unit for unit in units if enough(unit.table, unit.overlap)])
    return [_judged(pair, unit, again.get(id(unit))) for pair, unit in zip(pairs, units, strict=True)]


def _judged(pair: Shares, units: _Units, again: tuple[np.ndarray, np.ndarray] | None) -> Difference:
    ours, theirs = (float(np.sum(pair.origins[:, side])) for side in (1, 2))
    mean, skill = (ours - theirs) / pair.rows, 1 - ours / theirs if theirs else None
    difference = Difference(mean, None, None, None, None, units.over, len(units.table), rows=int(pair.rows), skill=skill)
    if again is None:
        return difference
    mine, other = again
    low, high = _interval(mine - other)
    difference = replace(difference, low=low, high=high)
    if (other > 0).all():
        skill_low, skill_high = _interval(1 - mine / other)
        difference = replace(difference, skill_low=skill_low, skill_high=skill_high)
    if pair.again is not None:
        tested = _centred(mean, mine - other)
    else:
        tested = diebold_mariano(_influence(units.table, mean), units.overlap)
    return difference if tested is None else replace(difference, statistic=tested[0], p=tested[1])


def _again(units: Sequence[_Units]) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Both scores of each resample, by the id of its units; equal resamples are drawn once."""
    by_id: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    for drawn in dict.fromkeys(unit.drawn for unit in units):
        alike = [unit for unit in units if unit.drawn == drawn]
        means = [unit for unit in alike if unit.again is None]
        table = np.hstack([unit.table for unit in means]) if means else np.empty((drawn[0], 0))
        sums: list[np.ndarray] = []
        roots: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {id(unit): [] for unit in alike if unit.again is not None}
        for draws in resamples(*drawn):
            sums.append(draws @ table)
            for unit in alike:
                if unit.again is not None:
                    roots[id(unit)].append(unit.again(draws))
        for place, unit in enumerate(means):
            weight, ours, theirs = np.concatenate(sums)[:, 3 * place : 3 * place + 3].T
            by_id[id(unit)] = ours / weight, theirs / weight
        for key, parts in roots.items():
            ours, theirs = (np.concatenate(side) for side in zip(*parts, strict=True))
            by_id[key] = ours, theirs
    return by_id


def _influence(units: np.ndarray, mean: float) -> np.ndarray:
    """[units] each unit's influence on the mean difference; with equal weights its own difference."""
    weight, apart = units[:, 0], units[:, 1] - units[:, 2]
    return np.asarray(mean + (apart - mean * weight) * (len(units) / weight.sum()))


def _interval(values: np.ndarray, coverage: float = 0.9) -> tuple[float, float]:
    low, high = np.quantile(values, ((1 - coverage) / 2, (1 + coverage) / 2))
    return float(low), float(high)


def _centred(observed: float, again: np.ndarray) -> tuple[float, float] | None:
    """(observed over its spread, two-sided p): resamples as far from `observed` as that is from zero."""
    spread = float(again.std())
    if not spread:
        return (math.copysign(math.inf, observed), 0.0) if observed else None
    as_far = np.abs(again - observed) >= abs(observed)
    return observed / spread, float((1 + as_far.sum()) / (1 + len(again)))


def overlap_in(frame: pl.DataFrame) -> int:
    """How many consecutive origins forecast a common row, or one that the next has seen: errors correlate.

    `frame`: cutoff and the targets' ds (or `_last`, the latest of them); counted over existing origins, so a
    baseline's sparse origins hardly overlap.  At least 1.
    """
    last = "_last" if "_last" in frame.columns else "ds"
    origins = frame.group_by("cutoff").agg(pl.col(last).max()).sort("cutoff")
    cutoffs, ends = (origins[name].to_physical().to_numpy() for name in ("cutoff", last))
    if not len(cutoffs):
        return 1
    return max(1, int((np.searchsorted(cutoffs, ends, side="left") - np.arange(len(cutoffs))).max()))


def enough(values: np.ndarray, overlap: int) -> bool:
    """Whether there are enough origins (or series, with overlap 1) to say anything."""
    return len(values) >= max(FEWEST, 2 * overlap)


def diebold_mariano(difference: np.ndarray, overlap: int) -> tuple[float, float] | None:
    """(statistic, two-sided p) for a mean difference of zero; None with too few origins or no difference.

    The variance of the mean counts the autocovariances of the first `overlap` - 1 lags in full; if that is
    not positive, with falling (Bartlett) weights, under which it always is.
    """
    count = len(difference)
    if not enough(difference, overlap) or not difference.any():
        return None
    apart = difference - difference.mean()
    covariances = np.array([apart[lag:] @ apart[: count - lag] for lag in range(overlap)]) / count
    variance = covariances[0] + 2 * covariances[1:].sum()
    if variance <= 0:
        variance = covariances[0] + 2 * ((1 - np.arange(1, overlap) / overlap) * covariances[1:]).sum()
    if variance <= 0:  # every origin has the same difference
        return math.copysign(math.inf, difference.mean()), 0.0
    small = math.sqrt((count + 1 - 2 * overlap + overlap * (overlap - 1) / count) / count)
    statistic = small * float(difference.mean()) / math.sqrt(variance / count)
    return statistic, float(2 * student.sf(abs(statistic), count - 1))


def share_p(apart: np.ndarray, hits: np.ndarray, rows: np.ndarray, overlap: int) -> np.ndarray:
    """[G] two-sided p of shares this far from a number (`apart` [G]) by chance; 1 with fewer than two blocks.

    A share is the sum of its `hits` [V, O, G] over O origins, in order, by that of its `rows` [O, G].  Its
    spread is a block bootstrap's, the largest of its V views; Student's t has one degree of freedom per block
    minus one.
    """
    again = [(some @ hits) / (some @ rows) for some in resamples(len(rows), overlap)]
    blocks = np.maximum((rows > 0).sum(axis=0) / block_of(len(rows), overlap), 1.0)
    spread = np.nanstd(np.concatenate(again, axis=1), axis=1).max(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        p_values = 2 * student.sf(np.abs(apart) / (spread * np.sqrt(blocks / (blocks - 1))), blocks - 1)
    return np.where(blocks < 2, 1.0, np.where(spread > 0, p_values, apart == 0))


def block_of(count: int, overlap: int) -> int:
    """How many consecutive origins are drawn together."""
    return min(count, max(overlap, math.ceil(count ** (1 / 3)))) if overlap > 1 else 1


def resamples(count: int, overlap: int, seed: int = 0) -> Iterator[np.ndarray]:
    """[some, count] how often each origin is drawn, RESAMPLES rows in all, in blocks of consecutive origins.

    A row's last block is cut so that it has `count` origins.  About NUMBERS are in memory at a time, or
    AT_A_TIME rows if these are more: that many are drawn at once, on which the order of draws depends if last
    blocks are cut.
    """
    block = block_of(count, overlap)
    whole, rest = divmod(count, block)
    rng, parts, held = np.random.default_rng(seed), list[np.ndarray](), 0
    at_once = AT_A_TIME if rest else max(min(AT_A_TIME, NUMBERS // count), 1)
    for first in range(0, RESAMPLES, at_once):
        some = min(at_once, RESAMPLES - first)
        steps, row = np.zeros(some * (count + 1)), np.arange(some)[:, None] * (count + 1)
        for size, number in ((block, whole), (rest, int(rest > 0))):
            places = (row + rng.integers(0, count - size + 1, (some, number))).ravel()
            steps += np.bincount(places, minlength=len(steps))
            if block > 1:
                steps -= np.bincount(places + size, minlength=len(steps))
        drawn = steps.reshape(some, -1)[:, :-1]
        parts.append(drawn.cumsum(axis=1) if block > 1 else drawn)
        held += some
        if held * count >= NUMBERS or first + some == RESAMPLES:
            yield np.concatenate(parts) if len(parts) > 1 else parts[0]
            parts, held = [], 0


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Holm's correction: all p values below a level are wrong together with at most that probability."""
    adjusted: dict[str, float] = {}
    least = 0.0
    for rank, name in enumerate(sorted(p_values, key=lambda name: (p_values[name], name))):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[name]))
        adjusted[name] = least
    return adjusted


def corrected(differences: Mapping[str, Difference]) -> dict[str, Difference]:
    """The same differences with `p_holm`, over all that have a p value, and their number."""
    raised = holm({name: difference.p for name, difference in differences.items() if difference.p is not None})
    return {name: replace(difference, p_holm=raised.get(name), tested=len(raised)) for name, difference in differences.items()}
