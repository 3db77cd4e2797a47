"""Forecasts and their intervals within the bounds of a run, by one rule for scores and for what is served."""

import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.serving import Bounds, Calibration
from params.errors import UserError
from params.load import load_run
from tasks.evaluate.bounds import bounds_of, within
from tasks.evaluate.frames import with_intervals

ends = st.none() | st.floats(-100, 100)


@given(ends, ends, st.booleans(), st.lists(st.floats(-1e6, 1e6) | st.sampled_from([0.5, 1.5, -0.5, math.nan]), max_size=5))
def test_every_forecast_is_the_nearest_that_it_can_be(
    low: float | None, high: float | None, integer: bool, values: list[float]
) -> None:
    lowest, highest = -math.inf if low is None else low, math.inf if high is None else high
    if integer:
        lowest, highest = math.ceil(low) if low is not None else lowest, math.floor(high) if high is not None else highest
    if lowest > highest:
        return
    expected = []
    for value in values:
        near = value if math.isnan(value) or not integer else float(round(value))  # Python's round takes the even one, too
        expected.append(near if math.isnan(near) else min(max(near, lowest), highest))
    bounds = Bounds(low, high, integer)
    np.testing.assert_array_equal(bounds.of(np.array(values, float)), np.array(expected, float))
    frame = pl.DataFrame(
        {"a": pl.Series(values, dtype=pl.Float64).fill_nan(None), "b": pl.Series([9e9] * len(values), dtype=pl.Float64)}
    )
    found = within(frame, ["a"], bounds)
    np.testing.assert_array_equal(found["a"].to_numpy().astype(float), np.array(expected, float))
    assert found["b"].equals(frame["b"])


def test_both_ends_of_an_interval_lie_within_bounds_and_are_rounded_outward() -> None:
    frame = pl.DataFrame({"unique_id": "a", "step": [1, 2, 1], "m": [0.0, 9.0, None]})
    offsets = np.array([[[-2.4, 2.4], [-3.0, 3.0]]])
    calibration = Calibration(np.array([0.05, 0.95]), offsets, np.ones(2), np.zeros(2, np.int64))
    found = with_intervals(frame, "m", calibration, (90,), ["a"], Bounds(0, 10, True))
    assert found["m-lo-90"].to_list() == [0.0, 6.0, None] and found["m-hi-90"].to_list() == [3.0, 10.0, None]
    assert with_intervals(frame, "m", calibration, (90,), ["a"])["m-lo-90"].to_list() == [-2.4, 6.0, None]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["data.lowest=3", "data.highest=2.5"], r"lowest \(3\) is above highest \(2.5\)"),
        (["data.lowest=2.1", "data.highest=2.9", "data.integer=true"], "no whole number lies between"),
        (["data.lowest=.inf"], "data.lowest"),
    ],
)
def test_bounds_without_room_are_refused(settings: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_run("params/smoke.yaml", settings)


def test_the_bounds_of_a_run_file() -> None:
    run = load_run(Path("params/smoke.yaml"), ["data.lowest=0", "data.integer=true"])
    assert bounds_of(run.data) == Bounds(0, None, True)
    assert bounds_of(load_run(Path("params/smoke.yaml"), []).data) == Bounds()
