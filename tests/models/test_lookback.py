"""models/families.py, forecaster.py, memory_card.py: a network that sees the newest samples of a window alone (`lookback`)."""

from dataclasses import replace

import pytest
import torch

from models import build_forecaster
from models.data.window import FeatureWindow, WindowParams
from models.data.windows import Inputs
from models.families import FAMILIES
from models.memory_card import memory_card, receptive_field
from params.errors import UserError
from params.load import load_variant, variant_names
from tasks.train.check import check_variant

WIDE = WindowParams(
    horizon=3,
    features={"y": FeatureWindow(12), "x": FeatureWindow(12, sampling_rate=2), "z": FeatureWindow(2)},
    calendar=("hour",),
    future=("f",),
)
NARROW = replace(WIDE, features={name: replace(one, lookback=min(one.lookback, 5)) for name, one in WIDE.features.items()})
ALL = [one for one in (load_variant(name, "params/smoke.yaml") for name in variant_names()) if not one.members]


def _inputs(params: WindowParams) -> Inputs:
    generator = torch.Generator().manual_seed(1)

    def drawn(like: torch.Tensor) -> torch.Tensor:
        return torch.rand(like.shape, generator=generator).to(like) if like.is_floating_point() else like

    inputs = Inputs(*map(drawn, Inputs.zeros(params, 4)))
    inputs.past_BLF[:, : params.lookback - 2, 2] = torch.nan  # a shorter feature is missing where its window has not begun
    return inputs


@pytest.mark.parametrize("variant", ALL, ids=lambda one: one.variant)
@pytest.mark.parametrize("level", ["last", "revin"])
def test_it_is_the_network_of_a_narrower_window(variant, level) -> None:
    inputs = _inputs(WIDE)
    network = {name: value for name, value in variant.network.items() if name != "season"}
    if "season" in variant.network or variant.family in ("sparse_tsf", "esrnn"):
        network |= {"season": 2}
    torch.manual_seed(3)
    wide = build_forecaster(variant.family, network | {"lookback": 5}, WIDE, level=level).eval()
    torch.manual_seed(3)
    narrow = build_forecaster(variant.family, network, NARROW, level=level).eval()
    assert {name: one.shape for name, one in wide.state_dict().items()} == {
        name: one.shape for name, one in narrow.state_dict().items()
    }
    with torch.no_grad():
        newest = inputs._replace(past_BLF=inputs.past_BLF[:, -5:], wide_BLE=inputs.wide_BLE[:, -5:])
        assert torch.equal(wide(*inputs), narrow(*newest))


@pytest.mark.parametrize("skip", ["none", "linear"])
def test_what_is_older_moves_nothing(skip: str) -> None:
    forecaster = build_forecaster("dense", {"hidden_size": 4, "lookback": 5, "skip": skip}, WIDE, level="revin").eval()
    with torch.no_grad():
        for weights in forecaster.parameters():
            torch.nn.init.normal_(weights, generator=torch.Generator().manual_seed(0))
    inputs, moved = _inputs(WIDE), _inputs(WIDE)
    moved.past_BLF[:, :-5] += 100.0
    with torch.no_grad():
        assert torch.equal(forecaster(*inputs), forecaster(*moved))
    assert receptive_field(forecaster, WIDE) == 5
    card = memory_card(forecaster, WIDE, inputs)
    assert len(card.sensitivity) == WIDE.reach + 1
    assert card.receptive_field == 9  # five samples of x, two rows apart


def test_a_dense_network_learns_from_the_samples_that_it_sees() -> None:
    forecaster = build_forecaster("seq2seq", {"cell": "gru", "hidden_size": 4, "lookback": 5}, NARROW_TARGET).train()
    y_BT = torch.arange(12.0 + 3 - 1).repeat(4, 1)
    point_BLH, _ = forecaster.targets(y_BT)
    assert forecaster.dense
    assert point_BLH.shape == (4, 5, 3)
    assert point_BLH[0, -1].tolist() == y_BT[0, -3:].tolist()
    assert point_BLH[0, 0].tolist() == [7.0, 8.0, 9.0]


NARROW_TARGET = WindowParams(horizon=3, features={"y": FeatureWindow(12)})


@pytest.mark.parametrize("given", [0, -1, 13, 2.5, True, "all"])
def test_a_number_that_no_window_has_is_refused(given: object) -> None:
    with pytest.raises(ValueError, match=r"network\.lookback: write a whole number from 1 to 12, the window's"):
        build_forecaster("ridge", {"lookback": given}, WIDE)


def test_a_run_may_give_it_to_all_of_its_variants_and_names_the_one_that_it_does_not_fit() -> None:
    windows = WindowParams(horizon=3, features={"y": FeatureWindow(12)})
    for name in ("gru", "ridge"):
        assert check_variant(load_variant(name, "params/smoke.yaml", ["network.lookback=5"]), windows) > 0
    with pytest.raises(UserError, match=r"variant gru .*network\.lookback: write a whole number from 1 to 12"):
        check_variant(load_variant("gru", "params/smoke.yaml", ["network.lookback=40"]), windows)


def test_every_family_takes_it() -> None:
    for family in FAMILIES:
        assert family in {one.family for one in ALL}
