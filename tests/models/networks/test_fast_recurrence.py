"""Our Elman and GRU layers against torch's own, value for value and gradient for gradient, and where they step aside."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.networks.fast_recurrence import STEPS_PER_MATMUL, Elman, ElmanLayer, Gru, GruLayer

KINDS = ((Elman, nn.RNN), (Gru, nn.GRU))


def pair(ours: Any, theirs: Any, **arguments: Any) -> tuple[nn.RNNBase, nn.RNNBase]:
    """The two with the same weights, large enough for the gates to leave their linear part."""
    torch.manual_seed(0)
    mine, reference = (kind(3, 5, batch_first=True, dtype=torch.float64, **arguments) for kind in (ours, theirs))
    for parameter in mine.parameters():
        nn.init.normal_(parameter)
    reference.load_state_dict(mine.state_dict())
    return mine.train(), reference.train()


def gradients(layer: nn.RNNBase, x: Tensor, first: Tensor | None, use: str, seed: int = 3) -> tuple[list[Tensor], list[Tensor]]:
    """Outputs, and the gradients of input, first state and weights, of a loss on the states, the last state or both."""
    x = x.clone().requires_grad_()
    start = None if first is None else first.clone().requires_grad_()
    torch.manual_seed(seed)
    states, last = layer(x, start)
    generator = torch.Generator().manual_seed(seed)
    loss = torch.zeros((), dtype=x.dtype)
    for name, part in (("states", states), ("last", last)):
        weights = torch.randn(part.shape, generator=generator, dtype=x.dtype)
        loss = loss + (part * weights).sum() if use in (name, "both") else loss
    wanted = [x, *([] if start is None else [start]), *layer.parameters()]
    return [states, last], list(torch.autograd.grad(loss, wanted))


@pytest.mark.parametrize("use", ["states", "last", "both"])
@pytest.mark.parametrize("length", [1, STEPS_PER_MATMUL - 1, STEPS_PER_MATMUL, STEPS_PER_MATMUL + 1, 3 * STEPS_PER_MATMUL + 2])
@pytest.mark.parametrize(("ours", "theirs"), KINDS)
def test_a_layer_gives_torchs_states_and_gradients(ours: Any, theirs: Any, length: int, use: str) -> None:
    mine, reference = pair(ours, theirs)
    x, first = torch.randn(4, length, 3, dtype=torch.float64), torch.randn(1, 4, 5, dtype=torch.float64)
    for start in (None, first):
        for found, expected in zip(gradients(mine, x, start, use), gradients(reference, x, start, use), strict=True):
            for a, b in zip(found, expected, strict=True):
                torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("arguments", [{"num_layers": 3}, {"bidirectional": True}, {"num_layers": 2, "bidirectional": True}])
@pytest.mark.parametrize(("ours", "theirs"), KINDS)
def test_stacked_and_bidirectional_layers_are_torchs(ours: Any, theirs: Any, arguments: dict[str, Any]) -> None:
    mine, reference = pair(ours, theirs, **arguments)
    x = torch.randn(4, 11, 3, dtype=torch.float64)
    places = arguments.get("num_layers", 1) * (1 + arguments.get("bidirectional", False))
    first = torch.randn(places, 4, 5, dtype=torch.float64)
    for found, expected in zip(gradients(mine, x, first, "both"), gradients(reference, x, first, "both"), strict=True):
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("ours", "theirs"), KINDS)
def test_dropout_lies_between_the_layers_and_draws_what_torch_draws(ours: Any, theirs: Any) -> None:
    mine, reference = pair(ours, theirs, num_layers=2, dropout=0.5)
    x = torch.randn(4, 9, 3, dtype=torch.float64)
    for a, b in zip(gradients(mine, x, None, "both")[1], gradients(reference, x, None, "both")[1], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("ours", "theirs"), KINDS)
def test_single_precision_is_as_near_to_double_as_torch_is(ours: Any, theirs: Any) -> None:
    mine, reference = pair(ours, theirs)
    x = torch.randn(16, 60, 3, dtype=torch.float64)
    exact = gradients(reference, x, None, "both")[1]
    errors = []
    for layer in (mine, reference):
        found = gradients(layer.float(), x.float(), None, "both")[1]
        errors.append(max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(found, exact, strict=True)))
    assert errors[0] < max(4 * errors[1], 1e-5)


def test_gradients_by_finite_differences() -> None:
    def values(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, requires_grad=True)

    torch.manual_seed(1)
    assert torch.autograd.gradcheck(ElmanLayer.apply, (values(10, 2, 3), values(2, 4), values(4, 3), values(4, 4), values(4)))
    many = (values(10, 2, 3), values(2, 4), values(12, 3), values(12, 4), values(12), values(12))
    assert torch.autograd.gradcheck(GruLayer.apply, many)


@pytest.mark.parametrize(("ours", "theirs"), KINDS)
def test_evaluation_is_torchs_own_to_the_bit(ours: Any, theirs: Any) -> None:
    mine, reference = pair(ours, theirs)
    x = torch.randn(4, 20, 3, dtype=torch.float64)
    for a, b in zip(mine.eval()(x), reference.eval()(x), strict=True):
        assert torch.equal(a, b)
    with torch.no_grad():
        assert torch.equal(mine.train()(x)[0], reference.train()(x)[0])


def test_what_the_layers_are_not_for_goes_to_torch() -> None:
    mine, reference = pair(Elman, nn.RNN, nonlinearity="relu")
    x = torch.randn(4, 20, 3, dtype=torch.float64)
    assert torch.equal(mine(x)[0], reference(x)[0])
    one, other = pair(Gru, nn.GRU)
    assert torch.equal(one(x[0])[0], other(x[0])[0])  # [L, F], without a batch
    packed = nn.utils.rnn.pack_padded_sequence(x, torch.tensor([20, 9, 5, 1]), batch_first=True)
    assert torch.equal(one(packed)[0].data, other(packed)[0].data)


@pytest.mark.parametrize(("ours", "theirs"), KINDS)
def test_a_second_backward_is_refused_and_not_wrong(ours: Any, theirs: Any) -> None:
    mine, _ = pair(ours, theirs)
    x = torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(mine(x)[0].sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="does not require grad"):
        slope.sum().backward()  # type: ignore[no-untyped-call]
