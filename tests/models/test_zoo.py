"""The contract that every variant meets, in one test each over the whole registry; cells against their formulas in numpy."""

import inspect
from dataclasses import replace

import numpy as np
import pytest
import torch

from models import FAMILIES, build_forecaster
from models.convolutional import Convolutional
from models.forecaster import check_arguments
from models.origins import origin_rows
from models.panel import Panel, Split
from models.recurrent import Recurrent
from models.scaling import fit_scaling
from models.windows import FeatureWindow, Inputs, WindowParams, Windows
from params.load import load_variant, variant_names

ALL = [load_variant(name, "params/nyc_weather.yaml") for name in variant_names()]
each_variant = pytest.mark.parametrize("variant", ALL, ids=lambda v: v.variant)
SIZES = [(1, 1, 1), (3, 7, 2), (5, 1, 12), (2, 30, 5)]


@each_variant
@pytest.mark.parametrize(("features", "lookback", "horizon"), SIZES)
def test_any_number_of_features_lookback_and_horizon(variant, features, lookback, horizon) -> None:
    network = FAMILIES[variant.family](num_features=features, lookback=lookback, horizon=horizon, **variant.network)
    assert network(torch.randn(6, lookback, features)).shape == (6, horizon)


@each_variant
def test_forecasts_are_finite_and_every_parameter_gets_a_gradient(
    variant, panel: Panel, params: WindowParams, split: Split
) -> None:
    torch.manual_seed(0)
    scaling = fit_scaling(panel, params, split, "series")
    forecaster = build_forecaster(variant.family, variant.network, params, level="last", scaling=scaling)
    windows = Windows(panel, params, origin_rows(panel, params, split, "train", 1))
    inputs, y = windows.batch(torch.arange(64))
    forecast = forecaster(*inputs)
    assert forecast.shape == (64, 4, 1)
    assert torch.isfinite(forecast).all()
    (forecast[..., 0] - y).nan_to_num().abs().mean().backward()  # type: ignore[no-untyped-call]
    for name, parameter in forecaster.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


@each_variant
def test_a_window_with_nothing_known_gives_a_finite_forecast(variant, params: WindowParams) -> None:
    forecaster = build_forecaster(variant.family, variant.network, params, level="last").eval()
    blank = Inputs.zeros(params, 2)
    nothing = blank._replace(past_BLF=blank.past_BLF + torch.nan, series_B=torch.tensor([0, 7]))
    assert torch.isfinite(forecaster(*nothing)).all()


@each_variant
def test_a_forecast_does_not_depend_on_its_batch(variant, params: WindowParams) -> None:
    torch.manual_seed(1)
    forecaster = build_forecaster(variant.family, variant.network, params, level="last").eval()
    inputs = Inputs.zeros(params, 9)._replace(past_BLF=torch.randn(9, params.lookback, 2))
    alone = torch.cat([forecaster(*(part[i : i + 1] for part in inputs)) for i in range(9)])
    torch.testing.assert_close(forecaster(*inputs), alone, rtol=1e-5, atol=1e-5)


@each_variant
def test_units_come_back(variant, params: WindowParams, panel: Panel, split: Split) -> None:
    """The same panel in other units (y -> 1000 y + 7) gives the same forecasts in those units."""
    changed = replace(panel, target=panel.target * 1000 + 7, values=panel.values.copy())
    changed.values[:, 0] = panel.values[:, 0] * 1000 + 7
    forecasts = []
    for table in (panel, changed):
        torch.manual_seed(2)
        scaling = fit_scaling(table, params, split, "series")
        forecaster = build_forecaster(variant.family, variant.network, params, level="last", scaling=scaling).eval()
        inputs, _ = Windows(table, params, origin_rows(table, params, split, "test", 5)).batch(torch.arange(8))
        forecasts.append(forecaster(*inputs).detach())
    torch.testing.assert_close(forecasts[1], forecasts[0] * 1000 + 7, rtol=1e-3, atol=5.0)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _run_cell(kind: str, weights: dict[str, np.ndarray], x_LF: np.ndarray, hidden: int) -> np.ndarray:
    """The recurrences as the course and the papers write them, one window."""
    w, u = weights["weight_ih_l0"], weights["weight_hh_l0"]
    b, c = weights["bias_ih_l0"], weights["bias_hh_l0"]
    h, memory = np.zeros(hidden), np.zeros(hidden)
    for x in x_LF:
        if kind == "elman":
            h = np.tanh(w @ x + b + u @ h + c)
        elif kind == "lstm":
            i, f, g, o = np.split(w @ x + b + u @ h + c, 4)
            memory = _sigmoid(f) * memory + _sigmoid(i) * np.tanh(g)
            h = _sigmoid(o) * np.tanh(memory)
        else:
            (ri, zi, ni), (rh, zh, nh) = np.split(w @ x + b, 3), np.split(u @ h + c, 3)
            r, z = _sigmoid(ri + rh), _sigmoid(zi + zh)
            h = (1 - z) * np.tanh(ni + r * nh) + z * h
    return h


@pytest.mark.parametrize("kind", ["elman", "lstm", "gru"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_recurrent_network_equals_its_formula(kind, bidirectional) -> None:
    torch.manual_seed(3)
    network = Recurrent(num_features=3, lookback=6, horizon=2, cell=kind, hidden_size=4, bidirectional=bidirectional)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(5, 6, 3)
    weights = {n: p.detach().double().numpy() for n, p in network.recurrence.named_parameters()}
    head, bias = network.head.weight.detach().double().numpy(), network.head.bias.detach().double().numpy()
    backward = {n.removesuffix("_reverse"): v for n, v in weights.items() if n.endswith("_reverse")}
    for window, found in zip(x.double().numpy(), network(x).detach().numpy(), strict=True):
        state = _run_cell(kind, weights, window, 4)
        if bidirectional:
            state = np.concatenate([state, _run_cell(kind, backward, window[::-1], 4)])
        np.testing.assert_allclose(found, head @ state + bias, atol=1e-5)


def test_recurrent_weights_begin_orthogonal_and_the_forget_gate_open() -> None:
    network = Recurrent(num_features=3, lookback=6, horizon=2, cell="lstm", hidden_size=8, num_layers=2)
    for gate in network.recurrence.weight_hh_l1.detach().split(8):
        torch.testing.assert_close(gate @ gate.T, torch.eye(8), atol=1e-5, rtol=0)
    bias = network.recurrence.bias_ih_l0.detach() + network.recurrence.bias_hh_l0.detach()
    assert bias.tolist() == [0.0] * 8 + [1.0] * 8 + [0.0] * 16


def test_a_convolution_equals_its_sum_written_out() -> None:
    torch.manual_seed(4)
    network = Convolutional(num_features=2, lookback=7, horizon=3, channels=4, kernel_size=3, num_layers=1, stride=2)
    x = torch.randn(2, 7, 2)
    kernel = network.convolutions[1].weight.detach().numpy()
    length, padding = 4, (4 - 1) * 2 + 3 - 7
    padded = np.concatenate([np.zeros((2, padding, 2)), x.numpy()], axis=1)
    maps = np.zeros((2, 4, length))
    for b in range(2):
        for o in range(4):
            for t in range(length):
                maps[b, o, t] = max(0.0, sum(kernel[o, c, k] * padded[b, 2 * t + k, c] for c in range(2) for k in range(3)))
    expected = maps.reshape(2, -1) @ network.head.weight.detach().numpy().T + network.head.bias.detach().numpy()
    np.testing.assert_allclose(network(x).detach().numpy(), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("network", "told"),
    [
        ({"cell": "lstm", "hidden": 3}, "no such argument"),
        ({"cell": "lstm"}, "hidden_size"),
        ({"cell": "lsmt", "hidden_size": 3}, "one of elman, lstm, gru"),
        ({"cell": "lstm", "hidden_size": "3"}, "whole number"),
        ({"cell": "lstm", "hidden_size": True}, "whole number"),
        ({"cell": "lstm", "hidden_size": 3, "dropout": "no"}, "a number"),
        ({"cell": "lstm", "hidden_size": 3, "num_features": 9}, "no such argument"),
    ],
)
def test_arguments_that_do_not_fit_are_named(network: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        check_arguments(Recurrent, "recurrent", network)


def test_numbers_that_do_not_fit_are_refused() -> None:
    for bad in ({"hidden_size": 0}, {"num_layers": 0}, {"dropout": 1.0}):
        with pytest.raises(ValueError, match="at least"):
            Recurrent(**{"num_features": 1, "lookback": 3, "horizon": 1, "cell": "gru", "hidden_size": 2} | bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="elman"):
        Recurrent(num_features=1, lookback=3, horizon=1, cell="gru", hidden_size=2, nonlinearity="relu")
    with pytest.raises(ValueError, match="unknown family"):
        build_forecaster("transformer", {}, WindowParams(1, {"y": FeatureWindow(1)}))


def test_every_family_has_its_file_and_keyword_arguments_only() -> None:
    for family, kind in FAMILIES.items():
        assert kind.__module__ == f"models.{family}"
        names = inspect.signature(kind).parameters.values()
        assert all(p.kind is inspect.Parameter.KEYWORD_ONLY for p in names), family
