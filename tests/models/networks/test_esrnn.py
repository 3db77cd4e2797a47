"""Smoothing inside the window against the textbook's recursion in numpy; missing samples, gaps, rates; the choice by error."""

import numpy as np
import pytest
import torch

from models.networks.contract import FIRST, Target
from models.networks.esrnn import EsRnn, first_season, smooth
from tests.models.networks.exported import check_export

SIZES = [(1, 9, 1, 1), (3, 7, 2, 3), (5, 9, 12, 4), (2, 30, 5, 7)]  # features, lookback, horizon, season


def _textbook(
    y: np.ndarray, seen: np.ndarray, alpha: float, gamma: float, season: int
) -> tuple[float, list[float], list[float]]:
    """Hyndman et al. 2008, ETS(A,N,A) by component, one window: the last level and season, and the season under each sample."""
    first = {t % season: y[t] for t in reversed(range(len(y))) if seen[t]}
    level = np.mean(list(first.values())) if first else 0.0
    seasons = [first[phase] - level if phase in first else 0.0 for phase in range(season)]
    under = []
    for t, value in enumerate(y):
        old = seasons[t % season]
        under.append(old)
        if t >= season and seen[t]:
            seasons[t % season] = gamma * (value - level) + (1 - gamma) * old
            level = alpha * (value - old) + (1 - alpha) * level
    return level, seasons, under


def _quiet(**arguments) -> EsRnn:
    """A network whose LSTM forecasts nothing."""
    network = EsRnn(**{"num_features": 1, "hidden_size": 3} | arguments)
    torch.nn.init.zeros_(network.rest.head.weight)
    torch.nn.init.zeros_(network.rest.head.bias)
    return network


@pytest.mark.parametrize(("lookback", "season"), [(1, 1), (9, 1), (8, 4), (24, 12), (29, 12), (12, 12), (5, 2)])
@pytest.mark.parametrize("share", [1.0, 0.7, 0.2, 0.0])
def test_it_is_the_textbook_s_recursion_over_what_is_observed(lookback: int, season: int, share: float) -> None:
    rng = np.random.default_rng(lookback)
    seen = (rng.random((6, lookback)) < share).astype(float)
    y = rng.normal(size=(6, lookback)) * seen
    alphas, gammas = np.array([0.1, 0.6, 1.0]), np.array([0.9, 0.0, 0.3])
    given = (torch.from_numpy(part) for part in (y, seen, alphas, gammas))
    found = smooth(*given, season)
    for window in range(6):
        for k, (alpha, gamma) in enumerate(zip(alphas, gammas, strict=True)):
            level, seasons, under = _textbook(y[window], seen[window], alpha, gamma, season)
            assert float(found.level_BK[window, k]) == pytest.approx(level)
            np.testing.assert_allclose(found.season_BSK[window, :, k], seasons, atol=1e-12)
            np.testing.assert_allclose(found.under_BLK[window, :, k], under, atol=1e-12)


def test_a_level_alone_by_hand() -> None:
    y = torch.tensor([[10.0, 12.0, 0.0, 11.0]])
    seen = torch.tensor([[1.0, 1.0, 0.0, 1.0]])
    found = smooth(y, seen, torch.tensor([0.5, 1.0]), None, 1)
    assert found.level_BK.tolist() == [[11.0, 11.0]]  # 10, 11, 11, 11 and 10, 12, 12, 11
    assert found.squares_BK.tolist() == [[(4 + 0) / 2, (4 + 1) / 2]]
    assert not found.under_BLK.any()


def test_what_is_observed_first_in_each_phase_makes_the_first_season() -> None:
    y = torch.tensor([[0.0, 5.0, 0.0, 3.0, 9.0, 0.0, 8.0]])
    seen = torch.tensor([[0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0]])
    level_B1, season_BS = first_season(y, seen, 3)
    assert level_B1.tolist() == [[4.0]] and season_BS.tolist() == [[-1.0, 1.0, 0.0]]


@pytest.mark.parametrize(("gap", "rate"), [(0, 1), (5, 1), (3, 2)])
@pytest.mark.parametrize("missing", [False, True])
def test_a_season_without_noise_goes_on(gap: int, rate: int, missing: bool) -> None:
    torch.manual_seed(0)
    season, lookback, horizon = 12 // rate, 29, 15
    waves = torch.randn(5, season)
    rows = torch.arange(lookback)
    x = torch.stack([waves[:, rows % season] + 3, torch.ones(5, lookback)], dim=-1)
    if missing:
        x[:, 14:17] = 0
    network = _quiet(num_features=2, lookback=lookback, horizon=horizon, target=Target(0, 1, gap, rate), season=12)
    ahead = [lookback - 1 + int(np.ceil((gap + step) / rate)) for step in range(1, horizon + 1)]
    expected = waves[:, [row % season for row in ahead]] + 3
    torch.testing.assert_close(network(x)[..., 0], expected)


def test_the_forecast_is_level_and_season_and_what_the_lstm_makes_of_the_rest() -> None:
    torch.manual_seed(1)
    sizes = {"num_features": 4, "lookback": 17, "horizon": 6, "outputs": 3, "target": Target(1, 3), "season": 5}
    network = EsRnn(**sizes, hidden_size=3, smoothers=1).double()
    with torch.no_grad():
        network.gamma_K.fill_(-0.1)
        network.rest.head.beside.weight.normal_()
    x = torch.randn(4, 17, 4, dtype=torch.float64)
    x[..., 3] = (torch.rand(4, 17) < 0.8).double()
    x[..., 1] *= x[..., 3]
    found = network(x).detach().numpy()
    for window, result in zip(x.numpy(), found, strict=True):
        y, seen = window[:, 1], window[:, 3]
        level, seasons, under = _textbook(y, seen, 0.5, 1 / (1 + np.exp(1.0)), 5)
        left = (y - np.array(under) - level) * seen
        read = np.column_stack([left, under, window[:, 0], window[:, 2:]])
        rest = network.rest(torch.from_numpy(read)[None])[0].detach().numpy()
        rest[:, 0] += [level + seasons[(17 + step) % 5] for step in range(6)]
        np.testing.assert_allclose(result, rest, atol=1e-6)


def test_the_smoother_that_errs_least_in_a_window_counts_most_there() -> None:
    torch.manual_seed(2)
    noise = torch.randn(2, 200)
    y = torch.stack([noise[0], noise[1].cumsum(0)])  # about a level that stays, and a walk
    network = _quiet(lookback=200, horizon=1, smoothers=3)
    shares = network.shares(smooth(y, torch.ones_like(y), (10 * network.alpha_K).sigmoid(), None, 1).squares_BK)
    assert shares.argmax(1).tolist() == [0, 2]  # alpha 0.25, 0.5, 0.75
    torch.testing.assert_close(shares.sum(1), torch.ones(2))
    with torch.no_grad():
        network.power.fill_(100.0)
    forecast = network(y.unsqueeze(-1))[:, 0, 0]
    level = [
        _textbook(one.double().numpy(), np.ones(200), alpha, 0.0, 1)[0] for one, alpha in zip(y, (0.25, 0.75), strict=True)
    ]
    np.testing.assert_allclose(forecast.detach().numpy(), level, rtol=1e-4)


def test_a_window_shorter_than_a_season_has_a_level_alone() -> None:
    network = _quiet(lookback=5, horizon=3, season=12, smoothers=1)
    assert network.season == 1 and network.gamma_K is None
    y = torch.tensor([4.0, 0.0, 2.0, 8.0, 1.0])
    level = _textbook(y.numpy(), np.ones(5), 0.5, 0.0, 1)[0]
    assert network(y.reshape(1, 5, 1))[0, :, 0].tolist() == [level] * 3


@pytest.mark.parametrize(
    "bad",
    [{"hidden_size": 0}, {"season": 0}, {"smoothers": 0}, {"num_layers": 0}, {"dropout": 1.0}],
    ids=lambda bad: next(iter(bad)),
)
def test_numbers_out_of_range_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="at least"):
        EsRnn(**{"num_features": 1, "lookback": 3, "horizon": 1, "hidden_size": 4} | bad)  # type: ignore[arg-type]


@pytest.mark.parametrize(("features", "lookback", "horizon", "season"), SIZES)
@pytest.mark.parametrize("outputs", [1, 4])
@pytest.mark.parametrize("smoothers", [1, 3])
def test_any_size_gives_a_forecast_and_a_gradient_in_every_parameter(
    features: int, lookback: int, horizon: int, season: int, outputs: int, smoothers: int
) -> None:
    torch.manual_seed(0)
    sizes = {"num_features": features, "lookback": lookback, "horizon": horizon, "outputs": outputs, "season": season}
    network = EsRnn(**sizes, hidden_size=6, smoothers=smoothers, dropout=0.1)
    found = network(torch.randn(64, lookback, features))
    assert found.shape == (64, horizon, outputs) and torch.isfinite(found).all()
    (found + 1).square().mean().backward()  # outputs after the first begin at zero
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    with torch.device("meta"):
        assert EsRnn(**sizes, hidden_size=6)(torch.zeros(2, lookback, features)).shape == found[:2].shape
    assert network.double().eval()(torch.zeros(2, lookback, features, dtype=torch.float64)).dtype == torch.float64


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The tensor attributes .*_flat_weights")  # torch keeps a list of the weights
@pytest.mark.parametrize(
    ("lookback", "season", "target"),
    [(1, 1, FIRST), (12, 4, Target(1, 2)), (13, 4, Target(0, 2, 3)), (13, 4, Target(2, 1, 0, 2))],
)
def test_an_exported_network_forecasts_the_same_for_any_batch(lookback: int, season: int, target: Target) -> None:
    torch.manual_seed(1)
    sizes = {"num_features": 3, "lookback": lookback, "horizon": 6, "outputs": 2, "target": target, "season": season}
    network = EsRnn(**sizes, hidden_size=6, dropout=0.2).eval()

    def inputs(batch: int) -> tuple[torch.Tensor]:
        x = torch.randn(batch, lookback, 3)
        return (torch.cat([x[..., :1], (x[..., 1:] > -0.5).float()], -1),)

    check_export(network, inputs, 1e-5)
