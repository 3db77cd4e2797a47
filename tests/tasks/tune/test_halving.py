"""Successive halving by hand: rungs at thirds, the better half goes on, nothing among few, the same however late."""

import pytest

from tasks.tune.halving import Cut, Halving


@pytest.mark.parametrize(("epochs", "rungs"), [(30, [10, 20]), (10, [4, 7]), (4, [2, 3]), (3, [1, 2]), (2, [1]), (1, [])])
def test_the_rungs_are_after_a_third_and_two_thirds_of_the_epochs(epochs: int, rungs: list[int]) -> None:
    assert list(Halving.of(epochs, "val_mae", []).peers) == rungs


def rule(*errors: float) -> Halving:
    return Halving.of(6, "val_mae", [{2: error, 4: error} for error in errors])


def test_what_is_worse_than_the_median_is_pruned_and_half_goes_on() -> None:
    five = rule(1.0, 2.0, 3.0, 4.0, 5.0)
    assert five.cut({2: 3.1}, 2) == Cut(2, 3.1, 3.0)
    assert five.cut({2: 3.0}, 2) is None
    six = rule(1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
    assert six.cut({2: 4.0}, 2) is None and six.cut({2: 4.1}, 2) == Cut(2, 4.1, 4.0)


def test_nothing_is_pruned_among_fewer_than_five() -> None:
    assert rule(1.0, 2.0, 3.0, 4.0).cut({2: 99.0}, 2) is None


def test_a_rung_is_looked_at_once_a_trial_has_come_to_it_and_the_first_decides() -> None:
    five = rule(1.0, 2.0, 3.0, 4.0, 5.0)
    assert five.cut({2: 9.0, 4: 9.0}, 1) is None
    assert five.cut({2: 9.0, 4: 9.0}, 6) == Cut(2, 9.0, 3.0)
    assert five.cut({2: 2.5, 4: 3.5}, 3) is None
    assert five.cut({2: 2.5, 4: 3.5}, 4) == Cut(4, 3.5, 3.0)


def test_those_that_did_not_come_to_a_rung_do_not_count_there() -> None:
    halving = Halving.of(6, "val_mae", [{2: 1.0, 4: 1.0}] * 4 + [{2: 9.0}] * 4)
    assert halving.peers == {2: [1.0] * 4 + [9.0] * 4, 4: [1.0] * 4}
    assert halving.cut({2: 9.0, 4: 50.0}, 6) is None


def test_the_error_at_a_rung_is_the_best_so_far_and_that_of_a_fit_that_ended_before() -> None:
    rows = [{"epoch": epoch, "val_mae": error, "val_loss": 1.0} for epoch, error in enumerate((5.0, 3.0, 4.0, 2.0))]
    assert rule().at(rows) == {2: 3.0, 4: 2.0}
    assert rule().at(rows[:3]) == {2: 3.0, 4: 3.0}
    assert Halving.of(6, "val_loss", []).at(rows) == {2: 1.0, 4: 1.0}
