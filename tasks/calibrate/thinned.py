"""The rows that calibrate a model: those with a forecast and an actual, thinned by origin if very many."""

import math
from collections.abc import Sequence

import numpy as np

from tasks.calibrate.parts import origins_of
from tasks.evaluate.frames import Forecasts, Outcome

MOST_ROWS = 1 << 21  # rows that calibrate


def calibrating(forecasts: Forecasts, model: str, levels: Sequence[float], most: int = MOST_ROWS) -> Outcome:
    """The `known` rows of a model, `thinned` while reading: memory holds no more than these and a block."""
    counts = np.zeros((max(len(forecasts.folds), 1), len(forecasts.ids) + 1), np.int64)  # origins per fold and series
    rows = 0
    for block in forecasts.outcomes(model, ()) if forecasts.rows > most else ():
        part = known(block)
        counts[_fold(part)] += np.bincount(part.series[_begins(part)], minlength=counts.shape[1])
        rows += len(part.y)
    every, total = math.ceil(rows / most), counts.sum(axis=0)
    first, before = np.cumsum(total) - total, np.cumsum(counts, axis=0) - counts

    def kept(part: Outcome) -> Outcome:
        begins = _begins(part)
        series, origin = part.series[begins], np.cumsum(begins) - 1
        place = np.arange(len(series)) - np.searchsorted(series, series) + before[_fold(part)][series]
        counted = total[series] - 1 - place if total.max() >= every else first[series] + place
        return taken(part, (counted % every == 0)[origin])

    blocks = (known(block) for block in forecasts.outcomes(model, levels))
    return Outcome.gathered(blocks if every <= 1 else (kept(part) if len(part.y) else part for part in blocks), forecasts.rows)


def _begins(rows: Outcome) -> np.ndarray:
    """[R] whether an origin starts at each row of a block, whose rows are ordered by series."""
    changes = (rows.series[1:] != rows.series[:-1]) | (rows.cutoff[1:] != rows.cutoff[:-1])
    return np.append(True, changes)[: len(rows.y)]


def _fold(rows: Outcome) -> int:
    return 0 if rows.fold is None or not len(rows.fold) else int(rows.fold[0])


def known(rows: Outcome) -> Outcome:
    """The rows that have a forecast and an actual."""
    there = np.isfinite(rows.y) & np.isfinite(rows.point)
    return rows if there.all() else taken(rows, there)


def thinned(rows: Outcome, most: int) -> Outcome:
    """Every n-th origin of each series, including the last, if there are more than `most` rows."""
    every = math.ceil(len(rows.y) / most)
    if every <= 1:
        return rows
    origins = origins_of(rows)
    kept = origins.later % every == 0 if origins.most >= every else origins.number % every == 0
    return taken(rows, kept)


def taken(rows: Outcome, some: np.ndarray) -> Outcome:
    """Some of the rows."""
    return Outcome._make(None if part is None else part[some] for part in rows)
