"""The forecasts of the baselines, the best of which every variant has to beat.  They read no row after a cutoff.

Arrays hold all series end to end, so that ten thousand of them cost no loop: shapes are [rows] for the history, [origins] in
the order of the forecast frame, `ahead` = gap + 1 .. gap + horizon.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from models.baseline_fit import history_of
from models.baselines import LONGEST_SEASON, arguments_of
from models.data.origins import origin_rows
from models.data.panel import Data, Panel
from models.fit.job import Job
from models.serving import baseline
from models.worker import EVALUATED
from params.schema import RunParams, VariantParams
from tasks.evaluate.bounds import bounds_of, within
from tasks.evaluate.frames import targets_of, write_columns
from tasks.files import spread
from tasks.grid.frequency import Frequency
from tasks.lags.panel import target_frame

Progress = Callable[[str, int, int], None]  # which baseline is at work, and how many of its fits are done, of how many

# `auto` gives theta and auto_ets the origins of a split that so many milliseconds of a core allow by the prices below, which
# for a few series are all; ORIGINS of them may take longer.  Models are compared where the best baseline forecasts.
ALLOWED, ALLOWED_FEW = 30_000.0, 60_000.0
ORIGINS = 30
ORIGINS_LEAST = 10  # fewer say little: the baseline is then left out


class Fitted(NamedTuple):
    """What a fit of a baseline costs, and the longest season that it takes.

    `prices`: (longest season, milliseconds a row) of a fit, measured on one core; a row is one that it gets or forecasts.
    """

    longest: int
    prices: tuple[tuple[int, float], ...]

    def price(self, season: int) -> float:
        """The milliseconds of a row."""
        return next(price for longest, price in self.prices if season <= longest)


# Theta at 8760 cost 100 times what it does at 1000, hence `longest`; auto_ets has a parameter for each row of a season.
# auto_ets: 500 rows of the shipped data (season 24) cost twice what 240 do, for 1 % less error; three seasons are what it
# needs to start from a decomposition.  docs/comparison.md has this table.
FITTED = {
    "theta": Fitted(LONGEST_SEASON["theta"], ((52, 0.01), (100, 0.016), (168, 0.03), (336, 0.045), (1000, 0.12))),
    "auto_ets": Fitted(LONGEST_SEASON["auto_ets"], ((1, 0.05), (12, 0.6), (24, 0.7), (52, 0.95), (100, 1.3), (168, 3.2))),
}


@dataclass(frozen=True)
class Baselines:
    """The forecasts of baselines as files: for each split and baseline the one that has its column, as in `frames.write`.

    `notes`: on each that left out origins of the test.  `times`: when the work on each began and ended, in milliseconds.
    """

    files: Mapping[str, Mapping[str, Path]]
    notes: Mapping[str, str]
    times: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def joined(self, other: "Baselines") -> "Baselines":
        """Those of both."""
        files = {split: {**self.files[split], **other.files[split]} for split in EVALUATED}
        return Baselines(files, {**self.notes, **other.notes}, {**self.times, **other.times})


def write_baselines(run: RunParams, data: Data, folder: Path, progress: Progress | None = None) -> Baselines:
    """Forecasts validation, of each fold as if it were the only one, and test with the baselines that a run names, into files
    in `folder`.

    Nothing is shared with other calls: those of `only_naive` and of `only_fitted` may run at the same time, each in a thread
    or process of its own.  `progress` is called after each fit; an exception that it raises ends the call.
    """
    names, history, began = run.evaluation.baselines, target_frame(data.panel), _now()
    files: dict[str, Mapping[str, Path]] = {}
    notes: dict[str, str] = {}
    parts = [*((fold, "validation") for fold in data.folds), (data, "test")] if names else []
    frames: dict[str, list[pl.DataFrame]] = {}
    for number, (fold, split) in enumerate(parts):

        def of_all(name: str, done: int, total: int, number: int = number) -> None:
            """Every baseline of every range is taken for the same number of fits."""
            if progress is not None:
                progress(name, (number * len(names) + names.index(name)) * total + done, len(parts) * len(names) * total)

        targets = targets_of(fold, split, run.evaluation.stride).frame()
        origins = targets.select("unique_id", "cutoff").unique(maintain_order=True)
        made, notes = forecast_baselines(history, origins, run, of_all, Frequency.of(data.panel.facts))
        frame = targets.join(made.drop("ds"), on=["unique_id", "cutoff", "step"], how="left", maintain_order="left")
        frames.setdefault(split, []).append(frame)
    for split, some in frames.items():
        files[split] = write_columns(pl.concat(some), names, folder / f"{names[0]}-{split}.parquet")
    return Baselines({split: files.get(split, {}) for split in EVALUATED}, notes, dict.fromkeys(names, (began, _now())))


def _now() -> int:
    return int(time.time() * 1000)


@dataclass(frozen=True)
class _Past:
    """Every series' values and where its origins stand in them.

    `y` [rows], NaN where missing; `start`, `at`, `cutoff` [origins]: the first row of the origin's series, the row of its
    cutoff, the cutoff as a number.
    """

    y: np.ndarray
    start: np.ndarray
    at: np.ndarray
    cutoff: np.ndarray


def forecast_baselines(
    history: pl.DataFrame,
    origins: pl.DataFrame,
    run: RunParams,
    progress: Progress | None = None,
    frequency: Frequency | None = None,
) -> tuple[pl.DataFrame, dict[str, str]]:
    """Wide frame (unique_id, ds, cutoff, step, a column a baseline; no y) and a note for each baseline that left origins out.

    `history`: unique_id, ds, y on the regular grid, null where missing; `origins`: unique_id, cutoff.  A series without an
    observed value up to its cutoff gets nulls; so does a seasonal naive where no season before has one.  All lie within the
    run's bounds.  `frequency`: the grid of the history, where the run alone does not say it.  Raises ValueError for a cutoff
    off the grid.
    """
    names, frequency = run.evaluation.baselines, frequency or Frequency(run.data.frequency)
    history, origins = history.sort("unique_id", "ds"), origins.sort("unique_id", "cutoff")
    series = history.group_by("unique_id", maintain_order=True).agg(
        pl.col("ds").first().alias("first"), frequency.day(pl.col("ds")).alias("day"), pl.len().alias("rows")
    )
    begins = (pl.col("rows").cum_sum() - pl.col("rows")).cast(pl.Int64).alias("start")
    origins = origins.join(series.with_columns(begins), on="unique_id", how="left", maintain_order="left")
    past = _past(history, origins, frequency)
    columns: dict[str, np.ndarray] = {}
    notes: dict[str, str] = {}
    for name in names:
        if name in FITTED:
            columns[name], note = _fitted(name, past, run, progress)
            notes |= {name: note} if note else {}
        else:
            columns[name] = _forecast(name, past, run, np.arange(len(past.at)))
    made = [pl.Series(name, columns[name].ravel(), pl.Float64).fill_nan(None) for name in names]
    return within(_targets(origins, run, frequency).with_columns(made), names, bounds_of(run.data)), notes


def only_naive(run: RunParams) -> RunParams:
    """The same run with no baselines but the naive ones that it names."""
    return with_baselines(run, tuple(name for name in run.evaluation.baselines if name not in FITTED))


def only_fitted(run: RunParams) -> RunParams:
    """The same run with no baselines but theta and auto_ets, where it names them."""
    return with_baselines(run, tuple(name for name in run.evaluation.baselines if name in FITTED))


def with_baselines(run: RunParams, names: tuple[str, ...]) -> RunParams:
    """The same run with other baselines."""
    return run.model_copy(update={"evaluation": run.evaluation.model_copy(update={"baselines": names})})


def _targets(origins: pl.DataFrame, run: RunParams, frequency: Frequency) -> pl.DataFrame:
    """One row an origin and step: unique_id, ds, cutoff, step."""
    ahead = pl.col("step") + run.windows.gap
    return (
        origins.with_columns(pl.int_ranges(1, run.windows.horizon + 1, dtype=pl.Int64).alias("step"))
        .explode("step")
        .select(
            "unique_id", frequency.shift(pl.col("cutoff"), ahead, pl.col("first"), pl.col("day")).alias("ds"), "cutoff", "step"
        )
    )


def _past(history: pl.DataFrame, origins: pl.DataFrame, frequency: Frequency) -> _Past:
    """`origins`: with the `start` of their series in `history`, its `first` ds and its number of `rows`.

    Raises ValueError for a cutoff that is not one of its series' rows.
    """
    position = frequency.position(pl.col("cutoff"), pl.col("first"), pl.col("day"))
    inside = position.is_between(0, pl.col("rows") - 1)
    at = origins.select(pl.when(inside).then(pl.col("start") + position).alias("at"))["at"]
    off = (history["ds"].gather(at) != origins["cutoff"]).fill_null(True)
    if off.any():
        raise ValueError(f"a cutoff of series {origins['unique_id'].filter(off)[0]!r} is not a row of its history")
    y = history["y"].cast(pl.Float64).to_numpy()
    return _Past(y, origins["start"].to_numpy(), at.to_numpy(), origins["cutoff"].to_physical().to_numpy())


def _forecast(
    name: str, past: _Past, run: RunParams, some: np.ndarray, told: Callable[[int], None] = lambda done: None
) -> np.ndarray:
    """[some, horizon] of a baseline at some of the origins."""
    ahead = run.windows.gap + np.arange(1, run.windows.horizon + 1)
    arguments = arguments_of(name, run.evaluation.season).to_dict()
    return baseline(name, arguments, past.y, past.start[some], past.at[some], ahead, told)


def _fitted(name: str, past: _Past, run: RunParams, progress: Progress | None) -> tuple[np.ndarray, str | None]:
    """[origins, horizon] of theta or auto_ets on evenly spread cutoffs, NaN elsewhere; a note where that is not all of them."""
    limits = FITTED[name]
    values = np.full((len(past.at), run.windows.horizon), np.nan)
    if run.evaluation.season > limits.longest:
        return values, f"left out: it takes a season of {limits.longest} rows at most"
    moment = _moments(past)
    cutoffs = np.unique(moment)
    if not len(cutoffs):
        return values, None
    most = _most_origins(name, past, run)
    if most < min(ORIGINS_LEAST, len(cutoffs)) and run.evaluation.baseline_origins == "auto":
        series = len(np.unique(past.start))
        return values, f"left out: too slow for {series:,} series; set evaluation.baseline_origins to fit it all the same"
    some = cutoffs[spread(len(cutoffs), most)]
    tried = np.flatnonzero(np.isin(moment, some))

    def told(done: int) -> None:
        if progress is not None:
            progress(name, done, len(tried))

    values[tried] = _forecast(name, past, run, tried, told)
    part = f"on {len(some)} of {len(cutoffs)} origins (its scores are of those alone)" if len(some) < len(cutoffs) else ""
    return values, "; ".join(filter(None, (part, _lacking(values, past.start, tried)))) or None


def _most_origins(name: str, past: _Past, run: RunParams) -> int:
    """The most origins that a baseline is fitted on: what the run says, or what counts alone (series, rows, season, horizon)
    make of `auto`."""
    evaluation, limits = run.evaluation, FITTED[name]
    if evaluation.baseline_origins != "auto":
        return evaluation.baseline_origins
    starts, first = np.unique(past.start, return_index=True)
    kept = arguments_of(name, evaluation.season).rows or past.at.max()
    rows = np.minimum(np.maximum.reduceat(past.at, first) - starts + 1, kept)
    rows = rows + run.windows.gap + run.windows.horizon
    return _allowed(limits.price(evaluation.season) * rows.sum())


def _allowed(one: float) -> int:
    """How many origins `auto` allows; `one` of them costs so many milliseconds."""
    return max(int(ALLOWED / one), min(ORIGINS, int(ALLOWED_FEW / one)))


def spread_origins(names: Sequence[str], panel: Panel, origins: np.ndarray, run: RunParams) -> np.ndarray:
    """The `origins` (rows of a panel, rising) on which a model that forecasts by these baselines is judged: those of the
    slowest that is fitted, as in a comparison, but not fewer than ORIGINS_LEAST by `auto`.  All, where none is fitted."""
    evaluation = run.evaluation
    past = _Past(*history_of(panel, origins), panel.times[origins])
    moment = _moments(past) if len(origins) else origins
    cutoffs = np.unique(moment)
    fitted = [name for name in names if name in FITTED and len(origins)]
    most = [_most_origins(name, past, run) for name in fitted if evaluation.season <= FITTED[name].longest]
    least = ORIGINS_LEAST if evaluation.baseline_origins == "auto" else 1
    count = max(min(most, default=least), least)
    return origins[np.isin(moment, cutoffs[spread(len(cutoffs), count)])] if fitted else origins


def with_whole_members(variants: Mapping[str, VariantParams], run: RunParams, data: Data) -> dict[str, VariantParams]:
    """The variants of a run, their greedy ensembles without the baselines that are fitted at some origins only: a mean with one
    would be another at each origin."""
    left_out = _thinned(run, data) if any(one.greedy for one in variants.values()) else ()

    def whole(one: VariantParams) -> VariantParams:
        members = tuple(member for member in one.members if member.variant not in left_out)
        return one.model_copy(update={"members": members}) if one.greedy else one

    return {name: whole(one) for name, one in variants.items()}


def _thinned(run: RunParams, data: Data) -> set[str]:
    """The baselines that are fitted at some of the origins of a split, or at none."""
    found, evaluation = set[str](), run.evaluation
    for fold, split in [*((fold, "validation") for fold in data.folds), (data, "test")]:
        origins = origin_rows(fold.panel, fold.windows, fold.split, split, evaluation.stride)
        if not len(origins):
            continue
        past = _Past(*history_of(fold.panel, origins), fold.panel.times[origins])
        cutoffs = len(np.unique(_moments(past)))
        for name in only_fitted(run).evaluation.baselines:
            if evaluation.season > FITTED[name].longest or _most_origins(name, past, run) < cutoffs:
                found.add(name)
    return found


def fitted_seconds(run: RunParams, rows: np.ndarray, origins: int) -> list[float]:
    """About how many seconds of a core theta and auto_ets take on validation, of every fold, and test; 0 where one is left out.

    `rows` of each series, `origins` of each in a split.
    """
    evaluation, found, ranges = run.evaluation, [], run.split.folds + 1
    for name in only_fitted(run).evaluation.baselines:
        limits, season = FITTED[name], evaluation.season
        if season > limits.longest:
            continue
        kept = arguments_of(name, season).rows or rows.max()
        all_rows = (np.minimum(rows, kept) + run.windows.gap + run.windows.horizon).sum()
        one = limits.price(season) * float(all_rows) / 1000
        if evaluation.baseline_origins != "auto":
            found.append(ranges * one * min(evaluation.baseline_origins, origins))
        elif (most := _allowed(1000 * one)) >= min(ORIGINS_LEAST, origins):
            found.append(ranges * one * min(most, origins))
    return found


def member_seconds(job: Job, rows: np.ndarray, origins: int) -> float:
    """About how many seconds of a core the baselines of an ensemble take, which are fitted on all of its origins.

    `rows` of each series; `origins` of both splits together.
    """
    ahead = job.windows.gap + job.windows.horizon
    fitted = [one for one in job.baselines if one.family in FITTED]
    prices = (FITTED[one.family].price(one.network["season"]) for one in fitted)
    lengths = (np.minimum(rows, one.network["rows"]).mean() + ahead for one in fitted)
    return float(sum(price * length * origins / 1000 for price, length in zip(prices, lengths, strict=True)))


def _moments(past: _Past) -> np.ndarray:
    """[origins] what is fitted together: the cutoff, or, where series end at different times, the place from its own last one.

    Otherwise thirty cutoffs would leave out most series of a split by rows.
    """
    _, first, counts = np.unique(past.start, return_index=True, return_counts=True)
    if len(np.unique(past.cutoff)) <= counts.max(initial=0):
        return past.cutoff
    return np.repeat(first + counts, counts) - np.arange(len(past.start))


def _lacking(values: np.ndarray, start: np.ndarray, origins: np.ndarray) -> str:
    """How many series lack a forecast on an origin that was tried; empty where none does."""
    failed = origins[np.isnan(values[origins]).any(axis=1)]
    series, lacking = len(np.unique(start[origins])), len(np.unique(start[failed]))
    return f"{lacking} of {series} series lack forecasts" if lacking else ""
