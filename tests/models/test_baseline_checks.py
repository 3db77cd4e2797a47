"""models/baseline_checks.py: every check fails for a function that breaks it, and for no other."""

from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np
import pytest

from models.baseline_checks import AT_ONCE, CHECKS
from models.checks import tried

Function = Callable[[np.ndarray, int, int], Any]
CALLS = count()


def level(history: np.ndarray, steps: int, season: int) -> np.ndarray | None:
    return np.full(steps, history[-season:].mean()) if len(history) >= season else None


def scaled(history: np.ndarray, steps: int, season: int) -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.full(steps, np.float64(1) / history.std())


def with_a_gap(history: np.ndarray, steps: int, season: int) -> np.ndarray:
    return np.full(steps, np.nan if (history[-5:] == history[-1]).all() and np.ptp(history) and len(history) > 9 else 1.0)


def doubled(history: np.ndarray, steps: int, season: int) -> np.ndarray:
    history *= 2
    return np.full(steps, 1.0)


BROKEN: list[tuple[Function, set[str], str]] = [
    (lambda history, steps, season: np.ones(steps + 1), {"steps", "short", "constant", "gaps", "repeatable"}, "array of [2]"),
    (lambda history, steps, season: np.full(steps, history[5]), {"short"}, "IndexError: index 5 is out of bounds"),
    (lambda history, steps, season: None, {"steps", "repeatable"}, "it returns None for 60 values"),
    (scaled, {"short", "constant"}, "for a series that is always 0 it returns a number that is not finite"),
    (with_a_gap, {"gaps"}, "a series with gaps, which repeat the value before them it returns a number that is not"),
    (lambda history, steps, season: np.full(steps, float(next(CALLS))), {"repeatable"}, "other numbers for the same history"),
    (doubled, {"unchanged"}, "it changes the history"),
]


def test_a_sound_baseline_passes_every_check() -> None:
    assert [(check.name, wrong) for check, wrong in tried(CHECKS, level) if wrong] == []
    assert [check.name for check in AT_ONCE] == ["steps", "repeatable"]


@pytest.mark.parametrize(("function", "names", "told"), BROKEN)
def test_what_breaks_the_contract_fails_its_check(function: Function, names: set[str], told: str) -> None:
    found = {check.name: wrong for check, wrong in tried(CHECKS, function) if wrong}
    assert found.keys() == names and any(told in wrong for wrong in found.values()), found
