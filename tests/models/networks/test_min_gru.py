"""The minimal GRU: its parallel form against its definition, one sample after the other, and the whole network in numpy."""

import numpy as np
import pytest
import torch

from models.networks.min_gru import LONGEST, MinGru, MinGruLayer, last, loop, scan


@pytest.mark.parametrize("length", [1, 2, 3, 7, 168, 173, 4096])
def test_the_parallel_form_equals_the_sequential_one(length: int) -> None:
    generator = torch.Generator().manual_seed(length)
    keep = torch.rand(2, length, 3, generator=generator)
    add = torch.randn(2, length, 3, generator=generator) * (1 - keep)
    expected = loop(keep.double(), add.double())
    torch.testing.assert_close(scan(keep, add).double(), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(last(keep, add).double(), expected[:, -1], atol=1e-5, rtol=0)
    torch.testing.assert_close(loop(keep, add), scan(keep, add), atol=1e-5, rtol=0)


def test_units_that_keep_nearly_all_stay_exact_over_4096_samples() -> None:
    keep = torch.full((1, 4096, 1), 0.9995)
    add = torch.full((1, 4096, 1), 0.0005)
    a, b = keep[0, 0].double(), add[0, 0].double()  # what 32 bits hold of them
    closed = b * (1 - a ** torch.arange(1, 4097)) / (1 - a)  # by hand: a geometric sum
    torch.testing.assert_close(scan(keep, add)[0, :, 0].double(), closed, atol=1e-5, rtol=0)


def test_gradients_are_those_of_the_sequential_form_and_finite_at_any_length() -> None:
    generator = torch.Generator().manual_seed(0)
    found = []
    for form in (scan, loop, lambda keep, add: last(keep, add)[:, None]):
        keep = torch.rand(1, 50, 2, generator=generator.manual_seed(1), dtype=torch.float64, requires_grad=True)
        add = torch.randn(1, 50, 2, generator=generator, dtype=torch.float64, requires_grad=True)
        found.append(torch.autograd.grad(form(keep, add)[:, -1].sum(), (keep, add)))
    for ours, theirs, short in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs)
        torch.testing.assert_close(short, theirs)
    keep = torch.rand(1, 4096, 1, requires_grad=True)
    for newest in (scan(keep, 1 - keep)[:, -1], last(keep, 1 - keep)):
        (gradient,) = torch.autograd.grad(newest.sum(), keep)
        assert torch.isfinite(gradient).all()


def test_the_network_equals_its_formula(map_of) -> None:
    torch.manual_seed(2)
    network = MinGru(num_features=3, lookback=9, horizon=2, outputs=2, hidden_size=4, num_layers=2)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    x = torch.randn(2, 9, 3)
    head, bias = map_of(network.head)
    weights = {name: value.detach().double().numpy() for name, value in network.named_parameters()}

    def sigmoid(a: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-a))

    for window, found in zip(x.double().numpy(), network(x).detach().numpy(), strict=True):
        states = window
        for layer in (0, 1):
            h, seen = np.zeros(4), []
            for sample in states:
                z = sigmoid(weights[f"layers.{layer}.gate.weight"] @ sample + weights[f"layers.{layer}.gate.bias"])
                candidate = weights[f"layers.{layer}.candidate.weight"] @ sample + weights[f"layers.{layer}.candidate.bias"]
                h = (1 - z) * h + z * candidate
                mixed = weights[f"mixes.{layer}.weight"] @ h + weights[f"mixes.{layer}.bias"]
                seen.append(h + mixed * sigmoid(mixed))
            states = np.stack(seen)
        expected = head @ states[-1] + bias
        np.testing.assert_allclose(found, expected.reshape(2, 2), atol=1e-5)


def test_units_begin_to_remember_over_two_to_many_samples() -> None:
    layer = MinGruLayer(3, 16)
    spans = 1 / layer.gate.bias.detach().sigmoid()
    assert spans[0].item() == pytest.approx(2.0, rel=1e-3) and spans[-1].item() == pytest.approx(LONGEST, rel=1e-3)
    assert (spans.diff() > 0).all()


@pytest.mark.parametrize("bad", [{"hidden_size": 0}, {"hidden_size": 4, "num_layers": 0}, {"hidden_size": 4, "dropout": 1.0}])
def test_numbers_out_of_range_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="at least"):
        MinGru(num_features=1, lookback=3, horizon=1, **bad)  # type: ignore[arg-type]
