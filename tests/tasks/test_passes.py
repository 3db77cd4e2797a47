"""tasks/load/source.py: how often a comparison reads its table, counted in the readers themselves."""

import io
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from models.data.panel import Data
from params.load import load_run
from tasks.evaluate.canary import try_canary
from tasks.grid.split import split_of
from tasks.lags.panel import generate_lags
from tasks.load.source import load_series, long_frame
from tasks.validate.suite import validate_series
from tests.marks import CHECKS

pytestmark = CHECKS
SERIES, ROWS = 10, 3000


class Counted(io.FileIO):
    """A file that says how many of its bytes Python reads."""

    read_bytes: Counter[Path]

    def readinto(self, buffer: Any) -> int:
        count = super().readinto(buffer) or 0
        self.read_bytes[Path(str(self.name))] += count
        return count


@pytest.fixture
def passes_over(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], float]:
    """`passes_over(file)`: the rows that polars and the bytes that Python have read of it so far, in whole files."""
    rows: Counter[Path] = Counter()
    Counted.read_bytes = Counter()
    scan, whole = pl.scan_csv, Path.open

    def scan_counted(file: Path, **options: Any) -> pl.LazyFrame:
        def count(batch: pl.DataFrame) -> pl.DataFrame:
            rows[file] += batch.height
            return batch

        return scan(file, **options).map_batches(
            count, predicate_pushdown=True, projection_pushdown=True, slice_pushdown=True, streamable=True
        )

    def open_counted(file: Path, mode: str = "r", buffering: int = -1, **options: Any) -> Any:
        if "b" not in mode or file.suffix != ".csv":
            assert file.suffix != ".csv", "a table is opened as text: count that too"
            return whole(file, mode, buffering, **options)
        raw = Counted(str(file))
        return raw if buffering == 0 else io.BufferedReader(raw)

    monkeypatch.setattr(pl, "scan_csv", scan_counted)
    monkeypatch.setattr(Path, "open", open_counted)
    return lambda file: rows[file] / (SERIES * ROWS) + Counted.read_bytes[file] / file.stat().st_size


@pytest.mark.parametrize(("order", "quotes", "times"), [("by series", "necessary", 7), ("shuffled", "non_numeric", 8)])
def test_a_comparison_reads_a_csv_file_seven_times_and_once_more_where_rows_are_out_of_order(
    tmp_path: Path, passes_over: Callable[[Path], float], order: str, quotes: Any, times: int
) -> None:
    rng = np.random.default_rng(0)
    ds = pl.datetime_range(datetime(2020, 1, 1), datetime(2021, 1, 1), "1h", eager=True, time_zone="UTC").head(ROWS)
    frame = pl.concat([pl.DataFrame({"id": f"s{n:02}", "time": ds, "temp": rng.normal(size=ROWS)}) for n in range(SERIES)])
    frame = frame.sample(fraction=1, shuffle=True, seed=1) if order == "shuffled" else frame
    frame.write_csv(tmp_path / "x.csv", quote_style=quotes)
    table = [f"data.path={tmp_path / 'x.csv'}", "data.id=id", "data.time=time", "data.target=temp"]
    run = load_run("params/smoke.yaml", [*table, "windows.features={y: {lookback: 4}}"])
    source = load_series.fn(run)
    verdict = validate_series.fn(run, source, tmp_path)
    assert verdict.passed
    series = long_frame(run, source, verdict.dropped_features, verdict.dropped_series)
    windows = run.windows.window_params()
    panel = generate_lags.fn(series, windows, run, source.frequency, tmp_path / "panels")
    try_canary.fn(series, run, Data(panel, windows, split_of(run, panel)), [])
    assert int(passes_over(tmp_path / "x.csv")) == times  # and its first 1,000 rows now and then
