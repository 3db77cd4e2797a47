"""The profile of a table: one row a series and one for the whole, streamed by polars; measures and never judges.

The checks judge this profile and not the rows: their cost does not grow with the table.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from models.windows import Split
from params.errors import UserError
from params.schema import RunParams
from tasks.frequency import Frequency
from tasks.lags import resolve_split
from tasks.load import ROOT, scan_series
from tasks.source import collect, open_tables


@dataclass(frozen=True)
class Profile:
    """`series`: one row a series.  `table`: one row.  `columns`: the values measured.

    `missing`: wanted values that are no column of the table; `found`: then, the columns that there are.
    `split_problem`: why the split does not fit the data, if it does not.
    """

    series: pl.DataFrame
    table: pl.DataFrame
    columns: tuple[str, ...]
    missing: tuple[str, ...]
    found: tuple[str, ...]
    split_problem: str | None


def make_profile(run: RunParams, root: Path = ROOT) -> Profile:
    """Two passes over the table; the second is sorted by series and time where the files are not.

    A series: first, last, rows, steps (of the grid), duplicates, off_grid, missing_steps, gap_share, largest_gap,
    ordered, longest_run (of equal y), y_distinct (0 none, 1 constant, 2 more), y_varies; each column c: null_share:c,
    infinite:c, text:c, example:c, min:c, max:c; windows:train, windows:validation, windows:test.
    """
    features = [name for name in run.windows.features if name != "y"]
    wanted = list(dict.fromkeys([*features, *(c for c in run.validation.ranges if c != "y")]))
    frame = scan_series(run.data, wanted, root)
    schema = frame.collect_schema()
    columns = [name for name in schema.names() if name not in ("unique_id", "ds")]
    texts = {name for name in columns if schema[name] == pl.String}
    frequency = Frequency(run.data.frequency)
    unordered = (pl.col("ds").diff().cast(pl.Int64) < 0).any()
    facts = [
        pl.len().alias("rows"),
        pl.col("ds").min().alias("first"),
        pl.col("ds").max().alias("last"),
        (~unordered).alias("ordered"),
    ]
    rows = frame.select("unique_id", "ds", *_split(columns, texts))
    values = collect(rows.group_by("unique_id").agg(*facts, *_values(columns, texts)), run.data.path)
    keys = frame.select("unique_id", "ds", y=_number("y"))
    if not values["ordered"].all():
        keys = keys.sort("unique_id", "ds")
    grid = collect(keys.group_by("unique_id").agg(_grid(frequency)), run.data.path)
    series = values.join(grid, on="unique_id").sort("unique_id")
    series = _with_gaps(series, columns, frequency)
    series, problem = _with_windows(series, run, frequency)
    missing = tuple(name for name in wanted if name not in columns)
    found = tuple(open_tables(run.data, root)[0].columns) if missing else ()
    return Profile(series, _table(series, columns), tuple(columns), missing, found, problem)


def _number(name: str) -> pl.Expr:
    return pl.col(name).cast(pl.Float64, strict=False).fill_nan(None)


def _split(columns: Sequence[str], texts: set[str]) -> list[pl.Expr]:
    """Row by row, each column as what it holds: finite:c, infinite:c and, of a text column, text:c (that is no number)."""
    found = []
    for name in columns:
        number = _number(name)
        found.append(pl.when(number.is_finite()).then(number).alias(f"finite:{name}"))
        found.append(number.is_infinite().alias(f"infinite:{name}"))
        if name in texts:
            found.append(pl.when(number.is_null()).then(pl.col(name)).alias(f"text:{name}"))
    return found


def _values(columns: Sequence[str], texts: set[str]) -> list[pl.Expr]:
    found = []
    for name in columns:
        finite, infinite, text = (pl.col(f"{kind}:{name}") for kind in ("finite", "infinite", "text"))
        written = text.count() if name in texts else pl.lit(0, pl.UInt32).first()
        example = text.drop_nulls().first() if name in texts else pl.lit(None, pl.String).first()
        found += [
            (pl.len() - finite.count() - infinite.sum() - written).alias(f"nulls:{name}"),
            infinite.sum(),
            written.alias(f"text:{name}"),
            example.alias(f"example:{name}"),
            finite.min().alias(f"min:{name}"),
            finite.max().alias(f"max:{name}"),
        ]
    return found


def _grid(frequency: Frequency) -> list[pl.Expr]:
    ds, first = pl.col("ds"), pl.col("ds").first()
    position = frequency.position(ds, first)
    return [
        (ds.diff().cast(pl.Int64) == 0).sum().alias("duplicates"),
        (~frequency.on_grid(ds, first)).sum().alias("off_grid"),
        position.n_unique().alias("positions"),
        (position.diff() - 1).max().fill_null(0).clip(0).alias("largest_gap"),
        pl.col("y").rle().struct.field("len").max().alias("longest_run"),
    ]


def _with_gaps(series: pl.DataFrame, columns: Sequence[str], frequency: Frequency) -> pl.DataFrame:
    steps = frequency.position(pl.col("last"), pl.col("first")) + 1
    series = series.with_columns(steps=steps)
    series = series.with_columns(missing_steps=pl.col("steps") - pl.col("positions"))
    shares = [(pl.col(f"nulls:{name}") / pl.col("rows")).alias(f"null_share:{name}") for name in columns]
    distinct = pl.when(pl.col("min:y") == pl.col("max:y")).then(1).when(pl.col("min:y").is_null()).then(0).otherwise(2)
    varies = (distinct != 1).cast(pl.Int64)
    return series.with_columns(
        *shares, gap_share=pl.col("missing_steps") / pl.col("steps"), y_distinct=distinct, y_varies=varies
    )


def _with_windows(series: pl.DataFrame, run: RunParams, frequency: Frequency) -> tuple[pl.DataFrame, str | None]:
    """How many windows each series gives to each split; a reason where the split does not fit the data at all."""
    window = run.windows.window_params()
    try:
        oldest, newest = series["first"].to_physical().min(), series["last"].to_physical().max()
        split = resolve_split(run, oldest, newest)  # type: ignore[arg-type]
    except UserError as error:
        whole = (pl.col("steps") - window.reach - window.ahead).clip(0)
        return series.with_columns(
            whole.alias("windows:train"), *(pl.lit(1).alias(f"windows:{n}") for n in ("validation", "test"))
        ), str(error)
    validation, test = _borders(split, frequency)
    ends = {"train": validation - split.embargo, "validation": test - split.embargo, "test": pl.col("steps")}
    counts = []
    for name, low in (("train", pl.lit(0)), ("validation", validation), ("test", test)):
        first = pl.max_horizontal(low - 1 - window.gap, pl.lit(window.reach))
        counts.append((ends[name] - window.ahead - first).clip(0).alias(f"windows:{name}"))
    return series.with_columns(counts), None


def _borders(split: Split, frequency: Frequency) -> tuple[pl.Expr, pl.Expr]:
    """The row (Int64, 0 .. steps) at which validation and test begin in each series."""
    steps = pl.col("steps").cast(pl.Int64)
    if split.by == "rows":
        test = (steps - split.test).clip(0)
        return (test - split.validation).clip(0), test
    first = pl.col("first")
    found = []
    for border in (split.validation, split.test):
        before = pl.lit(border - 1).cast(frequency.dtype)
        found.append(pl.min_horizontal((frequency.position(before, first) + 1).clip(0), steps))
    return found[0], found[1]


def _table(series: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    nulls = [(pl.col(f"nulls:{c}").sum() / pl.col("rows").sum()).alias(f"null_share:{c}") for c in columns]
    trained = pl.col("windows:train") > 0  # a series that gives none is left out, or fails
    windows = [pl.col(f"windows:{name}").filter(trained).sum() for name in ("train", "validation", "test")]
    return series.select(
        pl.len().alias("series"), pl.col("rows").sum(), pl.col("first").min(), pl.col("last").max(), *windows, *nulls
    )
