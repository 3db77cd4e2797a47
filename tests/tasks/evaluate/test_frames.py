"""The forecast frame on disk equals the frame that would be in memory, however many rows are written at a time."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from models.data.panel import Data, Panel, Split
from models.data.window import FeatureWindow, WindowParams
from models.serving import Calibration
from tasks.evaluate import frames
from tasks.evaluate.forecasts import KEYS
from tasks.evaluate.frames import Outcome
from tasks.grid.frequency import Frequency
from tasks.lags.panel import write_panel

HORIZON = 3


def a_frame(origins: int = 7) -> pl.DataFrame:
    rows = origins * HORIZON
    rng = np.random.default_rng(0)
    return pl.DataFrame(
        {
            "unique_id": pl.Series(np.repeat([f"s{i // 4}" for i in range(origins)], HORIZON), dtype=pl.String),
            "ds": np.arange(rows, dtype=np.int64),
            "cutoff": np.repeat(np.arange(origins), HORIZON),
            "step": np.tile(np.arange(1, HORIZON + 1), origins),
            "y": rng.normal(size=rows),
            "a": rng.normal(size=rows),
            "b": rng.normal(size=rows),
        }
    ).with_columns(b=pl.when(pl.col("step") == 2).then(None).otherwise("b"))


STEPS = np.array([1.0, np.nan, 2.0])  # to both sides at each step: the second has too few errors
CALIBRATION = Calibration(np.array([0.05, 0.95]), np.stack([-STEPS, STEPS], -1)[None], np.ones(3), np.zeros(3, np.int64))


def written(frame: pl.DataFrame, folder: Path, calibration: Calibration = CALIBRATION) -> frames.Forecasts:
    """`a` with quantiles of its own, if it has columns for them."""
    own = [name for name in frame.columns if name.startswith("a-q-")]
    sources = frames.write_columns(frame, ["a", *own], folder / "a.parquet") | frames.write_columns(
        frame, ["b"], folder / "b.parquet"
    )
    sources = {name: file for name, file in sources.items() if name in "ab"}
    given = (HORIZON, Frequency(1), ("s0", "s1"), {"a": calibration}, (90,))
    return frames.write(folder / "f.parquet", blocks_of(frame.select(*KEYS, "y")), sources, *given)


def blocks_of(frame: pl.DataFrame) -> list[pl.DataFrame]:
    """A block a series."""
    return frame.partition_by("unique_id", maintain_order=True) or [frame]


@pytest.mark.parametrize("rows", [2, 5, 1000])
def test_written_in_parts_and_read_by_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    monkeypatch.setattr(frames, "ROWS", rows)
    frame = a_frame()
    found = written(frame, tmp_path)
    assert pl.read_parquet(found.path).columns == ["unique_id", "ds", "cutoff", "y", "a", "b", "a-lo-90", "a-hi-90"]
    assert found.read("a", "b").select(frame.columns).equals(frame)
    parts = list(found.blocks("a", "b"))
    assert [part["unique_id"].n_unique() for part in parts] == [1, 1]
    assert pl.concat(parts).equals(found.read("a", "b"))
    half = frame["step"].replace_strict({1: 1.0, 2: None, 3: 2.0}, return_dtype=pl.Float64)
    ends = found.read("a-lo-90", "a-hi-90")
    assert ends["a-lo-90"].equals((frame["a"] - half).alias("a-lo-90")) and ends["a-hi-90"].equals(
        (frame["a"] + half).alias("a-hi-90")
    )
    assert not list(tmp_path.glob(".*partial"))


@pytest.mark.parametrize("rows", [2, 5, 1000])
def test_what_was_forecast_comes_in_parts_with_the_quantiles_of_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    frame = a_frame().with_columns(pl.lit(-0.25, pl.Float32).alias("a-q-0.05"), pl.lit(0.5, pl.Float32).alias("a-q-0.95"))
    monkeypatch.setattr(frames, "ROWS", rows)
    found = written(frame, tmp_path, CALIBRATION._replace(own=True))
    for model, levels in (("a", (0.05, 0.95)), ("a", (0.05, 0.5, 0.95)), ("b", (0.05, 0.95))):
        parts, whole = list(found.outcomes(model, levels)), Outcome.gathered(found.outcomes(model, levels), found.rows)
        assert [len(part.y) for part in parts] == [4 * HORIZON, 3 * HORIZON]
        for one in (whole, frames.Outcome(*map(np.concatenate, zip(*(part[:5] for part in parts), strict=True)))):
            np.testing.assert_array_equal(one.y, frame["y"])
            np.testing.assert_array_equal(one.point, frame[model].fill_null(np.nan))
            np.testing.assert_array_equal(one.step, frame["step"] - 1)
            np.testing.assert_array_equal(one.series, (frame["unique_id"] == "s1").cast(pl.Int64))
            np.testing.assert_array_equal(one.cutoff, frame["cutoff"])
        own = [part.own for part in (whole, *parts)]
        if (model, levels) != ("a", (0.05, 0.95)):  # not all of these levels, or none
            assert own == [None] * len(own)
            continue
        moved = frame["a"].to_numpy()[:, None] + np.array([-0.25, 0.5])
        for one in (own[0], np.concatenate(own[1:])):  # type: ignore[arg-type]
            np.testing.assert_allclose(one, moved)  # type: ignore[arg-type]
    ends = found.read("a-lo-90", "a-hi-90").filter(pl.col("step") == 3)
    at = frame.filter(pl.col("step") == 3)["a"]
    np.testing.assert_allclose(ends["a-lo-90"], at - 0.25 - 2)
    np.testing.assert_allclose(ends["a-hi-90"], at + 0.5 + 2)


def test_no_origin_gives_an_empty_frame(tmp_path: Path) -> None:
    found = written(a_frame(0), tmp_path)
    assert found.read("a", "a-lo-90").height == 0
    assert [len(part.y) for part in found.outcomes("a", (0.05, 0.95))] == [0]
    assert len(Outcome.gathered(found.outcomes("a", ()), found.rows).y) == 0


def test_forecasts_of_other_origins_are_refused(tmp_path: Path) -> None:
    frame = a_frame()
    sources = frames.write_columns(frame.reverse(), ["a"], tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"a\.parquet: its forecasts are of other origins"):
        frames.write(tmp_path / "f.parquet", blocks_of(frame.select(*KEYS, "y")), sources, HORIZON, Frequency(1), ())
    assert not (tmp_path / "f.parquet").exists()


def test_a_file_with_more_rows_is_refused(tmp_path: Path) -> None:
    frame = a_frame()
    sources = frames.write_columns(frame, ["a"], tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"a\.parquet: its forecasts are of other origins"):
        frames.write(tmp_path / "f.parquet", blocks_of(frame.select(*KEYS, "y"))[:1], sources, HORIZON, Frequency(1), ())
    assert not (tmp_path / "f.parquet").exists()


@pytest.mark.parametrize(("rows", "wanted"), [(1, 10), (14, 10), (3 * 14, 4), (1 << 17, 2)])
def test_a_block_is_whole_series_of_one_fold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int, wanted: int) -> None:
    """Five series of seven origins of two steps, in each of two folds."""
    monkeypatch.setattr(frames, "ROWS", rows)
    params = WindowParams(2, {"y": FeatureWindow(3)})
    table = pl.DataFrame({"unique_id": np.repeat([*"abcde"], 30), "ds": np.tile(np.arange(30), 5)}).with_columns(
        y=pl.int_range(pl.len()).cast(pl.Float64)
    )
    panel = Panel.open(write_panel(table.lazy(), params, Frequency(1), 0, tmp_path))
    data = Data(panel, params, Split("rows", 8, 8), (Split("rows", 8, 16),))
    found = frames.targets_of(data, "validation", 1)
    blocks, alone = list(found.blocks()), [frames.targets_of(fold, "validation", 1).frame() for fold in data.folds]
    assert len(blocks) == len(list(found.parts())) == wanted
    assert [part["_fold"].n_unique() for part in blocks] == [1] * wanted
    assert pl.concat(blocks).drop("_fold").equals(pl.concat(alone)) and found.rows == sum(part.height for part in blocks)
    assert sum(part["unique_id"].n_unique() for part in blocks) == 10
    assert all(part.height <= max(rows, 14) for part in blocks)
    sources = frames.write_columns(pl.concat(blocks).with_columns(a=pl.col("y")), ["a"], tmp_path / "a.parquet")
    written = frames.write(tmp_path / "f.parquet", found.blocks(), sources, 2, Frequency(1), panel.ids)
    for fold, part in enumerate(alone):
        assert pl.concat(written.blocks("a", fold=fold)).select(part.columns).equals(part)
    assert [part.fold.tolist() for part in written.outcomes("a", ())] == [part["_fold"].to_list() for part in blocks]
