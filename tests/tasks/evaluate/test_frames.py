"""The forecast frame on disk equals the frame that would be in memory, however many rows are written at a time."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tasks.evaluate import frames
from tasks.evaluate.forecasts import KEYS
from tasks.grid.frequency import Frequency

HORIZON = 3


def a_frame(origins: int = 7) -> pl.DataFrame:
    rows = origins * HORIZON
    rng = np.random.default_rng(0)
    return pl.DataFrame(
        {
            "unique_id": np.repeat([f"s{i // 4}" for i in range(origins)], HORIZON),
            "ds": np.arange(rows, dtype=np.int64),
            "cutoff": np.repeat(np.arange(origins), HORIZON),
            "step": np.tile(np.arange(1, HORIZON + 1), origins),
            "y": rng.normal(size=rows),
            "a": rng.normal(size=rows),
            "b": rng.normal(size=rows),
        }
    ).with_columns(b=pl.when(pl.col("step") == 2).then(None).otherwise("b"))


def written(frame: pl.DataFrame, folder: Path) -> frames.Forecasts:
    sources = frames.write_columns(frame, ["a"], folder / "a.parquet") | frames.write_columns(
        frame, ["b"], folder / "b.parquet"
    )
    return frames.write(folder / "f.parquet", frame.select(*KEYS, "y"), sources, HORIZON, Frequency(1), {"a": [1.0, None, 2.0]})


@pytest.mark.parametrize("rows", [2, 5, 1000])
def test_written_in_parts_and_read_by_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    monkeypatch.setattr(frames, "ROWS", rows)
    frame = a_frame()
    found = written(frame, tmp_path)
    assert pl.read_parquet(found.path).columns == ["unique_id", "ds", "cutoff", "y", "a", "b", "a-lo-90", "a-hi-90"]
    assert found.read("a", "b").select(frame.columns).equals(frame)
    half = frame["step"].replace_strict({1: 1.0, 2: None, 3: 2.0}, return_dtype=pl.Float64)
    ends = found.read("a-lo-90", "a-hi-90")
    assert ends["a-lo-90"].equals((frame["a"] - half).alias("a-lo-90")) and ends["a-hi-90"].equals(
        (frame["a"] + half).alias("a-hi-90")
    )
    assert not list(tmp_path.glob(".*partial"))


def test_no_origin_gives_an_empty_frame(tmp_path: Path) -> None:
    found = written(a_frame(0), tmp_path)
    assert found.read("a", "a-lo-90").height == 0


def test_forecasts_of_other_origins_are_refused(tmp_path: Path) -> None:
    frame = a_frame()
    sources = frames.write_columns(frame.reverse(), ["a"], tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"a\.parquet: its forecasts are of other origins"):
        frames.write(tmp_path / "f.parquet", frame.select(*KEYS, "y"), sources, HORIZON, Frequency(1))
    assert not (tmp_path / "f.parquet").exists()
