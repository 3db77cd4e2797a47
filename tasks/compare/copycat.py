"""Detects forecasts that only repeat the last value, from the lag at which they resemble the actuals most.

A forecast of step h made at row t is compared with the actuals of rows t + gap + h - k.  A timely one
resembles them most at lag k = 0; one that repeats the last value at k = gap + h, a row it has seen.
"""

from dataclasses import dataclass

import numpy as np

from models.data.panel import Panel
from tasks.files import spread

STEPS = 12  # steps probed, evenly spread over the horizon
ORIGINS = 2000  # origins probed at most, evenly spread
MOST_STEPS = 0.9  # a copy has this share of steps that resemble the last value most, and
LEAST_GAIN = 0.02  # saves less than this share of the last value's error


@dataclass(frozen=True)
class Probe:
    """`lag`: how many rows late forecasts look (median over steps); `copies`: whether they only copy."""

    lag: float | None
    copies: bool


def probed(count: int) -> np.ndarray:
    """The indices of the origins to probe, out of `count`."""
    return np.array(spread(count, ORIGINS), np.int64)


def probe(panel: Panel, origins: np.ndarray, forecasts: np.ndarray, gap: int) -> Probe:
    """Probes forecasts [origins, horizon], NaN where missing; `origins`: their panel rows, already `probed`.

    Correlations are computed within each series (minus its mean) at the lags 0 .. gap + h.
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


def _correlation(first: np.ndarray, second: np.ndarray, series: np.ndarray) -> float:
    """The correlation of two arrays, minus their mean per series; NaN if either is constant."""
    known = ~np.isnan(first + second)
    first, second, group = first[known], second[known], series[known]
    if len(first) < 3:
        return float("nan")
    count = np.maximum(np.bincount(group), 1)
    first, second = (values - (np.bincount(group, values) / count)[group] for values in (first, second))
    size = np.sqrt((first @ first) * (second @ second))
    return float(first @ second / size) if size > 0 else float("nan")
