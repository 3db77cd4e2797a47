"""The unit of each series: how far a simple forecast of it is off in rows that are known, so that errors of all series compare.

naive: the mean error of the value one season before (what a MASE divides by).  spread: the recent error of a small regression
that is fitted to each series by itself, of one step, a quarter of the horizon and the whole horizon (their geometric mean).
Both are in the target's unit, or in that of its transform.  Shapes: T rows of one series, S series.
"""

from collections.abc import Callable, Mapping

import numpy as np

from models.data.panel import Panel
from models.serving import TRANSFORMS

ROWS = 8  # errors that a unit needs
RECENT = 4  # horizons back, over which the spread is measured
SEASONS = 7  # of which the regression sees the row in phase with its target
RIDGE = 0.1  # of the mean of the regression's diagonal
UNITS = ("none", "naive", "spread")


def naive(y: np.ndarray, season: int, horizon: int) -> float:
    """The mean of |y_t - y_(t - season)| over observed rows of a series [T]; NaN with fewer than ROWS of them."""
    errors = np.abs(y[season:] - y[:-season])
    errors = errors[np.isfinite(errors)]
    return float(errors.mean()) if len(errors) >= ROWS else np.nan


def spread(y: np.ndarray, season: int, horizon: int) -> float:
    """The mean error of a regression over the last RECENT horizons of a series [T]; NaN where it has too few rows."""
    steps = sorted({1, max(horizon // 4, 1), horizon})
    errors = np.array([_regression_error(y, season, step, RECENT * horizon) for step in steps])
    most = errors.max()
    return float(most * np.prod(errors / most) ** (1 / len(errors))) if most > 0 else float(most)


def _regression_error(y: np.ndarray, season: int, step: int, recent: int) -> float:
    """The mean |error|, over the last `recent` rows, of the least squares of y_(t + step) - y_t on y_(t - lag) - y_t: the rows
    just before t, those in phase with the target over SEASONS seasons, and a constant.  A lag that is not there counts as 0."""
    phase = -step % season
    lags = sorted({1, 2} | {phase + season * k for k in range(SEASONS)} - {0}) if season > 1 else [1, 2, 3]
    target = y[step:] - y[:-step]
    past = np.zeros((len(target), len(lags) + 1))
    for at, lag in enumerate(lags):
        past[lag:, at] = y[: max(len(target) - lag, 0)] - y[lag : max(len(target), lag)]
    there = np.isfinite(target)
    there[: min(lags[-1], len(target) // 2)] = False
    past, target = np.nan_to_num(past[there], nan=0.0), target[there]
    if len(target) < ROWS:
        return np.nan
    past[:, -1] = np.abs(target).mean()
    gram = past.T @ past
    scale = np.trace(gram) / len(gram)
    gram[np.diag_indices(len(gram))] += RIDGE * scale if scale > 0 else 1.0
    errors = np.abs(target - past @ np.linalg.solve(gram, past.T @ target))
    return float(errors[-recent:].mean())


FOUND: Mapping[str, Callable[[np.ndarray, int, int], float]] = {"naive": naive, "spread": spread}


def units_of(panel: Panel, stops: np.ndarray, unit: str, transform: str, season: int, horizon: int) -> np.ndarray:
    """[S + 1] the unit of each series from its rows before `stops` [S]; last, of one that is not there, the median.

    A series with too few rows, or none that differ, has what its changes from row to row, else its level, say of it, by the
    median ratio of those that have a unit.
    """
    count, there = len(panel.ids), TRANSFORMS[transform][0]
    if unit == "none":
        return np.ones(count + 1)
    found, changes, levels = np.full((3, count), np.nan)
    for series in range(count):
        start = panel.offsets[series]
        with np.errstate(invalid="ignore"):
            y = _without_padding(there(panel.target[start : start + stops[series]].astype(np.float64)))
        if len(y) > 1:
            found[series] = FOUND[unit](y, season, horizon)
            changes[series] = _mean(np.abs(np.diff(y)))
        levels[series] = _mean(np.abs(y))
    return completed(completed(found, changes), levels, last=True)


def completed(units: np.ndarray, other: np.ndarray, last: bool = False) -> np.ndarray:
    """[S] units with those that are missing or 0 filled by `other` [S], by the median ratio of those that have both.

    `last`: those that are missing then are filled by the median (1 where there is none), which is added: [S + 1].
    """
    known, helps = units > 0, other > 0
    filled = np.where(known, units, np.nan)
    if (known & helps).any():
        filled = np.where(~known & helps, other * np.median(units[known & helps] / other[known & helps]), filled)
    if not last:
        return filled
    usual = float(np.median(filled[filled > 0])) if (filled > 0).any() else 1.0
    return np.append(np.where(filled > 0, filled, usual), usual)


def _mean(values: np.ndarray) -> float:
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else np.nan


def _without_padding(y: np.ndarray) -> np.ndarray:
    """A series without the missing rows before its first value."""
    seen = np.flatnonzero(np.isfinite(y))
    return y[seen[0] :] if len(seen) else y[:0]
