"""A ramp comes back where it belongs for every setting, planted shifts are found, and a trained network keeps to it too."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

import tasks.evaluate.alignment
from models.data.origins import origin_rows
from models.data.panel import SPLITS, Panel, Split
from models.data.scaling import fit_scaling
from models.data.window import FeatureWindow, WindowParams
from models.data.windows import Windows
from models.families import build_forecaster
from models.fit import loop as fit
from models.fit.job import Rule
from models.fit.loop import Training
from models.worker import forecast
from tasks.evaluate.alignment import find_shift
from tasks.grid.frequency import Frequency
from tasks.lags.panel import write_panel

HOUR = Frequency("1h")
PLAIN = Rule("series", "last")
WINDOWS = {
    "one feature": WindowParams(1, {"y": FeatureWindow(1)}),
    "gap": WindowParams(5, {"y": FeatureWindow(6)}, gap=3),
    "late": WindowParams(4, {"y": FeatureWindow(6, 2, 3), "x": FeatureWindow(9)}, gap=1),
    "stride and lags apart": WindowParams(3, {"x": FeatureWindow(4, 5), "y": FeatureWindow(8)}, stride=3),
    "without y": WindowParams(3, {"x": FeatureWindow(4, 1, 2)}, gap=2),
    "everything": WindowParams(
        30,
        {"x": FeatureWindow(3, 2, 1), "y": FeatureWindow(7, 3)},
        2,
        calendar=("hour", "month"),
        future=("promo", "x"),
        static={"unique_id": "categorical", "kind": "categorical", "area": "numeric"},
    ),
}


@pytest.mark.parametrize("target", ["none", "log1p", "asinh"])
@pytest.mark.parametrize("window", ["none", "last", "mean", "revin"])
@pytest.mark.parametrize("method", ["standard", "robust"])
@pytest.mark.parametrize("per", ["series", "global"])
def test_a_ramp_comes_back_for_every_way_to_scale(per: Any, method: Any, window: Any, target: Any, tmp_path: Path) -> None:
    rule = Rule(per, window, method, target)
    for name, params in WINDOWS.items():
        if "y" in params.features or window == "none":
            assert find_shift(params, HOUR, rule, 2, tmp_path) is None, name


@pytest.mark.parametrize("span", ["15m", "1d", "1w", "1mo", "1q", "1y", 7])
def test_a_ramp_comes_back_on_every_grid(span: str | int, tmp_path: Path) -> None:
    params = replace(WINDOWS["everything"], calendar=() if isinstance(span, int) else ("hour", "month"))
    assert find_shift(params, Frequency(span), PLAIN, 2, tmp_path) is None


@pytest.mark.parametrize("gap", [-1, 1])
def test_a_shift_of_the_windows_is_found(gap: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Shifted(Windows):
        def inputs(self, origins_B: Any) -> Any:
            return super().inputs((origins_B + gap).clamp(self.params.reach, len(self.panel.times) - 1 - self.params.ahead))

    monkeypatch.setattr(tasks.evaluate.alignment, "Windows", Shifted)
    found = find_shift(WINDOWS["gap"], HOUR, PLAIN, 2, tmp_path)
    assert found is not None and "comes back as" in found


def test_a_shift_of_the_targets_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = tasks.evaluate.alignment.forecast_frame
    monkeypatch.setattr(
        tasks.evaluate.alignment,
        "forecast_frame",
        lambda *given: real(*given).with_columns(pl.col("y").shift(1).fill_null(0.0)),
    )
    assert find_shift(WINDOWS["gap"], HOUR, PLAIN, 2, tmp_path) is not None


def test_a_trained_network_keeps_to_a_ramp_within_a_quarter_of_a_step(tmp_path: Path) -> None:
    params = WindowParams(4, {"y": FeatureWindow(8)}, gap=2)
    frame = pl.DataFrame({"unique_id": "a", "ds": np.arange(400), "y": np.arange(400.0)})
    panel = Panel.open(write_panel(frame.lazy(), params, Frequency(1), 0, tmp_path))
    split = Split("rows", 60, 60)
    rows = {name: Windows(panel, params, origin_rows(panel, params, split, name, 1)) for name in SPLITS}
    network = {"cell": "elman", "hidden_size": 8}
    scaling = fit_scaling(panel, params, split, "series")
    torch.manual_seed(0)
    forecaster = build_forecaster("recurrent", network, params, level="revin", scaling=scaling)
    training = Training(60, 60, 16, 1e-2, 0.0, 1.0, "mse", "elman", 0)
    fit.fit(forecaster, rows["train"], rows["validation"], training, tmp_path)
    expected = rows["test"].origins.numpy()[:, None] + params.gap + np.arange(1, 5)
    np.testing.assert_allclose(forecast(forecaster.eval(), rows["test"]), expected, atol=0.25)
