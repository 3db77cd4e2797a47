"""Recurrence over segments and convolution over patches against their formulas in numpy."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from models.modern import ModernTcn, SegmentGru


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
def test_a_gru_over_segments_equals_its_formula(lookback: int, horizon: int) -> None:
    torch.manual_seed(lookback)
    network = SegmentGru(num_features=2, lookback=lookback, horizon=horizon, outputs=3, hidden_size=5, segment=4).eval()
    _random(network)
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
            steps.append((weights["head.weight"] @ state + weights["head.bias"]).reshape(4, 3))
        np.testing.assert_allclose(found, np.concatenate(steps)[:horizon], atol=1e-5)


@pytest.mark.parametrize(("lookback", "size", "stride"), [(20, 8, 4), (13, 4, 3), (2, 8, 4), (9, 2, 5)])
def test_convolution_over_patches_equals_its_formula(lookback: int, size: int, stride: int) -> None:
    torch.manual_seed(lookback)
    network = ModernTcn(
        num_features=2, lookback=lookback, horizon=3, outputs=2, channels=4, patch_size=size, patch_stride=stride, kernel_size=3
    ).eval()
    _random(network)
    x, weights = torch.randn(2, lookback, 2), _weights(network)
    patches = 1 + max(0, math.ceil((lookback - size) / stride))
    erf = np.vectorize(math.erf)
    for window, found in zip(x.double().numpy(), network(x).detach().numpy(), strict=True):
        padded = np.concatenate([np.zeros((size + (patches - 1) * stride - lookback, 2)), window])
        kernel = weights["enter.weight"]  # [C, F, size]
        x_PC = (
            np.stack([np.einsum("cfk,kf->c", kernel, padded[p * stride : p * stride + size]) for p in range(patches)])
            + weights["enter.bias"]
        )
        depthwise, half = weights["blocks.0.depthwise.weight"][:, 0], weights["blocks.0.depthwise.weight"].shape[-1] // 2
        around = np.concatenate([np.zeros((half, 4)), x_PC, np.zeros((half, 4))])
        mixed = np.stack([(depthwise.T * around[p : p + 2 * half + 1]).sum(0) for p in range(patches)])
        mixed = mixed + weights["blocks.0.depthwise.bias"]
        centred = mixed - mixed.mean(1, keepdims=True)
        normed = centred / np.sqrt((centred**2).mean(1, keepdims=True) + 1e-5)
        normed = normed * weights["blocks.0.norm.weight"] + weights["blocks.0.norm.bias"]
        wide = normed @ weights["blocks.0.wide.weight"].T + weights["blocks.0.wide.bias"]
        wide = 0.5 * wide * (1 + erf(wide / math.sqrt(2)))
        x_PC = x_PC + wide @ weights["blocks.0.narrow.weight"].T + weights["blocks.0.narrow.bias"]
        expected = weights["head.weight"] @ x_PC.ravel() + weights["head.bias"]
        np.testing.assert_allclose(found, expected.reshape(3, 2), atol=1e-4)


def test_the_newest_patch_ends_with_the_window_whatever_the_lookback() -> None:
    for lookback in range(1, 30):
        network = ModernTcn(num_features=1, lookback=lookback, horizon=1, channels=4, kernel_size=1).double().eval()
        x = torch.randn(1, lookback, 1, dtype=torch.float64, requires_grad=True)
        network(x).sum().backward()
        assert x.grad is not None and (x.grad[0, :, 0] != 0).all(), lookback


@pytest.mark.parametrize(
    ("kind", "bad", "told"),
    [
        (SegmentGru, {"hidden_size": 0}, "at least"),
        (SegmentGru, {"hidden_size": 4, "segment": 0}, "at least"),
        (ModernTcn, {"channels": 0}, "at least"),
        (ModernTcn, {"channels": 4, "kernel_size": 4}, "odd"),
        (ModernTcn, {"channels": 4, "dropout": 1.0}, "below 1"),
    ],
)
def test_numbers_out_of_range_are_refused(kind: type, bad: dict[str, float], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        kind(num_features=1, lookback=3, horizon=1, **bad)
