"""A panel in memory, what calibrations share of it, and rows of forecasts."""

from collections.abc import Callable

import numpy as np
import pytest

from models.data.panel import Panel, PanelFacts
from models.serving import Bounds
from tasks.calibrate.yardsticks import Yardsticks
from tasks.evaluate.frames import Outcome

LEVELS = np.array([0.025, 0.05, 0.1, 0.5, 0.9, 0.95, 0.975])


@pytest.fixture
def yardsticks_of() -> Callable[..., Yardsticks]:
    """`yardsticks_of(y [S, T], horizon=3)`: of series of the same length; other fields by name, `statics` for codes [S]."""

    def make(
        y: np.ndarray, horizon: int, statics: np.ndarray | None = None, column: str = "region", **fields: object
    ) -> Yardsticks:
        count, rows = y.shape
        static = np.empty((count, 0)) if statics is None else statics[:, None].astype(float)
        names = () if statics is None else (column,)
        facts = PanelFacts(static=names, categories=dict.fromkeys(names, ("a", "b")))
        offsets, ids = np.arange(count + 1) * rows, tuple(f"s{number}" for number in range(count))
        times = np.tile(np.arange(rows), count)
        panel = Panel(y.ravel(), y.ravel()[:, None], offsets, times, ids, ("y",), "", facts, static)
        stops = np.full(count, rows)
        kept = {"stride": 1, "season": 1, "transform": "none", "bounds": Bounds(), "levels": LEVELS, "before": [stops]} | fields
        return Yardsticks(panel=panel, horizon=horizon, now=stops, all_rows=stops, **kept)  # type: ignore[arg-type]

    return make


@pytest.fixture
def rows_of() -> Callable[..., Outcome]:
    """`rows_of(y [S, N, H], point, own)`: N origins of each of S series, one after another; `own` [S, N, H, Q], `fold` [N]."""

    def make(
        y: np.ndarray, point: np.ndarray | float = 0.0, own: np.ndarray | None = None, fold: np.ndarray | None = None
    ) -> Outcome:
        series, origin, step = (part.ravel() for part in np.indices(y.shape))
        points = np.broadcast_to(np.asarray(point, float), y.shape).ravel()
        flat = None if own is None else own.reshape(-1, own.shape[-1])
        return Outcome(y.ravel(), points, step, series, origin, flat, None if fold is None else fold[origin])

    return make
