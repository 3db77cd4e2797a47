"""A baseline on a panel: held against the series forecast one by one, and against what changes its hash."""

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.baseline_fit import MOST, fit_baseline, forecast_baseline, forecasts_hash
from models.baselines import BASELINES, arguments_of
from models.data.panel import Panel, Split
from models.data.window import FeatureWindow, WindowParams
from models.fit.job import Job, is_baseline, read_result
from models.worker import work

pytestmark = pytest.mark.slow

SPLIT = Split("rows", 20, 20)
AHEAD = np.arange(2, 6)


@pytest.fixture
def panel() -> Panel:
    """Two series of 100 and 60 rows with a season of 6, behind two rows of padding each, and some values missing."""
    rng, parts = np.random.default_rng(3), []
    for rows, level in ((100, 20.0), (60, 200.0)):
        y = level + 5 * np.sin(np.arange(rows) * np.pi / 3) + rng.normal(0, 1, rows)
        y[rng.integers(5, rows - 5, 4)] = np.nan
        parts += [np.full(2, np.nan), y]
    y = np.concatenate(parts)
    offsets = np.array([0, 102, 164])
    times = np.concatenate([np.arange(102), np.arange(62)])
    found = Panel(y, y[:, None].astype(np.float32), offsets, times, ("a", "b"), ("y",), "")
    return replace(found, facts=replace(found.facts, frequency=1, start_padding=2))


def job_of(make: Any, name: str, **changes: Any) -> Job:
    windows = WindowParams(horizon=4, gap=1, features={"y": FeatureWindow(1)})
    return replace(
        make, family=name, network=arguments_of(name, 6).to_dict(), windows=windows, split=SPLIT, evaluation_stride=1, **changes
    )


@pytest.mark.parametrize("name", BASELINES)
def test_each_series_is_forecast_from_its_own_rows_up_to_the_cutoff(panel: Panel, name: str) -> None:
    """Held against the one series cut off behind the cutoff, without padding."""
    arguments = arguments_of(name, 6).to_dict()
    origins = np.array([60, 90, 102 + 40, 102 + 55], np.int32)
    found = forecast_baseline(name, arguments, panel, origins, AHEAD)
    assert found.shape == (4, 4) and np.isfinite(found).all()
    for row, begin, values in zip(origins, (2, 2, 104, 104), found, strict=True):
        alone = panel.target[begin : row + 1]
        only = Panel(alone, alone[:, None], np.array([0, len(alone)]), np.arange(len(alone)), ("x",), ("y",), "")
        again = forecast_baseline(name, arguments, only, np.array([len(alone) - 1]), AHEAD)
        np.testing.assert_allclose(again[0], values, rtol=1e-9)


@pytest.mark.parametrize("name", BASELINES)
def test_the_hash_is_that_of_the_forecasts_and_not_of_how_often_they_are_made(job: Job, panel: Panel, name: str) -> None:
    made = job_of(job, name)
    found = forecasts_hash(made, panel)
    assert found == forecasts_hash(replace(made, threads=3), panel) and len(found) == 64
    changed = replace(panel, target=panel.target.copy())
    changed.target[95] += 1.0  # within validation's and test's rows of the first series
    assert forecasts_hash(made, changed) != found
    assert len({forecasts_hash(job_of(job, other), panel) for other in BASELINES}) == len(BASELINES)


def test_no_more_origins_are_forecast_than_are_said(job: Job, panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = []

    def count(name: str, arguments: Any, y: Any, start: Any, at: Any, ahead: Any, *_: Any) -> np.ndarray:
        counted.append(len(at))
        return np.zeros((len(at), len(ahead)))

    monkeypatch.setattr("models.baseline_fit.baseline", count)
    monkeypatch.setitem(MOST, "theta", 5)
    forecasts_hash(job_of(job, "theta"), panel)
    forecasts_hash(job_of(job, "drift"), panel)
    assert counted[:2] == [5, 5] and counted[2] > 10


def test_a_worker_leaves_the_result_of_a_baseline_and_nothing_else(job: Job, tmp_path: Path) -> None:
    made = replace(job_of(job, "drift"), split=job.split, windows=replace(job.windows, features={"y": FeatureWindow(1)}))
    folder = tmp_path / "fit"
    folder.mkdir()
    work(made, folder, (), "abc", threading.Event())
    assert [path.name for path in folder.iterdir()] == ["result.json"] and is_baseline(made.family)
    result = read_result(folder)
    assert (
        result.finished and result.weights == forecasts_hash(made, Panel.open(job.panel)) == fit_baseline(made, folder).weights
    )
