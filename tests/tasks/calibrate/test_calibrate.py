"""A calibration is chosen on rows that it was not calibrated on, then made of all; units of measure change nothing else."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from params.errors import UserError
from tasks.calibrate.calibrate import calibrate, interval_score
from tasks.calibrate.methods import Method, fitted
from tasks.calibrate.yardsticks import LATEST, NOW, Yardsticks
from tasks.evaluate.frames import Outcome

Made = Callable[..., Yardsticks]
Rows = Callable[..., Outcome]
SPREADS = np.geomspace(0.1, 1000, 12)


def panel_and_rows(yardsticks_of: Made, rows_of: Rows, factor: float = 1.0, origins: int = 30) -> tuple[Yardsticks, Outcome]:
    """Twelve series of different size, and what was forecast of them."""
    rng = np.random.default_rng(0)
    history = factor * (rng.normal(size=(12, 200)) * SPREADS[:, None])
    errors = factor * (rng.normal(size=(12, origins, 2)) * SPREADS[:, None, None])
    return yardsticks_of(history, horizon=2), rows_of(errors)


def test_series_of_different_size_are_calibrated_in_units_and_the_scores_behind_the_choice_are_kept(
    yardsticks_of: Made, rows_of: Rows
) -> None:
    shared, rows = panel_and_rows(yardsticks_of, rows_of)
    found = calibrate(rows, shared)
    assert {*found.scores} == {
        *("split", "naive", "spread", "spread-by-series", "spread-even", "spread-by-series-even"),
    }
    assert found.scores["split"] > 10 * min(found.scores.values())
    assert found.scores[found.method] == min(found.scores.values())
    low, high = found.calibration.quantiles(rows.point, rows.step, rows.series)[:, [1, -2]].T
    covered = ((rows.y >= low) & (rows.y <= high)).reshape(12, -1).mean(axis=1)
    assert covered.min() > 0.75 and covered.mean() == pytest.approx(0.9, abs=0.03)


def test_what_is_kept_is_calibrated_on_all_rows(yardsticks_of: Made, rows_of: Rows) -> None:
    shared, rows = panel_and_rows(yardsticks_of, rows_of)
    found = calibrate(rows, shared, "spread")
    again = fitted(Method(unit="spread"), rows, np.zeros(len(rows.y), int), shared)
    assert (found.method, dict(found.scores)) == ("spread", {})
    np.testing.assert_array_equal(found.calibration.offsets, again.offsets)


def test_quantiles_of_its_own_that_know_more_are_chosen(yardsticks_of: Made, rows_of: Rows) -> None:
    rng = np.random.default_rng(1)
    width = rng.choice([0.1, 10.0], size=(12, 30, 2))
    shared = yardsticks_of(rng.normal(size=(12, 200)), horizon=2)
    shape = np.array([-2, -1.6, -1.3, 0, 1.3, 1.6, 2])
    rows = rows_of(rng.normal(size=(12, 30, 2)) * width, own=width[..., None] * shape)
    assert calibrate(rows, shared).method.startswith("cqr")
    assert not calibrate(rows._replace(own=20 * rng.normal(size=(len(rows.y), 7))), shared).method.startswith("cqr")


@pytest.mark.parametrize("factor", [2.0**-30, 2.0**40, 1000.0, 1e-7])
def test_another_unit_of_measure_changes_no_coverage_and_no_score(factor: float, yardsticks_of: Made, rows_of: Rows) -> None:
    shared, rows = panel_and_rows(yardsticks_of, rows_of)
    other_shared, others = panel_and_rows(yardsticks_of, rows_of, factor)
    found, other = calibrate(rows, shared), calibrate(others, other_shared)
    exact = float(np.log2(factor)).is_integer()
    assert found.method == other.method
    same = np.testing.assert_array_equal if exact else (lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6))
    same(list(other.scores.values()), list(found.scores.values()))
    ours = found.calibration.quantiles(rows.point, rows.step, rows.series)
    theirs = other.calibration.quantiles(others.point, others.step, others.series)
    same(theirs, ours * factor)
    new = np.random.default_rng(9).normal(size=len(rows.y)) * SPREADS[rows.series]  # no errors that a quantile lies on
    np.testing.assert_array_equal(factor * new[:, None] <= theirs, new[:, None] <= ours)


def test_after_a_training_on_all_rows_units_are_those_of_the_last_rows(yardsticks_of: Made, rows_of: Rows) -> None:
    history = np.concatenate([np.tile([0.0, 1.0], (3, 100)), np.tile([0.0, 3.0], (3, 100))], axis=1)
    shared = replace(yardsticks_of(history, horizon=1), before=[np.full(3, 180)], now=np.full(3, 200))
    calibrated = calibrate(rows_of(np.random.default_rng(2).normal(size=(3, 80, 1))), shared, "naive")
    found, units = calibrated.calibration, shared.units("naive", "none")
    assert found.latest is not None
    np.testing.assert_allclose(found.units, units[NOW])
    np.testing.assert_allclose(found.latest, units[LATEST])
    assert found.latest[0] > 1.9 * found.units[0] and found.ratio == 1.0


def test_the_interval_score_by_hand(yardsticks_of: Made, rows_of: Rows) -> None:
    shared = replace(yardsticks_of(np.tile([0.0, 1.0], (1, 40)), horizon=1), levels=np.array([0.1, 0.25, 0.5, 0.75, 0.9]))
    rows = rows_of(np.array([[[3.0], [0.0], [-7.0]]]))
    found = fitted(Method(), rows, np.zeros(3, int), shared)._replace(offsets=np.array([[[-4.0, -1, 0, 1, 5]]]))
    # 80 %: 9, and 10 times what lies outside (3 below); 50 %: 2, and 4 times what lies outside (2 above, 6 below)
    expected = [(9 + (2 + 4 * 2)) / 2, (9 + 2) / 2, (9 + 10 * 3 + (2 + 4 * 6)) / 2]
    np.testing.assert_allclose(interval_score(found, rows, shared), expected)


def test_one_series_with_one_origin_chooses_nothing_and_has_the_intervals_that_so_few_errors_allow(
    yardsticks_of: Made, rows_of: Rows
) -> None:
    rng = np.random.default_rng(3)
    shared = yardsticks_of(rng.normal(size=(1, 100)), horizon=18)
    found = calibrate(rows_of(rng.normal(size=(1, 1, 18))), shared)
    assert (found.method, dict(found.scores)) == ("spread-even", {})
    known = np.isfinite(found.calibration.offsets[0])
    assert known[:, [1, 2, 4, 5]].all() and not known[:, [0, 6]].any()  # 18 errors say 90 %, and not 95


@pytest.mark.parametrize("own", [None, np.zeros((12, 30, 2, 7))])
def test_without_any_error_there_are_no_intervals(own: np.ndarray | None, yardsticks_of: Made, rows_of: Rows) -> None:
    shared, _ = panel_and_rows(yardsticks_of, rows_of)
    found = calibrate(rows_of(np.full((12, 30, 2), np.nan), own=own), shared)
    assert np.isnan(found.calibration.offsets).all() and found.calibration.offsets.shape == (1, 2, 7)
    assert (found.calibration.units > 0).all()


def test_rows_that_are_missing_count_for_nothing(yardsticks_of: Made, rows_of: Rows) -> None:
    shared, rows = panel_and_rows(yardsticks_of, rows_of)
    hidden = rows.cutoff >= 20
    holes = rows._replace(y=np.where(hidden, np.nan, rows.y))
    kept = Outcome(*(part[~hidden] for part in rows[:5]))
    np.testing.assert_array_equal(
        calibrate(holes, shared, "spread").calibration.offsets, calibrate(kept, shared, "spread").calibration.offsets
    )


def test_a_named_method_is_taken_and_a_model_without_quantiles_has_that_of_its_point(
    yardsticks_of: Made, rows_of: Rows
) -> None:
    shared, rows = panel_and_rows(yardsticks_of, rows_of)
    own = rows._replace(own=np.zeros((len(rows.y), 7)))
    for name in ("cqr-spread-by-series-even", "cqr-naive", "cqr"):
        assert calibrate(own, shared, name).method == name
    assert calibrate(rows, shared, "cqr-spread-by-series-even").method == "spread-by-series-even"
    assert calibrate(rows, shared, "cqr").method == "split"


def test_a_method_that_there_is_not_is_refused(yardsticks_of: Made, rows_of: Rows) -> None:
    shared, rows = panel_and_rows(yardsticks_of, rows_of)
    with pytest.raises(UserError, match=r"'jackknife' is no method: name auto, or one such as split, naive, spread"):
        calibrate(rows, shared, "jackknife")
    with pytest.raises(UserError, match=r"groups by 'region', which is no categorical static covariate"):
        calibrate(rows, shared, "spread-by-region")
