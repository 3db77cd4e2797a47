"""What drives a forecast: how much larger the test error is when one covariate is exchanged between origins.

Permutation importance (Breiman 2001; Fisher et al. 2019, model reliance), with conditional partners
(`permute.py`).  It is measured on test after everything is chosen, and chooses nothing.
Shapes: W sampled windows, H horizon, K baselines of an ensemble.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from models.data.windows import Windows
from models.ensemble import Ensemble, Model
from models.fit.job import Job
from models.worker import forecast
from tasks.evaluate.gradients import Gradients
from tasks.evaluate.permute import Covariate, Exchanged, Lags, Partners, Role, covariates_of, groups_of, lags_of, partners_of

MOST_WINDOWS, LEAST_WINDOWS = 1000, 200
MOST_DRAWS = 3  # partners of a window, where there are few windows
FORECASTS = 100_000  # of one network, in all: what bounds the cost
LAGGED = 20  # features whose lags are measured, the largest effect first
BLOCKS = 8  # blocks of origins, over which the spread is taken


class Effect(NamedTuple):
    """The relative increase of the error: over all, its standard deviation over blocks of origins, and by step.

    `spread` is None for a single block.
    """

    share: float
    spread: float | None
    by_step: tuple[float, ...]

    @property
    def clear(self) -> bool:
        """Whether it is larger than its spread."""
        return self.share > (self.spread or 0.0)


class LagEffect(NamedTuple):
    """The effect of some lags of a feature alone: rows `first` to `last` before the target of step 1."""

    first: int
    last: int
    effect: Effect


@dataclass(frozen=True)
class Driver:
    """A covariate and its effect; `lags`: of each block of its past alone, newest first."""

    name: str
    role: Role
    effect: Effect
    lags: tuple[LagEffect, ...] = ()

    @property
    def strongest(self) -> LagEffect | None:
        """The block of lags with the largest effect, if that is clear."""
        best = max(self.lags, key=lambda one: one.effect.share, default=None)
        return best if best and best.effect.clear else None


@dataclass(frozen=True, kw_only=True)
class Importance:
    """The covariates of a model, the largest effect first, and how they were measured.

    `windows`: how many were sampled, each with `draws` partners, of the same `slot` (in rows).  `over`: what
    the blocks of the spread hold, origins or series.  `gradients`: integrated gradients of its networks.
    """

    model: str
    drivers: tuple[Driver, ...]
    windows: int
    draws: int
    slot: int
    over: str
    gradients: Gradients | None = None


@dataclass(frozen=True)
class Ruler:
    """How errors are weighed: in the `unit` [W] of each window's series (NaN: it does not count), to a `power`."""

    unit: np.ndarray
    power: int = 1

    def errors(self, windows: Windows, forecasts: np.ndarray) -> np.ndarray:
        """[W, H] errors of forecasts in this measure; NaN where there is no actual."""
        rows = windows.origins.cpu().numpy()[:, None] + windows.params.gap + 1 + np.arange(windows.params.horizon)
        errors: np.ndarray = (np.abs(windows.panel.target[rows] - forecasts) / self.unit[:, None]) ** self.power
        return errors


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Computes with so many threads of torch, whose number changes the last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def sampled(model: Model, windows: Windows, slot: int) -> Partners:
    """The windows that a model's importance is measured on, with their partners: as many as the cost allows."""
    covariates = covariates_of(windows.params, len(windows.panel.ids))
    exchanges = len(covariates) + sum(len(lags_of(one.window)) for one in covariates[:LAGGED] if one.window)
    allowed = FORECASTS // (max(exchanges, 1) * _networks(model))
    most = min(max(allowed, LEAST_WINDOWS), MOST_WINDOWS)
    draws = min(max(allowed // max(min(most, len(windows)), 1), 1), MOST_DRAWS)
    return partners_of(windows, slot, most, draws)


def _networks(model: Model) -> int:
    return sum(map(_networks, model.members)) if isinstance(model, Ensemble) else 1  # type: ignore[arg-type]


def drivers_of(
    model: Model, job: Job, partners: Partners, ruler: Ruler, beside_BHK: np.ndarray | None = None
) -> tuple[tuple[Driver, ...], str]:
    """Every covariate's effect, the largest first, and what its spread is over.

    `beside_BHK` [W, H, K]: the forecasts of an ensemble's baselines, which keep the history they had.
    Empty if nothing can be exchanged, or if the forecasts have no error.
    """
    windows = partners.windows
    groups, over = groups_of(windows, BLOCKS)

    def errors(of: Windows) -> np.ndarray:
        return ruler.errors(windows, forecast(model, of, job, beside_BHK))

    base = errors(windows)
    if not np.nansum(base) > 0:
        return (), over

    def effect(covariate: Covariate, lags: Lags | None = None) -> Effect:
        origins = partners.others if covariate.role is Role.STATIC else partners.own
        moved = np.mean([errors(Exchanged(windows, draw, covariate, lags)) for draw in origins], axis=0)
        return _effect(moved, base, groups)

    whole = {covariate: effect(covariate) for covariate in covariates_of(windows.params, 2 if partners.others else 1)}
    ranked = sorted(whole, key=lambda covariate: -whole[covariate].share)
    lags = {
        covariate: [
            LagEffect(*some.rows(covariate.window, windows.params.gap), effect(covariate, some))
            for some in lags_of(covariate.window)
        ]
        for covariate in [covariate for covariate in ranked if covariate.window][:LAGGED]
        if covariate.window
    }
    drivers = (Driver(each.name, each.role, whole[each], tuple(lags.get(each, ()))) for each in ranked)
    return tuple(drivers), over


def _effect(moved: np.ndarray, base: np.ndarray, groups: Sequence[np.ndarray]) -> Effect:
    """The effect of an exchange, from the errors [W, H] with and without it; `groups`: blocks of windows."""
    more, usual = moved - base, float(np.nanmean(base))
    each = [float(np.nanmean(more[group])) / usual for group in groups if np.isfinite(more[group]).any()]
    spread = float(np.std(each, ddof=1)) if len(each) > 1 else None
    steps = tuple(_increase(moved[:, step], base[:, step]) for step in range(base.shape[1]))
    return Effect(_increase(moved, base), spread, steps)


def _increase(moved: np.ndarray, base: np.ndarray) -> float:
    """The relative increase of the sum of errors; NaN if there was none."""
    before = np.nansum(base)
    return float(np.nansum(moved) / before - 1) if before > 0 else float("nan")
