"""A baseline on a panel: its forecasts, and its fit, which has no weights but the sha256 of its forecasts."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from models.baselines import OUTSIDE, hashed_bytes, is_outside
from models.data.origins import origin_rows
from models.data.panel import Panel
from models.fit.job import Job, write_result
from models.fit.settings import Result, Status
from models.outside import Outside, OutsideError, take_in
from models.serving import TAKEN_IN, History, baseline

# Evenly spread origins per split whose forecasts are hashed; the `weights` of registered versions depend on it.
MOST = {"naive2": 1024, "theta": 64, "auto_ets": 16}
OTHERS, FROM_OUTSIDE = 1 << 16, 16
SPLITS = ("validation", "test")


def take_in_baselines(code: Iterable[Outside]) -> None:
    """Imports baselines from outside, which `models/serving.py` then runs.  Raises OutsideError."""
    for outside in code:
        function = take_in(outside)
        if not callable(function) or isinstance(function, type):
            raise OutsideError(f"{outside.target} is no function of history, steps and season")
        TAKEN_IN[f"{OUTSIDE}{outside.target}"] = function


def forecast_baseline(
    name: str,
    arguments: Mapping[str, Any],
    panel: Panel,
    origins: np.ndarray,
    ahead: np.ndarray,
    on_done: Callable[[int], None] = lambda done: None,
) -> np.ndarray:
    """[origins, ahead] forecasts, float64, NaN where missing; `ahead`: rows after each origin.

    Raises OutsideError as `forecast_history` does."""
    history = history_of(panel, origins)
    return forecast_history(name, arguments, history, ahead, lambda at: series_at(panel, origins[at]), on_done)


def forecast_history(
    name: str,
    arguments: Mapping[str, Any],
    history: History,
    ahead: np.ndarray,
    series: Callable[[int], str],
    on_done: Callable[[int], None] = lambda done: None,
) -> np.ndarray:
    """The same at the origins of a history; `series`: the name of an origin's series, by its number.

    Raises OutsideError, naming the series, for a baseline from outside that does not return finite numbers,
    or others when it is called again."""
    if not is_outside(name):
        return baseline(name, dict(arguments), *history, ahead, on_done)
    done = 0

    def count(number: int) -> None:
        nonlocal done
        done = number
        on_done(number)

    try:
        forecasts = baseline(name, dict(arguments), *history, ahead, count)
        done, first = 0, history._replace(start=history.start[:1], at=history.at[:1])
        if not np.array_equal(forecasts[:1], baseline(name, dict(arguments), *first, ahead), equal_nan=True):
            raise ValueError(f"{name.removeprefix(OUTSIDE)} returns other numbers when it is called again")
    except ValueError as error:
        raise OutsideError(f"{error} (series {series(done)!r})") from error
    return forecasts


def series_at(panel: Panel, row: int) -> str:
    """The name of the series that a row belongs to."""
    return str(panel.ids[int(np.searchsorted(panel.offsets, row, side="right")) - 1])


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
    take_in_baselines(job.outside)
    hasher, params = hashlib.sha256(), job.windows
    most = FROM_OUTSIDE if is_outside(job.family) else MOST.get(job.family, OTHERS)
    ahead = params.gap + np.arange(1, params.horizon + 1)
    for split in SPLITS:
        rows = origin_rows(panel, params, job.split, split, job.evaluation_stride)
        some = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), most)).round().astype(np.int64))
        hasher.update(hashed_bytes(split, forecast_baseline(job.family, job.network, panel, rows[some], ahead)))
    return hasher.hexdigest()
