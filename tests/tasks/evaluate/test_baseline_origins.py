"""On how many origins theta and auto_ets are fitted, by counts alone, with progress."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from models.data.origins import origin_rows
from models.data.panel import Data, Panel, Split
from models.data.window import FeatureWindow, WindowParams
from params.load import load_plan, load_run
from params.schema import RunParams
from tasks.evaluate import baseline_origins, baselines
from tasks.evaluate.baselines import forecast_baselines
from tasks.evaluate.frames import targets_of
from tasks.grid.frequency import Frequency
from tasks.lags.panel import write_panel

START = datetime(2024, 1, 1, tzinfo=UTC)
PARAMS = Path(__file__).parents[3] / "params" / "nyc_weather.yaml"
FITTED = ("theta", "auto_ets")


def a_run(horizon: int, gap: int, season: int, *settings: str) -> RunParams:
    texts = [f"windows.horizon={horizon}", f"windows.gap={gap}", f"evaluation.season={season}", *settings]
    return load_run(PARAMS, texts)


def alone(name: str) -> str:
    return f"evaluation.baselines=[last_value, {name}]"


def a_history(series: Mapping[str, np.ndarray]) -> pl.DataFrame:
    """Hourly rows from START."""
    parts = []
    for name, y in series.items():
        ds = [START + timedelta(hours=i) for i in range(len(y))]
        parts.append(pl.DataFrame({"unique_id": [name] * len(y), "ds": ds, "y": y}))
    return pl.concat(parts).cast({"ds": pl.Datetime("us", "UTC")})


def origins(history: pl.DataFrame, rows: list[int]) -> pl.DataFrame:
    inside = pl.int_range(pl.len()).over("unique_id").is_in(rows)
    return history.filter(inside).select("unique_id", pl.col("ds").alias("cutoff"))


def a_walk(rows: int, seed: int = 0) -> np.ndarray:
    return 50 + np.cumsum(np.random.default_rng(seed).normal(size=rows))


class Zero:
    """A model that costs nothing."""

    def forecast(self, y: np.ndarray, h: int) -> dict[str, np.ndarray]:
        return {"mean": np.zeros(h)}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for model in ("Theta", "AutoETS"):
        monkeypatch.setattr(f"statsforecast.models.{model}", lambda season_length: Zero())


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("name", FITTED)
@pytest.mark.parametrize("origins_asked", [1, 3, 12])
def test_a_run_may_say_on_how_many_origins(name: str, origins_asked: int) -> None:
    history = a_history({"a": a_walk(80), "b": a_walk(80, 1)})
    run = a_run(2, 0, 1, alone(name), f"evaluation.baseline_origins={origins_asked}")
    frame, notes = forecast_baselines(history, origins(history, list(range(30, 70))), run)
    made = frame.filter(pl.col(name).is_not_null())
    assert made["cutoff"].n_unique() == origins_asked and made.height == origins_asked * 2 * 2
    assert notes == {name: f"on {origins_asked} of 40 origins (its scores are of those alone)"}


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("name", "series", "season", "expected"),
    [
        ("theta", 300, 24, 40),  # 300 x 202 rows x 0.01 ms: 0.6 s an origin, so that half a minute allows all
        ("theta", 450, 24, 33),  # 30 s over 0.9 s
        ("theta", 900, 24, 30),  # 30 s allow 16, a minute 33
        ("theta", 2000, 24, 14),  # 60 s over 4.04 s
        ("theta", 3000, 24, 0),  # nine are fewer than ten: left out
        ("auto_ets", 12, 24, 30),
        ("auto_ets", 30, 24, 14),
        ("auto_ets", 30, 168, 0),
    ],
)
def test_auto_counts_series_rows_season_and_horizon(name: str, series: int, season: int, expected: int) -> None:
    history = a_history({f"s{i:04d}": np.ones(200) for i in range(series)})
    some = origins(history, list(range(159, 199)))
    frame, notes = forecast_baselines(history, some, a_run(2, 0, season, alone(name)))
    assert frame.filter(pl.col(name).is_not_null())["cutoff"].n_unique() == expected
    if expected == 40:
        assert notes == {}
    elif expected:
        assert notes == {name: f"on {expected} of 40 origins (its scores are of those alone)"}
    else:
        assert notes[name].startswith(f"left out: too slow for {series:,} series; set evaluation.baseline_origins")


@pytest.mark.usefixtures("quick")
def test_few_origins_are_all_fitted_or_none() -> None:
    for series, left_out in ((100, False), (200, True)):
        history = a_history({f"s{i:04d}": np.ones(200) for i in range(series)})
        frame, notes = forecast_baselines(history, origins(history, [150, 170, 190]), a_run(2, 0, 24, alone("auto_ets")))
        assert (frame["auto_ets"].null_count() > 0) == left_out and bool(notes) == left_out


def test_a_season_has_a_price_up_to_the_longest_that_is_taken() -> None:
    for limits in baseline_origins.FITTED.values():
        prices = [limits.price(season) for season in range(1, limits.longest + 1)]
        assert prices == sorted(prices)
        docs = (PARAMS.parents[1] / "docs" / "comparison.md").read_text(encoding="utf-8")
        for longest, price in limits.prices:
            assert any(f" {longest:,}" in line and line.endswith(f"| {price:g} |") for line in docs.splitlines())


@pytest.mark.usefixtures("quick")
def test_progress_counts_every_fit_and_an_error_of_the_listener_ends_it() -> None:
    history = a_history({"a": a_walk(60), "b": a_walk(60, 1)})
    heard: list[tuple[str, int, int]] = []
    some, run = origins(history, [30, 40]), a_run(2, 0, 1, "evaluation.baselines=[auto_ets, last_value, theta]")
    frame, notes = forecast_baselines(history, some, run, lambda *told: heard.append(told))
    assert heard == [(name, done, 4) for name in ("auto_ets", "theta") for done in (1, 2, 3, 4)]
    assert frame.columns[4:] == ["auto_ets", "last_value", "theta"] and notes == {}

    def stop(*_: object) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        forecast_baselines(history, some, run, stop)


@pytest.mark.usefixtures("quick")
def test_the_naive_and_the_fitted_ones_are_written_apart_and_joined(tmp_path: Path) -> None:
    params = WindowParams(2, {"y": FeatureWindow(6)}, gap=1)
    rows = a_history({"b": a_walk(60), "a": a_walk(60, 1)})
    panel = Panel.open(write_panel(rows.lazy(), params, Frequency("1h"), 0, tmp_path))
    data = Data(panel, params, Split("rows", 12, 12))
    run = a_run(2, 1, 4, "evaluation.stride=3", "evaluation.baselines=[theta, last_value, drift]")
    naive = baselines.write_baselines(baselines.only_naive(run), data, tmp_path)
    heard: list[int] = []
    fitted = baselines.write_baselines(
        baselines.only_fitted(run), data, tmp_path, lambda _, done, total: heard.append(total - done)
    )
    assert heard == list(range(len(heard)))[::-1] and heard  # the last fit is the last of all that were announced
    found = naive.joined(fitted)
    for split in ("validation", "test"):
        assert set(found.files[split]) == {"theta", "last_value", "drift"} and set(naive.files[split]) == {
            "last_value",
            "drift",
        }
        targets = targets_of(data, split, 3).frame()
        for name, file in found.files[split].items():
            frame = pl.read_parquet(file)
            assert frame.select("unique_id", "cutoff", "step").equals(targets.select("unique_id", "cutoff", "step"))
            assert frame[name].null_count() == 0
    nothing = baselines.write_baselines(baselines.only_fitted(baselines.only_naive(run)), data, tmp_path)
    assert nothing.files == {"validation": {}, "test": {}} and nothing.notes == {}


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("lengths", [(120, 120), tuple(60 + 7 * place for place in range(12))])
@pytest.mark.parametrize("padding", [0, 2])
def test_a_version_is_judged_on_the_origins_that_a_comparison_fits(
    lengths: tuple[int, ...], padding: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Series that end together, or none at the time of another, of which the places from the end are the same."""
    monkeypatch.setattr(baseline_origins, "ALLOWED", 0.0)  # so few series would be fitted at all origins
    params = WindowParams(2, {"y": FeatureWindow(3)}, start_padding=padding)
    rows = a_history({f"s{place:02d}": a_walk(length, place) for place, length in enumerate(lengths)})
    panel = Panel.open(write_panel(rows.lazy(), params, Frequency("1h"), 0, tmp_path))
    data, run = Data(panel, params, Split("rows", 5, 42)), a_run(2, 0, 1, "evaluation.stride=1", alone("theta"))
    targets = targets_of(data, "test", 1).frame()
    cutoffs = targets.select("unique_id", "cutoff").unique(maintain_order=True)
    made, _ = forecast_baselines(rows, cutoffs, run)
    fitted = made.filter(pl.col("theta").is_not_null()).select("unique_id", "cutoff").unique(maintain_order=True)
    every = origin_rows(panel, params, data.split, "test", 1)
    some = baseline_origins.spread_origins(["lstm", "theta"], panel, every, run)
    ids = [panel.ids[place] for place in np.searchsorted(panel.offsets, some, side="right") - 1]
    assert list(zip(ids, panel.times[some].tolist(), strict=True)) == list(
        zip(fitted["unique_id"], fitted["cutoff"].to_physical(), strict=True)
    )
    assert len(some) == 30 * len(lengths) < len(every)
    assert baseline_origins.spread_origins(["lstm", "drift"], panel, every, run) is every
    again = baseline_origins.spread_origins(["theta"], panel, some, run)  # what is spread already stays
    assert again.tolist() == some.tolist() and not len(baseline_origins.spread_origins(["theta"], panel, every[:0], run))
    slow = run.model_copy(update={"evaluation": run.evaluation.model_copy(update={"season": 2000})})
    assert len(baseline_origins.spread_origins(["theta"], panel, every, slow)) == 10 * len(lengths)


def test_a_greedy_ensemble_leaves_out_what_is_fitted_at_some_origins_only(tmp_path: Path) -> None:
    settings = ["variants=[ridge, ensemble_greedy, ensemble_theta]", "evaluation.baselines=[drift, theta, auto_ets]"]

    def members(history: pl.DataFrame, *more: str) -> dict[str, list[str]]:
        texts = [*settings, "windows.horizon=3", "evaluation.season=24", "evaluation.stride=12", *more]
        plan = load_plan(PARAMS, texts)
        windows = WindowParams(3, {"y": FeatureWindow(24)})
        panel = Panel.open(write_panel(history.lazy(), windows, Frequency("1h"), 0, tmp_path))
        data = Data(panel, windows, Split("rows", 60, 60))
        found = baseline_origins.with_whole_members(plan.variants, plan.run, data)
        return {name: [one.variant for one in variant.members] for name, variant in found.items()}

    few, many = a_history({"a": a_walk(400)}), a_history({str(number): a_walk(300, number) for number in range(200)})
    assert members(few)["ensemble_greedy"] == ["ridge", "drift", "theta", "auto_ets"]
    found = members(many)
    assert found["ensemble_greedy"] == ["ridge", "drift", "theta"]  # auto_ets would be left out of the leaderboard
    assert found["ridge"] == [] and "theta" in found["ensemble_theta"]  # others say themselves what they combine
    assert members(few, "evaluation.baseline_origins=3")["ensemble_greedy"] == ["ridge", "drift"]
    assert members(few, "evaluation.season=200")["ensemble_greedy"] == ["ridge", "drift", "theta"]  # too long for auto_ets
