"""The panel: a regular grid from rows in any order, its filling, its calendar, its name."""

import json
import mmap
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from models.data.origins import origin_rows
from models.data.panel import Panel, PanelFacts
from models.data.window import FeatureWindow, WindowParams
from params.errors import UserError
from params.load import load_run
from tasks.grid.frequency import Frequency
from tasks.lags.panel import generate_lags, write_panel
from tasks.lags.past import target_frame

HOUR = Frequency("1h")
START = datetime(2020, 1, 1)
FrameOf = Callable[..., pl.LazyFrame]


def test_missing_steps_become_rows_and_filling_stops_at_its_limit(frame_of: FrameOf, tmp_path: Path) -> None:
    frame = frame_of({"a": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]}).filter(~pl.col("y").is_in([3.0, 4.0, 5.0, 6.0]))
    panel = Panel.open(write_panel(frame, WindowParams(1, {"y": FeatureWindow(1)}), HOUR, 2, tmp_path))
    nan = np.nan
    np.testing.assert_array_equal(panel.target, np.float32([1, 2, nan, nan, nan, nan, 7, 8]))  # the target is never imputed
    np.testing.assert_array_equal(panel.values[:, 0], np.float32([1, 2, 2, 2, nan, nan, 7, 8]))
    assert np.diff(panel.times).tolist() == [3_600_000_000] * 7


def test_filling_never_takes_from_another_series(frame_of: FrameOf, tmp_path: Path) -> None:
    frame = frame_of({"a": [1.0, 2.0], "b": [None, 5.0]})
    panel = Panel.open(write_panel(frame, WindowParams(1, {"y": FeatureWindow(1)}), HOUR, 6, tmp_path))
    np.testing.assert_array_equal(panel.values[:, 0], np.float32([1, 2, np.nan, 5]))


def test_the_panel_does_not_depend_on_the_order_of_rows_and_is_named_by_its_content(frame_of: FrameOf, tmp_path: Path) -> None:
    params = WindowParams(1, {"y": FeatureWindow(1)}, calendar=("hour", "weekday"))
    frame = frame_of({"b": [1.0, 2.0, 3.0], "a": [4.0, 5.0]})
    first = write_panel(frame, params, HOUR, 0, tmp_path)
    shuffled = frame.collect().sample(fraction=1.0, shuffle=True, seed=3).lazy()
    assert write_panel(shuffled, params, HOUR, 0, tmp_path) == first
    changed = frame.with_columns(pl.col("y") + pl.when(pl.col("y") == 5).then(0.001).otherwise(0.0))
    assert write_panel(changed, params, HOUR, 0, tmp_path) != first
    assert Panel.open(first).ids == ("a", "b")
    assert not list(tmp_path.glob(".partial*"))


def test_the_calendar_is_on_the_unit_circle_at_the_right_angle(frame_of: FrameOf, tmp_path: Path) -> None:
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


def test_a_value_beyond_32_bits_is_refused(frame_of: FrameOf, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="1e\\+39"):
        write_panel(frame_of({"a": [1.0, 1e39]}), WindowParams(1, {"y": FeatureWindow(1)}), HOUR, 0, tmp_path)


def test_integer_time_steps(tmp_path: Path) -> None:
    frame = pl.LazyFrame({"unique_id": ["a"] * 3, "ds": [3, 7, 5], "y": [1.0, 3.0, 2.0]})
    panel = Panel.open(write_panel(frame, WindowParams(1, {"y": FeatureWindow(1)}), Frequency(2), 0, tmp_path))
    assert panel.times.tolist() == [3, 5, 7]
    assert panel.target.tolist() == [1, 2, 3]


def test_padding_stands_in_front_of_each_series_and_gives_a_short_one_windows(frame_of: FrameOf, tmp_path: Path) -> None:
    frame = frame_of({"a": [1.0, 2.0, 3.0], "b": [float(i) for i in range(9)]})
    params = WindowParams(1, {"y": FeatureWindow(5)}, start_padding=3)
    panel = Panel.open(write_panel(frame, params, HOUR, 2, tmp_path))
    nan = np.nan
    np.testing.assert_array_equal(panel.target[:6], np.float32([nan, nan, nan, 1, 2, 3]))
    np.testing.assert_array_equal(panel.values[:6, 0], np.float32([nan, nan, nan, 1, 2, 3]))  # nothing is carried into it
    assert panel.offsets.tolist() == [0, 6, 18] and np.diff(panel.times[:6]).tolist() == [3_600_000_000] * 5
    assert panel.times[3] == 1_577_836_800_000_000  # 2020-01-01
    assert origin_rows(panel, params, None, "all", 1).tolist() == [4, *range(10, 17)]  # 2 rows of a, then 2 rows and more of b
    plain = Panel.open(write_panel(frame, replace(params, start_padding=0), HOUR, 2, tmp_path))
    assert target_frame(panel, panel.ids).equals(target_frame(plain, plain.ids))
    assert origin_rows(plain, replace(params, start_padding=0), None, "all", 1).tolist() == [7, 8, 9, 10]
    with pytest.raises(ValueError, match="start_padding 5 leaves a window without any row: at most 4"):
        replace(params, start_padding=5)


def test_padding_keeps_the_day_of_a_grid_of_months(tmp_path: Path) -> None:
    params = WindowParams(1, {"y": FeatureWindow(14)}, start_padding=11)
    day = pl.datetime_range(datetime(2020, 1, 30), datetime(2021, 6, 30), "1mo", time_unit="us", time_zone="UTC", eager=True)
    frame = pl.DataFrame({"unique_id": "a", "ds": day, "y": 1.0})
    panel = Panel.open(write_panel(frame.lazy(), params, Frequency("1mo"), 0, tmp_path))
    days = [str(time)[:10] for time in panel.times.astype("datetime64[us]")]
    assert days[:3] == ["2019-02-28", "2019-03-30", "2019-04-30"] and days[11:] == [str(time)[:10] for time in day]
    assert np.isnan(panel.target[:11]).all() and not np.isnan(panel.target[11:]).any()


def test_the_step_of_the_flow_gives_the_panel_opened_where_it_lies(frame_of: FrameOf, tmp_path: Path) -> None:
    run = load_run("params/smoke.yaml", ["windows.forward_fill=2", "data.frequency=1h"])
    windows = WindowParams(1, {"y": FeatureWindow(2)}, start_padding=1, static={"unique_id": "categorical"})
    panel = generate_lags.fn(frame_of({"a": [1.0, 2.0, 3.0]}), windows, run, Frequency("1h"), tmp_path)
    assert panel.folder == tmp_path / panel.digest and isinstance(panel.target.base, mmap.mmap)
    facts = {"frequency": "1h", "forward_fill": 2, "start_padding": 1, "static": ("unique_id",)}
    assert panel.facts.to_dict() == facts | {"categories": {"unique_id": ("a",)}}


def test_a_panel_written_before_padding_and_covariates_opens(frame_of: FrameOf, tmp_path: Path) -> None:
    folder = write_panel(frame_of({"a": [1.0, 2.0]}), WindowParams(1, {"y": FeatureWindow(1)}), HOUR, 3, tmp_path)
    facts = json.loads((folder / "panel.json").read_text())
    (folder / "panel.json").write_text(
        json.dumps({k: facts[k] for k in ("ids", "channels", "digest", "frequency", "forward_fill")})
    )
    panel = Panel.open(folder)
    assert panel.facts == PanelFacts(frequency="1h", forward_fill=3) and target_frame(panel, panel.ids).height == 2
