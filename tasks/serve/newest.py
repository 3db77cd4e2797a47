"""The rows of a table that a version's forecasts read, found while streaming it: never all of it in memory.

Most series need only the newest rows of a window.  A series is kept whole if something may need more: it is
too short, it was not in training (its unit is measured on its history), a baseline may replace the version in
it, or it holds something that the serving code then refuses in its own words.  So forecasts and messages
equal those of the whole table.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from models.serving import LOG1P, MONTHS, MOST_SIZE, MOST_STEPS, first_from, moment_of, positions, time_at
from tasks.load.files import collect
from tasks.load.tail import is_observed
from tasks.names import column

if TYPE_CHECKING:
    from models.serving import Model

CHUNK = 1 << 17  # rows in memory at a time
WHOLE = np.iinfo(np.int64).min  # keep from this time on: all rows
THERE, OBSERVED = 1, 1  # summed in a byte: 0 no row, 1 a row, 2 an observed one


@dataclass(frozen=True)
class Newest:
    """The `rows` of a long frame that forecasts need, unchanged; `clean`: none of them can be refused."""

    rows: pl.DataFrame
    clean: bool


@dataclass(frozen=True)
class _Series:
    """What one pass learns of each series [S], including the nameless one.

    First and last time, that of the last target (`seen` if there is one), rows; whether it may be cut, and
    whether it has a fault."""

    names: pl.Series
    first: np.ndarray
    end: np.ndarray
    last: np.ndarray
    seen: np.ndarray
    rows: np.ndarray
    may: np.ndarray
    amiss: np.ndarray


def newest(model: "Model", frame: pl.LazyFrame, name: str, start: str | int | datetime | None = None) -> Newest:
    """The rows of a long frame that a model's forecasts read, after each last target or from `start` on.

    All rows if the frame cannot be cut: a grid of months, whose day depends on all rows, or a baseline that
    reads all.
    """
    reach, schema = _reach(model), frame.collect_schema()
    if reach is None or not _is_plain(model, schema):
        return Newest(collect(frame, name), False)
    frame = frame.with_columns(_time=_time(model), _observed=is_observed(schema))
    series = _series_of(model, frame, name)
    begin = _places(model, series, series.last)
    if start is not None:
        moment, day = moment_of(start, model.grid), np.zeros_like(series.first)
        begin = np.minimum(begin, first_from(moment, series.first, day, model.grid))
    gapless = start is not None or ("y" in model.features and model.channels[model.features.index("y")][2] > 0)
    since, amiss = _since(model, frame, series, begin - reach, gapless)
    return Newest(_kept(frame, series, since, schema.names()), not amiss)


def _reach(model: "Model") -> int | None:
    """The rows before a cutoff that forecasts read; None: all of them."""
    reach = [0 if model.alone else model.reach + int(model.facts["forward_fill"])]
    for baseline in (*model.combined, *filter(None, [model.alone])):
        if "rows" not in baseline.arguments:
            return None
        reach.append(baseline.arguments["rows"])
    return max(reach)


def _is_plain(model: "Model", schema: pl.Schema) -> bool:
    """Whether times count on the grid as they are, and numbers are numbers."""
    grid, ds = model.grid, schema["ds"]
    zoned = isinstance(ds, pl.Datetime) and (ds.time_zone is not None or grid.by_day or grid.zone in (None, "UTC"))
    return grid.unit not in MONTHS and (ds.is_integer() if isinstance(grid.span, int) else zoned)


def _time(model: "Model") -> pl.Expr:
    """Each time as the grid counts it: whole numbers or microseconds (local time for steps of days)."""
    if isinstance(model.grid.span, int):
        return pl.col("ds").cast(pl.Int64)
    clock = pl.col("ds").dt.replace_time_zone(None) if model.grid.by_day else pl.col("ds")
    return clock.dt.cast_time_unit("us").to_physical()


def _series_of(model: "Model", frame: pl.LazyFrame, name: str) -> _Series:
    """One pass over the table."""
    numbers = [column(feature) for feature in dict.fromkeys(["y", *model.features, *model.future])]
    texts = [covariate for covariate in model.static if covariate != "unique_id"]
    numbers += [column(covariate) for covariate in texts if model.static[covariate] == "numeric"]
    wrong = pl.any_horizontal(pl.col("_time").is_null(), *(number.fill_nan(None).abs() > MOST_SIZE for number in numbers))
    if model.log1p:
        wrong |= pl.col("y").fill_nan(None) <= LOG1P
    changing = [
        (column(covariate).min() != column(covariate).max()) | (column(covariate).null_count() > 0) for covariate in texts
    ]
    collected = collect(
        frame.with_columns(_wrong=wrong.fill_null(False))
        .group_by("unique_id")
        .agg(
            pl.col("_time").min().alias("first"),
            pl.col("_time").max().alias("end"),
            pl.when("_observed").then("_time").max().alias("last"),
            pl.len().alias("rows"),
            pl.col("_wrong").any().alias("amiss"),
            pl.any_horizontal(False, *changing).fill_null(True).alias("changing"),
        )
        .sort("unique_id"),
        name,
    )
    names = collected["unique_id"]
    known = names.is_in(list(model.known)).fill_null(False).to_numpy()
    first, end, last = (collected[key].fill_null(0).to_numpy() for key in ("first", "end", "last"))
    amiss, seen = (collected["amiss"] | names.is_null()).to_numpy(), collected["last"].is_not_null().to_numpy()
    may = known & seen & ~amiss & ~collected["changing"].to_numpy()
    return _Series(names, first, end, last, seen, collected["rows"].to_numpy().astype(np.int64), may, amiss)


def _places(model: "Model", series: _Series, times: np.ndarray) -> np.ndarray:
    """[S] the grid position of a time of each series."""
    return positions(times, series.first, np.zeros_like(series.first), model.grid)[0]


def _since(model: "Model", frame: pl.LazyFrame, series: _Series, least: np.ndarray, gapless: bool) -> tuple[np.ndarray, bool]:
    """[S] the time from which each series is kept (its newest row at or before `least`); and any faults.

    `gapless`: a series that lacks a target after that row is kept whole.

    Every row of a series that may be cut gets its place on the grid, one byte each: so duplicates and rows
    off the grid are found in any row order.
    """
    size, may = _places(model, series, series.end) + 1, series.may.copy()
    sparse = size > 2 * series.rows
    if size[sparse].sum() > MOST_STEPS:  # the serving code checks how sparse rows may be
        return np.full(len(may), WHOLE), True
    may &= ~sparse
    counted = np.where(may | ~sparse, size, 0)
    offsets = np.cumsum(counted) - counted
    grid, amiss = np.zeros(counted.sum() + 1, np.uint8), series.amiss | sparse
    for batch in _coded(frame, series, ["_time", "_observed"]):
        code = batch["_code"].to_numpy()
        some = np.flatnonzero(counted[code] > 0)
        code, times = code[some], batch["_time"].to_numpy()[some]
        place, on_grid = positions(times, series.first[code], np.zeros_like(times), model.grid)
        amiss[code[~on_grid]] = True
        grid[offsets[code] + place] = THERE + OBSERVED * batch["_observed"].to_numpy()[some]
    amiss |= (counted > 0) & (_sums(grid > 0, offsets, offsets + counted) != series.rows)
    may &= ~amiss & (least > 0)
    at = np.where(may, least, 0)
    while len(gap := np.flatnonzero(may & (grid[np.where(may, offsets + at, 0)] == 0))):
        at[gap] -= 1  # the first row is always there
    if gapless:
        last = np.where(may, _places(model, series, series.last), 0)
        begin = np.where(may, offsets + at, 0)
        may &= _sums(grid == THERE + OBSERVED, begin, begin + last + 1 - at) == last + 1 - at
    return np.where(may, time_at(series.first, np.zeros_like(at), at, model.grid), WHOLE), bool(amiss.any())


def _sums(some: np.ndarray, begin: np.ndarray, end: np.ndarray) -> np.ndarray:
    """[S] how many of `some` (the last is False) are true from `begin` to before `end`, if these differ."""
    return np.add.reduceat(some, np.stack((begin, end), axis=1).ravel(), dtype=np.int64)[::2]


def _coded(frame: pl.LazyFrame, series: _Series, columns: Sequence[str], ordered: bool = False) -> Iterator[pl.DataFrame]:
    """Some columns of a frame, CHUNK rows at a time, with each row's series number."""
    named = series.names.drop_nulls()
    number = pl.col("unique_id").cast(pl.Enum(named)).to_physical().cast(pl.Int64) + series.names.null_count()
    coded = frame.select(*(column(name) for name in columns), _code=number.fill_null(0))  # the nameless one is first
    return coded.collect_batches(chunk_size=CHUNK, maintain_order=ordered, engine="streaming")


def _kept(frame: pl.LazyFrame, series: _Series, since: np.ndarray, names: list[str]) -> pl.DataFrame:
    """The rows of each series since a time, in table order."""
    parts = []
    for batch in _coded(frame, series, [*(name for name in names if name != "unique_id"), "_time"], ordered=True):
        code = batch["_code"].to_numpy()
        parts.append(batch.filter(batch["_time"].fill_null(0).to_numpy() >= since[code]).drop("_time"))
    kept = pl.concat(parts)
    return kept.select(series.names.gather(kept["_code"]).alias("unique_id"), pl.exclude("_code")).select(map(column, names))
