"""tasks/evaluate/packed.py: 32 bits, at the edge of the rule and for what has no naive error."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest

from models.data.panel import Panel
from models.serving import Bounds
from tasks.evaluate import packed
from tasks.evaluate.packed import is_narrow
from tasks.grid.frequency import Frequency
from tasks.lags.panel import write_panel
from tests.tasks.conftest import START


@pytest.fixture
def panel_of(frame_of: Any, house: Any, tmp_path: Any) -> Any:
    """`panel_of({"a": [1.0, ...]})`: a panel of such series."""

    def make(series: dict[str, list[float | None]]) -> Panel:
        rows = frame_of(series).with_columns(x=pl.lit(0.0))
        return Panel.open(write_panel(rows, house.params, Frequency("1h"), 0, tmp_path))

    return make


def test_the_rule_at_its_edge(panel_of: Any) -> None:
    """Between 2^20 and 2^21 numbers of 32 bits lie 1/8 apart: rounding loses 1/16 at most, a thousandth of 62.5."""
    panel = panel_of({"a": [1.0, None, -1_200_000.3], "b": [1.0, 2.0, 3.1]})
    assert is_narrow(panel, {"a": 62.51, "b": 1.0})
    assert not is_narrow(panel, {"a": 62.5, "b": 1.0})
    assert not is_narrow(panel, {"a": 62.51, "b": 1e-7})  # every series counts
    lost = abs(float(np.float32(1_200_000.3)) - 1_200_000.3)
    assert 0 < lost <= 1 / 16


def test_a_series_without_a_naive_error_needs_values_that_are_exact(panel_of: Any) -> None:
    whole, other = panel_of({"a": [5.0, 5.0, None], "b": [0.5]}), panel_of({"a": [5.0], "b": [0.1, 0.1]})
    assert is_narrow(whole, {}) and is_narrow(whole, {"a": 0.0})
    assert not is_narrow(other, {"a": 0.0}) and is_narrow(other, {"b": 1.0})


def test_bounds_are_not_passed_by_rounding(panel_of: Any) -> None:
    panel = panel_of({"a": [1.0, 2.0]})
    assert is_narrow(panel, {"a": 1.0}, Bounds(0.0, 100.0)) and not is_narrow(panel, {"a": 1.0}, Bounds(0.0, 0.1))


def test_it_is_the_same_in_parts(panel_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "VALUES", 2)
    panel = panel_of({name: [1.0, 2.0, 1e6] for name in "abcde"})
    fine = dict.fromkeys("abcde", 100.0)
    assert is_narrow(panel, fine)
    assert not any(is_narrow(panel, fine | {name: 1.0}) for name in "abcde")


@pytest.mark.filterwarnings("ignore:Series.values returning an ndarray")  # polars, of a frame of pandas
@pytest.mark.parametrize("narrow", [True, False])
def test_a_block_is_read_back_by_anyone(narrow: bool, tmp_path: Path) -> None:
    """polars and pandas; keys and y bit for bit, forecasts in the digits that are kept, in less room than plain."""
    rng, rows = np.random.default_rng(0), 20_000
    times = pl.datetime_range(START, interval="1h", end=START + timedelta(hours=rows - 1), time_zone="UTC", eager=True)
    frame = pl.DataFrame({"unique_id": ["a", "b"] * (rows // 2), "ds": times, "cutoff": times, "y": rng.normal(0, 1, rows)})
    frame = frame.with_columns(gru=pl.Series(rng.normal(1_000, 20, rows)).scatter(3, None), naive=pl.lit(0.1))
    table = packed.table_of(frame, narrow)
    with packed.writer(tmp_path / "x.parquet", table.schema) as file:
        file.write_table(table)
    back = pl.read_parquet(tmp_path / "x.parquet")
    kind, kept = pl.Float32 if narrow else pl.Float64, ["unique_id", "ds", "cutoff", "y"]
    assert back.schema["gru"] == kind and back.equals(frame.with_columns(pl.col("gru", "naive").cast(kind)))
    assert pl.from_pandas(pd.read_parquet(tmp_path / "x.parquet")).select(kept).equals(frame.select(kept))
    column = pq.ParquetFile(tmp_path / "x.parquet").metadata.row_group(0).column(4)
    assert column.path_in_schema == "gru" and "BYTE_STREAM_SPLIT" in column.encodings
    assert column.total_compressed_size < 0.85 * rows * (4 if narrow else 8)
