"""Forecasts of the baselines, the best of which every variant has to beat.  They read no row after a cutoff.

Arrays hold all series end to end, so that ten thousand series need no Python loop: shapes are [rows] for the
history, [origins] in forecast frame order, `ahead` = gap + 1 .. gap + horizon.
"""

import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from models.baseline_fit import forecast_history
from models.baselines import arguments_of
from models.data.panel import Data, Panel
from models.outside import OutsideError
from models.serving import History
from models.worker import EVALUATED
from params.errors import UserError
from params.schema import RunParams
from tasks.evaluate.baseline_origins import Chosen, Origins, choices, is_fitted
from tasks.evaluate.bounds import bounds_of, within
from tasks.evaluate.forecasts import KEYS, origin_frame
from tasks.evaluate.frames import Targets, targets_of, write_blocks
from tasks.grid.frequency import Frequency

Progress = Callable[[str, int, int], None]  # the current baseline, fits done, fits in all


@dataclass(frozen=True)
class Baselines:
    """The forecasts of baselines as files: per split and baseline, the file with its column.

    `notes`: on baselines that left out test origins.  `times`: start and end of work on each, in ms.
    `errors`: the MAE of each per validation range, oldest first; None without any row to score.
    """

    files: Mapping[str, Mapping[str, Path]]
    notes: Mapping[str, str]
    times: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    errors: Mapping[str, Sequence[float | None]] = field(default_factory=dict)

    def joined(self, other: "Baselines") -> "Baselines":
        """Both together."""
        files = {split: {**self.files[split], **other.files[split]} for split in EVALUATED}
        notes, times = {**self.notes, **other.notes}, {**self.times, **other.times}
        return Baselines(files, notes, times, {**self.errors, **other.errors})


def write_baselines(run: RunParams, data: Data, folder: Path, progress: Progress | None = None) -> Baselines:
    """Forecasts validation (each fold separately) and test with a run's baselines, into files, in blocks.

    Calls share nothing: those with `only_naive` and `only_fitted` may run at the same time.
    `progress` is called after each fit; an exception from it ends the call.
    """
    names, began = run.evaluation.baselines, _now()
    if not names:
        return Baselines({split: {} for split in EVALUATED}, {})
    work = {split: _Work.of(targets_of(data, split, run.evaluation.stride), run) for split in EVALUATED}
    done, total = itertools.count(1), sum(split_work.fits for split_work in work.values())

    def count_fit(name: str) -> None:
        if progress is not None:
            progress(name, next(done), total)

    files: dict[str, Mapping[str, Path]] = {}
    for split, split_work in work.items():
        path = folder / f"{names[0]}-{split}.parquet"
        write_blocks((frame.select(*KEYS, *names) for frame in split_work.frames(count_fit)), path)
        files[split] = dict.fromkeys(names, path)
    return Baselines(files, work["test"].notes(), dict.fromkeys(names, (began, _now())), work["validation"].errors())


def _now() -> int:
    return int(time.time() * 1000)


@dataclass(frozen=True)
class _Work:
    """The forecasts of baselines at some targets: the origins of each per fold, and running sums.

    `sums` [folds, baselines, 4]: errors, rows with one, series tried, and those of them without forecasts.
    """

    run: RunParams
    targets: Targets
    chosen: Sequence[Mapping[str, Chosen]]
    sums: np.ndarray

    @classmethod
    def of(cls, targets: Targets, run: RunParams) -> "_Work":
        """All that is to be done."""
        chosen = [choices(Origins.of(targets.panel, origins), run) for origins in targets.folds]
        return cls(run, targets, chosen, np.zeros((len(chosen), len(run.evaluation.baselines), 4)))

    @property
    def fits(self) -> int:
        """The number of fits of baselines that are fitted."""
        return sum(
            int(chosen.tried.sum()) for fold in self.chosen for name, chosen in fold.items() if is_fitted(name, self.run)
        )

    def frames(self, count_fit: Callable[[str], None]) -> Iterator[pl.DataFrame]:
        """The forecast frame of each block."""
        names, bounds = self.run.evaluation.baselines, bounds_of(self.run.data)
        for fold, origins in self.targets.parts():
            past = Origins.of(self.targets.panel, origins)
            frame = origin_frame(self.targets.panel, self.targets.params, origins)
            begin = int(np.searchsorted(self.targets.folds[fold], origins[:1]).sum())
            for place, name in enumerate(names):
                tried = self.chosen[fold][name].tried[begin : begin + len(origins)]
                values = _forecast(name, past, self.run, tried, count_fit)
                self.sums[fold, place, 2:] += _lacking(values, past.start, tried)
                frame = frame.with_columns(pl.Series(name, values.ravel(), pl.Float64).fill_nan(None))
            frame = within(frame, names, bounds)
            errors = frame.select((pl.col(name) - pl.col("y")).abs() for name in names)
            self.sums[fold, :, 0] += np.array(errors.sum().row(0))
            self.sums[fold, :, 1] += np.array(errors.count().row(0))
            yield frame

    def errors(self) -> dict[str, list[float | None]]:
        """The MAE of each baseline in each fold."""
        rows = enumerate(self.run.evaluation.baselines)
        return {name: [sums[0] / sums[1] if sums[1] else None for sums in self.sums[:, place].tolist()] for place, name in rows}

    def notes(self) -> dict[str, str]:
        """Notes on baselines that left something out in the last fold."""
        names = self.run.evaluation.baselines
        by_name = {name: (self.chosen[-1][name], self.sums[-1, place, 2:]) for place, name in enumerate(names)}
        return _notes(by_name, self.run)


def _notes(by_name: Mapping[str, tuple[Chosen, np.ndarray]], run: RunParams) -> dict[str, str]:
    """Notes on baselines that left something out: origins, and series without forecasts."""
    notes = {}
    for name, (chosen, (series, lacking)) in by_name.items():
        part = f"{lacking:.0f} of {series:.0f} series lack forecasts" if is_fitted(name, run) and lacking else ""
        notes[name] = "; ".join(filter(None, (chosen.note, part)))
    return {name: note for name, note in notes.items() if note}


def forecast_baselines(
    history: pl.DataFrame,
    origins: pl.DataFrame,
    run: RunParams,
    progress: Progress | None = None,
    frequency: Frequency | None = None,
) -> tuple[pl.DataFrame, dict[str, str]]:
    """Wide frame (unique_id, ds, cutoff, step, a column per baseline; no y), and notes on left-out origins.

    `history`: unique_id, ds, y on the regular grid, null where missing; `origins`: unique_id, cutoff.  A
    series without an observed value up to its cutoff gets nulls; so does a seasonal naive without an earlier
    season.  All are within the run's bounds.  `frequency`: the grid of the history, if the run alone does not
    define it.  Raises ValueError for a cutoff off the grid.
    """
    frequency = frequency or Frequency(run.data.frequency)
    history, origins = history.sort("unique_id", "ds"), origins.sort("unique_id", "cutoff")
    series = history.group_by("unique_id", maintain_order=True).agg(
        pl.col("ds").first().alias("first"), frequency.day(pl.col("ds")).alias("day"), pl.len().alias("rows")
    )
    begins = (pl.col("rows").cum_sum() - pl.col("rows")).cast(pl.Int64).alias("start")
    origins = origins.join(series.with_columns(begins), on="unique_id", how="left", maintain_order="left")
    columns, notes = _forecasts(_origins(history, origins, frequency), run, progress)
    made = [pl.Series(name, values.ravel(), pl.Float64).fill_nan(None) for name, values in columns.items()]
    return within(_targets(origins, run, frequency).with_columns(made), columns, bounds_of(run.data)), notes


def baselines_at(panel: Panel, origins: np.ndarray, run: RunParams) -> Iterator[pl.Series]:
    """The column of each baseline of a run in the forecast frame of some (ascending) rows of a panel."""
    for name, values in _forecasts(Origins.of(panel, origins), run)[0].items():
        yield pl.Series(name, bounds_of(run.data).of(values).ravel(), pl.Float64).fill_nan(None)


def _forecasts(past: Origins, run: RunParams, progress: Progress | None = None) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """[origins, horizon] of every baseline of a run, and notes on them."""
    columns, by_name = {}, {}
    for name, chosen in choices(past, run).items():
        done, total = itertools.count(1), int(chosen.tried.sum())

        def count_fit(name: str, done: Iterator[int] = done, total: int = total) -> None:
            if progress is not None:
                progress(name, next(done), total)

        columns[name] = _forecast(name, past, run, chosen.tried, count_fit)
        by_name[name] = (chosen, _lacking(columns[name], past.start, chosen.tried))
    return columns, _notes(by_name, run)


def only_naive(run: RunParams) -> RunParams:
    """The same run with only its naive baselines."""
    return with_baselines(run, tuple(name for name in run.evaluation.baselines if not is_fitted(name, run)))


def only_fitted(run: RunParams) -> RunParams:
    """The same run with only theta, auto_ets and baselines from outside, if it names them."""
    return with_baselines(run, tuple(name for name in run.evaluation.baselines if is_fitted(name, run)))


def with_baselines(run: RunParams, names: tuple[str, ...]) -> RunParams:
    """The same run with other baselines."""
    return run.model_copy(update={"evaluation": run.evaluation.model_copy(update={"baselines": names})})


def _targets(origins: pl.DataFrame, run: RunParams, frequency: Frequency) -> pl.DataFrame:
    """One row per origin and step: unique_id, ds, cutoff, step."""
    ahead = pl.col("step") + run.windows.gap
    return (
        origins.with_columns(pl.int_ranges(1, run.windows.horizon + 1, dtype=pl.Int64).alias("step"))
        .explode("step")
        .select(
            "unique_id", frequency.shift(pl.col("cutoff"), ahead, pl.col("first"), pl.col("day")).alias("ds"), "cutoff", "step"
        )
    )


def _origins(history: pl.DataFrame, origins: pl.DataFrame, frequency: Frequency) -> Origins:
    """`origins`: with their series' `start` in `history`, `first` ds and number of `rows`.

    Raises ValueError for a cutoff that is not one of its series' rows.
    """
    position = frequency.position(pl.col("cutoff"), pl.col("first"), pl.col("day"))
    inside = position.is_between(0, pl.col("rows") - 1)
    at = origins.select(pl.when(inside).then(pl.col("start") + position).alias("at"))["at"]
    off = (history["ds"].gather(at) != origins["cutoff"]).fill_null(True)
    if off.any():
        raise ValueError(f"a cutoff of series {origins['unique_id'].filter(off)[0]!r} is not a row of its history")
    y = history["y"].cast(pl.Float64).to_numpy()
    return Origins(y, origins["start"].to_numpy(), at.to_numpy(), origins["cutoff"].to_physical().to_numpy())


def _forecast(name: str, past: Origins, run: RunParams, tried: np.ndarray, count_fit: Callable[[str], None]) -> np.ndarray:
    """[origins, horizon] of a baseline at the tried origins, NaN elsewhere."""
    ahead, family = run.windows.gap + np.arange(1, run.windows.horizon + 1), run.baseline_family(name)
    arguments, values = (
        arguments_of(family, run.evaluation.season).to_dict(),
        np.full((len(past.at), run.windows.horizon), np.nan),
    )
    for part in past.parts():
        some = part.start + np.flatnonzero(tried[part])
        if len(some):
            low, high = past.start[some[0]], past.at[some].max() + 1
            y = np.asarray(past.y[low:high], np.float64)
            history = History(y, past.start[some] - low, past.at[some] - low)

            def series(at: int, some: np.ndarray = some) -> str:
                return past.series(int(some[at]))

            try:
                values[some] = forecast_history(family, arguments, history, ahead, series, lambda _: count_fit(name))
            except OutsideError as error:
                raise UserError(f"baselines.{name}: {error}") from error
    return values


def _lacking(values: np.ndarray, start: np.ndarray, tried: np.ndarray) -> np.ndarray:
    """[2] the series with a tried origin, and those among them that lack a forecast there."""
    failed = tried & np.isnan(values).any(axis=1)
    return np.array([len(np.unique(start[tried])), len(np.unique(start[failed]))])
