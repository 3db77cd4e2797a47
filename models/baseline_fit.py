"""A baseline on a panel: its forecasts, and its fit, which has no weights but the sha256 of its forecasts."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from models.baselines import hashed_bytes
from models.data.origins import origin_rows
from models.data.panel import Panel
from models.fit.job import Job, write_result
from models.fit.settings import Result, Status
from models.serving import History, baseline

# Evenly spread origins per split whose forecasts are hashed; the `weights` of registered versions depend on it.
MOST = {"naive2": 1024, "theta": 64, "auto_ets": 16}
OTHERS = 1 << 16
SPLITS = ("validation", "test")


def forecast_baseline(
    name: str,
    arguments: Mapping[str, Any],
    panel: Panel,
    origins: np.ndarray,
    ahead: np.ndarray,
    on_done: Callable[[int], None] = lambda done: None,
) -> np.ndarray:
    """[origins, ahead] forecasts, float64, NaN where missing; `ahead`: rows after each origin."""
    return baseline(name, dict(arguments), *history_of(panel, origins), ahead, on_done)


def history_of(panel: Panel, origins: np.ndarray) -> History:
    """What a baseline reads at some panel rows; padding is not history."""
    at = np.asarray(origins, np.int64)
    start = panel.offsets[np.searchsorted(panel.offsets, at, side="right") - 1] + panel.facts.start_padding
    return History(np.asarray(panel.target, np.float64), start, at)


def fit_baseline(job: Job, folder: Path) -> Result:
    """Runs a baseline's job: writes `result.json`, whose `weights` is the sha256 of its forecasts."""
    result = Result(status=Status.FINISHED, weights=forecasts_hash(job, Panel.open(job.panel)))
    write_result(result, folder)
    return result


def forecasts_hash(job: Job, panel: Panel) -> str:
    """sha256 over a baseline's forecasts, bit for bit, on evenly spread origins of validation and test."""
    hasher, params = hashlib.sha256(), job.windows
    ahead = params.gap + np.arange(1, params.horizon + 1)
    for split in SPLITS:
        rows = origin_rows(panel, params, job.split, split, job.evaluation_stride)
        some = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), MOST.get(job.family, OTHERS))).round().astype(np.int64))
        hasher.update(hashed_bytes(split, forecast_baseline(job.family, job.network, panel, rows[some], ahead)))
    return hasher.hexdigest()
