"""The baselines against hand-made answers and statsforecast's own; never a forecast that saw past its cutoff."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from params.load import load_run
from params.schema import RunParams
from tasks.comparison.baselines import forecast_baselines

START = datetime(2024, 1, 1, tzinfo=UTC)
PARAMS = Path(__file__).parents[3] / "params" / "nyc_weather.yaml"
NAIVE = "evaluation.baselines=[last_value, drift, seasonal_naive]"


def a_run(horizon: int = 3, gap: int = 0, season: int = 4, *settings: str) -> RunParams:
    texts = [f"windows.horizon={horizon}", f"windows.gap={gap}", f"evaluation.season={season}", *settings]
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


def test_seasonal_naive_falls_back_to_the_last_value() -> None:
    assert simple([5, 6, None], 2, 3)["seasonal_naive"] == [6, 5, 6]  # phases 3, 0, 1: phase 3 was never seen


def test_a_series_not_yet_observed_gets_nulls() -> None:
    found = simple([None, None, 3], 1)
    assert all(values == [None] * 3 for values in found.values())


def test_nan_is_missing_too() -> None:
    nulls = a_history({"a": [1, None, 5, 4, None, None]})
    at, run = origins(nulls, [5]), a_run(4, 0, 4)
    frames = [forecast_baselines(history, at, run)[0] for history in (nulls, nulls.with_columns(pl.col("y").fill_null(np.nan)))]
    assert_frame_equal(*frames, check_exact=True)
    assert frames[0]["last_value"].to_list() == [4] * 4


def test_what_comes_after_the_cutoff_changes_nothing() -> None:
    y = a_walk(120)
    y[[7, 50, 88, 89]] = np.nan
    spoiled = np.where(np.arange(120) > 90, 1e6, y)
    found = []
    for values in (y, spoiled):
        history = a_history({"a": values})
        found.append(forecast_baselines(history, origins(history, [60, 90]), a_run(24, 2, 24))[0])
    assert found[0]["theta"].null_count() == 0
    assert_frame_equal(found[0], found[1], check_exact=True)


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
    frame, notes = forecast_baselines(history, origins(history, [150]), a_run(3, 2, 24))
    past = np.asarray(history["y"].fill_nan(None).forward_fill()[1:151].to_list())
    np.testing.assert_array_equal(frame["theta"].to_numpy(), Theta(season_length=24).forecast(y=past, h=5)["mean"][2:])
    assert notes == {}


def test_theta_takes_thirty_cutoffs_spread_evenly_the_same_for_all_series() -> None:
    history = a_history({"a": a_walk(), "b": a_walk(seed=1)})
    frame, notes = forecast_baselines(history, origins(history, list(range(100, 190))), a_run(2, 0, 4))
    made = frame.filter(pl.col("theta").is_not_null())
    cutoffs = made["cutoff"].unique().sort()
    assert len(cutoffs) == 30 and made.height == 30 * 2 * 2
    assert cutoffs[0] == START + timedelta(hours=100) and cutoffs[-1] == START + timedelta(hours=189)
    assert cutoffs.diff().drop_nulls().max() <= timedelta(hours=4)  # type: ignore[operator]
    assert notes["theta"].startswith("on 30 of 90 origins")
    assert frame["last_value"].null_count() == 0


def test_theta_stops_when_its_time_is_over_and_says_so() -> None:
    history = a_history({"a": a_walk()})
    frame, notes = forecast_baselines(history, origins(history, [100, 150]), a_run(2, 0, 4), seconds=-1)
    assert frame["theta"].null_count() == 4 and frame.schema["theta"] == pl.Float64
    assert notes["theta"].startswith("on 0 of 2 origins")


def test_theta_keeps_no_cutoff_that_only_some_series_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(100))
    monkeypatch.setattr("tasks.comparison.baselines.time.monotonic", lambda: next(ticks))
    history = a_history({"a": a_walk(), "b": a_walk(seed=1)})
    frame, notes = forecast_baselines(history, origins(history, [100, 150]), a_run(2, 0, 4), seconds=3.5)  # time for three fits
    assert frame.filter(pl.col("theta").is_not_null())["cutoff"].unique().to_list() == [START + timedelta(hours=100)]
    assert notes["theta"].startswith("on 1 of 2 origins")


def test_theta_leaves_a_series_that_is_too_short_null_and_takes_a_constant_one() -> None:
    history = a_history({"short": [1.0, 2.0, None, None], "flat": [3.0] * 4})
    frame, _ = forecast_baselines(history, origins(history, [3]), a_run(2, 0, 4))
    found = {key: part["theta"].to_list() for (key,), part in frame.partition_by("unique_id", as_dict=True).items()}
    assert found["flat"] == [3.0, 3.0]
    assert None not in found["short"]  # forward filled it has four rows
    shorter = a_history({"short": [None, 2.0, 3.0, 4.0]})
    assert forecast_baselines(shorter, origins(shorter, [3]), a_run(2, 0, 4))[0]["theta"].null_count() == 2


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


def test_no_origins_give_an_empty_frame_with_all_columns() -> None:
    history = a_history({"a": [1.0, 2.0, 3.0]})
    frame, notes = forecast_baselines(history, origins(history, []), a_run(1, 0, 4))
    assert frame.height == 0 and frame.columns[-1] == "theta" and notes == {}
