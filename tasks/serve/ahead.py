"""Values known ahead from their own table (`forecast --future FILE`), placed after the last targets."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import polars as pl

from models.data.refused import REFUSED
from params.data import DataParams
from params.errors import UserError
from tasks.grid.frequency import Frequency
from tasks.load.files import collect
from tasks.load.find import whole_path
from tasks.load.source import Source, open_like, scan_series
from tasks.load.text import listed
from tasks.names import column
from tasks.registry.load import Version
from tasks.validate.report import named

Y = pl.col("y").fill_nan(None)


def open_ahead(version: Version, file: str | Path, data: DataParams) -> Source:
    """The table of values known ahead, with the history's id and time columns, or unique_id and ds.

    A target in it is not read.  Raises UserError if a column is missing.
    """
    future = version.facts.windows.future
    if not future:
        raise UserError(f"--future {file}: {version} reads nothing that is known ahead (windows.future): leave it out")
    data_params = data.model_copy(update={"path": whole_path(file), "query": None, "uri": None})
    source = open_like(data_params, future, Path.cwd())
    data_params = source.data
    there = {*source.columns}
    house = {"id": "unique_id" if data_params.ids else None, "time": "ds"}
    if not {*data_params.ids, *data_params.times} <= there and {*filter(None, house.values())} <= there:
        data_params = data_params.model_copy(update=house)
    needed = (*data_params.ids, *data_params.times, *future)
    if missing := [name for name in needed if name not in there]:
        raise UserError(
            f"--future {file}: there is no column {listed(missing)}; needed are {listed(needed)}, and there are "
            f"{listed(source.columns)}"
        )
    target = pl.lit(None, pl.Float64).alias(data_params.target)
    tables = (
        replace(
            table, rows=table.rows.with_columns(target), columns=pl.Schema({**table.columns, data_params.target: pl.Float64()})
        )
        for table in source.tables
    )
    return replace(source, data=data_params, tables=tuple(tables))


def with_ahead(
    version: Version, history: pl.DataFrame, source: Source, short: Collection[str] = ()
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Each series' history up to its last target, then the rows of `source`; and what is unused, in words.

    Raises ValueError for a series without a row there, a missing step, or a cell that is empty or not a
    number, except in series too `short` to be forecast with these.
    """
    future = list(version.facts.windows.future)
    raw = scan_series(source, future)
    refuse_words(raw, future, source.data)
    numbers = (column(name).cast(pl.Float64, strict=False) for name in future)
    given = collect(raw.select("unique_id", "ds", *numbers), source.data.where)
    if not source.data.ids:
        given = given.with_columns(unique_id=pl.lit(version.trained_on.run.data.target))
    ds = pl.col("ds")
    grid = (ds.min().alias("first"), Frequency.of(version.facts).day(ds).alias("day"))
    ends = history.group_by("unique_id").agg(ds.filter(Y.is_not_null()).max().alias("last"), *grid).drop_nulls("last")
    rows = given.filter(_after(given, ends).fill_null(False))
    tail = _after(history, ends).fill_null(False)
    _refuse_lacking(version, ends.filter(~pl.col("unique_id").is_in(list(short))), rows)
    notes = list(_notes(history.filter(tail), rows, future))
    if others := sorted({*given["unique_id"]} - {*history["unique_id"]}):
        notes.append(f"no forecast of {named(others)}: --future has rows of it and the table none")
    return pl.concat([history.filter(~tail), rows], how="diagonal"), tuple(notes)


def refuse_words(raw: pl.LazyFrame, names: Iterable[str], data: DataParams) -> None:
    """Raises ValueError, like serving, for the first cell that holds something other than a number."""
    types = raw.collect_schema()
    for name in names:
        if types[name] == pl.String:
            cell, called = column(name), data.target if name == "y" else name
            bad = raw.filter(cell.is_not_null() & cell.cast(pl.Float64, strict=False).is_null()).select("unique_id", cell)
            for series, value in collect(bad.head(1), data.where).iter_rows():
                what = f"is not a number; the column holds {REFUSED['text']}"
                raise ValueError(f"series {series!r}, column {called!r}: {value!r} {what}")


def _after(rows: pl.DataFrame, ends: pl.DataFrame) -> pl.Series:
    """Which rows lie after their series' last target; null for a series without one."""
    keys = rows.select("unique_id", "ds").join(ends, on="unique_id", how="left", maintain_order="left")
    return keys.select(pl.col("ds") > pl.col("last")).to_series()


def _refuse_lacking(version: Version, ends: pl.DataFrame, rows: pl.DataFrame) -> None:
    frequency, windows = Frequency.of(version.facts), version.facts.windows
    steps = pl.DataFrame({"step": range(1, windows.ahead + 1)})
    time = frequency.shift(pl.col("last"), pl.col("step"), pl.col("first"), pl.col("day"))
    needed = ends.join(steps, how="cross").select("unique_id", time.alias("ds"))
    twice = rows.select("unique_id", "ds").filter(pl.struct("unique_id", "ds").is_duplicated())
    if twice.height:
        at = _shown_time(twice["ds"][0], frequency)
        raise ValueError(f"series {twice['unique_id'][0]!r}, {at}: stands twice; keep one row of each time")
    lacking = needed.join(rows, on=["unique_id", "ds"], how="anti").sort("unique_id", "ds")
    if lacking.height:
        series, first = lacking["unique_id"][0], _shown_time(lacking["ds"][0], frequency)
        missing, count = lacking.filter(pl.col("unique_id") == series).height, lacking["unique_id"].n_unique()
        more = f" (and in {count - 1} more series)" if count > 1 else ""
        raise ValueError(
            f"series {series!r}: {missing} of the {windows.ahead} rows after its last target are missing{more}, the first "
            f"at {first}; give {listed(windows.future)} for each"
        )
    for name in windows.future:
        empty = needed.join(rows.select("unique_id", "ds", given=column(name)), on=["unique_id", "ds"])
        for series, time, _ in (
            empty.filter(pl.col("given").fill_nan(None).is_null()).sort("unique_id", "ds").head(1).iter_rows()
        ):
            raise ValueError(
                f"series {series!r}, column {name!r}: empty at {time}; what is known ahead has a number in every row"
            )


def _shown_time(time: datetime | int, frequency: Frequency) -> str:
    """A time as its table's clock shows it."""
    return str(time).removesuffix("+00:00" if frequency.by_day else "")


def _notes(tail: pl.DataFrame, rows: pl.DataFrame, future: Sequence[str]) -> Iterator[str]:
    """Notes on values that the table and the history state differently; counts covariates in both."""
    old, new = (
        frame.select("unique_id", "ds", *(column(name).fill_nan(None).alias(f"{mark}{at}") for at, name in enumerate(future)))
        for frame, mark in ((tail, "old"), (rows, "new"))
    )
    both = old.join(new, on=["unique_id", "ds"], how="left")
    says = [(pl.col(f"old{at}").is_not_null(), pl.col(f"old{at}").ne_missing(pl.col(f"new{at}"))) for at in range(len(future))]
    if count := both.filter(pl.any_horizontal(there & differs for there, differs in says)).height:
        rows_of = "row" if count == 1 else "rows"
        yield f"{count:,} {rows_of} of the table after its last targets say otherwise than --future: what --future says is used"
