"""Writes the panel: a long frame as arrays on a regular grid, named by content, in bounded memory.

Rows are streamed straight to their place in a mapped file, so their order does not matter.  The target is
kept as observed; features are carried forward over at most `forward_fill` rows, never across series, and stay
NaN beyond.  Values that 32 bits hold too coarsely (`wide.py`) are also kept in 64 bits.
"""

import functools
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.lib.format import open_memmap
from prefect import task
from prefect.cache_policies import NO_CACHE

from models.data.panel import WIDE, DamagedPanel, Panel, PanelFacts, arrays_of, content_digest, digest_of
from models.data.refused import MOST, REFUSED
from models.data.window import AHEAD, WindowParams
from params.errors import Unavailable, UserError
from params.schema import RunParams
from params.shown import discreet
from tasks.grid.calendar import calendar_columns
from tasks.grid.frequency import Frequency
from tasks.lags.sizes import panel_bytes, size_text
from tasks.lags.wide import Rests, small_changes
from tasks.names import column

KEYS = ("unique_id", "ds")
CHUNK = 1 << 17  # rows in memory at a time


def write_panel(frame: pl.LazyFrame, params: WindowParams, frequency: Frequency, forward_fill: int, folder: Path) -> Path:
    """Writes the panel of a long frame (unique_id, ds, y, covariates; any order); returns its folder.

    Missing steps become rows of NaN.  `params.wide` are always kept in 64 bits.  Writes to a temporary
    folder, then renames it; reuses an identical panel and rebuilds a damaged one with a warning.  Raises
    UserError for a value that float32 cannot hold or a static covariate that varies.
    """
    spans, covariates = _spans(frame, params, frequency)
    if not spans.height:
        raise UserError("no rows are left after the checks: nothing to cut into windows")
    offsets = np.concatenate(([0], np.cumsum(spans["size"].to_numpy()))).astype(np.int64)
    static, categories = _static(covariates, params, spans.height)
    folder.mkdir(parents=True, exist_ok=True)
    ask_for_room(panel_bytes(int(offsets[-1]), params), folder)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".partial-", ignore_cleanup_errors=True) as name:
        partial = Path(name) / "panel"  # its contents have the usual permissions
        partial.mkdir()
        np.save(partial / "offsets.npy", offsets)
        np.save(partial / "static.npy", static)
        rests = Rests(Path(name), int(offsets[-1]), lambda size: ask_for_room(size, folder))
        _write_rows(partial, frame, spans, params, frequency, rests)
        params = _write_wide(partial, offsets, params, rests)
        _finish_rows(partial, spans, offsets, params, frequency, forward_fill)
        panel_facts = PanelFacts(
            frequency=frequency.span,
            forward_fill=forward_fill,
            start_padding=params.start_padding,
            static=tuple(params.static),
            categories=categories,
            wide=params.wide_channels,
            zone=frequency.zone,
            holidays=tuple(map(str, frequency.holidays)),
        )
        names = {"ids": spans["unique_id"].to_list(), "channels": params.panel_channels}
        return _put_in_place(partial, names | panel_facts.to_dict(), int(offsets[-1]), folder)


def ask_for_room(size: int, folder: Path) -> None:
    """Raises Unavailable if the disk has less free space."""
    free = shutil.disk_usage(folder).free
    if size > free:
        room = f"{size_text(free)} are free at {folder}"
        raise Unavailable(f"the panel takes {size_text(size)} and {room}: make room, or set LAGLINE_HOME")


def _spans(frame: pl.LazyFrame, params: WindowParams, frequency: Frequency) -> tuple[pl.DataFrame, dict[str, pl.Series]]:
    """Per series, sorted by name: unique_id, first ds, day, size and offset in rows; static covariates."""
    names = [name for name in params.static if name != "unique_id"]
    aggregates = [pl.col("ds").min(), pl.col("ds").max().alias("last"), frequency.day(pl.col("ds")).alias("day")]
    for number, name in enumerate(names):  # numbered, so that no name collides with ours
        value = column(name).drop_nulls()
        aggregates += [value.first().alias(f"value {number}"), value.n_unique().alias(f"different {number}")]
    by_series = frame.group_by("unique_id").agg(aggregates).sort("unique_id").collect(engine="streaming")
    for number, name in enumerate(names):
        different = by_series.select("unique_id", count=f"different {number}").filter(pl.col("count") > 1)
        if different.height:
            raise UserError(
                f"windows.static: {name!r} takes {different['count'][0]} values in series {different['unique_id'][0]!r}: "
                "a static covariate is constant for a series; list it under windows.features, or under windows.future"
            )
    static = {"unique_id": by_series["unique_id"]} | {name: by_series[f"value {number}"] for number, name in enumerate(names)}
    spans, ds, day = by_series.select("unique_id", "ds", "last", "day"), pl.col("ds"), pl.col("day")
    if params.start_padding:  # each series starts this many steps earlier
        spans = spans.with_columns(ds=frequency.at(ds, -params.start_padding, day))
    size = frequency.position(pl.col("last"), ds, day) + 1
    spans = spans.select("unique_id", "ds", "day", size=size)
    return spans.with_columns(offset=pl.col("size").cum_sum() - pl.col("size")), static


def _static(
    covariates: Mapping[str, pl.Series], params: WindowParams, series: int
) -> tuple[np.ndarray, dict[str, tuple[str, ...]]]:
    """float64 [S, C]: numbers, and category codes from 1 in sorted order, 0 for missing."""
    columns = []
    categories: dict[str, tuple[str, ...]] = {}
    for name, kind in params.static.items():
        values = covariates[name]
        if kind == "numeric":
            columns.append(values.cast(pl.Float64).fill_null(np.nan).to_numpy())
            _float32(columns[-1], name)
            continue
        categories[name] = tuple(values.drop_nulls().unique().sort())
        codes = values.cast(pl.Enum(categories[name])).to_physical().cast(pl.Int64) + 1
        columns.append(codes.fill_null(0).to_numpy())
    stacked = np.stack(columns, axis=1) if columns else np.empty((series, 0))
    return np.ascontiguousarray(stacked, np.float64), categories


def _write_rows(
    partial: Path, frame: pl.LazyFrame, spans: pl.DataFrame, params: WindowParams, frequency: Frequency, rests: Rests
) -> None:
    """Writes every row to its place in the mapped target and values, and 64-bit remainders to `rests`."""
    size, width = int(spans["size"].sum()), len(params.panel_channels)
    target = open_memmap(partial / "target.npy", "w+", np.float64, (size,))
    values = open_memmap(partial / "values.npy", "w+", np.float32, (size, width))
    for rows in _chunks(size):
        target[rows] = np.nan
        values[rows] = np.nan
    columns = list(dict.fromkeys(["y", *params.features, *params.future]))
    past, future = [columns.index(name) for name in params.features], [columns.index(name) for name in params.future]
    first, number = spans["ds"], pl.col("unique_id").cast(pl.Enum(spans["unique_id"])).to_physical()
    chosen = [column(name).cast(pl.Float64).alias(str(place)) for place, name in enumerate(columns)]
    numbered = frame.select(number.alias("series"), "ds", *chosen)  # a join would buffer the rows
    row = pl.col("offset") + frequency.position(pl.col("ds"), pl.col("first"), pl.col("day"))
    for batch in numbered.collect_batches(chunk_size=CHUNK, maintain_order=False, engine="streaming"):
        series = batch["series"]
        of_series = {"first": first, "day": spans["day"], "offset": spans["offset"]}
        located = batch.select("ds", *(by_series.gather(series).alias(name) for name, by_series in of_series.items()))
        at: Any = located.select(row).to_series().to_numpy()
        block = np.empty((len(columns), len(at)), np.float32)
        if len(at) and (np.diff(at) == 1).all():  # rows in order are contiguous
            at = slice(int(at[0]), int(at[-1]) + 1)
        for place, name in enumerate(columns):
            exact = batch[str(place)].to_numpy()
            block[place] = _float32(exact, name)
            if place:
                rests.keep(name, at, exact, block[place])
            else:
                target[at] = exact
        values[at, : len(past)] = block[past].T
        if future:
            values[at, width - len(future) :] = block[future].T


def _write_wide(partial: Path, offsets: np.ndarray, params: WindowParams, rests: Rests) -> WindowParams:
    """Finds the columns that 32 bits hold too coarsely and writes them in 64; names them in the params."""
    target: np.ndarray = np.load(partial / "target.npy", mmap_mode="r")
    values: np.ndarray = np.load(partial / "values.npy", mmap_mode="r")
    channels = {name + AHEAD: name for name in params.future} | {name: name for name in params.features}

    def exact(channel: str, rows: slice) -> np.ndarray:
        given = values[rows, params.panel_channels.index(channel)]
        return target[rows] if channel == "y" else rests.exact(channels[channel], rows, given)

    once = {name: functools.partial(exact, channel) for channel, name in channels.items()}  # each column once
    coarse = small_changes(once, _chunks(len(target)), offsets)
    params = replace(params, wide=tuple(name for name in once if name in coarse or name in params.wide))
    if params.wide:
        ask_for_room(panel_bytes(len(target), params) - panel_bytes(len(target), replace(params, wide=())), partial)
        wide = open_memmap(partial / f"{WIDE}.npy", "w+", np.float64, (len(target), len(params.wide_channels)))
        for rows in _chunks(len(target)):
            for column, channel in enumerate(params.wide_channels):
                wide[rows, column] = exact(channel, rows)
    return params


def _chunks(size: int) -> Iterator[slice]:
    return (slice(start, min(start + CHUNK, size)) for start in range(0, size, CHUNK))


def _float32(values: np.ndarray, name: str) -> np.ndarray:
    with np.errstate(over="ignore"):
        small: np.ndarray = values.astype(np.float32)
    if max(np.fmax.reduce(small, initial=0), -np.fmin.reduce(small, initial=0)) > MOST:
        worst = values[np.abs(values) > MOST][0]
        raise UserError(f"column {name!r} holds {REFUSED['infinite' if np.isinf(worst) else 'huge']} ({worst:g})")
    return small


def _finish_rows(
    partial: Path, spans: pl.DataFrame, offsets: np.ndarray, params: WindowParams, frequency: Frequency, forward_fill: int
) -> None:
    """Writes the grid's timestamps and the calendar, and carries features forward; chunk by chunk."""
    times = open_memmap(partial / "times.npy", "w+", np.int64, (int(offsets[-1]),))
    values = np.load(partial / "values.npy", mmap_mode="r+")
    features = len(params.features)
    filled = [(values, features)]
    if params.wide_channels:
        filled.append((np.load(partial / f"{WIDE}.npy", mmap_mode="r+"), len(params.wide_features)))
    held = [(np.full(count, -1), np.full(count, np.nan)) for _, count in filled]  # last row and value
    first = spans["ds"]
    for rows in _chunks(len(times)):
        at = np.arange(rows.start, rows.stop)
        series = np.searchsorted(offsets, at, side="right") - 1
        of_series = {"first": first.gather(series), "day": spans["day"].gather(series)}
        grid = pl.DataFrame({**of_series, "position": at - offsets[series]})
        moment = frequency.at(pl.col("first"), pl.col("position"), pl.col("day"))
        times[rows] = grid.select(moment.to_physical()).to_series().to_numpy()
        column = features
        for name in params.calendar:
            for channel in calendar_columns(times[rows], name, frequency):
                values[rows, column] = channel
                column += 1
        for (array, count), last_held in zip(filled, held, strict=True):
            for column in range(count):
                part = np.ascontiguousarray(array[rows, column])
                if _carry_forward(part, at, offsets[series], forward_fill, column, last_held):
                    array[rows, column] = part


def _carry_forward(
    part: np.ndarray, at: np.ndarray, start: np.ndarray, limit: int, column: int, held: tuple[np.ndarray, np.ndarray]
) -> bool:
    """Fills NaN in place with the series' last value, at most `limit` rows old; True if it filled any.

    `at`: the rows of the part; `start`: the first row of their series.  `held` carries over between chunks.
    """
    missing = np.isnan(part)
    last = at if not missing.any() else np.maximum.accumulate(np.where(missing, held[0][column], at))
    usable = missing & (last >= start) & (at - last <= limit)
    if usable.any():
        here = last[usable] - at[0]
        part[usable] = np.where(here >= 0, part[here.clip(0)], held[1][column])
    if not missing.all():
        newest = int(last[-1])
        held[0][column], held[1][column] = newest, part[newest - at[0]] if newest >= at[0] else held[1][column]
    return bool(usable.any())


def _put_in_place(partial: Path, panel_facts: Mapping[str, Any], size: int, folder: Path) -> Path:
    digest = digest_of(partial, panel_facts)
    arrays = arrays_of(panel_facts)
    written = sum((partial / f"{name}.npy").stat().st_size for name in arrays)
    final = folder / digest
    panel_facts = {**panel_facts, "digest": digest, "rows": size, "bytes": written}
    (partial / "panel.json").write_text(json.dumps(panel_facts, indent=1))
    try:
        os.replace(partial, final)
    except OSError:  # it exists, from an earlier run or a faster process
        if not final.is_dir():
            raise
        if not is_whole(final):
            for name in (*(f"{array}.npy" for array in arrays), "panel.json"):  # readers keep theirs
                os.replace(partial / name, final / name)
            print(f"the kept panel {final} was damaged and has been built again from the data", file=sys.stderr)
    return final


def is_whole(folder: Path) -> bool:
    """Whether the content of a panel matches its name."""
    try:
        return Panel.open(folder).digest == content_digest(folder) == folder.name
    except (OSError, DamagedPanel):
        return False


@task(cache_policy=NO_CACHE)
@discreet
def generate_lags(frame: pl.LazyFrame, windows: WindowParams, run: RunParams, frequency: Frequency, folder: Path) -> Panel:
    """Writes the panel of a run (`windows`: without dropped features) and opens it, memory-mapped."""
    return Panel.open(write_panel(frame, windows, frequency, run.windows.forward_fill, folder))
