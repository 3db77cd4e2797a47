"""Forecasts of a trained variant on rolling origins outside training, as a frame in original units.

A forecast frame (polars): unique_id, ds, cutoff, step (1 .. horizon), y (null where missing), and a column
per model.  The file of a variant also has its own quantiles, in columns named by `own_column`.
"""

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
from prefect import task
from prefect.cache_policies import NO_CACHE

from models.data.panel import Panel
from models.data.window import WindowParams
from models.data.windows import Windows
from models.fit.job import windows_of
from models.worker import EVALUATED, quantiles_file
from params.shown import discreet
from tasks.files import placed
from tasks.grid.frequency import Frequency
from tasks.tracking import runs
from tasks.train.fits import Fit

ROWS = 1 << 17  # in memory at a time
KEYS = ("unique_id", "ds", "cutoff", "step")


def forecast_frame(panel: Panel, windows: Windows, forecasts: np.ndarray, name: str) -> pl.DataFrame:
    """The forecast frame of one model; `forecasts` [windows, horizon]."""
    frame = origin_frame(panel, windows.params, windows.origins.cpu().numpy())
    return frame.with_columns(pl.Series(name, forecasts.ravel().astype(np.float64)))


def own_column(model: str, level: float) -> str:
    """The column of a model's own quantile in its file: the distance from the point, in 32 bits."""
    return f"{model}-q-{level:g}"


def own_columns(columns: Iterable[str], model: str) -> list[str]:
    """The own-quantile columns of a model in its file."""
    return [name for name in columns if name.startswith(f"{model}-q-")]


def origin_frame(panel: Panel, params: WindowParams, origins: np.ndarray) -> pl.DataFrame:
    """The frame without a model: unique_id, ds, cutoff, step, y; `origins`: rows of the panel."""
    horizon, origins = params.horizon, np.asarray(origins, np.int64)
    rows = (origins[:, None] + params.gap + 1 + np.arange(horizon)).ravel()
    series = np.searchsorted(panel.offsets, origins, side="right") - 1
    first = int(series.min(initial=len(panel.ids)))
    ids = pl.Series(panel.ids[first : int(series.max(initial=-1)) + 1], dtype=pl.String)
    dtype = Frequency.of(panel.facts).dtype
    return pl.DataFrame(
        {
            "unique_id": ids.gather(np.repeat(series - first, horizon)),
            "ds": pl.Series(panel.times[rows]).cast(dtype),
            "cutoff": pl.Series(np.repeat(panel.times[origins], horizon)).cast(dtype),
            "step": np.tile(np.arange(1, horizon + 1, dtype=np.int64), len(origins)),
            "y": pl.Series(panel.target[rows].astype(np.float64)).fill_nan(None),
        }
    )


def write_forecasts(
    path: Path,
    panel: Panel,
    windows: Windows,
    name: str,
    points: np.ndarray,
    levels: Sequence[float],
    own_quantiles: np.ndarray,
) -> None:
    """Writes the forecast frame of one model to a file, ROWS rows at a time.

    `points` [windows, horizon]; `own_quantiles` [windows, horizon, Q] at `levels` [Q], less points.
    """
    some = max(ROWS // windows.params.horizon, 1)
    with placed(path) as partial, ExitStack() as opened:
        writer: pq.ParquetWriter | None = None
        for start in range(0, max(len(points), 1), some):
            part = slice(start, start + some)
            frame = forecast_frame(panel, windows.at(windows.origins[part].cpu().numpy()), points[part], name)
            quantiles = own_quantiles[part].reshape(frame.height, len(levels))
            frame = frame.with_columns(pl.Series(own_column(name, level), quantiles[:, at]) for at, level in enumerate(levels))
            table = frame.to_arrow()
            writer = writer or opened.enter_context(pq.ParquetWriter(partial, table.schema, compression="zstd"))
            writer.write_table(table)


@task(cache_policy=NO_CACHE, task_run_name="evaluate {fit.planned.label}")
@discreet
def evaluate_variant(fit: Fit, panel: Panel) -> Fit:
    """Writes the forecasts of a fit's worker to `<folder>/<split>.parquet`; loads no weights.

    A failed variant stays failed; one with non-finite forecasts becomes so: it is never scored.
    """
    if not fit.finished:
        return fit
    assert fit.evaluated is not None  # written by every worker that ends well
    for split in fit.evaluated.not_finite:
        runs.finish(fit.run_id, "FAILED")
        return fit.failed(f"forecasts on {split} are not finite")
    if fit.job.on_all_rows:
        return fit
    name, levels = fit.planned.first or fit.label, fit.evaluated.quantiles
    for split, windows in windows_of(fit.job, panel, EVALUATED).items():
        points = np.load(fit.folder / f"{split}.npy", mmap_mode="r")
        own_quantiles = np.load(fit.folder / quantiles_file(split), mmap_mode="r") if levels else np.empty((*points.shape, 0))
        write_forecasts(fit.folder / f"{split}.parquet", panel, windows, name, points, levels, own_quantiles)
    return replace(fit, validation=fit.folder / "validation.parquet", test=fit.folder / "test.parquet")
