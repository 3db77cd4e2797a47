"""Where validation and test begin: counted back from the newest row, as dates, as row counts."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from models.data.panel import Panel
from models.data.window import FeatureWindow, WindowParams
from params.errors import UserError
from params.load import load_run
from tasks.grid.frequency import Frequency
from tasks.grid.split import split_of
from tasks.lags.panel import write_panel

HOUR = Frequency("1h")
FrameOf = Callable[..., pl.LazyFrame]


def test_borders_are_counted_back_from_the_newest_row(frame_of: FrameOf, tmp_path: Path) -> None:
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
def test_borders_outside_the_data_are_refused(frame_of: FrameOf, tmp_path: Path, split: str) -> None:
    run = load_run("params/nyc_weather.yaml", [f"split={split}"])
    panel = Panel.open(write_panel(frame_of({"a": [1.0] * 240}), WindowParams(1, {"y": FeatureWindow(1)}), HOUR, 0, tmp_path))
    with pytest.raises(UserError, match="the data runs from 2020-01-01"):
        split_of(run, panel)


def test_a_date_that_no_calendar_has_is_refused_before_any_data() -> None:
    with pytest.raises(UserError, match="2020-02-30"):
        load_run("params/nyc_weather.yaml", ["split={validation: 2020-01-02, test: 2020-02-30}"])
