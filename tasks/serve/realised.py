"""How the champion's earlier forecasts turned out: stored when made, scored on the actuals since then.

They are in LAGLINE_HOME/served/NAME, a file per version and newest cutoff; a forecast counts once its row has
an actual.
"""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
from prefect import task
from prefect.cache_policies import NO_CACHE

from models.fit.checkpoint import write_bytes
from params.errors import UserError
from params.schema import RunParams
from params.section import REALISED
from params.shown import discreet
from tasks.compare import scores
from tasks.compare.board import best_naive
from tasks.compare.distribution import fifths
from tasks.compare.measures import units
from tasks.evaluate.baselines import forecast_baselines, only_naive
from tasks.evaluate.frames import COVERAGE
from tasks.files import write_parquet, write_table
from tasks.grid.frequency import Frequency
from tasks.lags.past import past_of
from tasks.load.source import long_frame, open_source
from tasks.promote.coverage import coverage_in_words, parts
from tasks.registry.admitted import admit
from tasks.registry.load import Version, opened
from tasks.registry.versions import CHAMPION, find
from tasks.serve.adaptive import STATE, adapted, levels_in_words, next_state
from tasks.serve.forecast import Asked, counted, forecast_frame, numbers
from tasks.serve.given import given_in, in_columns_of
from tasks.serve.newest import Newest
from tasks.tracking import connection, logs, runs

RECENT = 30  # cutoffs
MOST_FILES = 400  # files scored: more than a year of daily runs
COLUMNS = ("unique_id", "ds", "cutoff", "yhat", "version", "newest")  # the stored columns that are scored
ENDS = (f"yhat-lo-{COVERAGE}", f"yhat-hi-{COVERAGE}")
SCORED = "scored.json"  # next to them; `until`: the newest row (microseconds since 1970, or the step) with an actual


@dataclass(frozen=True)
class Realised:
    """Scores of realised forecasts.

    `by_age`: age (steps from a version's newest row to the cutoff), n, mae, naive_mae, skill, coverage (of
    the 90 % interval).  `by_cutoff`: the same of the champion alone by its cutoff, oldest first, where every
    step of the forecast has had its time.  `skill`, `coverage`: over the champion's RECENT newest cutoffs; None
    if none is realised.  `outside`: the parts of the series or horizon where its intervals fail, by the rule of the gate
    `coverage`, in words.
    """

    by_age: pl.DataFrame
    skill: float | None
    coverage: float | None = None
    outside: str = ""
    by_cutoff: pl.DataFrame = field(default_factory=pl.DataFrame)


@dataclass(frozen=True)
class LookedBack:
    """How the forecasts that were served turned out, and a `warning` if that is bad or unknown."""

    warning: str | None = None
    champion: str | None = None
    realised: Realised | None = None


def keep(made: pl.DataFrame, version: str, newest: int, name: str, home: Path, variant: str | None = None) -> Path:
    """Stores served forecasts; `variant`: the version's own name in their column `model`."""
    folder = home / "served" / name
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{version}-{int(made['cutoff'].to_physical().max())}.parquet"  # type: ignore[arg-type]
    made = made if variant is None else made.with_columns(own=pl.col("model") == variant)
    write_parquet(made.with_columns(version=pl.lit(version), newest=pl.lit(newest)), path)
    return path


def own_forecasts(kept: pl.DataFrame) -> pl.DataFrame:
    """The scored rows of a stored file: those the version itself forecast, not a baseline in its place.

    The ends of the interval are null if they were not stored.
    """
    rows = kept.filter("own") if "own" in kept.columns else kept
    lacking = [pl.lit(None, pl.Float64).alias(name) for name in ENDS if name not in kept.columns]
    return rows.with_columns(lacking).select(*COLUMNS, *ENDS)


def realised(
    kept: pl.DataFrame, history: pl.DataFrame, run: RunParams, champion: str | None, frequency: Frequency | None = None
) -> Realised:
    """Scores some `own_forecasts` on `history` (unique_id, ds, y on the regular grid).

    `champion`: the current champion version.
    """
    frequency = frequency or Frequency(run.data.frequency)
    rows = kept.join(history, on=["unique_id", "ds"], how="inner").filter(pl.col("y").is_not_null())
    naives = only_naive(run)
    there = history.select("unique_id", pl.col("ds").alias("cutoff"))
    origins = rows.select("unique_id", "cutoff").unique().join(there, on=["unique_id", "cutoff"], how="semi")
    schema = {"age": pl.Int64, "n": pl.UInt32, "mae": pl.Float64, "naive_mae": pl.Float64}
    schema |= {"skill": pl.Float64, "coverage": pl.Float64}
    if origins.is_empty():
        return Realised(pl.DataFrame(schema=schema), None)
    baselines, _ = forecast_baselines(history, origins, naives, None, frequency)
    rows = rows.join(baselines, on=["unique_id", "ds", "cutoff"], how="inner")
    naive = best_naive({name: scores.mae([rows], name) for name in naives.evaluation.baselines})
    error, theirs = (pl.col("yhat") - pl.col("y")).abs(), (pl.col(naive) - pl.col("y")).abs()
    steps = frequency.position(pl.col("cutoff"), pl.col("newest").cast(rows.schema["cutoff"]))
    rows = rows.with_columns(age=steps)
    table = _scored(rows, "age", naive).select(*schema)
    champion_rows = rows.filter(pl.col("version") == pl.lit(champion, pl.String))
    if champion_rows.is_empty():
        return Realised(table, None)
    through = kept.group_by("cutoff").agg(last=pl.col("ds").max()).filter(pl.col("last") <= history["ds"].max())
    by_cutoff = _scored(champion_rows.join(through, on="cutoff", how="semi"), "cutoff", naive)
    champion_rows = champion_rows.filter(pl.col("cutoff").is_in(champion_rows["cutoff"].unique().sort().tail(RECENT).implode()))
    whole = champion_rows.select(error.mean().alias("ours"), theirs.mean().alias("naive")).row(0, named=True)
    skill = 1 - whole["ours"] / whole["naive"] if whole["naive"] else 0.0 if not whole["ours"] else -math.inf
    covered, outside = _covered(champion_rows, history, run)
    return Realised(table, skill, covered, outside, by_cutoff)


def _scored(rows: pl.DataFrame, by: str, naive: str) -> pl.DataFrame:
    """n, mae, naive_mae, coverage and skill of rows by a column, in its order."""
    error, theirs = ((pl.col(name) - pl.col("y")).abs() for name in ("yhat", naive))
    table = rows.group_by(by).agg(
        pl.len().alias("n"),
        error.mean().alias("mae"),
        theirs.mean().alias("naive_mae"),
        pl.col("y").is_between(*ENDS).mean().alias("coverage"),
    )
    return table.sort(by).with_columns(skill=pl.when(pl.col("naive_mae") > 0).then(1 - pl.col("mae") / pl.col("naive_mae")))


def _covered(champion_rows: pl.DataFrame, history: pl.DataFrame, run: RunParams) -> tuple[float | None, str]:
    """The share of the champion's rows covered by their interval, and where that fails, in words."""
    step = pl.col("ds").rank("dense").over("unique_id", "cutoff").cast(pl.Int64)
    rows = champion_rows.select("unique_id", "cutoff", "ds", step.alias("step"), "y", low=ENDS[0], high=ENDS[1]).drop_nulls()
    if rows.is_empty():
        return None, ""
    all_parts = parts(rows, fifths(units(past_of(history), run.evaluation.season)), run.promotion.coverage)
    refused = any(part.refused for part in all_parts)
    return all_parts[0].share, coverage_in_words(all_parts, run.promotion.coverage) if refused else ""


@task(cache_policy=NO_CACHE)
@discreet
def score_realised(run: RunParams, home: Path) -> LookedBack:
    """Scores past champion forecasts, logs them by model age; warns if skill is below the floor.

    It never stops a run: its own failures become a warning too.
    """
    try:
        return _score_realised(run, home)
    except Exception as error:
        return LookedBack(f"the forecasts that were served could not be scored: {type(error).__name__}: {error}")


def _score_realised(run: RunParams, home: Path) -> LookedBack:
    source = open_source(run.data)
    history = long_frame(run, source).select("unique_id", "ds", "y").collect().sort("unique_id", "ds")
    holder = find(run.name, CHAMPION)
    champion = None if holder is None else str(holder.version)
    result = served(run, home, history, champion, source.frequency)
    if result is None or result.by_age.is_empty():
        return LookedBack()
    until = int(history.drop_nulls("y")["ds"].to_physical().max())  # type: ignore[arg-type]
    write_bytes(home / "served" / run.name / SCORED, json.dumps({"until": until}).encode())
    experiment = runs.experiment(f"{run.name}{REALISED}", home)
    run_id = connection.client().create_run(experiment, run_name="realised error", tags={"kind": "realised"}).info.run_id
    numbers = ("mae", "naive_mae", "skill", "coverage")
    rows = [
        {"epoch": row["age"] - 1, **{name: row[name] for name in numbers if row[name] is not None}}
        for row in result.by_age.iter_rows(named=True)
    ]
    logs.log_history(run_id, rows)
    whole = {"realised_skill": result.skill, f"realised_coverage_{COVERAGE}": result.coverage}
    logs.log_metrics(run_id, {name: value for name, value in whole.items() if value is not None})
    runs.finish(run_id)
    return LookedBack(_warned(result, run, champion), champion, result)


def served(run: RunParams, home: Path, history: pl.DataFrame, champion: str | None, frequency: Frequency) -> Realised | None:
    """How the forecasts that were stored turned out (`realised`); None if none is stored.

    `history`: unique_id, ds, y, sorted.
    """
    frames = map(pl.read_parquet, _files(run.name, home))
    some = [own_forecasts(frame) for frame in frames if frame.schema["ds"] == history.schema["ds"]]
    return realised(pl.concat(some), on_grid(history, frequency), run, champion, frequency) if some else None


def floor_of(run: RunParams) -> float:
    """The skill against the best naive below which a champion is warned of."""
    asked = run.promotion
    return asked.min_skill if asked.min_skill_naive is None else asked.min_skill_naive


def _warned(result: Realised, run: RunParams, champion: str | None) -> str | None:
    """What is wrong with the forecasts a champion has served; None if nothing is."""
    floor, faults = floor_of(run), []
    if result.skill is not None and result.skill < floor:
        faults.append(f"have a realised skill of {result.skill:+.1%} against the best naive, below the floor of {floor:+.1%}")
    if result.outside:
        faults.append(f"have intervals that do not hold: {result.outside}")
    return f"the forecasts that version {champion} has served {'; they '.join(faults)}" if faults else None


def on_grid(history: pl.DataFrame, frequency: Frequency) -> pl.DataFrame:
    """The rows on their series' regular grid, with null for missing steps."""
    ends = history.group_by("unique_id", maintain_order=True).agg(
        pl.col("ds").min().alias("first"), pl.col("ds").max().alias("last"), frequency.day(pl.col("ds")).alias("day")
    )
    first, day = pl.col("first"), pl.col("day")
    count = frequency.position(pl.col("last"), first, day) + 1
    steps = ends.with_columns(step=pl.int_ranges(0, count)).explode("step")
    grid = steps.select("unique_id", frequency.at(first, pl.col("step"), day).alias("ds"))
    return grid.join(history, on=["unique_id", "ds"], how="left", maintain_order="left")


@task(cache_policy=NO_CACHE)
@discreet
def serve_forecasts(run: RunParams, home: Path, out: Path | None) -> tuple[str | None, str | None]:
    """Forecasts the run's data with the champion, stores the forecasts, and also writes them to `out`.

    Returns what was written and a warning, each None if there is none: a missing champion, and series that
    are left out, forecast by a baseline instead, or new to the version.
    Raises UserError for what cannot be used.
    """
    registered = find(run.name, CHAMPION)
    if registered is None:
        return None, None
    with opened(registered) as version:
        admit(version, home)
        made = version.trained_on
        trained_run = made.run.model_copy(update={"data": run.data})
        try:
            source = open_source(trained_run.data)
            given = numbers(trained_run, source, version, Asked() if run.promotion.intervals == "fixed" else None)
            forecasts, notes, how = _made(version, given, run, home)
            returned = in_columns_of(given_in(source), forecasts.drop(STATE, strict=False), out)
        except ValueError as error:
            raise UserError(f"{trained_run.data.where}: {error}") from None
        keep(forecasts, version.version, made.newest, run.name, home, version.facts.variant)
        if out is not None:
            write_table(returned.rows, out)
        summary = counted(forecasts) if out is not None else f"{forecasts.height:,} rows"
        warnings = (*notes, *([returned.renamed] if out is not None and returned.renamed else []))
        return f"{summary} by {version}{how}", "; ".join(warnings) or None


def _made(version: Version, given: Newest, run: RunParams, home: Path) -> tuple[pl.DataFrame, tuple[str, ...], str]:
    """A version's forecasts (with the state of adaptive intervals), the notes, and remarks on intervals."""
    if run.promotion.intervals == "fixed":
        return *forecast_frame(version, given.rows, clean=given.clean), ""
    levels = version.facts.calibrated.calibration.levels.tolist()
    made, notes = forecast_frame(version, given.rows, Asked(quantiles=levels))
    state = next_state(_files(run.name, home), given.rows)
    return adapted(made, state, levels, version.model.bounds), notes, f"; {levels_in_words(state)}"


def _files(name: str, home: Path) -> list[Path]:
    """The newest stored forecasts, oldest first."""
    return sorted((home / "served" / name).glob("*.parquet"), key=lambda path: path.stat().st_mtime)[-MOST_FILES:]
