"""How far targets lie from the level of their window, step by step: the unit in which a network's quantiles are learnt.

Shapes: B batch, H horizon, N windows.
"""

import math

import torch
from torch import Tensor

from models.data.windows import Windows
from models.forecaster import Forecaster

MOST = 4096  # windows that are looked at, evenly spread
OF_NORMAL = math.sqrt(math.pi / 2)  # the standard deviation of a normal distribution over its mean absolute deviation


@torch.no_grad()
def reach_of(forecaster: Forecaster, train: Windows) -> Tensor:
    """[H] in the units of a network's outputs, of training windows; 1 where no target is known or none differs.

    Beside a ridge regression it is what this leaves of the targets that is measured, in place of the targets.

    A normal distribution of the same mean absolute deviation from the median has this standard deviation.
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
