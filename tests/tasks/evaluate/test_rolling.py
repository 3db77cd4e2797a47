"""Borders that move on with the test origins, and the newest forecast of each origin, by hand."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from models.data.origins import origin_rows
from models.data.panel import Data, Panel, PanelFacts, Split
from models.data.window import FeatureWindow, WindowParams
from params.load import load_run
from params.schema import RunParams
from tasks.evaluate import frames
from tasks.evaluate.forecasts import KEYS
from tasks.evaluate.rolling import newest, refit_splits

ROWS = 100
WINDOWS = WindowParams(4, {"y": FeatureWindow(6)})
START = datetime(2024, 1, 1, tzinfo=UTC)


def a_run(every: int | None, frequency: str = "1h", stride: int = 3) -> RunParams:
    texts = [
        f"evaluation.refit={'null' if every is None else every}",
        f"evaluation.stride={stride}",
        f"data.frequency={frequency}",
    ]
    return load_run(Path("params/smoke.yaml"), texts)


def a_panel() -> Panel:
    flat = np.arange(2 * ROWS, dtype=np.float32)
    first, step = int(START.timestamp() * 1e6), 3600 * 10**6
    times = first + step * np.tile(np.arange(ROWS), 2)
    facts = PanelFacts(frequency="1h")
    return Panel(flat, flat[:, None], np.array([0, ROWS, 2 * ROWS]), times, ("a", "b"), ("y",), "", facts)


def border(row: int) -> int:
    return int((START + timedelta(hours=row)).timestamp() * 1e6)


@pytest.mark.parametrize("split", [Split("time", border(50), border(70)), Split("rows", 20, 30)], ids=["time", "rows"])
def test_the_refits_take_over_where_their_origins_begin(split: Split) -> None:
    """Targets from row 70 on: origins 69, 72 .. 93, and 4 steps of the last end with row 97; again after 4 of these 9."""
    panel = a_panel()
    data = Data(panel, WINDOWS, split)
    splits = refit_splits(a_run(4), data)
    expected = [[81, 84, 87, 90, 93], [93]]
    assert [
        origin_rows(panel, WINDOWS, one, "test", 3)[: len(rows)].tolist() for one, rows in zip(splits, expected, strict=True)
    ] == expected
    assert all(one.validation - split.validation in (0, 12 * 3600 * 10**6, 24 * 3600 * 10**6) for one in splits)
    trained = [one.target_rows(panel.times[:ROWS], "train")[1] for one in (split, *splits)]
    assert trained == [50, 62, 74]  # more is known each time
    assert refit_splits(a_run(None), data) == [] == refit_splits(a_run(9), data)


@pytest.mark.parametrize("block", [1, 4, 100])
def test_each_origin_has_the_forecast_of_the_newest_refit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    """Whatever the size of a block: of b the refits forecast nothing but the last origin, of c one forecasts nothing."""
    monkeypatch.setattr(frames, "ROWS", block)
    one = pl.DataFrame({"ds": [1, 2, 2, 3, 3, 4], "cutoff": [0, 0, 1, 1, 2, 2], "step": [1, 2] * 3})
    rows = pl.concat(one.select(pl.lit(name).alias("unique_id"), *one.columns) for name in "abc")
    files = []
    for number in range(3):
        files.append(tmp_path / f"{number}.parquet")
        there = pl.col("cutoff") >= pl.when((pl.col("unique_id") == "b") & (number > 0)).then(2).otherwise(number)
        lost = (pl.col("unique_id") == "c") & (number == 2)
        forecast = pl.when(~lost).then(float(number)).alias("m")
        rows.filter(there).with_columns(forecast, y=pl.lit(0.0)).write_parquet(files[-1])
    found = pl.concat(newest(files, "m"))
    assert found.select(KEYS).equals(rows.select(KEYS))
    assert found["m"].to_list() == [0, 0, 1, 1, 2, 2, *[0, 0, 0, 0, 2, 2], *[0, 0, 1, 1, 1, 1]]


def test_own_quantiles_come_from_the_refit_that_forecast_and_only_where_all_have_them(tmp_path: Path) -> None:
    rows = pl.DataFrame({"unique_id": "a", "ds": [1, 2, 2, 3], "cutoff": [0, 0, 1, 1], "step": [1, 2] * 2})
    files = [tmp_path / f"{number}.parquet" for number in range(2)]
    for number, file in enumerate(files):
        own = {"y": pl.lit(0.0), "m": pl.lit(float(number)), "m-q-0.1": pl.lit(-number - 1, pl.Float32)}
        own |= {"m-q-0.9": pl.lit(number + 1, pl.Float32)} if number == 0 else {}
        rows.filter(pl.col("cutoff") >= number).with_columns(**own).write_parquet(file)
    assert pl.concat(newest(files, "m")).columns == [*KEYS, "y", "m"]
    pl.read_parquet(files[1]).with_columns(pl.lit(2.0, pl.Float32).alias("m-q-0.9")).write_parquet(files[1])
    found = pl.concat(newest(files, "m"))
    assert found.columns == [*KEYS, "y", "m", "m-q-0.1", "m-q-0.9"] and found["m-q-0.1"].dtype == pl.Float32
    assert found["m"].to_list() == [0, 0, 1, 1] and found["m-q-0.1"].to_list() == [-1, -1, -2, -2]
    assert found["m-q-0.9"].to_list() == [1, 1, 2, 2]
