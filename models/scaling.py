"""Scaling parameters from training rows alone: a location and a scale for each series and channel; never sees a later row."""

from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from models.windows import Panel, Split, WindowParams

LEAST = 1e-7  # a channel that varies less than this, relative to its level, counts as constant


class Scaling(NamedTuple):
    """Location and scale of the channels of a batch [S + 1, F] and of the target [S + 1]; the last row is for unseen series."""

    loc: Tensor
    scale: Tensor
    y_loc: Tensor
    y_scale: Tensor


def no_scaling(params: WindowParams) -> Scaling:
    """The scaling that changes nothing."""
    width = len(params.channels)
    return Scaling(torch.zeros(1, width), torch.ones(1, width), torch.zeros(1), torch.ones(1))


def fit_scaling(panel: Panel, params: WindowParams, split: Split, per: Literal["series", "global"]) -> Scaling:
    """Mean and standard deviation of each series' training rows, and of all series' in the last row.

    Calendar channels keep 0 and 1; the feature y is scaled as the target is.  The last row serves a series never seen in
    training, a series without training rows, and (`per` = global) every series.  A constant channel gets scale 1.
    """
    columns = [0, *(panel.channels.index(name) for name in params.channels)]
    width, count = len(columns), len(panel.ids)
    sums, squares, seen = (np.zeros((count, width)) for _ in range(3))
    shift = _first_values(panel, columns)
    for series in range(count):
        rows = panel.rows(series)
        _, stop = split.target_rows(panel.times[rows], "train")
        part = np.asarray(panel.values[rows][: max(stop, 0)][:, columns], np.float64) - shift
        seen[series] = np.isfinite(part).sum(0)
        sums[series], squares[series] = np.nansum(part, 0), np.nansum(part**2, 0)
    stack = [np.vstack((part, part.sum(0))) for part in (sums, squares, seen)]
    loc, scale = _moments(stack[0], stack[1], stack[2], shift)
    if per == "global":
        loc[:], scale[:] = loc[-1], scale[-1]
    unseen = stack[2] == 0
    loc, scale = np.where(unseen, loc[-1], loc), np.where(unseen, scale[-1], scale)
    calendar = [i for i, name in enumerate(params.channels, 1) if name not in params.features]
    loc[:, calendar], scale[:, calendar] = 0.0, 1.0
    if "y" in params.features:
        y = 1 + list(params.features).index("y")
        loc[:, y], scale[:, y] = loc[:, 0], scale[:, 0]
    loc_32, scale_32 = torch.tensor(loc, dtype=torch.float32), torch.tensor(scale, dtype=torch.float32)
    return Scaling(loc_32[:, 1:].clone(), scale_32[:, 1:].clone(), loc_32[:, 0].clone(), scale_32[:, 0].clone())


def _first_values(panel: Panel, columns: list[int]) -> np.ndarray:
    """A value of each channel to count from, so that sums of squares stay exact on a high level."""
    head = np.asarray(panel.values[:1000][:, columns], np.float64)
    return np.array([column[np.isfinite(column)][0] if np.isfinite(column).any() else 0.0 for column in head.T])


def _moments(sums: np.ndarray, squares: np.ndarray, seen: np.ndarray, shift: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean = sums / np.maximum(seen, 1)
    deviation = np.sqrt(np.maximum(squares / np.maximum(seen, 1) - mean**2, 0.0))
    constant = deviation <= LEAST * np.maximum(np.abs(mean + shift), 1e-30)
    return mean + shift, np.where(constant, 1.0, deviation)
