"""TCN and WaveNet against the dilated sums of their papers in numpy; what they see, measured; shapes, export, gradients."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models.networks.dilated import GatedLayer, ResidualBlock, Tcn, WaveNet
from tests.models.networks.exported import check_export

SIZES = [(1, 1, 1), (3, 7, 2), (5, 1, 12), (2, 30, 5)]
each_kind = pytest.mark.parametrize("kind", [Tcn, WaveNet])


def _build(kind: type[nn.Module], features: int, lookback: int, horizon: int, outputs: int = 1, **arguments) -> nn.Module:
    torch.manual_seed(0)
    sizes = {"num_features": features, "lookback": lookback, "horizon": horizon, "outputs": outputs, "channels": 6}
    network = kind(**sizes | arguments)
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(parameter, std=0.3)  # zero biases would hide what the padding does
    return network


def _dilated(layer: nn.Conv1d, x_TC: np.ndarray, dilation: int) -> np.ndarray:
    """Equation 2 of Bai et al.: the sum over k of the weight k times the step t - dilation k, 0 before the window."""
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    result = np.tile(bias, (len(x_TC), 1))
    for t in range(len(x_TC)):
        for k in range(weight.shape[2]):
            if (step := t - dilation * k) >= 0:
                result[t] += weight[:, :, -1 - k] @ x_TC[step]
    return result


@pytest.mark.parametrize("lookback", [1, 6, 13, 16])
@pytest.mark.parametrize(("features", "kernel_size", "num_blocks"), [(3, 3, 0), (3, 2, 3), (6, 4, 2)])
def test_a_tcn_equals_its_dilated_sums_on_every_step(lookback, features, kernel_size, num_blocks, map_of) -> None:
    network = _build(Tcn, features, lookback, 2, 3, kernel_size=kernel_size, num_blocks=num_blocks).double()
    x = torch.randn(3, lookback, features).double()
    head, bias = map_of(network.head)
    for window, found in zip(x.numpy(), network(x).detach().numpy(), strict=True):
        maps = window
        for i, block in enumerate(network.blocks):
            hidden = np.maximum(_dilated(block.first, maps, 2**i), 0)
            hidden = np.maximum(_dilated(block.second, hidden, 2**i), 0)
            same = isinstance(block.residual, nn.Identity)
            assert same == (i > 0 or features == 6)
            maps = np.maximum(hidden + (maps if same else _dilated(block.residual, maps, 1)), 0)
        expected = head @ maps[-1] + bias
        np.testing.assert_allclose(found, expected.reshape(2, 3), atol=1e-12)


@pytest.mark.parametrize("lookback", [1, 6, 13, 16])
@pytest.mark.parametrize(("kernel_size", "num_layers"), [(2, 0), (2, 3), (3, 2), (2, 1)])
def test_a_wavenet_equals_its_gated_layers_on_every_step(lookback, kernel_size, num_layers, map_of) -> None:
    network = _build(WaveNet, 3, lookback, 2, 3, kernel_size=kernel_size, num_layers=num_layers).double()
    x = torch.randn(3, lookback, 3).double()
    mix, head = (network.mix.weight.detach().numpy(), network.mix.bias.detach().numpy()), map_of(network.head)
    skips = network.skip.weight.detach().numpy().reshape(6, len(network.layers), 6)
    for window, found in zip(x.numpy(), network(x).detach().numpy(), strict=True):
        maps = _dilated(network.enter, window, 1)
        total = network.skip.bias.detach().numpy().copy()
        for i, layer in enumerate(network.layers):
            both = _dilated(layer.gates, maps, 2**i)
            z = np.tanh(both[:, :6]) / (1 + np.exp(-both[:, 6:]))
            total += skips[:, i] @ z[-1]
            maps = maps if layer.residual is None else maps + _dilated(layer.residual, z, 1)
        for weight, bias in (mix, head):
            total = weight @ np.maximum(total, 0) + bias
        np.testing.assert_allclose(found, total.reshape(2, 3), atol=1e-12)


def _seen(network: nn.Module, lookback: int) -> int:
    """How many steps back the oldest input stands that moves the forecast, and that none after it is missed."""
    x = torch.randn(64, lookback, 2).double().requires_grad_()
    network.double()(x).sum().backward()
    moves = (x.grad.abs().sum((0, 2)) > 0).tolist()
    oldest = moves.index(True)
    assert all(moves[oldest:]), "a hole within the receptive field"
    return lookback - oldest


@pytest.mark.parametrize("kernel_size", [2, 3, 5])
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_the_measured_receptive_field_is_the_theoretical_one(kernel_size: int, count: int) -> None:
    reach = (kernel_size - 1) * sum(2**i for i in range(count))
    for extra in (1, 2, 7):  # a lookback longer than the field, even and odd
        tcn = _build(Tcn, 2, 1 + 2 * reach + extra, 1, kernel_size=kernel_size, num_blocks=count)
        wavenet = _build(WaveNet, 2, 1 + reach + extra, 1, kernel_size=kernel_size, num_layers=count)
        assert _seen(tcn, 1 + 2 * reach + extra) == tcn.receptive_field == 1 + 2 * reach
        assert _seen(wavenet, 1 + reach + extra) == wavenet.receptive_field == 1 + reach


@each_kind
@pytest.mark.parametrize("kernel_size", [2, 3])
def test_without_a_number_the_fewest_layers_cover_the_window(kind: type[nn.Module], kernel_size: int) -> None:
    for lookback in (1, 2, 3, 7, 8, 9, 13, 29, 30, 72):
        network = _build(kind, 2, lookback, 1, kernel_size=kernel_size)
        layers = network.blocks if kind is Tcn else network.layers
        fewer = {"num_blocks" if kind is Tcn else "num_layers": len(layers) - 1}
        assert _seen(network, lookback) == lookback <= network.receptive_field
        assert len(layers) == 1 or _build(kind, 2, lookback, 1, kernel_size=kernel_size, **fewer).receptive_field < lookback


@each_kind
def test_the_field_is_the_whole_memory(kind: type[nn.Module]) -> None:
    """The same weights on the newest steps alone give the same forecast: no zero stands anywhere but before the window."""
    depth = {"num_blocks" if kind is Tcn else "num_layers": 3}
    long, short = (_build(kind, 2, lookback, 4, **depth).double() for lookback in (40, 29 if kind is Tcn else 8))
    short.load_state_dict(long.state_dict())
    assert long.receptive_field == (29 if kind is Tcn else 8)
    x = torch.randn(5, 40, 2).double()
    torch.testing.assert_close(short(x[:, -long.receptive_field :]), long(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("length", [8, 9])
@pytest.mark.parametrize("kernel_size", [2, 3])
def test_no_step_of_a_layer_sees_a_later_one(length: int, kernel_size: int) -> None:
    torch.manual_seed(1)
    block = ResidualBlock(4, 6, kernel_size, 0.0)
    layer = GatedLayer(4, kernel_size, 0.0, last=False)
    kept = list(range(length))[::-1][::2][::-1]  # every second step, the newest among them
    for maps_of in (block, lambda maps: layer(maps)[0]):
        before = torch.randn(32, 4, length)
        for moved in range(length):
            after = before.clone()
            after[..., moved] += torch.randn(32, 4)
            changed: Tensor = (maps_of(after) != maps_of(before)).flatten(0, 1).any(0)
            earliest = next((i for i, step in enumerate(kept) if step >= moved), len(kept))
            assert not changed[:earliest].any()
            assert changed[earliest]


@each_kind
@pytest.mark.parametrize(("features", "lookback", "horizon"), SIZES)
@pytest.mark.parametrize("outputs", [1, 4])
def test_any_size_gives_one_forecast_a_step_and_output(kind, features, lookback, horizon, outputs) -> None:
    found = _build(kind, features, lookback, horizon, outputs)(torch.randn(6, lookback, features))
    assert found.shape == (6, horizon, outputs) and found.isfinite().all()
    with torch.device("meta"):
        network = _build(kind, features, lookback, horizon, outputs)
        assert network(torch.zeros(2, lookback, features)).shape == (2, horizon, outputs)


@each_kind
@pytest.mark.parametrize(("features", "lookback", "horizon"), SIZES)
@pytest.mark.parametrize("channels", [6, 24])
def test_every_parameter_gets_a_gradient(kind, features, lookback, horizon, channels) -> None:
    network = _build(kind, features, lookback, horizon, channels=channels, dropout=0.1)
    network(torch.randn(64, lookback, features))[..., 0].square().mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.slow
@each_kind
@pytest.mark.parametrize("lookback", [1, 12, 13])
def test_an_exported_network_forecasts_the_same_for_any_batch(kind, lookback) -> None:
    network = _build(kind, 3, lookback, 4, 2, dropout=0.2).eval()
    check_export(network, lambda batch: (torch.randn(batch, lookback, 3),))


@each_kind
def test_a_forecast_knows_nothing_of_the_other_windows(kind: type[nn.Module]) -> None:
    network = _build(kind, 2, 9, 3, dropout=0.5).eval()
    x = torch.randn(5, 9, 2)
    torch.testing.assert_close(network(x), torch.cat([network(window[None]) for window in x]))


@each_kind
def test_the_first_forecasts_have_the_size_of_the_inputs_whatever_the_depth(kind: type[nn.Module]) -> None:
    for lookback in (8, 72, 500):
        torch.manual_seed(2)
        network = kind(num_features=10, lookback=lookback, horizon=24, channels=32)
        assert 0.05 < network(torch.randn(64, lookback, 10)).std() < 2.5


@each_kind
def test_numbers_out_of_range_are_refused(kind: type[nn.Module]) -> None:
    depth = "num_blocks" if kind is Tcn else "num_layers"
    for arguments in ({"channels": 0}, {"kernel_size": 1}, {depth: -1}, {"dropout": 1.0}, {"dropout": -0.1}):
        with pytest.raises(ValueError, match="at least"):
            _build(kind, 1, 3, 1, **arguments)
