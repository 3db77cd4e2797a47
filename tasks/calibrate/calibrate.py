"""The calibration of one model: conformal quantiles of its errors on validation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from models.serving import Calibration
from tasks.evaluate.frames import Outcome


@dataclass(frozen=True)
class Calibrated:
    """A calibration, the `method` that made it, and the interval score of each method on rows that it was not calibrated on."""

    calibration: Calibration
    method: str
    scores: Mapping[str, float] = field(default_factory=dict)


def calibrate(found: Outcome, levels: Sequence[float], horizon: int, series: int) -> Calibrated:
    """That of a model, from what it forecast on validation."""
    offsets = np.full((1, horizon, len(levels)), np.nan)
    for step in range(horizon):
        some = (found.step == step) & np.isfinite(found.y) & np.isfinite(found.point)
        offsets[0, step] = conformal(found.y[some] - found.point[some], np.array(levels))
    one = Calibration(np.array(levels), offsets, np.ones(series + 1), np.zeros(series + 1, np.int64))
    return Calibrated(one, "split")


def conformal(errors: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """[Q] the quantiles of errors, each so far out that a further one lies inside with the probability of its level; NaN where
    there are too few for it."""
    ordered, count = np.sort(errors), len(errors)
    above = np.ceil(np.round((count + 1) * levels, 9)).astype(int)
    below = np.floor(np.round((count + 1) * levels, 9)).astype(int)
    rank = np.where(levels < 0.5, below, above)
    known = (rank >= 1) & (rank <= count)
    found = np.full(len(levels), np.nan)
    found[known] = ordered[rank[known] - 1]
    return found
