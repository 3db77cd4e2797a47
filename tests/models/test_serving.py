"""Serving against the panel and its windows; cutoffs worked out by hand; bad input; damaged bundles."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch

from models import serving
from models.data.panel import Panel
from models.data.window import FeatureWindow, WindowParams
from models.data.windows import Windows
from tasks.grid.frequency import Frequency
from tasks.lags.panel import write_panel

PARAMS = WindowParams(
    2,
    {"y": FeatureWindow(5), "x": FeatureWindow(2, 2, 1), "z": FeatureWindow(3, 1, 1)},
    gap=1,
    calendar=("hour", "weekday", "monthday", "yearday", "month"),
)
PLAIN = WindowParams(2, {"y": FeatureWindow(3)})


class Seen:
    """A graph that forecasts the last y and its successor, and keeps what it was called with."""

    def __init__(self, horizon: int = 2) -> None:
        self.horizon = horizon
        self.past: list[np.ndarray] = []
        self.ahead: list[np.ndarray] = []
        self.static: list[np.ndarray] = []
        self.series: list[int] = []

    def __call__(self, past: torch.Tensor, ahead: torch.Tensor, static: torch.Tensor, series: torch.Tensor) -> torch.Tensor:
        self.past.append(past.numpy())
        self.ahead.append(ahead.numpy())
        self.static.append(static.numpy())
        self.series += series.tolist()
        return past[:, -1:, :1] + torch.arange(self.horizon).reshape(1, -1, 1)


def make_model(
    params: WindowParams, span: str | int, ids: tuple[str, ...] = ("a", "b"), fill: int = 2, categories: Any = None
) -> serving.Model:
    """A model whose graph shows its input."""
    facts = {
        "windows": params.to_dict(),
        "channels": [{"name": name, **vars(window)} for name, window in params.channels.items()],
        "ids": ids,
        "frequency": span,
        "forward_fill": fill,
        "half_widths": [0.5, None],
        "categories": categories or {},
    }
    return serving.Model(json.loads(json.dumps(facts)), Seen(params.horizon))


def seen(model: serving.Model) -> Seen:
    assert isinstance(model.graph, Seen)
    return model.graph


def hourly(rows: int = 6, **columns: Any) -> pd.DataFrame:
    """One series `a`, y = 0, 1, 2 ..., from 2024-01-01."""
    ds = pd.date_range("2024-01-01", periods=rows, freq="h")
    return pd.DataFrame({"unique_id": "a", "ds": ds, "y": np.arange(rows, dtype=float)} | columns)


def ragged(span: str | int, rows: int, seed: int) -> pl.DataFrame:
    """Two shuffled series of different length and start, with missing steps and values."""
    rng, frequency, parts = np.random.default_rng(seed), Frequency(span), []
    for name, count, first in (("a", rows, "2023-12-31 21:00"), ("b", rows - 7, "2024-02-29 02:30")):
        start = pl.Series([int(seed + count)]) if isinstance(span, int) else pl.Series([first]).str.to_datetime(time_zone="UTC")
        kept = np.sort(np.append(rng.choice(np.arange(1, count - 1), count - 8, replace=False), [0, count - 1]))
        grid = pl.DataFrame({"first": pl.repeat(start[0], len(kept), eager=True), "at": kept.astype(np.int64)})
        numbers = {c: np.where(rng.random(len(kept)) < 0.3, np.nan, rng.normal(size=len(kept))) for c in ("y", "x", "z")}
        numbers["y"][-1] = 0.5  # the last cutoff is the last row
        times = grid.select(
            pl.lit(name).alias("unique_id"), frequency.at(pl.col("first").cast(frequency.dtype), pl.col("at")).alias("ds")
        )
        parts.append(times.with_columns(pl.Series(c, v).fill_nan(None) for c, v in numbers.items()))
    return pl.concat(parts).sample(fraction=1.0, shuffle=True, seed=seed)


@pytest.mark.parametrize("span", ["1h", "15m", "30s", "1d", "2w", "1mo", "1q", "1y", 3])
@pytest.mark.parametrize("seed", [0, 1])
def test_windows_equal_those_of_the_panel(span: str | int, seed: int, tmp_path: Path) -> None:
    params = PARAMS if isinstance(span, str) else WindowParams(PARAMS.horizon, PARAMS.features, PARAMS.gap)
    frame = ragged(span, 40, seed)
    panel = Panel.open(write_panel(frame.lazy(), params, Frequency(span), 2, tmp_path))
    model = make_model(params, span)
    start = int(panel.times[0]) if isinstance(span, int) else pd.Timestamp(int(panel.times[0]), unit="us", tz="UTC")
    found = model.forecast(frame, start=start, stride=1)
    origins = np.concatenate([np.arange(panel.offsets[s] + params.reach, panel.offsets[s + 1]) for s in (0, 1)])
    windows = Windows(panel, params, origins)
    np.testing.assert_array_equal(np.concatenate(seen(model).past), windows.past(torch.from_numpy(origins)).numpy())
    whole = np.concatenate([np.arange(panel.offsets[s] + params.reach, panel.offsets[s + 1] - params.ahead) for s in (0, 1)])
    ahead = np.concatenate(seen(model).ahead)[np.isin(origins, whole)]
    np.testing.assert_array_equal(ahead, windows.inputs(torch.from_numpy(whole)).ahead_BAK.numpy())
    cutoffs = found["cutoff"] if isinstance(span, int) else found["cutoff"].dt.tz_localize(None)
    assert cutoffs.astype("int64").tolist()[:: params.horizon] == panel.times[origins].tolist()


def test_the_last_cutoff_gives_the_same_window_as_the_last_of_many() -> None:
    frame = ragged("1h", 60, 3)
    one, many = make_model(PARAMS, "1h"), make_model(PARAMS, "1h")
    last, every = one.forecast(frame), many.forecast(frame, start="2023-01-01")
    newest = every[every["cutoff"] == every.groupby("unique_id")["cutoff"].transform("max")]
    pd.testing.assert_frame_equal(last, newest.reset_index(drop=True))


def test_steps_are_stamped_after_the_gap_and_intervals_are_put_around_them() -> None:
    model = make_model(WindowParams(2, {"y": FeatureWindow(3)}, gap=1), "1h")
    found = model.forecast(hourly())
    assert list(found.columns) == ["unique_id", "cutoff", "ds", "yhat", "yhat-lo-90", "yhat-hi-90", "model"]
    assert found["cutoff"].tolist() == [pd.Timestamp("2024-01-01 05:00", tz="UTC")] * 2
    assert found["ds"].tolist() == [pd.Timestamp("2024-01-01 07:00", tz="UTC"), pd.Timestamp("2024-01-01 08:00", tz="UTC")]
    assert found["yhat"].tolist() == [5.0, 6.0]
    assert (found["yhat-lo-90"][0], found["yhat-hi-90"][0]) == (4.5, 5.5)
    assert found[["yhat-lo-90", "yhat-hi-90"]].iloc[1].isna().all()  # too few residuals for that step


@pytest.mark.parametrize("ends", [["2024-01-31", "2024-02-29", "2024-03-31"], ["2024-02-29", "2024-03-31", "2024-04-30"]])
def test_month_ends_stay_month_ends(ends: list[str]) -> None:
    frame = pd.DataFrame({"unique_id": "a", "ds": pd.to_datetime(ends), "y": [1.0, 2.0, 3.0]})
    found = make_model(PLAIN, "1mo").forecast(frame)
    after = pd.date_range(ends[-1], periods=3, freq="ME", tz="UTC")[1:]
    assert found["ds"].tolist() == list(after)


def test_cutoffs_begin_at_the_first_row_from_start_and_follow_the_stride() -> None:
    found = make_model(PLAIN, "1h").forecast(hourly(12), start="2024-01-01T04:30:00Z", stride=3)
    assert found["cutoff"].dt.hour.tolist() == [5, 5, 8, 8, 11, 11]
    early = make_model(PLAIN, "1h").forecast(hourly(6), start="2023-12-31", stride=2)
    assert early["cutoff"].dt.hour.tolist() == [2, 2, 4, 4]  # rows 0 and 1 have no whole history behind them


def test_a_series_that_ended_before_start_is_left_out() -> None:
    frame = pd.concat([hourly(6), hourly(12).assign(unique_id="b")])
    assert make_model(PLAIN, "1h").forecast(frame, start="2024-01-01 08:00")["unique_id"].unique().tolist() == ["b"]
    with pytest.raises(ValueError, match="no series has a row at or after 2025"):
        make_model(PLAIN, "1h").forecast(frame, start="2025-01-01")


def test_features_are_carried_forward_over_the_limit_and_no_further() -> None:
    model = make_model(WindowParams(1, {"y": FeatureWindow(6)}), "1h", fill=2)
    frame = hourly(6, y=[7.0, np.nan, np.nan, np.nan, 8.0, 9.0]).drop(index=2)  # a missing row counts as a missing value
    model.graph = Seen(1)
    model.facts["half_widths"] = [1.0]
    model.forecast(frame)
    np.testing.assert_array_equal(seen(model).past[0][0, :, 0], [7, 7, 7, np.nan, 8, 9])


def test_a_series_gets_its_number_of_training_and_a_new_one_the_number_after_the_last() -> None:
    model = make_model(PLAIN, "1h", ids=("b", "a", "c"))
    model.forecast(pd.concat([hourly().assign(unique_id=name) for name in ("new", "a", "b")]))
    assert seen(model).series == [1, 0, 3]


def test_a_series_and_a_category_of_training_are_known_whatever_their_types_are() -> None:
    params = WindowParams(2, {"y": FeatureWindow(3)}, static={"kind": "categorical", "unique_id": "categorical"})
    given = {"1": (1, 1.0, np.float32(1), "1.0", " 1 "), "True": (True, "TRUE", "true"), "001": ("001",), "1.0": (1, "1")}
    for name, cells in given.items():  # `True` and `1.0`: names that an older lagline gave
        for cell in cells:
            model = make_model(params, "1h", ids=("0", name), categories={"kind": ["a", name], "unique_id": ["0", name]})
            model.forecast(hourly(kind=cell).assign(unique_id=cell))
            assert (seen(model).series, seen(model).static[0].tolist()) == ([1], [[2, 2]])
    model = make_model(params, "1h", ids=("0", "1"), categories={"kind": ["0.0", "1.0"], "unique_id": ["0", "1"]})
    model.forecast(hourly(kind=True))  # a column of true and false was once read as numbers
    assert (seen(model).series, seen(model).static[0].tolist()) == ([2], [[2, 0]])


def test_times_in_any_dress_give_the_same_forecast_and_the_input_stays_as_it_was() -> None:
    frame = hourly()
    expected = make_model(PLAIN, "1h").forecast(frame)
    zone = frame["ds"].dt.tz_localize("UTC")
    dresses = {
        "utc": zone,
        "new york": zone.dt.tz_convert("America/New_York"),
        "texts": frame["ds"].astype(str),
        "texts with zone": zone.dt.tz_convert("Europe/Paris").map(lambda t: t.isoformat()),
        "objects": frame["ds"].astype(object),
        "seconds": frame["ds"].astype("datetime64[s]"),
        "nanoseconds": frame["ds"].astype("datetime64[ns]"),
    }
    for name, ds in dresses.items():
        given = frame.assign(ds=ds, y=frame["y"].astype("int64")).sample(frac=1.0, random_state=1)
        before = given.copy(deep=True)
        pd.testing.assert_frame_equal(make_model(PLAIN, "1h").forecast(given), expected, obj=name)
        pd.testing.assert_frame_equal(given, before, obj=name)
    pd.testing.assert_frame_equal(make_model(PLAIN, "1h").forecast(pl.from_pandas(frame)), expected)


@pytest.mark.parametrize("values", [[1, None, 2], pd.array([1, None, 2], "Int64"), pd.array([1.0, None, 2.0], "Float32")])
def test_missing_values_of_any_kind_are_missing(values: Any) -> None:
    model = make_model(PLAIN, "1h", fill=0)
    model.forecast(hourly(3, y=pd.Series(values, dtype=getattr(values, "dtype", object))))
    np.testing.assert_array_equal(seen(model).past[0][0, :, 0], [1, np.nan, 2])


BAD: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], str]] = {
    "no column y": (lambda f: f.drop(columns="y"), "column 'y' is missing; needed are unique_id, ds, y"),
    "no column ds": (lambda f: f.drop(columns="ds"), "column 'ds' is missing"),
    "no rows": (lambda f: f.iloc[:0], "no rows"),
    "no name": (lambda f: f.assign(unique_id=["a", None, *"aaaa"]), "column 'unique_id' has an empty value"),
    "text": (lambda f: f.assign(y=[1, 2, "n/a", 4, 5, 6]), "series 'a', column 'y': 'n/a' is not a number"),
    "text that looks like a number": (
        lambda f: f.assign(y=f["y"].astype(str)),
        "series 'a', column 'y': '0.0' is not a number",
    ),
    "times as values": (lambda f: f.assign(y=f["ds"]), "column 'y': .* is not a number"),
    "infinite": (lambda f: f.assign(y=[1, np.inf, 3, 4, 5, 6]), "series 'a', column 'y': .*inf.* is infinite"),
    "too large": (lambda f: f.assign(y=1e300), "column 'y': .*1e\\+300 is too large; .*beyond 1e30"),
    "no time": (
        lambda f: f.assign(ds=["2024-01-01", "soon", *["2024-01-03"] * 4]),
        "series 'a', column 'ds': 'soon' is not a time",
    ),
    "empty time": (lambda f: f.assign(ds=[pd.NaT, *f["ds"][1:]]), "series 'a', column 'ds': NaT is not a time"),
    "numbers as times": (lambda f: f.assign(ds=range(6)), "column 'ds': .*0.* is not a time \\(one row is 1h\\)"),
    "off the grid": (
        lambda f: f.assign(ds=[*f["ds"][:5], pd.Timestamp("2024-01-01 05:20")]),
        "series 'a', column 'ds': 2024-01-01 05:20:00\\+00:00 is not a whole number of steps of 1h",
    ),
    "twice": (lambda f: pd.concat([f, f.iloc[[3]]]), "series 'a', column 'ds': 2024-01-01 03:00:00\\+00:00 stands twice"),
    "too short": (
        lambda f: f.iloc[:2],
        "series 'a': too short a history, 3 rows at 1h are needed up to the cutoff and 2 are given",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_by_series_and_column(case: str) -> None:
    change, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        make_model(PLAIN, "1h").forecast(change(hourly()))


def test_integer_steps_take_whole_numbers_alone() -> None:
    frame = pd.DataFrame({"unique_id": "a", "ds": [10, 15, 20], "y": [1.0, 2.0, 3.0]})
    found = make_model(PLAIN, 5).forecast(frame)
    assert (found["cutoff"].tolist(), found["ds"].tolist()) == ([20, 20], [25, 30])
    for ds, message in (
        ([10, 15, 20.5], "20.5.* is not a whole number"),
        (["a", "b", "c"], "not a whole"),
        ([10, 15, 22], "steps of 5"),
    ):
        with pytest.raises(ValueError, match=message):
            make_model(PLAIN, 5).forecast(frame.assign(ds=ds))


@pytest.mark.parametrize(
    ("span", "every", "apart"),
    [("1h", 2, "2h"), ("1h", 24, "24h"), ("15m", 4, "60m"), ("2w", 3, "6w"), ("1mo", 3, "3mo"), (5, 2, "10")],
)
def test_rows_further_apart_than_the_frequency_are_refused_by_series(span: str | int, every: int, apart: str) -> None:
    frequency, rows = Frequency(span), 8 * every
    first = pl.Series([7]) if isinstance(span, int) else pl.Series(["2024-01-31"]).str.to_datetime(time_zone="UTC")
    grid = pl.DataFrame({"unique_id": "a", "first": pl.repeat(first[0], rows, eager=True), "y": np.arange(float(rows))})
    fine = grid.select("unique_id", "y", ds=frequency.at(pl.col("first").cast(frequency.dtype), pl.int_range(rows)))
    coarse = fine.gather_every(every)
    message = f"series 'b': its rows are {apart} apart, the model's frequency is {span}"
    with pytest.raises(ValueError, match=message):
        make_model(PLAIN, span).forecast(pl.concat([fine, coarse.with_columns(unique_id=pl.lit("b"))]))
    holes = coarse[[0, 1, 3]].with_columns(unique_id=pl.lit("b"))  # the gaps differ, and are all multiples
    with pytest.raises(ValueError, match=message):
        make_model(PLAIN, span).predict(pl.concat([fine, holes]))
    make_model(PLAIN, span).forecast(pl.concat([coarse, fine[1:2]]))  # one row between: gaps, and no other frequency
    make_model(PLAIN, span).forecast(coarse[:2])  # two rows tell nothing
    make_model(WindowParams(2, {"y": FeatureWindow(1)}), span).forecast(coarse[:1])
    taken_for_data = {"trained_on": {"run": {"validation": {"max_gap_share": 1 - 1 / every}}}}
    serving.Model(make_model(PLAIN, span).facts | taken_for_data, Seen(2)).forecast(coarse)


def test_a_stride_longer_than_the_data_gives_the_first_cutoff() -> None:
    found = make_model(PLAIN, "1h").forecast(hourly(12), start="2024-01-01 04:00", stride=10**20)
    assert found["cutoff"].dt.hour.tolist() == [4, 4]
    with pytest.raises(ValueError, match=f"no cutoff from 2024 with a stride of {10**20} has 3 rows behind it"):
        make_model(PLAIN, "1h").forecast(hourly(12), start="2024", stride=10**20)


@pytest.mark.parametrize("start", ["", "NaT", "now", "today", "10:00", "soon", pd.NaT])
def test_a_start_that_is_no_time_is_refused(start: Any) -> None:
    with pytest.raises(ValueError, match="is not a time; write a time such as 2012-03-28"):
        make_model(PLAIN, "1h").forecast(hourly(12), start=start)
    with pytest.raises(ValueError, match="is not a whole number"):
        make_model(PLAIN, 1).forecast(hourly(12).assign(ds=range(12)), start=10**20)


def test_many_windows_go_through_the_graph_in_batches() -> None:
    model = make_model(PLAIN, "1h")
    found = model.forecast(hourly(600), start="2024-01-01")
    assert [len(past) for past in seen(model).past] == [256, 256, 86]
    assert found["yhat"].to_numpy()[::2].tolist() == list(range(2, 600))


# --- a folder and its manifest ----------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of three files with its manifest."""
    files = {"model.json": b'{"a": 1}', "graph.pt2": bytes(range(200)), "code/serving.py": b"pass\n"}
    (tmp_path / "code").mkdir()
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    listed = {name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)} for name, content in files.items()}
    (tmp_path / "manifest.json").write_text(json.dumps({"files": listed}))
    assert serving.check(tmp_path) == files
    return tmp_path


def test_a_flipped_bit_in_any_file_is_refused_by_name(folder: Path) -> None:
    for name in ("model.json", "graph.pt2", "code/serving.py"):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(bytes([content[0] ^ 1]) + content[1:])
        with pytest.raises(ValueError, match=f"{name} has changed"):
            serving.load(folder)
        (folder / name).write_bytes(content)
    manifest = (folder / "manifest.json").read_bytes()
    digest = hashlib.sha256(manifest).hexdigest()
    serving.check(folder, digest)
    for at in range(len(manifest)):
        (folder / "manifest.json").write_bytes(manifest[:at] + bytes([manifest[at] ^ 1]) + manifest[at + 1 :])
        with pytest.raises(ValueError, match=r"manifest\.json is not the one that was registered"):
            serving.check(folder, digest)


def test_a_missing_an_extra_and_a_linked_file_are_refused_by_name(folder: Path) -> None:
    (folder / "code/more.py").write_bytes(b"pass\n")
    with pytest.raises(ValueError, match=r"code/more.py is extra"):
        serving.load(folder)
    (folder / "code/more.py").unlink()
    (folder / "graph.pt2").rename(folder.parent / "graph.pt2")
    with pytest.raises(ValueError, match=r"graph.pt2 is missing"):
        serving.load(folder)
    (folder / "graph.pt2").symlink_to(folder.parent / "graph.pt2")
    with pytest.raises(ValueError, match=r"graph.pt2 is not a plain file"):
        serving.load(folder)
    (folder / "manifest.json").unlink()
    with pytest.raises(ValueError, match=r"manifest.json is missing"):
        serving.load(folder)


def test_known_ahead_and_static_covariates_reach_the_graph_as_they_do_in_training(tmp_path: Path) -> None:
    params = WindowParams(
        2, {"y": FeatureWindow(3)}, 1, calendar=("hour",), future=("z",), static={"kind": "categorical", "area": "numeric"}
    )
    times = pl.datetime_range(pl.datetime(2024, 1, 1), pl.datetime(2024, 1, 1, 19), "1h", time_zone="UTC", eager=True)
    parts = [
        pl.DataFrame(
            {"unique_id": [name] * 20, "ds": times.cast(pl.Datetime("us", "UTC")), "y": np.arange(20.0) + i * 100}
        ).with_columns(z=pl.col("y") * 2, kind=pl.lit(kind), area=pl.lit(area))
        for i, (name, kind, area) in enumerate((("a", "shop", 3.5), ("b", "mall", None), ("c", "shop", 1.0)))
    ]
    frame = pl.concat(parts, how="vertical_relaxed").with_columns(pl.col("area").cast(pl.Float64))
    panel = Panel.open(write_panel(frame.lazy(), params, Frequency("1h"), 0, tmp_path))
    model = make_model(params, "1h", panel.ids, 0, panel.categories)
    hidden = frame.with_columns(y=pl.when(pl.col("ds") < pl.datetime(2024, 1, 1, 17, time_zone="UTC")).then(pl.col("y")))
    new = hidden.filter(unique_id="a").with_columns(unique_id=pl.lit("new"), kind=pl.lit("kiosk"), area=pl.lit(9.0))
    found = model.forecast(pl.concat([hidden, new]))
    assert [str(cutoff) for cutoff in found["cutoff"].unique()] == ["2024-01-01 16:00:00+00:00"]  # the last row with a y
    origins = torch.tensor([16, 36, 56])
    expected = Windows(panel, params, origins.numpy()).inputs(origins)
    for parts_of, wanted in zip((seen(model).past, seen(model).ahead, seen(model).static), expected[:3], strict=True):
        np.testing.assert_array_equal(np.concatenate(parts_of)[:3], wanted.numpy())
    assert seen(model).series == [0, 1, 2, 3]
    assert seen(model).static[0].tolist()[3] == [0.0, 9.0]  # a kind that training did not see
    short = hidden.filter(pl.col("ds") < pl.datetime(2024, 1, 1, 18, time_zone="UTC"))
    with pytest.raises(ValueError, match="series 'a': z must be given for 3 rows after a cutoff, and the last 2 are missing"):
        model.forecast(short)


def test_a_padded_series_is_served_as_its_panel_has_it(tmp_path: Path) -> None:
    params = WindowParams(2, {"y": FeatureWindow(5)}, start_padding=3)
    frame = pl.DataFrame(
        {"unique_id": ["a"] * 2 + ["b"] * 9, "ds": [*range(2), *range(9)], "y": [7.0, 8.0, *map(float, range(9))]}
    )
    model = make_model(params, 1)
    found = model.forecast(frame)
    assert found["cutoff"].tolist() == [1, 1, 8, 8] and found["yhat"].tolist() == [8.0, 9.0, 8.0, 9.0]
    (past,) = model.graph.past  # type: ignore[attr-defined]
    np.testing.assert_array_equal(past[..., 0], np.float32([[np.nan] * 3 + [7, 8], [4, 5, 6, 7, 8]]))
    many = model.forecast(frame.filter(pl.col("unique_id") == "b"), start=0)
    assert many["cutoff"].unique().tolist() == list(range(1, 9))
    panel = Panel.open(write_panel(frame.lazy(), params, Frequency(1), 2, tmp_path))
    windows = Windows(panel, params, np.array([panel.offsets[1] - 1]))
    np.testing.assert_array_equal(windows.inputs(windows.origins).past_BLF[0, :, 0], past[0, :, 0])
    with pytest.raises(
        ValueError, match="series 'a': too short a history, 2 rows at 1 are needed up to the cutoff and 1 is given"
    ):
        model.forecast(frame.filter((pl.col("unique_id") == "a") & (pl.col("ds") == 0)))
