"""Parts of the rows for choosing a method: each is scored by what the others calibrate.  Deterministic.

Shapes: R rows.
"""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tasks.evaluate.frames import Outcome

PARTS = 5
MANY = 10  # series, from which some can represent the others
SEED = 0


class Part(NamedTuple):
    """Rows [R] that calibrate, and rows that are scored, which belong to one `fold`."""

    calibrate: np.ndarray
    score: np.ndarray
    fold: int


class Origins(NamedTuple):
    """Each row's origin [R], how many later ones its series has, and the most origins of a series."""

    number: np.ndarray
    later: np.ndarray
    most: int


def origins_of(rows: Outcome) -> Origins:
    """The origins of rows, series by series."""
    order = np.lexsort((rows.cutoff, rows.series))
    series, cutoff = rows.series[order], rows.cutoff[order]
    new_series = np.append(True, series[1:] != series[:-1])[: len(order)]
    fresh = new_series | np.append(True, cutoff[1:] != cutoff[:-1])[: len(order)]
    number = np.empty(len(order), np.int64)
    number[order] = np.cumsum(fresh) - 1
    last = np.zeros(int(rows.series.max(initial=-1)) + 1, np.int64)
    np.maximum.at(last, rows.series, number)
    later = last[rows.series] - number
    return Origins(number, later, int(later.max(initial=-1)) + 1)


def over_time(rows: Outcome, reach: int) -> bool:
    """Whether series have enough origins for their own errors: several folds, or three times the overlap."""
    return bool(len(rows.y)) and (_folds(rows) > 1 or origins_of(rows).most >= 3 * reach)


def _folds(rows: Outcome) -> int:
    return 1 if rows.fold is None else len(np.unique(rows.fold))


def parts_of(rows: Outcome, reach: int) -> list[Part]:
    """The parts of rows; none if too few to tell methods apart.  `reach`: origins that share target rows.

    Folds, if there are several; else blocks of origins, without neighbours that share their targets; else
    disjoint sets of series (a cross-conformal choice, Vovk 2015); else, for few series with few origins,
    blocks that may share targets.
    """
    if rows.fold is not None and _folds(rows) > 1:
        parts = [Part(rows.fold != fold, rows.fold == fold, int(fold)) for fold in np.unique(rows.fold)]
    else:
        parts = list(_within_a_fold(rows, reach))
    return [part for part in parts if part.calibrate.any() and part.score.any()]


def _within_a_fold(rows: Outcome, reach: int) -> Iterator[Part]:
    fold = 0 if rows.fold is None or not len(rows.fold) else int(rows.fold[0])
    origins, names = origins_of(rows), np.unique(rows.series)
    if origins.most >= 3 * reach:
        yield from _blocks(origins, fold, min(PARTS, origins.most // reach), reach - 1)
    elif len(names) >= MANY:
        place = np.random.default_rng(SEED).permutation(len(names)) % PARTS
        part = place[np.searchsorted(names, rows.series)]
        yield from (Part(part != number, part == number, fold) for number in range(PARTS))
    elif origins.most >= 4:
        yield from _blocks(origins, fold, min(PARTS, origins.most // 2), 0)


def _blocks(origins: Origins, fold: int, count: int, beside: int) -> Iterator[Part]:
    edges = np.linspace(0, origins.most, count + 1).round().astype(int)
    for low, high in itertools.pairwise(edges):
        inside = (origins.later >= low) & (origins.later < high)
        yield Part((origins.later < low - beside) | (origins.later >= high + beside), inside, fold)
