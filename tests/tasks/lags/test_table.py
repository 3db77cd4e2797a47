"""The course's tables as printed; the lag table against a loop over rows and against the gathered windows."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.data.origins import origin_rows
from models.data.panel import Panel
from models.data.window import FeatureWindow, WindowParams
from models.data.windows import Windows
from params.errors import UserError
from tasks.grid.frequency import Frequency
from tasks.lags.file import write_lag_table
from tasks.lags.panel import write_panel
from tasks.lags.rows import BLOCK, window_means
from tasks.lags.table import first_whole_row, head_text, lag_head, lag_table, table_part

HOUR = Frequency("1h")
START = datetime(2020, 1, 1)
COURSE = [100.0, 110.0, 108.0, 115.0, 120.0]
Table = Callable[..., pl.DataFrame]


@pytest.fixture(scope="session")
def panel_of(frame_of: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Panel]:
    """`panel_of(series, params, fill=0, **columns)`: the panel of hourly series."""

    def make(series: dict[str, Any], params: WindowParams, fill: int = 0, **columns: Any) -> Panel:
        return Panel.open(write_panel(frame_of(series, **columns), params, HOUR, fill, tmp_path_factory.mktemp("panel")))

    return make


@pytest.fixture
def table(panel_of: Any) -> Table:
    """`table(series, params, edges, **columns)`: their lag table."""
    return lambda series, params, edges="keep", **columns: lag_table(panel_of(series, params, **columns), params, edges)


def rows_of(frame: pl.DataFrame) -> list[tuple[float | None, ...]]:
    return [tuple(None if v is None else round(v, 3) for v in row) for row in frame.drop("unique_id", "ds").rows()]


def test_the_courses_table_of_one_lag_and_one_step(table: Table) -> None:
    found = table({"a": COURSE}, WindowParams(1, {"y": FeatureWindow(1)}))
    assert found.columns == ["unique_id", "ds", "y_lag1", "y_step1"]
    assert rows_of(found) == [(None, 100), (100, 110), (110, 108), (108, 115), (115, 120), (120, None)]
    assert found["ds"][0].replace(tzinfo=None) == START
    assert found["ds"][-1].replace(tzinfo=None) == START + timedelta(hours=5)


def test_the_courses_table_of_two_steps(table: Table) -> None:
    found = table({"a": COURSE}, WindowParams(2, {"y": FeatureWindow(1)}))
    assert rows_of(found) == [
        (None, 100, 110), (100, 110, 108), (110, 108, 115), (108, 115, 120), (115, 120, None), (120, None, None),
    ]  # fmt: skip


def test_the_courses_window_of_seven(table: Table) -> None:
    y = [123.654, 125.455, 108.584, 118.674, 121.338, 120.655, 121.795, 123.033, 124.049, 125.961]
    found = table({"a": y}, WindowParams(1, {"y": FeatureWindow(7)}), "drop")
    assert [row[-1] for row in rows_of(found)] == [123.033, 124.049, 125.961]
    assert [row[:-1] for row in rows_of(found)] == [tuple(y[i : i + 7]) for i in range(3)]


def test_names_and_their_order(panel_of: Any) -> None:
    features = {"y": FeatureWindow(2), "x": FeatureWindow(2, sampling_rate=3, delay=2)}
    params = WindowParams(2, features, gap=1, calendar=("hour",), future=("z",), static={"area": "numeric"})
    panel = panel_of({"a": [1.0] * 12}, params, x=[2.0] * 12, z=[3.0] * 12, area=[4.0] * 12)
    assert lag_table(panel, params, rolling=(3, 2)).columns == [
        "unique_id", "ds", "y_lag3", "y_lag2", "x_lag7", "x_lag4", "y_mean3", "y_mean2", "x_mean3", "x_mean2",
        "z_lag1", "z_step1", "z_step2", "hour_sin", "hour_cos", "area", "y_step1", "y_step2",
    ]  # fmt: skip


def loop(panel: Panel, params: WindowParams, rolling: Sequence[int]) -> tuple[dict[str, list[Any]], list[bool]]:
    """Every cell of the lag table by a loop over the rows of each series, and which rows lie wholly within it."""
    found: dict[str, list[Any]] = {}
    whole = []

    def put(name: str, value: Any) -> None:
        found.setdefault(name, []).append(None if value is None or value != value else value)

    for number, (begin, end) in enumerate(pairwise(panel.offsets.tolist())):
        for row in range(begin, end + 1):

            def at(values: np.ndarray, place: int, begin: int = begin, end: int = end) -> float | None:
                return float(values[place]) if begin <= place < end else None

            time = datetime.fromtimestamp(panel.times[begin] / 1e6, UTC) + timedelta(hours=row - begin)
            put("unique_id", panel.ids[number])
            put("ds", time)
            reach = 0
            for name, window in params.features.items():
                values, newest = panel.values[:, panel.column(name)], params.gap + 1 + window.delay
                for j in range(window.lookback):
                    k = newest + window.sampling_rate * j
                    put(f"{name}_lag{k}", at(values, row - k))
                    reach = max(reach, k)
                for w in rolling:
                    part = [at(values, row - newest - i) for i in range(w)]
                    put(f"{name}_mean{w}", None if None in part else np.mean(part))
                    reach = max(reach, newest + w - 1)
            for name in params.future:
                values = panel.values[:, panel.column(f"{name} (ahead)")]
                for k in range(1, params.gap + 1):
                    put(f"{name}_lag{k}", at(values, row - k))
                for h in range(1, params.horizon + 1):
                    put(f"{name}_step{h}", at(values, row + h - 1))
            if params.calendar:
                put("hour_sin", np.sin(2 * np.pi * time.hour / 24))
                put("hour_cos", np.cos(2 * np.pi * time.hour / 24))
            for place, name in enumerate(n for n in params.static):
                value = panel.static[number, place]
                if name == "kind":
                    put(name, [None, *panel.categories["kind"]][int(value)])
                elif name != "unique_id":
                    put(name, float(value))
            for h in range(1, params.horizon + 1):
                put(f"y_step{h}", at(panel.target, row + h - 1))
            whole.append(row - reach >= begin and row + params.horizon <= end)
    return found, whole


def assert_holds(table: pl.DataFrame, expected: dict[str, list[Any]], rows: list[bool]) -> None:
    assert set(table.columns) == set(expected)
    for name, values in expected.items():
        wanted = [value for value, kept in zip(values, rows, strict=True) if kept]
        if "_mean" in name or name.startswith("hour_"):
            assert [v is None for v in table[name]] == [v is None for v in wanted], name
            assert table[name].drop_nulls().to_list() == pytest.approx([v for v in wanted if v is not None], rel=1e-6, abs=1e-6)
        else:
            assert table[name].to_list() == wanted, name


number = st.one_of(st.none(), st.integers(-50, 50).map(float))
window = st.builds(FeatureWindow, st.integers(1, 4), st.integers(1, 3), st.integers(0, 2))


@st.composite
def cases(draw: Any) -> tuple[dict[str, list[float | None]], dict[str, Any], WindowParams]:
    """Ragged series, their other columns, windows of all kinds."""
    sizes = draw(st.lists(st.integers(1, 15), min_size=1, max_size=4))
    series = {f"s{i}": draw(st.lists(number, min_size=n, max_size=n)) for i, n in enumerate(sizes)}
    of_row = st.lists(number, min_size=sum(sizes), max_size=sum(sizes))
    areas = draw(st.lists(number, min_size=len(sizes), max_size=len(sizes)))
    kinds = draw(st.lists(st.sampled_from(["b", "a", None]), min_size=len(sizes), max_size=len(sizes)))
    columns = {
        "x": draw(of_row),
        "z": draw(of_row),
        "area": [area for n, area in zip(sizes, areas, strict=True) for _ in range(n)],
        "kind": pl.Series([kind for n, kind in zip(sizes, kinds, strict=True) for _ in range(n)], dtype=pl.String),
    }
    static: dict[str, Any] = {"kind": "categorical", "unique_id": "categorical", "area": "numeric"}
    params = WindowParams(
        draw(st.integers(1, 3)),
        {"y": draw(window), "x": draw(window)},
        draw(st.integers(0, 2)),
        calendar=draw(st.sampled_from([(), ("hour",)])),
        future=draw(st.sampled_from([(), ("z",), ("x", "z")])),
        static=draw(st.sampled_from([{}, static])),
    )
    return series, columns, params


@pytest.mark.slow
@settings(max_examples=80)
@given(
    case=cases(), fill=st.integers(0, 2), rolling=st.lists(st.integers(1, 6), max_size=2, unique=True), part=st.integers(1, 9)
)
def test_every_cell_equals_a_loop_over_rows_in_memory_and_in_a_file(
    panel_of: Any, tmp_path_factory: Any, case: Any, fill: int, rolling: list[int], part: int
) -> None:
    series, columns, params = case
    panel = panel_of(series, params, fill, **columns)
    expected, whole = loop(panel, params, rolling)
    out = tmp_path_factory.mktemp("file") / "lags.parquet"
    for edges, rows in (("keep", [True] * len(whole)), ("drop", whole)):
        found = lag_table(panel, params, edges, rolling)
        assert_holds(found, expected, rows)
        assert write_lag_table(panel, params, out, edges, rolling, part) == found.shape
        assert pl.read_parquet(out).equals(found)
        assert pl.read_parquet_schema(out) == found.schema


@settings(max_examples=100)
@given(case=cases(), fill=st.integers(0, 2))
def test_the_lag_table_equals_the_gathered_windows(panel_of: Any, case: Any, fill: int) -> None:
    series, columns, params = case
    panel = panel_of(series, params, fill, **columns)
    found = lag_table(panel, params, "drop")
    reach, ahead = params.reach, params.ahead
    origins = np.concatenate([np.arange(a + reach, b - ahead) for a, b in pairwise(panel.offsets)]).astype(np.int64)
    observed = origin_rows(panel, params, None, "", 1)  # without the windows that have no target at all
    kept = ~found.select(pl.all_horizontal(pl.col("^y_step.*$").is_null())).to_series().to_numpy()
    assert origins[kept].tolist() == observed.tolist()
    assert found.height == len(origins) == sum(max(0, len(values) - reach - ahead) for values in series.values())
    if len(origins):
        (past, known, static, *_), y = Windows(panel, params, origins).batch(torch.arange(len(origins)))
        pieces = [past[:, params.lookback - w.lookback :, c] for c, w in enumerate(params.features.values())]
        pieces += [known[:, :, params.known.index(f"{name} (ahead)")] for name in params.future]
        pieces += [known[:, params.gap, [params.known.index(name) for name in params.waves]], y]
        numbers = found.drop("unique_id", "ds", "kind", "area", strict=False).fill_null(float("nan")).to_numpy()
        np.testing.assert_array_equal(numbers, torch.cat(pieces, 1).double().numpy())
        np.testing.assert_array_equal(found["ds"].to_physical().to_numpy(), panel.times[origins + params.gap + 1])
        if params.static:
            places = found["kind"].map_elements(["", *panel.categories["kind"]].index, pl.Int64, skip_nulls=True).fill_null(0)
            np.testing.assert_array_equal(places.to_numpy(), static[:, 0].numpy())
            np.testing.assert_array_equal(found["area"].to_numpy(), static[:, 2].numpy())


def test_a_table_of_many_blocks_equals_whole_columns_shifted(panel_of: Any) -> None:
    """Series that begin and end at, before and behind the border of a block, and parts cut anywhere."""
    sizes = [BLOCK - 1, 1, BLOCK, 2, 2 * BLOCK + 5, 40]
    rng = np.random.default_rng(0)
    series = {f"s{i}": rng.normal(size=n).astype(np.float32).tolist() for i, n in enumerate(sizes)}
    params = WindowParams(3, {"y": FeatureWindow(3, 5)}, gap=2)
    panel = panel_of(series, params)
    found = lag_table(panel, params, rolling=(30,))
    assert found.height == sum(sizes) + len(sizes)
    y = pl.concat([pl.Series([*values, None], dtype=pl.Float32) for values in series.values()])
    rows = found.select("unique_id", y=y)
    shifts = {"y_lag13": 13, "y_lag8": 8, "y_lag3": 3, "y_step1": 0, "y_step2": -1, "y_step3": -2}
    wanted = rows.select(pl.col("y").shift(k).over("unique_id").alias(name) for name, k in shifts.items())
    assert found.select(*shifts).equals(wanted)
    mean = rows.select(pl.col("y").cast(pl.Float64).rolling_mean(30).shift(3).over("unique_id"))["y"]
    np.testing.assert_allclose(found["y_mean30"].fill_null(9).to_numpy(), mean.fill_null(9).to_numpy(), atol=1e-6)
    for start, stop in ((0, 1), (BLOCK - 1, BLOCK + 2), (BLOCK + 3, 3 * BLOCK), (found.height - 3, found.height)):
        assert table_part(panel, params, "keep", (30,), start, stop).equals(found.slice(start, stop - start))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 24, 168])
def test_a_mean_is_of_its_own_values_alone(size: int) -> None:
    values = np.random.default_rng(0).normal(size=400).astype(np.float32)
    values[100], values[300] = 1e30, np.nan
    found = window_means(values, size)
    for i, mean in enumerate(found):
        part = values[i : i + size].astype(np.float64)
        assert mean == pytest.approx(part.mean(), rel=1e-6, nan_ok=True)
        assert window_means(values[i : i + size], size)[0] == mean or np.isnan(mean)


def test_the_row_past_the_end_of_monthly_and_integer_steps(tmp_path: Path) -> None:
    params = WindowParams(1, {"y": FeatureWindow(1)})
    months = pl.LazyFrame({"unique_id": ["a"] * 2, "ds": [datetime(2020, 1, 30), datetime(2020, 2, 29)], "y": [1.0, 2.0]})
    months = months.with_columns(pl.col("ds").dt.replace_time_zone("UTC"))
    found = lag_table(Panel.open(write_panel(months, params, Frequency("1mo"), 0, tmp_path)), params)
    assert [(ds.month, ds.day) for ds in found["ds"]] == [(1, 30), (2, 29), (3, 30)]
    steps = pl.LazyFrame({"unique_id": ["a", "a", "b"], "ds": [3, 5, 9], "y": [1.0, 2.0, 3.0]})
    found = lag_table(Panel.open(write_panel(steps, params, Frequency(2), 0, tmp_path)), params)
    assert found.rows() == [("a", 3, None, 1), ("a", 5, 1, 2), ("a", 7, 2, None), ("b", 9, None, 3), ("b", 11, 3, None)]


def test_the_head_shows_values_as_they_were_given_and_not_as_32_bits_hold_them(table: Table) -> None:
    shown = head_text(table({"a": [39.92, 0.00012, 30.02, None]}, WindowParams(1, {"y": FeatureWindow(1)})))
    for text in ("39.92 ", "0.00012 ", "30.02 ", "null"):
        assert text in shown
    assert "39.9199" not in shown and "30.0200" not in shown


@pytest.mark.parametrize("edges", ["keep", "drop"])
def test_the_head_is_the_first_rows_of_each_series(panel_of: Any, edges: Any) -> None:
    params = WindowParams(2, {"y": FeatureWindow(2, 3)}, gap=1)
    panel = panel_of({"a": list(map(float, range(20))), "b": [1.0], "c": [2.0] * 12}, params)
    whole = lag_table(panel, params, edges, (7,))
    found = lag_head(panel, params, edges, (7,), rows=4, series=3)
    assert found.equals(whole.group_by("unique_id", maintain_order=True).head(4))
    assert lag_head(panel, params, edges, (7,), rows=4).equals(whole.filter(pl.col("unique_id") == "a").head(4))
    assert first_whole_row(params, (7,)) == 8


def test_a_feature_may_be_called_target(table: Table) -> None:
    params = WindowParams(1, {"y": FeatureWindow(2), "target": FeatureWindow(1)})
    found = table({"a": [1.0, 2.0, 3.0]}, params, "drop", target=[7.0, 8.0, 9.0])
    assert found.columns[2:] == ["y_lag2", "y_lag1", "target_lag1", "y_step1"]
    assert rows_of(found) == [(1, 2, 8, 3)]


def test_a_static_covariate_with_the_name_of_a_lag_is_refused(panel_of: Any) -> None:
    params = WindowParams(1, {"y": FeatureWindow(2)}, static={"y_lag1": "numeric"})
    panel = panel_of({"a": COURSE}, params, y_lag1=[1.0] * 5)
    with pytest.raises(UserError, match="y_lag1"):
        lag_table(panel, params)
