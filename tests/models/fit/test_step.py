"""fit/step.py and precision.py: parts that add up to a batch, running out of memory, what is not finite, bfloat16."""

import re
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models import build_forecaster
from models.data.origins import origin_rows
from models.data.panel import Panel, Split
from models.data.scaling import fit_scaling, no_scaling
from models.data.window import WindowParams
from models.data.windows import Batch, Windows
from models.fit.precision import has_units, no_bfloat16
from models.fit.settings import FitFailed, Training
from models.fit.step import HALVINGS, Step, batch_loss, out_of_memory, validate
from models.forecaster import Forecaster
from models.networks.contract import Network

TRAINING = Training(6, 6, 30, 1e-2, 0.0, 1e9, "mae", "v", 0)
CPU = torch.device("cpu")
NETWORKS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("recurrent", {"cell": "lstm", "hidden_size": 5}),
    ("seq2seq", {"hidden_size": 5}),  # dense: a target at every sample
    ("encoder_decoder", {"hidden_size": 5, "feedback": "teacher"}),  # guided: sees the targets
    ("tcn", {"channels": 5}),
)


@pytest.fixture
def windows(panel: Panel, params: WindowParams, split: Split) -> Windows:
    """Training windows, some of whose targets are missing."""
    return Windows(panel, params, origin_rows(panel, params, split, "train", 1))


def forecaster_of(panel: Panel, params: WindowParams, split: Split, family: str, network: dict[str, Any]) -> Forecaster:
    torch.manual_seed(3)
    scaling = fit_scaling(panel, params, split, "series")
    return build_forecaster(family, network, params, level="last", scaling=scaling, quantiles=(0.1, 0.9)).train()


def around_the_gap(windows: Windows, dense: bool) -> Batch:
    """30 windows, of which some lack targets, so that the parts have unlike numbers of them."""
    source = windows.dense() if dense else windows
    found = source.batch(torch.arange(20, 50))
    assert found.y_BH.isnan().any() and not found.y_BH.isnan().all()
    return found


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["mae", "mse"])
@pytest.mark.parametrize(("family", "network"), NETWORKS)
def test_the_parts_of_a_batch_add_up_to_its_gradient(
    panel: Panel, params: WindowParams, split: Split, windows: Windows, family: str, network: dict[str, Any], loss: str
) -> None:
    """By autograd on the whole batch in double precision; 7 parts of 5, and the last, short batch of an epoch."""
    forecaster = forecaster_of(panel, params, split, family, network)
    whole = around_the_gap(windows, forecaster.dense)
    for batch in (whole, Batch(type(whole.inputs)(*(part[:8] for part in whole.inputs)), whole.y_BH[:8])):
        expected = batch_loss(forecaster, *batch, loss)
        gradients = torch.autograd.grad(expected, list(forecaster.parameters()))
        for parts in (1, 2, 7, 30):
            step = Step(forecaster, replace(TRAINING, micro_batches=parts, loss=loss), CPU)
            found = step._gradients(batch)
            assert found is not None
            torch.testing.assert_close(found, expected.detach(), rtol=1e-5, atol=1e-6)
            for parameter, gradient in zip(forecaster.parameters(), gradients, strict=True):
                torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-6)


class Hungry(Network):
    """A linear network that asks the real allocator for more than there is where it is given too many windows."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most, self.given, self.map = most, list[int](), nn.Linear(24, 4)

    def forward(self, x_BLN: Tensor) -> Tensor:
        self.given.append(len(x_BLN))
        if len(x_BLN) > self.most:
            torch.empty(1 << 50)
        found: Tensor = self.map(x_BLN[..., 0])
        return found


def hungry(params: WindowParams, most: int) -> tuple[Step, Hungry]:
    network = Hungry(most)
    return Step(Forecaster(network, params, no_scaling(params), "last").train(), TRAINING, CPU), network


def test_a_batch_that_does_not_fit_the_memory_is_halved_twice(params: WindowParams, windows: Windows) -> None:
    batch = windows.batch(torch.arange(30))
    step, network = hungry(params, 8)
    with pytest.warns(UserWarning, match="out of memory: each batch is now trained in parts of") as said:
        step(batch, 1e-2)
    assert [str(w.message)[-10:] for w in said] == ["15 windows", " 8 windows"]
    assert network.given == [30, 15, 8, 8, 8, 6] and step.parts == 4
    step(batch, 1e-2)  # it is not tried whole again
    assert network.given[6:] == [8, 8, 8, 6]


def test_the_step_after_a_halving_is_the_step_of_a_whole_batch(params: WindowParams, windows: Windows) -> None:
    batch, weights = windows.batch(torch.arange(30)), []
    for most in (8, 100):
        torch.manual_seed(1)
        step, network = hungry(params, most)
        with pytest.warns(UserWarning) if most == 8 else nullcontext():
            step(batch, 1e-2)
        weights.append(network.map.weight.detach())
    torch.testing.assert_close(*weights)


class Drawing(Hungry):
    """The same with dropout, drawn before the memory gives out or after."""

    def __init__(self, most: int, first: bool) -> None:
        super().__init__(most)
        self.first = first

    def forward(self, x_BLN: Tensor) -> Tensor:
        dropped = nn.functional.dropout(x_BLN, 0.5) if self.first else x_BLN
        found = super().forward(dropped)
        return found if self.first else nn.functional.dropout(found, 0.5)


@pytest.mark.filterwarnings("ignore:out of memory")
@pytest.mark.parametrize("first", [True, False])
def test_a_try_that_failed_draws_nothing(params: WindowParams, windows: Windows, first: bool) -> None:
    """The smaller parts are those of a fit that was told to take them from the start."""
    batch, weights = windows.batch(torch.arange(30)), []
    for most, parts in ((15, 1), (100, 2)):
        torch.manual_seed(1)
        network = Drawing(most, first)
        forecaster = Forecaster(network, params, no_scaling(params), "last").train()
        step = Step(forecaster, replace(TRAINING, micro_batches=parts), CPU)
        for _ in range(3):
            step(batch, 1e-2)
        assert step.parts == 2
        weights.append(network.map.weight.detach())
    assert torch.equal(*weights)


@pytest.mark.filterwarnings("ignore:out of memory")
def test_memory_that_is_still_too_small_fails_the_fit_and_says_how_far_it_went(params: WindowParams, windows: Windows) -> None:
    step, network = hungry(params, 7)
    with pytest.raises(FitFailed, match=r"also with batches in parts of 8 windows: make training.batch_size .* smaller"):
        step(windows.batch(torch.arange(30)), 1e-2)
    assert network.given == [30, 15, 8] and len(network.given) == HALVINGS + 1


def test_another_error_is_not_taken_for_want_of_memory(params: WindowParams, windows: Windows) -> None:
    assert not out_of_memory(RuntimeError("shapes do not fit"))
    step, network = hungry(params, 100)
    network.map = nn.Linear(3, 4)
    with pytest.raises(RuntimeError, match="shapes"):
        step(windows.batch(torch.arange(30)), 1e-2)


@pytest.mark.parametrize("what", ["loss", "gradients"])
def test_what_is_not_finite_changes_no_weight(params: WindowParams, windows: Windows, what: str) -> None:
    step, network = hungry(params, 100)
    if what == "loss":
        network.map.bias.data[0] = torch.inf
    else:
        network.map.bias.register_hook(lambda gradient: gradient * torch.nan)
    before = [p.detach().clone() for p in network.parameters()]
    with pytest.raises(FitFailed, match=f"the {what}"):
        step(windows.batch(torch.arange(30)), 1e-2)
    for a, b in zip(before, network.parameters(), strict=True):
        assert torch.equal(a, b)


def test_validation_is_the_mean_over_all_observed_targets(panel: Panel, params: WindowParams, windows: Windows) -> None:
    """By one forward pass over everything, whatever the size of the batches that it is done in."""
    forecaster = build_forecaster("linear", {}, params, level="last", scaling=no_scaling(params)).eval()
    inputs, y_BH = windows.batch(torch.arange(len(windows)))
    with torch.no_grad():
        errors = (forecaster(*inputs)[..., 0] - y_BH).abs()
    loss, mae, _ = validate(forecaster, windows, "mae")
    assert mae == pytest.approx(float(errors[~errors.isnan()].double().mean()), rel=1e-6)
    assert loss == pytest.approx(mae, rel=1e-5)  # nothing is scaled


class Rough(Network):
    """A network whose products in bfloat16 are three times too large, or raise."""

    def __init__(self, raises: bool) -> None:
        super().__init__()
        self.raises, self.map = raises, nn.Linear(24, 4)

    def forward(self, x_BLN: Tensor) -> Tensor:
        found: Tensor = self.map(x_BLN[..., 0])
        if found.dtype == torch.bfloat16 and self.raises:
            raise RuntimeError("could not create a primitive")
        return 3 * found if found.dtype == torch.bfloat16 else found


@pytest.fixture
def units(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A CPU that says it has bfloat16 units, whether this one does or not: torch computes either way."""
    monkeypatch.setattr("models.fit.precision.has_units", lambda device: True)
    yield


@pytest.mark.usefixtures("units")
def test_bfloat16_is_refused_where_it_raises_or_strays(params: WindowParams, windows: Windows) -> None:
    batch = windows.batch(torch.arange(30))
    for raises, said in ((True, r"it raises \(could not create a primitive\)"), (False, "its loss is .* in place of")):
        forecaster = Forecaster(Rough(raises), params, no_scaling(params), "last")
        assert re.search(said, no_bfloat16(forecaster, batch, "mae"))
        assert all(p.grad is None for p in forecaster.parameters())


@pytest.mark.usefixtures("units")
@pytest.mark.parametrize(("family", "network"), [("linear", {}), *NETWORKS])
def test_bfloat16_is_taken_where_it_is_near(
    panel: Panel, params: WindowParams, split: Split, windows: Windows, family: str, network: dict[str, Any]
) -> None:
    if family != "linear" and not has_units(CPU):
        pytest.skip("this CPU has no bfloat16 units, without which torch's LSTM raises")
    forecaster = forecaster_of(panel, params, split, family, network)
    batch = (windows.dense() if forecaster.dense else windows).batch(torch.arange(30))
    assert no_bfloat16(forecaster, batch, "mae") == ""
    step = Step(forecaster.train(), TRAINING, CPU, half=True)
    loss = step(batch, 1e-3)
    assert loss.dtype == torch.float32 and all(p.dtype == torch.float32 for p in forecaster.parameters())


def test_a_cpu_without_the_units_is_told(params: WindowParams, windows: Windows, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: False)
    assert not has_units(CPU)
    forecaster = Forecaster(Rough(False), params, no_scaling(params), "last")
    assert no_bfloat16(forecaster, windows.batch(torch.arange(3)), "mae") == "this cpu has no bfloat16 units"
