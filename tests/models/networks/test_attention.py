"""Attention against its formulas in numpy: scores, softmax, context, step by step; what its weights show."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models.networks.attention import Attention

each_score = pytest.mark.parametrize("score", ["additive", "dot"])
STEPS = {"elman": nn.RNNCell, "lstm": nn.LSTMCell, "gru": nn.GRUCell}


def _build(**arguments) -> Attention:
    torch.manual_seed(0)
    sizes = {"num_features": 2, "lookback": 6, "horizon": 4, "hidden_size": 5, "attention_size": 3}
    network = Attention(**sizes | arguments)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=2.0)  # far from zero, so that the attention is far from equal
    return network.double()


def _step(cell: nn.Module, x: np.ndarray, state: list[np.ndarray]) -> list[np.ndarray]:
    """One step of one of torch's cells for one window; an LSTM's state is [h, c], the others' [h]."""
    given = [torch.from_numpy(part)[None] for part in state]
    found = cell(torch.from_numpy(x)[None], tuple(given) if len(given) == 2 else given[0])
    return [part[0].detach().numpy() for part in (found if isinstance(found, tuple) else (found,))]


def _expected(network: Attention, kind: str, score: str, window: np.ndarray, rows: np.ndarray, truth: np.ndarray, head=None):
    """([H, O], [H, L]) of one window: equations 4 to 6 of Bahdanau et al., with either score."""
    p = {name: value.detach().numpy() for name, value in network.named_parameters()}
    weight, bias = head or (p["head.weight"], p["head.bias"])
    encoder = STEPS[kind](window.shape[1], 5).double()
    encoder.load_state_dict({name.removesuffix("_l0"): value for name, value in network.encoder.state_dict().items()})
    state, states = [np.zeros(5)] * (2 if kind == "lstm" else 1), []
    for x in window:
        state = _step(encoder, x, state)
        states.append(state[0])
    fed = p["begin.weight"] @ window[-1] + p["begin.bias"]
    forecasts, attention = [], []
    for step in range(len(truth)):
        query = p["query.weight"] @ state[0]
        if score == "additive":
            scores = [p["energy.weight"][0] @ np.tanh(query + p["key.weight"] @ h + p["key.bias"]) for h in states]
        else:
            scores = [query @ (p["key.weight"] @ h) / np.sqrt(3) for h in states]
        weights = np.exp(scores) / np.exp(scores).sum()
        context = sum(weight * h for weight, h in zip(weights, states, strict=True))
        state = _step(network.decoder, np.concatenate([fed, rows[step], context]), state)
        forecast = weight @ np.concatenate([state[0], context]) + bias
        fed = forecast[:1] if np.isnan(truth[step]) else truth[step : step + 1]
        forecasts.append(forecast)
        attention.append(weights)
    return np.array(forecasts), np.array(attention)


@each_score
@pytest.mark.parametrize("cell", ["elman", "lstm", "gru"])
@pytest.mark.parametrize("known", [0, 3])
def test_forecasts_and_weights_equal_the_formula(score: str, cell: str, known: int, map_of) -> None:
    network = _build(cell=cell, score=score, outputs=2, num_ahead=known)
    head = map_of(network.head)
    x, ahead = torch.randn(5, 6, 2).double(), torch.randn(5, 4, known).double()
    found, weights = network(x, ahead).detach().numpy(), network.weights(x, ahead).numpy()
    assert weights.shape == (5, 4, 6)
    assert weights.std(2).mean() > 0.05, "an attention that is equal everywhere would show nothing"
    for i in range(5):
        forecast, attention = _expected(network, cell, score, x[i].numpy(), ahead[i].numpy(), np.full(4, np.nan), head)
        np.testing.assert_allclose(found[i], forecast, atol=1e-12)
        np.testing.assert_allclose(weights[i], attention, atol=1e-12)


@each_score
def test_a_taught_decoder_equals_the_formula_with_the_truth_fed_back(score: str) -> None:
    network = _build(score=score, feedback="teacher")
    x, y = torch.randn(5, 6, 2).double(), torch.randn(5, 4).double()
    y[torch.rand(5, 4) < 0.4] = torch.nan
    for i, found in enumerate(network(x, y_BH=y).detach().numpy()):
        forecast, _ = _expected(network, "gru", score, x[i].numpy(), np.zeros((4, 0)), y[i].numpy())
        np.testing.assert_allclose(found, forecast, atol=1e-12)


@each_score
@pytest.mark.parametrize(("lookback", "horizon"), [(1, 1), (7, 2), (1, 12), (30, 5)])
def test_the_weights_of_a_step_sum_to_one(score: str, lookback: int, horizon: int) -> None:
    network = _build(score=score, lookback=lookback, horizon=horizon).eval()
    weights = network.weights(torch.randn(8, lookback, 2).double())
    assert weights.shape == (8, horizon, lookback) and (weights >= 0).all() and not weights.requires_grad
    torch.testing.assert_close(weights.sum(2), torch.ones(8, horizon).double())


class _States(nn.Module):
    """An encoder whose states are the window itself; the last state is ones."""

    def forward(self, x_BLD: Tensor) -> tuple[Tensor, Tensor]:
        return x_BLD, torch.ones_like(x_BLD[:, :1]).transpose(0, 1)


@each_score
@pytest.mark.parametrize("stands_out", range(6))
def test_a_state_that_stands_out_gets_the_weight(score: str, stands_out: int) -> None:
    network = _build(num_features=5, attention_size=5, score=score)
    network.encoder = _States()
    with torch.no_grad():
        network.query.weight.copy_(torch.eye(5))
        network.key.weight.copy_(torch.eye(5))
        if score == "additive":
            network.key.bias.fill_(-5.0)  # tanh(1 + h - 5): near -1 for a state of zeros, near 1 for one of tens
            network.energy.weight.fill_(3.0)
    x = torch.zeros(4, 6, 5).double()
    x[:, stands_out] = 10.0
    first = network.weights(x)[:, 0]
    assert (first[:, stands_out] > 0.99).all()
    nowhere = network.weights(torch.zeros(4, 6, 5).double())[:, 0]
    torch.testing.assert_close(nowhere, torch.full((4, 6), 1 / 6).double())


def test_looking_at_the_weights_draws_nothing_and_needs_what_is_known_ahead() -> None:
    network = _build(num_ahead=3, feedback="scheduled")
    x, ahead = torch.randn(2, 6, 2).double(), torch.randn(2, 4, 3).double()
    before = torch.get_rng_state()
    network.weights(x, ahead)
    assert torch.equal(torch.get_rng_state(), before)
    with pytest.raises(ValueError, match="ahead_BHK"):
        network.weights(x)
