"""Effects of local clocks on a table: days of unequal length, and repeated hours."""

from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from tasks.explore.times import Times
from tasks.grid.frequency import MICROSECONDS
from tasks.load.clock import came_twice, went_back
from tasks.load.files import collect
from tasks.load.moments import read_time
from tasks.load.source import Source, scan_series
from tasks.names import column

SHORTEST_DAY = 20 * MICROSECONDS["h"]  # on any clock
MOST_TRIED = 200  # repeated times examined


def on_its_clock(source: Source, path: str) -> tuple[Source, pl.LazyFrame, pl.LazyFrame]:
    """The source, its long frame and its keys in order; on the wall clock if rows are a day or more apart."""
    for frequency in (source.data.frequency, "1d"):
        source = replace(source, data=source.data.model_copy(update={"frequency": frequency}))
        frame = scan_series(source, [])
        keys = frame.select("unique_id", "ds").sort("unique_id", "ds")
        if isinstance(frequency, int) or not source.clock.zone:
            break
        step = pl.col("ds").cast(pl.Int64).diff().filter(pl.col("unique_id") == pl.col("unique_id").shift())
        if (collect(keys.select(step.filter(step > 0).min()), path).item() or 0) < SHORTEST_DAY:
            break
    return source, frame, keys


def clocks_went_back(source: Source, times: Times | None, keys: Sequence[str]) -> str:
    """A message that clocks went back at all times repeated within series named by `keys`; empty if not."""
    if times is None or times.steps or times.unit is not None:
        return ""
    data = source.data.model_copy(update=times.keys)
    every = pl.concat(
        table.rows.select(read_time(table, data).alias("ds"), *(column(key).alias(str(at)) for at, key in enumerate(keys)))
        for table in source.tables
    )
    counts = every.group_by(pl.all()).len().filter(pl.col("len") > 1)
    twice = collect(counts.select(pl.col("ds").unique()).drop_nulls().head(MOST_TRIED), source.data.where)["ds"].sort()
    zone = went_back(twice.dt.replace_time_zone(None).to_list())
    return f"{source.tables[0].name}: {twice[0]:%Y-%m-%d %H:%M} stands twice: {came_twice(zone, '--time-zone')}" if zone else ""
