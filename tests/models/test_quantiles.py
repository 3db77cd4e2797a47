"""quantiles.py: the steps between the quantiles of a normal distribution, and what each counts in a mean, by hand."""

import pytest

from models.quantiles import normal_steps, shares


def test_steps_go_outwards_from_the_middle_quantile() -> None:
    """Of a standard normal 0.1, 0.5 and 0.9 lie at -1.2816, 0 and 1.2816; without 0.5 the lower of two is the middle."""
    assert normal_steps((0.1, 0.5, 0.9)).tolist() == pytest.approx([1.2816, 0.0, 1.2816], abs=1e-4)
    assert normal_steps((0.1, 0.9)).tolist() == pytest.approx([-1.2816, 2.5631], abs=1e-4)
    assert normal_steps((0.5,)).tolist() == [0.0] and normal_steps(()).tolist() == []


def test_shares_are_half_the_way_to_the_next_level_and_the_outermost_reach_the_ends() -> None:
    assert shares((0.1, 0.5, 0.9)).tolist() == pytest.approx([0.3, 0.4, 0.3])
    assert sum(shares((0.05, 0.2, 0.9)).tolist()) == pytest.approx(1.0)
