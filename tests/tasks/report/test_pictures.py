"""Which pictures a comparison has, and against whom: the best baseline, by skill; the best variant where that is shown."""

from collections.abc import Callable

import pytest

from tasks.compare.compare import Comparison
from tasks.report.pictures import _skills, beside
from tasks.train.kind import Kind

Made = Callable[[bool], Comparison]


def test_skill_is_in_percent_and_only_variants_are_told_apart(made: Made) -> None:
    gru, naive = _skills(made(True))
    assert (gru.name, gru.mean, gru.low, gru.high) == pytest.approx(("gru", 25.0, 10.0, 40.0)) and not gru.alike
    assert (naive.name, naive.mean, naive.low, naive.kind) == ("last_value", -100.0, None, Kind.BASELINE)
    assert not naive.alike  # its p is 0.3, but a baseline is of no group


def test_the_best_baseline_is_drawn_beside_the_winner_and_the_best_variant_beside_the_best_baseline(made: Made) -> None:
    assert beside(made(True)) == "theta"
    assert beside(made(False)) == "gru"
