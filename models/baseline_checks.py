"""The contract of a baseline from outside as checks: what its function must return, for histories of every kind."""

from collections.abc import Callable
from typing import Any

import numpy as np

from models.checks import Broken, Check

SEASON, STEPS = 4, 6  # of a quick check
Function = Callable[..., Any]  # (history, steps, season) -> numbers


def _wave(rows: int = 60) -> np.ndarray:
    """A season, a trend and noise."""
    rng = np.random.default_rng(0)
    return np.asarray(50 + np.arange(rows) / 10 + 5 * np.sin(np.arange(rows) * np.pi / 2) + rng.normal(0, 1, rows))


def _forecast(function: Function, history: np.ndarray, steps: int, season: int, of: str) -> np.ndarray | None:
    """What it returns; None only if it has no forecast.  Raises Broken for what is not finite numbers."""
    given = function(history, steps, season)
    if given is None:
        return None
    forecast = np.asarray(given, np.float64)
    if forecast.shape != (steps,):
        raise Broken(f"for {of} it returns an array of {list(forecast.shape)}, not {[steps]}")
    if not np.isfinite(forecast).all():
        raise Broken(f"for {of} it returns a number that is not finite")
    return forecast


def _steps(function: Function) -> None:
    for steps, season in ((1, 1), (1, 7), (7, 2), (24, 12)):
        if _forecast(function, _wave(), steps, season, f"{steps} steps and a season of {season}") is None:
            raise Broken(f"it returns None for {len(_wave())} values, {steps} steps and a season of {season}")


def _short(function: Function) -> None:
    for rows in (1, 2, 3, SEASON, 2 * SEASON, 3 * SEASON + 1):
        _forecast(function, _wave(rows), STEPS, SEASON, f"a history of {rows}")


def _constant(function: Function) -> None:
    for value in (0.0, 7.0, -1e6):
        _forecast(function, np.full(60, value), STEPS, SEASON, f"a series that is always {value:g}")


def _filled(function: Function) -> None:
    history = _wave()
    history[20:32] = history[20]
    history[-5:] = history[-5]
    _forecast(function, history, STEPS, SEASON, "a series with gaps, which repeat the value before them")


def _repeatable(function: Function) -> None:
    history = _wave()
    first = _forecast(function, history.copy(), STEPS, SEASON, "a series")
    _forecast(function, _wave(31), STEPS, SEASON, "a series")
    again = _forecast(function, history.copy(), STEPS, SEASON, "a series")
    if first is None or again is None or not np.array_equal(first, again):
        raise Broken("it returns other numbers for the same history when it is called again")


def _unchanged(function: Function) -> None:
    history = _wave()
    function(history, STEPS, SEASON)
    if not np.array_equal(history, _wave()):
        raise Broken("it changes the history that it is given")


CHECKS = (
    Check("steps", "any number of steps and any season give as many finite numbers",
          "return an array of one number for each of the steps after the history", _steps),
    Check("short", "a short history gives finite numbers, or None",
          "return None where the history is too short for a forecast", _short),
    Check("constant", "a series that never changes gives finite numbers, or None",
          "avoid divisions by a variance or a level that may be zero", _constant),
    Check("gaps", "a series whose gaps repeat the value before them gives finite numbers, or None",
          "expect runs of the same value, also at the end", _filled),
    Check("repeatable", "the same history gives the same numbers, bit for bit",
          "give every generator a fixed seed (random_state=0), and remember nothing between calls", _repeatable),
    Check("unchanged", "the history is not changed", "work on a copy of it", _unchanged),
)  # fmt: skip
AT_ONCE = tuple(check for check in CHECKS if check.name in ("steps", "repeatable"))  # what a run asks before it begins
