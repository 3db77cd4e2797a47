"""What the calibrations of all models share: series units and sizes from the rows each split may see."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from models.data.panel import Data, Panel, Split
from models.serving import Bounds
from params.schema import RunParams
from tasks.calibrate.units import units_of
from tasks.evaluate.bounds import bounds_of
from tasks.lags.past import Past, series_parts

SMALL = 10  # the fewest series per group
NOW, LATEST = -2, -1  # indices of units: before the test, and after the last row
SIZES = 3  # size groups of series
TAKEN = ("size", "series")  # groupings that are not columns


@dataclass(frozen=True)
class Yardsticks:
    """The yardsticks of a panel of S series with F validation folds.

    `before`: per fold, each series' rows [S] known before its validation; `now`: before the test; `all_rows`:
    at the end.  `transform`: the target's, in which networks forecast.  `stride`: rows between two origins.
    """

    panel: Panel
    levels: np.ndarray
    horizon: int
    stride: int
    season: int
    transform: str
    bounds: Bounds
    before: Sequence[np.ndarray]
    now: np.ndarray
    all_rows: np.ndarray
    _units: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)
    _groups: dict[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(cls, run: RunParams, data: Data) -> "Yardsticks":
        """The yardsticks of a run."""
        panel, gap = data.panel, data.windows.gap

        def known(split: Split, name: str) -> np.ndarray:
            return np.asarray(np.maximum(split.target_ranges(panel.times, panel.offsets, name)[1] - gap, 0))

        return cls(
            panel,
            np.array(run.quantile_levels),
            data.windows.horizon,
            run.evaluation.stride,
            run.evaluation.season,
            run.scaling.target,
            bounds_of(run.data),
            [known(fold.split, "train") for fold in data.folds],
            known(data.split, "validation"),
            np.diff(panel.offsets),
        )

    @property
    def series(self) -> int:
        """The number of series."""
        return len(self.panel.ids)

    def units(self, unit: str, transform: str) -> np.ndarray:
        """[F + 2, S + 1] the units before each fold's validation, before the test, and (LATEST) last."""
        if (unit, transform) not in self._units:
            stops = [*self.before, self.now, self.all_rows]
            units = [units_of(self.panel, stop, unit, transform, self.season, self.horizon) for stop in stops]
            self._units[unit, transform] = np.stack(units)
        return self._units[unit, transform]

    def groups(self, by: str) -> np.ndarray:
        """[S + 1] each series' group; the last is all series, and for unknown ones.

        `size`: thirds by mean |y| before the last fold's validation; else a categorical covariate, or
        none."""
        if by not in self._groups:
            self._groups[by] = self._groups_by(by)
        return self._groups[by]

    def _groups_by(self, by: str) -> np.ndarray:
        if not by:
            return np.zeros(self.series + 1, np.int64)
        if by == "size":
            rank = np.argsort(np.argsort(self._mean_sizes(), kind="stable"), kind="stable")
            return np.asarray(np.append(rank * SIZES // self.series, SIZES))
        codes = self.panel.static[:, self.panel.facts.static.index(by)]
        _, numbers = np.unique(codes, return_inverse=True)
        return np.append(numbers, numbers.max() + 1)

    def groupings(self) -> list[str]:
        """The possible groupings of series: each group has at least SMALL of them."""
        groupings = ["size"] if self.series >= SIZES * SMALL else []
        for name in self.panel.facts.categories:
            counts = np.unique(self.panel.static[:, self.panel.facts.static.index(name)], return_counts=True)[1]
            groupings += [name] if name not in TAKEN and len(counts) > 1 and counts.min() >= SMALL else []
        return groupings

    def _mean_sizes(self) -> np.ndarray:
        """[S] the mean |y| of the rows before the last fold's validation; 0 if there is none."""
        parts = []
        for some in series_parts(self.panel.offsets):
            offsets = self.panel.offsets[some.start : some.stop + 1]
            counts = np.diff(offsets)
            y = np.abs(self.panel.target[offsets[0] : offsets[-1]]).astype(np.float64)
            place = np.arange(len(y)) - np.repeat(offsets[:-1] - offsets[0], counts)
            known = np.isfinite(y) & (place < np.repeat(self.before[-1][some], counts))
            parts.append(Past(self.panel.ids[some], y, offsets - offsets[0]).means(np.where(known, y, np.nan)))
        return np.asarray(np.nan_to_num(np.concatenate(parts), nan=0.0))
