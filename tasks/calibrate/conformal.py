"""Conformal quantiles of errors, per step, with the finite-sample correction.

A score is the distance between a forecast and the actual, in units of its series.  Shapes: N scores, R rows,
Q levels, G groups of series, H steps.
"""

from typing import Protocol

import numpy as np

LEAST = 200  # scores a step needs; with fewer, neighbouring steps are added
FLAT = 1e-30


def conformal(scores: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """[Q] the quantiles of `scores` [N, Q] that cover one more score with their level's probability.

    Vovk et al. 2005; NaN if there are too few scores.  Scores [N, 1] are those of every level.
    """
    count = len(scores)
    places = np.round((count + 1) * levels, 9)
    rank = np.where(levels < 0.5, np.floor(places), np.ceil(places)).astype(int)
    known = (rank >= 1) & (rank <= count)
    quantiles = np.full(len(levels), np.nan)
    if scores.shape[1] == 1:
        quantiles[known] = _ranked(scores[:, 0], rank[known])
    else:
        for level in np.flatnonzero(known):
            quantiles[level] = _ranked(scores[:, level], rank[[level]])[0]
    return quantiles


def symmetric(scores: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """[Q] the same for intervals that reach equally far down and up: both ends move outward by one quantile.

    It is that of how far a row lies outside (the score of Romano et al. 2019); 0 at one half, NaN for a level
    without its counterpart."""
    alone, quantiles, count = scores.shape[1] == 1, np.full(len(levels), np.nan), len(scores)
    size = np.abs(scores[:, 0]) if alone else np.empty(0)
    for low, level in enumerate(levels):
        high = int(np.argmin(np.abs(levels - (1 - level))))
        if level > 0.5 or abs(levels[high] - (1 - level)) > 1e-9:
            continue
        rank = int(np.ceil(np.round((count + 1) * (1 - 2 * level), 9)))
        if low == high and count:
            quantiles[low] = 0.0
        elif 1 <= rank <= count:
            outside = size if alone else np.maximum(-scores[:, low], scores[:, high])
            quantiles[high] = _ranked(outside, np.array([rank]))[0]
            quantiles[low] = -quantiles[high]
    return quantiles


def _ranked(values: np.ndarray, rank: np.ndarray) -> np.ndarray:
    """The values of the given ranks, counted from 1."""
    return np.asarray(np.partition(values, rank - 1)[rank - 1]) if len(rank) else np.empty(0)


class Rows(Protocol):
    """Scores [R, Q] or [R, 1] that can be indexed by row."""

    def __getitem__(self, some: np.ndarray, /) -> np.ndarray: ...


def offsets_of(
    scores: Rows, some: np.ndarray, cells: np.ndarray, shape: tuple[int, int], levels: np.ndarray, even: bool
) -> np.ndarray:
    """[G, H, Q] the conformal quantiles of each group and step.

    `some` [N]: the rows that count; `cells` [N]: group times H, plus step; `shape`: G, H.  A step with fewer
    than LEAST scores borrows those of neighbouring steps, in units of each step's mean score size, until
    there are enough or none left.
    `even`: intervals that reach equally far down and up, as they also do if one side alone has too few
    scores.
    """
    groups, horizon = shape
    cells = cells.astype(np.min_scalar_type(groups * horizon))  # small integers sort faster
    order = np.argsort(cells, kind="stable")
    ends = np.searchsorted(cells, np.arange(groups * horizon + 1), sorter=order)
    counts = np.diff(ends).reshape(shape)

    def scores_in(group: int, step: int) -> np.ndarray:
        cell = group * horizon + step
        return scores[some[order[ends[cell] : ends[cell + 1]]]]  # one cell at a time, never all

    offsets = np.full((*shape, len(levels)), np.nan)
    for group in range(groups):
        near = [_near(counts[group], step) for step in range(horizon)]
        sizes = np.ones(horizon)
        if any(len(steps) > 1 for steps in near):
            sums = [np.abs(scores_in(group, step)).mean(axis=1).sum() for step in range(horizon)]
            sizes = _sizes(np.array(sums), counts[group])
        for step, steps in enumerate(near):
            cell_scores = scores_in(group, step)
            if len(steps) > 1:
                cell_scores = np.concatenate([scores_in(group, other) * (sizes[step] / sizes[other]) for other in steps])
            quantiles = symmetric(cell_scores, levels) if even else conformal(cell_scores, levels)
            missing = np.isnan(quantiles)
            offsets[group, step] = (
                np.where(missing, symmetric(cell_scores, levels), quantiles) if missing.any() and not even else quantiles
            )
    return offsets


def _sizes(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """[H] the mean score size of each step; of all steps for a step that has none or only zeros."""
    whole = sums.sum() / max(counts.sum(), 1)
    each = sums / np.maximum(counts, 1)
    return np.where(each > FLAT, each, whole if whole > FLAT else 1.0)


def _near(counts: np.ndarray, step: int) -> range:
    """The steps whose scores a step uses: itself, and equally many on both sides until LEAST is reached."""
    width = 0
    while counts[max(step - width, 0) : step + width + 1].sum() < LEAST and width < len(counts):
        width += 1
    return range(max(step - width, 0), min(step + width + 1, len(counts)))
