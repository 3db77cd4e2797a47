"""Conformal intervals against order statistics worked out by hand and their coverage on exchangeable residuals."""

import numpy as np
import polars as pl
import pytest

from tasks.evaluate.intervals import LEVELS, calibrate, half_widths, with_interval


def with_intervals(test: pl.DataFrame, validation: pl.DataFrame) -> pl.DataFrame:
    return with_interval(test, "m", half_widths(calibrate(validation, "m", ()), 3))


def a_frame(residuals: np.ndarray | list[float | None], step: int = 1, forecast: float = 100.0) -> pl.DataFrame:
    y = [None if r is None else forecast + r for r in residuals]
    return pl.DataFrame({"step": [step] * len(y), "y": y, "m": [forecast] * len(y)}, schema_overrides={"y": pl.Float64})


@pytest.mark.parametrize(("n", "wanted"), [(9, 9.0), (10, 10.0), (19, 18.0), (20, 19.0), (29, 27.0), (99, 90.0)])
def test_half_width_is_the_corrected_order_statistic(n: int, wanted: float) -> None:
    residuals = np.arange(1.0, n + 1) * np.where(np.arange(n) % 2, -1, 1)  # signs do not matter, nor does the order
    found = calibrate(a_frame(residuals[::-1]), "m")
    assert found["n"].item() == n
    assert found["half_width_90"].item() == pytest.approx(wanted)


def test_fewer_than_nine_residuals_promise_nothing() -> None:
    found = with_intervals(a_frame([0.0]), a_frame(np.arange(8.0)))
    assert found["m-lo-90"].to_list() == [None] == found["m-hi-90"].to_list()


def test_each_step_has_its_own_quantiles() -> None:
    frame = pl.concat([a_frame(np.arange(-10.0, 11.0), 2), a_frame(np.arange(-10.0, 11.0) * 3, 1)])
    found = calibrate(frame, "m", (0.5, 0.75))
    assert found["step"].to_list() == [1, 2]
    assert found["q0.50"].to_list() == [0, 0]
    assert found["q0.75"].to_list() == pytest.approx([15, 5])


def test_quantiles_are_numpy_s_of_the_signed_residuals() -> None:
    residuals = np.random.default_rng(0).gamma(2.0, size=57)
    found = calibrate(a_frame(residuals), "m")
    ours = found.select(f"q{level:.2f}" for level in LEVELS).row(0)
    np.testing.assert_allclose(ours, np.quantile(residuals, LEVELS), atol=1e-9)


def test_missing_actuals_and_forecasts_are_left_out() -> None:
    frame = a_frame([1.0, None, 2.0, float("nan")])
    frame = pl.concat([frame, a_frame([50.0]).with_columns(pl.lit(None, pl.Float64).alias("m"))])
    assert calibrate(frame, "m")["n"].item() == 2


def test_intervals_stand_around_the_forecast_in_the_order_of_the_rows() -> None:
    validation = pl.concat([a_frame(np.arange(1.0, 10.0), 1), a_frame(np.arange(1.0, 10.0) * 2, 2)])
    test = pl.DataFrame({"step": [2, 1, 3, 2], "y": [None, 1.0, 1.0, 1.0], "m": [10.0, 20.0, 30.0, None]})
    found = with_intervals(test, validation)
    assert found.columns == ["step", "y", "m", "m-lo-90", "m-hi-90"]
    assert found["m"].to_list() == [10, 20, 30, None]
    assert found["m-lo-90"].to_list() == [-8, 11, None, None]
    assert found["m-hi-90"].to_list() == [28, 29, None, None]


def test_the_actuals_of_the_test_do_not_matter() -> None:
    validation, test = a_frame(np.arange(20.0)), a_frame(np.arange(5.0))
    ours = with_intervals(test, validation)
    spoiled = with_intervals(test.with_columns(y=pl.lit(1e9)), validation)
    assert ours.drop("y").equals(spoiled.drop("y"))


def test_coverage_of_exchangeable_residuals_is_ninety_percent() -> None:
    """Over many calibrations of n residuals, a new one is covered with probability ceil(0.9 (n + 1)) / (n + 1)."""
    rng = np.random.default_rng(7)
    trials, n = 4000, 39
    residuals = rng.standard_t(3, size=(trials, n + 1))
    frame = pl.concat(a_frame(row[:n], step) for step, row in enumerate(residuals))
    half = calibrate(frame, "m", ())["half_width_90"].to_numpy()
    covered = np.mean(np.abs(residuals[:, n]) <= half)
    assert abs(covered - 36 / 40) < 4 * np.sqrt(0.9 * 0.1 / trials)
