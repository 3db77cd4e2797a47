"""Ensembles of networks and baselines: the baselines' forecasts, and both combined as in `models/serving.py`.

A baseline reads the observed target of its series from the first row on, and is not part of a graph.
Shapes: B windows, H horizon, M networks, K baselines.
"""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from models.baselines import FITTED_ROWS, hashed_bytes, is_outside
from models.data.panel import Panel
from models.data.windows import Windows
from models.fit.job import Job, windows_of
from models.fit.settings import Stopped

OnDone = Callable[[], None]  # called after each fit of a baseline


@dataclass(frozen=True)
class OwnForecasts:
    """The forecasts of a fit or baseline on a validation range, float64.

    `points` [W, H]; `quantiles` [W, H, Q] at some levels, minus the point.
    """

    points: np.ndarray
    quantiles: np.ndarray | None = None
    levels: tuple[float, ...] = ()


@dataclass(frozen=True)
class Beside:
    """The forecasts of an ensemble's baselines by split [windows, horizon, baselines], and their cost.

    A greedy ensemble also has those of its other validation ranges: `validation 1`, `validation 2` ...
    """

    forecasts: Mapping[str, np.ndarray] = field(default_factory=dict)
    milliseconds: float = 0.0

    def only(self, places: Sequence[int]) -> "Beside":
        """The same for some of the baselines."""
        return replace(self, forecasts={split: made[..., list(places)] for split, made in self.forecasts.items()})


def beside_of(job: Job, stop: Callable[[], bool], warn: Callable[[str], None]) -> Beside:
    """The baselines' forecasts on each scored split; empty for a job without baselines or on all rows.

    Raises Stopped between two of their fits if `stop` returns true.
    """
    if not job.baselines or job.on_all_rows:
        return Beside()

    def check_stop() -> None:
        if stop():
            raise Stopped("stopped while its baselines forecast; its members are done")

    panel = Panel.open(job.panel)
    windows = ranges_of(job, panel) | windows_of(job, panel, ("validation", "test"))
    if fitted := [one.training.variant for one in job.baselines if one.family in FITTED_ROWS or is_outside(one.family)]:
        warn(f"fits {' and '.join(fitted)} at {sum(map(len, windows.values())):,} origins, one after another")
    forecasts, milliseconds = {}, 0.0
    for split in windows:
        started = time.perf_counter()
        forecasts[split] = baseline_forecasts(job, panel, windows[split].origins.numpy(), check_stop)
        milliseconds = 1000 * (time.perf_counter() - started) / max(len(windows[split]), 1)
    return Beside(forecasts, milliseconds)


def ranges_of(job: Job, panel: Panel) -> dict[str, Windows]:
    """The windows of a job's validation ranges: its own, `validation`, and a greedy ensemble's others."""
    splits = (job.split, *(job.greedy.others if job.greedy else ()))
    ranges = [windows_of(replace(job, split=split), panel, ("validation",))["validation"] for split in splits]
    return {f"validation {number}" if number else "validation": windows for number, windows in enumerate(ranges)}


def baseline_forecasts(job: Job, panel: Panel, origins: np.ndarray, on_done: OnDone = lambda: None) -> np.ndarray:
    """[B, H, K] forecasts of an ensemble's baselines at some panel rows, in order; NaN where one has none."""
    from models.baseline_fit import forecast_baseline, take_in_baselines  # imports pandas: only when needed

    take_in_baselines(code for baseline in job.baselines for code in baseline.outside)
    ahead = job.windows.gap + np.arange(1, job.windows.horizon + 1)
    parts = [
        forecast_baseline(baseline.family, baseline.network, panel, origins, ahead, lambda done: on_done())
        for baseline in job.baselines
    ]
    return np.stack(parts, axis=-1)


def combined(networks_BHM: np.ndarray, baselines_BHK: np.ndarray, how: str, counts: Sequence[int] = ()) -> np.ndarray:
    """[B, H] of both; a baseline without a forecast is left out, a network without one makes the result NaN.

    `counts`: weights in a mean, networks first; equal if empty.
    """
    from models import serving

    points = serving.combine(np.concatenate((networks_BHM, baselines_BHK), axis=-1), how, np.array(counts or 1))
    return np.where(np.isfinite(networks_BHM).all(axis=-1), points, np.nan)


def digest(forecasts: Mapping[str, np.ndarray]) -> str:
    """sha256 of the baselines' forecasts, by split."""
    hasher = hashlib.sha256()
    for split, values in sorted(forecasts.items()):
        hasher.update(hashed_bytes(split, values))
    return hasher.hexdigest()
