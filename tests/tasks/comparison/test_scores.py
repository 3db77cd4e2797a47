"""The scores against plain numpy on frames with missing values; never against utilsforecast itself."""

import numpy as np
import polars as pl
import pytest

from tasks.comparison.intervals import LEVELS, calibrate, with_intervals
from tasks.comparison.scores import best_naive, by_series, by_step, mae, score

SEASON = 3


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


@pytest.fixture
def frames() -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    validation, test = a_frame(0), a_frame(1)
    y = np.cumsum(np.random.default_rng(2).normal(size=60))
    y[[4, 5, 30]] = np.nan
    train = pl.concat(
        pl.DataFrame({"unique_id": [name] * 60, "ds": np.arange(60), "y": values})
        for name, values in (("s0", y), ("s1", 3 * y[::-1]))
    )
    return validation, with_intervals(test, validation, ["m", "last_value"]), train


def arrays(frame: pl.DataFrame, *names: str) -> list[np.ndarray]:
    """Columns of the rows in which all of them are numbers."""
    values = frame.select(names).cast(pl.Float64).to_numpy()
    return list(values[~np.isnan(values).any(axis=1)].T)


def test_the_plain_scores_equal_numpy(frames: tuple[pl.DataFrame, ...]) -> None:
    validation, test, train = frames
    found = score(test, train, "m", SEASON, "last_value", calibrate(validation, "m"))
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
        "test_mae", "test_rmse", "test_mase", "test_smape", "test_bias",
        "test_skill", "test_coverage_90", "test_width_90", "test_crps",
    ]  # fmt: skip


def test_skill_compares_on_the_same_rows(frames: tuple[pl.DataFrame, ...]) -> None:
    validation, test, train = frames
    y, m, naive = arrays(test, "y", "m", "last_value")
    found = score(test, train, "m", SEASON, "last_value", calibrate(validation, "m"))
    assert found["test_skill"] == pytest.approx(1 - np.abs(y - m).mean() / np.abs(y - naive).mean())
    own = score(test, train, "last_value", SEASON, "last_value", calibrate(validation, "last_value"))
    assert own["test_skill"] == 0


def test_mase_is_the_mean_over_series_of_mae_over_the_seasonal_naive_in_training(frames: tuple[pl.DataFrame, ...]) -> None:
    validation, test, train = frames
    ratios = []
    for name in ("s0", "s1"):
        y, m = arrays(test.filter(pl.col("unique_id") == name), "y", "m")
        past = train.filter(pl.col("unique_id") == name)["y"].to_numpy()
        ratios.append(np.abs(y - m).mean() / np.nanmean(np.abs(past[SEASON:] - past[:-SEASON])))
    calibration = calibrate(validation, "m")
    shuffled = train.sample(fraction=1, shuffle=True, seed=3)
    for history in (train, shuffled, train.with_columns(pl.col("y").fill_nan(None))):
        assert score(test, history, "m", SEASON, "last_value", calibration)["test_mase"] == pytest.approx(np.mean(ratios))
    flat = train.with_columns(y=pl.when(pl.col("unique_id") == "s1").then(7.0).otherwise("y"))
    assert score(test, flat, "m", SEASON, "last_value", calibration)["test_mase"] == pytest.approx(ratios[0])
    assert score(test, train.with_columns(y=pl.lit(7.0)), "m", SEASON, "last_value", calibration)["test_mase"] is None


def test_coverage_and_width_equal_numpy_and_are_none_without_intervals(frames: tuple[pl.DataFrame, ...]) -> None:
    validation, test, train = frames
    calibration = calibrate(validation, "m")
    found = score(test, train, "m", SEASON, "last_value", calibration)
    y, low, high = arrays(test, "y", "m-lo-90", "m-hi-90")
    assert found["test_coverage_90"] == pytest.approx(((low <= y) & (y <= high)).mean())
    assert found["test_width_90"] == pytest.approx((high - low).mean())
    bare = score(test.drop("m-lo-90", "m-hi-90"), train, "m", SEASON, "last_value", calibration)
    assert bare["test_coverage_90"] is None and bare["test_width_90"] is None


def test_crps_is_twice_the_mean_pinball_loss_of_the_conformal_quantiles(frames: tuple[pl.DataFrame, ...]) -> None:
    validation, test, train = frames
    y, m, step = arrays(test, "y", "m", "step")
    before, forecast, steps = arrays(validation, "y", "m", "step")
    total = 0.0
    for level in LEVELS:
        shift = {k: np.quantile((before - forecast)[steps == k], level) for k in range(1, 5)}
        miss = y - (m + np.array([shift[int(k)] for k in step]))
        total += 2 * np.maximum(level * miss, (level - 1) * miss).mean() / len(LEVELS)
    found = score(test, train, "m", SEASON, "last_value", calibrate(validation, "m"))
    assert found["test_crps"] == pytest.approx(total)


def test_smape_is_a_percentage_from_0_to_200() -> None:
    frame = pl.DataFrame({"unique_id": "a", "step": [1, 1, 1], "y": [1.0, 0.0, 3.0], "m": [-1.0, 0.0, 1.0]})
    frame = frame.with_columns(last_value=pl.lit(0.0), ds=pl.int_range(3))
    found = score(frame, frame.select("unique_id", "ds", "y"), "m", 1, "last_value", calibrate(frame, "m"))
    assert found["test_smape"] == pytest.approx((200 + 0 + 100) / 3)


def test_errors_by_series_and_by_step_equal_numpy(frames: tuple[pl.DataFrame, ...]) -> None:
    test = frames[1]
    for key, found in (
        ("unique_id", by_series(test, ["m", "last_value"])),
        ("step", by_step(test, ["m", "last_value"], int(test["step"].max()))),
    ):
        assert found.columns == [key, "m", "last_value"]
        for row in found.iter_rows(named=True):
            part = test.filter(pl.col(key) == row[key])
            for model in ("m", "last_value"):
                y, m = arrays(part, "y", model)
                assert row[model] == pytest.approx(np.abs(y - m).mean())


def test_a_model_without_forecasts_has_no_score(frames: tuple[pl.DataFrame, ...]) -> None:
    validation, test, train = (frame.with_columns(pl.lit(None, pl.Float64).alias("none")) for frame in frames)
    found = score(test, train, "none", SEASON, "last_value", calibrate(validation, "none"))
    assert set(found.values()) == {None}
    assert mae(test, "none") is None
    assert by_series(test, ["none"])["none"].to_list() == [None, None]


def test_best_naive_is_chosen_among_the_naive_ones_by_their_error() -> None:
    frame = pl.DataFrame({"unique_id": "a", "step": [1, 2], "y": [1.0, 2.0]})
    frame = frame.with_columns(
        last_value=pl.lit(3.0), drift=pl.lit(2.0), theta=pl.col("y"), seasonal_naive=pl.lit(None, pl.Float64)
    )
    assert best_naive(frame, ["last_value", "drift", "seasonal_naive", "theta"]) == "drift"
    assert best_naive(frame.with_columns(drift=pl.lit(3.0)), ["last_value", "drift"]) == "last_value"
    with pytest.raises(ValueError, match="no naive forecast"):
        best_naive(frame, ["theta", "seasonal_naive"])
