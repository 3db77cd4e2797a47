"""Conformal quantiles against numbers worked out by hand, an independent implementation, and panels whose truth is known."""

import numpy as np
import pytest

from tasks.calibrate import conformal as module
from tasks.calibrate.conformal import conformal, symmetric

LEVELS = np.array([0.05, 0.1, 0.5, 0.9, 0.95])


def offsets_of(scores: np.ndarray, cells: np.ndarray, shape: tuple[int, int], levels: np.ndarray, even: bool) -> np.ndarray:
    return module.offsets_of(scores, np.arange(len(scores)), cells, shape, levels, even)


def test_a_quantile_of_nine_errors_is_the_one_worked_out_by_hand() -> None:
    errors = np.array([[3.0], [-1.0], [7.0], [0.0], [2.0], [-4.0], [5.0], [1.0], [-2.0]])
    # in order -4 -2 -1 0 1 2 3 5 7; of ten places: 0.1 is the first, 0.5 the fifth, 0.9 the ninth; 0.05 and 0.95 lie outside
    found = conformal(errors, LEVELS)
    np.testing.assert_array_equal(found, [np.nan, -4.0, 1.0, 7.0, np.nan])


def test_a_level_between_two_errors_takes_the_one_further_out() -> None:
    found = conformal(np.arange(1.0, 12.0)[:, None], np.array([0.1, 0.9]))  # 1.2 of 12 places down, 10.8 up
    np.testing.assert_array_equal(found, [1.0, 11.0])


def test_intervals_that_reach_as_far_down_as_up_by_hand() -> None:
    errors = np.array([[1.0], [-2.0], [3.0], [-4.0], [5.0], [-6.0], [7.0], [-8.0], [9.0]])
    found = symmetric(errors, LEVELS)  # 80 % of ten places: the eighth of the sizes 1 to 9; 90 %: the ninth
    np.testing.assert_array_equal(found, [-9.0, -8.0, 0.0, 8.0, 9.0])


def test_a_level_without_its_counterpart_has_no_interval() -> None:
    found = symmetric(np.arange(9.0)[:, None], np.array([0.1, 0.5, 0.8]))
    np.testing.assert_array_equal(found, [np.nan, 0.0, np.nan])


def test_conformalised_quantile_regression_is_that_of_an_independent_implementation() -> None:
    rng = np.random.default_rng(0)
    lower, upper, y = rng.normal(-1, 0.1, 200), rng.normal(1, 0.1, 200), rng.normal(0, 1.5, 200)
    # Romano et al. 2019, equation 8 and the line below it, with numpy's own quantile
    level = np.ceil(201 * 0.8) / 200
    by_hand = np.quantile(np.maximum(lower - y, y - upper), level, method="inverted_cdf")
    scores = np.stack([y - lower, y - upper], axis=1)
    np.testing.assert_allclose(symmetric(scores, np.array([0.1, 0.9])), [-by_hand, by_hand], rtol=1e-12)
    # the asymmetric form (their theorem 2): each end by itself
    low = np.quantile(lower - y, np.ceil(201 * 0.9) / 200, method="inverted_cdf")
    high = np.quantile(y - upper, np.ceil(201 * 0.9) / 200, method="inverted_cdf")
    np.testing.assert_allclose(conformal(scores, np.array([0.1, 0.9])), [-low, high], rtol=1e-12)


def test_one_more_lies_inside_with_the_probability_of_its_level_whatever_the_distribution() -> None:
    rng = np.random.default_rng(1)
    inside = []
    for _ in range(4000):
        errors = rng.standard_cauchy(20)
        low, high = conformal(errors[:-1, None], np.array([0.1, 0.9]))  # of 19: 2 of 20 and 18 of 20 places, exactly
        inside.append((errors[-1] <= high, errors[-1] >= low))
    shares = np.mean(inside, axis=0)
    np.testing.assert_allclose(shares, [0.9, 0.9], atol=3 * np.sqrt(0.09 / 4000))


def test_each_group_and_step_has_its_own_quantiles() -> None:
    rng = np.random.default_rng(2)
    spread = np.array([[1.0, 2.0, 4.0], [10.0, 20.0, 40.0]])
    cells = rng.permutation(np.repeat(np.arange(6), 999))
    scores = rng.normal(size=len(cells)) * spread.ravel()[cells]
    found = offsets_of(scores[:, None], cells, (2, 3), LEVELS, even=False)
    for cell in range(6):
        mine = conformal(scores[cells == cell, None], LEVELS)
        np.testing.assert_array_equal(found[cell // 3, cell % 3], mine)
    assert found.shape == (2, 3, 5)


def test_a_step_with_few_errors_is_helped_by_those_beside_it_in_its_own_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEAST", 3)
    scores = np.array([[1.0], [-1.0], [10.0], [-10.0], [20.0], [-20.0]])  # two a step, of sizes 1, 10, 20
    found = offsets_of(scores, np.array([0, 0, 1, 1, 2, 2]), (1, 3), np.array([0.4, 0.6]), even=False)
    # step 0 and 1 together: four of size 1 (five places: 0.4 is the second, -1); step 1 takes all six, and so on
    np.testing.assert_allclose(found[0], [[-1, 1], [-10, 10], [-20, 20]])


def test_with_too_few_errors_for_one_side_alone_both_sides_say_it() -> None:
    scores = np.linspace(-1, 1, 25)[:, None]
    found = offsets_of(scores, np.zeros(25, int), (1, 1), np.array([0.025, 0.05, 0.95, 0.975]), even=False)[0, 0]
    assert (found[1], found[2]) == (-1.0, 1.0)  # 1.3 of 26 places: the first
    assert found[0] == -1.0 and found[3] == 1.0  # 0.65 of 26 places is none; of both sides, 24.7 of 26 is the last


def test_a_step_without_any_error_takes_those_of_others_and_a_panel_without_any_has_none() -> None:
    found = offsets_of(np.arange(1.0, 20.0)[:, None], np.zeros(19, int), (1, 2), np.array([0.1, 0.9]), even=False)
    assert np.isfinite(found).all()
    assert np.isnan(offsets_of(np.empty((0, 1)), np.empty(0, int), (2, 3), LEVELS, even=False)).all()
