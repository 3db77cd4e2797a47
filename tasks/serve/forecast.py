"""Forecasts of a registered version for a user's table, by the serving code in its bundle; trains nothing."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from models.fit.job import is_baseline
from models.serving import BATCH, text_of
from params.data import DataParams
from params.errors import UserError
from params.schema import RunParams
from tasks.evaluate.frames import COVERAGE
from tasks.files import TABLES, require_writable, write_table
from tasks.grid.frequency import Frequency
from tasks.load.files import Table
from tasks.load.find import find_files, whole_path
from tasks.load.remote import address_of
from tasks.load.source import KEYS, Source, categories_of, long_frame, open_like, scan_series
from tasks.load.tail import is_observed, tail_of
from tasks.load.text import listed
from tasks.registry.load import Version
from tasks.serve.ahead import open_ahead, refuse_words, with_ahead
from tasks.serve.given import Given, given_in
from tasks.serve.newest import Newest, newest
from tasks.validate.report import named, to_forecast

ROWS = 1 << 17  # rows of a table forecast from at a time, unless one batch reads more


@dataclass(frozen=True)
class Forecasts:
    """The forecasts `made`, and the form of the table they were made from (`given`).

    `made`: unique_id, cutoff, ds, yhat, yhat-lo-90, yhat-hi-90 ..., model.  `history`: the long frame, for
    plots.  `notes`: in words, which series are left out, forecast by a baseline or new to the version, and
    what of the tables is unused.
    """

    made: pl.DataFrame
    given: Given
    history: pl.DataFrame
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Which forecasts: cutoffs from `start` every `stride`, by the `judged` weights, with a `future` table.

    `strict`: never by a baseline instead of the version.  `levels`: of the intervals, in percent;
    `quantiles`: in addition.  Then how they are returned: under Nixtla's names, drawn in `plot`, there for
    these `series`.
    """

    start: str | None = None
    stride: int = 1
    judged: bool = False
    strict: bool = False
    future: str | Path | None = None
    nixtla: bool = False
    plot: Path | None = None
    series: str | None = None
    levels: Sequence[float] = (COVERAGE,)
    quantiles: Sequence[float] = ()


def forecast(version: Version, data: str | Path, asked: Asked | None = None) -> Forecasts:
    """Forecasts after each series' last row, or at every cutoff from a start on.

    By the weights trained on all rows, if any, or by the `judged` ones.  Raises UserError naming what cannot
    be used.
    """
    asked = asked or Asked()
    try:
        version.model.columns_of(asked.levels, asked.quantiles)
    except ValueError as error:
        raise UserError(f"{version}: {error}") from None
    try:
        future = asked.future if version.facts.windows.future or not version.trained_on.run.windows.future else None
        source = table_of(version, data, future is not None)
        given, notes = read(version, source, asked), tuple[str, ...]()
        frame = given.rows
        if future is not None:
            frame, notes = _with_ahead(version, frame, future, source.data)
        elif asked.start is None:
            notes = rows_ahead(frame)
        if asked.future is not None and future is None:
            notes = (f"--future {asked.future} is not read: {version.facts.variant} needs no more than the target", *notes)
        made, remarks = forecast_frame(version, frame, asked, version.model.known, given.clean)
        history = frame if asked.plot else frame.clear()
        del frame, given
        return Forecasts(made, given_in(source), history, (*notes, *remarks))
    except ValueError as error:
        raise UserError(f"{data}: {error}") from None


def _with_ahead(
    version: Version, frame: pl.DataFrame, future: str | Path, data: DataParams
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    _, short = long_enough(frame, version)
    try:
        return with_ahead(version, frame, open_ahead(version, future, data), short)
    except ValueError as error:
        raise UserError(f"--future {future}: {error}") from None


def forecast_frame(
    version: Version, frame: pl.DataFrame, asked: Asked | None = None, always: Collection[str] = (), clean: bool = False
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """The same for a long frame on the grid: columns as in `Forecasts`, and notes in words.

    `clean`: the frame holds nothing to refuse, so it is forecast some series at a time.

    If no baseline may replace the version (`strict`, an older version), series with too short a history are
    left out, except those in `always`.  Raises ValueError naming series and column for what cannot be used.
    """
    asked = asked or Asked()
    alone = asked.strict or not version.facts.fallbacks
    kept, short = long_enough(frame, version, always) if alone else (frame, [])
    frequency, left, start = Frequency.of(version.facts), list[str](), _start(version, asked)
    parts = []
    for some in _some_series(version, kept) if clean and start is None and not short else (kept,):
        given = some.with_columns(pl.col("ds").dt.replace_time_zone(None)) if frequency.by_day else some  # without a zone
        part = pl.from_pandas(
            version.model.forecast(given, start, asked.stride, asked.judged, left, asked.strict, asked.levels, asked.quantiles)
        )
        parts.append(part.with_columns(frequency.shown(pl.col(name)).alias(name) for name in ("cutoff", "ds")))
    made = pl.concat(parts)
    by = made.select("unique_id", "model").unique(maintain_order=True)
    notes = version.model.notes(*by.get_columns())
    return made, tuple(filter(None, (too_short(short, version), *_left_out(left, kept, version, alone), *notes)))


def _start(version: Version, asked: Asked) -> str | int | None:
    """The first requested cutoff, as a whole number where times are."""
    whole = isinstance(version.facts.frequency, int) and asked.start is not None and asked.start.lstrip("-").isdecimal()
    return int(asked.start) if whole and asked.start else asked.start


def _some_series(version: Version, frame: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """A frame without anything to refuse in parts of whole series, ascending.

    A part has a multiple of the version's batch size of forecasts (the last one more), so that each batch
    equals that of the whole frame; if that is unknown, everything is one part.
    """
    model, frequency, ds = version.model, Frequency.of(version.facts), pl.col("ds")
    last = ds.filter(is_observed(frame.schema)).max()
    ends = frame.group_by("unique_id").agg(first=ds.min(), last=last, day=frequency.day(ds)).sort("unique_id")
    enough = frequency.position(pl.col("last"), pl.col("first"), pl.col("day")) >= version.facts.windows.behind
    size = max(ROWS * ends.height // frame.height // BATCH, 1) * BATCH  # forecasts per part
    number = enough.fill_null(False).cum_sum().sub(1).clip(0) // size
    parts = ends.select("unique_id", part=number.clip(0, (number.max() - 1).clip(0)))
    late = "y" in model.features and model.channels[model.features.index("y")][2] > 0  # its window may have no y
    if late or model.alone or parts["part"][-1] == 0:
        yield frame
        return
    name = pl.col("unique_id")
    borders = parts.group_by("part").agg(low=name.min(), high=name.max()).sort("part")
    for _, low, high in borders.iter_rows():
        yield frame.filter(name.is_between(pl.lit(low), pl.lit(high)))


def _left_out(series: list[str], frame: pl.DataFrame, version: Version, alone: bool) -> Iterator[str]:
    """That some series have no forecast, and why, in words."""
    short: list[str] = []
    if not alone or is_baseline(version.facts.family):  # no window: any target may suffice
        short = (
            frame.filter(pl.col("unique_id").is_in(series), is_observed(frame.schema))["unique_id"].unique().sort().to_list()
        )
    if blind := [name for name in series if name not in short]:
        yield f"no forecast of {named(blind)}: no observed target in its window"
    if short:
        models = [version.facts.variant, *([] if alone else (fallback.name for fallback in version.facts.fallbacks))]
        yield f"no forecast of {named(short)}: too little history for {listed(models)}"


def rows_ahead(frame: pl.DataFrame) -> tuple[str, ...]:
    """How many of a long frame's newest rows have no target, in words; nothing if all have one."""
    tail = tail_of(frame.lazy(), "the table")
    return (to_forecast(tail.rows, tail.series),) if tail.rows else ()


def rows_trained_on(version: Version, made: pl.DataFrame) -> int:
    """How many forecast rows are at times of their series that the version's refit was trained on."""
    refit = version.trained_on.refit
    if refit is None:
        return 0
    made = made.filter(model=version.facts.variant)  # baselines were not trained
    until, ds = refit.seen_until, pl.col("ds").to_physical()
    if isinstance(until, int):
        known = pl.col("unique_id").is_in(list(version.model.known))
        return made.filter(known & (ds <= until)).height
    schema = {"unique_id": pl.String, "_until": pl.Int64}
    last = pl.DataFrame({"unique_id": list(map(text_of, until)), "_until": list(until.values())}, schema)
    return made.join(last, on="unique_id").filter(ds <= pl.col("_until")).height


def table_of(version: Version, data: str | Path, ahead: bool = False) -> Source:
    """The table, opened like the run's own: with the same names, or unique_id, ds and y.

    `ahead`: values known ahead come from another table; this one may lack their columns.
    """
    run = version.trained_on.run
    zone = version.facts.zone or run.data.time_zone
    data_params = run.data.model_copy(update={"path": whole_path(data), "query": None, "uri": None, "time_zone": zone})
    source = open_like(data_params, {"y", data_params.target, *_read_by(version, run).windows.columns}, Path.cwd())
    data_params = source.data
    there = source.columns
    given = {"id": ("unique_id", data_params.ids), "time": ("ds", data_params.times), "target": ("y", (data_params.target,))}
    free = {*there} - {*data_params.ids, *data_params.times, data_params.target}
    renamed = {key: name for key, (name, mine) in given.items() if name in free and not (mine and {*mine} <= {*there})}
    lacking = [name for name in version.facts.windows.future if ahead and name not in (*there, *version.facts.windows.features)]
    tables = tuple(_with_empty(table, lacking) for table in source.tables)
    return replace(source, data=data_params.model_copy(update=renamed), tables=tables)


def _with_empty(table: Table, names: Sequence[str]) -> Table:
    """A table with additional empty columns."""
    rows = table.rows.with_columns(pl.lit(None, pl.Float64).alias(name) for name in names)
    return replace(table, rows=rows, columns=pl.Schema({**table.columns, **dict.fromkeys(names, pl.Float64())}))


def read(version: Version, source: Source, asked: Asked | None = None) -> Newest:
    """The table's long frame, all of it or what forecasts read; text is converted to times and numbers."""
    run = version.trained_on.run
    run = run.model_copy(update={"data": source.data})
    given = numbers(run, source, version, None if asked and asked.plot else asked)
    if not source.data.ids:  # a single series is named after its target, whatever its name here
        given = replace(given, rows=given.rows.with_columns(unique_id=pl.lit(run.data.target)))
    return given


def numbers(run: RunParams, source: Source, version: Version, asked: Asked | None = None) -> Newest:
    """A run's long frame without what the version does not read; if `asked` is known, only its newest rows.

    Raises ValueError, like serving, for the first cell that holds something other than a number, which a null
    would replace.
    """
    run = _read_by(version, run)
    dropped = [name for name in run.windows.features if name not in version.facts.windows.features]
    frame, words = long_frame(run, source, dropped), categories_of(run)
    columns = [name for name in frame.collect_schema().names() if name not in (*KEYS, "y")]
    refuse_words(scan_series(source, columns, words), [name for name in ("y", *columns) if name not in words], run.data)
    if asked is None or run.validation.on_duplicates == "keep_first":
        return Newest(frame.collect(), False)
    return newest(version.model, frame, run.data.where, _start(version, asked))


def _read_by(version: Version, run: RunParams) -> RunParams:
    """The run without covariates if the version is a baseline: its table may lack them."""
    if not is_baseline(version.facts.family):
        return run
    return run.model_copy(update={"windows": run.windows.model_copy(update={"features": {}, "future": (), "static": {}})})


def long_enough(frame: pl.DataFrame, version: Version, always: Collection[str] = ()) -> tuple[pl.DataFrame, list[str]]:
    """The rows of series that the version's windows fit into (or in `always`), and the other series' names.

    All rows if no series would be left."""
    windows, ds = version.facts.windows, pl.col("ds")
    last = ds.filter(is_observed(frame.schema)).max()  # null for a series without a target, which is left out for that
    frequency = Frequency.of(version.facts)
    ends = frame.group_by("unique_id").agg(first=ds.min(), last=last, day=frequency.day(ds))
    position = frequency.position(pl.col("last"), pl.col("first"), pl.col("day"))
    short = ends.filter(position < windows.behind, ~pl.col("unique_id").is_in(list(always))).select("unique_id")
    kept = frame.join(short, on="unique_id", how="anti")
    return (frame, []) if kept.is_empty() else (kept, short["unique_id"].sort().to_list())


def too_short(series: list[str], version: Version) -> str | None:
    """That some series have no forecast because they are too short, in words."""
    rows = version.facts.windows.behind + 1
    return f"no forecast of {named(series)}: too short a history, {rows:,} rows are needed" if series else None


def check_out(out: Path, data: str | Path) -> None:
    """Raises UserError if `out` cannot be a table, or is one of the files being forecast from."""
    require_writable("--out", out, TABLES)
    source, here = DataParams.model_construct(path=whole_path(data)), address_of(str(data)) is None
    try:
        if here and out.exists() and any(out.samefile(file) for file in find_files(source, Path.cwd())):
            raise UserError(f"--out {out}: that is the table that the forecasts are made from; name another file")
    except OSError as error:
        raise _unwritable(out, error) from None


def write_out(rows: pl.DataFrame, out: Path) -> None:
    """Writes a temporary file, then renames it.  Raises UserError if that fails."""
    try:
        write_table(rows, out)
    except (OSError, PolarsError) as error:
        raise _unwritable(out, error) from None


def _unwritable(out: Path, error: Exception) -> UserError:
    return UserError(f"--out {out}: cannot be written ({getattr(error, 'strerror', None) or error})")


def counted(made: pl.DataFrame) -> str:
    """How many forecasts there are, in words."""
    cutoffs = made.select("unique_id", "cutoff").unique().height
    return f"{made.height:,} rows, {cutoffs:,} forecasts of {made['unique_id'].n_unique():,} series"
