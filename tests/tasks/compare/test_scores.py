"""The scores against plain numpy on frames with missing values; never against utilsforecast itself."""

from collections.abc import Callable
from datetime import datetime
from typing import get_args

import numpy as np
import polars as pl
import pytest

from models.serving import Bounds, Calibration
from params.evaluation import Measure
from tasks.compare.board import Score
from tasks.compare.differences import compared
from tasks.compare.distribution import RowScores
from tasks.compare.measures import Scale, shares_by, units
from tasks.compare.scores import Errors, Tally, mae, wide
from tasks.evaluate.frames import Outcome
from tasks.lags.past import past_of

pytestmark = pytest.mark.slow

SEASON = 3


def scale_of(train: pl.DataFrame, by: Measure = "mae", season: int = SEASON) -> Scale:
    return Scale(by, season, units(past_of(train), season))


def tallied(frame: pl.DataFrame, model: str, scale: Scale, scaled: bool = False, bar: str = "last_value") -> Tally:
    """Of a frame with the scores of its rows, each series a block of its own."""
    tally = Tally(model, bar, bar, scale, scaled, frame.select("unique_id", _fifth="unique_id").unique(maintain_order=True))
    for block in frame.partition_by("unique_id", maintain_order=True):
        tally.add(block)
    return tally


def score(frame: pl.DataFrame, model: str, scale: Scale, scaled: bool) -> dict[str, Score]:
    return tallied(frame, model, scale, scaled).score()


def breakdown(frame: pl.DataFrame, model: str, bar: str, scale: Scale, by: str) -> pl.DataFrame:
    return tallied(frame, model, scale, bar=bar).breakdown(by)


def errors(frame: pl.DataFrame, model: str, scale: Scale, scaled: bool) -> dict[str, Score]:
    found = Errors(model, scale, scaled)
    found.add(frame)
    return found.found()


def a_frame(seed: int, origins: int = 40, horizon: int = 4, sizes: tuple[float, ...] = (1.0, 5.0)) -> pl.DataFrame:
    """Two series of different size and length, missing actuals (null and NaN) and forecasts."""
    rng = np.random.default_rng(seed)
    parts = []
    for i, size in enumerate(sizes):
        rows = (origins - 15 * i) * horizon
        y = 20 + size * rng.normal(size=rows)
        part = pl.DataFrame(
            {
                "unique_id": [f"s{i}"] * rows,
                "cutoff": np.repeat(np.arange(rows // horizon), horizon),
                "step": np.tile(np.arange(1, horizon + 1), rows // horizon),
                "y": y,
                "m": y + 0.3 * size * rng.normal(size=rows) + 0.1,
                "last_value": y + size * rng.normal(size=rows),
            }
        )
        parts.append(part.with_columns(ds=pl.col("cutoff") + pl.col("step")))
    frame = pl.concat(parts).with_row_index("i")
    actual = pl.when(pl.col("i") % 7 == 0).then(None).when(pl.col("i") % 11 == 0).then(float("nan")).otherwise("y")
    m = pl.when(pl.col("i") % 5 == 3).then(None).when(pl.col("i") % 13 == 1).then(float("nan")).otherwise("m")
    naive = pl.when(pl.col("i") % 17 == 2).then(None).otherwise("last_value")
    return frame.with_columns(actual.alias("y"), m.alias("m"), naive.alias("last_value")).drop("i")


def with_distribution(frame: pl.DataFrame, model: str, ids: tuple[str, ...] = ("s0", "s1")) -> pl.DataFrame:
    """With the scores of quantiles that lie 1 and 2 to both sides of each forecast, and each series a group by itself."""
    levels, offsets = np.array([0.05, 0.1, 0.5, 0.9, 0.95]), np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    units, groups = np.ones(len(ids) + 1), np.zeros(len(ids) + 1, np.int64)
    y, point = (frame[name].cast(pl.Float64).fill_null(np.nan).to_numpy() for name in ("y", model))
    series = np.array([ids.index(name) for name in frame["unique_id"]])
    outcome = Outcome(y, point, np.zeros(frame.height, np.int64), series, np.arange(frame.height))
    calibration = Calibration(levels, offsets.reshape(1, 1, -1), units, groups)
    return frame.hstack(RowScores(calibration, Bounds(), (90,)).of(outcome, np.ones(frame.height)))


@pytest.fixture
def frames() -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    validation, test = a_frame(0), a_frame(1)
    y = np.cumsum(np.random.default_rng(2).normal(size=60))
    y[[4, 5, 30]] = np.nan
    train = pl.concat(
        pl.DataFrame({"unique_id": [name] * 60, "ds": np.arange(60), "y": values})
        for name, values in (("s0", y), ("s1", 3 * y[::-1]))
    )
    return validation, with_distribution(test, "m"), train


def arrays(frame: pl.DataFrame, *names: str) -> list[np.ndarray]:
    """Columns of the rows in which all of them are numbers."""
    values = frame.select(names).cast(pl.Float64).to_numpy()
    return list(values[~np.isnan(values).any(axis=1)].T)


def test_the_plain_scores_equal_numpy(frames: tuple[pl.DataFrame, ...]) -> None:
    _, test, train = frames
    found = score(test, "m", scale_of(train), False)
    y, m = arrays(test, "y", "m")
    assert 0 < len(y) < test.height
    wanted = {
        "test_mae": np.abs(y - m).mean(),
        "test_rmse": np.sqrt(((y - m) ** 2).mean()),
        "test_smape": 100 * (2 * np.abs(y - m) / (np.abs(y) + np.abs(m))).mean(),
        "test_bias": (m - y).mean(),
    }
    assert {name: found[name] for name in wanted} == pytest.approx(wanted)
    assert list(found) == [
        "test_mae", "test_smape", "test_mase", "test_rmsse", "test_rmse", "test_bias",
        "test_coverage_90", "test_width_90", "test_interval_score_90", "test_crps", "test_msis_90", "test_wql",
        "test_worst_fifth_coverage_90", "test_score", "test_rows", "test_skill", "test_skill_naive",
    ]  # fmt: skip


def seasons_before(past: np.ndarray, row: int) -> float:
    """The newest value one, two, three ... seasons before a row, NaN where there is none."""
    return next((past[back] for back in range(row - SEASON, -1, -SEASON) if not np.isnan(past[back])), np.nan)


def test_mase_is_the_mean_over_series_of_mae_over_the_seasonal_naive_in_training(frames: tuple[pl.DataFrame, ...]) -> None:
    _, test, train = frames
    ratios = []
    for name in ("s0", "s1"):
        y, m = arrays(test.filter(pl.col("unique_id") == name), "y", "m")
        past = train.filter(pl.col("unique_id") == name)["y"].to_numpy()
        ratios.append(
            np.abs(y - m).mean() / np.nanmean([abs(past[row] - seasons_before(past, row)) for row in range(len(past))])
        )
    shuffled = train.sample(fraction=1, shuffle=True, seed=3)
    for history in (train, shuffled, train.with_columns(pl.col("y").fill_nan(None))):
        assert score(test, "m", scale_of(history), False)["test_mase"] == pytest.approx(np.mean(ratios))
    flat = train.with_columns(y=pl.when(pl.col("unique_id") == "s1").then(7.0).otherwise("y"))
    assert score(test, "m", scale_of(flat), False)["test_mase"] == pytest.approx(ratios[0])
    assert score(test, "m", scale_of(train.with_columns(y=pl.lit(7.0))), False)["test_mase"] is None


def test_the_scores_of_the_distribution_stand_beside_the_errors(frames: tuple[pl.DataFrame, ...]) -> None:
    _, test, train = frames
    found = score(test, "m", scale_of(train), False)
    y, m = arrays(test, "y", "m")
    inside = np.abs(y - m) <= 2
    assert 0 < inside.mean() < 1 and found["test_coverage_90"] == pytest.approx(inside.mean())
    assert found["test_width_90"] == pytest.approx(4.0)
    assert found["test_interval_score_90"] == pytest.approx((4 + 20 * np.maximum(np.abs(y - m) - 2, 0)).mean())
    by_series = {name: arrays(test.filter(pl.col("unique_id") == name), "y", "m") for name in ("s0", "s1")}
    assert found["test_worst_fifth_coverage_90"] == pytest.approx(min((abs(y - m) <= 2).mean() for y, m in by_series.values()))


def test_smape_is_a_percentage_from_0_to_200() -> None:
    frame = pl.DataFrame({"unique_id": "a", "step": [1, 1, 1], "y": [1.0, 0.0, 3.0], "m": [-1.0, 0.0, 1.0]})
    frame = with_distribution(frame.with_columns(last_value=pl.lit(0.0), ds=pl.int_range(3)), "m", ("a",))
    found = score(frame, "m", scale_of(frame.select("unique_id", "ds", "y"), season=1), False)
    assert found["test_smape"] == pytest.approx((200 + 0 + 100) / 3)


def plain(part: pl.DataFrame, train: pl.DataFrame) -> dict[str, float]:
    """Every score of the rows of a slice, by numpy; the scales are those of the rows' series."""
    size = {}
    for name in ("s0", "s1"):
        past = train.filter(pl.col("unique_id") == name)["y"].to_numpy()
        steps = np.array([past[row] - seasons_before(past, row) for row in range(len(past))])
        size[name] = (np.nanmean(np.abs(steps)), np.sqrt(np.nanmean(steps**2)))
    y, m = (part[name].cast(pl.Float64).to_numpy() for name in ("y", "m"))
    known = ~np.isnan(y) & ~np.isnan(m)
    units = np.array([size[name] for name in part["unique_id"]])[known]
    e = (m - y)[known]
    naive = part["last_value"].cast(pl.Float64).to_numpy()
    both = known & ~np.isnan(naive)
    return {
        "n": known.sum(),
        "mae": np.abs(e).mean(),
        "rmse": np.sqrt((e**2).mean()),
        "mase": np.abs(e / units[:, 0]).mean(),
        "rmsse": np.sqrt(((e / units[:, 1]) ** 2).mean()),
        "smape": (200 * np.abs(e) / (np.abs(y[known]) + np.abs(m[known]))).mean(),
        "bias": e.mean(),
        "skill": 1 - np.abs(m - y)[both].mean() / np.abs(naive - y)[both].mean(),
        "coverage_90": (np.abs(e) <= 2).mean(),
        "interval_score_90": (4 + 20 * np.maximum(np.abs(e) - 2, 0)).mean(),
    }


def test_the_scores_of_a_slice_equal_numpy(frames: tuple[pl.DataFrame, ...]) -> None:
    _, test, train = frames
    hours = pl.datetime(2024, 1, 1) + pl.duration(hours=pl.col("ds") * 5)
    test = test.with_columns(ds=hours)
    keys = {
        "series": pl.col("unique_id"),
        "step": pl.col("step"),
        "hour": pl.col("ds").dt.hour(),
        "weekday": pl.col("ds").dt.weekday(),
    }
    assert tallied(test, "m", scale_of(train)).slices() == list(keys)
    for by, key in keys.items():
        found = breakdown(test, "m", "last_value", scale_of(train), by)
        values = test.select(key.cast(pl.String).alias("at"))["at"]
        assert set(found["value"]) == set(values) and set(found["by"]) == {by} and set(found["model"]) == {"m"}
        for row in found.iter_rows(named=True):
            wanted = plain(test.filter(values == row["value"]), train)
            assert {name: row[name] for name in wanted} == pytest.approx(wanted), (by, row["value"])


def test_slices_of_what_has_no_calendar_and_of_one_value_are_left_out(frames: tuple[pl.DataFrame, ...]) -> None:
    test, scale = frames[1], scale_of(frames[2])
    assert tallied(test, "m", scale).slices() == ["series", "step"]  # integer time steps
    days = test.with_columns(ds=pl.datetime(2024, 1, 1) + pl.duration(days=pl.col("ds")))
    assert tallied(days, "m", scale).slices() == ["series", "step", "weekday"]
    months = test.with_columns(ds=pl.datetime(2024, 1, 1).dt.offset_by(pl.format("{}mo", pl.col("ds"))))
    assert tallied(months, "m", scale).slices() == ["series", "step"]  # the weekday of its first day says nothing


def test_wide_puts_numbers_in_their_order(frames: tuple[pl.DataFrame, ...]) -> None:
    scale = scale_of(frames[2])
    test = pl.concat([frames[1].with_columns(step=pl.col("step") * 3), frames[1]])
    found = wide(pl.concat(breakdown(test, name, "last_value", scale, "step") for name in ("m", "last_value")), "step")
    assert found.columns == ["_value", "m", "last_value"]
    assert found["_value"].to_list() == [1, 2, 3, 4, 6, 9, 12]


def test_a_model_without_forecasts_has_no_score(frames: tuple[pl.DataFrame, ...]) -> None:
    _, test, train = (frame.with_columns(pl.lit(None, pl.Float64).alias("none")) for frame in frames)
    test = with_distribution(test.select("unique_id", "ds", "step", "cutoff", "y", "none", "last_value"), "none")
    found = score(test, "none", scale_of(train), False)
    assert found.pop("test_rows") == 0 and set(found.values()) == {None}
    assert mae([test], "none") is None
    assert breakdown(test, "none", "last_value", scale_of(train), "step").is_empty()


def test_errors_in_units_of_the_training_rows_equal_numpy(frames: tuple[pl.DataFrame, ...]) -> None:
    validation, _, train = frames
    found = errors(validation, "m", scale_of(train), True)
    deviation = {
        name: np.nanstd(rows["y"].to_numpy()) for (name,), rows in train.partition_by("unique_id", as_dict=True).items()
    }
    parts = []
    for (name,), rows in validation.partition_by("unique_id", as_dict=True).items():
        y, m = arrays(rows, "y", "m")
        parts.append((y - m) / deviation[name])
    every = np.concatenate(parts)
    assert found["mse_scaled"] == pytest.approx((every**2).mean()) and found["mae_scaled"] == pytest.approx(
        np.abs(every).mean()
    )
    plain = errors(validation, "m", scale_of(train), False)
    assert found["mae"] == pytest.approx(mae([validation], "m"), rel=1e-12) and set(plain) == {"mae", "smape", "mase", "rmsse"}
    whole = score(with_distribution(validation, "m"), "m", scale_of(train), False)
    assert found["mase"] == pytest.approx(whole["test_mase"]) and found["smape"] == pytest.approx(whole["test_smape"])
    constant = train.with_columns(y=pl.when(pl.col("unique_id") == "s1").then(1.0).otherwise("y"))
    assert errors(validation, "m", scale_of(constant), True)["mse_scaled"] == pytest.approx(
        (parts[0] ** 2).mean()
    )  # a series without a deviation has no units, and does not count


def reached(origins: list[int], horizon: int, error: Callable[[int, int], float]) -> pl.DataFrame:
    """A wide forecast frame of origins in hours whose forecasts, all of 0, miss by `error(hour of the day, step)`."""
    rows = [(origin, step, (origin + step) % 24) for origin in origins for step in range(1, horizon + 1)]
    start = pl.datetime(2024, 1, 1)
    frame = pl.DataFrame([{"unique_id": "a", "at": at + step, "step": step, "y": error(hour, step)} for at, step, hour in rows])
    return frame.select("unique_id", "step", pl.col("y").cast(pl.Float64), ds=start + pl.duration(hours=pl.col("at")), m=0.0)


OF_ONE = Scale("mae", 1, pl.DataFrame({"unique_id": ["a"], "mae": [1.0], "mse": [1.0]}))


def corrected(frame: pl.DataFrame, by: str = "hour") -> dict[int, float | None]:
    found = breakdown(with_distribution(frame, "m", ("a",)), "m", "m", OF_ONE, by)
    return dict(zip(found["value"].cast(pl.Int64).to_list(), found["mae_corrected"].to_list(), strict=True))


def test_the_error_of_an_hour_is_corrected_for_the_steps_that_reach_it_by_hand() -> None:
    """Origins at 0 and 6, errors 1 and 4, 3 and 8: steps 1 and 2 miss by 2 and 6, all by 4.  Hour 1: 1 - 2 + 4."""
    missed = {1: 1, 2: 4, 7: 3, 8: 8}
    found = corrected(reached([0, 6], 2, lambda hour, step: missed[hour]))
    assert found == pytest.approx({1: 3.0, 2: 2.0, 7: 5.0, 8: 6.0})


def test_an_error_that_grows_with_the_step_is_no_saw_of_hours() -> None:
    """Every six hours for four days, each step a tenth worse: the plain MAE is a saw of six hours."""
    frame = reached(list(range(0, 96, 6)), 24, lambda hour, step: 1 + step / 10)
    plain = breakdown(with_distribution(frame, "m", ("a",)), "m", "m", OF_ONE, "hour")["mae"]
    assert plain.max() - plain.min() == pytest.approx(0.5)  # type: ignore[operator]
    assert list(corrected(frame).values()) == pytest.approx([2.25] * 24)  # 1 + 12.5 / 10


def test_with_origins_at_every_hour_it_is_the_plain_error() -> None:
    frame = reached(list(range(48)), 24, lambda hour, step: 1 + hour / 3 + step / 10)
    assert corrected(frame) == pytest.approx({hour: 1 + hour / 3 + 1.25 for hour in range(24)})


def test_a_step_that_reaches_one_hour_alone_says_nothing_of_hours() -> None:
    frame = reached([0, 24, 48], 24, lambda hour, step: step)
    assert set(corrected(frame).values()) == {None}
    assert set(corrected(frame, "step").values()) == {None}  # a step is no part of the calendar


TAKEN_ELSEWHERE = (
    *("value", "at", "mae", "mse", "mase", "deviation", "scale", "len", "count", "counts", "norm", "literal", "index", "model"),
    *("by", "n", "a", "b", "residual", "gap", "skill", "series", "variable", "q0.05", "half_width_90", "rank", "name", "hour"),
    *("crps", "wql", "fifth", "coverage_90", "msis_90"),
)


@pytest.mark.parametrize("name", TAKEN_ELSEWHERE)
def test_a_model_may_be_called_whatever_a_variant_can_be(frames: tuple[pl.DataFrame, ...], name: str) -> None:
    validation, test, train = frames
    scale = scale_of(train, "rmsse")
    test = test.with_columns(ds=pl.lit(datetime(2020, 1, 1)) + pl.duration(hours="step"))

    def scored(model: str, validation: pl.DataFrame, test: pl.DataFrame) -> tuple[object, ...]:
        slices = [breakdown(test, model, "last_value", scale, by) for by in ("series", "step", "hour")]
        return (
            score(test, model, scale, True),
            errors(test, model, scale, True),
            [part.drop("model").to_dicts() for part in slices],
            wide(pl.concat(slices), "step")[model].to_list(),
            compared([test], [model], ["last_value"], scale),
            shares_by([test], [model], scale, ("unique_id", "step"))[model].to_list(),
        )

    assert scored(name, validation.rename({"m": name}), test.rename({"m": name})) == scored("m", validation, test)


@pytest.mark.parametrize("by", get_args(Measure))
def test_blocks_of_one_series_give_what_one_block_of_all_gives(frames: tuple[pl.DataFrame, ...], by: Measure) -> None:
    """Eleven series, so that there are fifths, one of them without a scale; times with hours and weekdays."""
    ids = tuple(f"s{number}" for number in range(11))
    test = a_frame(5, sizes=(1.0, 2.0, 3.0))
    test = pl.concat(
        test.filter(pl.col("unique_id") == f"s{number % 3}").with_columns(
            pl.col("y", "m") * (1 + number), unique_id=pl.lit(name)
        )
        for number, name in enumerate(ids)
    )
    hours = pl.datetime(2024, 1, 1) + pl.duration(hours=pl.col("ds") * 5)
    test = with_distribution(test, "m", ids).with_columns(ds=hours, naive2=pl.col("last_value"))
    size = pl.DataFrame({"unique_id": ids, "mae": [0.0, *range(1, 11)], "mse": [0.0, *range(1, 11)]})
    scale = Scale(by, 1, size.with_columns(pl.all().exclude("unique_id").cast(pl.Float64), deviation=pl.col("mae") * 2.0))
    groups = pl.DataFrame({"unique_id": ids, "_fifth": [str(number // 3) for number in range(11)]})
    one, other = (Tally("m", "last_value", "last_value", scale, True, groups) for _ in range(2))
    one.add(test)
    for block in test.partition_by("unique_id", maintain_order=True):
        other.add(block)
    assert other.score() == pytest.approx(one.score(), rel=1e-12)
    assert other.slices() == one.slices() == ["series", "fifth", "step", "hour", "weekday"]
    for place in one.slices():
        left, right = one.breakdown(place), other.breakdown(place)
        assert left.select(pl.col(pl.String)).equals(right.select(pl.col(pl.String))), place
        for name in left.select(pl.col(pl.Float64)).columns:
            np.testing.assert_allclose(left[name].cast(pl.Float64).to_numpy(), right[name].to_numpy(), rtol=1e-12, err_msg=name)
