"""models/serving.py at the end of a table: the rows without a y, series without any, and the bounds of a run."""

from math import nan
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from models import serving
from models.data.window import FeatureWindow, WindowParams

PLAIN = WindowParams(2, {"y": FeatureWindow(3)})


def last_y(past: torch.Tensor, ahead: torch.Tensor, static: torch.Tensor, series: torch.Tensor) -> torch.Tensor:
    """A graph that forecasts the last value of its first feature and the next whole step."""
    return past[:, -1:, :1] + torch.arange(2).reshape(1, -1, 1)


def make_model(params: WindowParams, **run: Any) -> serving.Model:
    facts = {
        "windows": params.to_dict(),
        "channels": [{"name": name, **vars(window)} for name, window in params.channels.items()],
        "ids": ["a", "b"],
        "frequency": "1h",
        "forward_fill": 0,
        "half_widths": [1.0, 0.4],
        "categories": {},
        "trained_on": {"run": run},
    }
    return serving.Model(facts, last_y)


def hourly(rows: int = 6, **columns: Any) -> pd.DataFrame:
    ds = pd.date_range("2024-01-01", periods=rows, freq="h")
    return pd.DataFrame({"unique_id": "a", "ds": ds, "y": np.arange(rows, dtype=float)} | columns)


def test_the_rows_after_the_last_y_are_the_ones_to_forecast() -> None:
    frame = pd.concat([hourly(6, y=[0, 1, 2, 3, nan, nan]), hourly(6).assign(unique_id="b")])
    found = make_model(PLAIN).forecast(frame)
    firsts = found.groupby("unique_id").first()
    assert firsts["cutoff"].dt.hour.tolist() == [3, 5] and firsts["ds"].dt.hour.tolist() == [4, 6]
    assert firsts["yhat"].tolist() == [3.0, 5.0]
    cutoffs = make_model(PLAIN).forecast(frame, start="2024-01-01 03:00").groupby("unique_id")["cutoff"].nunique()
    assert cutoffs.tolist() == [1, 3]


def test_a_series_without_one_y_in_its_window_gets_no_forecast_and_is_named() -> None:
    """The whole series is empty; or the newest samples that the model knows are (y comes five rows late)."""
    none = [hourly(6).assign(unique_id=name, y=nan) for name in ("n", "o")]
    with pytest.raises(ValueError, match=r"series 'n' \(and 1 more series\): no observed y in its window"):
        make_model(PLAIN).forecast(pd.concat([hourly(), *none]))
    left: list[str] = []
    found = make_model(PLAIN).forecast(pd.concat([hourly(), *none]), left_out=left)
    assert left == ["n", "o"] and set(found["unique_id"]) == {"a"}
    with pytest.raises(ValueError, match="no series has one observed y"):
        make_model(PLAIN).forecast(none[0], left_out=[])
    late = WindowParams(2, {"y": FeatureWindow(2, delay=4)}, gap=1)
    empty = [0, 1, 2, 3, *[nan] * 4, 8, 9]
    rows, left = [hourly(10), hourly(10, y=empty).assign(unique_id="b")], []
    found = make_model(late).forecast(pd.concat(rows), left_out=left)
    assert left == ["b"] and set(found["unique_id"]) == {"a"}
    many = make_model(late).forecast(pd.concat(rows), start="2024-01-01 05:00")
    assert many.groupby("unique_id")["cutoff"].nunique().tolist() == [5, 4]  # where a window of b holds one y
    with pytest.raises(ValueError, match="column 'y' is missing"):
        make_model(PLAIN).forecast(hourly().drop(columns="y"))


def test_a_model_that_reads_no_y_goes_by_it_where_it_is_given() -> None:
    params = WindowParams(2, {"x": FeatureWindow(3)})
    rows = hourly(6, x=np.arange(6.0))
    for y, cutoff in (([0, 1, 2, 3, nan, nan], 3), ([nan] * 6, 5), (range(6), 5)):
        assert make_model(params).forecast(rows.assign(y=list(y)))["cutoff"][0].hour == cutoff
    assert make_model(params).forecast(rows.drop(columns="y"))["cutoff"][0].hour == 5


def test_what_is_served_lies_within_the_bounds_of_the_run() -> None:
    bounds = {"lowest": 1, "highest": 3.5, "integer": True}
    found = make_model(PLAIN, data=bounds).forecast(hourly(6, y=[0.0, 0, 0, 0, 0, 2.5]))
    assert found["yhat"].tolist() == [2.0, 3.0]  # a half goes to the even neighbour; 3.5 is no whole number
    # 2 - 1 and 3 - 0.4, rounded down; 2 + 1 and 3 + 0.4, rounded up and then clipped
    assert found["yhat-lo-90"].tolist() == [1.0, 2.0] and found["yhat-hi-90"].tolist() == [3.0, 3.0]
    free = make_model(PLAIN).forecast(hourly(6, y=[0.0, 0, 0, 0, 0, 2.5]))
    assert free["yhat"].tolist() == [2.5, 3.5] and free["yhat-lo-90"].tolist() == [1.5, 3.1]
