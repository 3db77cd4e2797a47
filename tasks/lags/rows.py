"""The rows of the lag table before any lag: keys, static covariates and source columns, from the panel.

For each series the table has one row more than the panel: the step past its end.  Row q of the table, in
series s, is row q - s of the panel.
Besides unique_id, ds and row, a column is named by a word of ours, a blank and its own name (`static size`),
so that no user's name collides.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from models.data.panel import Panel
from models.data.window import calendar_channels
from tasks.grid.calendar import calendar_columns
from tasks.grid.frequency import Frequency

BLOCK = 1 << 14  # rows at a time, so that a block of the panel stays in the CPU cache for all channels


@dataclass(frozen=True)
class Source:
    """A column to lay out: a channel of the panel (None: the target), or its mean over `window` rows.

    `ends`: whether the row past the end of a series is read, and so must be null.
    """

    channel: int | None
    window: int = 1
    ends: bool = False


@dataclass(frozen=True)
class _Block:
    """Adjacent rows of the table: their place, which are `inside` a series, and their rows of the panel."""

    to: slice
    series: np.ndarray
    place: np.ndarray
    inside: np.ndarray
    rows: slice


def table_rows(panel: Panel) -> int:
    """Rows of the whole table, edges kept."""
    return int(panel.offsets[-1]) + len(panel.ids)


def lay_out(
    panel: Panel, sources: Mapping[str, Source], calendar: tuple[str, ...], start: int, stop: int, most: int
) -> pl.DataFrame:
    """Rows start .. stop of the table before any lag; they may begin before its first and end past its last.

    unique_id, ds, `row` (position in the series from 0, capped at `most`), `wave NAME` of the calendar,
    `static NAME`, and the sources by name: float32 (float64 if the panel has it so), null where missing, and
    outside a series if the source is read there.
    """
    size = stop - start
    series, times = np.zeros(size, np.uint32), np.zeros(size, np.int64)
    place = np.zeros(size, np.min_scalar_type(most))
    columns = {name: np.empty(size, _values(panel, source).dtype) for name, source in sources.items()}
    frequency = Frequency.of(panel.facts)
    waves = {f"wave {channel}": np.zeros(size, np.float32) for name in calendar for channel in calendar_channels(name)}
    for name, column in columns.items():
        column[: max(-start, 0)] = column[size - max(stop - table_rows(panel), 0) :] = _outside(sources[name])
    for block in _blocks(panel, start, stop):
        series[block.to] = block.series
        place[block.to] = np.minimum(block.place, most)
        times[block.to][block.inside] = panel.times[block.rows]
        for name, column in columns.items():
            _fill(column[block.to], panel, sources[name], block)
    _add_past_ends(times, panel, start)
    for name in calendar:
        for low in range(0, size, BLOCK):
            part = slice(low, low + BLOCK)
            for channel, wave in zip(calendar_channels(name), calendar_columns(times[part], name, frequency), strict=True):
                waves[f"wave {channel}"][part] = wave
    number = pl.Series(pa.array(series))
    of_series = {"unique_id": pl.Series(panel.ids, dtype=pl.String)}
    of_series |= {f"static {name}": column for name, column in statics(panel).items()}
    table = {name: column.gather(number) for name, column in of_series.items()}
    table["ds"] = pl.Series(pa.array(times)).cast(frequency.dtype)
    table |= {"row": pl.Series(pa.array(place))} | {name: _column(wave) for name, wave in waves.items()}
    while columns:  # one by one, so that no column is held twice
        name, values = columns.popitem()
        table[name] = _column(values)
    return pl.DataFrame(table)


def statics(panel: Panel) -> dict[str, pl.Series]:
    """The static covariates [S] by name: text or numbers, null where missing; without unique_id, a key."""
    columns = {}
    for number, name in enumerate(panel.facts.static):
        values = panel.static[:, number]
        if name in panel.categories:
            codes = pl.Series(values.astype(np.int64))
            columns[name] = pl.Series([None, *panel.categories[name]], dtype=pl.String).gather(codes)
        else:
            columns[name] = _column(np.ascontiguousarray(values))
    return {name: column for name, column in columns.items() if name != "unique_id"}


def _ends(panel: Panel) -> np.ndarray:
    """The table's row one step past the end of each series."""
    return np.asarray(panel.offsets[1:] + np.arange(len(panel.ids)))


def _blocks(panel: Panel, start: int, stop: int) -> Iterator[_Block]:
    """The rows of the table from start to stop, block by block."""
    ends = _ends(panel)
    for low in range(max(start, 0), min(stop, table_rows(panel)), BLOCK):
        high = min(low + BLOCK, stop, table_rows(panel))
        first, last = np.searchsorted(ends, (low, high - 1))
        counts = np.diff(np.minimum(ends[first : last + 1] + 1, high), prepend=low)
        series = np.repeat(np.arange(first, last + 1), counts)
        at = np.arange(low, high)
        inside = at != ends[series]
        row = int(low - first)
        rows = slice(row, row + int(inside.sum()))
        yield _Block(slice(low - start, high - start), series, at - series - panel.offsets[series], inside, rows)


def _add_past_ends(times: np.ndarray, panel: Panel, start: int) -> None:
    """Writes the time one step past each series' end into the rows of a table from `start`."""
    ends = _ends(panel)
    first, last = np.searchsorted(ends, (start, start + len(times)))
    if first < last:
        frequency, offsets = Frequency.of(panel.facts), panel.offsets[first : last + 1]
        days = frequency.days(panel.times[offsets[0] : offsets[-1]], offsets - offsets[0])
        edges = pl.DataFrame({"first": panel.times[offsets[:-1]], "last": panel.times[offsets[1:] - 1]}).cast(frequency.dtype)
        past = frequency.shift(pl.col("last"), 1, pl.col("first"), pl.col("day")).to_physical()
        times[ends[first:last] - start] = edges.with_columns(day=days).select(past).to_series().to_numpy()


def _fill(column: np.ndarray, panel: Panel, source: Source, block: _Block) -> None:
    """Writes a source's rows of a block to its place in the column."""
    values = _values(panel, source)
    if source.window > 1:
        first = block.rows.start - source.window + 1
        known = values[max(first, 0) : block.rows.stop]
        part = window_means(np.concatenate([np.full(max(-first, 0), np.nan, known.dtype), known]), source.window)
        part[block.place[block.inside] < source.window - 1] = np.nan  # reaches into the previous series
    else:
        part = values[block.rows]
    if len(part) == len(column):
        column[:] = part
    else:
        column[block.inside] = part
        column[np.flatnonzero(~block.inside)] = _outside(source)


def _values(panel: Panel, source: Source) -> np.ndarray:
    """[rows] of the panel from which a source is laid out."""
    return panel.target if source.channel is None else panel.channel(panel.channels[source.channel])


def _outside(source: Source) -> float:
    """The value outside a series: a number if never read, so that gapless columns need no mask."""
    return np.nan if source.ends else 0.0


def window_means(values: np.ndarray, window: int) -> np.ndarray:
    """The mean of every `window` adjacent values, in their dtype [rows - window + 1]; NaN if one is missing.

    Adds sums of 1, 2, 4 ... neighbours (float64): a mean depends only on its own values, in one order, unlike
    with a running sum; so it is the same wherever a table is cut, and one huge value spoils no other mean.
    """
    count, covered, length = len(values) - window + 1, 0, 1
    sums = values.astype(np.float64)
    total = np.zeros(count)
    while covered < window:
        if window & length:
            total += sums[covered : covered + count]
            covered += length
        if covered < window:
            sums = sums[length:] + sums[:-length]
            length *= 2
    return (total / window).astype(values.dtype)


def _column(values: np.ndarray) -> pl.Series:
    """Floats as a column without a copy, NaN as null."""
    missing = np.isnan(values)
    valid = pa.py_buffer(np.packbits(~missing, bitorder="little")) if missing.any() else None
    return pl.Series(pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [valid, pa.py_buffer(values)]))
