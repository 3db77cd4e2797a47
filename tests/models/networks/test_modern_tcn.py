"""Convolution over patches against its formula in numpy; shapes, export, gradients."""

import math
import operator

import numpy as np
import pytest
import torch
from torch import nn

from models.networks.modern_tcn import ModernTcn

SIZES = [(1, 1, 1), (3, 7, 2), (5, 1, 12), (2, 30, 5)]
OWN = {"channels": 6, "num_blocks": 2}


def _weights(module: nn.Module) -> dict[str, np.ndarray]:
    return {name: value.detach().double().numpy() for name, value in module.named_parameters()}


def _random(module: nn.Module) -> None:
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.4)


@pytest.mark.parametrize(("lookback", "size", "stride"), [(20, 8, 4), (13, 4, 3), (2, 8, 4), (9, 5, 5)])
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


@pytest.mark.parametrize(("features", "lookback", "horizon"), SIZES)
@pytest.mark.parametrize("outputs", [1, 4])
def test_any_size_gives_a_forecast_and_a_gradient_in_every_parameter(features, lookback, horizon, outputs) -> None:
    torch.manual_seed(0)
    sizes = {"num_features": features, "lookback": lookback, "horizon": horizon, "outputs": outputs}
    network = ModernTcn(**sizes, **OWN, dropout=0.1)
    found = network(torch.randn(64, lookback, features))
    assert found.shape == (64, horizon, outputs) and torch.isfinite(found).all()
    found[..., 0].square().mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    with torch.device("meta"):
        assert ModernTcn(**sizes, **OWN)(torch.zeros(2, lookback, features)).shape == found[:2].shape
    assert network.double().eval()(torch.zeros(2, lookback, features, dtype=torch.float64)).dtype == torch.float64


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The tensor attributes .*_flat_weights")  # torch keeps a list of the weights
@pytest.mark.parametrize("lookback", [1, 12, 13])
def test_an_exported_network_forecasts_the_same_for_any_batch(lookback) -> None:
    torch.manual_seed(1)
    network = ModernTcn(num_features=3, lookback=lookback, horizon=4, outputs=2, **OWN, dropout=0.2).eval()
    dynamic = ({0: torch.export.Dim.DYNAMIC},)
    exported = torch.export.export(network, (torch.zeros(2, lookback, 3),), dynamic_shapes=dynamic)
    called = {node.target for node in exported.graph.nodes if node.op == "call_function"} - {operator.getitem}
    assert all(str(target).startswith("aten.") for target in called), called
    for batch in (1, 2, 7):
        x = torch.randn(batch, lookback, 3)
        torch.testing.assert_close(exported.module()(x), network(x), rtol=1e-5, atol=1e-5)
