"""The profile of a table: one row per series and one for the whole, streamed by polars.

The checks judge this profile, not the rows, so their cost does not grow with the table.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from models.data.panel import SPLITS, Split
from params.errors import UserError
from params.schema import RunParams
from tasks.grid.frequency import Frequency
from tasks.grid.split import resolve_folds
from tasks.grid.zone import NO_SHIFT
from tasks.load.clock import went_back
from tasks.load.files import collect
from tasks.load.source import Source, categories_of, scan_series
from tasks.load.tail import Tail, is_observed, tail_from, without_tail
from tasks.names import column
from tasks.validate.grid import grid_of

MOST_TRIED = 200  # repeated times examined


@dataclass(frozen=True)
class Profile:
    """`series`: one row per series.  `table`: one row.  `columns`: the values measured.

    `missing`: wanted values without a column; `found`: the table's columns.  `split_problem`: why the split
    does not fit the data, if so.  `frequency`: the grid to compare times with.  `tail`: the newest rows,
    without a target, to be forecast; not counted above.  `told`: how the zone was guessed, in words, if so.
    `went_back`: a zone whose clocks went back at all repeated times.
    """

    series: pl.DataFrame
    table: pl.DataFrame
    columns: tuple[str, ...]
    missing: tuple[str, ...]
    found: tuple[str, ...]
    split_problem: str | None
    frequency: Frequency
    tail: Tail
    told: str = ""
    went_back: str | None = None

    def shown(self, time: object) -> str:
        """A time of the table for people, with its zone."""
        text, zone = str(time), self.frequency.clock
        return text if zone in NO_SHIFT else f"{text.removesuffix('+00:00')} {zone}"


def make_profile(run: RunParams, source: Source) -> Profile:
    """Two passes over the table, four if it has a tail; one more sorts series whose rows are out of order.

    Per series: first, last, rows, steps (of the grid), duplicates, off_grid, missing_steps, gap_share,
    largest_gap, ordered; y_outside and y_between (targets beyond the run's bounds, and fractions where
    integers are asked for); y_distinct (0 none, 1 constant, 2 more), y_varies.  Per column c: null_share:c,
    infinite:c, text:c, example:c, min:c, max:c, size:c (largest absolute value).  training_rows (of the
    grid); scored (windows of validation or test, the fewer; null if none trains); windows:train,
    windows:validation, windows:test; observed:train, observed:validation, observed:test (non-null targets);
    train and validation of earlier validation ranges, named by of_fold.  The table row sums the last two over
    the series with training windows.
    """
    wanted = list(dict.fromkeys([*run.windows.columns, *(c for c in run.validation.ranges if c != "y")]))
    frame = scan_series(source, wanted, categories_of(run))
    schema = frame.collect_schema()
    columns = [name for name in schema.names() if name not in ("unique_id", "ds")]
    texts = {name for name in columns if schema[name] == pl.String}
    frequency = source.frequency
    aggregates = [
        pl.len().alias("rows"),
        pl.col("ds").min().alias("first"),
        pl.col("ds").max().alias("last"),
        frequency.day(pl.col("ds")).alias("day"),
    ]
    aggregates += [pl.when("observed").then("ds").max().alias("until"), *_impossible_targets(run)]

    def values_in(frame: pl.LazyFrame) -> pl.DataFrame:
        rows = frame.select("unique_id", "ds", is_observed(schema).alias("observed"), *_split(columns, texts))
        return collect(rows.group_by("unique_id").agg(*aggregates, *_values(columns, texts)), run.data.where)

    values = values_in(frame)
    tail = tail_from(frame, values, run.data.where)
    if tail.rows:
        frame = without_tail(frame, tail)
        values = values_in(frame)
    keys, values = frame.select("unique_id", "ds", y=_number("y")), values.sort("unique_id")
    splits, problem = _splits_of(values, run, frequency)
    steps = frequency.position(pl.col("last"), pl.col("first"), pl.col("day")) + 1
    values = values.with_columns(steps=steps)
    grid = grid_of(keys, values, frequency, _rows_of(splits, values, frequency))
    series = _with_gaps(values.hstack(grid.drop("unique_id")), columns)
    series = _with_windows(series, run, splits, frequency)
    missing = tuple(name for name in wanted if name not in columns)
    table, zone_note, headers = _table(series, columns), source.clock.told, tuple(source.columns)
    zone = _went_back(keys, source) if (series["duplicates"] > 0).any() else None
    return Profile(series, table, tuple(columns), missing, headers, problem, frequency, tail, zone_note, zone)


def _went_back(keys: pl.LazyFrame, source: Source) -> str | None:
    """A zone whose clocks went back at all repeated times, if the times are naive."""
    if source.frequency.by_day or isinstance(source.frequency.span, int) or source.clock.zone is not None:
        return None
    twice = keys.group_by("unique_id", "ds").len().filter(pl.col("len") == 2).select(pl.col("ds").unique()).head(MOST_TRIED)
    return went_back(collect(twice, source.data.where)["ds"].dt.replace_time_zone(None).to_list())


def _number(name: str) -> pl.Expr:
    return column(name).cast(pl.Float64, strict=False).fill_nan(None)


def _split(columns: Sequence[str], texts: set[str]) -> list[pl.Expr]:
    """Per row and column: finite:c, infinite:c and, for text columns, text:c (not a number)."""
    exprs = []
    for name in columns:
        number = _number(name)
        exprs.append(pl.when(number.is_finite()).then(number).alias(f"finite:{name}"))
        exprs.append(number.is_infinite().alias(f"infinite:{name}"))
        if name in texts:
            exprs.append(pl.when(number.is_null()).then(column(name)).alias(f"text:{name}"))
    return exprs


def _values(columns: Sequence[str], texts: set[str]) -> list[pl.Expr]:
    exprs = []
    for name in columns:
        finite, infinite, text = (pl.col(f"{kind}:{name}") for kind in ("finite", "infinite", "text"))
        written = text.count() if name in texts else pl.lit(0, pl.UInt32).first()
        example = text.drop_nulls().first() if name in texts else pl.lit(None, pl.String).first()
        exprs += [
            (pl.len() - finite.count() - infinite.sum() - written).alias(f"nulls:{name}"),
            infinite.sum(),
            written.alias(f"text:{name}"),
            example.alias(f"example:{name}"),
            finite.min().alias(f"min:{name}"),
            finite.max().alias(f"max:{name}"),
        ]
    return exprs


def _impossible_targets(run: RunParams) -> list[pl.Expr]:
    """How many targets are impossible as forecasts: outside the bounds, or not integers."""
    y, data = pl.col("finite:y"), run.data
    low, high = -math.inf if data.lowest is None else data.lowest, math.inf if data.highest is None else data.highest
    between = y != y.round() if data.integer else pl.col("finite:y").is_infinite()
    return [(~y.is_between(low, high)).sum().alias("y_outside"), between.sum().alias("y_between")]


def _with_gaps(series: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    series = series.with_columns(missing_steps=pl.col("steps") - pl.col("positions"))
    shares = [(pl.col(f"nulls:{name}") / pl.col("rows")).alias(f"null_share:{name}") for name in columns]
    shares += [pl.max_horizontal(pl.col(f"min:{c}").abs(), pl.col(f"max:{c}").abs()).alias(f"size:{c}") for c in columns]
    distinct = pl.when(pl.col("min:y") == pl.col("max:y")).then(1).when(pl.col("min:y").is_null()).then(0).otherwise(2)
    varies = (distinct != 1).cast(pl.Int64)
    return series.with_columns(
        *shares, gap_share=pl.col("missing_steps") / pl.col("steps"), y_distinct=distinct, y_varies=varies
    )


def _splits_of(values: pl.DataFrame, run: RunParams, frequency: Frequency) -> tuple[list[Split], str | None]:
    """The borders of all validation ranges in this table, the run's own last, or why they do not fit."""
    try:
        oldest, newest = values["first"].to_physical().min(), values["last"].to_physical().max()
        return resolve_folds(run, frequency, oldest, newest), None  # type: ignore[arg-type]
    except UserError as error:
        return [], str(error)


def of_fold(name: str, number: int) -> str:
    """The name of a split of an earlier validation range; these count from 1, the oldest."""
    return f"{name}~{number}"


def _named(splits: Sequence[Split]) -> list[tuple[str, str, Split]]:
    """Every range in which windows are counted: its name here, its name in its split, and that split."""
    earlier = [
        (of_fold(name, number), name, split)
        for number, split in enumerate(splits[:-1], start=1)
        for name in ("train", "validation")
    ]
    return [*((name, name, splits[-1]) for name in SPLITS), *earlier]


def _with_windows(series: pl.DataFrame, run: RunParams, splits: Sequence[Split], frequency: Frequency) -> pl.DataFrame:
    """Adds windows per series and split, training rows, and whether the series is scored."""
    window = run.windows.window_params()
    if not splits:
        series = series.with_columns(pl.lit(1).alias(f"observed:{name}") for name in SPLITS)
        whole = (pl.col("steps") - window.behind - window.ahead).clip(0)
        counts = [whole.alias("windows:train"), *(pl.lit(1).alias(f"windows:{n}") for n in ("validation", "test"))]
        return series.with_columns(*counts, training_rows=pl.col("steps"), scored=pl.lit(1))
    place, counts = (frequency, pl.col("steps"), pl.col("first"), pl.col("day")), []
    for name, range_name, split in _named(splits):
        low, high = _ranges(split, *place)[range_name]
        first = pl.max_horizontal(low - 1 - window.gap, pl.lit(window.behind))
        counts.append((high - window.ahead - first).clip(0).alias(f"windows:{name}"))
    series = series.with_columns(*counts, training_rows=_ranges(splits[-1], *place)["train"][1].clip(0))
    fewer = pl.min_horizontal("windows:validation", "windows:test")
    return series.with_columns(scored=pl.when(pl.col("windows:train") > 0).then(fewer))


def _rows_of(splits: Sequence[Split], series: pl.DataFrame, frequency: Frequency) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The half-open row ranges [S] of each split's targets."""
    place, ranges = (frequency, pl.col("steps"), pl.col("first"), pl.col("day")), {}
    for name, range_name, split in _named(splits) if splits else ():
        low, high = _ranges(split, *place)[range_name]
        ends = series.select("unique_id", low=low, high=high)
        ranges[name] = (ends["low"].to_numpy(), ends["high"].to_numpy())
    return ranges


def _ranges(
    split: Split, frequency: Frequency, steps: pl.Expr, first: pl.Expr, day: pl.Expr
) -> dict[str, tuple[pl.Expr, pl.Expr]]:
    """The half-open range of rows (Int64, 0 .. steps) of each split in a series of `steps` rows from `first`.

    The same as `Split.target_ranges` of models/data/panel.py, which needs a panel; here as expressions.
    """
    steps = steps.cast(pl.Int64)
    if split.by == "rows":
        test = (steps - split.test).clip(0)
        validation = (test - split.validation).clip(0)
    else:
        validation, test = (
            pl.min_horizontal((frequency.position(pl.lit(border - 1).cast(frequency.dtype), first, day) + 1).clip(0), steps)
            for border in (split.validation, split.test)
        )
    ends = (validation - split.embargo, test - split.embargo, steps)
    return dict(zip(SPLITS, zip((pl.lit(0), validation, test), ends, strict=True), strict=True))


def _table(series: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    nulls = [(pl.col(f"nulls:{c}").sum() / pl.col("rows").sum()).alias(f"null_share:{c}") for c in columns]
    trained = pl.col("windows:train") > 0  # other series are dropped, or fail
    counts = [pl.col(name).filter(trained).sum() for name in series.columns if name.startswith(("windows:", "observed:"))]
    return series.select(
        pl.len().alias("series"), pl.col("rows").sum(), pl.col("first").min(), pl.col("last").max(), *counts, *nulls
    )
