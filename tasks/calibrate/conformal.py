"""Conformal quantiles of errors, step by step, with the correction for finite samples.

A score is what lies between a forecast and what came, in units of its series.  Shapes: N scores, R rows, Q levels, G groups of
series, H steps.
"""

from typing import Protocol

import numpy as np

LEAST = 200  # scores of a step that speak for themselves; where there are fewer, the steps beside it help
FLAT = 1e-30


def conformal(scores: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """[Q] the quantiles of `scores` [N, Q], each so far out that one more lies inside with the probability of its level (Vovk
    et al. 2005); NaN where there are too few for it.  Scores [N, 1] are those of every level."""
    count = len(scores)
    places = np.round((count + 1) * levels, 9)
    rank = np.where(levels < 0.5, np.floor(places), np.ceil(places)).astype(int)
    known = (rank >= 1) & (rank <= count)
    found = np.full(len(levels), np.nan)
    if scores.shape[1] == 1:
        found[known] = _ranked(scores[:, 0], rank[known])
    else:
        for level in np.flatnonzero(known):
            found[level] = _ranked(scores[:, level], rank[[level]])[0]
    return found


def symmetric(scores: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """[Q] the same where an interval reaches as far down as up: its two ends are moved outward by one quantile of how far a
    row lies outside it (the score of Romano et al. 2019); 0 at one half, NaN for a level whose counterpart is not there."""
    alone, found, count = scores.shape[1] == 1, np.full(len(levels), np.nan), len(scores)
    size = np.abs(scores[:, 0]) if alone else np.empty(0)
    for low, level in enumerate(levels):
        high = int(np.argmin(np.abs(levels - (1 - level))))
        if level > 0.5 or abs(levels[high] - (1 - level)) > 1e-9:
            continue
        rank = int(np.ceil(np.round((count + 1) * (1 - 2 * level), 9)))
        if low == high and count:
            found[low] = 0.0
        elif 1 <= rank <= count:
            outside = size if alone else np.maximum(-scores[:, low], scores[:, high])
            found[high] = _ranked(outside, np.array([rank]))[0]
            found[low] = -found[high]
    return found


def _ranked(values: np.ndarray, rank: np.ndarray) -> np.ndarray:
    """The values of some ranks, from 1."""
    return np.asarray(np.partition(values, rank - 1)[rank - 1]) if len(rank) else np.empty(0)


class Rows(Protocol):
    """Scores [R, Q] or [R, 1], of which some rows can be asked for."""

    def __getitem__(self, some: np.ndarray, /) -> np.ndarray: ...


def offsets_of(
    scores: Rows, some: np.ndarray, cells: np.ndarray, shape: tuple[int, int], levels: np.ndarray, even: bool
) -> np.ndarray:
    """[G, H, Q] the conformal quantiles of each group and step.

    `some` [N]: the rows that count; `cells` [N]: group times H, plus step; `shape`: G, H.  A step with fewer than LEAST scores
    is joined by those beside it, in units of the mean size of a score of each step, until there are enough or no more.
    `even`: intervals that reach as far down as up.  So they do too where there are too few scores for one side alone.
    """
    groups, horizon = shape
    cells = cells.astype(np.min_scalar_type(groups * horizon))  # few bytes: sorted at once
    order = np.argsort(cells, kind="stable")
    ends = np.searchsorted(cells, np.arange(groups * horizon + 1), sorter=order)
    counts = np.diff(ends).reshape(shape)

    def scores_in(group: int, step: int) -> np.ndarray:
        cell = group * horizon + step
        return scores[some[order[ends[cell] : ends[cell + 1]]]]  # a cell at a time: never all

    found = np.full((*shape, len(levels)), np.nan)
    for group in range(groups):
        near = [_near(counts[group], step) for step in range(horizon)]
        sizes = np.ones(horizon)
        if any(len(steps) > 1 for steps in near):
            sums = [np.abs(scores_in(group, step)).mean(axis=1).sum() for step in range(horizon)]
            sizes = _sizes(np.array(sums), counts[group])
        for step, steps in enumerate(near):
            own = scores_in(group, step)
            if len(steps) > 1:
                own = np.concatenate([scores_in(group, other) * (sizes[step] / sizes[other]) for other in steps])
            one = symmetric(own, levels) if even else conformal(own, levels)
            missing = np.isnan(one)
            found[group, step] = np.where(missing, symmetric(own, levels), one) if missing.any() and not even else one
    return found


def _sizes(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """[H] the mean size of a score of each step; of all steps, where a step has none or only zeros."""
    whole = sums.sum() / max(counts.sum(), 1)
    each = sums / np.maximum(counts, 1)
    return np.where(each > FLAT, each, whole if whole > FLAT else 1.0)


def _near(counts: np.ndarray, step: int) -> range:
    """The steps whose scores a step takes: its own, and as many on both sides as there must be for LEAST scores."""
    width = 0
    while counts[max(step - width, 0) : step + width + 1].sum() < LEAST and width < len(counts):
        width += 1
    return range(max(step - width, 0), min(step + width + 1, len(counts)))
