"""The newest rows without a target: which they are, and that history ends before them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from params.load import load_run
from params.schema import RunParams
from tasks.load.source import history_frame, long_frame, open_source, scan_series
from tasks.load.tail import tail_of

START = datetime(2020, 1, 1, tzinfo=UTC)
SERIES = {  # what each holds, and how many rows its tail has
    "whole": ([1.0, 2.0, 3.0, 4.0], 0),
    "hole": ([1.0, None, None, 4.0], 0),
    "outage": ([1.0, 2.0, None, None], 2),
    "nan": ([1.0, 2.0, 3.0, float("nan")], 1),
    "one": ([None, 2.0, None, None], 2),
    "none": ([None, None, None, None], 0),
}


def run_on(path: Path) -> RunParams:
    base = [f"data.path={path}", "data.id=until", "data.time=time", "data.target=y"]
    return load_run("params/smoke.yaml", [*base, "windows.features={y: {lookback: 2}}", "windows.future=[last]"])


@pytest.mark.parametrize("name", ["x.csv", "x.parquet"])
@pytest.mark.parametrize("shuffled", [False, True])
def test_history_ends_with_the_last_observed_target_of_each_series(tmp_path: Path, name: str, shuffled: bool) -> None:
    """Columns of the user's may be called as ours are; what is known ahead stays in the rows to forecast."""
    rows = [(series, START + timedelta(hours=i), y, float(i)) for series, (ys, _) in SERIES.items() for i, y in enumerate(ys)]
    frame = pl.DataFrame(rows, schema=["until", "time", "y", "last"], orient="row")
    frame = frame.sample(fraction=1, shuffle=True, seed=1) if shuffled else frame
    (frame.write_csv if name == "x.csv" else frame.write_parquet)(tmp_path / name)
    run = run_on(tmp_path / name)
    source = open_source(run.data)
    whole, tail = long_frame(run, source), tail_of(long_frame(run, source), "x")
    assert (tail.rows, tail.series) == (5, 3) and whole.collect().height == len(rows)
    history = history_frame(run, source).collect()
    assert history.columns == whole.collect_schema().names()
    counts = dict(history.group_by("unique_id").len().iter_rows())
    assert counts == {series: 4 - rows for series, (_, rows) in SERIES.items()}
    assert history.filter(unique_id="one")["ds"].max() == START + timedelta(hours=1)


def test_a_text_that_is_no_number_is_a_target_for_the_checks_to_refuse(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("until,time,y,last\na,2020-01-01,1,0\na,2020-01-02,soon,0\na,2020-01-03,NA,0\n")
    source = open_source(run_on(tmp_path / "x.csv").data)
    assert tail_of(scan_series(source, []), "x").rows == 1
