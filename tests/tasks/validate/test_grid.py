"""What times leave of the grid, against plain loops: rows in order, interleaved, shuffled, some at a time."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import polars as pl
import pytest

from tasks.grid.frequency import Frequency
from tasks.validate import grid
from tasks.validate.grid import grid_of

START = datetime(2024, 1, 1, tzinfo=UTC)
LOW, HIGH = 3, 11  # rows of a split


def table() -> pl.DataFrame:
    """Hourly; a has gaps, b times that stand two and three times, c one half past, and d one row alone."""
    hours = {"a": [0, 1, 5, 6, 7, 20], "b": [0, 0, 1, 2, 2, 2, 4], "c": [2, 3, 3.5, 4, 9], "d": [7]}
    parts = [pl.DataFrame({"unique_id": name, "hour": np.array(each, float)}) for name, each in hours.items()]
    ds = pl.Series("ds", [START + timedelta(hours=hour) for hour in pl.concat(parts)["hour"]], pl.Datetime("us", "UTC"))
    return pl.concat(parts).with_columns(ds, y=pl.when(pl.int_range(pl.len()) % 3 > 0).then(1.0)).drop("hour")


def in_plain_words(frame: pl.DataFrame) -> pl.DataFrame:
    rows = []
    for (name,), part in frame.sort("unique_id", "ds").group_by("unique_id", maintain_order=True):
        hours = [(ds - part["ds"][0]) / timedelta(hours=1) for ds in part["ds"]]
        steps, gaps = [int(hour) for hour in hours], [0]
        gaps += [later - step - 1 for step, later in pairwise(steps)]
        rows.append(
            {
                "unique_id": name,
                "duplicates": len(hours) - len(set(hours)),
                "off_grid": sum(hour != int(hour) for hour in hours),
                "positions": len(set(steps)),
                "largest_gap": max(gaps),
                "observed:test": sum(y is not None and LOW <= step < HIGH for y, step in zip(part["y"], steps, strict=True)),
            }
        )
    return pl.DataFrame(rows)


@pytest.mark.parametrize("rows", [1, 4, 100])
@pytest.mark.parametrize("order", ["as it is", "by time", "shuffled", "one series backwards"])
def test_the_order_of_rows_and_how_many_go_by_at_a_time_change_nothing(
    rows: int, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grid, "ROWS", rows)
    frame = whole = table()
    if order == "by time":
        frame = frame.sort("ds", "unique_id", descending=[False, True])
    elif order == "shuffled":
        frame = frame.sample(fraction=1, shuffle=True, seed=3)
    elif order != "as it is":
        frame = pl.concat([frame.filter(pl.col("unique_id") == "c").reverse(), frame.filter(pl.col("unique_id") != "c")])
    series = whole.group_by("unique_id").agg(first=pl.col("ds").min(), day=pl.lit(0, pl.Int64).first()).sort("unique_id")
    ranges = {"test": (np.full(4, LOW), np.full(4, HIGH))}
    found = grid_of(frame.lazy(), series, Frequency("1h"), ranges)
    assert found.drop("ordered").equals(in_plain_words(whole))
    late = {"shuffled": ["a", "b", "c"], "one series backwards": ["c"]}.get(order, [])
    assert found.filter(~pl.col("ordered"))["unique_id"].to_list() == late


def test_a_table_without_a_row_has_no_series() -> None:
    nothing = table().clear()
    series = nothing.select("unique_id", first="ds", day=pl.lit(0, pl.Int64))
    assert grid_of(nothing.lazy(), series, Frequency("1h"), {}).is_empty()
