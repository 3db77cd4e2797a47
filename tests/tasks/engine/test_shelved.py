"""A large panel comes to the nodes of a cluster from the shelf (tasks/engine/ray.py), and not through the driver."""

import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from models.data.panel import Split
from models.data.window import FeatureWindow, WindowParams
from models.fit.job import Job
from params.errors import UserError
from params.load import load_variant
from tasks import shelf
from tasks.engine.choice import engine
from tasks.engine.contract import Listener
from tasks.grid.frequency import Frequency
from tasks.lags.panel import write_panel
from tasks.train.job import make_job
from tasks.train.process import run_fit

pytestmark = [pytest.mark.slow, pytest.mark.engine]
WINDOWS = WindowParams(4, {"y": FeatureWindow(24)})


def job_on(folder: Path, seed: int) -> Job:
    """A ridge regression on a panel that no other test has."""
    y = np.random.default_rng(seed).normal(size=600)
    frame = pl.LazyFrame({"unique_id": ["a"] * 600, "ds": range(600), "y": y})
    panel = write_panel(frame, WINDOWS, Frequency(1), 0, folder)
    return make_job(load_variant("ridge", "params/nyc_weather.yaml"), 0, panel, WINDOWS, Split("rows", 100, 100), "cpu")


def test_a_node_reads_a_large_panel_from_the_shelf(nodes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there, here = job_on(tmp_path / "panels", 1), Listener()
    local = run_fit(there, tmp_path / "local", here, threading.Event()).result
    (tmp_path / "shelf").mkdir()
    monkeypatch.setenv("LAGLINE_SHELF", (tmp_path / "shelf").as_uri())
    monkeypatch.setenv("LAGLINE_ENGINE", "ray")
    monkeypatch.setenv("RAY_ADDRESS", nodes.address)
    monkeypatch.setattr("tasks.engine.ray.SHIPPED", 0)
    shelf.put(there.panel)
    assert run_fit(there, tmp_path / "ray", here, threading.Event()).result.weights == local.weights
    assert there.panel not in engine()._panels  # type: ignore[attr-defined]  # nothing went through the object store
    assert any((cache / "panels" / there.panel.name).is_dir() for cache in nodes.caches())
    gone = job_on(tmp_path / "panels", 2)
    shelf.put(gone.panel)
    monkeypatch.setattr(shelf, "_holds", lambda found, panel: True)  # it was there a moment ago
    shutil.rmtree(tmp_path / "shelf" / "panels")
    with pytest.raises(UserError, match=r"cannot read the shelf file://.* \(LAGLINE_SHELF\)"):
        run_fit(gone, tmp_path / "ray", here, threading.Event())
