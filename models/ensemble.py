"""Several trained forecasters as one: the median or the mean of their forecasts, or (beside baselines) all of them.

Shapes: B batch, L lookback, F past channels, A rows ahead, K channels known ahead, C static covariates, E channels read in 64
bits, H horizon, M members.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from models.forecaster import Forecaster

Combine = Literal["median", "mean"]


class Ensemble(nn.Module):
    """Raw inputs (`models.data.windows.Inputs`) -> the members' point forecasts combined, [B, H, 1], in raw units.

    Without `combine` they are left apart, [B, H, M]: what baselines are combined with, which are no part of a graph.

    The median is that of each step by itself; of an even number, the mean of the middle two.  Each member scales by itself, so
    that they may differ in everything but their windows.  One member is itself: what a median over seeds is with one seed.
    """

    quantiles: tuple[float, ...] = ()
    dense = False

    def __init__(self, members: Sequence["Model"], combine: Combine | None = "median") -> None:
        super().__init__()
        if not members:
            raise ValueError("an ensemble needs a member")
        if combine not in (None, *get_args(Combine)):
            raise ValueError(f"combine: {combine!r} is not one of {', '.join(get_args(Combine))}")
        self.members, self.combine = nn.ModuleList(members), combine

    def forward(
        self, past_BLF: Tensor, ahead_BAK: Tensor, static_BC: Tensor, series_B: Tensor, wide_BLE: Tensor, wide_BAE: Tensor
    ) -> Tensor:
        """[B, H, 1] of some `Inputs`; [B, H, M] where nothing is combined."""
        given = past_BLF, ahead_BAK, static_BC, series_B, wide_BLE, wide_BAE
        points = [member(*given)[..., :1] for member in self.members]
        if self.combine is None:
            return torch.cat(points, dim=-1)
        if self.combine == "mean":
            return torch.stack(points).mean(0)
        ordered_MBH1, _ = torch.stack(points).sort(dim=0)
        middle = len(points) // 2
        return ordered_MBH1[middle] if len(points) % 2 else (ordered_MBH1[middle - 1] + ordered_MBH1[middle]) / 2


Model = Forecaster | Ensemble  # what forecasts
