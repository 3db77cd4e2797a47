"""Which rows of a panel are the origin of a window: by split, stride and missing values; never gathers one."""

import numpy as np

from models.panel import Panel, Split
from models.windows import WindowParams


def origin_rows(panel: Panel, params: WindowParams, split: Split | None, name: str, stride: int) -> np.ndarray:
    """The origin rows of a split, every `stride` rows in each series, all their targets inside the split.

    int32, or int64 in a panel of 2^31 rows and more.

    Without a split: every window of every series; of n rows that gives ceil((n - reach - gap - horizon) / stride) windows.
    The first origin of validation and test is the row whose first target is the first row of the split (so that all series
    share their cutoffs).  Windows without one observed target, or with more missing samples than `max_missing_share`, are
    left out.
    """
    found, small = [], np.int32 if len(panel.times) < 2**31 else np.int64
    for series in range(len(panel.ids)):
        rows = panel.rows(series)
        low, high = (0, rows.stop - rows.start) if split is None else split.target_rows(panel.times[rows], name)
        earliest = params.start_index + params.reach
        first = low - 1 - params.gap
        if low == 0:
            first = earliest
        elif first < earliest:
            first += -(-(earliest - first) // stride) * stride
        stop = high if params.end_index is None else min(high, params.end_index + 1)
        origins = np.arange(first, stop - params.ahead, stride, dtype=np.int64)
        if len(origins):
            seen = np.concatenate(([0], np.cumsum(~np.isnan(panel.target[rows]), dtype=np.int64)))
            usable = seen[origins + params.ahead + 1] > seen[origins + params.gap + 1]
            if params.max_missing_share < 1:
                usable &= _missing_share(panel, rows, params, origins) <= params.max_missing_share
            found.append((origins[usable] + rows.start).astype(small))
    return np.concatenate(found) if found else np.empty(0, small)


def _missing_share(panel: Panel, rows: slice, params: WindowParams, origins: np.ndarray) -> np.ndarray:
    """The share of missing samples, over all features, of the windows at some origins (counted from the series' first row)."""
    missing = np.zeros(len(origins), np.int64)
    for name, window in params.features.items():
        gone = np.isnan(panel.values[rows, panel.column(name)]).astype(np.int64)
        rate = window.sampling_rate
        padded = np.concatenate((np.zeros(rate, np.int64), gone, np.zeros(-len(gone) % rate, np.int64)))
        sums = padded.reshape(-1, rate).cumsum(0).ravel()  # of every rate-th row, up to each row; `rate` rows late
        newest = origins - window.delay
        missing += sums[newest + rate] - sums[newest - rate * (window.lookback - 1)]
    return missing / sum(window.lookback for window in params.features.values())
