"""Scaling parameters from training rows alone: a location and a scale for each series and channel; never sees a later row."""

from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from models.panel import Panel, Split
from models.windows import AHEAD, WindowParams

LEAST = 1e-7  # a channel that varies less than this, relative to its level, counts as constant
NORMAL_IQR = 1.3489795  # of a normal distribution with standard deviation 1

Per = Literal["series", "global"]
Method = Literal["standard", "robust"]
Transform = Literal["none", "log1p", "asinh"]


class Scaling(NamedTuple):
    """Location and scale of the past channels [S + 1, F], of those known ahead [S + 1, K], of the target [S + 1], and of the
    static covariates [C]; the last of the S + 1 rows is for series that training did not see."""

    loc: Tensor
    scale: Tensor
    ahead_loc: Tensor
    ahead_scale: Tensor
    y_loc: Tensor
    y_scale: Tensor
    static_loc: Tensor
    static_scale: Tensor


def no_scaling(params: WindowParams) -> Scaling:
    """The scaling that changes nothing."""
    past, ahead, static = len(params.channels), len(params.known), len(params.static)
    pairs = [(torch.zeros(shape), torch.ones(shape)) for shape in ((1, past), (1, ahead), (1,), (static,))]
    return Scaling(*(part for pair in pairs for part in pair))


def fit_scaling(
    panel: Panel, params: WindowParams, split: Split, per: Per, method: Method = "standard", transform: Transform = "none"
) -> Scaling:
    """Statistics of each series' training rows, and of all series' together in the last row.

    standard: mean and standard deviation; robust: median and interquartile range, as wide as a standard deviation of normal
    values (that itself where more than half of the values are equal).  The target is measured after its `transform`; the
    feature y is scaled as the target is; calendar channels keep 0 and 1.  The last row serves a series that training did not
    see, a channel without a training value, and (`per` = global) every series.  A constant channel gets scale 1.
    """
    names = [*params.features, *(name + AHEAD for name in params.future)]
    loc, scale = (np.stack(found, axis=-1) for found in zip(*_by_column(panel, split, names, method, transform), strict=True))
    if per == "global":
        loc[:], scale[:] = loc[-1], scale[-1]
    count, waves = len(params.features), np.zeros((len(loc), len(params.waves)))
    if "y" in params.features:
        y = 1 + list(params.features).index("y")
        loc[:, y], scale[:, y] = loc[:, 0], scale[:, 0]
    parts = []
    for found, neutral in ((loc, waves), (scale, waves + 1.0)):
        past, ahead = found[:, 1 : count + 1], found[:, count + 1 :]
        parts.append((np.hstack((past, neutral)), np.hstack((neutral, ahead)), found[:, 0]))
    static = _static(panel, params, split)
    pairs = [*zip(*parts, strict=True), static]
    return Scaling(*(torch.tensor(part, dtype=torch.float32) for pair in pairs for part in pair))


def _by_column(
    panel: Panel, split: Split, names: list[str], method: Method, transform: Transform
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Location and scale [S + 1] of the target, then of each channel; one channel in memory at a time."""
    stops = _training_stops(panel, split)
    found = []
    for name in ("", *names):
        column = panel.values[:, panel.column(name)] if name else panel.target
        parts = []
        for series, stop in enumerate(stops):
            part = np.asarray(column[panel.rows(series)][:stop], np.float64)
            if not name and transform == "log1p" and (part <= -1).any():
                raise ValueError(f"log1p: series {panel.ids[series]!r} has a target of {np.nanmin(part):g}: take asinh")
            part = part if name else transformed(part, transform)
            parts.append(part[np.isfinite(part)])
        found.append(_moments(parts) if method == "standard" else _quantiles(parts))
    return found


def transformed(y: np.ndarray, transform: Transform) -> np.ndarray:
    """What the target is measured in."""
    return np.log1p(y) if transform == "log1p" else np.arcsinh(y) if transform == "asinh" else y


def _training_stops(panel: Panel, split: Split) -> list[int]:
    rows = (panel.rows(series) for series in range(len(panel.ids)))
    return [max(split.target_rows(panel.times[own], "train")[1], 0) for own in rows]


def _moments(parts: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    shift = next((part[0] for part in parts if len(part)), 0.0)  # counted from a value: exact on a high level
    sums = np.array([[len(part), (part - shift).sum(), ((part - shift) ** 2).sum()] for part in parts]).reshape(-1, 3)
    seen, total, squares = np.vstack((sums, sums.sum(0))).T
    mean = total / np.maximum(seen, 1)
    deviation = np.sqrt(np.maximum(squares / np.maximum(seen, 1) - mean**2, 0.0))
    return _usable(mean + shift, deviation, seen)


def _quantiles(parts: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    deviation = _moments(parts)[1]
    loc, scale, seen = [], [], []
    for part in (*parts, np.concatenate(parts) if parts else np.empty(0)):
        low, middle, high = np.percentile(part, (25, 50, 75)) if len(part) else (0.0, 0.0, 0.0)
        loc.append(middle)
        scale.append((high - low) / NORMAL_IQR)
        seen.append(len(part))
    spread = np.array(scale)
    spread = np.where(spread <= LEAST * np.maximum(np.abs(loc), 1e-30), deviation, spread)
    return _usable(np.array(loc), spread, np.array(seen))


def _usable(loc: np.ndarray, scale: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """1 for the scale of a constant; the last row, all series together, where a series has no value."""
    constant = scale <= LEAST * np.maximum(np.abs(loc), 1e-30)
    scale = np.where(constant, 1.0, scale)
    return np.where(seen == 0, loc[-1], loc), np.where(seen == 0, scale[-1], scale)


def _static(panel: Panel, params: WindowParams, split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Location and scale [C] over the series that have training rows; 0 and 1 for categories."""
    loc, scale = np.zeros(len(params.static)), np.ones(len(params.static))
    trained = np.array(_training_stops(panel, split)) > 0
    for column, kind in enumerate(params.static.values()):
        values = panel.static[trained, column].astype(np.float64)
        if kind == "numeric" and np.isfinite(values).any():
            ends = _moments([values[np.isfinite(values)]])
            loc[column], scale[column] = ends[0][-1], ends[1][-1]
    return loc, scale
