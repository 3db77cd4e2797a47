"""The wide forecast frame of a split as one Parquet file, written and read a few columns or rows at a time.

unique_id, ds, cutoff, y and a column a model, with `<model>-lo-90` and `<model>-hi-90` where it has an interval: what people
get as `forecasts.parquet`, and what every figure of a comparison is computed from.  `step` is not in it: an origin has a row a
step.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from models.data.origins import origin_rows
from models.data.panel import Data
from models.serving import Bounds
from tasks.evaluate import intervals
from tasks.evaluate.bounds import NO_BOUNDS, within
from tasks.evaluate.forecasts import KEYS, origin_frame
from tasks.files import placed, write_parquet
from tasks.grid.frequency import Frequency

TIMES = ("ds", "cutoff")
ROWS = 1 << 17  # held in memory at a time, of all models


@dataclass(frozen=True)
class Forecasts:
    """A wide forecast frame on disk, an origin's `horizon` rows together and in order, its times instants."""

    path: Path
    horizon: int
    frequency: Frequency

    def read(self, *columns: str) -> pl.DataFrame:
        """unique_id, ds, cutoff, step, y and the columns asked for."""
        frame = pl.read_parquet(self.path, columns=["unique_id", "ds", "cutoff", "y", *dict.fromkeys(columns)])
        frame = frame.with_columns(self.frequency.shown(pl.col(name)).alias(name) for name in TIMES)
        return frame.with_columns(step=pl.int_range(pl.len(), dtype=pl.Int64) % self.horizon + 1)


def write(
    path: Path,
    targets: pl.DataFrame,
    sources: Mapping[str, Path],
    horizon: int,
    frequency: Frequency,
    half_widths: Mapping[str, Sequence[float | None]] | None = None,
    bounds: Bounds = NO_BOUNDS,
) -> Forecasts:
    """Joins files side by side, ROWS rows at a time.

    `targets`: unique_id, ds, cutoff, step, y.  `sources`: for each model the Parquet file that has its column, with the rows of
    `targets`.  `half_widths`: of the 90 % interval of each step, for the models that get one.  All forecasts lie within
    `bounds`.  Raises ValueError where a file has other rows.
    """
    for file in dict.fromkeys(sources.values()):
        _check_rows(file, targets)
    with placed(path) as partial, ExitStack() as opened:
        writer: pq.ParquetWriter | None = None
        for part in _parts(targets, sources):
            part = within(part, sources, bounds)
            part = part.with_columns(frequency.instants(pl.col(name)).alias(name) for name in TIMES)
            for model, widths in (half_widths or {}).items():
                part = intervals.with_interval(part, model, widths, bounds)
            table = part.drop("step").to_arrow()
            writer = writer or opened.enter_context(pq.ParquetWriter(partial, table.schema, compression="zstd"))
            writer.write_table(table)
    return Forecasts(path, horizon, frequency)


def targets_of(data: Data, split: str, stride: int) -> pl.DataFrame:
    """The forecast frame of a split without a model: unique_id, ds, cutoff, step, y."""
    origins = origin_rows(data.panel, data.windows, data.split, split, stride)
    return origin_frame(data.panel, data.windows, origins)


def _check_rows(file: Path, targets: pl.DataFrame) -> None:
    there = pl.read_parquet(file, columns=["unique_id", "cutoff", "step"])
    if there.height != targets.height or not there.equals(targets.select(there.columns)):
        raise ValueError(f"{file}: its forecasts are of other origins than those of this comparison")


def _parts(targets: pl.DataFrame, sources: Mapping[str, Path]) -> Iterator[pl.DataFrame]:
    """The targets with every model's column, ROWS rows at a time; one empty part where there are none."""
    columns = {name: pq.ParquetFile(file).iter_batches(ROWS, columns=[name]) for name, file in sources.items()}
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
