"""The profile against plain Python over the same few rows, and its windows against those that are really cut."""

import itertools
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.data.origins import origin_rows
from models.data.panel import SPLITS, Panel
from params.load import load_run
from params.schema import RunParams
from tasks.grid.frequency import Frequency
from tasks.grid.split import folds_of, split_of
from tasks.lags.panel import write_panel
from tasks.load.source import history_frame, open_source
from tasks.validate.profile import Profile, make_profile, of_fold

pytestmark = pytest.mark.slow

START = datetime(2020, 1, 1, tzinfo=UTC)
Row = tuple[str, datetime, float | None, float | None]


def profile_of(run: RunParams) -> Profile:
    return make_profile(run, open_source(run.data))


def run_on(path: Path, *settings: str, features: str = "") -> RunParams:
    base = [f"data.path={path}", "data.id=id", "data.time=time", "data.target=temp"]
    windows = f"windows={{horizon: 2, forward_fill: 0, max_missing_share: 1.0, features: {{y: {{lookback: 3}}, {features}}}}}"
    return load_run("params/smoke.yaml", [*base, windows, "split={validation: 3, test: 3}", *settings])


def write(file: Path, rows: list[Row], shuffled: bool = False) -> Path:
    schema = {"id": pl.String, "time": pl.Datetime("us", "UTC"), "temp": pl.Float64, "dewp": pl.Float64}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    (frame.sample(fraction=1, shuffle=True, seed=3) if shuffled else frame).write_parquet(file)
    return file


def by_hand(rows: list[Row]) -> dict[str, Any]:
    """The profile of one series at 1h, in plain Python: up to its last row with a target, where it has one."""
    seen = [row[1] for row in rows if row[2] is not None and not math.isnan(row[2])]
    rows = sorted((row for row in rows if not seen or row[1] <= max(seen)), key=lambda row: row[1])
    times = [row[1] for row in rows]
    taken = sorted({(t - times[0]) // timedelta(hours=1) for t in times})
    steps = taken[-1] + 1
    clean = [None if row[2] is None or math.isnan(row[2]) else row[2] for row in rows]
    finite = [y for y in clean if y is not None and math.isfinite(y)]
    return {
        "first": times[0], "last": times[-1], "rows": len(rows), "steps": steps,
        "duplicates": len(times) - len(set(times)),
        "off_grid": sum((t - times[0]) % timedelta(hours=1) != timedelta(0) for t in times),
        "missing_steps": steps - len(taken), "gap_share": (steps - len(taken)) / steps,
        "largest_gap": max((b - a - 1 for a, b in itertools.pairwise(taken)), default=0),
        "null_share:y": clean.count(None) / len(rows), "infinite:y": sum(map(math.isinf, (y for y in clean if y is not None))),
        "min:y": min(finite, default=None), "max:y": max(finite, default=None),
        "y_distinct": min(len(set(finite)), 2), "y_varies": int(len(set(finite)) != 1), "text:y": 0,
    }  # fmt: skip


values = st.sampled_from([1.0, 1.0, 2.5, None, math.nan, math.inf, -math.inf])
minutes = st.sampled_from([0, 60, 60, 120, 240, 300, 15])
series = st.lists(st.tuples(minutes, values), min_size=1, max_size=8)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(series, min_size=1, max_size=3), st.booleans())
def test_the_profile_is_what_plain_python_finds(
    tmp_path: Path, table: list[list[tuple[int, float | None]]], shuffled: bool
) -> None:
    rows: list[Row] = []
    for number, steps in enumerate(table):
        moment = START
        for wait, value in steps:
            moment += timedelta(minutes=wait)
            rows.append((f"s{number}", moment, value, None))
    profile = profile_of(run_on(write(tmp_path / "x.parquet", rows, shuffled)))
    for found in profile.series.iter_rows(named=True):
        expected = by_hand([row for row in rows if row[0] == found["unique_id"]])
        assert {key: found[key] for key in expected} == expected
    assert profile.table["rows"].item() + profile.tail.rows == len(rows)
    assert profile.series.height == profile.table["series"].item() == len(table)


def hourly(count: int, name: str = "a", start: datetime = START) -> list[Row]:
    return [(name, start + timedelta(hours=i), float(i % 5), float(i)) for i in range(count)]


def test_rows_in_any_order_give_the_same_profile(tmp_path: Path) -> None:
    rows = hourly(40) + hourly(30, "b")
    features = "dewp: {lookback: 2}"
    sorted_, mixed = (
        profile_of(run_on(write(tmp_path / f"{shuffled}.parquet", rows, shuffled), features=features))
        for shuffled in (False, True)
    )
    assert sorted_.series["ordered"].all() and not mixed.series["ordered"].any()
    assert sorted_.series.drop("ordered").equals(mixed.series.drop("ordered"))
    assert sorted_.table.equals(mixed.table)


SPLIT_SETTINGS = [
    "split={validation: 6, test: 5}", "split={validation: 6, test: 5, embargo: 2}", "split={validation: 8h, test: 7h}",
    "split={validation: 8h, test: 7h, embargo: 1h}", "split={validation: 8h, test: 7h, embargo: 1h, folds: 3}",
    "split={validation: 6, test: 5, folds: 3}", 'split={validation: "2020-01-01 20:00", test: "2020-01-02"}',
]  # fmt: skip


@pytest.mark.parametrize("split", SPLIT_SETTINGS)
@pytest.mark.parametrize("gap", [0, 2])
def test_the_windows_counted_are_the_windows_cut(tmp_path: Path, split: str, gap: int) -> None:
    late = START + timedelta(hours=30)
    rows = [*hourly(40), *hourly(6, "b"), *hourly(10, "c", late), *hourly(17, "d")]
    run = run_on(write(tmp_path / "x.parquet", rows), split, f"windows.gap={gap}")
    window, frequency = run.windows.window_params(), Frequency("1h")
    panel = Panel.open(write_panel(history_frame(run, open_source(run.data)), window, frequency, 0, tmp_path / "panels"))
    profile = profile_of(run)
    assert profile.split_problem is None
    for name in SPLITS:
        cut = origin_rows(panel, window, split_of(run, panel), name, 1)
        each = [int(((cut >= panel.rows(s).start) & (cut < panel.rows(s).stop)).sum()) for s in range(len(panel.ids))]
        assert profile.series[f"windows:{name}"].to_list() == each, name
    for number, earlier in enumerate(folds_of(run, panel)[:-1], start=1):
        for name in ("train", "validation"):
            cut = origin_rows(panel, window, earlier, name, 1)
            each = np.histogram(cut, panel.offsets)[0].tolist()
            assert profile.series[f"windows:{of_fold(name, number)}"].to_list() == each, (name, number)


@pytest.mark.parametrize("split", SPLIT_SETTINGS)
def test_the_observed_targets_counted_are_those_in_the_range_of_each_split(tmp_path: Path, split: str) -> None:
    rows = [*hourly(40), *hourly(6, "b"), *hourly(10, "c", START + timedelta(hours=30)), *hourly(17, "d")]
    rows = [(name, time, None if i % 3 == 0 else math.nan if i % 7 == 0 else y, x) for i, (name, time, y, x) in enumerate(rows)]
    run = run_on(write(tmp_path / "x.parquet", [row for i, row in enumerate(rows) if i != 12], shuffled=True), split)
    panel = Panel.open(
        write_panel(
            history_frame(run, open_source(run.data)), run.windows.window_params(), Frequency("1h"), 0, tmp_path / "panels"
        )
    )
    *earlier, borders = folds_of(run, panel)
    profile, named = profile_of(run), {name: (name, borders) for name in SPLITS}
    for number, split_ in enumerate(earlier, start=1):
        named |= {of_fold(name, number): (name, split_) for name in ("train", "validation")}
    for name, (own, where) in named.items():
        each = []
        for s in range(len(panel.ids)):
            low, high = where.target_rows(panel.times[panel.rows(s)], own)
            y = panel.target[panel.rows(s)][max(low, 0) : max(high, 0)]
            each.append(int((~np.isnan(y)).sum()))
        assert profile.series[f"observed:{name}"].to_list() == each, name
        trained = profile.series["windows:train"] > 0
        assert profile.table[f"observed:{name}"].item() == sum(itertools.compress(each, trained))


def test_month_ends_are_a_grid_whichever_month_they_begin_in(tmp_path: Path) -> None:
    ends = {"a": ["2021-01-31", "2021-02-28", "2021-03-31", "2021-04-30"], "b": ["2021-04-30", "2021-05-31", "2021-07-31"]}
    rows: list[Row] = [(k, datetime.fromisoformat(d).replace(tzinfo=UTC), 1.0, None) for k, ds in ends.items() for d in ds]
    found = profile_of(run_on(write(tmp_path / "x.parquet", rows), "data.frequency=1mo")).series
    assert found["off_grid"].to_list() == [0, 0]
    assert found["steps"].to_list() == [4, 4]
    assert found["missing_steps"].to_list() == [0, 1]


def test_text_is_counted_apart_from_nulls_and_shown(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_text("id,time,temp,dewp\na,2020-01-01 00:00,1,x\na,2020-01-01 01:00,NaN,\na,2020-01-01 02:00,inf,3\n")
    found = profile_of(run_on(file, features="dewp: {lookback: 1}")).series.row(0, named=True)
    assert (found["text:dewp"], found["example:dewp"], found["nulls:dewp"], found["min:dewp"]) == (1, "x", 1, 3.0)
    assert (found["text:y"], found["nulls:y"], found["infinite:y"], found["max:y"]) == (0, 1, 1, 1.0)


HARD_NAMES = [
    "rows", "first", "last", "literal", "len", "steps", "duplicates", "ordered", "nulls:y", "nulls:nulls:y", "null_share:y",
    "windows:train", "position", "a b", "y_distinct", "series", "split_problem", "text:y", "min:y",
]  # fmt: skip


@pytest.mark.parametrize("target", ["temp", "y", "rows", "first", "ds", "unique_id", "literal", "nulls:y"])
def test_columns_may_be_called_like_ours(tmp_path: Path, target: str) -> None:
    features = [name for name in HARD_NAMES if name != target]
    count = 30
    frame = {"id": ["a"] * count, "time": [START + timedelta(hours=i) for i in range(count)], target: range(count)}
    frame |= {name: [None, *range(1, count)] for name in features}
    pl.DataFrame(frame).write_parquet(tmp_path / "x.parquet")
    named = ", ".join(f'"{name}": {{lookback: 1}}' for name in features)
    profile = profile_of(run_on(tmp_path / "x.parquet", f'data.target="{target}"', features=named))
    found = profile.series.row(0, named=True)
    assert (found["rows"], found["first"], found["min:y"], found["max:y"], found["null_share:y"]) == (count, START, 0, 29, 0)
    for name in features:
        assert (found[f"min:{name}"], found[f"null_share:{name}"]) == (1, 1 / count)
        assert profile.table[f"null_share:{name}"].item() == 1 / count


def test_a_wanted_column_that_is_missing_comes_with_those_that_there_are(tmp_path: Path) -> None:
    profile = profile_of(run_on(write(tmp_path / "x.parquet", hourly(20)), features="wind: {lookback: 1}"))
    assert (profile.missing, profile.found) == (("wind",), ("id", "time", "temp", "dewp"))
