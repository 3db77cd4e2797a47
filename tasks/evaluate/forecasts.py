"""Forecasts of a trained variant on rolling origins that training never saw, in original units; never a choice.

A forecast frame (polars): unique_id, ds, cutoff, step (1 .. horizon), y (null where missing), and one column a model.
"""

import copy
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from prefect import task
from prefect.cache_policies import NO_CACHE

from models.data.panel import Panel
from models.data.windows import Inputs, Windows
from models.ensemble import Model
from models.fit import job as jobs
from models.memory_card import MemoryCard, memory_card
from tasks.grid.frequency import Frequency

BATCH = 64  # windows forecast at a time: what they need stays in the cache, and in memory that is already there
CARD_WINDOWS = 64
KEYS = ("unique_id", "ds", "cutoff", "step")
EVALUATED = ("validation", "test")


@torch.inference_mode()
def forecast(forecaster: Model, windows: Windows) -> np.ndarray:
    """Point forecasts [windows, horizon] in original units, float32; every window, no last batch dropped."""
    parts = []
    for start in range(0, len(windows), BATCH):
        origins = windows.origins[start : start + BATCH]
        parts.append(forecaster(*windows.inputs(origins))[..., 0].cpu())
    return torch.cat(parts).numpy() if parts else np.empty((0, windows.params.horizon), np.float32)


def forecast_frame(panel: Panel, windows: Windows, forecasts: np.ndarray, name: str) -> pl.DataFrame:
    """The forecast frame of one model; `forecasts` [windows, horizon]."""
    horizon = windows.params.horizon
    origins = windows.origins.cpu().numpy().astype(np.int64)
    rows = (origins[:, None] + windows.params.gap + 1 + np.arange(horizon)).ravel()
    series = np.searchsorted(panel.offsets, origins, side="right") - 1
    dtype = Frequency(panel.facts["frequency"]).dtype
    return pl.DataFrame(
        {
            "unique_id": pl.Series(panel.ids, dtype=pl.String).gather(np.repeat(series, horizon)),
            "ds": pl.Series(panel.times[rows]).cast(dtype),
            "cutoff": pl.Series(np.repeat(panel.times[origins], horizon)).cast(dtype),
            "step": np.tile(np.arange(1, horizon + 1, dtype=np.int64), len(origins)),
            "y": pl.Series(panel.target[rows].astype(np.float64)).fill_nan(None),
            name: forecasts.ravel().astype(np.float64),
        }
    )


def write_parquet(frame: pl.DataFrame, path: Path) -> None:
    """Writes beside, then renames; leaves nothing beside where that fails."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        frame.write_parquet(partial)
        os.replace(partial, path)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise


def memory_of(forecaster: Model, windows: Windows) -> MemoryCard:
    """The memory card of a trained forecaster, measured on windows spread evenly over a split."""
    index = np.unique(np.linspace(0, len(windows) - 1, min(CARD_WINDOWS, len(windows))).astype(np.int64))
    inputs = windows.inputs(windows.origins[torch.from_numpy(index)])
    return memory_card(copy.deepcopy(forecaster).cpu().eval(), windows.params, Inputs(*(part.cpu() for part in inputs)))


@task(cache_policy=NO_CACHE, task_run_name="evaluate {label}")
def evaluate_variant(label: str, trained: dict[str, Any], job: dict[str, Any]) -> dict[str, Any]:
    """Forecasts validation and test with the trained weights into `<folder>/<split>.parquet`; adds cost and memory card.

    A variant that failed stays failed; one whose forecasts are not all finite becomes so: it is never scored.
    """
    if trained["status"] != "finished":
        return trained
    folder = Path(trained["folder"])
    torch.set_num_threads(job["threads"])
    forecaster, windows = jobs.load(job, folder)
    for split in EVALUATED:
        started = time.perf_counter()
        forecasts = forecast(forecaster, windows[split])
        milliseconds = 1000 * (time.perf_counter() - started) / max(len(windows[split]), 1)
        if not np.isfinite(forecasts).all():
            return trained | {"status": "failed", "reason": f"forecasts on {split} are not finite"}
        write_parquet(forecast_frame(windows[split].panel, windows[split], forecasts, label), folder / f"{split}.parquet")
    card = memory_of(forecaster, windows["validation"])
    facts = {"receptive_field": card.receptive_field, "memory_half_life": card.half_life, "memory": card.to_dict()}
    size = sum(tensor.numel() * tensor.element_size() for tensor in forecaster.state_dict().values())
    return trained | {"forecast_ms_per_series": milliseconds, "weights_mb": size / 1e6} | facts
