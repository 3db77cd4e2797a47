"""The dilated LSTM stack against a loop whose states come from t - dilation, written out in numpy."""

import operator

import numpy as np
import pytest
import torch
from torch import nn

from models.networks.dilated_lstm import DilatedLstm

SIZES = [(1, 1, 1), (3, 7, 2), (5, 1, 12), (2, 30, 5)]


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _layer(weights: dict[str, np.ndarray], x_LF: np.ndarray, dilation: int, hidden: int) -> np.ndarray:
    """Every state from the state `dilation` samples before it; zeros stand before the window up to a whole multiple."""
    padding = -len(x_LF) % dilation
    x_LF = np.concatenate([np.zeros((padding, x_LF.shape[1])), x_LF])
    states = np.zeros((len(x_LF) + dilation, hidden))  # the first `dilation` rows are the zero states before the window
    memory = np.zeros_like(states)
    for t, x in enumerate(x_LF):
        gates = (
            weights["weight_ih_l0"] @ x + weights["bias_ih_l0"] + weights["weight_hh_l0"] @ states[t] + weights["bias_hh_l0"]
        )
        i, f, g, o = np.split(gates, 4)
        memory[t + dilation] = _sigmoid(f) * memory[t] + _sigmoid(i) * np.tanh(g)
        states[t + dilation] = _sigmoid(o) * np.tanh(memory[t + dilation])
    return states[dilation + padding :]


def _numpy(module: nn.Module) -> dict[str, np.ndarray]:
    return {name: value.detach().double().numpy() for name, value in module.named_parameters()}


@pytest.mark.parametrize("lookback", [1, 2, 7, 8, 13])
@pytest.mark.parametrize("num_layers", [1, 2, 3, 5])
def test_the_stack_equals_a_loop_over_every_sample_of_every_layer(lookback: int, num_layers: int, map_of) -> None:
    torch.manual_seed(3)
    network = DilatedLstm(num_features=2, lookback=lookback, horizon=3, outputs=2, hidden_size=4, num_layers=num_layers).eval()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.5)
    x = torch.randn(3, lookback, 2)
    head, bias = map_of(network.head)
    for window, found in zip(x.double().numpy(), network(x).detach().numpy(), strict=True):
        states = _layer(_numpy(network.layers[0]), window, 1, 4)
        for number in range(1, num_layers):
            states = states + _layer(_numpy(network.layers[number]), states, 2**number, 4)
        np.testing.assert_allclose(found, (head @ states[-1] + bias).reshape(3, 2), atol=1e-5)


@pytest.mark.parametrize("bad", [{"hidden_size": 0}, {"hidden_size": 4, "num_layers": 0}, {"hidden_size": 4, "dropout": 1.0}])
def test_numbers_out_of_range_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="at least"):
        DilatedLstm(num_features=1, lookback=3, horizon=1, **bad)  # type: ignore[arg-type]


@pytest.mark.parametrize(("features", "lookback", "horizon"), SIZES)
@pytest.mark.parametrize("outputs", [1, 4])
def test_any_size_gives_a_forecast_and_a_gradient_in_every_parameter(features, lookback, horizon, outputs) -> None:
    torch.manual_seed(0)
    sizes = {"num_features": features, "lookback": lookback, "horizon": horizon, "outputs": outputs}
    network = DilatedLstm(**sizes, hidden_size=6, dropout=0.1)
    found = network(torch.randn(64, lookback, features))
    assert found.shape == (64, horizon, outputs) and torch.isfinite(found).all()
    (found + 1).square().mean().backward()  # outputs after the first begin at zero
    for name, parameter in network.named_parameters():
        if lookback == 1 and "weight_hh" in name:
            continue  # a window of one sample has no state before it
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    with torch.device("meta"):
        assert DilatedLstm(**sizes, hidden_size=6)(torch.zeros(2, lookback, features)).shape == found[:2].shape
    assert network.double().eval()(torch.zeros(2, lookback, features, dtype=torch.float64)).dtype == torch.float64


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The tensor attributes .*_flat_weights")  # torch keeps a list of the weights
@pytest.mark.parametrize("lookback", [1, 12, 13])
def test_an_exported_network_forecasts_the_same_for_any_batch(lookback) -> None:
    torch.manual_seed(1)
    network = DilatedLstm(num_features=3, lookback=lookback, horizon=4, outputs=2, hidden_size=6, dropout=0.2).eval()
    dynamic = ({0: torch.export.Dim.DYNAMIC},)
    exported = torch.export.export(network, (torch.zeros(2, lookback, 3),), dynamic_shapes=dynamic)
    called = {node.target for node in exported.graph.nodes if node.op == "call_function"} - {operator.getitem}
    assert all(str(target).startswith("aten.") for target in called), called
    for batch in (1, 2, 7):
        x = torch.randn(batch, lookback, 3)
        torch.testing.assert_close(exported.module()(x), network(x), rtol=1e-5, atol=1e-5)
