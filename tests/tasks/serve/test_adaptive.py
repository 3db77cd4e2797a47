"""The level of served intervals: by the paper's recursion, from kept files, and read by nothing but a schedule."""

import ast
from contextlib import nullcontext
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import polars.selectors as cs
import pytest
from scipy import stats

from models.serving import Bounds
from tasks.files import write_parquet
from tasks.load.source import open_source
from tasks.registry.load import Version
from tasks.serve import realised
from tasks.serve.adaptive import A0, ALPHA, LEAST, MOST, RATE, adapted, interval, levels_in_words, next_state, reach_of
from tasks.serve.forecast import Asked, forecast_frame
from tasks.serve.realised import keep

LEVELS = np.array([0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.975])
NORMAL = stats.norm.ppf(LEVELS)
START = datetime(2026, 1, 1)
ANY = Bounds()


def forecasts(cutoff: int, horizon: int, series: dict[str, float], spread: float = 1.0) -> pl.DataFrame:
    """Of each series: its point at every step, and quantiles of a normal distribution around it."""
    rows = [
        {
            "unique_id": name,
            "cutoff": START + timedelta(hours=cutoff),
            "ds": START + timedelta(hours=cutoff + step),
            "yhat": point,
            **{f"yhat-q-{level:g}": point + spread * z for level, z in zip(LEVELS, NORMAL, strict=True)},
        }
        for name, point in series.items()
        for step in range(1, horizon + 1)
    ]
    return pl.DataFrame(rows)


def actuals(values: dict[str, list[float | None]]) -> pl.DataFrame:
    """Hourly rows from START on."""
    rows = [(name, START + timedelta(hours=k), y) for name, some in values.items() for k, y in enumerate(some)]
    return pl.DataFrame(rows, schema={"unique_id": pl.String, "ds": pl.Datetime("us"), "y": pl.Float64}, orient="row")


def serve(home: Path, made: pl.DataFrame, history: pl.DataFrame, version: str = "1") -> pl.DataFrame:
    """One turn of a schedule: the state, the forecast, and both kept; returns what was kept."""
    state = next_state(sorted((home / "served" / "story").glob("*.parquet")), history)
    found = adapted(made, state, LEVELS.tolist(), ANY).with_columns(model=pl.lit("own"))
    keep(found, version, 0, "story", home, "own")
    return found


def miss_of(frame: pl.DataFrame) -> dict[str, float]:
    return dict(frame.select("unique_id", "miss").unique().iter_rows())


def test_a_level_reaches_as_far_as_a_normal_one_and_then_without_an_end() -> None:
    assert reach_of(np.array([0.5, 0.2, 0.1, 0.1, 0.01])) == pytest.approx(
        [0.67449, 1.28155, 1.64485, 1.64485, 2.57583], abs=1e-5
    )
    falling = reach_of(np.linspace(LEAST, MOST, 4001))
    assert (np.diff(falling) < 0).all() and falling[0] > 100 * falling[-1]
    slope = np.diff(reach_of(np.array([A0 - 1e-6, A0, A0 + 1e-6])))  # smooth where the trained levels end
    assert slope[0] == pytest.approx(slope[1], rel=1e-3)


def test_ends_are_the_quantiles_of_their_level_between_them_along_a_normal_and_beyond_them_wider() -> None:
    skew = np.where(NORMAL > 0, 3.0, 1.0) * NORMAL  # thrice as far above
    found = interval(np.full(5, 10.0), 10 + np.tile(skew, (5, 1)), LEVELS, np.array([0.1, 0.2, 0.14, 0.01, 0.5]))
    reach = np.array([1.644854, 1.281552, 1.475791, 2.575829, 0.674490])
    assert found == pytest.approx(np.stack([10 - reach, 10 + 3 * reach], -1), abs=1e-4)
    gone = 10 + np.tile(skew, (2, 1))
    gone[0, -1] = gone[1, 1:] = np.nan  # too few errors for the outermost level, and for nearly all
    found = interval(np.full(2, 10.0), gone, LEVELS, np.array([0.02, 0.1]))
    assert found[0] == pytest.approx([10 - 2.326348, 10 + 3 * 2.326348], abs=1e-4) and np.isnan(found[1]).all()
    old = interval(np.zeros(2), np.array([[-2.0, 2.0]] * 2), np.array([0.05, 0.95]), np.array([0.1, 0.3]))  # half widths alone
    assert old[0] == pytest.approx([-2, 2]) and old[1] == pytest.approx(np.array([-2, 2]) * 1.036433 / 1.644854, rel=1e-4)


def test_each_row_that_came_true_counts_once_by_hand(tmp_path: Path) -> None:
    """Two steps a forecast.  Of the first one is missed and one is not; of the second, so far, the one that came is not."""
    first = serve(tmp_path, forecasts(0, 2, {"a": 0.0}), actuals({"a": [0.0]}))
    assert miss_of(first) == {"a": ALPHA} and first["turn"].unique().to_list() == [1]
    assert first["yhat-hi-90"].to_list() == pytest.approx([1.644854] * 2, abs=1e-5) and "yhat-q-0.05" not in first.columns
    late = actuals({"a": [0.0, 9.0, 0.5]})
    second = serve(tmp_path, forecasts(2, 2, {"a": 0.0}), late)
    miss = 0.1 + 0.02 * (0.1 / 2 + (0.1 - 1) / 2)
    assert miss_of(second) == {"a": pytest.approx(miss)} and second["turn"].unique().to_list() == [2]
    assert second["yhat-hi-90"][0] == pytest.approx(stats.norm.isf(miss / 2), abs=2e-3)
    again = serve(tmp_path, forecasts(2, 2, {"a": 0.0}), late)
    assert again.drop("turn").equals(second.drop("turn"))  # the same data, the same forecast
    third = serve(tmp_path, forecasts(3, 2, {"a": 0.0}), actuals({"a": [0.0, 9.0, 0.5, 0.5]}))
    assert miss_of(third) == {"a": pytest.approx(miss + 0.02 * 0.1 / 2)}
    gap = serve(tmp_path, forecasts(5, 2, {"a": 0.0}), actuals({"a": [0.0, 9.0, 0.5, 0.5, None, 9.0]}))
    assert miss_of(gap) == {"a": pytest.approx(miss + 0.02 * (0.1 / 2 + (0.1 - 1) / 2))}  # what has no actual says nothing


def test_series_go_their_own_way_and_new_ones_begin(tmp_path: Path) -> None:
    serve(tmp_path, forecasts(0, 1, {"a": 0.0, "b": 0.0}), actuals({"a": [0.0], "b": [0.0]}))
    history = actuals({"a": [0.0, 9.0], "b": [0.0, 0.0], "new": [1.0, 1.0]})
    state = next_state((tmp_path / "served" / "story").glob("*.parquet"), history)
    assert miss_of(state) == pytest.approx({"a": 0.1 - 0.02 * 0.9, "b": 0.1 + 0.02 * 0.1, "new": 0.1})
    assert levels_in_words(state) == "intervals of 90 % adapted by what came true, to levels of 90% to 92%"
    blind = adapted(forecasts(1, 1, {"a": 0.0, "blind": 0.0}), state, LEVELS.tolist(), ANY)
    assert miss_of(blind)["blind"] == ALPHA and blind.null_count().sum_horizontal().item() == 0


def test_of_a_cutoff_that_was_served_twice_the_later_forecast_counts(tmp_path: Path) -> None:
    """Version 2 was promoted in the night and its interval is wide: what version 1 missed is not held against it."""
    now = actuals({"a": [0.0]})
    serve(tmp_path, forecasts(0, 1, {"a": 0.0}), now, "1")
    serve(tmp_path, forecasts(0, 1, {"a": 0.0}, spread=10.0), now, "2")
    later = actuals({"a": [0.0, 5.0]})
    assert miss_of(next_state((tmp_path / "served" / "story").glob("*.parquet"), later)) == {"a": pytest.approx(0.102)}


def test_forecasts_that_no_state_made_say_nothing(tmp_path: Path) -> None:
    fixed = adapted(forecasts(0, 1, {"a": 0.0}), next_state([], actuals({"a": [0.0]})), LEVELS.tolist(), ANY)
    fixed = fixed.drop("miss", "seen", "turn").with_columns(model=pl.lit("own"))
    keep(fixed, "1", 0, "story", tmp_path, "own")
    zone = fixed.with_columns(pl.col("ds", "cutoff").dt.replace_time_zone("UTC"), miss=0.3, seen=0, turn=9)
    keep(zone, "2", 0, "story", tmp_path, "own")  # of a table with other times
    files = list((tmp_path / "served" / "story").glob("*.parquet"))
    assert len(files) == 2 and miss_of(next_state(files, actuals({"a": [0.0, 9.0]}))) == {"a": ALPHA}


def test_whole_numbers_are_rounded_outward_and_clipped() -> None:
    state = pl.DataFrame({"unique_id": ["a"], "miss": [0.1], "seen": [0], "turn": [1]})
    found = adapted(forecasts(0, 1, {"a": 1.0}), state, LEVELS.tolist(), Bounds(0.0, None, True))
    assert found.select("yhat-lo-90", "yhat-hi-90").row(0) == (0.0, 3.0)


def recursion(errors: np.ndarray, spread: np.ndarray, rate: float = RATE) -> tuple[np.ndarray, np.ndarray]:
    """The paper's, in plain Python: [T, H] of errors -> the miss of each turn, and what it missed."""
    miss, every, missed = 0.1, [], []
    for t, row in enumerate(errors):
        every.append(miss)
        half = float(reach_of(np.array([miss]))[0]) * spread[t]
        missed.append(np.mean(np.abs(row) > half))
        miss = min(max(miss + rate * (0.1 - missed[-1]), LEAST), MOST)
    return np.array(every), np.array(missed)


def test_the_kept_files_give_the_paper_s_recursion(tmp_path: Path) -> None:
    horizon, turns = 3, 30
    errors = np.random.default_rng(3).normal(0, 2.5, (turns, horizon))
    wanted, _ = recursion(errors, np.ones(turns))
    y = [0.0, *errors.ravel()]
    found = [
        miss_of(serve(tmp_path, forecasts(t * horizon, horizon, {"a": 0.0}), actuals({"a": y[: t * horizon + 1]})))["a"]
        for t in range(turns)
    ]
    assert found == pytest.approx(wanted.tolist(), abs=1e-12) and wanted[-1] < 0.05


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_a_tenth_is_missed_in_the_long_run_whatever_the_errors_do(factor: float) -> None:
    """From the 100th turn on errors are thrice, or half, what they were: a fixed interval would miss 58 %, or 0.1 %."""
    rng = np.random.default_rng(0)
    errors = rng.normal(0, 1, (600, 24)) * np.where(np.arange(600) < 100, 1.0, factor)[:, None]
    miss, missed = recursion(errors, np.ones(600))
    assert missed[300:].mean() == pytest.approx(0.1, abs=0.01)
    assert abs(missed.mean() - 0.1) <= (0.1 - LEAST + RATE) / (RATE * 600)  # proposition 4.1, with our clip for the lower end
    assert (miss[:100] > 0.02).all() and (miss[:100] < 0.2).all()  # a calibrated one hardly moves


@pytest.mark.filterwarnings("ignore:Series.values returning an ndarray")  # polars, of a frame of pandas
def test_a_schedule_records_its_state_and_plain_forecasts_never_read_it(
    version: Version, table: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two nights: random weights are far off, so that the second is wider; what nobody asked to adapt is as ever."""
    monkeypatch.setattr(realised, "find", lambda *_: version)
    monkeypatch.setattr(realised, "opened", nullcontext)
    own, data, out = version.trained_on.run, tmp_path / "table.parquet", tmp_path / "out.parquet"
    run = own.model_copy(
        update={
            "data": own.data.model_copy(update={"path": str(data)}),
            "promotion": own.promotion.model_copy(update={"intervals": "aci"}),
        }
    )
    fixed = run.model_copy(update={"promotion": own.promotion})
    last = table["hour"].unique().sort()[-8]  # the first night; the second knows seven hours more

    def night(which: Any, rows: pl.DataFrame) -> tuple[str, pl.DataFrame, pl.DataFrame]:
        write_parquet(rows, data)
        told, _ = realised.serve_forecasts.fn(which, tmp_path, out)
        assert told is not None
        newest = max((tmp_path / "served" / run.name).glob("*.parquet"), key=lambda path: path.stat().st_mtime_ns)
        return told, pl.read_parquet(out), pl.read_parquet(newest)

    plain = night(fixed, table.filter(pl.col("hour") <= last))
    assert "adapted" not in plain[0] and "miss" not in plain[2].columns
    ends, state = ["yhat-lo-90", "yhat-hi-90"], ["miss", "seen", "turn"]
    first = night(run, table.filter(pl.col("hour") <= last))
    assert first[0].endswith("; intervals of 90 % adapted by what came true, to levels of 90% to 90%")
    assert first[1].columns == plain[1].columns and {*state} <= {*first[2].columns}
    assert first[1].drop(ends).equals(plain[1].drop(ends))  # nothing has come true: as if fixed
    assert first[1].select(ends).to_numpy() == pytest.approx(plain[1].select(ends).to_numpy(), nan_ok=True)
    second, told = night(run, table), night(fixed, table)
    assert second[2]["turn"].unique().to_list() == [2] and (second[2]["miss"] < ALPHA).any()
    width = [(made[1]["yhat-hi-90"] - made[1]["yhat-lo-90"]).drop_nulls() for made in (second, told)]
    assert (width[0] != width[1]).any()
    kept = second[2].select("unique_id", *state).unique()  # the recorded input alone gives the same once more
    levels = version.facts.calibrated.calibration.levels.tolist()
    made, _ = forecast_frame(version, realised.numbers(run, open_source(run.data), version).rows, Asked(quantiles=levels))
    assert (
        adapted(made, kept, levels, version.model.bounds)
        .drop("model")
        .equals(second[2].select(made.drop("model", cs.starts_with("yhat-q")).columns + state))
    )


def test_nothing_but_the_schedule_s_step_reads_the_state() -> None:
    root = Path(__file__).parents[3]
    readers = {
        path.relative_to(root).as_posix()
        for folder in ("flows", "tasks", "models", "params")
        for path in (root / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module == "tasks.serve.adaptive"
    }
    assert readers == {"tasks/serve/realised.py"}
