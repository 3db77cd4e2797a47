"""The observed target of a panel, whole series at a time, for computations per series without a full frame.

Shapes: S series of one part, R rows of them end to end.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from models.data.panel import Panel, Split
from tasks.grid.frequency import Frequency

ROWS = 1 << 20  # of a panel in memory at a time; one series may have more


class Past(NamedTuple):
    """Rows of some series on the grid: their `ids` [S], `y` [R] float64, NaN where missing, and `offsets` [S
    + 1]; a series may have no rows."""

    ids: Sequence[str]
    y: np.ndarray
    offsets: np.ndarray

    @property
    def counts(self) -> np.ndarray:
        """[S] rows per series."""
        return np.diff(self.offsets)

    @property
    def starts(self) -> np.ndarray:
        """[R] the first row of each row's series."""
        return np.repeat(self.offsets[:-1], self.counts)

    def means(self, values: np.ndarray) -> np.ndarray:
        """[S] the mean of each series' non-NaN values [R]; NaN if it has none."""
        there, full = ~np.isnan(values), self.counts > 0
        means, starts = np.full(len(full), np.nan), self.offsets[:-1][full]
        if len(starts):
            sums, counts = (np.add.reduceat(part, starts) for part in (np.where(there, values, 0.0), there.astype(np.int64)))
            means[full] = np.divide(sums, counts, out=np.full(len(starts), np.nan), where=counts > 0)
        return means


def series_parts(offsets: np.ndarray, rows: int = ROWS) -> Iterator[slice]:
    """All series of a panel in slices of about `rows` rows, at least one series each."""
    first, series = 0, len(offsets) - 1
    while first < series:
        stop = max(int(np.searchsorted(offsets, offsets[first] + rows, side="right")) - 1, first + 1)
        yield slice(first, stop)
        first = stop


def pasts(panel: Panel, split: Split, name: str = "train", rows: int = ROWS) -> Iterator[Past]:
    """The rows of a split, without padding, of all series in panel order."""
    lows, highs = (
        np.maximum(bounds, panel.facts.start_padding) for bounds in split.target_ranges(panel.times, panel.offsets, name)
    )
    for some in series_parts(panel.offsets, rows):
        offsets = panel.offsets[some.start : some.stop + 1]
        low, high, sizes = lows[some], highs[some], np.diff(offsets)
        place = np.arange(offsets[0], offsets[-1]) - np.repeat(offsets[:-1], sizes)
        inside = (place >= np.repeat(low, sizes)) & (place < np.repeat(high, sizes))
        y = np.asarray(panel.target[offsets[0] : offsets[-1]], np.float64)[inside]
        yield Past(panel.ids[some], y, np.append(0, np.cumsum(np.maximum(high - low, 0))))


def past_of(history: pl.DataFrame) -> Past:
    """The same for a frame: unique_id, ds, y (null or NaN where missing), on the regular grid."""
    rows = history.select("unique_id", "ds", pl.col("y").cast(pl.Float64).fill_null(np.nan)).sort("unique_id", "ds")
    counts = rows.group_by("unique_id", maintain_order=True).agg(len=pl.len().cast(pl.Int64))
    return Past(counts["unique_id"].to_list(), rows["y"].to_numpy(), np.append(0, np.cumsum(counts["len"].to_numpy())))


def frame_of(past: Past) -> pl.DataFrame:
    """unique_id and y (null where missing) of every row."""
    ids = pl.Series("unique_id", past.ids, pl.String).gather(np.repeat(np.arange(len(past.ids)), past.counts))
    return pl.DataFrame([ids, pl.Series("y", past.y).fill_nan(None)])


def target_frame(panel: Panel, names: Sequence[str]) -> pl.DataFrame:
    """unique_id, ds and the observed target (float64, null where missing) of some series in panel order, one
    row per step of the grid, without padding."""
    wanted = set(names)
    numbers = [number for number, name in enumerate(panel.ids) if name in wanted]
    parts = [np.arange(panel.offsets[number] + panel.facts.start_padding, panel.offsets[number + 1]) for number in numbers]
    rows = np.concatenate([np.empty(0, np.int64), *parts])
    ids = pl.Series("unique_id", panel.ids, pl.String).gather(
        np.repeat(np.array(numbers, np.int64), [len(part) for part in parts])
    )
    y = pl.Series("y", np.asarray(panel.target[rows], np.float64)).fill_nan(None)
    return pl.DataFrame([ids, pl.Series("ds", panel.times[rows]).cast(Frequency.of(panel.facts).dtype), y])
