"""A comparison made by hand for the tests of the report: two fits of `gru`, `theta` on some origins only, `last_value`."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tasks.compare.board import Board, Difference, ScoreRow
from tasks.compare.compare import Comparison
from tasks.evaluate import frames
from tasks.evaluate.forecasts import KEYS
from tasks.grid.frequency import Frequency
from tasks.train.kind import Kind

HORIZON, ORIGINS, EVERY = 4, 48, 3
Made = Callable[[bool], Comparison]
MODELS = ("gru", "gru-s1", "theta", "last_value")


@pytest.fixture
def frame() -> pl.DataFrame:
    """Two series of unlike size, an origin every three hours; theta forecasts every third, some actuals are missing."""
    rng = np.random.default_rng(7)
    rows = 2 * ORIGINS * HORIZON
    start = datetime(2024, 1, 1, tzinfo=UTC)
    origin = np.tile(np.repeat(np.arange(ORIGINS), HORIZON), 2)
    step = np.tile(np.arange(1, HORIZON + 1), 2 * ORIGINS)
    y = np.repeat([1.0, 50.0], rows // 2) * rng.normal(size=rows)
    frame = pl.DataFrame(
        {
            "unique_id": np.repeat(["small", "large"], rows // 2),
            "ds": [start + timedelta(hours=int(EVERY * o + s)) for o, s in zip(origin, step, strict=True)],
            "cutoff": [start + timedelta(hours=int(EVERY * o)) for o in origin],
            "step": step,
            "y": np.where(rng.random(rows) < 0.05, np.nan, y),
            **{name: y + rng.normal(size=rows) * step for name in MODELS},
        }
    )
    return frame.with_columns(theta=pl.when(pl.Series(origin % 3 == 0)).then("theta"))


@pytest.fixture
def made(frame: pl.DataFrame, tmp_path: Path) -> Made:
    """Gives the comparison; told whether `gru` beats theta, the best baseline, on validation."""
    sources = {name: tmp_path / f"{name}.parquet" for name in MODELS}
    for name, file in sources.items():
        frame.select("unique_id", "cutoff", "step", name).write_parquet(file)
    targets, ids = frame.select(*KEYS, "y").partition_by("unique_id", maintain_order=True), ["small", "large"]
    test = frames.write(tmp_path / "forecasts.parquet", targets, sources, HORIZON, Frequency("1h"), ids)
    return lambda won: _comparison(test, won)


def _comparison(test: frames.Forecasts, won: bool) -> Comparison:
    errors = {"gru": 1.0 if won else 3.0, "gru-s1": 1.2 if won else 3.2, "theta": 2.0, "last_value": 4.0}
    rows = [
        ScoreRow(name=name, kind=Kind.VARIANT if name.startswith("gru") else Kind.BASELINE, variant=name.partition("-")[0],
                 numbers={"val_score": value, "val_mae": value, "test_score": value})
        for name, value in errors.items()
    ]  # fmt: skip
    far = {
        "gru": Difference(-1.0, -1.4, -0.6, -3.0, 0.01, "origins", 40, 0.02, 2, 300, 0.25, 0.1, 0.4),
        "last_value": Difference(2.0, None, None, None, 0.3, "origins", 40, 0.3, 2, 300, -1.0, None, None),
    }
    return Comparison(
        rows=rows,
        board=Board.of([row for row in rows if row.name != "gru-s1"], "theta", "last_value"),
        test=test,
        validation=test,
        baseline="theta",
        naive="last_value",
        chosen_fit="gru" if won else "theta",
        calibrations={},
        to_best={},
        to_baseline=far,
        to_naive={},
        slices=pl.DataFrame(),
        shapes={},
        scales=[],
    )
