"""The unit of each series: the error of a simple forecast on known rows, which makes errors comparable.

naive: the mean error of the value one season earlier (what a MASE divides by).  spread: the recent error of a
small regression per series, as the geometric mean over one step, a quarter of the horizon and the whole
horizon.
Both are on the target's scale, or that of its transform.  Shapes: T rows of one series, S series.
"""

from collections.abc import Iterator

import numpy as np

from models.data.panel import Panel
from models.serving import TRANSFORMS

ROWS = 8  # errors that a unit needs
RECENT, FEWEST = 4, 50  # the spread covers this many horizons, and at least this many rows
SEASONS = 7  # the regression sees the row in phase with its target in each of these
RIDGE = 0.1  # ridge penalty, relative to the mean of the diagonal
UNITS = ("none", "naive", "spread")
VALUES = 1 << 13  # values in a table of series; a regression needs ten times as much


def naive(y: np.ndarray, season: int) -> np.ndarray:
    """[S] the mean |y_t - y_(t - season)| of each series [S, T]; NaN with fewer than ROWS observed rows."""
    errors = np.abs(y[:, season:] - y[:, :-season])
    return _means(errors, np.isfinite(errors))


def spread(y: np.ndarray, season: int, horizon: int) -> np.ndarray:
    """[S] each series' mean error of a regression over the last RECENT horizons (or FEWEST rows) of [S, T].

    A series ends with its last row and is padded with NaN before its first; NaN with fewer than ROWS rows."""
    steps = sorted({1, max(horizon // 4, 1), horizon})
    errors = np.stack([_regression_errors(y, season, step, max(RECENT * horizon, FEWEST)) for step in steps])
    most = errors.max(axis=0)
    shares = errors / np.where(most > 0, most, 1.0)
    return np.asarray(most * np.prod(shares, axis=0) ** (1 / len(steps)))


def _regression_errors(y: np.ndarray, season: int, step: int, recent: int) -> np.ndarray:
    """[S] the mean |error|, over the last `recent` rows, of a regression on lags.

    Least squares of y_(t + step) - y_t on y_(t - lag) - y_t.  The lags: the rows just before t, those in
    phase with the target over SEASONS seasons, and a constant.  A missing lag counts as 0; rows before the
    longest lag (in a short series the first half) are left out."""
    phase = -step % season
    lags = sorted({1, 2} | {phase + season * k for k in range(SEASONS)} - {0}) if season > 1 else [1, 2, 3]
    target = y[:, step:] - y[:, :-step]
    first = np.isfinite(y).argmax(axis=1)
    begins = first + np.clip((y.shape[1] - first - step) // 2, 0, lags[-1])
    there = np.isfinite(target) & (np.arange(target.shape[1]) >= begins[:, None])
    size = _means(np.abs(target), there)
    rows = target.shape[1]
    past = np.zeros((len(y), len(lags) + 1, rows))
    for at, lag in enumerate(lags):
        if lag < rows:
            np.subtract(y[:, : rows - lag], y[:, lag:rows], out=past[:, at, lag:])
    past[:, -1] = size[:, None]
    past[~(there[:, None] & np.isfinite(past))] = 0.0
    target = np.where(there, target, 0.0)
    gram, moments = past @ past.transpose(0, 2, 1), past @ target[..., None]
    scale = np.trace(gram, axis1=1, axis2=2) / gram.shape[-1]
    gram += np.where(scale > 0, RIDGE * scale, 1.0)[:, None, None] * np.eye(gram.shape[-1])
    fitted = np.linalg.solve(gram, moments).transpose(0, 2, 1) @ past
    errors = np.abs(target - fitted[:, 0])
    later = np.cumsum(there[:, ::-1], axis=1)[:, ::-1]
    return np.where(np.isfinite(size), _means(errors, there & (later <= recent)), np.nan)


def _means(values: np.ndarray, there: np.ndarray) -> np.ndarray:
    """[S] the mean of the valid values [S, T] of each row; NaN with fewer than ROWS."""
    counts = there.sum(axis=1)
    sums = np.where(there, values, 0.0).sum(axis=1)
    return np.where(counts >= ROWS, sums / np.maximum(counts, 1), np.nan)


def units_of(panel: Panel, stops: np.ndarray, unit: str, transform: str, season: int, horizon: int) -> np.ndarray:
    """[S + 1] the unit of each series from its rows before `stops` [S]; last the median, for unknown series.

    A series with too few or only equal rows gets one from its row-to-row changes, else its level, by the
    median ratio in the series that have a unit.
    """
    count = len(panel.ids)
    if unit == "none":
        return np.ones(count + 1)
    units, changes, levels = np.full((3, count), np.nan)
    for series, y in _tables(panel, stops, transform, max(season, horizon) + 1):
        units[series] = naive(y, season) if unit == "naive" else spread(y, season, horizon)
        changes[series] = _plain_means(np.abs(np.diff(y, axis=1)))
        levels[series] = _plain_means(np.abs(y))
    return completed(completed(units, changes), levels, last=True)


def _tables(panel: Panel, stops: np.ndarray, transform: str, least: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Series of similar length: their numbers, and their rows [S, T], right-aligned and padded with NaN.

    T is at least `least`.
    """
    order = np.argsort(stops, kind="stable")
    while len(order):
        length = max(int(stops[order[-1]]), least)
        some, order = order[-max(VALUES // length, 1) :], order[: -max(VALUES // length, 1)]
        table = np.full((len(some), length), np.nan)
        for row, series in enumerate(some):
            start, stop = panel.offsets[series], stops[series]
            table[row, length - stop :] = panel.target[start : start + stop]
        with np.errstate(invalid="ignore", divide="ignore"):
            yield some, TRANSFORMS[transform][0](table)


def completed(units: np.ndarray, other: np.ndarray, last: bool = False) -> np.ndarray:
    """[S] units; missing or zero ones come from `other` [S] by the median ratio of series with both.

    `last`: fills those still missing with the median (1 if there is none) and appends it: [S + 1].
    """
    known, helps = units > 0, other > 0
    filled = np.where(known, units, np.nan)
    if (known & helps).any():
        filled = np.where(~known & helps, other * np.median(units[known & helps] / other[known & helps]), filled)
    if not last:
        return filled
    usual = float(np.median(filled[filled > 0])) if (filled > 0).any() else 1.0
    return np.append(np.where(filled > 0, filled, usual), usual)


def _plain_means(values: np.ndarray) -> np.ndarray:
    """[S] the mean of the finite values [S, T] of each row; NaN if there is none."""
    there = np.isfinite(values)
    counts = there.sum(axis=1)
    return np.where(counts > 0, np.where(there, values, 0.0).sum(axis=1) / np.maximum(counts, 1), np.nan)
