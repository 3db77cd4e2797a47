"""Forecasts that repeat the last value, in disguise or not, are told from those that forecast."""

import numpy as np
import pytest

from models.data.panel import Panel
from tasks.compare.copycat import probe

HORIZON, GAP, SEASON = 8, 1, 24


def a_panel(kind: str, rows: int = 600) -> Panel:
    """Two series, one far above the other: waves of a day, or a random walk, or an AR(1) process."""
    rng = np.random.default_rng(4)
    shocks = rng.normal(size=(2, rows))
    if kind == "walk":
        y = shocks.cumsum(1)
    elif kind == "ar":
        y = np.zeros((2, rows))
        for t in range(1, rows):
            y[:, t] = 0.7 * y[:, t - 1] + shocks[:, t]
    else:
        y = 5 * np.sin(2 * np.pi * np.arange(rows) / SEASON) + 0.3 * shocks
    flat = (y + np.array([[0.0], [1000.0]])).astype(np.float32).ravel()
    return Panel(flat, flat[:, None], np.array([0, rows, 2 * rows]), np.arange(2 * rows), ("a", "b"), ("y",), "")


def grid(panel: Panel) -> tuple[np.ndarray, np.ndarray]:
    """Origins of both series and the actuals [origins, horizon] after each."""
    rows = len(panel.target) // 2
    origins = np.concatenate([np.arange(50, rows - HORIZON - GAP), rows + np.arange(50, rows - HORIZON - GAP)])
    return origins, panel.target[origins[:, None] + GAP + 1 + np.arange(HORIZON)].astype(float)


@pytest.mark.parametrize("kind", ["waves", "walk", "ar"])
def test_the_last_value_repeated_is_a_copy_also_with_noise(kind: str) -> None:
    panel = a_panel(kind)
    origins, actual = grid(panel)
    last = np.repeat(panel.target[origins].astype(float)[:, None], HORIZON, axis=1)
    noisy = last + np.random.default_rng(0).normal(scale=0.05, size=last.shape)
    for forecasts in (last, noisy):
        found = probe(panel, origins, forecasts, GAP)
        assert found.copies
        assert found.lag == pytest.approx(np.median(GAP + np.arange(1, HORIZON + 1)))
    in_time = probe(panel, origins, actual, GAP)
    assert in_time.lag == 0 and not in_time.copies


def test_the_best_forecast_of_a_decaying_process_is_no_copy() -> None:
    """It is a multiple of the last value, and so looks late; but it saves a lot of that one's error."""
    panel = a_panel("ar")
    origins, _ = grid(panel)
    level = np.where(origins < 600, 0.0, 1000.0)[:, None]
    powers = 0.7 ** (GAP + np.arange(1, HORIZON + 1))
    found = probe(panel, origins, level + (panel.target[origins][:, None] - level) * powers, GAP)
    assert not found.copies and found.lag is not None and found.lag > 1


def test_a_seasonal_forecast_is_no_copy_and_missing_values_do_not_matter() -> None:
    panel = a_panel("waves")
    origins, actual = grid(panel)
    before = panel.target[origins[:, None] + GAP + 1 + np.arange(HORIZON) - SEASON].astype(float)
    before[::7, 2] = np.nan
    panel.target[60:70] = np.nan
    found = probe(panel, origins, before, GAP)
    assert not found.copies and found.lag == 0
    nothing = probe(panel, origins, np.full_like(actual, np.nan), GAP)
    assert nothing.lag is None and not nothing.copies
    assert probe(panel, origins[:0], actual[:0], GAP).lag is None
