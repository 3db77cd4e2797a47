"""The memory card on networks whose memory is known: linear ones by hand, a TCN's field, forgetting and open gates."""

import dataclasses
import json

import pytest
import torch
from torch import Tensor, nn

from models import build_forecaster
from models.data.scaling import no_scaling
from models.data.window import FeatureWindow, WindowParams
from models.data.windows import Inputs
from models.forecaster import Forecaster, Level
from models.memory_card import MemoryCard, memory_card, receptive_field, run_gates
from models.networks.contract import Network
from params.load import load_variant, variant_names

PARAMS = WindowParams(2, {"y": FeatureWindow(20)})


class Newest(Network):
    """Sees the newest `seen` samples alone."""

    def __init__(self, seen: int) -> None:
        super().__init__()
        self.seen = seen

    def forward(self, x_BLF: Tensor) -> Tensor:
        return x_BLF[:, x_BLF.shape[1] - self.seen :, 0].sum(1, keepdim=True).expand(-1, 2)


@pytest.mark.parametrize("seen", [0, 1, 7, 20])
def test_a_known_field_is_measured_exactly(seen: int) -> None:
    assert receptive_field(Forecaster(Newest(seen), PARAMS, no_scaling(PARAMS), "none"), PARAMS) == seen


def test_a_convolution_that_skips_the_oldest_samples_is_seen_through() -> None:
    network = {"channels": 4, "kernel_size": 1, "num_layers": 1, "stride": 20}
    torch.manual_seed(0)
    assert receptive_field(build_forecaster("convolutional", network, PARAMS), PARAMS) in (1, 20)
    torch.manual_seed(0)
    recurrent = build_forecaster("recurrent", {"cell": "gru", "hidden_size": 4}, PARAMS)
    assert receptive_field(recurrent, PARAMS) == 20


def inputs_of(params: WindowParams, size: int = 16) -> Inputs:
    torch.manual_seed(9)
    blank = Inputs.zeros(params, size)
    return blank._replace(past_BLF=torch.randn(blank.past_BLF.shape))


class Weighted(Network):
    """A linear network whose weights are given: [L, F], the same for both steps but for the sign."""

    def __init__(self, weights_LF: Tensor) -> None:
        super().__init__()
        self.weights_LF = nn.Parameter(weights_LF)

    def forward(self, x_BLN: Tensor) -> Tensor:
        y_B = (x_BLN[..., : self.weights_LF.shape[1]] * self.weights_LF).sum((1, 2))
        return torch.stack((y_B, -3 * y_B), dim=1)


def card_of(network: Network, params: WindowParams = PARAMS) -> MemoryCard:
    return memory_card(Forecaster(network, params, no_scaling(params), "none"), params, inputs_of(params))


def test_the_sensitivity_of_a_known_network_lies_at_the_rows_that_its_samples_come_from() -> None:
    """By hand: y reads rows 0, 1, 2; x (rate 3, delay 2) rows 2, 5; the two steps weigh 1 and 3, so the mean is 2 |w|."""
    params = WindowParams(2, {"y": FeatureWindow(3), "x": FeatureWindow(2, 3, 2)})
    weights = torch.tensor([[1.0, 0.0], [-2.0, 5.0], [4.0, 7.0]])  # oldest first; the first place of x is not its own
    card = card_of(Weighted(weights), params)
    assert card.sensitivity == pytest.approx([2 * 4, 2 * 2, 2 * 1 + 2 * 7, 0, 0, 2 * 5])
    assert (card.rows, card.receptive_field) == (6, 6)
    assert card.half_life == 3  # 8 + 4 + 16 of 38 is the first sum of at least 19
    assert MemoryCard.from_dict(json.loads(json.dumps(dataclasses.asdict(card)))) == card


@pytest.mark.parametrize("level", ["none", "last", "mean", "revin"])
def test_a_row_that_is_not_observed_moves_nothing_and_spoils_nothing(level: Level) -> None:
    """Rows 16 (never observed) and 10 (observed in half of the windows) of twenty that weigh 2 each."""
    forecaster = Forecaster(Weighted(torch.ones(20, 1)), PARAMS, no_scaling(PARAMS), level)
    inputs = inputs_of(PARAMS)
    inputs.past_BLF[:, 3] = torch.nan
    inputs.past_BLF[::2, 9] = torch.nan
    expected = [2.0] * 20
    expected[16] = 0.0
    assert memory_card(forecaster, PARAMS, inputs).sensitivity == pytest.approx(expected)


@pytest.mark.parametrize("rows", [10, 24, 30, 70])
def test_an_even_memory_is_half_used_in_the_middle_whatever_its_sum_loses(rows: int) -> None:
    params = WindowParams(2, {"y": FeatureWindow(rows)})
    assert card_of(Weighted(torch.full((rows, 1), 0.1)), params).half_life == rows // 2


def test_a_window_longer_than_what_the_network_uses_is_told() -> None:
    newest = torch.zeros(20, 1)
    newest[-4:] = 1.0
    assert card_of(Weighted(newest)).warning == "rows 5 to 20 before the cutoff move the forecast by less than 1 %"
    assert card_of(Weighted(newest)).half_life == 2
    assert card_of(Weighted(torch.ones(20, 1))).warning == ""
    assert card_of(Weighted(torch.ones(20, 1))).half_life == 10
    nothing = card_of(Weighted(torch.zeros(20, 1)))
    assert (nothing.half_life, nothing.receptive_field) == (0, 0) and "nothing" in nothing.warning


@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_the_measured_field_of_a_tcn_is_the_theoretical_one(blocks: int) -> None:
    params = WindowParams(2, {"y": FeatureWindow(40)})
    torch.manual_seed(blocks)
    network = {"channels": 8, "kernel_size": 3, "num_blocks": blocks}
    card = memory_card(build_forecaster("tcn", network, params), params, inputs_of(params, 64))
    assert card.receptive_field == card.theoretical_field == 1 + 2 * 2 * (2**blocks - 1)


def test_an_elman_network_forgets_faster_than_an_lstm_whose_forget_gates_are_open() -> None:
    params = WindowParams(2, {"y": FeatureWindow(60)})
    torch.manual_seed(0)
    elman = build_forecaster("recurrent", {"cell": "elman", "hidden_size": 16}, params)
    with torch.no_grad():
        elman.network.recurrence.weight_hh_l0.mul_(0.5)  # orthogonal before, so every eigenvalue now has size 0.5
    lstm = build_forecaster("recurrent", {"cell": "lstm", "hidden_size": 16}, params)
    with torch.no_grad():
        lstm.network.recurrence.bias_ih_l0[16:32] = 5.0
    forgets, keeps = (memory_card(f, params, inputs_of(params)) for f in (elman, lstm))
    assert list(forgets.spectral_radius.values()) == pytest.approx([0.5])
    assert forgets.half_life < 4 and keeps.half_life > 3 * forgets.half_life
    assert forgets.warning and not keeps.warning
    assert keeps.gates["forget"]["mean"] > 0.95 and keeps.gates["forget"]["saturated"] > 0.9
    assert set(keeps.spectral_radius) == {f"recurrence.weight_hh_l0.{g}" for g in ("input", "forget", "candidate", "output")}


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_gates_are_those_of_torch(kind: type[nn.LSTM | nn.GRU]) -> None:
    torch.manual_seed(1)
    layer, x = kind(3, 5, batch_first=True), torch.randn(4, 9, 3)
    gates, states = run_gates(layer, x)
    torch.testing.assert_close(states, layer(x)[0].detach())
    assert all(gate.shape == (4, 9, 5) and gate.min() > 0 and gate.max() < 1 for gate in gates.values())


def test_attention_comes_out_where_there_is_one() -> None:
    torch.manual_seed(2)
    card = memory_card(build_forecaster("attention", {"hidden_size": 4}, PARAMS), PARAMS, inputs_of(PARAMS))
    assert card.attention is not None and len(card.attention) == 2
    assert [sum(row) for row in card.attention] == pytest.approx([1, 1])
    assert card_of(Weighted(torch.ones(20, 1))).attention is None


@pytest.mark.parametrize("variant", [name for name in variant_names() if not name.startswith("ensemble")])
def test_every_variant_has_a_card(variant: str) -> None:
    params = WindowParams(3, {"y": FeatureWindow(12), "x": FeatureWindow(4, 2, 1)}, calendar=("hour",), future=("promo",))
    own = load_variant(variant, "params/smoke.yaml")
    torch.manual_seed(3)
    forecaster = build_forecaster(own.family, own.network, params, level="last", quantiles=(0.1, 0.9))
    for parameter in forecaster.parameters():
        nn.init.normal_(parameter, std=0.3)
    card = memory_card(forecaster, params, inputs_of(params))
    assert len(card.sensitivity) == card.rows == 12 and 1 <= card.half_life <= card.receptive_field <= 12
    assert all(value >= 0 for value in card.sensitivity)
