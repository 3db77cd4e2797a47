"""The calibration methods: what is added to what, in which unit, over which series.

Shapes: R rows, Q levels, S series, F folds.
"""

import re
from dataclasses import dataclass, replace

import numpy as np

from models.serving import TRANSFORMS, Calibration
from tasks.calibrate.conformal import offsets_of
from tasks.calibrate.yardsticks import NOW, Yardsticks
from tasks.evaluate.frames import Outcome

INSIDE = 1 - 1e-6  # a quantile that reaches this far to a whole number is rounded outward to it
SHRUNK = 4.0  # a series with this many origins weighs as much as all others together
SERIES = "series"
AT_A_TIME = 1 << 16  # rows whose scores are in memory at once


@dataclass(frozen=True)
class Method:
    """One way to calibrate.

    `own`: added to the model's own quantiles, else to its point.  `unit`: none, naive or spread.
    `transform`: the scale on which it is added.  `even`: intervals reach equally far down and up.  `by`: a
    grouping of series with offsets per group; `series`: each series' unit moves towards its own errors, the
    more origins it has."""

    own: bool = False
    unit: str = "none"
    transform: str = "none"
    even: bool = False
    by: str = ""

    @property
    def name(self) -> str:
        """For example `spread-by-size-log1p`, `cqr-naive` or `split`."""
        parts = ["cqr"] if self.own else [] if self.unit != "none" else ["split"]
        parts += [self.unit] if self.unit != "none" else []
        parts += [f"by-{self.by}"] if self.by else []
        parts += ["even"] if self.even else []
        return "-".join(parts + ([self.transform] if self.transform != "none" else []))

    @classmethod
    def of(cls, name: str) -> "Method | None":
        """The method of a name; None if there is none."""
        match = re.fullmatch(r"(cqr)?-?(split|naive|spread)?(?:-by-(.+?))?(-even)?(?:-(log1p|asinh))?", name)
        if match is None or not (match[1] or match[2]):
            return None
        unit = match[2] if match[2] in ("naive", "spread") else "none"
        method = cls(bool(match[1]), unit, match[5] or "none", bool(match[4]), match[3] or "")
        return method if method.name == name else None


def methods(yardsticks: Yardsticks, own: bool, origins: int, over_time: bool) -> list[Method]:
    """The methods that suit a model, simpler ones first.

    `own`: it has quantiles of its own; `origins`: the most per series; `over_time`: enough for errors per
    series.  With a single origin all series were off on the same days, and the side says nothing about other
    days: intervals then reach equally far down and up.
    """
    change, even = yardsticks.transform, origins == 1
    groupings = yardsticks.groupings() + ([SERIES] if over_time else [])
    suitable = [Method(even=even), Method(unit="naive", even=even)]
    suitable += [Method(unit="naive", transform=change, even=even)] if change != "none" else []
    suitable += [Method(unit="spread", transform=change, even=even)]
    suitable += [Method(unit="spread", transform=change, even=even, by=by) for by in groupings]
    if own:
        suitable += [Method(True, unit, change, even) for unit in ("none", "naive", "spread")]
        suitable += [Method(True, "spread", change, even, by) for by in groupings]
    if not even:
        suitable += [Method(False, "spread", change, True, by) for by in ("", *groupings)]
        suitable += [Method(True, "spread", change, True)] if own else []
    return suitable


def fitted(method: Method, rows: Outcome, fold: np.ndarray, yardsticks: Yardsticks, at: int = NOW) -> Calibration:
    """A method's calibration from `rows` of the folds `fold` [R].  `at`: the fold whose units it uses."""
    units, groups = yardsticks.units(method.unit, method.transform), yardsticks.groups("" if method.by == SERIES else method.by)
    levels, horizon = yardsticks.levels, yardsticks.horizon
    scores = Scores(method, rows, units[fold, rows.series], levels, yardsticks.bounds.integer)
    sizes = scores.sizes()
    some = np.flatnonzero(np.isfinite(sizes))
    step, series, factor = rows.step[some], rows.series[some], np.ones(units.shape[1])
    if method.by == SERIES:
        factor = _factors(sizes[some], step, series, horizon, len(factor), min(yardsticks.stride / horizon, 1.0))
        scores = scores.by(factor)
    offsets, count = offsets_of(scores, some, step, (1, horizon), levels, method.even), int(groups.max())
    if count:  # the last group is all series
        each = offsets_of(scores, some, groups[series] * horizon + step, (count, horizon), levels, method.even)
        offsets = np.concatenate([each, offsets])
    return Calibration(levels, offsets, units[at] * factor, groups, method.own, method.transform)


@dataclass(frozen=True)
class Scores:
    """The scores of rows by a method (`scores_of`), on demand: possibly a comparison's largest array."""

    method: Method
    rows: Outcome
    units: np.ndarray
    levels: np.ndarray
    integer: bool

    def __getitem__(self, some: np.ndarray | slice) -> np.ndarray:
        """[r, Q] or [r, 1] the scores of some rows."""
        quantiles = None if self.rows.own is None or not self.method.own else self.rows.own[some]
        y, point = self.rows.y[some], self.rows.point[some]
        rows = Outcome(y, point, self.rows.step[some], self.rows.series[some], self.rows.cutoff[some], quantiles)
        return scores_of(self.method, rows, self.units[some], self.levels, self.integer)

    def sizes(self) -> np.ndarray:
        """[R] the mean |score| of each row; not finite if one of its scores is not."""
        parts = (np.abs(self[start : start + AT_A_TIME]).mean(axis=1) for start in range(0, len(self.units), AT_A_TIME))
        return np.concatenate([np.empty(0), *parts])

    def by(self, factor: np.ndarray) -> "Scores":
        """The same in units larger by a factor [S + 1] per series."""
        return replace(self, units=self.units * factor[self.rows.series])


def scores_of(method: Method, rows: Outcome, units: np.ndarray, levels: np.ndarray, integer: bool) -> np.ndarray:
    """[R, Q], or [R, 1] if equal for all levels: how far the actual lies above the base, in units.

    `integer`: quantiles are rounded outward after adding, so one within a whole step of the actual reaches
    it.
    """
    there = TRANSFORMS[method.transform][0]
    base = rows.own if method.own and rows.own is not None else rows.point[:, None]
    y = rows.y[:, None]
    if integer:
        y = y + INSIDE * np.where(levels <= 0.25, 1.0, np.where(levels >= 0.75, -1.0, 0.0))
        y = np.maximum(y, -0.5) if method.transform == "log1p" else y  # rounded up to 0, like every number above -1
    with np.errstate(invalid="ignore", divide="ignore"):
        scores = np.asarray(there(y) - there(base))
        scores /= units[:, None]  # in place: the largest arrays of a comparison
        return scores


def _factors(size: np.ndarray, step: np.ndarray, series: np.ndarray, horizon: int, count: int, apart: float) -> np.ndarray:
    """[S + 1] how much larger each series' errors (`size` [R]) are than usual at their steps, shrunk to 1.

    `apart`: the distance between origins as a share of the horizon: overlapping ones count less.
    """
    usual = np.bincount(step, size, horizon) / np.maximum(np.bincount(step, minlength=horizon), 1)
    rows = np.bincount(series, minlength=count)
    expected = np.bincount(series, usual[step], count)
    ratio = np.bincount(series, size, count) / np.where(expected > 0, expected, 1.0)
    origins = np.where(rows > 0, np.maximum(rows / horizon - 1, 0) * apart + 1, 0)
    weight = origins / (origins + SHRUNK)
    return np.where(ratio > 0, ratio, 1.0) ** weight
