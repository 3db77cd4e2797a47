"""Ensembles of networks and baselines: what the baselines forecast, and both combined as `models/serving.py` combines them.

A baseline reads the target of its series as it was observed, from the first row on, and is no part of a graph.
Shapes: B windows, H horizon, M networks, K baselines.
"""

import hashlib
from collections.abc import Callable, Mapping

import numpy as np

from models.baselines import hashed_bytes
from models.data.panel import Panel
from models.fit.job import Job

Told = Callable[[], None]  # hears of each fit of a baseline


def baseline_forecasts(job: Job, panel: Panel, origins: np.ndarray, told: Told = lambda: None) -> np.ndarray:
    """[B, H, K] of the baselines of an ensemble at some rows of the panel, in order; NaN where one forecasts nothing."""
    from models.baseline_fit import forecast_baseline  # with pandas: for those that need it

    ahead = job.windows.gap + np.arange(1, job.windows.horizon + 1)
    parts = [forecast_baseline(one.family, one.network, panel, origins, ahead, lambda done: told()) for one in job.baselines]
    return np.stack(parts, axis=-1)


def combined(networks_BHM: np.ndarray, baselines_BHK: np.ndarray, how: str) -> np.ndarray:
    """[B, H] of both; a baseline that forecasts nothing is left out, and a network that does makes all of it NaN."""
    from models import serving

    found = serving.combine(np.concatenate((networks_BHM, baselines_BHK), axis=-1), how)
    return np.where(np.isfinite(networks_BHM).all(axis=-1), found, np.nan)


def digest(forecasts: Mapping[str, np.ndarray]) -> str:
    """sha256 of what baselines forecast, by split."""
    found = hashlib.sha256()
    for split, values in sorted(forecasts.items()):
        found.update(hashed_bytes(split, values))
    return found.hexdigest()
