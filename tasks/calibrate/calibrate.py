"""Calibration of one model: picks the best method on rows it was not calibrated on, then uses all rows."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from models.serving import Calibration
from params.errors import UserError
from tasks.calibrate.methods import SERIES, Method, fitted, methods
from tasks.calibrate.parts import Part, origins_of, over_time, parts_of
from tasks.calibrate.thinned import known, taken, thinned
from tasks.calibrate.yardsticks import LATEST, NOW, Yardsticks
from tasks.evaluate.frames import Outcome

AUTO = "auto"
CHOOSING_ROWS = 1 << 17  # rows for choosing the method


@dataclass(frozen=True)
class Calibrated:
    """A calibration, the `method` that made it, and the interval score of each method on held-out rows.

    The score is the mean over the intervals of 50 % and more, in seasonal naive errors per series; empty if
    nothing was chosen.
    """

    calibration: Calibration
    method: str
    scores: Mapping[str, float] = field(default_factory=dict)


def calibrate(outcome: Outcome, yardsticks: Yardsticks, intervals: str = AUTO) -> Calibrated:
    """The calibration of a model from its validation forecasts (`calibrating`).

    `intervals`: auto, or the name of a method (`named`).
    """
    rows = known(outcome)
    reach = math.ceil(yardsticks.horizon / yardsticks.stride)
    suited = methods(yardsticks, rows.own is not None, origins_of(rows).most, over_time(rows, reach))
    scores: dict[str, float] = {}
    if intervals == AUTO:
        some = thinned(rows, CHOOSING_ROWS)
        thinner = max(math.ceil(reach * len(some.y) / max(len(rows.y), 1)), 1)
        scores = _scores(suited, some, parts_of(some, thinner), yardsticks)
        method = _best(suited, scores)
    else:
        method = named(intervals, rows.own is not None, yardsticks)
    fold = np.zeros(len(rows.y), np.int64) if rows.fold is None else rows.fold
    calibration = fitted(method, rows, fold, yardsticks)
    return Calibrated(_for_serving(calibration, method, yardsticks), method.name, scores)


def _for_serving(calibration: Calibration, method: Method, yardsticks: Yardsticks) -> Calibration:
    """The same with what serving needs: units after the last row, and how to find those of unknown series."""
    if method.unit == "none":
        return calibration._replace(season=yardsticks.season)
    units, naive = yardsticks.units(method.unit, method.transform), yardsticks.units("naive", method.transform)[NOW]
    ratio = float(np.median(calibration.units[:-1] / naive[:-1]))
    return calibration._replace(latest=calibration.units * (units[LATEST] / units[NOW]), season=yardsticks.season, ratio=ratio)


def named(name: str, has_quantiles: bool, yardsticks: Yardsticks) -> Method:
    """The method of a name; for a model without quantiles (`has_quantiles`), the version of it around the point.

    Raises UserError if it does not exist, or its series cannot be grouped that way.
    """
    method = Method.of(name)
    if method is None:
        some = ", ".join(example.name for example in methods(yardsticks, True, 2, True))
        raise UserError(f"evaluation.intervals: {name!r} is no method: name auto, or one such as {some}")
    if method.by not in ("", "size", SERIES, *yardsticks.panel.facts.categories):
        raise UserError(f"evaluation.intervals: {name!r} groups by {method.by!r}, which is no categorical static covariate")
    return method if has_quantiles else replace(method, own=False)


def _best(known: Sequence[Method], scores: Mapping[str, float]) -> Method:
    """The method with the lowest score, the simplest on a tie; without scores, errors per spread."""
    if not scores:
        return next(method for method in known if method.unit == "spread")
    return min(known, key=lambda method: scores.get(method.name, math.inf))


def _scores(known: Sequence[Method], rows: Outcome, parts: Sequence[Part], yardsticks: Yardsticks) -> dict[str, float]:
    """The interval score of each method over all parts, for the methods that have one on the most rows."""
    fold = np.zeros(len(rows.y), np.int64) if rows.fold is None else rows.fold
    scale = yardsticks.units("naive", "none")
    sums: dict[str, tuple[int, float]] = {}
    for method in known:
        total, count = 0.0, 0
        for part in parts:
            calibration = fitted(method, taken(rows, part.calibrate), fold[part.calibrate], yardsticks, part.fold)
            scored = taken(rows, part.score)
            score = interval_score(calibration, scored, yardsticks) / scale[part.fold, scored.series]
            total += float(np.nansum(score))
            count += int(np.isfinite(score).sum())
        sums[method.name] = (count, total)
    most = max((count for count, _ in sums.values()), default=0)
    return {name: total / count for name, (count, total) in sums.items() if count == most and count}


def interval_score(calibration: Calibration, rows: Outcome, yardsticks: Yardsticks) -> np.ndarray:
    """[R] the mean, over intervals of 50 % and more, of width plus 2 / alpha times what lies outside.

    Gneiting & Raftery 2007; NaN if one of them is missing.
    """
    quantiles = calibration.quantiles(rows.point, rows.step, rows.series, rows.own if calibration.own else None)
    quantiles = yardsticks.bounds.outward(quantiles, calibration.levels)
    scores = []
    for low, level in enumerate(calibration.levels):
        high = int(np.argmin(np.abs(calibration.levels - (1 - level))))
        if level <= 0.25 and abs(calibration.levels[high] - (1 - level)) < 1e-9:
            lower, upper = quantiles[:, low], quantiles[:, high]
            outside = np.maximum(lower - rows.y, 0) + np.maximum(rows.y - upper, 0)
            scores.append(upper - lower + outside / level)
    return np.asarray(np.mean(scores, axis=0)) if scores else np.full(len(rows.y), np.nan)
