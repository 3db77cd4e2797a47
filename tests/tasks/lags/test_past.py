"""The rows of a split, some whole series at a time: the same whatever the size of a part; means by hand."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from models.data.panel import Panel, Split
from models.data.window import FeatureWindow, WindowParams
from tasks.grid.frequency import Frequency
from tasks.lags.panel import write_panel
from tasks.lags.past import Past, frame_of, past_of, pasts, series_parts, target_frame

LENGTHS = {"a": 30, "b": 7, "c": 12, "d": 41}


@pytest.fixture(params=[0, 3])
def panel(request: pytest.FixtureRequest, tmp_path: Path) -> Panel:
    rng = np.random.default_rng(0)
    parts = []
    for name, rows in LENGTHS.items():
        y = rng.normal(size=rows)
        y[1:-1][rng.random(rows - 2) < 0.2] = np.nan
        parts.append(pl.DataFrame({"unique_id": name, "ds": range(rows), "y": y}))
    params = WindowParams(2, {"y": FeatureWindow(4)}, start_padding=request.param)
    return Panel.open(write_panel(pl.concat(parts).lazy(), params, Frequency(1), 0, tmp_path))


@pytest.mark.parametrize("rows", [1, 25, 1000])
@pytest.mark.parametrize("name", ["train", "validation", "test"])
def test_parts_of_any_size_have_the_rows_of_the_split_and_no_padding(panel: Panel, rows: int, name: str) -> None:
    """Of a split by rows: 5 of test before the end, 5 of validation before these; b has 7 rows, and so none to train on."""
    parts = list(pasts(panel, Split("rows", 5, 5), name, rows))
    assert len(parts) == {1: 4, 25: 3, 1000: 1}[rows]
    assert [one for part in parts for one in part.ids] == list(LENGTHS)
    found = pl.concat(frame_of(part) for part in parts)
    every = target_frame(panel, list(LENGTHS)).with_columns(left=pl.int_range(pl.len(), 0, -1).over("unique_id"))
    low, high = {"train": (11, 99), "validation": (6, 10), "test": (1, 5)}[name]
    wanted = every.filter(pl.col("left").is_between(low, high)).select("unique_id", "y")
    assert found.equals(wanted) and wanted["y"].null_count() < wanted.height


def test_a_frame_gives_the_same_in_whatever_order_it_comes(panel: Panel) -> None:
    frame = target_frame(panel, list(LENGTHS))
    (whole,) = pasts(panel, Split("rows", 0, 0), "train")
    found = past_of(frame.sample(fraction=1, shuffle=True, seed=1))
    assert list(found.ids) == list(whole.ids) and found.offsets.tolist() == whole.offsets.tolist()
    np.testing.assert_array_equal(found.y, whole.y)
    assert target_frame(panel, ["d", "b"]).equals(frame.filter(pl.col("unique_id").is_in(["b", "d"])))
    assert target_frame(panel, []).height == 0


def test_means_leave_out_what_is_missing_and_series_without_a_row() -> None:
    nan = np.nan
    past = Past(list("abcd"), np.array([1.0, nan, 3.0, nan, nan, 7.0]), np.array([0, 3, 3, 5, 6]))
    np.testing.assert_array_equal(past.means(past.y), [2.0, nan, nan, 7.0])
    assert past.starts.tolist() == [0, 0, 0, 3, 3, 5]
    nothing = Past(["a"], np.empty(0), np.array([0, 0]))
    assert np.isnan(nothing.means(nothing.y)).all()


def test_parts_hold_as_many_series_as_have_so_many_rows() -> None:
    offsets = np.array([0, 4, 8, 20, 21, 22])
    assert list(series_parts(offsets, 8)) == [slice(0, 2), slice(2, 3), slice(3, 5)]  # the third is larger than a part
    assert list(series_parts(offsets, 100)) == [slice(0, 5)] and not list(series_parts(np.array([0])))
