"""Baselines as models/serving.py forecasts them: alone, in an ensemble, and where a network cannot forecast a series."""

import json
from functools import cache
from math import nan
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models import serving
from models.baselines import BASELINES, arguments_of
from models.data.window import FeatureWindow, WindowParams
from params.load import load_run
from params.schema import RunParams
from tasks.evaluate.baselines import forecast_baselines
from tasks.grid.frequency import Frequency
from tasks.serve.realised import on_grid

SEASON, HORIZON = 4, 6
LAST = {"name": "last_value", "arguments": {"season": SEASON}, "half_widths": [1.0, None]}
THETA = {"name": "theta", "arguments": {"season": SEASON, "rows": 500}, "half_widths": [2.0, 3.0]}


def facts_of(params: WindowParams, span: str | int = "1h", **more: Any) -> dict[str, Any]:
    facts = {
        "variant": "gru",
        "family": "recurrent",
        "network": {},
        "windows": params.to_dict(),
        "channels": [{"name": name, **vars(window)} for name, window in params.channels.items()],
        "ids": ["a", "b"],
        "frequency": span,
        "forward_fill": 2,
        "half_widths": [0.5] * params.horizon,
        "categories": {},
    }
    return json.loads(json.dumps(facts | more))  # type: ignore[no-any-return]


def alone(name: str, span: str | int = "1h", gap: int = 0, **more: Any) -> serving.Model:
    """A version that is a baseline."""
    params = WindowParams(HORIZON, {"y": FeatureWindow(1)}, gap)
    named = {"variant": name, "family": name, "network": arguments_of(name, SEASON).to_dict()}
    return serving.Model(facts_of(params, span, **named | more))


def last_y(past: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
    """A network that forecasts the last y and its successor."""
    return past[:, -1:, :1] + torch.arange(2).reshape(1, -1, 1)


def network(lookback: int = 5, gap: int = 0, **more: Any) -> serving.Model:
    return serving.Model(facts_of(WindowParams(2, {"y": FeatureWindow(lookback)}, gap), **more), last_y)


def hourly(rows: int = 6, name: str = "a", **columns: Any) -> pd.DataFrame:
    ds = pd.date_range("2024-01-01", periods=rows, freq="h")
    return pd.DataFrame({"unique_id": name, "ds": ds, "y": np.arange(rows, dtype=float)} | columns)


def ragged(span: str | int, sizes: list[int], seed: int, holes: float = 0.2) -> pl.DataFrame:
    """Shuffled series of different length, with missing steps and values; the last row of each has a value."""
    rng, frequency, parts = np.random.default_rng(seed), Frequency(span), []
    for number, size in enumerate(sizes):
        start = (
            pl.Series([7 * number])
            if isinstance(span, int)
            else pl.Series(["2024-01-31 06:00"]).str.to_datetime(time_zone="UTC")
        )
        steps = np.flatnonzero((rng.random(size) >= holes) | np.isin(np.arange(size), (0, size - 1)))
        y = 50 + 10 * np.sin(steps * 2 * np.pi / SEASON) + rng.normal(0, 3, len(steps))
        y[(rng.random(len(steps)) < holes) & (steps < size - 1)] = nan
        grid = pl.DataFrame({"first": pl.repeat(start[0], len(steps), eager=True), "at": steps.astype(np.int64)})
        times = frequency.at(pl.col("first").cast(frequency.dtype), pl.col("at"))
        parts.append(grid.select(unique_id=pl.lit(f"s{number}"), ds=times, y=pl.Series(y).fill_nan(None)))
    return pl.concat(parts).sample(fraction=1.0, shuffle=True, seed=seed)


@cache
def run_of(span: str | int, gap: int, *changes: str) -> RunParams:
    sets = (f"data.frequency={span}", f"windows.horizon={HORIZON}", f"windows.gap={gap}", f"evaluation.season={SEASON}")
    return load_run("params/nyc_weather.yaml", (*sets, "windows.calendar=[]", "split.validation=9", "split.test=9", *changes))


def compared(frame: pl.DataFrame, name: str, span: str | int, gap: int, *changes: str) -> pl.DataFrame:
    """The forecasts that a comparison makes at every row of the grid: unique_id, cutoff, step, yhat."""
    run, every = run_of(span, gap, *changes), {"baselines": (name,), "baseline_origins": 10**6}
    run = run.model_copy(update={"evaluation": run.evaluation.model_copy(update=every)})
    history = on_grid(frame.sort("unique_id", "ds"), Frequency(span))
    origins = history.select("unique_id", cutoff="ds")
    made, _ = forecast_baselines(history, origins, run, None, Frequency(span))
    return made.rename({name: "yhat"}).drop("ds")


def as_rows(made: pd.DataFrame) -> dict[tuple[str, Any, int], float]:
    """Forecasts by series, cutoff and step."""
    steps = made.groupby(["unique_id", "cutoff"]).cumcount() + 1
    cutoffs = (
        made["cutoff"] if made["cutoff"].dtype.kind == "i" else made["cutoff"].astype("datetime64[us, UTC]").astype("int64")
    )
    return dict(zip(zip(made["unique_id"], cutoffs, steps, strict=True), made["yhat"], strict=True))


def whole_of(made: pl.DataFrame) -> dict[tuple[str, Any, int], float]:
    """The same of a comparison, those cutoffs that have every step."""
    whole = made.filter(pl.col("yhat").is_not_null().all().over("unique_id", "cutoff"))
    rows = whole.with_columns(pl.col("cutoff").to_physical()).select("unique_id", "cutoff", "step", "yhat").iter_rows()
    return {(name, cutoff, step): value for name, cutoff, step, value in rows}


@pytest.mark.parametrize("span", ["1h", "1d", "2w", "1mo", "1q", 5])
@pytest.mark.parametrize("name", BASELINES)
def test_a_served_baseline_forecasts_to_the_bit_what_the_comparison_did(name: str, span: str | int) -> None:
    gap = 2 if span in ("1h", 5) else 0
    frame = ragged(span, [29, 12, 3, 1], seed=len(name))
    found = alone(name, span, gap).forecast(frame, start=0 if isinstance(span, int) else "2020-01-01", stride=1)
    expected = whole_of(compared(frame, name, span, gap))
    assert as_rows(found) == expected and len(expected) > 20 * HORIZON
    assert (found["model"] == name).all()
    last = alone(name, span, gap).forecast(frame, left_out=[])  # the last cutoff of each
    assert as_rows(last).items() <= as_rows(found).items() and last.groupby("unique_id")["cutoff"].nunique().eq(1).all()


@settings(max_examples=60)
@given(
    name=st.sampled_from(["last_value", "drift", "seasonal_naive", "naive2"]),
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    holes=st.sampled_from([0.0, 0.3, 0.8]),
    gap=st.integers(0, 5),
    seed=st.integers(0, 99),
)
def test_the_same_of_tables_of_any_shape(name: str, sizes: list[int], holes: float, gap: int, seed: int) -> None:
    frame, any_gaps = ragged(3, sizes, seed, holes), {"trained_on": {"run": {"validation": {"max_gap_share": 1.0}}}}
    expected, model = whole_of(compared(frame, name, 3, gap)), alone(name, 3, gap, **any_gaps)
    if expected:
        assert as_rows(model.forecast(frame, start=0)) == expected
        return
    with pytest.raises(ValueError, match=f"no cutoff has enough history for {name} from 0 on"):
        model.forecast(frame, start=0)


def test_bounds_are_those_of_the_comparison_and_a_fit_reads_the_newest_rows_alone() -> None:
    frame = ragged("1h", [60], 3, 0.0)
    bounds = {"lowest": 45, "highest": 52, "integer": True}
    for name in ("theta", "drift", "seasonal_naive"):
        found = alone(name, trained_on={"run": {"data": bounds}}).forecast(frame, start="2024-02-01")
        expected = compared(frame, name, "1h", 0, "data.lowest=45", "data.highest=52", "data.integer=true")
        assert as_rows(found).items() <= whole_of(expected).items() and len(found) > 40 * HORIZON
        assert set(found["yhat"]) <= set(range(45, 53))
    few = {"network": {"season": SEASON, "rows": 30}}
    whole, part = (alone("theta", **few).forecast(rows)["yhat"] for rows in (frame, frame.sort("ds").tail(30)))
    assert whole.tolist() == part.tolist()
    assert whole.tolist() != alone("theta").forecast(frame)["yhat"].tolist()


def test_a_row_after_the_cutoff_changes_nothing() -> None:
    frame = hourly(40, y=np.sin(np.arange(40.0)) + 3)
    for name in BASELINES:
        later = frame.assign(y=frame["y"].where(frame.index <= 30, 1e6))
        one, other = (alone(name).forecast(rows, start="2024-01-02 06:00") for rows in (frame, later))  # row 30
        assert one["yhat"].head(HORIZON).tolist() == other["yhat"].head(HORIZON).tolist()
        assert one["cutoff"][0].hour == 6


def test_zones_and_dates_are_those_of_the_table() -> None:
    days = pd.date_range("2024-03-25", periods=9, freq="D")  # clocks go forward on the 31st
    model = alone(
        "last_value", "1d", columns={"unique_id": None, "ds": "day", "y": "sales"}, zone="Europe/Berlin", ids=["sales"]
    )
    for ds in (days, days.tz_localize("Europe/Berlin"), days.strftime("%Y-%m-%d")):
        found = model.predict(pd.DataFrame({"day": ds, "sales": np.arange(9.0)}))
        assert list(found.columns) == ["day", "cutoff", "yhat", "yhat-lo-90", "yhat-hi-90", "model"]
        assert [str(day)[:10] for day in found["day"].head(2)] == ["2024-04-03", "2024-04-04"]
        assert found["yhat"].tolist() == [8.0] * HORIZON and found["model"].tolist() == ["last_value"] * HORIZON


# --- in a network's place ---------------------------------------------------------------------------------------------


def test_a_series_that_is_too_short_is_forecast_by_the_first_baseline_that_its_history_allows(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Theta wants ten values and two seasons; one value is enough for the last."""
    model = network(lookback=12, fallbacks=[THETA, LAST])
    rows = [hourly(12), hourly(11, "b"), hourly(9, "c", y=np.arange(9.0) * 2), hourly(3, "d", y=[nan, 7, nan])]
    found = model.predict(pd.concat(rows))
    assert list(found.columns)[-1] == "model"
    assert found["model"].tolist() == ["gru"] * 2 + ["theta"] * 2 + ["last_value"] * 4
    assert found["yhat"][:2].tolist() == [11.0, 12.0] and found["yhat"][4:].tolist() == [16.0, 16.0, 7.0, 7.0]
    low = found["yhat"] - found["yhat-lo-90"]
    assert (
        low[:5].tolist() == pytest.approx([0.5, 0.5, 2.0, 3.0, 1.0]) and np.isnan(low[5]) and np.isnan(found["yhat-hi-90"][7])
    )
    assert found["cutoff"].dt.hour.tolist()[::2] == [11, 10, 8, 1] and found["ds"].dt.hour.tolist()[::2] == [12, 11, 9, 2]
    alone_b = alone("theta").forecast(hourly(11))["yhat"].tolist()[:2]
    assert found["yhat"][2:4].tolist() == alone_b
    assert caplog.messages == [
        "3 of 4 series have too little history for gru: forecast by theta ('b'), by last_value ('c', 'd')"
    ]  # c and d are none of training, which scales no baseline


@pytest.mark.parametrize("name", ["drift", "naive2", "theta", "auto_ets"])
@pytest.mark.parametrize(("season", "least"), [(1, 10), (5, 10), (6, 12)])
def test_what_takes_a_trend_or_a_season_from_the_values_needs_two_seasons_and_ten_of_them(
    name: str, season: int, least: int
) -> None:
    """A drift over two values of the shipped temperatures errs three times as much as the last of them."""
    one = {"name": name, "arguments": arguments_of(name, season).to_dict(), "half_widths": [1.0, 1.0]}
    model = network(30, fallbacks=[one, LAST], forward_fill=0)
    for values in (least - 1, least):
        rng, y = np.random.default_rng(1), np.full(20, nan)  # the others are missing
        y[rng.choice(20, values, replace=False)] = rng.normal(5, 1, values)
        assert set(model.forecast(hourly(20, y=y))["model"]) == {name if values >= least else "last_value"}


def test_strict_and_an_older_version_refuse_and_leave_out_as_before() -> None:
    rows = pd.concat([hourly(12), hourly(11, "b")])
    refused = "series 'b': too short a history, 12 rows at 1h are needed up to the cutoff and 11 are given"
    for model, strict in ((network(12, fallbacks=[LAST]), True), (network(12), False), (network(12, fallbacks=[]), False)):
        for left in (None, []):
            with pytest.raises(ValueError, match=refused):
                model.forecast(rows, left_out=left, strict=strict)
    blind: list[str] = []
    empty = pd.concat([hourly(12), hourly(12, "b", y=[1.0] * 2 + [nan] * 9 + [3.0]), hourly(12, "n", y=nan)])
    model = network(3, fallbacks=[LAST])
    late = serving.Model(facts_of(WindowParams(2, {"y": FeatureWindow(2, delay=2)}), fallbacks=[LAST]), last_y)
    assert set(late.forecast(empty, left_out=blind, strict=True)["unique_id"]) == {"a"} and blind == ["n", "b"]
    found = late.forecast(empty, left_out=(left := []))
    assert (
        left == ["n"] and found["model"].tolist() == ["gru"] * 2 + ["last_value"] * 2 and found["yhat"].tolist()[2:] == [3, 3]
    )
    with pytest.raises(ValueError, match="series 'n': no observed y in its window"):
        model.predict(empty)


def test_what_no_fallback_can_forecast_is_left_out_or_refused() -> None:
    model, rows = network(12, fallbacks=[THETA]), pd.concat([hourly(12), hourly(9, "b")])
    left: list[str] = []
    assert set(model.forecast(rows, left_out=left)["unique_id"]) == {"a"} and left == ["b"]
    with pytest.raises(
        ValueError, match="series 'b': too short a history, 12 rows at 1h are needed up to the cutoff and 9 are"
    ):
        model.predict(rows)
    with pytest.raises(ValueError, match="no cutoff has enough history for gru"):
        model.forecast(hourly(9), left_out=[])
    short = alone("seasonal_naive", fallbacks=[THETA | {"half_widths": [1.0] * HORIZON}])
    with pytest.raises(ValueError, match="series 'b': too short a history for seasonal_naive"):
        short.predict(pd.concat([hourly(9), hourly(3, "b")]))


def test_a_baseline_falls_back_on_another() -> None:
    """A season of four from three rows has a step that nothing says."""
    widths = {"half_widths": [1.0] * HORIZON}
    model = alone("seasonal_naive", fallbacks=[THETA | widths, LAST | widths])
    found = model.forecast(pd.concat([hourly(9), hourly(3, "b")]))
    assert found["model"].tolist() == ["seasonal_naive"] * HORIZON + ["last_value"] * HORIZON
    assert found["yhat"].tolist() == [5, 6, 7, 8, 5, 6] + [2.0] * HORIZON


def test_a_fallback_that_gives_some_steps_alone_is_passed_over() -> None:
    """A season of four from three values says the second step, not the first; from four it says both."""
    seasonal = {"name": "seasonal_naive", "arguments": {"season": SEASON}, "half_widths": [1.0, 1.0]}
    found = network(12, fallbacks=[seasonal, LAST]).forecast(pd.concat([hourly(3), hourly(4, "b")]))
    assert found["model"].tolist() == ["last_value"] * 2 + ["seasonal_naive"] * 2
    assert found["yhat"].tolist() == [2.0, 2.0, 0.0, 1.0]


def test_with_a_start_a_series_falls_back_at_all_its_cutoffs_or_at_none() -> None:
    """a has whole windows from row 4 on, b never; c has none with a value at row 9."""
    model = network(5, fallbacks=[THETA, LAST], forward_fill=0)
    gone = [0.0, 1, 2, 3, 4, *[nan] * 5, 10]
    rows = pd.concat([hourly(12), hourly(4, "b", y=[nan, 7, 9, 11]), hourly(11, "c", y=gone)])
    found = model.forecast(rows, start="2024-01-01 00:00", stride=1)
    by = found.drop_duplicates(["unique_id", "cutoff"]).groupby("unique_id")
    assert {name: part["cutoff"].dt.hour.tolist() for name, part in by} == {
        "a": [4, 5, 6, 7, 8, 9, 10, 11],
        "b": [1, 2, 3],  # from its first value on
        "c": [4, 5, 6, 7, 8, 10],  # where a window holds one value
    }
    assert {name: part["model"].unique().tolist() for name, part in by} == {"a": ["gru"], "b": ["last_value"], "c": ["gru"]}
    assert found[found["unique_id"] == "b"]["yhat"].tolist() == [7, 7, 9, 9, 11, 11]
    late = serving.Model(facts_of(WindowParams(2, {"y": FeatureWindow(5)}), fallbacks=[LAST], forward_fill=0), last_y)
    found = late.forecast(rows[rows["unique_id"] == "c"], start="2024-01-01 09:00", stride=9)
    assert found["model"].tolist() == ["last_value"] * 2 and found["cutoff"].dt.hour.tolist() == [9, 9]  # blind there
    assert found["yhat"].tolist() == [4.0, 4.0]
    strided = model.forecast(pd.concat([hourly(12), hourly(6, "b")]), start="2024-01-01 01:00", stride=3)
    assert strided.drop_duplicates(["unique_id", "cutoff"])["cutoff"].dt.hour.tolist() == [4, 7, 10, 4]
    with pytest.raises(ValueError, match="series 'b': too short a history"):
        model.forecast(rows, start="2024-01-01", strict=True)


def test_a_fallback_needs_nothing_that_is_known_ahead() -> None:
    params = WindowParams(2, {"y": FeatureWindow(5)}, future=("z",))
    model = serving.Model(facts_of(params, fallbacks=[LAST]), last_y)
    whole, short = hourly(8, z=1.0), hourly(3, "b", z=1.0)
    whole.loc[6:, "y"] = nan
    found = model.forecast(pd.concat([whole, short]))
    assert found["yhat"].tolist() == [5.0, 6.0, 2.0, 2.0] and found["model"].tolist()[1:3] == ["gru", "last_value"]
    with pytest.raises(ValueError, match="series 'a': z must be given for 2 rows after a cutoff, and the last 1 are missing"):
        model.forecast(pd.concat([whole.head(7), short]))


def test_a_network_that_reads_no_y_falls_back_only_where_the_table_has_one() -> None:
    params = WindowParams(2, {"x": FeatureWindow(5)})
    model = serving.Model(facts_of(params, fallbacks=[LAST]), last_y)
    rows = pd.concat([hourly(6, x=1.0), hourly(3, "b", x=1.0)])
    assert model.forecast(rows)["model"].tolist() == ["gru"] * 2 + ["last_value"] * 2
    with pytest.raises(ValueError, match="series 'b': too short a history, 5 rows"):
        model.forecast(rows.drop(columns="y"))


def test_rows_that_lie_ages_apart_do_not_take_the_memory_of_a_machine() -> None:
    far = pd.DataFrame({"unique_id": "a", "ds": [0, 10**12], "y": [1.0, 2.0]})
    late = facts_of(WindowParams(2, {"y": FeatureWindow(2, delay=2)}), 1, fallbacks=[LAST])  # no value in its window
    for model in (alone("drift", 1), serving.Model(late, last_y)):
        with pytest.raises(ValueError, match="series 'a': its rows are spread over 1,000,000,000,001 steps"):
            model.forecast(far)
    assert len(alone("drift", 1).forecast(far.assign(ds=[0, 10**5]))) == HORIZON


# --- members of both kinds --------------------------------------------------------------------------------------------


def two(past: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
    """Two networks: the last y, and ten more; one step after the other."""
    last = past[:, -1:, :1] + torch.arange(2).reshape(1, -1, 1)
    return torch.cat([last, last + 10], dim=-1)


@pytest.mark.parametrize(("how", "expected"), [("median", [5.0, 6.0]), ("mean", [(5 + 15 + 5) / 3, (6 + 16 + 5) / 3])])
def test_an_ensemble_combines_its_networks_and_its_baselines_outside_the_graph(how: str, expected: list[float]) -> None:
    combined = {"how": how, "baselines": [{"name": "last_value", "arguments": {"season": SEASON}}]}
    model = serving.Model(facts_of(WindowParams(2, {"y": FeatureWindow(5)}), combined=combined), two)
    assert model.forecast(hourly(6))["yhat"].tolist() == pytest.approx(expected, rel=1e-15)
    many = model.forecast(pd.concat([hourly(600), hourly(300, "b")]), start="2024-01-01")  # in several batches
    one = model.forecast(hourly(280, "b"))
    assert many[(many["unique_id"] == "b")]["yhat"].tolist()[2 * 275 : 2 * 276] == one["yhat"].tolist()


def test_a_member_that_forecasts_nothing_is_left_out_of_the_combination() -> None:
    """A season of nine from five rows says nothing of its steps 6 to 9: the median is of the two networks."""
    combined = {"how": "median", "baselines": [{"name": "seasonal_naive", "arguments": {"season": 9}}]}
    model = serving.Model(facts_of(WindowParams(2, {"y": FeatureWindow(5)}), combined=combined), two)
    assert model.forecast(hourly(5))["yhat"].tolist() == [9.0, 10.0]
    assert model.forecast(hourly(9))["yhat"].tolist() == [8.0, 9.0]  # 0 and 1 of a season ago are lowest


def test_an_ensemble_whose_networks_read_no_y_needs_it_for_its_baselines() -> None:
    combined = {"how": "mean", "baselines": [{"name": "last_value", "arguments": {"season": 1}}]}
    model = serving.Model(facts_of(WindowParams(2, {"x": FeatureWindow(2)}), combined=combined), last_y)
    assert model.forecast(hourly(6, x=1.0))["yhat"].tolist() == [3.0, 3.5]
    with pytest.raises(ValueError, match="column 'y' is missing; needed are unique_id, ds, x, y"):
        model.forecast(hourly(6, x=1.0).drop(columns="y"))


@settings(max_examples=100)
@given(st.lists(st.lists(st.sampled_from([nan, -2.5, 0.0, 1.0, 7.25, 1e30]), min_size=3, max_size=3), min_size=1, max_size=5))
def test_combining_is_the_nan_median_and_mean_of_numpy(members: list[list[float]]) -> None:
    given_ = np.array(members)
    some = ~np.isnan(given_).all(1)
    for how, expected in (("median", np.nanmedian), ("mean", np.nanmean)):
        found = serving.combine(given_, how)
        np.testing.assert_allclose(found[some], expected(given_[some], axis=-1), rtol=1e-15)
        assert np.isnan(found[~some]).all()


def ask(model: serving.Model, body: str, kind: str = "text/csv") -> tuple[int, Any]:
    status, text = serving._answer(model, body.encode(), kind, 10_000, 100)
    told = json.loads(text, parse_constant=pytest.fail)
    return status, told.get("predictions", told)


def test_a_request_is_answered_by_a_baseline_where_it_gives_too_few_rows() -> None:
    model = network(5, fallbacks=[THETA, LAST])
    rows = "unique_id,ds,y\n" + "".join(f"a,2024-01-01 0{n}:00,{n}\n" for n in range(5)) + "b,2024-01-01 00:00,4\n"
    status, found = ask(model, rows)
    assert status == 200 and [row["model"] for row in found] == ["gru", "gru", "last_value", "last_value"]
    assert found[2] == {
        "unique_id": "b", "cutoff": "2024-01-01T00:00:00+00:00", "ds": "2024-01-01T01:00:00+00:00", "yhat": 4.0,
        "yhat-lo-90": 3.0, "yhat-hi-90": 5.0, "model": "last_value",
    }  # fmt: skip
    assert found[3]["yhat-lo-90"] is None


def test_a_column_of_a_table_that_is_called_model_keeps_its_cells_under_another_name() -> None:
    own = network(5, columns={"unique_id": "model", "ds": "ds", "y": "y"}, fallbacks=[LAST])
    found = own.predict(hourly(3).rename(columns={"unique_id": "model"}))
    assert list(found.columns) == ["model_", "ds", "cutoff", "yhat", "yhat-lo-90", "yhat-hi-90", "model"]
    assert found["model_"].tolist() == ["a", "a"] and found["model"].tolist() == ["last_value"] * 2
