"""Scaling against numpy for every way to do it, round trips in original units, and what the network sees of each covariate."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from models.data.origins import origin_rows
from models.data.panel import Panel, Split
from models.data.scaling import fit_scaling
from models.data.window import FeatureWindow, WindowParams
from models.data.windows import Windows
from models.families import build_forecaster
from models.forecaster import Forecaster, num_inputs
from models.networks.contract import Network

SPLIT = Split("rows", 20, 20)
PARAMS = WindowParams(
    3, {"y": FeatureWindow(6), "x": FeatureWindow(4)}, 1, calendar=("hour",), future=("z",), static={"area": "numeric"}
)
EVERY_LEVEL = pytest.mark.parametrize("level", ["none", "last", "mean", "revin"])
EVERY_TRANSFORM = pytest.mark.parametrize("transform", ["none", "log1p", "asinh"])


def panel_of(seed: int = 0, sizes: tuple[int, ...] = (90, 70, 60)) -> Panel:
    """Skewed positive series on levels 1, 10, 100, a tenth of all values missing."""
    rng, rows = np.random.default_rng(seed), sum(sizes)
    level = np.repeat(10.0 ** np.arange(len(sizes)), sizes)
    target = (level * rng.lognormal(size=rows)).astype(np.float32)
    values = rng.normal(size=(rows, len(PARAMS.panel_channels))).astype(np.float32)
    values[:, 0] = target
    for column in (target, values[:, 1], values[:, -1]):
        column[rng.random(rows) < 0.1] = np.nan
    times = np.concatenate([np.arange(n) for n in sizes]).astype(np.int64)
    offsets = np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
    static = np.array([[3.0], [5.0], [np.nan]], np.float32)[: len(sizes)]
    ids = tuple("abc"[: len(sizes)])
    return Panel(target, values, offsets, times, ids, PARAMS.panel_channels, "d", static=static)


def changed(y: np.ndarray, transform: str) -> np.ndarray:
    return np.log1p(y) if transform == "log1p" else np.arcsinh(y) if transform == "asinh" else y


@pytest.mark.parametrize("method", ["standard", "robust"])
def test_without_a_split_every_row_is_training_s(method: Any) -> None:
    """As a split that keeps nothing back."""
    panel = panel_of()
    for found, same in zip(
        fit_scaling(panel, PARAMS, None, "series", method), fit_scaling(panel, PARAMS, Split("rows", 0, 0), "series", method),
        strict=True,
    ):  # fmt: skip
        assert torch.equal(found, same)
    assert fit_scaling(panel, PARAMS, None, "series").y_loc[0] == pytest.approx(float(np.nanmean(panel.target[:90])), rel=1e-6)


@EVERY_TRANSFORM
@pytest.mark.parametrize("per", ["series", "global"])
@pytest.mark.parametrize("method", ["standard", "robust"])
def test_every_statistic_equals_numpys_on_the_training_rows(method: Any, per: Any, transform: Any) -> None:
    panel = panel_of()
    found = fit_scaling(panel, PARAMS, SPLIT, per, method, transform)
    train = [np.arange(panel.offsets[s], panel.offsets[s + 1] - 40) for s in range(3)]
    together = np.concatenate(train)
    for row in range(4):
        rows = together if per == "global" or row == 3 else train[row]
        wanted = {"y": changed(panel.target[rows].astype(np.float64), transform)}
        wanted |= {"x": panel.values[rows, 1].astype(np.float64), "z": panel.values[rows, -1].astype(np.float64)}
        for name, values in wanted.items():
            low, middle, high = np.nanpercentile(values, (25, 50, 75))
            loc, scale = (np.nanmean(values), np.nanstd(values)) if method == "standard" else (middle, (high - low) / 1.3489795)
            at: Any = {"y": (found.y_loc, found.y_scale), "x": (found.loc[:, 1], found.scale[:, 1])}
            at["z"] = (found.ahead_loc[:, -1], found.ahead_scale[:, -1])
            np.testing.assert_allclose(at[name][0][row], loc, rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(at[name][1][row], scale, rtol=1e-4)
    assert torch.equal(found.loc[:, 0], found.y_loc) and torch.equal(found.scale[:, 0], found.y_scale)
    assert found.loc[:, 2:].eq(0).all() and found.scale[:, 2:].eq(1).all()  # the calendar
    assert (found.static_loc.item(), found.static_scale.item()) == (4.0, 1.0)


@pytest.mark.parametrize("method", ["standard", "robust"])
def test_nothing_is_divided_by_zero(method: Any) -> None:
    panel = panel_of()
    panel.values[:, 1] = 7.0
    panel.target[:90] = 0.0
    panel.target[3] = 50.0  # more than half are equal, so the quartiles meet: the standard deviation serves
    panel.values[90:160, -1] = np.nan
    found = fit_scaling(panel, PARAMS, SPLIT, "series", method)
    assert found.scale[:, 1].tolist() == [1.0] * 4 and found.loc[:, 1].tolist() == [7.0] * 4
    np.testing.assert_allclose(found.y_scale[0], panel.target[:50].std(), rtol=1e-5)
    assert (found.ahead_loc[1, -1], found.ahead_scale[1, -1]) == (found.ahead_loc[3, -1], found.ahead_scale[3, -1])


class Echo(Network):
    """A network that keeps what it saw and answers zero: the level itself comes back."""

    def __init__(self, horizon: int) -> None:
        super().__init__()
        self.horizon, self.seen = horizon, torch.empty(0)

    def forward(self, x_BLN: Tensor) -> Tensor:
        self.seen = x_BLN
        return x_BLN.new_zeros(len(x_BLN), self.horizon)


@EVERY_LEVEL
@EVERY_TRANSFORM
@pytest.mark.parametrize("method", ["standard", "robust"])
def test_zero_comes_back_as_the_level_of_the_window_in_original_units(level: Any, transform: Any, method: Any) -> None:
    panel = panel_of()
    scaling = fit_scaling(panel, PARAMS, SPLIT, "series", method, transform)
    echo = Echo(3)
    forecaster = Forecaster(echo, PARAMS, scaling, level, transform)
    windows = Windows(panel, PARAMS, origin_rows(panel, PARAMS, SPLIT, "test", 3))
    inputs = windows.inputs(windows.origins)
    found = forecaster(*inputs)[..., 0].double().numpy()
    for row, past in enumerate(inputs.past_BLF[..., 0].double().numpy()):
        series = int(inputs.series_B[row])
        scaled = (changed(past, transform) - float(scaling.y_loc[series])) / float(scaling.y_scale[series])
        seen = scaled[~np.isnan(scaled)]
        base = {"none": 0.0, "last": seen[-1], "mean": seen.mean(), "revin": seen.mean()}[level]
        raw = base * float(scaling.y_scale[series]) + float(scaling.y_loc[series])
        expected = np.expm1(raw) if transform == "log1p" else np.sinh(raw) if transform == "asinh" else raw
        np.testing.assert_allclose(found[row], expected, rtol=2e-4, atol=1e-4)
        spread = np.sqrt(seen.var() + 1e-5) if level == "revin" else 1.0
        shown = np.where(np.isnan(scaled), 0.0, (scaled - base) / spread)
        np.testing.assert_allclose(echo.seen[row, :, 0].double().numpy(), shown, rtol=1e-3, atol=1e-4)
    assert echo.seen.shape[-1] == num_inputs(PARAMS, level)[0]


@EVERY_TRANSFORM
def test_targets_and_forecasts_are_each_others_inverse(transform: Any) -> None:
    panel = panel_of()
    scaling = fit_scaling(panel, PARAMS, SPLIT, "series", transform=transform)
    windows = Windows(panel, PARAMS, origin_rows(panel, PARAMS, SPLIT, "test", 1))
    inputs, y = windows.batch(torch.arange(8))

    class Told(Network):
        def forward(self, _: Tensor) -> Tensor:
            return scaled

    forecaster = Forecaster(Told(), PARAMS, scaling, "none", transform)
    scaled = forecaster.scale_targets(y, inputs.series_B)
    torch.testing.assert_close(forecaster(*inputs)[..., 0], y, rtol=1e-4, atol=1e-4, equal_nan=True)


@pytest.mark.parametrize("horizon", [1, 3, 6, 20])
def test_every_row_ahead_reaches_the_network_right_aligned(horizon: int) -> None:
    params = replace(PARAMS, horizon=horizon)
    panel = panel_of()
    windows = Windows(panel, params, origin_rows(panel, params, None, "", 5))
    echo = Echo(horizon)
    forecaster = Forecaster(echo, params, fit_scaling(panel, params, SPLIT, "series"), "none")
    inputs = windows.inputs(windows.origins)
    forecaster(*inputs)
    several = -(-params.ahead // params.lookback)
    width = len(params.known) + 1  # and the mask of z
    block = echo.seen[..., len(params.channels) + 2 : len(params.channels) + 2 + several * width]
    rows = block.reshape(len(windows), params.lookback * several, width)[:, -params.ahead :]
    torch.testing.assert_close(rows[..., :2], inputs.ahead_BAK[..., :2])
    assert torch.equal(rows[..., 3] == 1, ~inputs.ahead_BAK[..., 2].isnan())
    assert rows[..., 2][inputs.ahead_BAK[..., 2].isnan()].eq(0).all()


def test_log1p_of_what_it_is_not_defined_for_is_refused() -> None:
    panel = panel_of()
    panel.target[95] = -1.5
    with pytest.raises(
        ValueError, match=r"series 'b' has a target of -1\.5; .*log1p is not defined at -1 and below: take asinh"
    ):
        fit_scaling(panel, PARAMS, SPLIT, "series", transform="log1p")
    fit_scaling(panel, PARAMS, SPLIT, "series", transform="asinh")


def test_static_covariates_are_repeated_and_an_unknown_category_is_nothing() -> None:
    params = WindowParams(2, {"y": FeatureWindow(3)}, static={"area": "numeric", "kind": "categorical"})
    network = {"cell": "gru", "hidden_size": 4}
    forecaster = build_forecaster("recurrent", network, params, categories={"kind": 5})
    past, ahead = torch.randn(3, 3, 1), torch.empty(3, 2, 0)
    static = torch.tensor([[2.0, 1.0], [float("nan"), 0.0], [2.0, 5.0]])
    nothing = torch.empty(3, 3, 0), torch.empty(3, 2, 0)  # is read in 64 bits
    x, _, _, _ = forecaster.inputs(past, ahead, static, torch.zeros(3, dtype=torch.int64), *nothing)
    assert x.shape[-1] == num_inputs(params, "none", {"kind": 5})[0] == 2 + 1 + 4
    assert torch.equal(x[:, 0, 2:], x[:, 2, 2:])
    assert x[:, 0, 2].tolist() == [2.0, 0.0, 2.0]
    assert x[1, 0, 3:].eq(0).all() and not torch.equal(x[0, 0, 3:], x[2, 0, 3:])
    forecaster(past, ahead, static, torch.zeros(3, dtype=torch.int64), *nothing).sum().backward()
    gradient = forecaster.embeddings[0].weight.grad
    assert gradient is not None and gradient.abs().sum(1).gt(0).tolist() == [False, True, False, False, False, True]


def test_a_series_that_training_did_not_see_is_scaled_as_all_together() -> None:
    panel = panel_of()
    scaling = fit_scaling(panel, PARAMS, SPLIT, "series")
    forecaster = Forecaster(Echo(3), PARAMS, scaling, "none")
    windows = Windows(panel, PARAMS, origin_rows(panel, PARAMS, SPLIT, "test", 9))
    inputs = windows.inputs(windows.origins)
    new = forecaster(*inputs._replace(series_B=torch.full_like(inputs.series_B, 17)))
    np.testing.assert_allclose(new.numpy(), float(scaling.y_loc[3]), rtol=1e-6)


def test_scaling_sees_training_rows_alone_and_survives_a_constant(panel: Panel, params: WindowParams, split: Split) -> None:
    loc, scale, *_, y_loc, _, _, _ = found = fit_scaling(panel, params, split, "series")
    expected = np.nanmean(panel.values[:180].astype(np.float64), 0)
    np.testing.assert_allclose(loc[0, 1:], expected[1:], rtol=1e-5)
    np.testing.assert_allclose(y_loc[0], np.nanmean(panel.target[:180].astype(np.float64)), rtol=1e-5)
    np.testing.assert_allclose(scale[1, 1], np.nanstd(panel.values[300:480, 1].astype(np.float64)), rtol=1e-5)
    both = np.concatenate([panel.values[:180, 1], panel.values[300:480, 1]]).astype(np.float64)
    np.testing.assert_allclose(loc[2, 1], np.nanmean(both), rtol=1e-5)
    changed = replace(panel, target=panel.target.copy(), values=panel.values.copy())
    changed.values[180:300] = changed.target[180:300] = 1e6
    for before, after in zip(found, fit_scaling(changed, params, split, "series"), strict=True):
        assert torch.equal(before, after)
    changed.values[:, 1] = 3.25
    assert fit_scaling(changed, params, split, "global").scale[:, 1].tolist() == [1.0, 1.0, 1.0]
    changed.values[300:480] = changed.target[300:480] = np.nan
    assert fit_scaling(changed, params, split, "series").loc[1, 0] == fit_scaling(changed, params, split, "series").loc[2, 0]


def test_scaling_is_exact_on_a_high_level() -> None:
    y = (1e6 + np.arange(100) % 2).astype(np.float32)
    panel = Panel(y, y[:, None], np.array([0, 100]), np.arange(100), ("a",), ("y",), "d")
    params = WindowParams(1, {"y": FeatureWindow(1)})
    assert fit_scaling(panel, params, Split("rows", 0, 0), "series").y_scale[0] == pytest.approx(0.5)


@pytest.mark.parametrize("method", ["standard", "robust"])
@pytest.mark.parametrize("per", ["series", "global"])
def test_what_training_never_saw_is_missing_to_the_network_whenever_it_comes(method: Any, per: Any) -> None:
    """A feature, a value known ahead and a static number that begin after the training rows; and one series that lacks x alone,
    for which the others stand."""
    panel = panel_of()
    gone, values = np.array(panel.values), np.array(panel.values)
    for start, stop in zip(panel.offsets[:-1], panel.offsets[1:], strict=True):
        gone[start : stop - 40, 1], gone[start : stop - 40, -1] = np.nan, np.nan
    gone[-40:, 1] = 1e6
    late = replace(panel, values=gone, static=np.array([[np.nan], [np.nan], [np.nan]]))
    built = []
    for one in (
        late,
        replace(late, values=np.where(np.isin(np.arange(values.shape[1]), (1, values.shape[1] - 1)), np.nan, gone)),
    ):
        torch.manual_seed(0)
        scaling = fit_scaling(one, PARAMS, SPLIT, per, method)
        forecaster = build_forecaster("recurrent", {"cell": "gru", "hidden_size": 4}, PARAMS, level="last", scaling=scaling)
        windows = Windows(one, PARAMS, origin_rows(one, PARAMS, SPLIT, "test", 1))
        inputs = windows.inputs(windows.origins)
        built.append(forecaster.eval()(*inputs._replace(static_BC=torch.full_like(inputs.static_BC, 7.0))))
    assert torch.isfinite(built[0]).all() and torch.equal(*built)
    alone = np.array(panel.values)
    alone[: panel.offsets[1], 1] = np.nan
    found = fit_scaling(replace(panel, values=alone), PARAMS, SPLIT, "series", method)
    assert torch.isfinite(found.loc).all() and found.loc[0, 1] == found.loc[-1, 1]
