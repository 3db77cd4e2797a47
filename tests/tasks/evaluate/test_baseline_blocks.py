"""Baselines are written by blocks (tasks/evaluate/baselines.py): as a frame of the whole history gives them."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from models.data.panel import Data, Panel, Split
from models.data.window import FeatureWindow, WindowParams
from params.load import load_run
from tasks.evaluate import baseline_origins, frames
from tasks.evaluate.baselines import Baselines, baselines_at, forecast_baselines, only_fitted, only_naive, write_baselines
from tasks.evaluate.frames import targets_of
from tasks.grid.frequency import Frequency
from tasks.lags.panel import write_panel
from tasks.lags.past import series_parts, target_frame

NAMES = "[drift, theta, last_value, naive2, seasonal_naive]"
SETTINGS = (
    *("windows.horizon=3", "windows.gap=1", "evaluation.season=4", "evaluation.stride=2", "evaluation.baseline_origins=2"),
    *("data.frequency=1", "data.lowest=0", "windows.calendar=[]", "windows.features={y: {lookback: 5}}"),
    *("split={validation: 10, test: 10}", f"evaluation.baselines={NAMES}"),
)
RUN = load_run("params/smoke.yaml", SETTINGS)


@pytest.fixture(params=[0, 2], ids=["bare", "padded"])
def data(request: pytest.FixtureRequest, tmp_path: Path) -> Data:
    """Four series of other lengths, of which one is too short for some origins; rows missing, one of them all but the last."""
    rng, parts = np.random.default_rng(4), []
    for name, rows in {"a": 60, "b": 33, "c": 60, "d": 48}.items():
        y = np.cumsum(rng.normal(size=rows))
        y[:-1][(rng.random(rows - 1) < 0.2) if name != "c" else slice(None, 40)] = np.nan
        parts.append(pl.DataFrame({"unique_id": name, "ds": range(rows), "y": y}))
    params = WindowParams(3, {"y": FeatureWindow(5)}, gap=1, start_padding=request.param, max_missing_share=1.0)
    panel = Panel.open(write_panel(pl.concat(parts).lazy(), params, Frequency(1), 0, tmp_path))
    return Data(panel, params, Split("rows", 10, 10), (Split("rows", 10, 20),))


@pytest.fixture(params=["whole", "by series"])
def written(request: pytest.FixtureRequest, data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Baselines:
    if request.param == "by series":
        monkeypatch.setattr(frames, "ROWS", 1)
        monkeypatch.setattr(baseline_origins, "series_parts", lambda offsets: series_parts(offsets, 1))
    naive, fitted = (write_baselines(some(RUN), data, tmp_path) for some in (only_naive, only_fitted))
    return naive.joined(fitted)


def test_they_are_those_of_a_frame_of_the_whole_history(written: Baselines, data: Data) -> None:
    history, errors = target_frame(data.panel, data.panel.ids), {name: list[float]() for name in RUN.evaluation.baselines}
    for split, folds in {"validation": data.folds, "test": (data,)}.items():
        made = []
        for fold in folds:
            targets = targets_of(Data(fold.panel, fold.windows, fold.split), split, 2).frame()
            cutoffs = targets.select("unique_id", "cutoff").unique(maintain_order=True)
            found, notes = forecast_baselines(history, cutoffs, RUN, None, Frequency(1))
            made.append(found.with_columns(y=targets["y"]))
            assert found.select("unique_id", "ds", "cutoff", "step").equals(targets.drop("y"))
        for name in RUN.evaluation.baselines:
            own = pl.read_parquet(written.files[split][name])
            assert own.select("unique_id", "ds", "cutoff", "step", name).equals(
                pl.concat(made).select([*own.columns[:4], name])
            )
            assert own[name].is_not_null().any() and (own[name].min() or 0) >= 0  # within the bounds of the run
            if split == "validation":
                errors[name] = [part.select((pl.col(name) - pl.col("y")).abs().mean()).item() for part in made]
    assert written.notes == notes and "2 of" in notes["theta"]
    for name, each in errors.items():
        assert written.errors[name] == pytest.approx(each, rel=1e-12)


def test_at_rows_of_a_panel_they_are_the_same(data: Data) -> None:
    (origins,) = targets_of(Data(data.panel, data.windows, data.split), "test", 2).folds
    targets = targets_of(data, "test", 2).frame()
    cutoffs = targets.select("unique_id", "cutoff").unique(maintain_order=True)
    found, _ = forecast_baselines(target_frame(data.panel, data.panel.ids), cutoffs, RUN, None, Frequency(1))
    assert pl.DataFrame(list(baselines_at(data.panel, origins, RUN))).equals(found.select(RUN.evaluation.baselines))
