"""Units of series against numbers worked out by hand and an independent regression; what fills a unit that is missing."""

import numpy as np
import pytest

from models.data.panel import Panel
from tasks.calibrate.units import completed, naive, spread, units_of

SEASON = 4


def panel_of(*series: np.ndarray) -> Panel:
    flat, sizes = np.concatenate(series), [len(one) for one in series]
    names = tuple(f"s{number}" for number in range(len(series)))
    offsets = np.concatenate(([0], np.cumsum(sizes)))
    return Panel(flat, flat[:, None], offsets, np.concatenate([np.arange(size) for size in sizes]), names, ("y",), "")


def ends_of(panel: Panel) -> np.ndarray:
    return np.diff(panel.offsets)


def by_hand(y: np.ndarray, season: int, step: int, recent: int) -> float:
    """The regression's recent error once more, a row and a lag at a time."""
    phase = -step % season
    lags = sorted({1, 2} | {phase + season * k for k in range(7)} - {0}) if season > 1 else [1, 2, 3]
    begin = min(lags[-1], (len(y) - step) // 2)
    rows, targets = [], []
    for t in range(begin, len(y) - step):
        if np.isfinite(y[t]) and np.isfinite(y[t + step]):
            rows.append([y[t - lag] - y[t] if lag <= t and np.isfinite(y[t - lag]) else 0.0 for lag in lags])
            targets.append(y[t + step] - y[t])
    past = np.column_stack([np.array(rows), np.full(len(rows), np.mean(np.abs(targets)))])
    weight = np.sqrt(0.1 * (past**2).sum() / past.shape[1])  # a ridge, as rows that ask every coefficient to be 0
    wide = np.vstack([past, weight * np.eye(past.shape[1])])
    found = np.linalg.lstsq(wide, np.append(targets, np.zeros(past.shape[1])), rcond=None)[0]
    return float(np.abs(np.array(targets) - past @ found)[-recent:].mean())


def test_the_seasonal_naive_error_by_hand() -> None:
    y = np.array([[1.0, 2, 3, 4, 2, 4, 6, np.nan, 2, 4, 6, 8, 2, 4, 6, 8]])
    assert naive(y, SEASON)[0] == (1 + 2 + 3 + 0 + 0 + 0 + 0 + 0 + 0 + 0) / 10
    assert np.isnan(naive(y[:, :11], SEASON)[0])  # six differences are observed: fewer than eight


@pytest.mark.parametrize(("season", "horizon"), [(1, 1), (1, 13), (4, 3), (4, 16), (24, 48)])
def test_the_spread_is_that_of_an_independent_regression(season: int, horizon: int) -> None:
    rng = np.random.default_rng(3)
    y = rng.normal(size=400).cumsum() + 5 * np.sin(np.arange(400) * 2 * np.pi / max(season, 2))
    y[rng.integers(0, 400, 20)] = np.nan
    steps = sorted({1, max(horizon // 4, 1), horizon})
    errors = [by_hand(y, season, step, max(4 * horizon, 50)) for step in steps]
    np.testing.assert_allclose(spread(y[None], season, horizon), [np.prod(errors) ** (1 / len(steps))], rtol=1e-9)


def test_a_unit_is_of_rows_before_its_stop_alone_and_padding_changes_nothing() -> None:
    rng = np.random.default_rng(4)
    long, short = rng.normal(size=300).cumsum(), rng.normal(size=120).cumsum()
    stops = np.array([250, 100])
    padded = panel_of(np.append(np.full(50, np.nan), long), np.append(np.full(50, np.nan), short))
    changed = panel_of(np.append(long[:250], np.full(50, 1e9)), np.append(short[:100], np.full(20, 1e9)))
    for unit in ("naive", "spread"):
        found = units_of(panel_of(long, short), stops, unit, "none", SEASON, 8)
        np.testing.assert_array_equal(units_of(changed, stops, unit, "none", SEASON, 8), found)
        np.testing.assert_allclose(units_of(padded, stops + 50, unit, "none", SEASON, 8), found, rtol=1e-12)
        assert found[2] == np.median(found[:2])


def test_a_change_of_units_changes_a_unit_by_the_same_factor_bit_for_bit_where_it_is_a_power_of_two() -> None:
    rng = np.random.default_rng(5)
    series = [rng.normal(size=size).cumsum() for size in (200, 90, 30, 12, 5)]
    for unit in ("naive", "spread"):
        found = units_of(panel_of(*series), np.array([200, 90, 30, 12, 5]), unit, "none", SEASON, 8)
        for factor in (2.0**-20, 2.0**30):
            other = units_of(
                panel_of(*(one * factor for one in series)), np.array([200, 90, 30, 12, 5]), unit, "none", SEASON, 8
            )
            np.testing.assert_array_equal(other, found * factor)


def test_a_unit_in_the_space_of_a_transform_follows_growth_and_not_the_level() -> None:
    rng = np.random.default_rng(6)
    walk = rng.normal(scale=0.02, size=400).cumsum()
    small, large = np.exp(walk + 8), np.exp(walk + 12)
    panel = panel_of(small, large)
    in_logs = units_of(panel, ends_of(panel), "spread", "log1p", 1, 8)
    as_it_is = units_of(panel, ends_of(panel), "spread", "none", 1, 8)
    assert in_logs[1] == pytest.approx(in_logs[0], rel=0.01)
    assert as_it_is[1] == pytest.approx(as_it_is[0] * np.exp(4), rel=1e-6)


def test_a_series_with_too_few_rows_has_what_its_changes_say_and_one_without_any_what_its_level_says() -> None:
    rng = np.random.default_rng(7)
    walk = 100 + rng.normal(size=300).cumsum()
    flat, short, empty = np.full(300, 200.0), np.array([10.0, 12.0, 10.0, 12.0, 10.0]), np.full(40, np.nan)
    panel = panel_of(walk, flat, short, empty)
    found = units_of(panel, ends_of(panel), "naive", "none", SEASON, 8)
    assert found[0] == pytest.approx(np.abs(walk[SEASON:] - walk[:-SEASON]).mean())
    assert found[2] == pytest.approx(found[0] * 2 / np.abs(np.diff(walk)).mean())  # its changes are of 2
    usual = np.median([found[0] / np.abs(walk).mean(), found[2] / 10.8])
    assert found[1] == pytest.approx(200 * usual)  # it never changed; its level is 200
    assert found[3] == found[4] == np.median(found[:3])


def test_without_any_known_unit_all_are_one() -> None:
    np.testing.assert_array_equal(completed(np.array([np.nan, 0.0]), np.array([0.0, np.nan]), last=True), [1.0, 1.0, 1.0])
    panel = panel_of(np.zeros(40), np.zeros(40))
    np.testing.assert_array_equal(units_of(panel, ends_of(panel), "spread", "none", SEASON, 8), np.ones(3))
    np.testing.assert_array_equal(units_of(panel, ends_of(panel), "none", "none", SEASON, 8), np.ones(3))


def test_a_series_shorter_than_a_season_or_a_horizon_has_a_unit() -> None:
    rng = np.random.default_rng(8)
    panel = panel_of(rng.normal(size=6), rng.normal(size=3), rng.normal(size=1))
    assert (units_of(panel, ends_of(panel), "spread", "none", 24, 48) > 0).all()
