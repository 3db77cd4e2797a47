"""Errors by step, hour and weekday: by hand on the rows that the best baseline forecasts too, means over seeds."""

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from tasks.compare.compare import Comparison
from tasks.compare.measures import Scale, score
from tasks.report.along import along

Made = Callable[[bool], Comparison]
HORIZON = 4
UNITS = pl.DataFrame({"unique_id": ["small", "large"], "mae": [0.5, 20.0], "mse": [0.5, 900.0], "deviation": [1.0, 50.0]})


def common(frame: pl.DataFrame) -> pl.DataFrame:
    """The rows that count, with the hour and the weekday of each."""
    rows = frame.with_columns(y=pl.col("y").fill_nan(None)).drop_nulls(["y", "theta"])
    return rows.with_columns(hour=pl.col("ds").dt.hour(), weekday=pl.col("ds").dt.weekday())


def test_the_mae_of_each_step_is_that_of_the_rows_that_theta_forecasts_too(made: Made, frame: pl.DataFrame) -> None:
    found = along(made(True), ["gru", "theta"], Scale("mae", 1, UNITS)).filter(pl.col("by") == "step")
    rows = common(frame)
    for name, fits in (("gru", ["gru", "gru-s1"]), ("theta", ["theta"])):
        own = found.filter(pl.col("model") == name)
        assert own["value"].to_list() == [str(step) for step in range(1, HORIZON + 1)]
        for step, error, count in zip(range(1, HORIZON + 1), own["error"], own["rows"], strict=True):
            some = rows.filter(pl.col("step") == step)
            wanted = np.mean([np.abs(some["y"].to_numpy() - some[fit].to_numpy()).mean() for fit in fits])
            assert error == pytest.approx(wanted, rel=1e-12) and count == some.height


def test_an_hour_is_corrected_for_the_steps_that_reach_it(made: Made, frame: pl.DataFrame) -> None:
    found = along(made(True), ["theta"], Scale("mae", 1, UNITS))
    rows = common(frame).with_columns(e=(pl.col("y") - pl.col("theta")).abs())
    steps = {step: group["e"].mean() for (step,), group in rows.group_by("step")}
    for by in ("hour", "weekday"):
        own = found.filter(pl.col("by") == by)
        assert sorted(map(int, own["value"])) == sorted(rows[by].unique().to_list())
        for value, corrected in own.select("value", "corrected").iter_rows():
            some = rows.filter(pl.col(by) == int(value))
            left = [e - steps[step] for e, step in some.select("e", "step").iter_rows()]
            assert corrected == pytest.approx(np.mean(left) + rows["e"].mean(), rel=1e-9)
    assert found.filter(pl.col("by") == "step")["corrected"].null_count() == HORIZON  # a step reaches itself alone


@pytest.mark.parametrize("by", ["mae", "mase", "rmsse", "mae_scaled", "mse_scaled"])
def test_in_every_measure_the_steps_together_are_the_score(made: Made, frame: pl.DataFrame, by: str) -> None:
    scale = Scale(by, 1, UNITS)  # type: ignore[arg-type]
    found = along(made(True), ["theta"], scale).filter(pl.col("by") == "step")
    whole = (found["error"] * found["rows"]).sum() / found["rows"].sum()
    assert whole == pytest.approx(score([common(frame)], "theta", scale), rel=1e-9)
