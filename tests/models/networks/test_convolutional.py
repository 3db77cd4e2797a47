"""Convolutions, each pooling and the LSTM above them against their formulas written out in numpy; shapes, export, gradients."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models.networks.convolutional import CnnLstm, Convolutional, Pooling, convolution_stack
from tests.models.networks.exported import check_export

POOLINGS: list[Pooling] = ["none", "max", "min", "average"]
SIZES = [(1, 1, 1), (3, 7, 2), (5, 1, 12), (2, 30, 5)]
each_pooling = pytest.mark.parametrize("pooling", POOLINGS)
each_kind = pytest.mark.parametrize("kind", ["cnn", "cnn_lstm"])


def _build(kind: str, features: int, lookback: int, horizon: int, outputs: int = 1, **arguments) -> nn.Module:
    torch.manual_seed(0)
    sizes = {"num_features": features, "lookback": lookback, "horizon": horizon, "outputs": outputs, "channels": 6}
    return Convolutional(**sizes | arguments) if kind == "cnn" else CnnLstm(**sizes | {"hidden_size": 5} | arguments)


def _maps(convolutions: nn.Sequential, x_LF: np.ndarray, kernel_size: int, stride: int, pooling: str, size: int) -> np.ndarray:
    """[L, F] -> [T, C]: the sum of each place, what lies before the window 0, then the pools from the oldest step on."""
    for layer in convolutions:
        if not isinstance(layer, nn.Conv1d):
            continue
        weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
        length = len(x_LF)
        newest = [length - 1 - stride * i for i in range(-(-length // stride))][::-1]  # the last step of each place
        maps = np.zeros((len(newest), len(bias)))
        for t, end in enumerate(newest):
            maps[t] = bias
            for k in range(kernel_size):
                if (step := end - (kernel_size - 1) + k) >= 0:
                    maps[t] += weight[:, :, k] @ x_LF[step]
        maps = np.maximum(maps, 0)
        if pooling != "none":
            summary = {"max": np.max, "min": np.min, "average": np.mean}[pooling]
            maps = np.stack([summary(maps[i : i + size], axis=0) for i in range(0, len(maps), size)])
        x_LF = maps
    return x_LF


@each_pooling
@pytest.mark.parametrize(
    ("lookback", "kernel_size", "stride", "size"), [(13, 3, 1, 2), (14, 4, 2, 3), (2, 3, 1, 5), (11, 1, 3, 2)]
)
def test_a_stack_with_pooling_equals_its_sums_and_pools_written_out(
    pooling, lookback, kernel_size, stride, size, map_of
) -> None:
    arguments = {"kernel_size": kernel_size, "stride": stride, "pooling": pooling, "pool_size": size}
    network = _build("cnn", 3, lookback, 2, 4, **arguments).double()
    for bias in (layer.bias for layer in network.convolutions if isinstance(layer, nn.Conv1d)):
        nn.init.uniform_(bias, 0.1, 1.0)  # so that no map is 0 all along
    x = torch.randn(3, lookback, 3).double()
    head, bias = map_of(network.head)
    for window, found in zip(x.numpy(), network(x).detach().numpy(), strict=True):
        maps = _maps(network.convolutions, window, kernel_size, stride, pooling, size)
        assert (maps > 0).any()
        np.testing.assert_allclose(found, (head @ maps.T.reshape(-1) + bias).reshape(2, 4), atol=1e-12)


def test_the_lstm_runs_over_the_maps(map_of) -> None:
    network = _build("cnn_lstm", 2, 12, 3, 2, pooling="max").double()
    weights = {name: p.detach().numpy() for name, p in network.lstm.recurrence.named_parameters()}
    x = torch.randn(4, 12, 2).double()
    head, bias = map_of(network.lstm.head)
    for window, found in zip(x.numpy(), network(x).detach().numpy(), strict=True):
        h, memory = np.zeros(5), np.zeros(5)
        for step in _maps(network.convolutions, window, 3, 1, "max", 2):
            total = weights["weight_ih_l0"] @ step + weights["bias_ih_l0"] + weights["weight_hh_l0"] @ h + weights["bias_hh_l0"]
            i, f, g, o = np.split(total, 4)
            memory = memory / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
            h = np.tanh(memory) / (1 + np.exp(-o))
        expected = head @ h + bias
        np.testing.assert_allclose(found, expected.reshape(3, 2), atol=1e-12)


def test_pools_at_the_border_never_invent_extremes() -> None:
    """Maps that are 7 everywhere stay 7 in every pool, also in one that has fewer steps than the others."""
    for pooling in POOLINGS[1:]:
        stack, length = convolution_stack(1, 7, 2, 1, 1, 1, pooling, 4)
        nn.init.zeros_(stack[1].weight)
        nn.init.constant_(stack[1].bias, 7.0)
        assert length == 2
        assert stack(torch.randn(3, 1, 7)).tolist() == [[[7.0, 7.0]] * 2] * 3


@pytest.mark.parametrize("lookback", [1, 2, 3, 8])
@each_pooling
def test_a_window_too_short_for_a_pool_keeps_one_step(pooling: Pooling, lookback: int) -> None:
    stack, length = convolution_stack(2, lookback, 4, 3, 3, 1, pooling, 9)
    assert length == (lookback if pooling == "none" else 1)
    assert stack(torch.randn(2, 2, lookback)).shape == (2, 4, length)


def _with_pattern_at(place: int, pattern: Tensor, lookback: int) -> Tensor:
    window = torch.zeros(1, pattern.shape[0], lookback, dtype=pattern.dtype)
    window[..., place : place + pattern.shape[1]] = pattern
    return window


@each_pooling
def test_maps_move_with_a_pattern(pooling: Pooling) -> None:
    """A pattern at another place gives the same maps at another place: it is found wherever it stands."""
    torch.manual_seed(5)
    stack, _ = convolution_stack(2, 64, 8, 3, 2, 1, pooling, 2)
    stack, pattern = stack.double(), torch.randn(2, 5).double()
    step = 1 if pooling == "none" else 4  # two pools of two steps: the maps move by one place
    first = stack(_with_pattern_at(16, pattern, 64))
    assert first.amax() > 0.1
    for moved in (1, 2, 5):
        second = stack(_with_pattern_at(16 + moved * step, pattern, 64))
        torch.testing.assert_close(second[..., moved:], first[..., :-moved])
        torch.testing.assert_close(second.amax(-1), first.amax(-1))


def test_the_newest_step_is_always_read() -> None:
    for lookback in range(1, 12):
        for kernel_size, stride in ((1, 3), (2, 3), (3, 2), (5, 4)):
            stack, _ = convolution_stack(1, lookback, 4, kernel_size, 1, stride, "none", 2)
            x = torch.randn(16, 1, lookback, requires_grad=True)
            stack(x).sum().backward()
            assert x.grad[..., -1].abs().sum() > 0, (lookback, kernel_size, stride)


@each_kind
@each_pooling
@pytest.mark.parametrize(("features", "lookback", "horizon"), SIZES)
@pytest.mark.parametrize("outputs", [1, 4])
def test_any_size_gives_one_forecast_a_step_and_output(kind, pooling, features, lookback, horizon, outputs) -> None:
    network = _build(kind, features, lookback, horizon, outputs, pooling=pooling)
    found = network(torch.randn(6, lookback, features))
    assert found.shape == (6, horizon, outputs) and found.isfinite().all()
    with torch.device("meta"):
        assert _build(kind, features, lookback, horizon, outputs, pooling=pooling)(
            torch.zeros(2, lookback, features)
        ).shape == (2, horizon, outputs)


@each_kind
@each_pooling
@pytest.mark.parametrize(("features", "lookback", "horizon"), SIZES)
def test_every_parameter_gets_a_gradient(kind, pooling, features, lookback, horizon) -> None:
    network = _build(kind, features, lookback, horizon, pooling=pooling, dropout=0.1)
    network(torch.randn(256, lookback, features))[..., 0].square().mean().backward()
    for name, parameter in network.named_parameters():
        if lookback > 1 or not name.endswith("weight_hh_l0"):  # one step: nothing is carried
            assert parameter.grad.abs().sum() > 0, name


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The tensor attributes .*_flat_weights")  # torch's LSTM keeps a list of its weights
@each_kind
@each_pooling
def test_an_exported_network_forecasts_the_same_for_any_batch(kind, pooling) -> None:
    network = _build(kind, 3, 13, 4, 2, pooling=pooling, stride=2, dropout=0.2).eval()
    check_export(network, lambda batch: (torch.randn(batch, 13, 3),))


@each_kind
def test_a_forecast_knows_nothing_of_the_other_windows(kind: str) -> None:
    network = _build(kind, 2, 9, 3, pooling="average", dropout=0.5).eval()
    x = torch.randn(5, 9, 2)
    torch.testing.assert_close(network(x), torch.cat([network(window[None]) for window in x]))


@each_kind
def test_numbers_out_of_range_are_refused(kind: str) -> None:
    bad = [{"channels": 0}, {"kernel_size": 0}, {"num_layers": 0}, {"stride": 0}, {"dropout": 1.0}, {"dropout": -0.1}]
    for arguments in [*bad, {"pooling": "max", "pool_size": 1}]:
        with pytest.raises(ValueError, match="at least"):
            _build(kind, 1, 3, 1, **arguments)
    with pytest.raises(ValueError, match="none, max, min, average, not 'mean'"):
        _build(kind, 1, 3, 1, pooling="mean")
