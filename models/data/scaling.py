"""Scaling parameters from training rows alone: a location and a scale per series and channel."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from models.data.panel import Panel, Split
from models.data.refused import LOG1P, REFUSED
from models.data.window import AHEAD, WindowParams

LEAST = {np.float32: 1e-7, np.float64: 1e-13}  # below this, relative to its level, variation counts as none
NORMAL_IQR = 1.3489795  # the interquartile range of a standard normal distribution

Per = Literal["series", "global"]
Method = Literal["standard", "robust"]
Transform = Literal["none", "log1p", "asinh"]


class Scaling(NamedTuple):
    """Locations and scales, in 64 bits: a location is subtracted before values reach the 32-bit network.

    `loc`, `scale` [S + 1, F]: of the past channels.  `ahead_*` [S + 1, K]: of those known ahead.  `y_*`
    [S + 1]: of the target.  `static_*` [C]: of the static covariates.  There is one row for each of the S
    series in the order of the panel, and a last one for series not seen in training.
    """

    loc: Tensor
    scale: Tensor
    ahead_loc: Tensor
    ahead_scale: Tensor
    y_loc: Tensor
    y_scale: Tensor
    static_loc: Tensor
    static_scale: Tensor


def no_scaling(params: WindowParams) -> Scaling:
    """The scaling that changes nothing: locations 0, scales 1, and only the last row (S = 0)."""
    past, ahead, static = len(params.channels), len(params.known), len(params.static)
    shapes, kind = ((1, past), (1, ahead), (1,), (static,)), torch.float64
    pairs = [(torch.zeros(shape, dtype=kind), torch.ones(shape, dtype=kind)) for shape in shapes]
    return Scaling(*(part for pair in pairs for part in pair))


def fit_scaling(
    panel: Panel,
    params: WindowParams,
    split: Split | None,
    per: Per,
    method: Method = "standard",
    transform: Transform = "none",
) -> Scaling:
    """Statistics of each series' training rows (without a split: all rows), then of all series together.

    standard: mean and standard deviation; robust: median and interquartile range, normalized to a standard
    deviation (the standard deviation itself if that range is about 0).  The target is measured after its
    `transform`; feature y is scaled like the target; calendar channels have location 0 and scale 1.  The last
    row serves series that are not in training or have no training value of a channel, and (`per` = global)
    every series.  A constant channel gets scale 1.  A channel without any training value gets location NaN:
    the network treats its later values as missing.  Raises ValueError for a target of -1 or less with log1p.
    """
    names = [*params.features, *(name + AHEAD for name in params.future)]
    columns = [panel.target, *(_channel(panel, params, name) for name in names)]
    moments = _by_column(panel, split, dict(zip(["", *names], columns, strict=True)), method, transform)
    loc, scale = (np.stack(part, axis=-1) for part in zip(*moments, strict=True))
    if per == "global":
        loc[:], scale[:] = loc[-1], scale[-1]
    count, waves = len(params.features), np.zeros((len(loc), len(params.waves)))
    parts = []
    for all_of, neutral in ((loc, waves), (scale, waves + 1.0)):
        past, ahead = all_of[:, 1 : count + 1], all_of[:, count + 1 :]
        parts.append((np.hstack((past, neutral)), np.hstack((neutral, ahead)), all_of[:, 0]))
    static = _static(panel, params, split)
    pairs = [*zip(*parts, strict=True), static]
    return Scaling(*(torch.tensor(part, dtype=torch.float64) for pair in pairs for part in pair))


def _channel(panel: Panel, params: WindowParams, name: str) -> np.ndarray:
    """[rows] the values of a channel, in the precision in which the windows read it."""
    return panel.channel(name) if name in params.wide_channels else panel.values[:, panel.column(name)]


def _by_column(
    panel: Panel, split: Split | None, columns: Mapping[str, np.ndarray], method: Method, transform: Transform
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Location and scale [S + 1] of each column: the target, whose name is empty, then the channels."""
    inside = _training_rows(panel, split)
    moments: list[tuple[np.ndarray, np.ndarray]] = []
    for name, column in columns.items():
        if name == "y":
            moments.append(moments[0])  # scaled like the target
            continue
        values, counts = _training(panel, column, inside)
        if not name and transform == "log1p" and (values <= LOG1P).any():
            worst = int(np.argmin(values))
            owner = panel.ids[int(np.searchsorted(np.cumsum(counts), worst, side="right"))]
            raise ValueError(f"series {owner!r} has a target of {values[worst]:g}; {REFUSED['log1p']}")
        values = values if name else transformed(values, transform)
        least = LEAST[column.dtype.type]
        moments.append(_moments(values, counts, least) if method == "standard" else _quantiles(values, counts, least))
    return moments


def transformed(y: np.ndarray, transform: Transform) -> np.ndarray:
    """The target after its transform."""
    return np.log1p(y) if transform == "log1p" else np.arcsinh(y) if transform == "asinh" else y


def _training_stops(panel: Panel, split: Split | None) -> np.ndarray:
    """[S] how many rows of each series are training rows."""
    if split is None:
        return np.diff(panel.offsets)
    return np.asarray(np.maximum(split.target_ranges(panel.times, panel.offsets, "train")[1], 0))


def _training_rows(panel: Panel, split: Split | None) -> np.ndarray:
    """[rows] whether a row is a training row."""
    change = np.zeros(len(panel.target) + 1, np.int8)  # +1 where training rows begin, -1 where they end
    np.add.at(change, panel.offsets[:-1], 1)
    np.subtract.at(change, panel.offsets[:-1] + _training_stops(panel, split), 1)
    return np.cumsum(change[:-1], dtype=np.int8).view(bool)


def _training(panel: Panel, column: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A channel's observed training values (float64, one series after another), and their count [S]."""
    kept = np.flatnonzero(inside & np.isfinite(column))
    counts = np.diff(np.searchsorted(kept, panel.offsets))
    return column[kept].astype(np.float64), counts


def _moments(values: np.ndarray, counts: np.ndarray, least: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation [S + 1] per series, then over all.

    Squares are summed around the mean, so the deviation is exact for values far from zero too.
    """
    mean = _means(values, counts)
    mean += _means(values - np.repeat(mean, counts), counts)  # corrects the rounding of a long sum
    apart = values - np.repeat(mean, counts)
    variance = _means(np.square(apart, out=apart), counts)
    total = max(int(counts.sum()), 1)
    overall_mean = (mean * counts).sum() / total
    overall_variance = ((variance + (mean - overall_mean) ** 2) * counts).sum() / total
    loc, deviation = np.append(mean, overall_mean), np.sqrt(np.append(variance, overall_variance))
    return _usable(loc, deviation, np.append(counts, counts.sum()), least)


def _means(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """[S] the mean per series, 0 for one without values."""
    means, some = np.zeros(len(counts)), counts > 0
    if len(values):
        means[some] = np.add.reduceat(values, (np.cumsum(counts) - counts)[some]) / counts[some]
    return means


def _quantiles(values: np.ndarray, counts: np.ndarray, least: float) -> tuple[np.ndarray, np.ndarray]:
    """[S + 1] median and interquartile range (normalized to a standard deviation), per series, then over all."""
    ends = np.cumsum(counts)
    ordered = values.copy()
    for start, end in zip(ends - counts, ends, strict=True):
        ordered[start:end].sort()
    low, loc, high = (_quantile(ordered, ends - counts, counts, share) for share in (0.25, 0.5, 0.75))
    overall = np.percentile(values, (25, 50, 75)) if len(values) else np.zeros(3)
    loc, spread = np.append(loc, overall[1]), np.append(high - low, overall[2] - overall[0]) / NORMAL_IQR
    spread = np.where(spread <= least * np.maximum(np.abs(loc), 1e-30), _moments(values, counts, least)[1], spread)
    return _usable(loc, spread, np.append(counts, counts.sum()), least)


def _quantile(ordered: np.ndarray, starts: np.ndarray, counts: np.ndarray, share: float) -> np.ndarray:
    """[S] one quantile per series, interpolated; 0 for a series without values.

    `ordered`: all values, sorted within each series; `starts`, `counts` [S]: where a series lies in them.
    """
    if not len(ordered):
        return np.zeros(len(counts))
    at = np.maximum(counts - 1, 0) * share
    below = np.minimum(starts + np.floor(at).astype(np.int64), len(ordered) - 1)
    above = np.minimum(below + (at % 1 > 0), len(ordered) - 1)
    return np.where(counts > 0, ordered[below] + (at % 1) * (ordered[above] - ordered[below]), 0.0)


def _usable(loc: np.ndarray, scale: np.ndarray, counts: np.ndarray, least: float) -> tuple[np.ndarray, np.ndarray]:
    """[S + 1] scale 1 for constants; the last row for a series without values; location NaN if none has any."""
    loc = np.append(loc[:-1], loc[-1] if counts[-1] else np.nan)
    constant = scale <= least * np.maximum(np.abs(loc), 1e-30)
    scale = np.where(constant, 1.0, scale)
    return np.where(counts == 0, loc[-1], loc), np.where(counts == 0, scale[-1], scale)


def _static(panel: Panel, params: WindowParams, split: Split | None) -> tuple[np.ndarray, np.ndarray]:
    """Location and scale [C] over the series with training rows; 0 and 1 for categories."""
    loc, scale = np.zeros(len(params.static)), np.ones(len(params.static))
    trained = np.array(_training_stops(panel, split)) > 0
    for column, kind in enumerate(params.static.values()):
        values = panel.static[trained, column].astype(np.float64)
        if kind == "numeric":
            seen = values[np.isfinite(values)]
            (loc[column], _), (scale[column], _) = _moments(seen, np.array([len(seen)]), LEAST[np.float64])
    return loc, scale
