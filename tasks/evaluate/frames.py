"""The wide forecast frame of a split as a Parquet file, written and read by columns or by blocks of rows.

unique_id, ds, cutoff, y and a column per model, with `<model>-lo-90`, `<model>-hi-90` and so on if it has
intervals: users get it as `forecasts.parquet`, and all figures of a comparison come from it.  It has no
`step`: an origin has a row per step.

A block is whole series of one fold, in panel order, with about ROWS rows: one row group of the file.  Scores
are sums over blocks, so that memory holds one block, however many series there are.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import polars.selectors as cs
import pyarrow as pa
import pyarrow.parquet as pq

from models.data.origins import origin_rows
from models.data.panel import Data, Panel
from models.data.window import WindowParams
from models.serving import Bounds, Calibration, ends_of
from tasks.evaluate import packed
from tasks.evaluate.bounds import NO_BOUNDS, within
from tasks.evaluate.forecasts import KEYS, origin_frame, own_column
from tasks.files import placed, write_parquet
from tasks.grid.frequency import Frequency

TIMES = ("ds", "cutoff")
COVERAGE = 90  # percent: of the interval that is shown first
OWN = "_"
SAME = ("unique_id", "cutoff", "step")  # must match between files
OTHER = "{}: its forecasts are of other origins than those of this comparison"
ROWS = 1 << 16  # per block, unless one series has more


class Outcome(NamedTuple):
    """Forecasts and actuals of one model, R rows: `y`, `point` (NaN: missing), `step` (from 0), `series`
    number, numeric `cutoff`; `own` [R, Q]: its own quantiles, if any; `fold` from 0, if there are several."""

    y: np.ndarray
    point: np.ndarray
    step: np.ndarray
    series: np.ndarray
    cutoff: np.ndarray
    own: np.ndarray | None = None
    fold: np.ndarray | None = None

    @classmethod
    def gathered(cls, parts: Iterable["Outcome"], most: int) -> "Outcome":
        """Concatenates parts (at least one) of at most `most` rows in all, without a second copy of them."""
        wholes, done = list[np.ndarray | None](), 0
        for part in parts:
            wholes = wholes or [None if array is None else np.empty((most, *array.shape[1:]), array.dtype) for array in part]
            for whole, array in zip(wholes, part, strict=True):
                if whole is not None and array is not None:
                    whole[done : done + len(array)] = array
            done += len(part.y)
        return cls._make(None if array is None else array[:done] for array in wholes)


@dataclass(frozen=True)
class Targets:
    """What is forecast: a horizon of rows after each of some origins.

    `folds`: the origin rows of each fold [O], ascending.  With several, a frame has `_fold`, from 0.
    """

    panel: Panel
    params: WindowParams
    folds: tuple[np.ndarray, ...]

    @property
    def rows(self) -> int:
        """The rows of the forecast frame."""
        return self.params.horizon * sum(len(origins) for origins in self.folds)

    def parts(self) -> Iterator[tuple[int, np.ndarray]]:
        """The fold and the origins of each block; one empty block if there are none."""
        some = max(ROWS // self.params.horizon, 1)
        for fold, origins in enumerate(self.folds):
            series = np.searchsorted(self.panel.offsets, origins, side="right") - 1
            ends, start = np.append(np.flatnonzero(np.diff(series)) + 1, len(origins)), 0
            while start < len(origins):
                place = max(np.searchsorted(ends, start + some, "right") - 1, np.searchsorted(ends, start, "right"))
                yield fold, origins[start : ends[place]]
                start = int(ends[place])
        if not self.rows:
            yield 0, np.empty(0, np.int64)

    def blocks(self) -> Iterator[pl.DataFrame]:
        """The forecast frame without a model, in blocks: unique_id, ds, cutoff, step, y, and `_fold`."""
        for fold, origins in self.parts():
            frame = origin_frame(self.panel, self.params, origins)
            yield frame.with_columns(_fold=pl.lit(fold, pl.Int32)) if len(self.folds) > 1 else frame

    def frame(self) -> pl.DataFrame:
        """All blocks together, for few rows."""
        return pl.concat(self.blocks())


@dataclass(frozen=True)
class Forecasts:
    """A wide forecast frame on disk: each origin's `horizon` rows together, in order, with times as instants.

    `sources`: per model, the file with its own quantiles, if any; `ids`: of the panel's series, in order.
    `folds`: the rows of each validation range, in sequence; empty if there is only one.
    """

    path: Path
    horizon: int
    frequency: Frequency
    sources: Mapping[str, Path]
    ids: tuple[str, ...]
    folds: tuple[int, ...] = ()

    @property
    def rows(self) -> int:
        """The number of rows."""
        return int(pq.read_metadata(self.path).num_rows)

    def read(self, *columns: str, series: Sequence[str] | None = None) -> pl.DataFrame:
        """unique_id, ds, cutoff, step, y and some columns, of some series; of all only if they are few."""
        table = pl.scan_parquet(self.path).select("unique_id", "ds", "cutoff", "y", *dict.fromkeys(columns))
        return self.shown((table if series is None else table.filter(pl.col("unique_id").is_in(list(series)))).collect())

    def blocks(self, *columns: str, fold: int | None = None) -> "Blocks":
        """The same in blocks, which may be iterated repeatedly; of one fold, or of all in sequence."""
        return Blocks(self, columns, fold)

    def shown(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Rows of whole origins with their steps, 64-bit numbers, and times on the clock of the data."""
        times = (self.frequency.shown(pl.col(name)).alias(name) for name in TIMES)
        frame = frame.with_columns(pl.col(pl.Float32).cast(pl.Float64), *times)
        return frame.with_columns(step=pl.int_range(pl.len(), dtype=pl.Int64) % self.horizon + 1)

    def fold_of_each(self, file: pq.ParquetFile) -> list[int]:
        """The fold of each row group."""
        sizes = [file.metadata.row_group(number).num_rows for number in range(file.metadata.num_row_groups)]
        starts = np.cumsum([0, *sizes])[:-1]
        return np.searchsorted(np.cumsum(self.folds), starts, side="right").tolist() if self.folds else [0] * len(sizes)

    def outcomes(self, model: str, levels: Sequence[float]) -> Iterator[Outcome]:
        """The forecasts and actuals of a model in blocks, with its own quantiles at `levels`, if it has all."""
        names = [own_column(model, level) for level in levels]
        own_names = names if names and {*names} <= {*pq.read_schema(self.sources[model]).names} else []
        with pq.ParquetFile(self.path) as file, _Rows(self.sources[model], own_names) as beside:
            for number, fold in enumerate(self.fold_of_each(file)):
                part = pl.DataFrame(file.read_row_group(number, columns=["unique_id", "cutoff", "y", model]))
                y, point = (part[name].cast(pl.Float64).fill_null(np.nan).to_numpy() for name in ("y", model))
                moved = beside.take(part.height).to_numpy() + point[:, None] if own_names else None
                series, step = numbers_of(part["unique_id"], self.ids), np.arange(part.height) % self.horizon
                of = np.full(part.height, fold) if self.folds else None
                yield Outcome(y, point, step, series, part["cutoff"].to_physical().to_numpy(), moved, of)


@dataclass(frozen=True)
class Blocks:
    """Some columns of a forecast frame in blocks; each iteration reads the file again."""

    found: Forecasts
    columns: tuple[str, ...]
    fold: int | None

    def __iter__(self) -> Iterator[pl.DataFrame]:
        names = ["unique_id", "ds", "cutoff", "y", *dict.fromkeys(self.columns)]
        with pq.ParquetFile(self.found.path) as file:
            for number, fold in enumerate(self.found.fold_of_each(file)):
                if self.fold is None or fold == self.fold:
                    yield self.found.shown(pl.DataFrame(file.read_row_group(number, columns=names)))


class _Rows:
    """Some columns of a file, any number of rows at a time, whatever its row groups."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self.path, self.columns = path, list(columns)

    def __enter__(self) -> "_Rows":
        self.file = pq.ParquetFile(self.path)
        self.schema = pa.schema([self.file.schema_arrow.field(name) for name in self.columns])
        self.batches, self.left = self.file.iter_batches(ROWS, columns=self.columns), self.schema.empty_table()
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()

    def take(self, rows: int) -> pl.DataFrame:
        """The next rows; fewer at the end of the file."""
        while self.left.num_rows < rows and (batch := next(self.batches, None)) is not None:
            self.left = pa.concat_tables([self.left, pa.Table.from_batches([batch])])
        taken, self.left = self.left.slice(0, rows), self.left.slice(rows)
        return pl.DataFrame(taken).select(self.columns)

    @property
    def rows(self) -> int:
        """The rows of the whole file."""
        return int(self.file.metadata.num_rows)


def numbers_of(names: pl.Series, ids: Sequence[str]) -> np.ndarray:
    """[R] the number of each series in the panel; one past the last for unknown names."""
    runs, places = names.rle().struct.unnest(), _places(tuple(ids))
    numbers = np.array([places.get(name, len(ids)) for name in runs["value"]], np.int64)
    return np.repeat(numbers, runs["len"].to_numpy())


@lru_cache(maxsize=4)
def _places(ids: tuple[str, ...]) -> dict[str, int]:
    return {name: place for place, name in enumerate(ids)}


def write(
    path: Path,
    targets: Iterable[pl.DataFrame],
    sources: Mapping[str, Path],
    horizon: int,
    frequency: Frequency,
    ids: Sequence[str],
    calibrations: Mapping[str, Calibration] | None = None,
    levels: Sequence[float] = (),
    bounds: Bounds = NO_BOUNDS,
    narrow: bool = False,
) -> Forecasts:
    """Joins files side by side, in blocks.

    `targets`: the blocks of `Targets`.  `sources`: per model, the Parquet file with its column, with the rows
    of `targets`.  `calibrations`: of the models that get intervals, at `levels` in percent.  Forecasts are
    brought within `bounds`, and stored in 32 bits if `narrow`.  Raises ValueError for a file with other rows.
    """
    folds: Counter[int] = Counter()
    with placed(path) as partial, ExitStack() as opened:
        writer: pq.ParquetWriter | None = None
        for part in _joined(targets, sources, _own_columns(sources, calibrations or {}), opened):
            part = within(part, sources, bounds)
            part = part.with_columns(frequency.instants(pl.col(name)).alias(name) for name in TIMES)
            for model, calibration in (calibrations or {}).items():
                part = with_intervals(part, model, calibration, levels, ids, bounds)
            if "_fold" in part.columns and part.height:
                folds[part["_fold"][0]] += part.height
            table = packed.table_of(part.drop("step", cs.starts_with(OWN)), narrow)
            writer = writer or opened.enter_context(packed.writer(partial, table.schema))
            writer.write_table(table, row_group_size=max(table.num_rows, 1))
    sizes = tuple(folds[fold] for fold in range(max(folds, default=-1) + 1))
    return Forecasts(path, horizon, frequency, sources, tuple(ids), sizes)


def with_intervals(
    frame: pl.DataFrame,
    model: str,
    calibration: Calibration,
    levels: Sequence[float],
    ids: Sequence[str],
    bounds: Bounds = NO_BOUNDS,
    units: np.ndarray | None = None,
) -> pl.DataFrame:
    """Adds `<model>-lo-L` and `<model>-hi-L` at levels in percent; null without forecast or enough errors.

    The frame holds the model's own quantiles in columns named by `own_column` after an underscore.  `units`:
    per row, if not those of its series.
    """
    own_names = [OWN + own_column(model, level) for level in calibration.levels]
    point = frame[model].cast(pl.Float64).fill_null(np.nan).to_numpy()
    given = frame.select(own_names).to_numpy() + point[:, None] if {*own_names} <= {*frame.columns} else None
    series, step = numbers_of(frame["unique_id"], ids), frame["step"].to_numpy() - 1
    every = calibration.quantiles(point, step, series, given, units)
    asked = calibration.asked(every, point, [end for level in levels for end in ends_of(level)], bounds)
    names = [f"{model}-{side}-{level:g}" for level in levels for side in ("lo", "hi")]
    return frame.with_columns(pl.Series(name, asked[:, at], pl.Float64).fill_nan(None) for at, name in enumerate(names))


def targets_of(data: Data, split: str, stride: int) -> Targets:
    """What is forecast in a split; for validation in all folds, oldest first."""
    folds = data.folds if split == "validation" else (data,)
    origins = tuple(origin_rows(fold.panel, fold.windows, fold.split, split, stride) for fold in folds)
    return Targets(data.panel, data.windows, origins)


def _own_columns(sources: Mapping[str, Path], calibrations: Mapping[str, Calibration]) -> dict[str, Path]:
    """The own-quantile columns that calibrations need, named with an underscore, and the file of each."""
    needed = {
        model: [own_column(model, level) for level in calibration.levels]
        for model, calibration in calibrations.items()
        if calibration.own
    }
    return {OWN + name: sources[model] for model, names in needed.items() for name in names}


def _joined(
    targets: Iterable[pl.DataFrame], sources: Mapping[str, Path], own_sources: Mapping[str, Path], opened: ExitStack
) -> Iterator[pl.DataFrame]:
    """The blocks of the targets with every model's column, and some own quantiles."""
    columns: dict[Path, list[str]] = {}
    for name, path in {**sources, **own_sources}.items():
        columns.setdefault(path, []).append(name)
    files = {
        path: opened.enter_context(_Rows(path, [*SAME, *(name.removeprefix(OWN) for name in names)]))
        for path, names in columns.items()
    }
    done = 0
    for block in targets:
        for path, names in columns.items():
            taken = files[path].take(block.height)
            if not taken.select(SAME).equals(block.select(SAME)):
                raise ValueError(OTHER.format(path))
            some = (taken[name.removeprefix(OWN)].cast(pl.Float64).alias(name) for name in names)
            block = block.with_columns(some)
        done += block.height
        yield block.select(pl.exclude(*sources, *own_sources), *sources, *own_sources)
    for path, file in files.items():
        if file.rows != done:
            raise ValueError(OTHER.format(path))


def blocks_of(path: Path, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
    """The rows of one of our files, in blocks of about ROWS, at least one; some columns, or all."""
    with pq.ParquetFile(path) as file:
        yield from (pl.DataFrame(part) for part in file.iter_batches(ROWS, columns=columns))
        if not file.metadata.num_rows:
            yield pl.DataFrame(file.schema_arrow.empty_table()).select(columns or pl.all())


def write_blocks(blocks: Iterable[pl.DataFrame], path: Path) -> None:
    """Writes at least one frame, all with the same columns, one after another to `path`, atomically."""
    with placed(path) as partial, ExitStack() as opened:
        writer: pq.ParquetWriter | None = None
        for block in blocks:
            table = block.to_arrow()
            writer = writer or opened.enter_context(pq.ParquetWriter(partial, table.schema, compression="zstd"))
            writer.write_table(table, row_group_size=max(table.num_rows, 1))


def write_columns(frame: pl.DataFrame, models: Sequence[str], path: Path) -> dict[str, Path]:
    """Writes the columns of some models to a file; returns that file for each."""
    write_parquet(frame.select(*KEYS, *models), path)
    return dict.fromkeys(models, path)
