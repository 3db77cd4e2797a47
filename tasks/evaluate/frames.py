"""The wide forecast frame of a split as one Parquet file, written and read a few columns or rows at a time.

unique_id, ds, cutoff, y and a column a model, with `<model>-lo-90`, `<model>-hi-90` and so on where it has intervals: what
people get as `forecasts.parquet`, and what every figure of a comparison is computed from.  `step` is not in it: an origin has
a row a step.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import polars.selectors as cs
import pyarrow.parquet as pq

from models.data.origins import origin_rows
from models.data.panel import Data
from models.serving import Bounds, Calibration, ends_of
from tasks.evaluate.bounds import NO_BOUNDS, within
from tasks.evaluate.forecasts import KEYS, origin_frame, own_column
from tasks.files import placed, write_parquet
from tasks.grid.frequency import Frequency

TIMES = ("ds", "cutoff")
COVERAGE = 90  # percent: of the interval that is shown first
OWN = "_"
ROWS = 1 << 17  # held in memory at a time, of all models


class Outcome(NamedTuple):
    """What one model forecast and what came, R rows: `y`, `point` (NaN: missing), `step` (from 0), the number of its `series`,
    `cutoff` as a number; `own` [R, Q]: its own quantiles, where it has some; `fold` from 0, where there are several."""

    y: np.ndarray
    point: np.ndarray
    step: np.ndarray
    series: np.ndarray
    cutoff: np.ndarray
    own: np.ndarray | None = None
    fold: np.ndarray | None = None


@dataclass(frozen=True)
class Forecasts:
    """A wide forecast frame on disk, an origin's `horizon` rows together and in order, its times instants.

    `sources`: for each model the file that has its own quantiles, if it has some; `ids`: of the panel's series, in order.
    `folds`: how many rows each validation range has, one after another; empty where there is one alone.
    """

    path: Path
    horizon: int
    frequency: Frequency
    sources: Mapping[str, Path]
    ids: tuple[str, ...]
    folds: tuple[int, ...] = ()

    def read(self, *columns: str) -> pl.DataFrame:
        """unique_id, ds, cutoff, step, y and the columns asked for."""
        frame = pl.read_parquet(self.path, columns=["unique_id", "ds", "cutoff", "y", *dict.fromkeys(columns)])
        frame = frame.with_columns(self.frequency.shown(pl.col(name)).alias(name) for name in TIMES)
        return frame.with_columns(step=pl.int_range(pl.len(), dtype=pl.Int64) % self.horizon + 1)

    def read_folds(self, *columns: str) -> list[pl.DataFrame]:
        """The same of each fold, the oldest first."""
        return self.split(self.read(*columns))

    def split(self, frame: pl.DataFrame) -> list[pl.DataFrame]:
        """A frame with all rows of this one, fold by fold."""
        starts = [sum(self.folds[:number]) for number in range(len(self.folds))]
        return [frame.slice(start, rows) for start, rows in zip(starts, self.folds, strict=True)] or [frame]

    def outcome(self, model: str, levels: Sequence[float]) -> Outcome:
        """The forecasts of a model beside what came, with its own quantiles of some levels, if it has all of them."""
        rows, found, done = pq.ParquetFile(self.path).metadata.num_rows, list[np.ndarray | None](), 0
        for part in self.outcomes(model, levels):  # each into its place: never two copies of all
            found = found or [None if one is None else np.empty((rows, *one.shape[1:]), one.dtype) for one in part]
            for whole, one in zip(found, part, strict=True):
                if whole is not None and one is not None:
                    whole[done : done + len(one)] = one
            done += len(part.y)
        return Outcome._make(found)

    def outcomes(self, model: str, levels: Sequence[float]) -> Iterator[Outcome]:
        """The same, ROWS rows at a time: one empty part where there are none."""
        frame = pl.read_parquet(self.path, columns=["unique_id", "cutoff", "y", model])
        folds = np.repeat(np.arange(len(self.folds)), self.folds) if self.folds else None
        names, file = [own_column(model, level) for level in levels], pq.ParquetFile(self.sources[model])
        own = file.iter_batches(ROWS, columns=names) if names and {*names} <= {*file.schema_arrow.names} else None
        for start in range(0, max(frame.height, 1), ROWS):
            part = frame.slice(start, ROWS)
            y, point = (part[name].cast(pl.Float64).fill_null(np.nan).to_numpy() for name in ("y", model))
            series, step = numbers_of(part["unique_id"], self.ids), np.arange(start, start + part.height) % self.horizon
            batch = next(own, None) if own else None
            moved = None if batch is None else pl.DataFrame(batch).to_numpy() + point[:, None]
            fold = None if folds is None else folds[start : start + part.height]
            yield Outcome(y, point, step, series, part["cutoff"].to_physical().to_numpy(), moved, fold)


def numbers_of(names: pl.Series, ids: Sequence[str]) -> np.ndarray:
    """[R] the number of each series among the panel's; one past the last for a name that is none of them."""
    found = names.replace_strict(list(ids), list(range(len(ids))), default=len(ids), return_dtype=pl.Int64)
    return found.to_numpy()


def write(
    path: Path,
    targets: pl.DataFrame,
    sources: Mapping[str, Path],
    horizon: int,
    frequency: Frequency,
    ids: Sequence[str],
    calibrations: Mapping[str, Calibration] | None = None,
    levels: Sequence[float] = (),
    bounds: Bounds = NO_BOUNDS,
) -> Forecasts:
    """Joins files side by side, ROWS rows at a time.

    `targets`: of `targets_of`.  `sources`: for each model the Parquet file that has its column, with the rows of `targets`.
    `calibrations`: of the models that get intervals, which are of `levels` in percent.  All forecasts lie within
    `bounds`.  Raises ValueError where a file has other rows.
    """
    for file in dict.fromkeys(sources.values()):
        _check_rows(file, targets)
    with placed(path) as partial, ExitStack() as opened:
        writer: pq.ParquetWriter | None = None
        for part in _parts(targets, sources, _own_columns(sources, calibrations or {})):
            part = within(part, sources, bounds)
            part = part.with_columns(frequency.instants(pl.col(name)).alias(name) for name in TIMES)
            for model, calibration in (calibrations or {}).items():
                part = with_intervals(part, model, calibration, levels, ids, bounds)
            table = part.drop("step", cs.starts_with(OWN)).to_arrow()
            writer = writer or opened.enter_context(pq.ParquetWriter(partial, table.schema, compression="zstd"))
            writer.write_table(table)
    folds = targets["_fold"].value_counts().sort("_fold")["count"] if "_fold" in targets.columns else ()
    return Forecasts(path, horizon, frequency, sources, tuple(ids), tuple(folds))


def with_intervals(
    frame: pl.DataFrame,
    model: str,
    calibration: Calibration,
    levels: Sequence[float],
    ids: Sequence[str],
    bounds: Bounds = NO_BOUNDS,
    units: np.ndarray | None = None,
) -> pl.DataFrame:
    """A frame with `<model>-lo-L` and `<model>-hi-L` of some levels in percent; null without a forecast or too few errors.

    The model's own quantiles stand in it in columns of `own_column`, with an underscore before them.  `units`: of each row,
    where they are not those of its series.
    """
    own = [OWN + own_column(model, level) for level in calibration.levels]
    point = frame[model].cast(pl.Float64).fill_null(np.nan).to_numpy()
    given = frame.select(own).to_numpy() + point[:, None] if {*own} <= {*frame.columns} else None
    series, step = numbers_of(frame["unique_id"], ids), frame["step"].to_numpy() - 1
    every = calibration.quantiles(point, step, series, given, units)
    asked = calibration.asked(every, point, [end for level in levels for end in ends_of(level)], bounds)
    names = [f"{model}-{side}-{level:g}" for level in levels for side in ("lo", "hi")]
    return frame.with_columns(pl.Series(name, asked[:, at], pl.Float64).fill_nan(None) for at, name in enumerate(names))


def targets_of(data: Data, split: str, stride: int) -> pl.DataFrame:
    """The forecast frame of a split without a model: unique_id, ds, cutoff, step, y.

    Validation: of all folds, one after another, the oldest first, with `_fold` from 0 where there are several.
    """
    if split == "validation" and data.earlier:
        parts = [targets_of(fold, split, stride) for fold in data.folds]
        return pl.concat(part.with_columns(_fold=pl.lit(number, pl.Int32)) for number, part in enumerate(parts))
    origins = origin_rows(data.panel, data.windows, data.split, split, stride)
    return origin_frame(data.panel, data.windows, origins)


def _check_rows(file: Path, targets: pl.DataFrame) -> None:
    there = pl.read_parquet(file, columns=["unique_id", "cutoff", "step"])
    if there.height != targets.height or not there.equals(targets.select(there.columns)):
        raise ValueError(f"{file}: its forecasts are of other origins than those of this comparison")


def _own_columns(sources: Mapping[str, Path], calibrations: Mapping[str, Calibration]) -> dict[str, Path]:
    """The columns with own quantiles that calibrations need, with an underscore before them, and the file of each."""
    needed = {model: [own_column(model, level) for level in one.levels] for model, one in calibrations.items() if one.own}
    return {OWN + name: sources[model] for model, names in needed.items() for name in names}


def _parts(targets: pl.DataFrame, sources: Mapping[str, Path], own: Mapping[str, Path]) -> Iterator[pl.DataFrame]:
    """The targets with every model's column, and some of its own quantiles, ROWS rows at a time; one empty part where there are
    none."""
    sources = {**sources, **own}
    columns = {
        name: pq.ParquetFile(file).iter_batches(ROWS, columns=[name.removeprefix(OWN)]) for name, file in sources.items()
    }
    for start in range(0, max(targets.height, 1), ROWS):
        part = targets.slice(start, ROWS)
        if targets.is_empty():
            yield part.with_columns(pl.lit(None, pl.Float64).alias(name) for name in sources)
            return
        yield part.with_columns(pl.Series(name, next(batches).column(0), pl.Float64) for name, batches in columns.items())


def write_columns(frame: pl.DataFrame, models: Sequence[str], path: Path) -> dict[str, Path]:
    """The columns of some models as a file of their own; for each the file that has it."""
    write_parquet(frame.select(*KEYS, *models), path)
    return dict.fromkeys(models, path)
