"""The baselines against hand-made answers and statsforecast's own; never a forecast that saw past its cutoff."""

import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from benchmarks._m4 import naive2
from params.load import load_run
from params.schema import RunParams
from tasks.evaluate.baselines import forecast_baselines

START = datetime(2024, 1, 1, tzinfo=UTC)
PARAMS = Path(__file__).parents[3] / "params" / "nyc_weather.yaml"
EVERY = "evaluation.baselines=[last_value,drift,seasonal_naive,theta,auto_ets]"
NAIVE = "evaluation.baselines=[last_value, drift, seasonal_naive]"
THETA = "evaluation.baselines=[last_value, theta]"
ETS = "evaluation.baselines=[last_value, auto_ets]"
FITTED = ("theta", "auto_ets")
LAST_BIT = 1e-12  # theta's own last bit depends on where in memory the values lie


def a_run(horizon: int = 3, gap: int = 0, season: int = 4, *settings: str) -> RunParams:
    texts = [f"windows.horizon={horizon}", f"windows.gap={gap}", f"evaluation.season={season}", EVERY, *settings]
    return load_run(PARAMS, texts)


def a_history(series: Mapping[str, Any]) -> pl.DataFrame:
    """Hourly rows from START; None and NaN become null."""
    parts = []
    for name, y in series.items():
        ds = [START + timedelta(hours=i) for i in range(len(y))]
        values = pl.Series(np.asarray(y, float)).fill_nan(None)
        parts.append(pl.DataFrame({"unique_id": [name] * len(y), "ds": ds, "y": values}))
    return pl.concat(parts).cast({"ds": pl.Datetime("us", "UTC")})


def origins(history: pl.DataFrame, rows: list[int]) -> pl.DataFrame:
    return history.filter(pl.int_range(pl.len()).over("unique_id").is_in(rows)).select(
        "unique_id", pl.col("ds").alias("cutoff")
    )


def simple(y: Sequence[float | None], row: int, horizon: int = 3, gap: int = 0) -> dict[str, list[float | None]]:
    history = a_history({"a": y})
    frame, _ = forecast_baselines(history, origins(history, [row]), a_run(horizon, gap, 4, NAIVE))
    return {name: frame[name].to_list() for name in ("last_value", "drift", "seasonal_naive")}


def alone(name: str) -> str:
    return f"evaluation.baselines=[last_value, {name}]"


def a_walk(rows: int = 200, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=rows)
    return 50 + np.cumsum(noise) + 5 * np.sin(np.arange(rows) * 2 * np.pi / 24)


def test_the_frame_is_wide_sorted_and_typed() -> None:
    history = a_history({"b": a_walk(60), "a": a_walk(60, 1)})
    frame, _ = forecast_baselines(history, origins(history, [40, 30]), a_run(2, 3, 4, NAIVE))
    assert frame.columns == ["unique_id", "ds", "cutoff", "step", "last_value", "drift", "seasonal_naive"]
    assert frame.schema["step"] == pl.Int64 and frame.schema["ds"] == frame.schema["cutoff"] == history.schema["ds"]
    assert frame["unique_id"].to_list() == ["a"] * 4 + ["b"] * 4
    assert frame["step"].to_list() == [1, 2] * 4
    assert (frame["ds"] - frame["cutoff"]).to_list() == [timedelta(hours=4), timedelta(hours=5)] * 4


def test_each_series_gets_its_own_values() -> None:
    history = a_history({"b": [1.0] * 9, "a": [2.0] * 9})
    frame, _ = forecast_baselines(history, origins(history, [5]), a_run(1, 0, 4, NAIVE))
    assert dict(frame.select("unique_id", "last_value").iter_rows()) == {"a": 2.0, "b": 1.0}


def test_last_value_is_the_last_observed_one() -> None:
    assert simple([1, 5, None, None, 9], 3)["last_value"] == [5, 5, 5]


def test_drift_counts_rows_since_the_last_observed_one_with_gap_and_staleness() -> None:
    # first observed 2 at row 1, last 8 at row 4: 2 a row; cutoff row 6, gap 1: step 1 is row 8, four rows after row 4
    assert simple([None, 2, None, 4, 8, None, None, 99], 6, 2, 1)["drift"] == [16, 18]


def test_drift_of_a_single_value_is_that_value() -> None:
    assert simple([None, 7, None], 2)["drift"] == [7, 7, 7]


def test_seasonal_naive_goes_back_whole_seasons_past_the_cutoff_and_past_missing_rows() -> None:
    y = [10, 11, 12, 13, 20, None, 22, 23, None, None]  # season 4; row 9 (phase 1) is missing, so is row 5: row 1 answers
    assert simple(y, 9, 7)["seasonal_naive"] == [22, 23, 20, 11, 22, 23, 20]


def test_seasonal_naive_with_a_gap_reads_the_target_s_own_phase() -> None:
    assert simple([0, 1, 2, 3, 4, 5, 6, 7], 7, 2, 3)["seasonal_naive"] == [7, 4]  # targets are rows 11 and 12


def test_seasonal_naive_is_missing_where_no_season_before_has_a_value() -> None:
    assert simple([5, 6, None], 2, 3)["seasonal_naive"] == [None, 5, 6]  # phases 3, 0, 1: phase 3 was never seen
    history = a_history({"a": [1.0, 2.0, 3.0, 4.0], "b": [None, 6.0, 7.0, None, None, None, None, None]})
    frame, _ = forecast_baselines(history, origins(history, [7]), a_run(4, 0, 4, NAIVE))
    assert frame["seasonal_naive"].to_list() == [None, 6.0, 7.0, None]  # and never what the series before had


def test_a_series_not_yet_observed_gets_nulls() -> None:
    found = simple([None, None, 3], 1)
    assert all(values == [None] * 3 for values in found.values())


def test_nan_is_missing_too() -> None:
    nulls = a_history({"a": [1, None, 5, 4, None, None]})
    at, run = origins(nulls, [5]), a_run(4, 0, 4)
    frames = [forecast_baselines(history, at, run)[0] for history in (nulls, nulls.with_columns(pl.col("y").fill_null(np.nan)))]
    assert_frame_equal(*frames, rel_tol=LAST_BIT, abs_tol=0)
    assert frames[0]["last_value"].to_list() == [4] * 4


def test_what_comes_after_the_cutoff_changes_nothing() -> None:
    y = a_walk(120)
    y[[7, 50, 88, 89]] = np.nan
    spoiled = np.where(np.arange(120) > 90, 1e6, y)
    found = []
    for values in (y, spoiled):
        history = a_history({"a": values})
        found.append(forecast_baselines(history, origins(history, [60, 90]), a_run(24, 2, 12))[0])
    assert found[0]["theta"].null_count() == found[0]["auto_ets"].null_count() == 0
    assert_frame_equal(found[0], found[1], rel_tol=LAST_BIT, abs_tol=0)
    assert_frame_equal(*(frame.drop("theta") for frame in found), check_exact=True)


@pytest.mark.parametrize(("horizon", "season"), [(1, 1), (5, 7), (30, 12), (24, 24)])
def test_the_naive_ones_equal_statsforecast_s(horizon: int, season: int) -> None:
    from statsforecast.models import Naive, RandomWalkWithDrift, SeasonalNaive

    y = a_walk()
    history = a_history({"a": y})
    rows = [100, 131, 169]
    frame, _ = forecast_baselines(history, origins(history, rows), a_run(horizon, 0, season, NAIVE))
    references = {
        "last_value": Naive(),
        "drift": RandomWalkWithDrift(),
        "seasonal_naive": SeasonalNaive(season_length=season),
    }
    for name, model in references.items():
        wanted = np.concatenate([model.forecast(y=y[: row + 1], h=horizon)["mean"] for row in rows])
        np.testing.assert_allclose(frame[name].to_numpy(), wanted, rtol=1e-12)


def test_theta_is_statsforecast_s_on_the_forward_filled_past_after_the_gap() -> None:
    from statsforecast.models import Theta

    y = a_walk()
    y[[0, 100, 149, 150]] = np.nan
    history = a_history({"a": y})
    frame, notes = forecast_baselines(history, origins(history, [150]), a_run(3, 2, 24, THETA))
    past = np.asarray(history["y"].fill_nan(None).forward_fill()[1:151].to_list())
    wanted = Theta(season_length=24).forecast(y=past, h=5)["mean"][2:]
    np.testing.assert_allclose(frame["theta"].to_numpy(), wanted, rtol=LAST_BIT)
    assert notes == {}


def test_auto_ets_is_statsforecast_s_on_the_last_240_rows() -> None:
    from statsforecast.models import AutoETS

    y = a_walk(300)
    y[[150, 299]] = np.nan
    history = a_history({"a": y})
    frame, notes = forecast_baselines(history, origins(history, [299]), a_run(3, 2, 4, ETS))
    past = np.asarray(history["y"].forward_fill()[60:].to_list())
    np.testing.assert_array_equal(frame["auto_ets"].to_numpy(), AutoETS(season_length=4).forecast(y=past, h=5)["mean"][2:])
    assert notes == {}


def test_auto_ets_gets_three_seasons_where_those_are_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    class Listens:
        def forecast(self, y: np.ndarray, h: int) -> dict[str, np.ndarray]:
            seen.append(len(y))
            return {"mean": np.zeros(h)}

    monkeypatch.setattr("statsforecast.models.AutoETS", lambda season_length: Listens())
    history = a_history({"a": a_walk(600)})
    for season in (24, 168):
        forecast_baselines(history, origins(history, [590]), a_run(1, 0, season, ETS))
    assert seen == [240, 504]


def test_auto_ets_finds_a_trend_and_a_season_again() -> None:
    rows = np.arange(70)
    y = 20 + 0.5 * rows + np.array([3.0, -1.0, -4.0, 2.0])[rows % 4]
    history = a_history({"a": y})
    frame, _ = forecast_baselines(history, origins(history, [59]), a_run(10, 0, 4, ETS))
    np.testing.assert_allclose(frame["auto_ets"].to_numpy(), y[60:], rtol=1e-3)


@pytest.mark.parametrize("name", FITTED)
@pytest.mark.parametrize("season", [1, 4, 24])
def test_a_fit_to_a_constant_is_that_constant(name: str, season: int) -> None:
    history = a_history({"a": [3.0] * 60, "b": [0.0] * 60})
    frame, notes = forecast_baselines(history, origins(history, [59]), a_run(2, 1, season, alone(name)))
    assert frame[name].to_list() == pytest.approx([3, 3, 0, 0]) and notes == {}


@pytest.mark.parametrize(("name", "longest"), [("theta", 1000), ("auto_ets", 168)])
def test_a_fit_takes_no_season_that_is_too_long(name: str, longest: int) -> None:
    history = a_history({"a": a_walk(40)})
    for season in (longest, longest + 1):
        frame, notes = forecast_baselines(history, origins(history, [30]), a_run(2, 0, season, alone(name)))
        assert frame[name].null_count() == (0 if season == longest else 2)
    assert notes == {name: f"left out: it takes a season of {longest} rows at most"}


@pytest.mark.parametrize("name", FITTED)
def test_a_fit_takes_some_cutoffs_spread_evenly_the_same_for_all_series(name: str) -> None:
    history = a_history({"a": a_walk(130), "b": a_walk(130, 1)})
    frame, notes = forecast_baselines(
        history, origins(history, list(range(30, 120))), a_run(2, 0, 1, alone(name), "evaluation.baseline_origins=30")
    )
    made = frame.filter(pl.col(name).is_not_null())
    cutoffs = made["cutoff"].unique().sort()
    assert len(cutoffs) == 30 and made.height == 30 * 2 * 2
    assert cutoffs[0] == START + timedelta(hours=30) and cutoffs[-1] == START + timedelta(hours=119)
    assert cutoffs.diff().drop_nulls().max() <= timedelta(hours=4)  # type: ignore[operator]
    assert notes == {name: "on 30 of 90 origins (its scores are of those alone)"}
    assert frame["last_value"].null_count() == 0


def test_series_that_end_at_different_times_are_all_fitted() -> None:
    """A split by rows: forty series with two origins each, no two cutoffs the same."""
    history = a_history({f"s{i:02d}": a_walk(30 + 2 * i, i) for i in range(40)})
    last = pl.col("ds").rank("ordinal", descending=True).over("unique_id")
    some = history.filter(last.is_in([2, 3])).select("unique_id", pl.col("ds").alias("cutoff"))
    frame, notes = forecast_baselines(history, some, a_run(2, 0, 1, alone("theta")))
    assert frame["theta"].null_count() == 0 and notes == {}


@pytest.mark.parametrize("name", FITTED)
def test_a_series_too_short_to_fit_is_null_and_told(name: str) -> None:
    history = a_history({"short": [*[None] * 17, 2.0, 3.0, 4.0], "empty": [None] * 20, "long": a_walk(20)})
    frame, notes = forecast_baselines(history, origins(history, [19]), a_run(2, 0, 4, alone(name)))
    found = {key: part[name].to_list() for (key,), part in frame.partition_by("unique_id", as_dict=True).items()}
    assert found["short"] == found["empty"] == [None, None] and None not in found["long"]
    assert notes == {name: "2 of 3 series lack forecasts"}


@pytest.mark.parametrize("outcome", [RuntimeError("no model able to be fitted"), np.inf])
def test_what_the_library_cannot_fit_is_null_and_told(outcome: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Fails:
        def forecast(self, y: np.ndarray, h: int) -> dict[str, np.ndarray]:
            if y[-1] == 30 and isinstance(outcome, Exception):
                raise outcome
            return {"mean": np.full(h, outcome if y[-1] == 30 else 1.0)}

    monkeypatch.setattr("statsforecast.models.AutoETS", lambda season_length: Fails())
    history = a_history({"a": np.arange(60.0), "b": np.arange(60.0) + 100})
    frame, notes = forecast_baselines(history, origins(history, [30, 40]), a_run(2, 0, 4, ETS))
    assert frame["auto_ets"].to_list() == [None, None, 1, 1, 1, 1, 1, 1]
    assert notes == {"auto_ets": "1 of 2 series lack forecasts"}


def test_naive_baselines_alone_import_no_statsforecast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "statsforecast", None)  # to import it now is an error
    history = a_history({"a": a_walk(40)})
    at = origins(history, [30])
    assert forecast_baselines(history, at, a_run(2, 0, 4, NAIVE, "evaluation.choose_by=owa"))[1] == {}
    with pytest.raises(ImportError):
        forecast_baselines(history, at, a_run(2, 0, 4, THETA))


def test_naive2_is_the_competition_s_at_every_origin_and_there_wherever_an_owa_is_asked_for() -> None:
    """Up to each cutoff anew: seasonal or not, with a gap, short, and with a hole that holds the value before it."""
    rng = np.random.default_rng(3)
    wave = np.tile([0.5, 1.0, 1.6, 0.9], 20)
    series = {
        "seasonal": 100 * wave * (1 + 0.1 * rng.random(80)), "walk": a_walk(80), "constant": np.full(80, 7.0),
        "short": 10 * wave[:11], "hole": np.where(np.arange(80) == 37, np.nan, 5 * wave),
    }  # fmt: skip
    history, run = a_history(series), a_run(6, 1, 4, NAIVE, "evaluation.choose_by=owa")
    frame, notes = forecast_baselines(history, origins(history, [8, 10, 30, 61, 75]), run)
    assert notes == {} and frame.columns[-1] == "naive2" and frame["naive2"].null_count() == 0
    for (name, cutoff), rows in frame.partition_by("unique_id", "cutoff", as_dict=True).items():
        y = history.filter(pl.col("unique_id") == name, pl.col("ds") <= cutoff)["y"].forward_fill().to_numpy()
        assert rows["naive2"].to_list() == pytest.approx(naive2(y, 4, 7)[1:].tolist()), (name, len(y))
    assert "naive2" not in forecast_baselines(history, origins(history, [30]), a_run(2, 0, 4, NAIVE))[0].columns


def test_series_of_any_length_and_start_keep_apart() -> None:
    """What a series gets beside others, of other lengths and with other missing rows, is what it gets alone."""
    random = np.random.default_rng(0)
    parts = []
    for i, rows in enumerate([30, 1, 55, 12, 90]):
        y = np.where(random.random(rows) < 0.6, np.nan, random.normal(size=rows))
        parts.append(a_history({f"s{i}": y}).with_columns(pl.col("ds") + timedelta(hours=7 * i)))
    history, run = pl.concat(parts), a_run(9, 2, 5, NAIVE)
    at = history.select("unique_id", pl.col("ds").alias("cutoff"))
    together, _ = forecast_baselines(history.sample(fraction=1, shuffle=True, seed=0), at.reverse(), run)
    single = [forecast_baselines(part, part.select("unique_id", pl.col("ds").alias("cutoff")), run)[0] for part in parts]
    assert_frame_equal(together, pl.concat(single), check_exact=True)


def test_integer_time_steps_and_their_frequency() -> None:
    history = pl.DataFrame({"unique_id": "a", "ds": [0, 10, 20, 30], "y": [1.0, 2.0, 3.0, 4.0]})
    run = a_run(2, 1, 2, NAIVE, "data.frequency=10", "windows.calendar=[]", "split={validation: 1, test: 1, embargo: 0}")
    frame, _ = forecast_baselines(history, pl.DataFrame({"unique_id": ["a"], "cutoff": [20]}), run)
    assert frame["ds"].to_list() == [40, 50]
    assert frame["drift"].to_list() == [5.0, 6.0]


def test_a_cutoff_off_the_grid_is_refused() -> None:
    history = a_history({"a": [1.0, 2.0, 3.0]})
    off = pl.DataFrame({"unique_id": ["a"], "cutoff": [START + timedelta(minutes=30)]}).cast({"cutoff": history.schema["ds"]})
    with pytest.raises(ValueError, match="'a' is not a row"):
        forecast_baselines(history, off, a_run(1, 0, 4, NAIVE))


@pytest.mark.parametrize("hours", [-1, 3])
def test_a_cutoff_beyond_the_history_is_refused(hours: int) -> None:
    history = a_history({"a": [1.0, 2.0, 3.0], "b": [1.0, 2.0, 3.0]})
    for name in ("a", "b", "c"):
        off = pl.DataFrame({"unique_id": [name], "cutoff": [START + timedelta(hours=hours)]})
        with pytest.raises(ValueError, match=f"'{name}' is not a row"):
            forecast_baselines(history, off.cast({"cutoff": history.schema["ds"]}), a_run(1, 0, 4, NAIVE))


def test_no_origins_give_an_empty_frame_with_all_columns() -> None:
    history = a_history({"a": [1.0, 2.0, 3.0]})
    frame, notes = forecast_baselines(history, origins(history, []), a_run(1, 0, 4))
    assert frame.height == 0 and frame.columns[-2:] == ["theta", "auto_ets"] and notes == {}
