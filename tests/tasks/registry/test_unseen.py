"""The origins on which two versions may be compared, counted by hand."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from models.data.panel import Panel, Split
from models.data.scaling import fit_scaling
from models.data.window import FeatureWindow, WindowParams
from models.families import build_forecaster
from models.serving import Calibration
from tasks.calibrate.calibrate import Calibrated
from tasks.grid.frequency import Frequency
from tasks.lags.panel import write_panel
from tasks.registry.load import Version
from tasks.registry.unseen import common_origins, forecast_frames


def version(house: Any, params: WindowParams, unseen_from: int) -> Version:
    """One that has seen what lies before a time; nothing of it is run."""
    facts = house.facts(windows=params, trained_on=house.made(unseen_from=unseen_from))
    return Version("story", "1", "run", "digest", Path("nowhere"), facts)


def test_a_version_without_padding_is_not_judged_on_windows_that_reach_into_the_other_one_s(house: Any, tmp_path: Path) -> None:
    """Eight rows behind three of padding: a window of five that ends on row 6 begins on row 2, which is padding."""
    padded = WindowParams(1, {"y": FeatureWindow(5)}, start_padding=3)
    plain = replace(padded, start_padding=0)
    frame = pl.LazyFrame({"unique_id": ["a"] * 8, "ds": range(8), "y": [float(i) for i in range(8)]})
    panel = Panel.open(write_panel(frame, padded, Frequency(1), 2, tmp_path))
    split = Split("rows", 1, 4)
    assert common_origins(panel, split, 1, [version(house, padded, 0)]).tolist() == [6, 7, 8, 9]
    assert common_origins(panel, split, 1, [version(house, padded, 0), version(house, plain, 0)]).tolist() == [7, 8, 9]
    assert common_origins(panel, split, 1, [version(house, padded, 6), version(house, plain, 0)]).tolist() == [
        8,
        9,
    ]  # row 9 is time 6


LEVELS = (0.05, 0.2, 0.5, 0.8, 0.95)


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.filterwarnings("ignore:Series.values returning an ndarray")  # polars, of a frame of pandas
def test_gates_make_the_intervals_that_are_served_also_of_a_series_that_the_version_does_not_know(
    own: bool, house: Any, tmp_path: Path
) -> None:
    """A version that knows the first of two series: the other's unit follows from its rows up to each cutoff."""
    torch.manual_seed(1)
    scaling = fit_scaling(house.panel, house.params, Split("rows", 30, 30), "series")
    network: dict[str, Any] = {"cell": "gru", "hidden_size": 4}
    forecaster = build_forecaster("recurrent", network, house.params, level="last", scaling=scaling, quantiles=LEVELS)
    offsets = np.random.default_rng(1).normal(size=(1, 4, len(LEVELS)))
    calibration = Calibration(np.array(LEVELS), offsets, np.array([1.0, 9.0]), np.zeros(2, np.int64), own, "asinh", 24, 1.5)
    changes = {"ids": ("JFK",), "quantiles": LEVELS, "calibrated": Calibrated(calibration, "cqr"), "network": network}
    digest = house.write(tmp_path / "bundle", forecaster, trained_on=house.made(unseen_from={"JFK": 0}), **changes)
    facts = house.facts(trained_on=house.made(unseen_from={"JFK": 0}), **changes)
    one = Version("story", "1", "run", digest, tmp_path / "bundle", facts)
    panel = house.panel
    origins = np.concatenate([np.arange(stop - 40, stop - house.params.ahead, 5) for stop in panel.offsets[1:]])
    judged = forecast_frames(panel, origins, {"ours": one}, one.trained_on.run, [])
    served = pl.from_pandas(one.model.forecast(house.frame, start="2024-01-01")).with_columns(
        pl.col("ds").cast(judged["ds"].dtype)
    )
    both = judged.join(served.with_columns(pl.col("cutoff").cast(judged["cutoff"].dtype)), on=["unique_id", "cutoff", "ds"])
    assert both.height == judged.height == 4 * len(origins) and judged.columns[-2:] == ["ours-lo-90", "ours-hi-90"]
    for ours, theirs in (("ours", "yhat"), ("ours-lo-90", "yhat-lo-90"), ("ours-hi-90", "yhat-hi-90")):
        np.testing.assert_allclose(both[ours], both[theirs], rtol=1e-6)
    wide = both.with_columns(wide=(pl.col("ours-hi-90").arcsinh() - pl.col("ours-lo-90").arcsinh()))
    new = wide.filter(unique_id="LGA").group_by("cutoff").agg(pl.col("wide").first())
    assert new["wide"].n_unique() == new.height  # each cutoff has a unit of its own
