"""The sparse cross-period map: known answers by hand, its formula in numpy, its size, gaps, rates, short windows."""

import numpy as np
import pytest
import torch
from torch import nn

from models.data.window import FeatureWindow, WindowParams
from models.families import build_forecaster, target_of
from models.networks.contract import Target
from models.networks.sparse_tsf import SparseTsf
from tests.models.networks.exported import check_export

SIZES = [(1, 1, 1, 1), (3, 7, 2, 7), (5, 1, 12, 4), (2, 30, 5, 7), (1, 24, 30, 12)]  # features, lookback, horizon, season
each_hidden = pytest.mark.parametrize("hidden_size", [0, 6])


@pytest.mark.parametrize(("lookback", "season"), [(24, 12), (29, 12), (12, 12), (7, 7), (5, 1)])
@pytest.mark.parametrize("gap", [0, 1, 12, 30])
def test_it_begins_as_the_seasonal_naive_forecast(lookback: int, season: int, gap: int) -> None:
    network = SparseTsf(num_features=3, lookback=lookback, horizon=27, target=Target(1, gap=gap), season=season)
    x = torch.randn(4, lookback, 3)
    newest = x[:, lookback - season :, 1]
    expected = torch.stack([newest[:, (gap + step) % season] for step in range(27)], dim=1)
    assert torch.equal(network(x)[..., 0], expected)


def test_a_map_from_the_period_before_the_last_gives_what_was_two_seasons_ago() -> None:
    network = SparseTsf(num_features=1, lookback=14, horizon=4, season=7)
    with torch.no_grad():
        network.head.weight.copy_(torch.tensor([[1.0, 0.0]]))
        network.head.bias.fill_(0.5)
    x = torch.arange(14.0).reshape(1, 14, 1)
    assert network(x)[0, :, 0].tolist() == [0.5, 1.5, 2.5, 3.5]


def test_the_network_equals_its_formula(map_of) -> None:
    torch.manual_seed(0)
    season, lookback, horizon = 4, 10, 7
    network = SparseTsf(num_features=3, lookback=lookback, horizon=horizon, outputs=2, num_ahead=2, season=season)
    head, bias = map_of(network.head)
    for parameter in (network.share_F, network.around.weight, network.share_K):
        nn.init.normal_(parameter)
    x, ahead = torch.randn(5, lookback, 3), torch.randn(5, horizon, 2)
    share, kernel = network.share_F.detach().double().numpy(), network.around.weight.detach().double().numpy().ravel()
    found = network(x, ahead).detach().numpy()
    for window, known, result in zip(x.double().numpy(), ahead.double().numpy(), found, strict=True):
        padded = np.concatenate([np.zeros(2), window @ share])
        near = np.concatenate([np.zeros(2), padded, np.zeros(2)])
        smooth = [padded[t] + kernel @ near[t : t + 5] for t in range(12)]
        for step in range(horizon):
            period, phase = divmod(step, season)
            outputs = [head[2 * period + o] @ smooth[phase::season] + bias[2 * period + o] for o in (0, 1)]
            outputs[0] += known[step] @ network.share_K.detach().double().numpy()
            np.testing.assert_allclose(result[step], outputs, atol=1e-5)


def test_a_long_univariate_window_takes_fewer_than_1000_weights_for_the_point() -> None:
    params = WindowParams(720, {"y": FeatureWindow(720)})
    forecaster = build_forecaster("sparse_tsf", {"season": 24}, params, level="mean", quantiles=(0.1, 0.5, 0.9))
    beside = sum(weight.numel() for weight in forecaster.beside())
    point = sum(weight.numel() for weight in forecaster.parameters()) - beside
    assert point == 30 * 30 + 30 + 25 + 3 < 1000  # the map, its biases, the convolution; y, its mask and the level
    assert beside == 3 * (point - 28)


def test_a_window_shorter_than_a_season_makes_a_linear_map_of_all_samples() -> None:
    network = SparseTsf(num_features=1, lookback=6, horizon=3, season=12)
    torch.nn.init.normal_(network.head.weight)
    x = torch.randn(2, 6, 1)
    torch.testing.assert_close(network(x)[..., 0], x[..., 0] @ network.head.weight.T)


def test_between_samples_a_step_takes_the_phase_of_the_later_one() -> None:
    assert Target(rate=3).season(12, 4) == 4 and Target(rate=3).season(12, 3) == 1 and Target(rate=5).season(12, 9) == 1
    assert Target(gap=1, rate=3).steps(6) == [1, 1, 2, 2, 2, 3]
    network = SparseTsf(num_features=1, lookback=8, horizon=6, target=Target(gap=1, rate=3), season=12)
    assert network(torch.arange(8.0).reshape(1, 8, 1))[0, :, 0].tolist() == [4.0, 4.0, 5.0, 5.0, 5.0, 6.0]


def test_the_forecaster_tells_where_y_stands_and_when() -> None:
    features = {"x": FeatureWindow(3), "y": FeatureWindow(8, 2, 1)}
    params = WindowParams(4, features, gap=3, calendar=("month",))
    assert target_of("sparse_tsf", params) == Target(1, 5, 4, 2)  # x, y, two waves, the mask of x, that of y
    with pytest.raises(ValueError, match="sparse_tsf needs y among the features"):
        build_forecaster("sparse_tsf", {}, WindowParams(1, {"x": FeatureWindow(2)}))


@pytest.mark.parametrize("bad", [{"season": 0}, {"hidden_size": -1}])
def test_numbers_out_of_range_are_refused(bad: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least 1, hidden_size 0"):
        SparseTsf(num_features=1, lookback=3, horizon=1, **bad)


@pytest.mark.parametrize(("features", "lookback", "horizon", "season"), SIZES)
@pytest.mark.parametrize("outputs", [1, 4])
@each_hidden
def test_any_size_gives_a_forecast_and_a_gradient_in_every_parameter(
    features: int, lookback: int, horizon: int, season: int, outputs: int, hidden_size: int
) -> None:
    torch.manual_seed(0)
    sizes = {"num_features": features, "lookback": lookback, "horizon": horizon, "outputs": outputs, "num_ahead": 2}
    network = SparseTsf(**sizes, season=season, hidden_size=hidden_size)
    found = network(torch.randn(64, lookback, features), torch.randn(64, horizon, 2))
    assert found.shape == (64, horizon, outputs) and torch.isfinite(found).all()
    (found + 1).square().mean().backward()  # outputs after the first begin at zero
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    with torch.device("meta"):
        made = SparseTsf(**sizes, season=season)(torch.zeros(2, lookback, features), torch.zeros(2, horizon, 2))
        assert made.shape == found[:2].shape
    wide = torch.zeros(2, lookback, features).double(), torch.zeros(2, horizon, 2).double()
    assert network.double().eval()(*wide).dtype == torch.float64


@pytest.mark.slow
@pytest.mark.parametrize(("lookback", "target"), [(1, Target()), (12, Target()), (13, Target(gap=2)), (13, Target(rate=2))])
@each_hidden
def test_an_exported_network_forecasts_the_same_for_any_batch(lookback: int, target: Target, hidden_size: int) -> None:
    torch.manual_seed(1)
    sizes = {"num_features": 3, "lookback": lookback, "horizon": 9, "outputs": 2, "target": target}
    network = SparseTsf(**sizes, season=4, hidden_size=hidden_size).eval()
    check_export(network, lambda batch: (torch.randn(batch, lookback, 3),), 1e-5)
