"""Which rows of a panel are window origins: by split, stride and missing values.

All series are processed together, in chunks of rows: many short series cost no more than a few long ones, and
memory stays constant.
"""

import numpy as np

from models.data.panel import Panel, Split
from models.data.window import WindowParams

CHUNK = 1 << 16  # rows per chunk


def origin_rows(panel: Panel, params: WindowParams, split: Split | None, name: str, stride: int) -> np.ndarray:
    """The origin rows of a split, every `stride` rows per series, with all targets inside the split.

    int32, or int64 for a panel of 2^31 or more rows.  Without a split: every window of every series; n rows
    give ceil((n - reach - gap - horizon) / stride) windows.  The first origin of validation and test is the
    one whose first target is the first row of the split (so all series share their cutoffs).  Windows without
    an observed target, or with more missing samples than `max_missing_share`, are left out.
    """
    sizes = np.diff(panel.offsets).astype(np.int64)
    low, high = (
        (np.zeros_like(sizes), sizes) if split is None else split.target_ranges(panel.times, panel.offsets, name)
    )  # fmt: skip
    earliest = params.start_index + params.reach
    first = low - 1 - params.gap
    late = first + np.maximum(-(-(earliest - first) // stride), 0) * stride
    first = np.where(low == 0, earliest, late)
    stop = high if params.end_index is None else np.minimum(high, params.end_index + 1)
    counts = np.maximum(-(-(stop - params.ahead - first) // stride), 0)
    all_origins = np.empty(int(counts.sum()), np.int32 if len(panel.times) < 2**31 else np.int64)
    starts, size = np.asarray(panel.offsets[:-1] + first), 0
    for row in range(0, len(panel.times), CHUNK):
        origins = _between(row, row + CHUNK, panel.offsets, starts, counts, stride)
        rows = slice(max(row - params.reach, 0), row + CHUNK + params.ahead)
        origins = origins[_usable(panel, rows, params, origins - rows.start)]
        all_origins[size : size + len(origins)] = origins
        size += len(origins)
    all_origins.resize(size, refcheck=False)  # in place, without a copy
    return all_origins


def _between(low: int, high: int, offsets: np.ndarray, first: np.ndarray, counts: np.ndarray, stride: int) -> np.ndarray:
    """The origins in rows low .. high - 1; each series has `counts` of them from row `first` on."""
    some = slice(int(np.searchsorted(offsets, low, side="right")) - 1, int(np.searchsorted(offsets, high)))
    first, counts = first[some], counts[some]
    skipped = np.clip(-(-(low - first) // stride), 0, counts)
    number = np.clip(-(-(high - first) // stride), 0, counts) - skipped
    before = np.cumsum(number) - number
    return np.asarray(np.repeat(first + stride * (skipped - before), number) + stride * np.arange(number.sum()))


def _usable(panel: Panel, rows: slice, params: WindowParams, origins: np.ndarray) -> np.ndarray:
    """Whether each window has an observed target and enough samples; `origins` relative to `rows`."""
    seen = np.concatenate(([0], np.cumsum(~np.isnan(panel.target[rows]), dtype=np.int32)))
    usable = np.asarray(seen[origins + params.ahead + 1] > seen[origins + params.gap + 1])
    if params.max_missing_share < 1:
        usable &= _missing_share(panel, rows, params, origins) <= params.max_missing_share
    return usable


def _missing_share(panel: Panel, rows: slice, params: WindowParams, origins: np.ndarray) -> np.ndarray:
    """The share of missing samples, over all features, of the window at each origin."""
    missing = np.zeros(len(origins), np.int64)
    for name, window in params.features.items():
        gone = np.isnan(panel.values[rows, panel.column(name)]).astype(np.int32)
        rate = window.sampling_rate
        padded = np.concatenate((np.zeros(rate, np.int32), gone, np.zeros(-len(gone) % rate, np.int32)))
        sums = padded.reshape(-1, rate).cumsum(0).ravel()  # sums over every rate-th row up to each row, shifted by `rate` rows
        newest = origins - window.delay
        missing += sums[newest + rate] - sums[newest - rate * (window.lookback - 1)]
    return missing / sum(window.lookback for window in params.features.values())
