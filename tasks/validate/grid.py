"""Checks times against the grid, per series: duplicates, gaps, rows off it, observed targets per split.

Rows are processed in parts, in any order of series: only the last row of each series is remembered.  Series
whose times are out of order are sorted and processed again.  Shapes: S series, R rows of one part.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import polars as pl

from tasks.grid.frequency import Frequency

ROWS = 1 << 17  # in memory at a time


def grid_of(
    keys: pl.LazyFrame, series: pl.DataFrame, frequency: Frequency, ranges: Mapping[str, tuple[np.ndarray, np.ndarray]]
) -> pl.DataFrame:
    """A row for each of `series` (unique_id, first, day; each once), in its order: ordered, duplicates,
    off_grid, positions (steps with a row), largest_gap, and observed:NAME for each of the `ranges` (rows of
    the grid, half-open, [S] each).
    `keys`: unique_id, ds, y (null where missing) of all series.
    """
    numbered = keys.select(
        series=pl.col("unique_id").cast(pl.Enum(series["unique_id"])).to_physical(), ds="ds", seen=pl.col("y").is_not_null()
    )
    tally = _Counts(series, frequency, ranges)
    for rows in _parts(numbered):
        tally.add(rows)
    late = np.flatnonzero(~tally.ordered)
    if len(late):
        again = _Counts(series, frequency, ranges)
        some = pl.Series(late, dtype=pl.UInt32).implode()
        for rows in _parts(numbered.filter(pl.col("series").is_in(some)).sort("series", "ds")):
            again.add(rows)
        for name, counts in tally.counts.items():
            counts[late] = again.counts[name][late]
    columns = [pl.Series(name, counts) for name, counts in tally.counts.items()]
    return pl.DataFrame([series["unique_id"], pl.Series("ordered", tally.ordered), *columns])


def _parts(rows: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    return iter(rows.collect_batches(chunk_size=ROWS, maintain_order=True, engine="streaming"))


class _Counts:
    """Counts per series over the rows so far, and the place of its last row; `ordered` [S]: whether no row
    came before its predecessor.  Only then are the counts right."""

    def __init__(self, series: pl.DataFrame, frequency: Frequency, ranges: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> None:
        self.series, self.frequency, self.ranges = series, frequency, ranges
        names = ["duplicates", "off_grid", "positions", "largest_gap", *(f"observed:{name}" for name in ranges)]
        self.counts = {name: np.zeros(series.height, np.int64) for name in names}
        self.ordered = np.ones(series.height, bool)
        self.time, self.place = np.full((2, series.height), np.iinfo(np.int64).min)

    def add(self, rows: pl.DataFrame) -> None:
        """Adds rows (series, ds, seen) that follow all rows added before."""
        if rows.is_empty():
            return
        series, time, place, off, seen = self._located(rows)
        begins = np.flatnonzero(np.diff(series, prepend=-1))
        some, ends = series[begins], np.append(begins[1:], len(series)) - 1
        first = self.place[some] == np.iinfo(np.int64).min  # the series' first row
        before, older = (np.concatenate(([0], part[:-1])) for part in (place, time))
        before[begins] = np.where(first, place[begins] - 1, self.place[some])
        older[begins] = np.where(first, time[begins] - 1, self.time[some])
        self.ordered[some] &= np.logical_and.reduceat(time >= older, begins)
        counts = {"duplicates": time == older, "off_grid": off, "positions": place != before}
        for name, (low, high) in self.ranges.items():
            counts[f"observed:{name}"] = seen & (place >= low[series]) & (place < high[series])
        for name, each in counts.items():
            self.counts[name][some] += np.add.reduceat(each.astype(np.int64), begins)
        gaps = np.maximum.reduceat(place - before - 1, begins)
        self.counts["largest_gap"][some] = np.maximum(self.counts["largest_gap"][some], gaps)
        self.time[some], self.place[some] = time[ends], place[ends]

    def _located(self, rows: pl.DataFrame) -> tuple[np.ndarray, ...]:
        """[R] each row's series (sorted), time as a number, step of the grid, whether it is off the grid, and
        whether it has a target."""
        if not rows["series"].is_sorted():
            rows = rows.sort("series", maintain_order=True)
        starts = (self.series[name].gather(rows["series"]) for name in ("first", "day"))
        ds, first, day = pl.col("ds"), pl.col("first"), pl.col("day")
        place, on = self.frequency.position(ds, first, day), self.frequency.on_grid(ds, first, day)
        located = rows.with_columns(starts).select("series", ds.to_physical(), place.alias("place"), off=~on, seen="seen")
        return tuple(located[name].to_numpy().astype(np.int64 if at < 3 else bool) for at, name in enumerate(located.columns))
