"""Small panels and windows for tests of networks and training."""

import json
from pathlib import Path

import numpy as np
import pytest

from models.data.panel import ARRAYS, Panel, Split
from models.data.window import FeatureWindow, WindowParams
from models.fit.job import Job, Rule
from models.fit.settings import Training


@pytest.fixture
def panel() -> Panel:
    """Two series of 300 rows: a daily wave with noise and a feature that leads it; 5 % of the feature is missing."""
    rng = np.random.default_rng(1)
    blocks = []
    for level in (10.0, 50.0):
        wave = np.sin(np.arange(301) * 2 * np.pi / 24)
        y = level + 5 * wave[:300] + rng.normal(0, 0.3, 300)
        x = wave[1:] + rng.normal(0, 0.1, 300)
        x[rng.random(300) < 0.05] = np.nan
        blocks.append(np.column_stack([y, x]))
    values = np.concatenate(blocks).astype(np.float32)
    target = values[:, 0].copy()
    target[60:62] = np.nan
    times = np.tile(np.arange(300, dtype=np.int64), 2)
    return Panel(target, values, np.array([0, 300, 600]), times, ("a", "b"), ("y", "x"), "digest")


@pytest.fixture
def params() -> WindowParams:
    """Two features with windows of their own."""
    return WindowParams(4, {"y": FeatureWindow(24), "x": FeatureWindow(6, 2)})


@pytest.fixture
def split() -> Split:
    """60 % training."""
    return Split("time", 180, 240)


@pytest.fixture
def stored(panel: Panel, tmp_path: Path) -> Path:
    """The same panel on disk."""
    folder = tmp_path / "panel"
    folder.mkdir()
    for name in ARRAYS:
        np.save(folder / f"{name}.npy", np.empty((2, 0), np.float32) if name == "static" else getattr(panel, name))
    facts = {"ids": panel.ids, "channels": panel.channels, "digest": "d", **panel.facts.to_dict()}
    (folder / "panel.json").write_text(json.dumps(facts))
    return folder


@pytest.fixture
def job(stored: Path, params: WindowParams, split: Split) -> Job:
    """A small GRU on a panel on disk."""
    return Job(
        family="recurrent",
        network={"cell": "gru", "hidden_size": 4},
        windows=params,
        split=split,
        scaling=Rule("series", "last"),
        training=Training(2, 2, 32, 1e-2, 0.0, 1.0, "mae", "v", 0),
        evaluation_stride=4,
        threads=1,
        device="cpu",
        panel=stored,
        quantiles=(0.1, 0.9),
    )
