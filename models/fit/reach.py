"""How far targets lie from their window's level, per step: the unit in which quantiles are learnt.

Shapes: B batch, H horizon, N windows.
"""

import math

import torch
from torch import Tensor

from models.data.windows import Windows
from models.forecaster import Forecaster

MOST = 4096  # windows used, evenly spread
OF_NORMAL = math.sqrt(math.pi / 2)  # standard deviation / mean absolute deviation of a normal distribution


@torch.no_grad()
def reach_of(forecaster: Forecaster, train: Windows) -> Tensor:
    """[H] in the units of the network's outputs, from training windows; 1 if targets are unknown or constant.

    With a skip ridge, its residuals are measured instead of the targets.

    It is the standard deviation of a normal distribution with the same mean absolute deviation from the
    median.
    """
    some, parts = torch.linspace(0, len(train) - 1, min(MOST, len(train))).round().long(), []
    for inputs, y_BH in train.batches(256, some):
        seen = forecaster.inputs(*inputs)
        above_BH = (forecaster.scale_targets(y_BH, inputs.series_B) - seen.level_B1) / seen.spread_B1
        parts.append(above_BH - forecaster.linear(seen.x_BLN) if forecaster.solves_skip else above_BH)
    above_NH = torch.cat(parts) if parts else forecaster.reach_H.new_empty(0, len(forecaster.reach_H))
    known_NH = above_NH.isfinite()
    apart_NH = torch.where(known_NH, above_NH - above_NH.nanmedian(0).values if len(above_NH) else above_NH, 0.0).abs()
    reach_H = OF_NORMAL * apart_NH.sum(0) / known_NH.sum(0).clamp(min=1)
    return torch.where(reach_H > 0, reach_H, 1.0).to(forecaster.reach_H)
