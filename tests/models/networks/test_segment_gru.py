"""The GRU over segments against its formula in numpy; numbers out of range."""

import numpy as np
import pytest
import torch
from torch import nn

from models.networks.segment_gru import SegmentGru


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _weights(module: nn.Module) -> dict[str, np.ndarray]:
    return {name: value.detach().double().numpy() for name, value in module.named_parameters()}


def _random(module: nn.Module) -> None:
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.4)


def _gru_step(weights: dict[str, np.ndarray], x: np.ndarray, h: np.ndarray) -> np.ndarray:
    w, u = weights["recurrence.weight_ih_l0"], weights["recurrence.weight_hh_l0"]
    ri, zi, ni = np.split(w @ x + weights["recurrence.bias_ih_l0"], 3)
    rh, zh, nh = np.split(u @ h + weights["recurrence.bias_hh_l0"], 3)
    r, z = _sigmoid(ri + rh), _sigmoid(zi + zh)
    return (1 - z) * np.tanh(ni + r * nh) + z * h


@pytest.mark.parametrize(("lookback", "horizon"), [(12, 8), (10, 6), (1, 1), (3, 9)])
def test_a_gru_over_segments_equals_its_formula(lookback: int, horizon: int, map_of) -> None:
    torch.manual_seed(lookback)
    network = SegmentGru(num_features=2, lookback=lookback, horizon=horizon, outputs=3, hidden_size=5, segment=4).eval()
    _random(network)
    head, bias = map_of(network.head)
    x, weights = torch.randn(3, lookback, 2), _weights(network)
    for window, found in zip(x.double().numpy(), network(x).detach().numpy(), strict=True):
        padded = np.concatenate([np.zeros((-lookback % 4, 2)), window])
        h = np.zeros(5)
        for start in range(0, len(padded), 4):
            entered = weights["enter.weight"] @ padded[start : start + 4].ravel() + weights["enter.bias"]
            h = _gru_step(weights, np.maximum(entered, 0), h)
        steps = []
        for place in weights["places"]:
            state = _gru_step(weights, place, h)
            steps.append((head @ state + bias).reshape(4, 3))
        np.testing.assert_allclose(found, np.concatenate(steps)[:horizon], atol=1e-5)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"hidden_size": 0}, "at least"),
        ({"hidden_size": 4, "segment": 0}, "at least"),
    ],
)
def test_numbers_out_of_range_are_refused(bad: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SegmentGru(num_features=1, lookback=3, horizon=1, **bad)
