"""The contract of a network: each family says what its forward does; the shared head; ranges and what is said of them."""

import inspect

import pytest
import torch

from models.families import FAMILIES
from models.networks.contract import Apart, ClosedForm, Head, check_ranges

each_family = pytest.mark.parametrize("family", FAMILIES)


@each_family
def test_a_family_says_what_its_forward_takes(family: str) -> None:
    kind = FAMILIES[family]
    takes, made_of = inspect.signature(kind.forward).parameters, inspect.signature(kind).parameters
    assert kind.guided == ("y_BH" in takes)
    assert ("ahead_BHK" in takes) == ("num_ahead" in made_of)
    assert kind.closed_form == issubclass(kind, ClosedForm)
    assert kind.linear == (family in ("linear", "ridge"))
    assert not (kind.fixed_cell and "cell" in made_of)
    assert not kind.micro_batched or kind.fixed_cell or "cell" in made_of


def test_a_head_is_a_linear_map_in_the_shape_of_the_horizon(map_of) -> None:
    head, x = Head(5, 3, 4), torch.randn(4, 7, 5)
    weight, bias = map(torch.from_numpy, map_of(head))
    torch.testing.assert_close(head(x).double(), (x.double() @ weight.T + bias).reshape(4, 7, 3, 4), rtol=1e-5, atol=1e-5)
    alone = Head(5, 3, 1)
    assert set(alone.state_dict()) == {"weight", "bias"} and alone(x).shape == (4, 7, 3, 1)


def test_outputs_after_the_first_begin_at_zero_and_draw_nothing() -> None:
    torch.manual_seed(0)
    one, after_one = Head(5, 3, 1), torch.rand(1)
    torch.manual_seed(0)
    several, after_several = Head(5, 3, 4), torch.rand(1)
    assert torch.equal(one.weight, several.weight) and torch.equal(one.bias, several.bias)
    assert torch.equal(after_one, after_several)
    assert torch.equal(several(torch.randn(2, 5))[..., 1:], torch.zeros(2, 3, 3))


@pytest.mark.parametrize("apart", [True, False])
def test_where_they_are_apart_what_lies_before_a_head_learns_from_output_0_alone(map_of, apart: bool) -> None:
    head, x = Head(5, 3, 4), torch.randn(2, 5, requires_grad=True)
    map_of(head)
    head.apart = apart
    for output, moves in enumerate([True] + [not apart] * 3):
        x.grad = None
        head.train()(x)[..., output].sum().backward()
        assert (x.grad is not None and bool(x.grad.any())) == moves
    assert head.beside is not None and head.beside.weight.grad is not None and head.beside.weight.grad.any()
    x.grad = None
    head.eval()(x)[..., 1:].sum().backward()  # who looks at a trained network sees all of it
    assert x.grad is not None and x.grad.any()


def test_a_dense_network_gives_what_is_apart_of_the_newest_sample_alone(map_of) -> None:
    head, states = Head(5, 3, 4), torch.randn(2, 6, 5, requires_grad=True)
    map_of(head)
    whole = head(states)
    together = head.of_every(states)
    assert isinstance(together, torch.Tensor) and torch.equal(together, whole)
    head.apart = True
    found = head.train().of_every(states)
    assert isinstance(found, Apart)
    assert torch.equal(found.points_BLH1, whole[..., :1])
    torch.testing.assert_close(found.others_BHQ, whole[:, -1, :, 1:])
    (gradient,) = torch.autograd.grad(found.others_BHQ.sum(), states, allow_unused=True)
    assert gradient is None
    alone = Head(5, 3, 1)
    alone.apart = True
    assert isinstance(alone.of_every(states), torch.Tensor)


def test_what_is_out_of_range_is_said_with_every_range() -> None:
    check_ranges(hidden_size=1, num_ahead=0, least={"num_ahead": 0}, dropout=0.0, teacher_share=1.0)

    def said(**numbers: float) -> str:
        with pytest.raises(ValueError) as caught:
            check_ranges(**numbers)  # type: ignore[arg-type]
        return str(caught.value)

    assert said(dropout=1.0) == "dropout must be at least 0 and below 1"
    assert said(hidden_size=0, dropout=0.0) == "hidden_size must be at least 1, dropout at least 0 and below 1"
    assert said(hidden_size=1, num_layers=1, dropout=-0.1) == (
        "hidden_size and num_layers must be at least 1, dropout at least 0 and below 1"
    )
    assert said(channels=1, kernel_size=1, num_layers=1, stride=0) == (
        "channels, kernel_size, num_layers and stride must be at least 1"
    )
    assert said(channels=1, kernel_size=1, num_blocks=0, dropout=0.0, least={"kernel_size": 2, "num_blocks": 0}) == (
        "channels must be at least 1, kernel_size 2, num_blocks 0, dropout at least 0 and below 1"
    )
    assert said(hidden_size=1, num_ahead=0, dropout=0.0, teacher_share=1.5, least={"num_ahead": 0}) == (
        "hidden_size must be at least 1, num_ahead 0, dropout at least 0 and below 1, teacher_share between 0 and 1"
    )
