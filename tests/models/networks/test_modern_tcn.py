"""Convolution over patches against its formula in numpy; numbers out of range."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from models.networks.modern_tcn import ModernTcn


def _weights(module: nn.Module) -> dict[str, np.ndarray]:
    return {name: value.detach().double().numpy() for name, value in module.named_parameters()}


def _random(module: nn.Module) -> None:
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.4)


@pytest.mark.parametrize(("lookback", "size", "stride"), [(20, 8, 4), (13, 4, 3), (2, 8, 4), (9, 5, 5)])
def test_convolution_over_patches_equals_its_formula(lookback: int, size: int, stride: int, map_of) -> None:
    torch.manual_seed(lookback)
    network = ModernTcn(
        num_features=2, lookback=lookback, horizon=3, outputs=2, channels=4, patch_size=size, patch_stride=stride, kernel_size=3
    ).eval()
    _random(network)
    head, bias = map_of(network.head)
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
        expected = head @ x_PC.ravel() + bias
        np.testing.assert_allclose(found, expected.reshape(3, 2), atol=1e-4)


def test_the_newest_patch_ends_with_the_window_whatever_the_lookback() -> None:
    for lookback in range(1, 30):
        network = ModernTcn(num_features=1, lookback=lookback, horizon=1, channels=4, kernel_size=1).double().eval()
        x = torch.randn(1, lookback, 1, dtype=torch.float64, requires_grad=True)
        network(x).sum().backward()
        assert x.grad is not None and (x.grad[0, :, 0] != 0).all(), lookback


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"channels": 0}, "at least"),
        ({"channels": 1}, "at least 2"),
        ({"channels": 4, "kernel_size": 4}, "odd"),
        ({"channels": 4, "patch_size": 2, "patch_stride": 5}, "at most patch_size"),
        ({"channels": 4, "dropout": 1.0}, "below 1"),
    ],
)
def test_numbers_out_of_range_are_refused(bad: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ModernTcn(num_features=1, lookback=3, horizon=1, **bad)
