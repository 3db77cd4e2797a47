"""Whether a forecast only repeats the last value that it saw: the lag at which it looks most like the actuals.

A forecast of step h made at row t is held against the actuals of rows t + gap + h - k.  One that is in time looks most like
them at lag k = 0; one that repeats the last value at k = gap + h, a row that it has seen.
"""

from dataclasses import dataclass

import numpy as np

from models.data.panel import Panel
from tasks.files import spread

STEPS = 12  # of the horizon that are probed, evenly spread
ORIGINS = 2000  # at most, evenly spread
MOST_STEPS = 0.9  # the share of steps that look most like the last value, and
LEAST_GAIN = 0.02  # the share of the last value's error that is saved: a forecast with less than that is a copy


@dataclass(frozen=True)
class Probe:
    """`lag`: rows by which the forecasts look late (the middle of the probed steps); `copies`: whether that is all they do."""

    lag: float | None
    copies: bool


def probed(count: int) -> np.ndarray:
    """The places of the origins that are probed, of so many."""
    return np.array(spread(count, ORIGINS), np.int64)


def probe(panel: Panel, origins: np.ndarray, forecasts: np.ndarray, gap: int) -> Probe:
    """Probes forecasts [origins, horizon], NaN where missing; `origins`: their rows of the panel, `probed` of all.

    Correlations are taken within each series (its own mean is taken off) at the lags 0 .. gap + h.
    """
    horizon = forecasts.shape[1]
    series = np.searchsorted(panel.offsets, origins, side="right") - 1
    late, errors, theirs = [], [], []
    last = _at(panel, origins, series, 0)
    for step in spread(horizon, STEPS):
        ahead, ours = gap + step + 1, forecasts[:, step]
        alike = [_correlation(ours, _at(panel, origins, series, ahead - lag), series) for lag in range(ahead + 1)]
        if all(np.isnan(alike)):
            continue
        actual = _at(panel, origins, series, ahead)
        known = ~np.isnan(actual + ours + last)
        errors.append(np.abs(ours - actual)[known].sum())
        theirs.append(np.abs(last - actual)[known].sum())
        late.append((int(np.nanargmax(alike)), ahead))
    if not late:
        return Probe(None, False)
    repeats = np.mean([lag == ahead for lag, ahead in late]) >= MOST_STEPS
    saves = sum(errors) < (1 - LEAST_GAIN) * sum(theirs)
    return Probe(float(np.median([lag for lag, _ in late])), bool(repeats and not saves))


def _at(panel: Panel, origins: np.ndarray, series: np.ndarray, ahead: int) -> np.ndarray:
    """The actuals `ahead` rows after each origin; NaN outside its series."""
    rows = origins + ahead
    inside = (rows >= panel.offsets[series]) & (rows < panel.offsets[series + 1])
    return np.where(inside, panel.target[np.clip(rows, 0, len(panel.target) - 1)], np.nan).astype(float)


def _correlation(one: np.ndarray, two: np.ndarray, series: np.ndarray) -> float:
    """The correlation of two arrays, each less its mean in a series; NaN where either does not move."""
    known = ~np.isnan(one + two)
    one, two, group = one[known], two[known], series[known]
    if len(one) < 3:
        return float("nan")
    count = np.maximum(np.bincount(group), 1)
    one, two = (values - (np.bincount(group, values) / count)[group] for values in (one, two))
    size = np.sqrt((one @ one) * (two @ two))
    return float(one @ two / size) if size > 0 else float("nan")
