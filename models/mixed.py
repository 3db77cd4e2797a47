"""Ensembles of networks and baselines: what the baselines forecast, and both combined as `models/serving.py` combines them.

A baseline reads the target of its series as it was observed, from the first row on, and is no part of a graph.
Shapes: B windows, H horizon, M networks, K baselines.
"""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from models.baselines import FITTED_ROWS, hashed_bytes
from models.data.panel import Panel
from models.data.windows import Windows
from models.fit.job import Job, windows_of
from models.fit.settings import Stopped

Told = Callable[[], None]  # hears of each fit of a baseline


@dataclass(frozen=True)
class OwnForecasts:
    """What a fit or a baseline forecasts on a validation range: `points` [W, H], float64; `quantiles` [W, H, Q] of some levels,
    less them."""

    points: np.ndarray
    quantiles: np.ndarray | None = None
    levels: tuple[float, ...] = ()


@dataclass(frozen=True)
class Beside:
    """What the baselines of an ensemble forecast, by split [windows, horizon, baselines]; what one window of the test cost.

    Of a greedy ensemble also on the validation of its other ranges: `validation 1`, `validation 2` ...
    """

    forecasts: Mapping[str, np.ndarray] = field(default_factory=dict)
    milliseconds: float = 0.0

    def only(self, places: Sequence[int]) -> "Beside":
        """The same of some of the baselines."""
        return replace(self, forecasts={split: made[..., list(places)] for split, made in self.forecasts.items()})


def beside_of(job: Job, stop: Callable[[], bool], warn: Callable[[str], None]) -> Beside:
    """What they forecast on each split that is scored; nothing for a job without baselines, or one on all rows.

    Raises Stopped between two of their fits where `stop` says so.
    """
    if not job.baselines or job.on_all_rows:
        return Beside()

    def told() -> None:
        if stop():
            raise Stopped("stopped while its baselines forecast; its members are done")

    panel = Panel.open(job.panel)
    windows = ranges_of(job, panel) | windows_of(job, panel, ("validation", "test"))
    if fitted := [one.family for one in job.baselines if one.family in FITTED_ROWS]:
        warn(f"fits {' and '.join(fitted)} at {sum(map(len, windows.values())):,} origins, one after another")
    found, milliseconds = {}, 0.0
    for split in windows:
        started = time.perf_counter()
        found[split] = baseline_forecasts(job, panel, windows[split].origins.numpy(), told)
        milliseconds = 1000 * (time.perf_counter() - started) / max(len(windows[split]), 1)
    return Beside(found, milliseconds)


def ranges_of(job: Job, panel: Panel) -> dict[str, Windows]:
    """The windows of every validation range of a job: its own, `validation`, and of a greedy ensemble the others."""
    splits = (job.split, *(job.greedy.others if job.greedy else ()))
    found = [windows_of(replace(job, split=split), panel, ("validation",))["validation"] for split in splits]
    return {f"validation {number}" if number else "validation": one for number, one in enumerate(found)}


def baseline_forecasts(job: Job, panel: Panel, origins: np.ndarray, told: Told = lambda: None) -> np.ndarray:
    """[B, H, K] of the baselines of an ensemble at some rows of the panel, in order; NaN where one forecasts nothing."""
    from models.baseline_fit import forecast_baseline  # with pandas: for those that need it

    ahead = job.windows.gap + np.arange(1, job.windows.horizon + 1)
    parts = [forecast_baseline(one.family, one.network, panel, origins, ahead, lambda done: told()) for one in job.baselines]
    return np.stack(parts, axis=-1)


def combined(networks_BHM: np.ndarray, baselines_BHK: np.ndarray, how: str, counts: Sequence[int] = ()) -> np.ndarray:
    """[B, H] of both; a baseline that forecasts nothing is left out, and a network that does makes all of it NaN.

    `counts`: how often each counts in a mean, networks first; alike where there are none.
    """
    from models import serving

    found = serving.combine(np.concatenate((networks_BHM, baselines_BHK), axis=-1), how, np.array(counts or 1))
    return np.where(np.isfinite(networks_BHM).all(axis=-1), found, np.nan)


def digest(forecasts: Mapping[str, np.ndarray]) -> str:
    """sha256 of what baselines forecast, by split."""
    found = hashlib.sha256()
    for split, values in sorted(forecasts.items()):
        found.update(hashed_bytes(split, values))
    return found.hexdigest()
