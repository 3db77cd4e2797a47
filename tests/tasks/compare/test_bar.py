"""The best of all baselines, by hand: on common rows, in the measure of the run, without those that leave most series out."""

from dataclasses import replace
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from params.evaluation import Measure
from tasks.compare.bar import find_bar
from tasks.compare.measures import Scale
from tasks.evaluate.frames import Forecasts
from tasks.files import write_parquet
from tasks.grid.frequency import Frequency

SERIES = {"a": 1.0, "b": 1.0, "c": 1.0, "d": 100.0}


def frames_of(tmp_path: Path, errors: dict[str, dict[str, list[float | None]]]) -> Forecasts:
    """Actuals of 10, three origins of one step; errors by baseline and series (one number: the same for all)."""
    rows = []
    for name in SERIES:
        for origin in range(3):
            row = {"unique_id": name, "ds": origin + 1, "cutoff": origin, "y": 10.0}
            for baseline, by_series in errors.items():
                error = by_series.get(name, by_series["all"])[origin]
                row[baseline] = None if error is None else 10.0 + error
            rows.append(row)
    schema = {"unique_id": pl.String, "ds": pl.Int64, "cutoff": pl.Int64, "y": pl.Float64, **dict.fromkeys(errors, pl.Float64)}
    path = tmp_path / "validation.parquet"
    write_parquet(pl.DataFrame(rows, schema=schema), path)
    return Forecasts(path, 1, Frequency(1), {}, tuple(SERIES))


def by_fold(frame: pl.DataFrame, path: Path) -> None:
    """A row group a fold: the first two origins, and the third."""
    with pq.ParquetWriter(path, frame.to_arrow().schema) as writer:
        for there in (pl.col("cutoff") < 2, pl.col("cutoff") == 2):
            writer.write_table(frame.filter(there).to_arrow())


def a_scale(by: Measure = "mae") -> Scale:
    sizes = list(SERIES.values())
    series = {"unique_id": list(SERIES), "mae": sizes, "mse": [size**2 for size in sizes], "deviation": sizes}
    return Scale(by, 1, pl.DataFrame(series))


def test_baselines_are_compared_on_the_rows_that_all_of_them_forecast(tmp_path: Path) -> None:
    """Theta forecasts the last origin alone, which is hard: on that it is better than what is better on the average."""
    errors = {"last_value": {"all": [1.0, 1.0, 6.0]}, "drift": {"all": [2.0, 2.0, 9.0]}, "theta": {"all": [None, None, 5.0]}}
    bar = find_bar(frames_of(tmp_path, errors), list(errors), [a_scale()])
    assert (bar.name, bar.naive, bar.notes) == ("theta", "last_value", {})


def test_a_baseline_that_forecasts_less_than_half_of_the_series_is_no_bar(tmp_path: Path) -> None:
    missing: list[float | None] = [None] * 3
    half = {"all": [0.1] * 3, "a": missing, "b": missing}
    errors = {"last_value": {"all": [2.0] * 3}, "drift": {"all": [1.0] * 3}, "theta": half}
    assert find_bar(frames_of(tmp_path, errors), list(errors), [a_scale()]).name == "theta"
    errors["theta"] = half | {"c": missing}
    bar = find_bar(frames_of(tmp_path, errors), list(errors), [a_scale()])
    assert (bar.name, bar.naive) == ("drift", "drift")
    assert bar.notes == {"theta": "forecasts 1 of 4 series: too few to be the bar"}


@pytest.mark.parametrize(("by", "best"), [("mae", "drift"), ("mase", "last_value"), ("rmsse", "last_value"), ("owa", "naive2")])
def test_the_measure_of_the_run_decides(tmp_path: Path, by: Measure, best: str) -> None:
    """Last value is better in three series of size 1, drift in one of size 100; naive2 is best by half of an OWA."""
    errors = {
        "last_value": {"all": [1.0] * 3, "d": [9.0] * 3},
        "drift": {"all": [2.0] * 3, "d": [3.0] * 3},
        **({"naive2": {"all": [1.0] * 3, "d": [6.0] * 3}} if by == "owa" else {}),
    }
    bar = find_bar(frames_of(tmp_path, errors), list(errors), [a_scale(by)])
    assert bar.name == best
    assert bar.naive == ("drift" if by == "mae" else "last_value")


def test_without_a_common_row_each_counts_on_its_own(tmp_path: Path) -> None:
    errors = {"last_value": {"all": [2.0, None, None]}, "theta": {"all": [None, 1.0, None]}}
    assert find_bar(frames_of(tmp_path, errors), list(errors), [a_scale()]).name == "theta"


def test_a_baseline_without_a_forecast_is_none_and_there_must_be_a_naive_one(tmp_path: Path) -> None:
    nothing: dict[str, list[float | None]] = {"all": [None] * 3}
    errors = {"last_value": {"all": [2.0] * 3}, "theta": nothing}
    bar = find_bar(frames_of(tmp_path, errors), list(errors), [a_scale()])
    assert (bar.name, bar.notes) == ("last_value", {})
    with pytest.raises(ValueError, match="no naive forecast"):
        find_bar(frames_of(tmp_path, {"last_value": nothing}), ["last_value"], [a_scale()])


def test_the_bar_is_the_best_of_the_mean_over_folds_and_not_of_all_rows(tmp_path: Path) -> None:
    """Rows of each series: two of the first fold, one of the second.  Pooled, drift errs (2 + 2 + 9) / 3, last_value 5."""
    both = {"last_value": {"all": [5.0, 5.0, 5.0]}, "drift": {"all": [2.0, 2.0, 9.0]}}
    pooled = frames_of(tmp_path, both)
    assert find_bar(pooled, list(both), [a_scale()]).name == "drift"
    frame = pl.read_parquet(pooled.path)
    by_fold(frame, pooled.path)
    folds = replace(pooled, folds=(8, 4))
    assert find_bar(folds, list(both), [a_scale(), a_scale()]).name == "last_value"  # 5 against (2 + 9) / 2
    far = {**both, "drift": {"all": [2.0, 2.0, None]}}  # and on the rows that both forecast the second fold has none
    frames_of(tmp_path, far)
    by_fold(pl.read_parquet(pooled.path), pooled.path)
    assert find_bar(folds, list(both), [a_scale(), a_scale()]).name == "drift"
