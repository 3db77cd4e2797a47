"""A generated table, its panel and a forecaster with random weights; nothing is trained."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pytest
import torch

from models.forecaster import Forecaster, build_forecaster
from models.panel import Panel, Split
from models.scaling import fit_scaling
from models.windows import FeatureWindow, WindowParams
from params.load import load_run
from tasks.frequency import Frequency
from tasks.panel import write_panel
from tasks.registry.bundle import write_bundle

PARAMS = WindowParams(4, {"y": FeatureWindow(12), "x": FeatureWindow(4, 2, 1)}, gap=1, calendar=("hour",))
LSTM = ("recurrent", {"cell": "lstm", "hidden_size": 8})


class House(NamedTuple):
    """What a bundle is made of."""

    frame: pl.DataFrame
    history: pl.DataFrame  # up to the last cutoff that has all its targets in the frame
    panel: Panel
    params: WindowParams
    build: Callable[..., Forecaster]
    write: Callable[..., str]


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    """Two series of hourly rows, one with missing steps and values; x counts whole numbers."""
    rng = np.random.default_rng(5)
    times = pl.datetime_range(datetime(2024, 1, 1), datetime(2024, 1, 9), "1h", time_unit="us", time_zone="UTC", eager=True)
    parts = []
    for name, level in (("JFK", 10.0), ("LGA", 60.0)):
        y = level + 5 * np.sin(np.arange(len(times)) * 2 * np.pi / 24) + rng.normal(0, 0.5, len(times))
        parts.append(pl.DataFrame({"unique_id": name, "ds": times, "y": y, "x": rng.integers(0, 9, len(times)).astype(float)}))
    holes = pl.when(pl.int_range(pl.len()) % 17 != 3).then(pl.col("y")).alias("y")
    parts[0] = parts[0].with_columns(holes).filter(pl.int_range(pl.len()) % 23 != 7)
    frame = pl.concat(parts)
    folder = write_panel(frame.lazy(), PARAMS, Frequency("1h"), 3, tmp_path_factory.mktemp("panels"))
    panel = Panel.open(folder)
    split = Split("rows", 30, 30)
    run = load_run("params/nyc_weather.yaml")

    def build(family: str = LSTM[0], network: dict[str, Any] = LSTM[1], level: Any = "last") -> Forecaster:
        torch.manual_seed(3)
        scaling = fit_scaling(panel, PARAMS, split, "series")
        return build_forecaster(family, network, PARAMS, level=level, scaling=scaling)

    def write(path: Path, forecaster: Forecaster, **other: Any) -> str:
        return write_bundle(
            path,
            forecaster,
            **{
                "variant": "lstm",
                "family": LSTM[0],
                "network": LSTM[1],
                "params": PARAMS,
                "level": "last",
                "panel": panel,
                "run": run,
                "half_widths": [1.0, 2.0, None, 4.0],
                "facts": {"panel": panel.digest},
                **other,
            },
        )

    cutoff = int(panel.times[panel.offsets[1] - 1 - PARAMS.ahead])
    return House(frame, frame.filter(pl.col("ds").to_physical() <= cutoff), panel, PARAMS, build, write)
