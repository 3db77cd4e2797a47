"""Sequence networks against their recurrences written out in numpy and torch's cells; causality, feedback, shapes, export."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models.networks.attention import Attention
from models.networks.sequence import EncoderDecoder, SeqToSeq, VecToSeq, equal_parts, taught
from tests.models.networks.exported import check_export

SIZES = [(1, 1, 1), (3, 7, 2), (5, 1, 12), (2, 30, 5)]
KINDS = [SeqToSeq, VecToSeq, EncoderDecoder, Attention]
each_kind = pytest.mark.parametrize("kind", KINDS)
each_guided = pytest.mark.parametrize("kind", [EncoderDecoder, Attention])
each_cell = pytest.mark.parametrize("cell", ["elman", "lstm", "gru"])
ONE_STEP = {"elman": nn.RNNCell, "lstm": nn.LSTMCell, "gru": nn.GRUCell}


def _build(kind: type[nn.Module], features: int, lookback: int, horizon: int, outputs: int = 1, **arguments) -> nn.Module:
    torch.manual_seed(0)
    sizes = {"num_features": features, "lookback": lookback, "horizon": horizon, "outputs": outputs, "hidden_size": 5}
    network = kind(**sizes | arguments)
    for name, parameter in network.named_parameters():
        if "bias" in name or "beside" in name:
            nn.init.normal_(parameter, std=0.3)  # what begins at zero would hide where it belongs
    return network


def _numbers(module: nn.Module) -> dict[str, np.ndarray]:
    return {name.removesuffix("_l0"): p.detach().double().numpy() for name, p in module.named_parameters()}


def _linear(layer: nn.Linear, x: np.ndarray) -> np.ndarray:
    return layer.weight.detach().numpy() @ x + layer.bias.detach().numpy()


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _cell(kind: str, recurrence: nn.Module, x: np.ndarray, h: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One step of one window as the papers write it: the new (h, c)."""
    p = _numbers(recurrence)
    seen, kept = p["weight_ih"] @ x + p["bias_ih"], p["weight_hh"] @ h + p["bias_hh"]
    if kind == "elman":
        return np.tanh(seen + kept), c
    if kind == "lstm":
        i, f, g, o = np.split(seen + kept, 4)
        c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
        return _sigmoid(o) * np.tanh(c), c
    (ri, zi, ni), (rh, zh, nh) = np.split(seen, 3), np.split(kept, 3)
    z = _sigmoid(zi + zh)
    return (1 - z) * np.tanh(ni + _sigmoid(ri + rh) * nh) + z * h, c


@each_cell
def test_every_sample_forecasts_as_torch_cells_in_a_loop_do(cell: str, map_of) -> None:
    network = _build(SeqToSeq, 3, 6, 4, 2, cell=cell, num_layers=2).double()
    layers = []
    for i, width in enumerate((3, 5)):
        layer = ONE_STEP[cell](width, 5).double()
        names = {name: getattr(network.recurrence, f"{name}_l{i}") for name, _ in layer.named_parameters()}
        layer.load_state_dict(names)
        layers.append(layer)
    weight, bias = map(torch.from_numpy, map_of(network.head))
    x = torch.randn(7, 6, 3).double()
    found = network(x)
    states: list = [None, None]
    for j in range(6):
        hidden = x[:, j]
        for i, layer in enumerate(layers):
            states[i] = layer(hidden, states[i])
            hidden = states[i][0] if cell == "lstm" else states[i]
        expected = nn.functional.linear(hidden, weight, bias).reshape(7, 4, 2)
        torch.testing.assert_close(found[:, j], expected)


def test_training_forecasts_from_every_sample_and_use_from_the_newest() -> None:
    network = _build(SeqToSeq, 3, 6, 4, 2)
    x = torch.randn(7, 6, 3)
    every = network.train()(x)
    assert network.dense and every.shape == (7, 6, 4, 2)
    torch.testing.assert_close(every[:, -1], network.eval()(x))


def test_a_sample_forecasts_from_what_lies_up_to_it_alone() -> None:
    network = _build(SeqToSeq, 3, 6, 4, num_layers=2)
    before = torch.randn(7, 6, 3)
    for moved in range(6):
        after = before.clone()
        after[:, moved] += 1
        changed = (network(after) != network(before)).flatten(2).any(2).all(0)
        assert changed.tolist() == [False] * moved + [True] * (6 - moved)


@each_cell
@pytest.mark.parametrize("lookback", [1, 4, 11])
@pytest.mark.parametrize("known", [0, 3])
def test_a_vector_to_a_sequence_equals_its_formula(cell: str, lookback: int, known: int, map_of) -> None:
    network = _build(VecToSeq, 2, lookback, 3, 4, cell=cell, parts=4, num_ahead=known).double()
    network.share_SL = equal_parts(lookback, min(4, lookback)).double()
    head, bias = map_of(network.head)
    x, ahead = torch.randn(5, lookback, 2).double(), torch.randn(5, 3, known).double()
    for window, rows, found in zip(x.numpy(), ahead.numpy(), network(x, ahead).detach().numpy(), strict=True):
        means = [part.mean(0) for part in _parts(window, min(4, lookback))]
        vector = np.tanh(_linear(network.vector, np.concatenate([*means, window[-1]])))
        h, c = vector, np.zeros(5)
        for step in range(3):
            h, c = _cell(cell, network.decoder, np.concatenate([vector, rows[step]]), h, c)
            np.testing.assert_allclose(found[step], head @ h + bias, atol=1e-6)


def _parts(window: np.ndarray, parts: int) -> list[np.ndarray]:
    """Part s of S holds the samples j with s <= j S / L < s + 1."""
    places = np.arange(len(window)) * parts / len(window)
    return [window[(places >= s) & (places < s + 1)] for s in range(parts)]


@pytest.mark.parametrize(("lookback", "parts"), [(1, 1), (7, 7), (7, 3), (72, 24), (73, 24)])
def test_the_parts_of_a_window_are_equal_and_hold_every_sample_once(lookback: int, parts: int) -> None:
    share = equal_parts(lookback, parts)
    sizes = (share > 0).sum(1)
    assert (share > 0).sum(0).tolist() == [1] * lookback
    assert sizes.max() - sizes.min() <= 1
    torch.testing.assert_close(share.sum(1), torch.ones(parts))
    assert (share > 0).int().argmax(0).diff().ge(0).all(), "the parts are in the order of time"


def _decode(network: EncoderDecoder, cell: str, window: np.ndarray, rows: np.ndarray, truth: np.ndarray, head) -> np.ndarray:
    """[H, O], step by step; `truth` is NaN where the own output is fed back."""
    h, c = np.zeros(5), np.zeros(5)
    for x in window:
        h, c = _cell(cell, network.encoder, x, h, c)
    fed, found = _linear(network.begin, window[-1]), []
    for step in range(len(truth)):
        h, c = _cell(cell, network.decoder, np.concatenate([fed, rows[step]]), h, c)
        found.append(head[0] @ h + head[1])
        fed = found[-1][:1] if np.isnan(truth[step]) else truth[step : step + 1]
    return np.array(found)


@each_cell
@pytest.mark.parametrize("known", [0, 3])
@pytest.mark.parametrize("feedback", ["own", "teacher"])
def test_an_encoder_and_decoder_equal_their_formula(cell: str, known: int, feedback: str, map_of) -> None:
    network = _build(EncoderDecoder, 2, 6, 5, 4, cell=cell, num_ahead=known, feedback=feedback).double()
    x, ahead, y = torch.randn(8, 6, 2).double(), torch.randn(8, 5, known).double(), torch.randn(8, 5).double()
    y[torch.rand(8, 5) < 0.4] = torch.nan
    head = map_of(network.head)
    found = network(x, ahead, y).detach().numpy()
    truth = y.numpy() if feedback == "teacher" else np.full((8, 5), np.nan)
    for i in range(8):
        expected = _decode(network, cell, x[i].numpy(), ahead[i].numpy(), truth[i], head)
        np.testing.assert_allclose(found[i], expected, atol=1e-12)


@each_guided
def test_taught_with_its_own_outputs_a_decoder_forecasts_the_same(kind: type[nn.Module]) -> None:
    network = _build(kind, 2, 6, 5, 3, feedback="teacher")
    x = torch.randn(8, 6, 2)
    own = network(x)
    torch.testing.assert_close(network(x, y_BH=own[..., 0].detach()), own)
    moved = network(x, y_BH=own[..., 0].detach() + 1)
    torch.testing.assert_close(moved[:, 0], own[:, 0])
    assert (moved[:, 1:] != own[:, 1:]).all()


@each_guided
@pytest.mark.parametrize("feedback", ["teacher", "scheduled"])
def test_missing_targets_are_replaced_by_its_own_outputs(kind: type[nn.Module], feedback: str) -> None:
    network = _build(kind, 2, 6, 5, feedback=feedback)
    x = torch.randn(8, 6, 2)
    found = network(x, y_BH=torch.full((8, 5), torch.nan))
    torch.testing.assert_close(found, network(x), rtol=0, atol=0)
    found.square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


@each_guided
@pytest.mark.parametrize("feedback", ["own", "teacher", "scheduled"])
def test_no_target_is_looked_at_outside_training(kind: type[nn.Module], feedback: str) -> None:
    network = _build(kind, 2, 6, 5, feedback=feedback).eval()
    x = torch.randn(8, 6, 2)
    torch.testing.assert_close(network(x, y_BH=torch.randn(8, 5)), network(x), rtol=0, atol=0)


@each_guided
def test_scheduled_sampling_repeats_with_its_seed_and_lies_between_the_two(kind: type[nn.Module]) -> None:
    x, y = torch.randn(8, 6, 2), torch.randn(8, 5)
    found = {}
    for share in (0.0, 0.5, 1.0):
        network = _build(kind, 2, 6, 5, feedback="scheduled", teacher_share=share)
        for seed in (0, 0, 1):
            torch.manual_seed(seed)
            found.setdefault(share, []).append(network(x, y_BH=y))
    first, again, other = found[0.5]
    assert torch.equal(first, again) and not torch.equal(first, other)
    teacher = _build(kind, 2, 6, 5, feedback="teacher")
    torch.testing.assert_close(found[0.0][0], teacher(x))
    torch.testing.assert_close(found[1.0][0], teacher(x, y_BH=y))


def test_the_truth_is_drawn_for_each_window_and_step_with_its_share() -> None:
    torch.manual_seed(0)
    drawn = ~taught(torch.zeros(400, 50), "scheduled", 0.3).isnan()
    assert float(drawn.float().mean()) == pytest.approx(0.3, abs=0.02)  # 20,000 draws: 6 standard errors
    for axis in (0, 1):
        shares = drawn.float().mean(axis)
        assert shares.min() > 0 and shares.max() < 1
    given = torch.tensor([[1.0, torch.nan]])
    assert taught(given, "teacher", 0.3) is given and taught(given, "own", 0.3) is None


def test_the_gradient_flows_through_its_own_outputs() -> None:
    """Without a memory the last step depends on the first, which alone sees `begin`, through the outputs fed back alone."""
    network = _build(EncoderDecoder, 2, 6, 3).double()
    with torch.no_grad():
        network.decoder.weight_hh.zero_()
        network.decoder.bias_ih[5:10] = -1e6  # the forget gate is shut
    network(torch.randn(8, 6, 2).double())[:, -1].sum().backward()
    assert network.begin.weight.grad.abs().sum() > 0


def _inputs(kind: type[nn.Module], batch: int, features: int, lookback: int, horizon: int, known: int) -> tuple[Tensor, ...]:
    x = torch.randn(batch, lookback, features)
    return (x,) if kind is SeqToSeq or not known else (x, torch.randn(batch, horizon, known))


def _ahead(kind: type[nn.Module], known: int) -> dict[str, int]:
    return {} if kind is SeqToSeq else {"num_ahead": known}


@each_kind
@each_cell
@pytest.mark.parametrize(("features", "lookback", "horizon"), SIZES)
@pytest.mark.parametrize("outputs", [1, 4])
@pytest.mark.parametrize("known", [0, 3])
def test_any_size_gives_one_forecast_a_step_and_output(kind, cell, features, lookback, horizon, outputs, known) -> None:
    inputs = _inputs(kind, 6, features, lookback, horizon, known)
    network = _build(kind, features, lookback, horizon, outputs, cell=cell, **_ahead(kind, known))
    every = (6, lookback, horizon, outputs) if kind is SeqToSeq else (6, horizon, outputs)
    for training, shape in ((False, (6, horizon, outputs)), (True, every)):
        found = network.train(training)(*inputs)
        assert found.shape == shape and found.isfinite().all()
    assert network.double()(*(part.double() for part in inputs)).dtype == torch.float64
    with torch.device("meta"):
        network = _build(kind, features, lookback, horizon, outputs, cell=cell, **_ahead(kind, known))
        assert network.eval()(*(torch.zeros(part.shape) for part in inputs)).shape == (6, horizon, outputs)


@pytest.mark.parametrize("kind", KINDS[1:])
def test_what_is_known_ahead_moves_its_own_step_and_later_ones_alone(kind: type[nn.Module]) -> None:
    network = _build(kind, 2, 6, 5, num_ahead=3)
    x, ahead = _inputs(kind, 8, 2, 6, 5, 3)
    for moved in range(5):
        after = ahead.clone()
        after[:, moved, 1] += 1
        changed = (network(x, after) != network(x, ahead)).flatten(2).any(2).all(0)
        assert changed.tolist() == [False] * moved + [True] * (5 - moved)


@pytest.mark.parametrize("kind", KINDS[1:])
def test_what_is_known_ahead_is_refused_where_it_is_missing_or_of_another_shape(kind: type[nn.Module]) -> None:
    x = torch.randn(2, 6, 2)
    with pytest.raises(ValueError, match="num_ahead is 3: the network needs ahead_BHK"):
        _build(kind, 2, 6, 5, num_ahead=3)(x)
    for known, shape in ((3, (2, 5, 2)), (3, (2, 4, 3)), (0, (2, 5, 1))):
        with pytest.raises(ValueError, match=rf"ahead_BHK must be \[B, 5, {known}\]"):
            _build(kind, 2, 6, 5, num_ahead=known)(x, torch.randn(shape))


@each_kind
@each_cell
@pytest.mark.parametrize("known", [0, 3])
def test_every_parameter_gets_a_gradient(kind, cell, known) -> None:
    network = _build(kind, 3, 7, 2, cell=cell, dropout=0.1, **_ahead(kind, known))
    network(*_inputs(kind, 64, 3, 7, 2, known))[..., 0].square().mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad.abs().sum() > 0, name


@each_kind
@pytest.mark.parametrize(("features", "lookback", "horizon"), SIZES)
def test_the_least_window_leaves_no_parameter_alone_but_what_joins_samples(kind, features, lookback, horizon) -> None:
    network = _build(kind, features, lookback, horizon)
    network(*_inputs(kind, 64, features, lookback, horizon, 0))[..., 0].square().mean().backward()
    idle = {name for name, parameter in network.named_parameters() if not parameter.grad.abs().sum() > 0}
    joins = {"recurrence.weight_hh_l0", "encoder.weight_hh_l0"}  # one sample: the state before it is 0
    joins |= {"query.weight", "key.weight", "key.bias", "energy.weight"}  # and its attention is 1 whatever the score
    assert idle == (joins & set(dict(network.named_parameters())) if lookback == 1 else set())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The tensor attributes .*_flat_weights")  # torch keeps a list of the weights
@each_kind
@pytest.mark.parametrize(("cell", "known"), [("elman", 0), ("lstm", 3), ("gru", 0)])
def test_an_exported_network_forecasts_the_same_for_any_batch(kind, cell, known) -> None:
    network = _build(kind, 3, 7, 4, 2, cell=cell, dropout=0.2, **_ahead(kind, known)).eval()
    check_export(network, lambda batch: _inputs(kind, batch, 3, 7, 4, known))


@each_kind
def test_a_forecast_knows_nothing_of_the_other_windows(kind: type[nn.Module]) -> None:
    network = _build(kind, 2, 9, 3, dropout=0.5).eval()
    x = torch.randn(5, 9, 2)
    torch.testing.assert_close(network(x), torch.cat([network(window[None]) for window in x]))


@pytest.mark.parametrize("kind", KINDS[1:])
def test_recurrent_weights_begin_orthogonal_and_the_forget_gate_open(kind: type[nn.Module]) -> None:
    network = kind(num_features=3, lookback=6, horizon=2, cell="lstm", hidden_size=8)
    weights = dict(network.decoder.named_parameters())
    hidden, seen, kept = (next(p for name, p in weights.items() if key in name) for key in ("weight_hh", "bias_ih", "bias_hh"))
    for gate in hidden.detach().split(8):
        torch.testing.assert_close(gate @ gate.T, torch.eye(8), atol=1e-5, rtol=0)
    assert (seen + kept).tolist() == [0.0] * 8 + [1.0] * 8 + [0.0] * 16


@pytest.mark.parametrize(
    ("kind", "bad"),
    [(kind, bad) for kind in KINDS for bad in ({"hidden_size": 0}, {"dropout": 1.0}, {"dropout": -0.1})]
    + [(kind, {"num_ahead": -1}) for kind in KINDS[1:]]
    + [(kind, {"teacher_share": share}) for kind in KINDS[2:] for share in (-0.1, 1.1)]
    + [(SeqToSeq, {"num_layers": 0}), (VecToSeq, {"parts": 0}), (Attention, {"attention_size": 0})],
)
def test_numbers_that_do_not_fit_are_refused(kind: type[nn.Module], bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=rf"{next(iter(bad))}.* (at least|between)"):
        _build(kind, 1, 3, 1, **bad)
