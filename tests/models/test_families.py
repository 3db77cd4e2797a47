"""families.py, forecaster.py, networks/recurrent.py, layers.py: the contract of every variant; cells against their formulas."""

import inspect
from dataclasses import replace

import numpy as np
import pytest
import torch

from models import build_forecaster, serving
from models.checks import CHECKS, Subject
from models.data.origins import origin_rows
from models.data.panel import Panel, Split
from models.data.scaling import fit_scaling
from models.data.window import FeatureWindow, WindowParams
from models.data.windows import Inputs, Windows
from models.exported import export
from models.families import FAMILIES
from models.fit.losses import pinball_loss
from models.fit.settings import own_generators
from models.fit.step import batch_loss
from models.networks.contract import check_arguments, takes
from models.networks.recurrent import Recurrent
from params.load import load_variant, variant_names

ALL = [
    one for one in (load_variant(name, "params/smoke.yaml") for name in variant_names()) if not one.members
]  # an ensemble has no network of its own
each_variant = pytest.mark.parametrize("variant", ALL, ids=lambda v: v.variant)
QUANTILES = (0.05, 0.5, 0.95)
UNEVEN = (0.1, 0.3, 0.5, 0.9)
NINE = tuple(round(0.1 * k, 1) for k in range(1, 10))


@each_variant
@pytest.mark.parametrize("check", [one for one in CHECKS if one.name != "export"], ids=lambda one: one.name)
def test_a_variant_keeps_the_contract(variant, check) -> None:
    with own_generators():
        check.test(Subject(variant.family, variant.network))


@each_variant
def test_forecasts_are_finite_and_every_parameter_gets_a_gradient(
    variant, panel: Panel, params: WindowParams, split: Split
) -> None:
    torch.manual_seed(0)
    scaling = fit_scaling(panel, params, split, "series")
    forecaster = build_forecaster(variant.family, variant.network, params, level="last", scaling=scaling, quantiles=QUANTILES)
    windows = Windows(panel, params, origin_rows(panel, params, split, "train", 1))
    inputs, y = windows.batch(torch.arange(64))
    forecast = forecaster.eval()(*inputs)
    assert forecast.shape == (64, 4, 1 + len(forecaster.quantiles))
    assert torch.isfinite(forecast).all()
    assert (forecast[..., 1:].diff(dim=-1) >= 0).all()
    if forecaster.dense:
        inputs, y = windows.dense().batch(torch.arange(64))
    batch_loss(forecaster.train(), inputs, y, "mae").backward()  # type: ignore[no-untyped-call]
    for name, parameter in forecaster.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


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


@each_variant
def test_quantiles_never_cross_whatever_the_weights(variant, params: WindowParams) -> None:
    forecaster = build_forecaster(variant.family, variant.network, params, level="revin", transform="log1p", quantiles=NINE)
    inputs = Inputs.zeros(params, 16)._replace(past_BLF=torch.rand(16, params.lookback, 2))
    for seed in range(5):
        torch.manual_seed(seed)
        for parameter in forecaster.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
        found = forecaster.eval()(*inputs)
        assert found.shape[-1] in (1, 1 + len(NINE)) and (found[..., 1:].diff(dim=-1) >= 0).all()


@pytest.mark.parametrize("quantiles", [QUANTILES, NINE, UNEVEN, (0.1, 0.9), (0.9,)], ids=str)
@pytest.mark.parametrize("level", ["last", "revin"])
def test_quantiles_begin_as_a_normal_distribution_around_the_point(
    quantiles, level, panel: Panel, params: WindowParams, split: Split
) -> None:
    """Of the spread of each step, in units of the window's own where that is taken out."""
    torch.manual_seed(0)
    scaling = fit_scaling(panel, params, split, "series")
    forecaster = build_forecaster("dense", {"hidden_size": 4}, params, level=level, scaling=scaling, quantiles=quantiles).eval()
    forecaster.reach_H.copy_(torch.tensor([0.1, 0.2, 0.5, 1.0]))
    inputs, _ = Windows(panel, params, origin_rows(panel, params, split, "train", 1)).batch(torch.arange(64))
    found = forecaster.scaled(*inputs).detach()
    spread = forecaster.reach_H[:, None] * forecaster.inputs(*inputs).spread_B1[:, None]
    expected = torch.distributions.Normal(found[..., :1], spread).icdf(torch.tensor(quantiles))
    torch.testing.assert_close(found[..., 1:], expected, rtol=1e-4, atol=1e-5, check_dtype=False)


@each_variant
@pytest.mark.parametrize("point", ["median", "mean"])
def test_a_point_that_is_made_of_the_quantiles(variant, point, panel: Panel, params: WindowParams, split: Split) -> None:
    """Held against numpy, in raw units; every weight that there is gets a gradient, and the loss is that of the quantiles."""
    torch.manual_seed(0)
    scaling = fit_scaling(panel, params, split, "series", "standard", "log1p")
    about = {"level": "revin", "transform": "log1p", "scaling": scaling, "quantiles": UNEVEN, "point": point}
    forecaster = build_forecaster(variant.family, variant.network, params, **about)
    windows = Windows(panel, params, origin_rows(panel, params, split, "train", 1))
    inputs, y = (windows.dense() if forecaster.dense else windows).batch(torch.arange(64))
    loss = batch_loss(forecaster.train(), inputs, y, "mse")
    if not takes(FAMILIES[variant.family], "outputs"):
        assert forecaster.point is None and forecaster.quantiles == ()
        return
    loss.backward()  # type: ignore[no-untyped-call]
    for name, parameter in forecaster.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    found = forecaster.eval()(*windows.inputs(windows.origins[:64])).detach().numpy()
    point_BH, quantiles = found[..., 0], found[..., 1:]
    assert quantiles.shape[-1] == 4 and (np.diff(quantiles) >= 0).all()
    # by hand: 0.1 stands for 0 .. 0.2, 0.3 for 0.2 .. 0.4, 0.5 for 0.4 .. 0.7, 0.9 for 0.7 .. 1
    expected = quantiles[..., 2] if point == "median" else quantiles @ np.array([0.2, 0.2, 0.3, 0.3])
    np.testing.assert_allclose(point_BH, expected, rtol=1e-6)
    other = build_forecaster(variant.family, variant.network, params, **about | {"point": None})
    assert sum(p.numel() for p in forecaster.parameters()) < sum(p.numel() for p in other.parameters())


@pytest.mark.parametrize(
    ("quantiles", "point", "told"),
    [
        ((), "median", "needs 0.5"),
        ((0.1, 0.9), "median", "needs 0.5"),
        ((), "mean", "below and above"),
        ((0.5, 0.9), "mean", "below and"),
    ],
)
def test_levels_that_do_not_say_the_point_are_refused(quantiles, point, told: str, params: WindowParams) -> None:
    with pytest.raises(ValueError, match=f"training.point: {point} .*{told}"):
        build_forecaster("dense", {"hidden_size": 2}, params, quantiles=quantiles, point=point)


@pytest.mark.slow
@pytest.mark.parametrize("point", ["median", "mean"])
def test_a_point_of_the_quantiles_is_in_the_exported_graph(point, params: WindowParams) -> None:
    torch.manual_seed(6)
    about = {"level": "last", "transform": "asinh", "quantiles": UNEVEN, "point": point}
    forecaster = build_forecaster("recurrent", {"cell": "gru", "hidden_size": 4}, params, **about).eval()
    graph = serving.open_graph(export(forecaster, params))
    inputs = Inputs.zeros(params, 7)._replace(past_BLF=torch.randn(7, params.lookback, 2))
    torch.testing.assert_close(graph(*inputs), forecaster(*inputs), rtol=1e-5, atol=1e-5)


@each_variant
def test_one_batch_overfits(variant, panel: Panel, params: WindowParams, split: Split) -> None:
    """A few steps on one batch halve its loss: gradients point down hill, through every layer."""
    if variant.family == "ridge":
        return
    torch.manual_seed(5)
    scaling = fit_scaling(panel, params, split, "series")
    forecaster = build_forecaster(variant.family, variant.network, params, level="last", scaling=scaling).eval()
    windows = Windows(panel, params, origin_rows(panel, params, split, "train", 1))
    inputs, y = windows.batch(torch.arange(0, 128, 8))
    optimizer = torch.optim.Adam(forecaster.parameters(), lr=1e-2)
    losses = []
    for _ in range(80):
        optimizer.zero_grad()
        loss = batch_loss(forecaster, inputs, y, "mse")
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]


@each_variant
def test_the_same_seed_gives_the_same_weights_and_loss(variant, panel: Panel, params: WindowParams, split: Split) -> None:
    windows = Windows(panel, params, origin_rows(panel, params, split, "train", 1))
    losses = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        forecaster = build_forecaster(variant.family, variant.network, params, level="last", quantiles=QUANTILES)
        inputs, y = (windows.dense() if forecaster.dense else windows).batch(torch.arange(32))
        losses.append(float(batch_loss(forecaster.train(), inputs, y, "huber").detach()))
    assert losses[0] == losses[1]
    assert losses[0] != losses[2] or variant.network == {} or variant.family in ("linear", "sparse_tsf")  # these draw nothing


@pytest.mark.slow
@each_variant
def test_an_exported_graph_forecasts_the_same(variant, params: WindowParams, panel: Panel) -> None:
    torch.manual_seed(6)
    known = replace(params, future=("promo",))
    forecaster = build_forecaster(variant.family, variant.network, known, level="last", quantiles=QUANTILES).eval()
    graph = serving.open_graph(export(forecaster, known))
    for size in (1, 2, 7):
        inputs = Inputs.zeros(known, size)._replace(past_BLF=torch.randn(size, known.lookback, 2))
        torch.testing.assert_close(graph(*inputs), forecaster(*inputs), rtol=1e-5, atol=1e-5)


def test_targets_of_every_sample_are_rows_after_its_own_moment(panel: Panel) -> None:
    """By hand: sample j of a clock with rate 3 stands at row t - 3 (L - 1 - j); its targets are the next rows after the gap."""
    params = WindowParams(4, {"y": FeatureWindow(5, 3), "x": FeatureWindow(2, 9, 4)}, gap=2)
    windows = Windows(panel, params, origin_rows(panel, params, None, "", 7)).dense()
    forecaster = build_forecaster("recurrent", {"cell": "gru", "hidden_size": 2}, params)
    _, y_BT = windows.batch(torch.arange(len(windows)))
    found = forecaster.every_target(y_BT)
    assert found.shape == (len(windows), 5, 4)
    for row, t in enumerate(windows.origins.tolist()):
        for j in range(5):
            own = t - 3 * (4 - j)
            np.testing.assert_array_equal(found[row, j].numpy(), panel.target[own + 3 : own + 7])


def test_the_loss_of_quantiles_is_the_mean_pinball_loss() -> None:
    quantiles, y = torch.tensor([[[0.0, 5.0]], [[9.0, 9.0]]]), torch.tensor([[2.0], [torch.nan]])
    # by hand: the mean of 0.1 * (2 - 0) and (1 - 0.8) * (5 - 2); the missing target counts nowhere
    assert float(pinball_loss(quantiles, y, torch.tensor([0.1, 0.8]))) == pytest.approx((0.2 + 0.6) / 2)
    assert float(pinball_loss(quantiles, y, torch.tensor([0.1, 0.8]), torch.tensor(4))) == pytest.approx(0.4 / 4)
    assert float(pinball_loss(quantiles[..., :0], y, torch.empty(0))) == 0


def test_a_dense_network_learns_its_quantiles_at_the_newest_sample_alone(
    panel: Panel, params: WindowParams, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss by hand, of what the same weights forecast in use from each window cut off at a sample; where the point is made
    of the quantiles, these are learnt at every sample."""
    scaling = fit_scaling(panel, params, split, "series")
    windows = Windows(panel, params, origin_rows(panel, params, split, "train", 1))
    inputs, y_BT = windows.dense().batch(torch.arange(20, 50))
    levels = np.array(UNEVEN)
    for point in (None, "median"):
        torch.manual_seed(4)
        about = {"level": "last", "scaling": scaling, "quantiles": UNEVEN, "point": point}
        forecaster = build_forecaster("seq2seq", {"hidden_size": 5}, params, **about)
        torch.nn.init.normal_(forecaster.network.head.weight)
        loss = float(batch_loss(forecaster.train(), inputs, y_BT, "mae").detach())
        seen = forecaster.eval().inputs(*inputs)
        targets_BLH = forecaster.every_target(forecaster.scale_targets(y_BT, inputs.series_B) - seen.level_B1).numpy()
        errors = []
        for sample in range(params.lookback):
            up_to = seen._replace(x_BLN=seen.x_BLN[:, : sample + 1])
            monkeypatch.setattr(forecaster, "inputs", lambda *_, up_to=up_to: up_to)
            point_BH, quantiles_BHQ, _ = (part.detach().numpy() for part in forecaster.above_level(inputs))
            over_BHQ = targets_BLH[:, sample, :, None] - quantiles_BHQ
            errors.append((np.abs(targets_BLH[:, sample] - point_BH), np.maximum(levels * over_BHQ, (levels - 1) * over_BHQ)))
        of_point, pinball = (np.stack(parts, 1) for parts in zip(*errors, strict=True))
        expected = np.nanmean(pinball) if point else np.nanmean(of_point) + np.nanmean(pinball[:, -1])
        assert loss == pytest.approx(expected, rel=1e-5)


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
    for window, found in zip(x.double().numpy(), network(x)[..., 0].detach().numpy(), strict=True):
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


def test_every_family_is_used_lies_in_models_and_takes_keyword_arguments_only() -> None:
    assert set(FAMILIES) == {variant.family for variant in ALL}
    for family, kind in FAMILIES.items():
        assert kind.__module__.startswith("models.")
        names = inspect.signature(kind).parameters.values()
        assert all(p.kind is inspect.Parameter.KEYWORD_ONLY for p in names), family
