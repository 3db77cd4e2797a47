"""The dilated LSTM stack against a loop whose states come from t - dilation, written out in numpy."""

import numpy as np
import pytest
import torch
from torch import nn

from models.networks.dilated_lstm import DilatedLstm


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
