"""Series that are too short or end early: one line for one cause, and what it says would fit does fit."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from params.load import load_run
from params.schema import RunParams
from tasks.load.source import open_source
from tasks.validate.advice import what_fits
from tasks.validate.profile import Profile, make_profile
from tasks.validate.report import report_lines
from tasks.validate.suite import judge
from tasks.validate.verdict import Verdict
from tests.marks import CHECKS

pytestmark = CHECKS
START = datetime(2020, 1, 1, tzinfo=UTC)


def profile_of(run: RunParams) -> Profile:
    return make_profile(run, open_source(run.data))


def run_on(
    folder: Path, lengths: dict[str, int], ends: dict[str, int] | None = None, *settings: str, **columns: float
) -> RunParams:
    """Hourly series of so many rows; they end together, or so many hours before the newest row."""
    ends, longest = ends or {}, max(lengths.values())
    rows = [
        (name, START + timedelta(hours=longest - ends.get(name, 0) - count + i), float(i % 7), float(i))
        for name, count in lengths.items()
        for i in range(count)
    ]
    frame = pl.DataFrame(
        rows, {"id": pl.String, "time": pl.Datetime("us", "UTC"), "temp": pl.Float64, "dewp": pl.Float64}, orient="row"
    )
    frame.with_columns(pl.lit(value).alias(name) for name, value in columns.items()).write_parquet(folder / "x.parquet")
    base = [f"data.path={folder / 'x.parquet'}", "data.id=id", "data.time=time", "data.target=temp", "windows.calendar=[]"]
    windows = [
        "windows.features={y: {lookback: 3}, dewp: {lookback: 5, sampling_rate: 2}}",
        "windows.horizon=2",
        "windows.stride=1",
    ]
    return load_run("params/smoke.yaml", [*base, *windows, "split={validation: 6h, test: 6h}", *settings])


def verdict_on(run: RunParams) -> Verdict:
    return judge(profile_of(run), run)


def test_series_that_are_all_too_short_are_one_line_with_what_would_fit(tmp_path: Path) -> None:
    verdict = verdict_on(run_on(tmp_path, {"a": 17, "b": 22}))  # 10 of b's rows lie before the 12 of validation and test
    assert not verdict.passed and not verdict.dropped_series
    assert report_lines(verdict) == [
        "fail: history: no series is long enough: one training window needs 11 rows before validation begins (9 up to the "
        "cutoff, 2 after it), and the longest, b, has 10 (of 22): let no feature reach back over more than 8 rows (dewp has "
        "9), or shorten windows.horizon to 1, or let validation, test and embargo take at most 11 rows (now 12), or give "
        "longer history (found none, allowed at least 1); series a, b"
    ]


@pytest.mark.parametrize("count", [14, 15, 19, 21, 22])
@pytest.mark.parametrize("gap", [0, 1])
@pytest.mark.parametrize("split", ["split={validation: %dh, test: %dh}", "split={validation: %d, test: %d}"])
def test_each_change_that_is_named_fits_and_one_row_more_does_not(tmp_path: Path, count: int, gap: int, split: str) -> None:
    settings = [split % (6, 6), f"windows.gap={gap}"]

    def windows(*change: str) -> dict[str, int]:
        table = profile_of(run_on(tmp_path, {"b": count}, None, *settings, *change)).table
        return {name: table[f"windows:{name}"].item() for name in ("train", "validation", "test")}

    run = run_on(tmp_path, {"b": count}, None, *settings)
    said = what_fits(run, profile_of(run))
    assert windows()["train"] == 0 and said.endswith("give longer history")
    tried = {
        r"more than (\d+) rows": lambda n: f"windows.features={{y: {{lookback: {n}}}}}",
        r"horizon to (\d+)": lambda n: f"windows.horizon={n}",
        r"take at most (\d+) rows": lambda n: split % (n // 2, n - n // 2),
    }
    for words, change in tried.items():
        found = re.search(words, said)
        if found:
            assert all(windows(change(int(found[1]))).values()), words
            assert not windows(change(int(found[1]) + 1))["train"], words
        else:
            assert not all(windows(change(4 if "take" in words else 1)).values()), f"{words} is not named and would fit"


def test_a_shorter_split_is_not_advised_for_a_series_that_ends_early(tmp_path: Path) -> None:
    for early, advised in ((0, True), (4, False)):
        run = run_on(tmp_path, {"long": 20, "new": 6}, {"long": early}, "windows.features={y: {lookback: 12}}")
        assert ("take at most" in what_fits(run, profile_of(run))) is advised


def test_a_series_that_is_trained_on_and_not_scored_is_named(tmp_path: Path) -> None:
    lengths = {"a": 60, "ended": 40, "nearly": 50, "short": 8}
    verdict = verdict_on(run_on(tmp_path, lengths, {"ended": 13, "nearly": 5}))  # nearly: one row of test is left
    (line,) = [line for line in report_lines(verdict) if "scored" in line]
    assert verdict.passed and verdict.dropped_series == ["short"]
    assert line.startswith("warn: scored: trained on without a whole window") and line.endswith("series ended, nearly")
    assert not [f for f in verdict_on(run_on(tmp_path, {"a": 60, "b": 50}, {"b": 4})).findings if not f.passed]


@pytest.mark.parametrize("target", ["temp", "y"])
def test_a_column_y_beside_another_target_is_told(tmp_path: Path, target: str) -> None:
    run = run_on(tmp_path, {"a": 60}, None, f"data.target={target}", y=1.5)
    verdict = verdict_on(
        run.model_copy(update={"validation": run.validation.model_copy(update={"on_constant_target": "warn"})})
    )
    told = [line for line in report_lines(verdict) if "one y" in line]
    expected = "warn: one y: the table has a column y, and nothing reads it: y means the target (temp); rename it to use it"
    assert verdict.passed and told == ([expected] if target == "temp" else [])
