"""Why no network won: a reason is said where the data or a training prove it, nowhere else, and its settings undo it."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.data.window import FeatureWindow, WindowParams
from models.fit.settings import Ended, Result, Status, Training
from params.schema import ScalingParams
from tasks.compare.measures import units
from tasks.explore.rhythm import seasons_of
from tasks.lags.past import past_of
from tasks.report.evidence import (
    Trained,
    best_at_once,
    few_windows,
    level_moved,
    no_memory,
    none_finished,
    other_epoch,
    season_out_of_sight,
    size_note,
    still_improving,
    unlike_sizes,
)

TRAINING = Training(
    max_epochs=5, patience_epochs=2, batch_size=8, learning_rate=0.01, weight_decay=0.0, clip_norm=1.0, loss="mae",
    variant="gru", seed=0,
)  # fmt: skip
SCALING = ScalingParams(per="series", window="none")


def windows(lookback: int = 24, **more: int) -> WindowParams:
    return WindowParams(6, {"y": FeatureWindow(lookback)}, **more)


def frame(**series: np.ndarray) -> pl.DataFrame:
    parts = [pl.DataFrame({"unique_id": name, "ds": range(len(y)), "y": np.asarray(y, float)}) for name, y in series.items()]
    return pl.concat(parts)


def sizes(**series: np.ndarray) -> pl.DataFrame:
    return units(past_of(frame(**series)), 1)


def weekly(rows: int = 2000, seed: int = 0) -> np.ndarray:
    """Hourly values with a rhythm of a day, and no trade at weekends."""
    hour = np.arange(rows)
    trade = np.where(hour // 24 % 7 < 5, 10.0, 1.0)
    return trade + 2 * np.sin(2 * np.pi * hour / 24) + np.random.default_rng(seed).normal(scale=0.3, size=rows)


def daily(rows: int = 2000, seed: int = 0) -> np.ndarray:
    hour = np.arange(rows)
    return 5 * np.sin(2 * np.pi * hour / 24) + np.random.default_rng(seed).normal(scale=0.5, size=rows)


def test_a_week_that_a_day_of_window_does_not_hold_is_the_reason() -> None:
    arrays = [weekly(), weekly(seed=1)]
    found = season_out_of_sight(arrays, seasons_of(arrays, "1h"), windows(24))
    assert found is not None and found.settings == ("windows.features.y.lookback=168",)
    assert "repeat after 168 rows" in found.words and "reaches back over 24" in found.words
    away = [np.mean([np.abs(y[lag:] - y[:-lag]).mean() / y.std() for y in arrays]) for lag in (168, 24)]
    assert f"{100 * (1 - away[0] / away[1]):.0f} % nearer to that one than to that of 24 rows before" in found.words


def test_a_week_that_is_seven_equal_days_is_none() -> None:
    """The row of a week before says no more than that of a day before: a longer window would see nothing else."""
    arrays = [daily(), daily(seed=1)]
    seasons = seasons_of(arrays, "1h")
    assert {24, 168} <= set(seasons) and season_out_of_sight(arrays, seasons, windows(24)) is None
    found = season_out_of_sight(arrays, seasons, windows(12))
    assert found is not None and "autocorrelation" in found.words


@given(
    st.integers(1, 40), st.integers(1, 5), st.integers(0, 6), st.integers(0, 6), st.integers(41, 400)
)  # fmt: skip
def test_its_setting_shows_the_networks_the_row_of_a_season_before(
    lookback: int, rate: int, delay: int, gap: int, season: int
) -> None:
    """The row one season before the first step is season - gap - 1 rows before the origin."""
    seen = FeatureWindow(lookback, rate, delay)
    found = season_out_of_sight([], {season: 0.8}, WindowParams(3, {"y": seen}, gap=gap))
    assert (found is None) == (delay + rate * (lookback - 1) >= season - gap - 1)
    if found is not None:
        key, _, value = found.settings[0].partition("=")
        wider = FeatureWindow(int(value), rate, delay)
        assert key == "windows.features.y.lookback" and wider.reach >= season - gap - 1 > wider.reach - rate
        assert season_out_of_sight([], {season: 0.8}, WindowParams(3, {"y": wider}, gap=gap)) is None


def test_without_the_past_of_the_target_that_is_the_reason() -> None:
    found = season_out_of_sight([], {}, WindowParams(6, {"dewp": FeatureWindow(9)}))
    assert found is not None and "y is not in windows.features" in found.words


def test_random_walks_have_no_memory_and_waves_and_what_returns_to_its_mean_do() -> None:
    rng = np.random.default_rng(3)
    walks = [rng.normal(size=800).cumsum() for _ in range(4)]
    found = no_memory(walks, seasons_of(walks, "1d"))
    assert found is not None and "random walks" in found.words and found.settings == ()
    noise = [rng.normal(size=800) for _ in range(4)]  # its changes have an autocorrelation of -0.5
    assert no_memory(noise, seasons_of(noise, "1d")) is None
    assert no_memory(walks, {7: 0.4}) is None
    assert no_memory([rng.normal(size=8).cumsum()], {}) is None  # too short to say


def test_few_windows_are_told_with_a_smaller_stride_where_there_is_one() -> None:
    assert few_windows([600, 400], windows()) is None
    found = few_windows([60, 40], windows(stride=24))
    assert found is not None and found.words == "there are only 100 windows to train on, 24 rows apart"
    assert found.settings == ("windows.stride=2",)  # 1,200
    plain = few_windows([60, 40], windows())
    assert plain is not None and plain.settings == () and plain.words == "there are only 100 windows to train on"


def test_series_without_a_window_are_told_with_padding() -> None:
    found = few_windows([0, 0, 5000], windows(24))
    assert found is not None and found.words == "2 of 3 series are too short for one window to train on"
    assert found.settings == ("windows.start_padding=23",)
    padded = few_windows([0, 0, 5000], windows(24, start_padding=23))
    assert padded is not None and padded.settings == ()
    assert few_windows([0, 3000, 5000], windows(24)) is None and few_windows([5000], windows(24)) is None


def test_a_level_that_moved_counts_where_no_window_is_measured_against_its_own() -> None:
    rng = np.random.default_rng(0)
    past = frame(a=rng.normal(size=200), b=100 + 5 * rng.normal(size=200))
    after = frame(a=3 + rng.normal(size=60), b=115 + 5 * rng.normal(size=60))
    found = level_moved([past_of(past)], [past_of(after)], SCALING)
    assert found is not None and found.settings == ("scaling.window=mean",)
    moved = float(found.words.split(" moves by ")[1].split(" ")[0])
    wanted = np.median([
        abs(np.median(after.filter(pl.col("unique_id") == one)["y"]) - np.median(past.filter(pl.col("unique_id") == one)["y"]))
        / past.filter(pl.col("unique_id") == one)["y"].to_numpy().std()
        for one in "ab"
    ])  # fmt: skip
    assert moved == pytest.approx(wanted, abs=0.051)
    for window in ("mean", "last", "revin"):
        assert level_moved([past_of(past)], [past_of(after)], SCALING.model_copy(update={"window": window})) is None
    assert level_moved([past_of(past)], [past_of(past)], SCALING) is None


def test_changes_that_grew_count_until_a_transform_or_revin_follows_them() -> None:
    rng = np.random.default_rng(1)
    level = 10 * np.exp(np.linspace(0, 4, 400))
    y = level * np.exp(0.1 * rng.normal(size=400))
    past, after = frame(a=y[:300]), frame(a=y[300:])
    last = ScalingParams(per="series", window="last")
    found = level_moved([past_of(past)], [past_of(after)], last)
    assert found is not None and found.settings == ("scaling.window=revin",) and "scaling.window last" in found.words
    assert level_moved([past_of(past)], [past_of(after)], last.model_copy(update={"target": "log1p"})) is None
    assert level_moved([past_of(past)], [past_of(after)], last.model_copy(update={"window": "revin"})) is None


def test_missing_values_and_constant_series_move_nothing() -> None:
    past = frame(a=np.array([1.0, np.nan, 2.0, 1.0]), b=np.full(4, 7.0))
    assert level_moved([past_of(past)], [past_of(frame(a=np.full(3, np.nan), b=np.full(3, 90.0)))], SCALING) is None


def test_unlike_sizes_count_under_one_scale_for_all() -> None:
    past = sizes(a=np.full(9, 1.0), b=np.full(9, 12.0))
    common = ScalingParams(per="global", window="mean")
    found = unlike_sizes(past, common)
    assert found is not None and found.settings == ("scaling.per=series",) and "mean |y| 1 to 12" in found.words
    for other in ({"per": "series"}, {"target": "log1p"}, {"window": "revin"}):
        assert unlike_sizes(past, common.model_copy(update=other)) is None
    assert unlike_sizes(sizes(a=np.full(9, 1.0), b=np.full(9, 9.0)), common) is None


def a_fit(best: int, count: int, ended: Ended, name: str = "gru", **more: float) -> Trained:
    history = [
        {"epoch": float(number), "val_mae": 1.0, "val_loss": 1.0 + (number != more.get("lowest", best))}
        for number in range(count)
    ]
    result = Result(status=Status.FINISHED, best_epoch=best, history=history, ended_by=ended)
    return Trained(name, TRAINING, result)


def test_what_was_still_improving_at_its_budget_asks_for_more_of_it() -> None:
    found = still_improving(
        [a_fit(4, 5, Ended.MAX_EPOCHS), a_fit(4, 5, Ended.MAX_EPOCHS, "lstm"), a_fit(1, 5, Ended.MAX_EPOCHS, "cnn")]
    )
    assert found is not None and found.settings == ("training.max_epochs=20",)
    assert found.words == "gru and lstm were still improving when training.max_epochs (5) was used up"
    seconds = a_fit(2, 3, Ended.MAX_SECONDS)
    seconds = seconds._replace(training=replace(TRAINING, max_seconds=30.0))
    both = still_improving([seconds, a_fit(4, 5, Ended.MAX_EPOCHS, "lstm")])
    assert both is not None and both.settings == ("training.max_seconds=120", "training.max_epochs=20")
    for ended in (Ended.PATIENCE, Ended.CLOSED_FORM, Ended.MEMBERS):
        assert still_improving([a_fit(4, 5, ended)]) is None
    assert still_improving([]) is None


def test_where_none_finished_the_reasons_of_the_fits_are_told_and_what_diverged_asks_for_smaller_steps() -> None:
    memory = Result(status=Status.FAILED, reason="out of memory", again=True, step=7)
    found = none_finished([Trained("gru", TRAINING, memory), Trained("gru", TRAINING, memory)])
    assert found.words == "no variant finished (gru: out of memory)" and found.settings == ()
    diverged = Result(status=Status.FAILED, reason="diverged in step 3", step=3, learning_rate=0.01)
    both = none_finished([Trained("gru", TRAINING, memory), Trained("lstm", TRAINING, diverged)])
    assert both.words == "no variant finished (gru: out of memory; lstm: diverged in step 3)"
    assert both.settings == ("training.learning_rate=0.001",)


def test_what_was_best_at_once_asks_for_smaller_steps() -> None:
    found = best_at_once([a_fit(0, 3, Ended.PATIENCE), a_fit(1, 4, Ended.PATIENCE, "lstm")])
    assert found is not None and found.settings == ("training.learning_rate=0.001",) and found.words.startswith("gru was best")
    assert best_at_once([a_fit(0, 2, Ended.PATIENCE), a_fit(0, 5, Ended.CLOSED_FORM, "ridge")]) is None


def test_an_epoch_that_the_scaled_loss_would_not_keep_counts_where_series_weigh_alike() -> None:
    other = a_fit(1, 5, Ended.PATIENCE, lowest=4)
    found = other_epoch([other, a_fit(2, 5, Ended.PATIENCE, "lstm")], "mase")
    assert found is not None and found.settings == ("training.monitor=loss",) and found.words.startswith("of gru the epoch")
    assert other_epoch([other], "mae") is None
    assert other_epoch([other._replace(training=replace(TRAINING, monitor="loss"))], "mase") is None


def test_the_note_says_whose_error_the_mae_is() -> None:
    past = sizes(a=np.full(9, 1.0), b=np.full(9, 2034.0), c=np.array([2.0, np.nan, 2.0]))
    errors = pl.DataFrame({"unique_id": ["a", "b", "c"], "theta": [1.0, 8.0, 1.0]})
    note = size_note(past, errors, "theta", "mae")
    assert "mean |y| 1 to 2,030" in note and "80 % of the error of theta is that of the largest:" in note
    assert "evaluation.choose_by=mase" in note
    assert size_note(past, errors, "theta", "mase") == ""
    assert size_note(past.filter(pl.col("unique_id") != "b"), errors, "theta", "mae") == ""
    assert size_note(sizes(a=np.zeros(3), b=np.ones(3)), errors, "theta", "mae") == ""  # nothing is tenfold nothing


def test_of_many_series_the_largest_tenth_is_told() -> None:
    names = [f"s{i:02d}" for i in range(25)]
    past = sizes(**{name: np.full(3, 1.0 + i) for i, name in enumerate(names)})
    errors = pl.DataFrame({"unique_id": names, "m": [1.0] * 22 + [6.0] * 3})
    assert "45 % of the error of m is that of the largest 3 of 25" in size_note(past, errors, "m", "mae")
