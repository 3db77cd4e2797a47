"""The contract of a network: each family says what its forward does; the shared head; ranges and what is said of them."""

import inspect

import pytest
import torch

from models.families import FAMILIES
from models.networks.contract import ClosedForm, Head, check_ranges

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


def test_a_head_is_a_linear_map_in_the_shape_of_the_horizon() -> None:
    head, x = Head(5, 3, 2), torch.randn(4, 7, 5)
    assert set(head.state_dict()) == {"weight", "bias"}
    torch.testing.assert_close(head(x), (x @ head.weight.T + head.bias).reshape(4, 7, 3, 2))


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
