"""The unit of the quantiles: how far targets lie from the level of their window, by numpy over every window."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.data.origins import origin_rows
from models.data.panel import Panel, Split
from models.data.scaling import fit_scaling
from models.data.window import WindowParams
from models.data.windows import Windows
from models.families import build_forecaster
from models.fit import reach
from models.fit.job import Job, prepare
from models.fit.reach import reach_of


def train_windows(panel: Panel, params: WindowParams, split: Split) -> Windows:
    return Windows(panel, params, origin_rows(panel, params, split, "train", 1))


def test_it_is_the_mean_distance_from_the_median_as_a_standard_deviation(
    panel: Panel, params: WindowParams, split: Split
) -> None:
    scaling = fit_scaling(panel, params, split, "global")
    forecaster = build_forecaster("dense", {"hidden_size": 2}, params, level="last", scaling=scaling, quantiles=(0.1, 0.9))
    windows = train_windows(panel, params, split)
    rows = windows.origins.numpy()
    y = panel.target[rows[:, None] + 1 + np.arange(4)].astype(np.float64)
    last = np.array([next(v for v in panel.target[row::-1] if not np.isnan(v)) for row in rows], np.float64)  # of each window
    above = (y - last[:, None]) / float(forecaster.y_scale[0])
    expected = np.sqrt(np.pi / 2) * np.nanmean(np.abs(above - np.nanmedian(above, 0)), 0)
    np.testing.assert_allclose(reach_of(forecaster, windows), expected, rtol=0.02)  # torch's median is the lower of two
    assert expected[3] > 1.5 * expected[0]  # a step farther ahead lies farther off


def test_without_targets_or_where_none_differs_it_is_one(panel: Panel, params: WindowParams, split: Split) -> None:
    forecaster = build_forecaster("dense", {"hidden_size": 2}, params, level="last", quantiles=(0.1, 0.9))
    for target in (np.full_like(panel.target, np.nan), np.full_like(panel.target, 7.0)):
        values = panel.values.copy()
        values[:, 0] = target
        windows = train_windows(replace(panel, target=target, values=values), params, split)
        assert reach_of(forecaster, windows).tolist() == [1.0] * 4
    assert reach_of(forecaster, windows.at(windows.origins.numpy()[:0])).tolist() == [1.0] * 4


def test_of_many_windows_some_are_looked_at(
    panel: Panel, params: WindowParams, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    scaling = fit_scaling(panel, params, split, "series")
    forecaster = build_forecaster("dense", {"hidden_size": 2}, params, level="last", scaling=scaling, quantiles=(0.1, 0.9))
    windows = train_windows(panel, params, split)
    whole = reach_of(forecaster, windows)
    monkeypatch.setattr(reach, "MOST", len(windows) // 3)
    torch.testing.assert_close(reach_of(forecaster, windows), whole, rtol=0.2, atol=0)


def test_a_job_learns_it_on_training_rows_and_keeps_it_with_the_weights(job: Job) -> None:
    forecaster, windows = prepare(job)
    assert torch.equal(forecaster.reach_H, reach_of(forecaster, windows["train"])) and (forecaster.reach_H != 1).all()
    assert "reach_H" in forecaster.state_dict()
    assert prepare(replace(job, quantiles=()))[0].reach_H.tolist() == [1.0] * 4
