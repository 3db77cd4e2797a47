"""The course's tables as printed, the lag table against the gathered windows, the panel's grid and its filling."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.panel import Panel
from models.windows import FeatureWindow, WindowParams, Windows
from params.errors import UserError
from params.load import load_run
from tasks.frequency import Frequency
from tasks.lags import head_text, lag_table
from tasks.panel import write_panel
from tasks.split import resolve_split, split_of

HOUR = Frequency("1h")
START = datetime(2020, 1, 1)


def frame_of(series: dict[str, list[float | None]], **features: list[float | None]) -> pl.LazyFrame:
    """Hourly rows; features are given for all rows in order."""
    rows = [(name, START + timedelta(hours=i), y) for name, values in series.items() for i, y in enumerate(values)]
    keys = pl.DataFrame(rows, schema={"unique_id": pl.String, "ds": pl.Datetime("us"), "y": pl.Float64}, orient="row")
    return keys.with_columns(
        pl.col("ds").dt.replace_time_zone("UTC"), **{k: pl.Series(v, dtype=pl.Float64) for k, v in features.items()}
    ).lazy()


def table(folder: Path, frame: pl.LazyFrame, params: WindowParams, edges: Any = "keep", fill: int = 0) -> pl.DataFrame:
    panel = Panel.open(write_panel(frame, params, HOUR, fill, folder))
    return lag_table(panel, params, edges)


def rows_of(frame: pl.DataFrame) -> list[tuple[float | None, ...]]:
    return [tuple(None if v is None else round(v, 3) for v in row) for row in frame.drop("unique_id", "ds").rows()]


COURSE = [100.0, 110.0, 108.0, 115.0, 120.0]


def test_the_courses_table_of_one_lag_and_one_step(tmp_path: Path) -> None:
    found = table(tmp_path, frame_of({"a": COURSE}), WindowParams(1, {"y": FeatureWindow(1)}))
    assert found.columns == ["unique_id", "ds", "y_lag1", "y_step1"]
    assert rows_of(found) == [(None, 100), (100, 110), (110, 108), (108, 115), (115, 120), (120, None)]
    assert found["ds"][0].replace(tzinfo=None) == START
    assert found["ds"][-1].replace(tzinfo=None) == START + timedelta(hours=5)


def test_the_courses_table_of_two_steps(tmp_path: Path) -> None:
    found = table(tmp_path, frame_of({"a": COURSE}), WindowParams(2, {"y": FeatureWindow(1)}))
    assert rows_of(found) == [
        (None, 100, 110), (100, 110, 108), (110, 108, 115), (108, 115, 120), (115, 120, None), (120, None, None),
    ]  # fmt: skip


def test_the_courses_window_of_seven(tmp_path: Path) -> None:
    y = [123.654, 125.455, 108.584, 118.674, 121.338, 120.655, 121.795, 123.033, 124.049, 125.961]
    found = table(tmp_path, frame_of({"a": y}), WindowParams(1, {"y": FeatureWindow(7)}), "drop")
    assert [row[-1] for row in rows_of(found)] == [123.033, 124.049, 125.961]
    assert [row[:-1] for row in rows_of(found)] == [tuple(y[i : i + 7]) for i in range(3)]


def test_names_count_rows_before_the_target_of_step_1(tmp_path: Path) -> None:
    params = WindowParams(1, {"y": FeatureWindow(2), "x": FeatureWindow(2, sampling_rate=3, delay=2)}, gap=1)
    found = table(tmp_path, frame_of({"a": [1.0] * 12}, x=[2.0] * 12), params)
    assert found.columns == ["unique_id", "ds", "y_lag3", "y_lag2", "x_lag7", "x_lag4", "y_step1"]


number = st.one_of(st.none(), st.integers(-50, 50).map(float))
window = st.builds(FeatureWindow, st.integers(1, 4), st.integers(1, 3), st.integers(0, 2))


@settings(max_examples=60)
@given(data=st.data())
def test_the_lag_table_equals_the_gathered_windows(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(1, 15), min_size=1, max_size=3))
    series = {f"s{i}": data.draw(st.lists(number, min_size=n, max_size=n)) for i, n in enumerate(sizes)}
    x = data.draw(st.lists(number, min_size=sum(sizes), max_size=sum(sizes)))
    params = WindowParams(
        data.draw(st.integers(1, 3)), {"y": data.draw(window), "x": data.draw(window)}, data.draw(st.integers(0, 2))
    )
    folder = tmp_path_factory.mktemp("panel")
    panel = Panel.open(write_panel(frame_of(series, x=x), params, HOUR, data.draw(st.integers(0, 2)), folder))
    found = lag_table(panel, params, "drop")
    origins = np.concatenate(
        [
            np.arange(params.reach, panel.rows(i).stop - panel.rows(i).start - params.ahead) + panel.rows(i).start
            for i in range(len(sizes))
        ]
    )
    assert found.height == len(origins)
    if len(origins):
        (past, *_), y = Windows(panel, params, origins).batch(torch.arange(len(origins)))
        pieces = [past[:, params.lookback - w.lookback :, c] for c, w in enumerate(params.features.values())]
        expected = torch.cat([*pieces, y], 1).double().numpy()
        np.testing.assert_array_equal(found.drop("unique_id", "ds").fill_null(float("nan")).to_numpy(), expected)
        cutoffs = panel.times[origins + params.gap + 1]
        np.testing.assert_array_equal(found["ds"].to_physical().to_numpy(), cutoffs)


def test_missing_steps_become_rows_and_filling_stops_at_its_limit(tmp_path: Path) -> None:
    frame = frame_of({"a": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]}).filter(~pl.col("y").is_in([3.0, 4.0, 5.0, 6.0]))
    panel = Panel.open(write_panel(frame, WindowParams(1, {"y": FeatureWindow(1)}), HOUR, 2, tmp_path))
    nan = np.nan
    np.testing.assert_array_equal(panel.target, np.float32([1, 2, nan, nan, nan, nan, 7, 8]))  # the target is never imputed
    np.testing.assert_array_equal(panel.values[:, 0], np.float32([1, 2, 2, 2, nan, nan, 7, 8]))
    assert np.diff(panel.times).tolist() == [3_600_000_000] * 7


def test_filling_never_takes_from_another_series(tmp_path: Path) -> None:
    frame = frame_of({"a": [1.0, 2.0], "b": [None, 5.0]})
    panel = Panel.open(write_panel(frame, WindowParams(1, {"y": FeatureWindow(1)}), HOUR, 6, tmp_path))
    np.testing.assert_array_equal(panel.values[:, 0], np.float32([1, 2, np.nan, 5]))


def test_the_panel_does_not_depend_on_the_order_of_rows_and_is_named_by_its_content(tmp_path: Path) -> None:
    params = WindowParams(1, {"y": FeatureWindow(1)}, calendar=("hour", "weekday"))
    frame = frame_of({"b": [1.0, 2.0, 3.0], "a": [4.0, 5.0]})
    first = write_panel(frame, params, HOUR, 0, tmp_path)
    shuffled = frame.collect().sample(fraction=1.0, shuffle=True, seed=3).lazy()
    assert write_panel(shuffled, params, HOUR, 0, tmp_path) == first
    changed = frame.with_columns(pl.col("y") + pl.when(pl.col("y") == 5).then(0.001).otherwise(0.0))
    assert write_panel(changed, params, HOUR, 0, tmp_path) != first
    assert Panel.open(first).ids == ("a", "b")
    assert not list(tmp_path.glob(".partial*"))


def test_the_calendar_is_on_the_unit_circle_at_the_right_angle(tmp_path: Path) -> None:
    params = WindowParams(1, {"y": FeatureWindow(1)}, calendar=("hour", "weekday", "month", "monthday", "yearday"))
    panel = Panel.open(write_panel(frame_of({"a": [1.0] * 30}), params, HOUR, 0, tmp_path))
    columns = {name: panel.values[:, i] for i, name in enumerate(panel.channels)}
    for i in range(30):
        when = START + timedelta(hours=i)
        for name, value, period in (
            ("hour", when.hour, 24), ("weekday", when.weekday(), 7), ("month", when.month - 1, 12),
            ("monthday", when.day - 1, 31), ("yearday", when.timetuple().tm_yday - 1, 365.25),
        ):  # fmt: skip
            assert columns[f"{name}_sin"][i] == pytest.approx(np.sin(2 * np.pi * value / period), abs=1e-6)
            assert columns[f"{name}_cos"][i] == pytest.approx(np.cos(2 * np.pi * value / period), abs=1e-6)


def test_a_value_beyond_32_bits_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="1e\\+39"):
        write_panel(frame_of({"a": [1.0, 1e39]}), WindowParams(1, {"y": FeatureWindow(1)}), HOUR, 0, tmp_path)


def test_the_head_shows_values_as_they_were_given_and_not_as_32_bits_hold_them(tmp_path: Path) -> None:
    found = table(tmp_path, frame_of({"a": [39.92, 0.00012, 30.02, None]}), WindowParams(1, {"y": FeatureWindow(1)}))
    shown = head_text(found)
    for text in ("39.92 ", "0.00012 ", "30.02 ", "null"):
        assert text in shown
    assert "39.9199" not in shown and "30.0200" not in shown


def test_integer_time_steps(tmp_path: Path) -> None:
    frame = pl.LazyFrame({"unique_id": ["a"] * 3, "ds": [3, 7, 5], "y": [1.0, 3.0, 2.0]})
    panel = Panel.open(write_panel(frame, WindowParams(1, {"y": FeatureWindow(1)}), Frequency(2), 0, tmp_path))
    assert panel.times.tolist() == [3, 5, 7]
    assert panel.target.tolist() == [1, 2, 3]


def test_borders_are_counted_back_from_the_newest_row(tmp_path: Path) -> None:
    run = load_run("params/nyc_weather.yaml", ["split={validation: 2d, test: 1d, embargo: 3h}"])
    panel = Panel.open(
        write_panel(frame_of({"a": [1.0] * 240, "b": [1.0] * 200}), WindowParams(1, {"y": FeatureWindow(1)}), HOUR, 0, tmp_path)
    )
    split = split_of(run, panel)
    assert [split.target_rows(panel.times[panel.rows(0)], name) for name in ("train", "validation", "test")] == [
        (0, 165), (168, 213), (216, 240),
    ]  # fmt: skip
    assert split.target_rows(panel.times[panel.rows(1)], "validation") == (168, 197)
    rows = load_run("params/nyc_weather.yaml", ["split={validation: 20, test: 10}"])
    assert split_of(rows, panel).target_rows(panel.times[panel.rows(1)], "test") == (190, 200)
    dates = load_run("params/nyc_weather.yaml", ["split={validation: 2020-01-05, test: '2020-01-08 12:00'}"])
    assert split_of(dates, panel).target_rows(panel.times[panel.rows(0)], "test") == (180, 240)


@pytest.mark.parametrize("split", ["{validation: 300d, test: 1d}", "{validation: 2020-01-02, test: 2021-01-01}"])
def test_borders_outside_the_data_are_refused(tmp_path: Path, split: str) -> None:
    run = load_run("params/nyc_weather.yaml", [f"split={split}"])
    panel = Panel.open(write_panel(frame_of({"a": [1.0] * 240}), WindowParams(1, {"y": FeatureWindow(1)}), HOUR, 0, tmp_path))
    with pytest.raises(UserError, match="the data runs from 2020-01-01"):
        split_of(run, panel)


def test_a_date_that_no_calendar_has_is_refused(tmp_path: Path) -> None:
    run = load_run("params/nyc_weather.yaml", ["split={validation: 2020-01-02, test: 2020-02-30}"])
    with pytest.raises(UserError, match="2020-02-30"):
        resolve_split(run, 0, 10)


def test_a_feature_may_be_called_target(tmp_path: Path) -> None:
    params = WindowParams(1, {"y": FeatureWindow(2), "target": FeatureWindow(1)})
    found = table(tmp_path, frame_of({"a": [1.0, 2.0, 3.0]}, target=[7.0, 8.0, 9.0]), params, "drop")
    assert found.columns[2:] == ["y_lag2", "y_lag1", "target_lag1", "y_step1"]
    assert rows_of(found) == [(1, 2, 8, 3)]
