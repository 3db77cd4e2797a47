"""The scores of distributions against numbers worked out by hand, utilsforecast and plain numpy."""

from statistics import NormalDist

import numpy as np
import polars as pl
import pytest
from utilsforecast import losses

from models.data.panel import Panel
from models.data.window import FeatureWindow, WindowParams
from models.serving import Bounds, Calibration
from tasks.compare import distribution
from tasks.compare.board import Score
from tasks.compare.distribution import RowScores, Shape, fifths, means_from, season_errors, sums_of
from tasks.compare.measures import units
from tasks.compare.sums import summed
from tasks.evaluate.frames import Outcome
from tasks.grid.frequency import Frequency
from tasks.lags.panel import write_panel
from tasks.lags.past import past_of

LEVELS = (80, 90, 95)
QUANTILES = np.array([0.025, 0.05, *np.arange(0.1, 0.91, 0.1).round(1), 0.95, 0.975])
NO_BOUNDS = Bounds()


def a_calibration(levels: np.ndarray, offsets: np.ndarray, units: tuple[float, ...] = (1.0, 1.0)) -> Calibration:
    """Of one step and one group."""
    return Calibration(levels, offsets.reshape(1, 1, -1), np.array(units), np.zeros(len(units), np.int64))


def an_outcome(y: list[float] | np.ndarray, point: list[float] | np.ndarray, series: list[int] | None = None) -> Outcome:
    count = len(y)
    numbers = np.array(series if series is not None else [0] * count)
    return Outcome(np.array(y, float), np.array(point, float), np.zeros(count, np.int64), numbers, np.arange(count))


def scored(
    outcome: Outcome, calibration: Calibration, levels: tuple[int, ...] = LEVELS, bounds: Bounds = NO_BOUNDS, scale: float = 1.0
) -> tuple[pl.DataFrame, Shape]:
    """The rows with their keys: each series a group by itself."""
    rows, shape = score_rows([outcome], calibration, bounds, levels, np.full(len(outcome.y), scale))
    names = pl.Series("unique_id", [f"s{number}" for number in outcome.series])
    return rows.with_columns(names, names.alias("_fifth")), shape


def sized(history: pl.DataFrame) -> pl.DataFrame:
    return fifths(units(past_of(history), 1))


def score_rows(
    blocks: list[Outcome], calibration: Calibration, bounds: Bounds, levels: tuple[int, ...], scale: np.ndarray
) -> tuple[pl.DataFrame, Shape]:
    rows, parts, done = RowScores(calibration, bounds, levels), [], 0
    for block in blocks:
        parts.append(rows.of(block, scale[done : done + len(block.y)]))
        done += len(block.y)
    return pl.concat(parts), rows.shape()


def overall(rows: pl.DataFrame) -> dict[str, Score]:
    groups = rows.select("unique_id", "_fifth").unique(maintain_order=True)
    return distribution.overall(summed(rows.select("unique_id"), sums_of(rows)), groups.drop_nulls())


def means(rows: pl.DataFrame, by: pl.Expr) -> pl.DataFrame:
    sums = summed(rows.with_columns(_value=by).select("_value"), sums_of(rows))
    return sums.select("_value").hstack(means_from(sums))


def test_fifths_are_groups_of_series_by_the_mean_size_of_their_training_rows() -> None:
    sizes = {f"s{k}": value for k, value in enumerate([5.0, -90.0, 1.0, 40.0, 3.0, 70.0, -60.0, 20.0, 10.0, 30.0, 2.0, 8.0])}
    history = pl.DataFrame(
        [{"unique_id": name, "ds": ds, "y": y} for name, size in sizes.items() for ds, y in enumerate((size, None, size / 2))]
    )
    found = dict(sized(history.with_columns(pl.col("y").fill_null(float("nan")))).iter_rows())
    assert found == dict(sized(history.sample(fraction=1, shuffle=True, seed=1)).iter_rows())
    by_size = sorted(sizes, key=lambda name: abs(sizes[name]))  # twelve: groups of 3, 2, 3, 2, 2
    assert [found[name] for name in by_size] == list("111223334455")


def test_with_fewer_than_ten_series_each_is_a_group_and_one_without_a_row_is_none() -> None:
    history = pl.DataFrame({"unique_id": list("abc") * 2, "ds": [0] * 3 + [1] * 3, "y": [1.0, None, 3.0] * 2})
    assert sized(history).to_dicts() == [{"unique_id": "a", "fifth": "a"}, {"unique_id": "c", "fifth": "c"}]
    assert sized(history.clear()).is_empty()
    ten = pl.DataFrame({"unique_id": [f"s{k}" for k in range(10)], "ds": [0] * 10, "y": [7.0] * 10})
    assert sized(ten)["fifth"].to_list() == list("1122334455")  # of the same size: by name


def test_an_interval_score_by_hand() -> None:
    """Intervals of 80 % from -10 to 10: inside, 2 below, at the end, 5 above, without an actual."""
    calibration = a_calibration(np.array([0.1, 0.5, 0.9]), np.array([-10.0, 0.0, 10.0]))
    rows, _ = scored(an_outcome([103.0, 88.0, 110.0, 115.0, np.nan], [100.0] * 5), calibration, (80,), scale=4.0)
    assert rows["_coverage_80"].to_list() == [True, False, True, False, None]
    assert rows["_width_80"].to_list() == [20.0, 20.0, 20.0, 20.0, None]
    assert rows["_interval_score_80"].to_list() == pytest.approx([20, 20 + 2 * 10, 20, 20 + 5 * 10, None])
    found = overall(rows)
    assert (found["coverage_80"], found["width_80"]) == (0.5, 20.0)
    assert found["interval_score_80"] == pytest.approx(37.5) and found["msis_80"] == pytest.approx(9.375)


def random_rows(seed: int, count: int = 400) -> tuple[Outcome, Calibration]:
    """Two series of different spread, some actuals and forecasts missing."""
    rng = np.random.default_rng(seed)
    series = rng.integers(0, 2, count)
    point = 50 + 10 * rng.normal(size=count)
    y = point + np.array([1.0, 6.0])[series] * rng.standard_t(4, count)
    y[::17], point[::23] = np.nan, np.nan
    offsets = np.sort(rng.normal(size=len(QUANTILES)) * 1.5)
    return an_outcome(y, point, series.tolist()), a_calibration(QUANTILES, offsets, (1.0, 5.0, 3.0))


def test_coverage_interval_scores_and_wql_are_those_of_utilsforecast() -> None:
    outcome, calibration = random_rows(0)
    found = overall(scored(outcome, calibration)[0])
    quantiles = calibration.quantiles(outcome.point, outcome.step, outcome.series)
    known = ~np.isnan(outcome.y) & ~np.isnan(outcome.point)
    frame = pl.DataFrame({"unique_id": "all", "y": outcome.y[known]}).with_columns(
        pl.Series(f"q{level:g}", quantiles[known, at]) for at, level in enumerate(QUANTILES)
    )
    for level, low, high in ((80, "q0.1", "q0.9"), (90, "q0.05", "q0.95"), (95, "q0.025", "q0.975")):
        named = frame.rename({low: f"m-lo-{level}", high: f"m-hi-{level}"})
        assert found[f"coverage_{level}"] == pytest.approx(losses.coverage(named, ["m"], level)["m"][0])
        assert found[f"interval_score_{level}"] == pytest.approx(losses.winkler_score(named, ["m"], level)["m"][0])
        assert found[f"width_{level}"] == pytest.approx((named[f"m-hi-{level}"] - named[f"m-lo-{level}"]).mean())
    nine = np.arange(1, 10) / 10
    loss = losses.mqloss(frame, {"m": [f"q{level:g}" for level in nine]}, nine)["m"][0]
    assert found["wql"] == pytest.approx(2 * loss / np.abs(frame["y"].to_numpy()).mean())


def test_crps_of_a_normal_distribution_is_that_of_its_formula() -> None:
    """Gneiting & Raftery 2007: sd * (z (2 Phi(z) - 1) + 2 phi(z) - 1 / sqrt(pi)); thirteen levels come within a hundredth."""
    rng, normal = np.random.default_rng(3), NormalDist()
    y = 40 + 3 * rng.normal(size=4000)
    calibration = a_calibration(QUANTILES, np.array([normal.inv_cdf(level) for level in QUANTILES]), (2.0, 1.0))
    z = (y - 40) / 2
    wanted = 2 * np.mean([v * (2 * normal.cdf(v) - 1) + 2 * normal.pdf(v) - np.pi**-0.5 for v in z])
    assert overall(scored(an_outcome(y, np.full(4000, 40.0)), calibration)[0])["crps"] == pytest.approx(wanted, rel=0.01)


def test_the_shape_says_how_many_actuals_lie_under_each_quantile() -> None:
    """Deciles from -4 to 4 of a point of 10: the actuals 5, 6, 9.5, 12, 20 lie in the tenths 1, 1|2, 5, 7|8, 10."""
    deciles = np.arange(1, 10) / 10
    _, shape = scored(an_outcome([5, 6, 9.5, 12, 20, np.nan], [10] * 6), a_calibration(deciles, np.arange(-4.0, 5.0)), (80,))
    assert shape.rows == 5 and shape.levels.tolist() == deciles.tolist()
    np.testing.assert_allclose(shape.under, np.array([1, 2, 2, 2, 3, 3, 3, 4, 4]) / 5)
    np.testing.assert_allclose(shape.upto, np.array([2, 2, 2, 2, 3, 3, 4, 4, 4]) / 5)
    np.testing.assert_allclose(shape.pit, np.array([1.5, 0.5, 0, 0, 1, 0, 0.5, 0.5, 0, 1]) / 5)


def test_quantiles_that_are_all_alike_spread_an_actual_over_all_tenths() -> None:
    deciles = np.arange(1, 10) / 10
    _, shape = scored(an_outcome([0.0, 0.0], [0.0, 0.0]), a_calibration(deciles, np.zeros(9)), (80,))
    np.testing.assert_allclose(shape.pit, 0.1)
    assert set(shape.under) == {0.0} and set(shape.upto) == {1.0}


def test_blocks_of_rows_give_what_all_together_give() -> None:
    outcome, calibration = random_rows(1)
    scale = np.linspace(1, 2, len(outcome.y))
    whole, shape = score_rows([outcome], calibration, NO_BOUNDS, LEVELS, scale)
    cuts = [slice(0, 150), slice(150, 151), slice(151, None)]
    blocks = [Outcome(**{name: field[cut] for name, field in outcome._asdict().items() if field is not None}) for cut in cuts]
    found, of_blocks = score_rows(blocks, calibration, NO_BOUNDS, LEVELS, scale)
    assert found.equals(whole)
    for one, other in zip(shape.__dict__.values(), of_blocks.__dict__.values(), strict=True):
        np.testing.assert_allclose(one, other)


def test_what_too_few_errors_say_nothing_of_has_no_score() -> None:
    """The outer levels are unknown: no 95 % interval, and no CRPS, which would be of other levels."""
    offsets = np.linspace(-3, 3, len(QUANTILES))
    offsets[[0, -1]] = np.nan
    found = overall(scored(an_outcome([1.0, 2.0], [1.0, 4.0]), a_calibration(QUANTILES, offsets))[0])
    unknown = {name for name, value in found.items() if value is None}
    assert unknown == {*("coverage_95", "width_95", "interval_score_95", "msis_95", "worst_fifth_coverage_95"), "crps"}
    nothing = overall(scored(an_outcome([1.0], [np.nan]), a_calibration(QUANTILES, offsets))[0])
    assert set(nothing.values()) == {None}


def test_levels_that_do_not_reach_the_deciles_have_no_wql() -> None:
    calibration = a_calibration(np.array([0.25, 0.5, 0.75]), np.array([-1.0, 0.0, 1.0]))
    found = overall(scored(an_outcome([1.0], [2.0]), calibration, (50,))[0])
    assert found["wql"] is None and found["coverage_50"] == 1.0 and found["crps"] is not None


def test_the_worst_group_is_that_with_the_lowest_coverage() -> None:
    calibration = a_calibration(np.array([0.05, 0.5, 0.95]), np.array([-1.0, 0.0, 1.0]), (1.0, 1.0, 1.0))
    y, series = [0.0, 0.5, 0.0, 9.0, 0.0, 0.0, 9.0, 9.0], [0, 0, 1, 1, 1, 1, 1, 1]
    rows, _ = scored(an_outcome(y, [0.0] * 8, series), calibration, (90,))
    assert overall(rows)["coverage_90"] == 5 / 8 and overall(rows)["worst_fifth_coverage_90"] == 0.5
    without = rows.with_columns(_fifth=pl.when(pl.col("unique_id") == "s0").then("unique_id"))
    assert overall(without)["worst_fifth_coverage_90"] == 1.0  # the other is of no group: training did not see it
    assert means(without, pl.col("_fifth"))["_value"].to_list() == ["s0"]
    assert overall(rows.drop("_coverage_90", "_width_90", "_interval_score_90")).keys() == {"crps", "wql"}  # no level at all


def test_an_msis_weighs_series_alike_and_a_wql_their_size() -> None:
    calibration = a_calibration(np.array([0.025, 0.5, 0.975]), np.array([-1.0, 0.0, 1.0]), (1.0, 10.0, 1.0))
    outcome = an_outcome([5.0, 5.0, 5.0, 100.0], [5.0, 5.0, 5.0, 120.0], [0, 0, 0, 1])
    rows, _ = score_rows([outcome], calibration, NO_BOUNDS, (95,), np.array([1.0, 1.0, 1.0, 10.0]))
    rows = rows.with_columns(pl.Series("unique_id", ["a", "a", "a", "b"]), _fifth=pl.lit("1"))
    found = overall(rows)
    assert found["msis_95"] == pytest.approx((2 + (20 + 40 * 10) / 10) / 2)  # 100 lies 10 below 110
    by_rows = means(rows, pl.lit("x"))["msis_95"][0]
    assert by_rows == pytest.approx((3 * 2 + 42) / 4)
    slices = means(rows, pl.col("unique_id"))
    assert slices["_value"].to_list() == ["a", "b"] and slices["msis_95"].to_list() == pytest.approx([2, 42])


@pytest.mark.parametrize("factor", [2.0**10, 2.0**-7, 1000.0])
def test_a_change_of_units_leaves_coverage_and_scaled_scores_as_they_are(factor: float) -> None:
    outcome, calibration = random_rows(2)
    other = outcome._replace(y=outcome.y * factor, point=outcome.point * factor)
    moved = calibration._replace(units=calibration.units * factor)
    one = overall(scored(outcome, calibration, scale=3.0)[0])
    two = overall(scored(other, moved, scale=3.0 * factor)[0])
    free = [name for name in one if not name.startswith(("width", "interval", "crps"))]
    assert len(free) == 3 * 3 + 1
    for name, value in one.items():
        assert value is not None
        assert two[name] == pytest.approx(value * (1.0 if name in free else factor), rel=1e-6)
        if factor != 1000:
            assert two[name] == value * (1.0 if name in free else factor)


def test_bounds_come_before_the_scores() -> None:
    """Counts: an interval from 1.4 - 3 to 1.4 + 3 is 0 to 5."""
    calibration = a_calibration(np.array([0.05, 0.5, 0.95]), np.array([-3.0, 0.0, 3.0]))
    rows, _ = scored(an_outcome([5.0], [1.4]), calibration, (90,), Bounds(lowest=0.0, integer=True))
    assert (rows["_width_90"][0], rows["_coverage_90"][0]) == (5.0, 1.0)


def test_the_scale_of_an_msis_is_the_seasonal_naive_error_of_all_rows_up_to_the_cutoff(tmp_path: object) -> None:
    rng = np.random.default_rng(5)
    values = {name: size * rng.normal(size=40) for name, size in (("a", 1.0), ("b", 1e9), ("c", 1e-6))}
    values["a"][[7, 20]] = np.nan
    values["c"] = np.ones(40)
    frame = pl.concat(pl.DataFrame({"unique_id": name, "ds": range(40), "y": y}) for name, y in values.items())
    windows = WindowParams(2, {"y": FeatureWindow(4)}, start_padding=3)
    panel = Panel.open(write_panel(frame.lazy(), windows, Frequency(1), 0, tmp_path))  # type: ignore[arg-type]
    rows = [12, 39, 5]  # of a series; in the panel three rows of padding stand before each
    for number, (name, y) in enumerate(values.items()):
        for season in (1, 3):
            found = season_errors(panel, int(panel.offsets[number]) + 3 + np.array(rows), season)
            for row, one in zip(rows, found, strict=True):
                before = [
                    next((y[k] for k in range(t - season, -1, -season) if not np.isnan(y[k])), np.nan) for t in range(row + 1)
                ]
                wanted = np.nanmean(np.abs(y[: row + 1] - before))
                assert np.isnan(one) if name == "c" else one == pytest.approx(wanted, rel=1e-12), (name, season, row)
    assert np.isnan(season_errors(panel, panel.offsets[:1] + 3, 3)).all()  # the first row has none before it
