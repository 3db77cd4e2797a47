"""Each fault of a table and its verdict: which check, which severity, which series; Great Expectations runs for real."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from models.data.refused import REFUSED
from params.errors import UserError
from params.load import load_run
from params.schema import RunParams
from tasks.load.source import long_frame, open_source
from tasks.validate.profile import Profile, make_profile
from tasks.validate.report import failure_message, notes, report_lines
from tasks.validate.suite import judge, validate, validate_series
from tasks.validate.verdict import Finding, Verdict
from tests.marks import CHECKS

pytestmark = CHECKS

START = datetime(2020, 1, 1, tzinfo=UTC)
ROWS = 40


def profile_of(run: RunParams) -> Profile:
    return make_profile(run, open_source(run.data))


def frame_of(*names: str, rows: int = ROWS) -> pl.DataFrame:
    """Hourly series without a fault; `dewp` a feature."""
    return pl.DataFrame(
        [(n, START + timedelta(hours=i), float(i % 7), float(i)) for n in names or ("a", "b") for i in range(rows)],
        schema={"id": pl.String, "time": pl.Datetime("us", "UTC"), "temp": pl.Float64, "dewp": pl.Float64}, orient="row",
    )  # fmt: skip


def run_on(path: Path, *settings: str) -> RunParams:
    base = [f"data.path={path}", "data.id=id", "data.time=time", "data.target=temp", "split={validation: 6h, test: 6h}"]
    windows = "windows={horizon: 2, forward_fill: 0, max_missing_share: 1.0, features: {y: {lookback: 3}, dewp: {lookback: 2}}}"
    return load_run("params/smoke.yaml", [*base, windows, *settings])


def check(folder: Path, frame: pl.DataFrame, *settings: str, now: datetime | None = None) -> Verdict:
    frame.write_parquet(folder / "x.parquet")
    run = run_on(folder / "x.parquet", *settings)
    profile, now = profile_of(run), now or datetime.now(UTC)
    verdict = judge(profile, run, now=now)
    assert judge(profile, run, now=now, look=True) == replace(verdict, library=[]), "a look finds what the library finds"
    return verdict


def verdict_on(run: RunParams) -> Verdict:
    return validate(run, open_source(run.data))


def refused(verdict: Verdict) -> dict[str, Finding]:
    return {f.name: f for f in verdict.findings if not f.passed}


def put(frame: pl.DataFrame, row: int, **values: Any) -> pl.DataFrame:
    at = pl.int_range(pl.len()) == row
    return frame.with_columns(pl.when(at).then(pl.lit(v)).otherwise(pl.col(k)).alias(k) for k, v in values.items())


def test_log1p_needs_a_target_above_minus_one(tmp_path: Path) -> None:
    low = put(frame_of(), 5, temp=-1.0)
    refusal = check(tmp_path, low, "scaling.target=log1p")
    assert refused(refusal)["log1p"].series == ["a"] and REFUSED["log1p"] in failure_message(refusal)
    assert check(tmp_path, low, "scaling.target=asinh").passed
    assert check(tmp_path, put(frame_of(), 5, temp=-0.999), "scaling.target=log1p").passed


def test_a_table_without_a_fault_passes_in_any_order(tmp_path: Path) -> None:
    for frame in (frame_of(), frame_of().sample(fraction=1, shuffle=True, seed=1)):
        verdict = check(tmp_path, frame)
        assert verdict.passed and not refused(verdict) and not report_lines(verdict)
        assert verdict.facts["series"] == 2 and verdict.facts["rows"] == 2 * ROWS


FAULTS: dict[str, tuple[Callable[[pl.DataFrame], pl.DataFrame], str, str]] = {
    "a repeated key": (lambda f: pl.concat([f, f.tail(1)]), "unique keys", "keep one row per series and time"),
    "a row off the grid": (
        lambda f: put(f, ROWS + 9, time=START + timedelta(hours=9, minutes=1)), "frequency", "off the grid of 1h",
    ),
    "a gap": (lambda f: f.filter(pl.int_range(pl.len()) != ROWS + 9), "gaps", "fill the gaps"),
    "an infinite target": (lambda f: put(f, ROWS + 3, temp=float("inf")), "finite: y", "infinite values"),
    "a target beyond all": (lambda f: put(f, ROWS + 3, temp=-2e30), "size: y", "the target (temp) holds values beyond 1e30"),
    "a feature beyond all": (lambda f: put(f, ROWS + 3, dewp=1e31), "size: dewp", REFUSED["huge"]),
    "an infinite feature": (lambda f: put(f, ROWS + 3, dewp=float("-inf")), "finite: dewp", "dewp holds infinite"),
    "a constant target": (
        lambda f: f.with_columns(temp=pl.when(pl.col("id") == "b").then(1.0).otherwise("temp")),
        "target varies", "never changes",
    ),
    "a target never observed": (
        lambda f: f.with_columns(temp=pl.when(pl.col("id") == "b").then(None).otherwise("temp")), "target observed", "no value",
    ),
}  # fmt: skip


def test_a_repeated_key_may_be_kept_once_and_is_then_a_warning(tmp_path: Path) -> None:
    frame = frame_of()
    twice = pl.concat([frame, frame.tail(1).with_columns(temp=pl.lit(99.0))])
    verdict = check(tmp_path, twice, "validation.on_duplicates=keep_first")
    assert verdict.passed and refused(verdict)["unique keys"].severity == "warn"
    assert any("the first of them is kept" in line for line in report_lines(verdict))
    run = run_on(tmp_path / "x.parquet", "validation.on_duplicates=keep_first")
    rows = long_frame(run, open_source(run.data)).collect()
    assert rows.height == frame.height and rows["y"].max() == frame["temp"].max()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_one_series_fails_and_names_it(tmp_path: Path, fault: str) -> None:
    spoil, name, words = FAULTS[fault]
    verdict = check(tmp_path, spoil(frame_of()))
    finding = refused(verdict)[name]
    assert not verdict.passed
    assert (finding.severity, finding.series) == ("fail", ["b"])
    assert words in failure_message(verdict) and "series b" in failure_message(verdict)
    assert [f for f in refused(verdict).values() if f.severity == "fail"] == [finding]


def test_gaps_of_exactly_the_allowed_share_pass(tmp_path: Path) -> None:
    frame = frame_of("a").filter(~pl.int_range(pl.len()).is_in([5, 6]))  # 2 of 40 steps
    assert check(tmp_path, frame, "validation.max_gap_share=0.05").passed
    assert "gaps" in refused(check(tmp_path, frame, "validation.max_gap_share=0.049"))


def test_text_in_a_numeric_column_is_shown_with_its_series_and_never_dropped_as_empty(tmp_path: Path) -> None:
    frame = frame_of().with_columns(dewp=pl.when(pl.col("id") == "b").then(pl.lit("wet")).otherwise(pl.lit("1")))
    verdict = check(tmp_path, frame)
    assert not verdict.passed and not verdict.dropped_features
    assert list(refused(verdict)) == ["numbers: dewp"]
    assert "dewp holds text where numbers are needed, such as 'wet'" in failure_message(
        verdict
    ) and "series b" in failure_message(verdict)


@pytest.mark.parametrize(("severity", "passed"), [("drop", True), ("warn", True), ("fail", False)])
def test_a_feature_with_too_many_nulls(tmp_path: Path, severity: str, passed: bool) -> None:
    nulls = pl.when(pl.int_range(pl.len()) % 2 == 0).then(None)
    frame = frame_of().with_columns(dewp=nulls.otherwise(float("nan")))
    verdict = check(tmp_path, frame, f"validation.on_null_feature={severity}")
    assert verdict.passed is passed
    assert refused(verdict)["nulls: dewp"].worst == 1.0
    assert verdict.dropped_features == (["dewp"] if severity == "drop" else [])
    assert ("left out: feature dewp" in report_lines(verdict)) is (severity == "drop")


def test_what_a_dropped_feature_fails_besides_does_not_count(tmp_path: Path) -> None:
    frame = put(frame_of().with_columns(dewp=pl.lit(None, pl.Float64)), 3, dewp=float("inf"))
    verdict = check(tmp_path, frame)
    assert verdict.passed and list(refused(verdict)) == ["nulls: dewp"]


def test_dropping_every_feature_is_a_failure(tmp_path: Path) -> None:
    frame = frame_of().with_columns(dewp=pl.lit(None, pl.Float64))
    verdict = check(tmp_path, frame, "windows.features={dewp: {lookback: 2}}")
    assert not verdict.passed and not verdict.dropped_features
    assert refused(verdict)["nulls: dewp"].severity == "fail"


def test_a_constant_target_may_be_a_warning(tmp_path: Path) -> None:
    verdict = check(tmp_path, frame_of().with_columns(temp=pl.lit(1.0)), "validation.on_constant_target=warn")
    assert verdict.passed and refused(verdict)["target varies"].severity == "warn"


def test_a_short_series_is_left_out_or_fails(tmp_path: Path) -> None:
    # a window spans 3 rows of past and 2 of future: 5 rows before the 12 of validation and test
    late = START + timedelta(hours=ROWS - 16)
    short = frame_of("short", rows=16).with_columns(pl.col("time") + (late - START))
    frame = pl.concat([frame_of(), short])
    verdict = check(tmp_path, frame)
    assert verdict.passed and verdict.dropped_series == ["short"]
    assert any("5 rows before validation begins" in line and "series short" in line for line in report_lines(verdict))
    assert "left out: series short" in report_lines(verdict)
    verdict = check(tmp_path, frame, "validation.on_short_series=fail")
    assert not verdict.passed and refused(verdict)["history"].series == ["short"]
    one_more = pl.concat([frame_of(), short, short.head(1).with_columns(pl.col("time") - timedelta(hours=1))])
    assert not refused(check(tmp_path, one_more))


def test_no_series_long_enough_fails(tmp_path: Path) -> None:
    verdict = check(tmp_path, frame_of(rows=14))
    assert not verdict.passed and not verdict.dropped_series
    assert refused(verdict)["history"].severity == "fail"


def test_the_windows_of_a_series_that_is_left_out_do_not_count(tmp_path: Path) -> None:
    ended = frame_of("ended", rows=20)
    late = frame_of("late", rows=14).with_columns(pl.col("time") + timedelta(hours=30))
    verdict = check(tmp_path, pl.concat([ended, late]))
    assert not verdict.passed and "test windows" in refused(verdict)


@pytest.mark.parametrize(("split", "first", "stop"), [("train", 0, 28), ("validation", 28, 34)])
@pytest.mark.parametrize("settings", ["split={validation: 6h, test: 6h}", "split={validation: 6, test: 6}"])
def test_a_split_without_one_observed_target_fails(tmp_path: Path, split: str, first: int, stop: int, settings: str) -> None:
    row = pl.int_range(pl.len()).over("id")
    inside = (row >= first) & (row < stop)
    empty = frame_of().with_columns(temp=pl.when(~inside).then("temp"))
    verdict = check(tmp_path, empty, settings)
    assert [f.name for f in refused(verdict).values() if f.severity == "fail"] == [f"{split} observed"]
    assert f"no target is observed in the {split} range: is the table padded with empty rows?" in failure_message(verdict)
    for place in (first, stop - 1):  # one target of one series will do
        one = empty.with_columns(temp=pl.when((row == place) & (pl.col("id") == "b")).then(3.5).otherwise("temp"))
        assert check(tmp_path, one, settings).passed


def failures(verdict: Verdict) -> list[str]:
    return [f.name for f in refused(verdict).values() if f.severity == "fail"]


@pytest.mark.parametrize("split", ["{validation: 6h, test: 6h, folds: %d}", "{validation: 6, test: 6, folds: %d}"])
def test_every_fold_needs_a_training_before_it_and_it_is_said_how_many_there_are(tmp_path: Path, split: str) -> None:
    """Of 40 rows 6 are the test's; a window takes 3 + 2, so that 5 ranges of 6 leave 4 rows: one too few."""
    assert not failures(check(tmp_path, frame_of(), "split=" + split % 4))
    verdict = check(tmp_path, frame_of(), "split=" + split % 5)
    assert failures(verdict) == ["folds"]
    assert "before the first of 5 validation ranges: lower split.folds to 4" in failure_message(verdict)


def test_a_fold_without_one_observed_target_fails_by_its_number(tmp_path: Path) -> None:
    row = pl.int_range(pl.len()).over("id")
    gone = frame_of().with_columns(temp=pl.when((row < 22) | (row >= 28)).then("temp"))
    settings = ("split={validation: 6h, test: 6h, folds: 3}", "validation.max_null_share=0.5")
    assert failures(check(tmp_path, gone, *settings)) == ["validation range 2 of 3: observed"]
    late = frame_of().with_columns(temp=pl.when(row >= 17).then("temp"))
    assert failures(check(tmp_path, late, *settings)) == ["validation range 1 of 3: history"]


def test_a_series_that_begins_after_a_fold_is_told_of_and_kept(tmp_path: Path) -> None:
    late = frame_of("late", rows=20).with_columns(pl.col("time") + timedelta(hours=ROWS - 20))
    verdict = check(tmp_path, pl.concat([frame_of(), late]), "split={validation: 6h, test: 6h, folds: 3}")
    assert verdict.passed and not verdict.dropped_series
    told = {name: finding.series for name, finding in refused(verdict).items()}
    assert told == {"validation range 1 of 3: series": ["late"], "validation range 2 of 3: series": ["late"]}


def test_rows_after_the_last_target_are_to_be_forecast_and_count_for_nothing(tmp_path: Path) -> None:
    """Twelve empty rows at the end of both series, three at the end of one more, and a week of what is known ahead."""
    padding = frame_of(rows=12).with_columns(pl.col("time") + timedelta(hours=ROWS), temp=pl.lit(None, pl.Float64))
    padded = pl.concat([frame_of(), padding.with_columns(dewp=pl.lit(None, pl.Float64))])
    plain, verdict = check(tmp_path, frame_of()), check(tmp_path, padded)
    assert verdict.passed and [f.worst for f in verdict.findings] == [f.worst for f in plain.findings]
    assert report_lines(verdict) == ["24 rows after the last observed target, of 2 series: these are the ones to forecast"]
    assert {**verdict.facts, "to_forecast": (0, 0)} == plain.facts
    outage = frame_of().with_columns(
        temp=pl.when((pl.col("id") == "a") & (pl.int_range(pl.len()).over("id") >= ROWS - 1)).then(None).otherwise("temp")
    )
    assert report_lines(check(tmp_path, outage)) == [
        "1 row after the last observed target, of 1 series: this is the one to forecast"
    ]


def test_what_a_dropped_series_fails_besides_does_not_count(tmp_path: Path) -> None:
    short = frame_of("short", rows=3).with_columns(temp=pl.lit(float("inf")))
    verdict = check(tmp_path, pl.concat([frame_of(), short]))
    assert verdict.passed and verdict.dropped_series == ["short"]


def test_a_split_that_does_not_fit_says_so(tmp_path: Path) -> None:
    verdict = check(tmp_path, frame_of(), "split={validation: 20d, test: 20d}")
    assert (
        not verdict.passed
        and "split: validation would begin" in failure_message(verdict)
        and "shorten" in failure_message(verdict)
    )


def test_ranges_hold_for_the_target_for_features_and_for_any_other_column(tmp_path: Path) -> None:
    frame = put(frame_of(), ROWS + 1, dewp=99.0).with_columns(wind=pl.lit(1.0))
    assert check(tmp_path, frame, "validation.ranges={y: [0, 6], dewp: [0, 99], wind: [1, 1]}").passed
    verdict = check(tmp_path, frame, "validation.ranges={y: [1, 6], dewp: [0, 50], wind: [0, 0.5]}")
    assert set(refused(verdict)) == {"range: y, lowest", "range: dewp, highest", "range: wind, highest"}
    assert refused(verdict)["range: dewp, highest"].series == ["b"]
    assert refused(verdict)["range: dewp, highest"].worst == 99
    text = check(tmp_path, frame.with_columns(wind=pl.lit("x")), "validation.ranges={wind: [0, 1]}")
    assert "wind holds text where numbers are needed, such as 'x'" in failure_message(text)


def test_missing_columns_come_with_the_nearest(tmp_path: Path) -> None:
    features = "windows.features={y: {lookback: 3}, dewpp: {lookback: 2}}"
    verdict = check(tmp_path, frame_of(), features, "validation.ranges={hum: [0, 1]}")
    assert not verdict.passed
    assert "no column 'dewpp'; did you mean 'dewp'?, 'hum'" in failure_message(verdict)
    assert "columns found: id, time, temp, dewp" in failure_message(verdict)


def test_covariates_that_are_known_ahead_or_constant_are_judged_too(tmp_path: Path) -> None:
    windows = "windows={horizon: 2, forward_fill: 0, max_missing_share: 1.0, features: {y: {lookback: 3}}, future: [dewp], %s}"
    frame = frame_of().with_columns(height=pl.lit("high"), kind=pl.lit("lake"))
    verdict = check(tmp_path, frame, windows % "static: {height: numeric, kind: categorical, unique_id: categorical}")
    assert [f.name for f in refused(verdict).values()] == ["numbers: height"]
    verdict = check(tmp_path, frame.with_columns(dewp=pl.lit(float("inf"))), windows % "static: {kinds: categorical}")
    assert set(refused(verdict)) == {"columns", "finite: dewp"} and "'kinds'; did you mean 'kind'?" in failure_message(verdict)


NEWEST = START + timedelta(hours=ROWS - 1)


def test_the_newest_row_may_be_as_old_as_params_say(tmp_path: Path) -> None:
    for limit in ("2d", "48"):
        settings = f"validation.fresh_within={limit}"
        assert check(tmp_path, frame_of(), settings, now=NEWEST + timedelta(days=2)).passed
        verdict = check(tmp_path, frame_of(), settings, now=NEWEST + timedelta(days=2, seconds=1))
        assert not verdict.passed and "newest row is of 2020-01-02 15:00 UTC, older than" in failure_message(verdict)
    assert check(tmp_path, frame_of(), now=NEWEST + timedelta(days=9999)).passed


def test_a_row_from_the_future_is_a_warning(tmp_path: Path) -> None:
    verdict = check(tmp_path, frame_of(), now=NEWEST - timedelta(seconds=1))
    assert verdict.passed and refused(verdict)["not from the future"].severity == "warn"
    assert not refused(check(tmp_path, frame_of(), now=NEWEST))


def test_integer_time_steps_are_judged_without_a_clock(tmp_path: Path) -> None:
    frame = frame_of().with_columns(time=pl.int_range(pl.len()).over("id") * 5)
    settings = ("data.frequency=5", "split={validation: 6, test: 6}")
    verdict = check(tmp_path, frame, *settings)
    assert verdict.passed and "195" in verdict.facts["last"]
    assert "frequency" in refused(check(tmp_path, put(frame, 7, time=36), *settings))


def test_month_ends_pass(tmp_path: Path) -> None:
    ends = pl.date_range(pl.date(2019, 2, 28), pl.date(2022, 5, 31), "1mo", eager=False).dt.month_end()
    days = pl.select(ends).to_series()
    frame = pl.DataFrame({"id": "a", "time": days, "temp": range(len(days)), "dewp": 1.0})
    assert check(tmp_path, frame, "data.frequency=1mo", "split={validation: 6mo, test: 6mo}").passed


def test_one_series_without_an_id(tmp_path: Path) -> None:
    assert check(tmp_path, frame_of("a").drop("id"), "data.id=null").passed


def test_types_that_are_not_float_pass(tmp_path: Path) -> None:
    frame = frame_of().with_columns(
        id=pl.col("id").cast(pl.Categorical), temp=pl.col("temp").cast(pl.Decimal(10, 2)), dewp=pl.col("dewp") > 3,
        time=pl.col("time").dt.cast_time_unit("ns").dt.replace_time_zone(None),
    )  # fmt: skip
    assert check(tmp_path, frame).passed


def test_very_many_failing_series_are_counted_and_ten_named(tmp_path: Path) -> None:
    names = [f"s{i:03d}" for i in range(300)]
    frame = frame_of(*names, rows=20).with_columns(temp=pl.lit(1.0))
    verdict = check(tmp_path, frame)
    assert len(refused(verdict)["target varies"].series) == 300
    assert "s009 and 290 more" in failure_message(verdict) and "s010" not in failure_message(verdict)


def test_validate_refuses_what_cannot_be_read_before_it_judges(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_text("id,time,temp,dewp\na,yesterday,1,1\n")
    with pytest.raises(UserError, match="'yesterday' is not a time"):
        verdict_on(run_on(file))
    file.write_text("id,time,temp,dewp\n")
    with pytest.raises(UserError, match="a header and no rows"):
        verdict_on(run_on(file))


def test_a_folder_of_files_is_one_table(tmp_path: Path) -> None:
    for name in ("a", "b"):
        frame_of(name).write_csv(tmp_path / f"{name}.csv", datetime_format="%Y-%m-%dT%H:%M:%SZ")
    for path in (tmp_path, tmp_path / "*.csv"):
        verdict = verdict_on(run_on(path))
        assert verdict.passed and verdict.facts["series"] == 2


def test_the_step_of_the_flow_writes_strict_json_and_a_page_and_returns_the_verdict(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    frame = pl.concat([frame_of(), frame_of(evil).with_columns(temp=pl.lit(None, pl.Float64))])
    frame.write_parquet(tmp_path / "x.parquet")
    run = run_on(tmp_path / "x.parquet", "validation.data_docs=true")
    found = validate_series.fn(run, open_source(run.data), tmp_path)
    assert not found.passed and evil in failure_message(found)
    failing = [line for line in report_lines(found) if line not in notes(found)]
    assert failure_message(found).split("\n  ")[1:] == failing

    def no_constants(text: str) -> float:
        raise AssertionError(f"{text} is no JSON")

    checks = json.loads((tmp_path / "checks.json").read_text(), parse_constant=no_constants)
    assert checks == json.loads(json.dumps(asdict(found))) and len(checks["library"]) == 2
    assert "<script" not in (tmp_path / "checks.html").read_text()
    pages = list((tmp_path / "data_docs").rglob("*.html"))
    assert pages and not any(evil in page.read_text() for page in pages)


def test_the_shipped_data_passes_and_loses_the_feature_that_is_mostly_null() -> None:
    verdict = verdict_on(load_run("params/nyc_weather.yaml"))
    assert verdict.passed and verdict.dropped_features == ["wind_gust"] and not verdict.dropped_series
    assert verdict.facts["rows"] == 26115
    verdict = verdict_on(load_run("params/nyc_departures.yaml"))
    assert verdict.passed and not verdict.dropped_features and verdict.facts["rows"] == 28470
