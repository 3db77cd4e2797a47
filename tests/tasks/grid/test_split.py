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
from tasks.grid.split import folds_of, split_of
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


ROWS = WindowParams(1, {"y": FeatureWindow(1)})


@pytest.mark.parametrize(
    ("split", "frequency"),
    [
        ("{validation: 2d, test: 1d, embargo: 3h, folds: 3}", "1h"),
        ("{validation: 48, test: 24, embargo: 3, folds: 3}", "1h"),
        ("{validation: 2020-01-08, test: 2020-01-10, folds: 3, embargo: 3}", "1h"),
    ],
)
def test_each_fold_is_as_long_as_the_last_and_ends_where_the_next_begins(
    frame_of: FrameOf, tmp_path: Path, split: str, frequency: str
) -> None:
    run = load_run("params/nyc_weather.yaml", [f"split={split}"])
    panel = Panel.open(write_panel(frame_of({"a": [1.0] * 240}), ROWS, Frequency(frequency), 0, tmp_path))
    folds = folds_of(run, panel)
    assert folds[-1] == split_of(run, panel)
    assert [[fold.target_rows(panel.times, name) for name in ("train", "validation")] for fold in folds] == [
        [(0, 69), (72, 117)], [(0, 117), (120, 165)], [(0, 165), (168, 213)],
    ]  # fmt: skip


def test_folds_of_months_are_whole_months(tmp_path: Path) -> None:
    """By a duration and by the dates that mean the same; 31 January less a month is the end of December."""
    ds = pl.datetime_range(pl.datetime(2018, 1, 31), pl.datetime(2020, 12, 31), "1mo", time_zone="UTC", eager=True)
    frame = pl.DataFrame({"unique_id": "a", "ds": ds.dt.month_end().dt.cast_time_unit("us"), "y": 1.0})
    panel = Panel.open(write_panel(frame.lazy(), ROWS, Frequency("1mo"), 0, tmp_path))
    for split in ("{validation: 6mo, test: 3mo, folds: 3}", "{validation: 2020-04-30, test: 2020-10-31, folds: 3}"):
        folds = folds_of(
            load_run("params/nyc_weather.yaml", ["data.frequency=1mo", "windows.calendar=[]", f"split={split}"]), panel
        )
        found = [fold.target_rows(panel.times, "validation") for fold in folds]
        assert found == [(15, 21), (21, 27), (27, 33)], split


def test_folds_that_reach_back_before_the_data_are_refused_and_it_is_said_how_many_fit(
    frame_of: FrameOf, tmp_path: Path
) -> None:
    run = load_run("params/nyc_weather.yaml", ["split={validation: 2d, test: 1d, folds: 9}"])
    panel = Panel.open(write_panel(frame_of({"a": [1.0] * 240}), ROWS, HOUR, 0, tmp_path))
    with pytest.raises(UserError, match=r"split.folds 9: the data begins 2020-01-01.*lower split.folds to 4 or less"):
        folds_of(run, panel)


@pytest.mark.parametrize("split", ["{validation: 300d, test: 1d}", "{validation: 2020-01-02, test: 2021-01-01}"])
def test_borders_outside_the_data_are_refused(frame_of: FrameOf, tmp_path: Path, split: str) -> None:
    run = load_run("params/nyc_weather.yaml", [f"split={split}"])
    panel = Panel.open(write_panel(frame_of({"a": [1.0] * 240}), WindowParams(1, {"y": FeatureWindow(1)}), HOUR, 0, tmp_path))
    with pytest.raises(UserError, match="the data runs from 2020-01-01"):
        split_of(run, panel)


def test_a_date_that_no_calendar_has_is_refused_before_any_data() -> None:
    with pytest.raises(UserError, match="2020-02-30"):
        load_run("params/nyc_weather.yaml", ["split={validation: 2020-01-02, test: 2020-02-30}"])
