"""Which rows choose a method: what calibrates never shares a target with what is scored, and all rows are scored once."""

from collections.abc import Callable

import numpy as np
import pytest

from tasks.calibrate.parts import origins_of, over_time, parts_of
from tasks.evaluate.frames import Outcome

Rows = Callable[..., Outcome]


def test_an_origin_is_counted_from_the_last_of_its_series_whatever_the_order_of_rows(rows_of: Rows) -> None:
    rows = rows_of(np.zeros((2, 3, 2)))
    mixed = np.random.default_rng(0).permutation(12)
    found = origins_of(Outcome(*(part[mixed] for part in rows[:5])))
    assert found.most == 3
    np.testing.assert_array_equal(found.later, 2 - rows.cutoff[mixed])
    np.testing.assert_array_equal(found.number, (rows.series * 3 + rows.cutoff)[mixed])


def test_a_fold_is_scored_by_what_all_others_calibrate(rows_of: Rows) -> None:
    rows = rows_of(np.zeros((2, 6, 2)), fold=np.array([0, 0, 1, 1, 2, 2]))
    found = parts_of(rows, reach=2)
    assert [part.fold for part in found] == [0, 1, 2]
    for part in found:
        np.testing.assert_array_equal(part.score, rows.fold == part.fold)
        np.testing.assert_array_equal(part.calibrate, rows.fold != part.fold)


def test_blocks_of_origins_share_no_target_with_what_calibrates(rows_of: Rows) -> None:
    rows = rows_of(np.zeros((3, 20, 4)))  # origins one row apart: a target row is that of four of them
    found = parts_of(rows, reach=4)
    target = rows.cutoff + 1 + rows.step
    assert len(found) == 5
    np.testing.assert_array_equal(sum(part.score.astype(int) for part in found), 1)
    for part in found:
        assert not set(target[part.score]) & set(target[part.calibrate])
        assert part.calibrate.any()


def test_with_one_origin_disjoint_sets_of_series_stand_for_each_other(rows_of: Rows) -> None:
    rows = rows_of(np.zeros((23, 1, 4)))
    found = parts_of(rows, reach=4)
    np.testing.assert_array_equal(sum(part.score.astype(int) for part in found), 1)
    for part in found:
        np.testing.assert_array_equal(part.score, ~part.calibrate)
        assert not set(rows.series[part.score]) & set(rows.series[part.calibrate])
        assert len(set(rows.series[part.score])) in (4, 5)
    again = parts_of(rows, reach=4)
    np.testing.assert_array_equal([part.score for part in again], [part.score for part in found])


def test_few_series_with_few_origins_choose_on_blocks_and_one_origin_alone_chooses_nothing(rows_of: Rows) -> None:
    found = parts_of(rows_of(np.zeros((1, 5, 4))), reach=4)
    assert len(found) == 2 and all(part.calibrate.any() for part in found)
    assert parts_of(rows_of(np.zeros((1, 1, 4))), reach=4) == []
    assert parts_of(rows_of(np.zeros((0, 1, 4))), reach=4) == []


@pytest.mark.parametrize(("origins", "folds", "enough"), [(12, 1, True), (11, 1, False), (2, 2, True), (1, 1, False)])
def test_series_have_errors_of_their_own_with_several_folds_or_origins_enough(
    rows_of: Rows, origins: int, folds: int, enough: bool
) -> None:
    fold = np.arange(origins) * folds // origins
    assert over_time(rows_of(np.zeros((2, origins, 4)), fold=fold), reach=4) == enough
