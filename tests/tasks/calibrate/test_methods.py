"""Methods of calibration on panels whose distribution is known: exact coverage of every series and step."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from models.serving import Bounds, Calibration
from tasks.calibrate.methods import Method, fitted, methods, scores_of
from tasks.calibrate.yardsticks import NOW, Yardsticks
from tasks.evaluate.frames import Outcome

Made = Callable[..., Yardsticks]
Rows = Callable[..., Outcome]
SPREADS = 10.0 ** np.arange(-2, 4)  # of six series
STEPS = np.array([1.0, 1.5, 2.5])


def inside(found: Calibration, distribution: stats.rv_continuous, series: int, step: int, scale: float) -> np.ndarray:
    """[Q] the true probability of lying below each quantile of a series and step whose errors are `scale` times draws."""
    one = found.quantiles(np.zeros(1), np.array([step]), np.array([series]))[0]
    return np.asarray(distribution.cdf(one / scale))


@pytest.mark.parametrize("distribution", [stats.norm(), stats.t(3), stats.gumbel_r()], ids=["normal", "heavy", "skewed"])
@pytest.mark.parametrize("method", [Method(unit="naive"), Method(unit="spread"), Method(unit="spread", by="series")])
def test_quantiles_are_the_true_ones_for_every_series_and_step(
    distribution: stats.rv_continuous, method: Method, yardsticks_of: Made, rows_of: Rows
) -> None:
    rng = np.random.default_rng(0)
    history = distribution.rvs(size=(6, 4000), random_state=rng) * SPREADS[:, None]
    errors = distribution.rvs(size=(6, 800, 3), random_state=rng) * SPREADS[:, None, None] * STEPS
    shared = replace(yardsticks_of(history, horizon=3), stride=3)
    rows = rows_of(errors)
    found = fitted(method, rows, np.zeros(len(rows.y), int), shared)
    rough = 0.1 if method == Method(unit="spread") else 0.035  # that unit is of 50 rows, and so is a tenth off itself
    for series in range(6):
        for step in range(3):
            shares = inside(found, distribution, series, step, SPREADS[series] * STEPS[step])
            np.testing.assert_allclose(shares, shared.levels, atol=rough)


def test_pooled_errors_without_units_fail_the_largest_series(yardsticks_of: Made, rows_of: Rows) -> None:
    rng = np.random.default_rng(1)
    shared = yardsticks_of(rng.normal(size=(6, 100)) * SPREADS[:, None], horizon=3)
    rows = rows_of(rng.normal(size=(6, 400, 3)) * SPREADS[:, None, None])
    found = fitted(Method(), rows, np.zeros(len(rows.y), int), shared)
    normal = stats.norm()
    shares = [inside(found, normal, series, 0, SPREADS[series]) for series in range(6)]
    covered = [share[-2] - share[1] for share in shares]
    assert covered[0] == pytest.approx(1.0) and covered[-1] < 0.6


def test_own_quantiles_that_are_off_are_moved_to_the_true_ones(yardsticks_of: Made, rows_of: Rows) -> None:
    rng = np.random.default_rng(2)
    shared = yardsticks_of(rng.normal(size=(4, 200)), horizon=2)
    width = rng.uniform(0.5, 3, size=(4, 900, 2))  # known to the model, new in each row
    own = 0.5 + 0.6 * width[..., None] * stats.norm.ppf(shared.levels)
    rows = rows_of(rng.normal(size=(4, 900, 2)) * width, own=own)
    found = fitted(Method(own=True), rows, np.zeros(len(rows.y), int), shared)
    below = rows.y[:, None] <= found.quantiles(rows.point, rows.step, rows.series, rows.own)
    middle = shared.levels != 0.5
    np.testing.assert_allclose(below.mean(axis=0)[middle], shared.levels[middle], atol=0.01)


def test_a_transform_gives_the_same_as_the_calibration_of_transformed_numbers(yardsticks_of: Made, rows_of: Rows) -> None:
    rng = np.random.default_rng(3)
    walks = rng.normal(scale=0.1, size=(5, 200)).cumsum(axis=1) + 3
    point, errors = rng.uniform(1, 5, size=(5, 60, 2)), rng.normal(scale=0.2, size=(5, 60, 2))
    raw = yardsticks_of(np.expm1(walks), horizon=2, transform="log1p")
    changed = yardsticks_of(walks, horizon=2)
    rows, others = rows_of(np.expm1(point + errors), np.expm1(point)), rows_of(point + errors, point)
    fold = np.zeros(len(rows.y), int)
    found = fitted(Method(unit="spread", transform="log1p"), rows, fold, raw)
    other = fitted(Method(unit="spread"), others, fold, changed)
    ours = found.quantiles(rows.point, rows.step, rows.series)
    np.testing.assert_allclose(np.log1p(ours), other.quantiles(others.point, others.step, others.series), rtol=1e-9)


def test_each_group_has_offsets_of_its_own_and_a_series_that_is_not_there_those_of_all(
    yardsticks_of: Made, rows_of: Rows
) -> None:
    rng = np.random.default_rng(4)
    codes = np.array([1] * 20 + [2] * 20)
    shared = yardsticks_of(rng.normal(size=(40, 100)), horizon=2, statics=codes)
    rows = rows_of(rng.normal(size=(40, 30, 2)) * np.where(codes == 1, 1.0, 5.0)[:, None, None])
    found = fitted(Method(by="region"), rows, np.zeros(len(rows.y), int), shared)
    pooled = fitted(Method(), rows, np.zeros(len(rows.y), int), shared)
    assert found.offsets.shape == (3, 2, 7)
    ends = shared.levels != 0.5
    np.testing.assert_allclose((found.offsets[1] / found.offsets[0])[:, ends], 5, rtol=0.2)
    np.testing.assert_array_equal(found.offsets[2], pooled.offsets[0])
    np.testing.assert_array_equal(found.groups, [0] * 20 + [1] * 20 + [2])


def test_errors_of_a_fold_are_in_units_of_what_was_known_before_it(yardsticks_of: Made, rows_of: Rows) -> None:
    history = np.concatenate([np.tile([0.0, 1.0], (3, 50)), np.tile([0.0, 4.0], (3, 50))], axis=1)
    shared = replace(yardsticks_of(history, horizon=1), before=[np.full(3, 100), np.full(3, 200)])
    units = shared.units("naive", "none")
    rng = np.random.default_rng(5)
    normal = rng.normal(size=(3, 200, 1))
    fold = np.arange(200) // 100
    rows = rows_of(normal * units[fold, 0][:, None], fold=fold)
    assert rows.fold is not None
    found = fitted(Method(unit="naive"), rows, rows.fold, shared)
    pooled = fitted(Method(), rows_of(normal), np.zeros(600, int), shared)
    np.testing.assert_allclose(found.offsets, pooled.offsets, rtol=1e-12)
    np.testing.assert_array_equal(found.units, units[NOW])


def test_the_unit_of_a_series_moves_towards_its_own_errors_the_more_the_more_origins_it_has(
    yardsticks_of: Made, rows_of: Rows
) -> None:
    shared = yardsticks_of(np.tile([0.0, 1.0], (2, 40)), horizon=1)
    weights = []
    for origins in (1, 4, 400):
        signs = np.tile([1.0, -1.0], origins)[:origins]
        rows = rows_of(np.stack([signs, 3 * signs])[..., None])  # sizes 1 and 3: half and one and a half of the usual 2
        found = fitted(Method(by="series"), rows, np.zeros(len(rows.y), int), shared)
        weights.append(np.log(found.units[:2]) / np.log([0.5, 1.5]))
        assert found.units[2] == 1.0
    np.testing.assert_allclose(weights, np.repeat([[1 / 5], [4 / 8], [400 / 404]], 2, axis=1))


def test_whole_numbers_are_covered_after_rounding_outward_and_not_a_step_beyond(yardsticks_of: Made, rows_of: Rows) -> None:
    rng = np.random.default_rng(6)
    bounds = Bounds(lowest=0.0, integer=True)
    counts = rng.poisson(6.0, size=(4, 2000, 1)).astype(float)
    for transform in ("none", "log1p"):
        shared = yardsticks_of(counts[:, :300, 0], horizon=1, bounds=bounds, transform=transform)
        rows = rows_of(counts, 6.0)
        found = fitted(Method(transform=transform), rows, np.zeros(len(rows.y), int), shared)
        one = found.quantiles(np.array([6.0]), np.zeros(1, int), np.zeros(1, int))
        ends = bounds.outward(one, found.levels)[0]
        poisson = stats.poisson(6.0)
        np.testing.assert_array_equal(ends[[0, 1, 2, 4, 5, 6]], poisson.ppf(shared.levels[[0, 1, 2, 4, 5, 6]]))


def test_a_count_of_nothing_but_zeros_has_an_interval_of_zero(yardsticks_of: Made, rows_of: Rows) -> None:
    bounds = Bounds(lowest=0.0, integer=True)
    shared = yardsticks_of(np.zeros((2, 50)), horizon=1, bounds=bounds, transform="log1p")
    rows = rows_of(np.zeros((2, 100, 1)))
    found = fitted(Method(unit="spread", transform="log1p"), rows, np.zeros(len(rows.y), int), shared)
    ends = bounds.outward(found.quantiles(np.zeros(1), np.zeros(1, int), np.zeros(1, int)), found.levels)
    np.testing.assert_array_equal(ends[0], np.zeros(7))


def test_the_methods_that_suit_a_model(yardsticks_of: Made) -> None:
    plain = yardsticks_of(np.ones((3, 20)), horizon=2)
    names = [one.name for one in methods(plain, own=False, origins=9, over_time=True)]
    assert names == ["split", "naive", "spread", "spread-by-series", "spread-even", "spread-by-series-even"]
    logs = yardsticks_of(np.ones((60, 20)), horizon=2, transform="log1p")
    names = [one.name for one in methods(logs, own=True, origins=1, over_time=False)]
    assert names == [
        *("split-even", "naive-even", "naive-even-log1p", "spread-even-log1p", "spread-by-size-even-log1p"),
        *("cqr-even-log1p", "cqr-naive-even-log1p", "cqr-spread-even-log1p", "cqr-spread-by-size-even-log1p"),
    ]
    assert len({one.name for one in methods(logs, True, 9, True)}) == len(methods(logs, True, 9, True)) == 15


@pytest.mark.parametrize("unit", ["none", "naive", "spread"])
@pytest.mark.parametrize("by", ["", "size", "series", "a-region"])
def test_a_name_says_all_of_a_method(unit: str, by: str) -> None:
    for own in (False, True):
        for even in (False, True):
            for transform in ("none", "log1p", "asinh"):
                method = Method(own, unit, transform, even, by)
                assert Method.of(method.name) == method
    assert [Method.of(name) for name in ("", "auto", "spread-", "cqr-split", "even", "-spread", "cqr-by-")] == [None] * 7


def test_a_missing_own_quantile_is_a_missing_score() -> None:
    own = np.array([[1.0, np.nan], [1.0, 2.0]])
    rows = Outcome(np.array([3.0, 3.0]), np.zeros(2), np.zeros(2, int), np.zeros(2, int), np.zeros(2, int), own)
    found = scores_of(Method(own=True), rows, np.array([2.0, 2.0]), np.array([0.1, 0.9]), False)
    np.testing.assert_array_equal(found, [[1.0, np.nan], [1.0, 0.5]])


def test_a_base_that_a_transform_does_not_know_is_left_out_of_the_errors(yardsticks_of: Made, rows_of: Rows) -> None:
    rng = np.random.default_rng(7)
    shared = yardsticks_of(rng.uniform(1, 2, size=(2, 60)), horizon=1, transform="log1p")
    y, point = rng.uniform(1, 2, size=(2, 120, 1)), np.full((2, 120, 1), 1.5)
    point[:, ::12] = [[-1.0]]
    rows, known = rows_of(y, point), point.ravel() > -1
    fold = np.zeros(len(known), int)
    found = fitted(Method(transform="log1p"), rows, fold, shared)
    kept = Outcome(*(part[known] for part in rows[:5]))
    np.testing.assert_array_equal(found.offsets, fitted(Method(transform="log1p"), kept, fold[known], shared).offsets)
    quantiles = found.quantiles(rows.point, rows.step, rows.series)
    assert np.isfinite(quantiles[known]).all()
