"""Several trained forecasters as one: the median or mean of their forecasts, or, for baselines, all of them.

Shapes: B batch, L lookback, F past channels, A rows ahead, K channels known ahead, C static covariates, E channels read in 64
bits, H horizon, M members, Q quantiles.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from models.forecaster import Forecaster

Combine = Literal["median", "mean"]


class Ensemble(nn.Module):
    """Raw inputs (`windows.Inputs`) -> the members' combined points, then their quantiles, [B, H, 1 + Q].

    `apart`: the points stay separate, followed by the quantiles minus the combined point, [B, H, M + Q], to
    be combined with baselines, which are not part of a graph.

    The median is taken per step; for an even number of members it is the mean of the middle two.  Each member
    has its own scaling, so members may differ in everything but their windows.  A single member is returned
    unchanged, as the median over one seed.

    A quantile is the mean of the members' quantiles at its level, however the points are combined
    (Lichtendahl et al. 2013: of the members' shape, and narrower than a mean of probabilities).  A member without
    quantiles takes the others' mean offsets around its own point.  `quantiles`: the levels that all members
    with quantiles share.

    `counts`: the weights of the members in a weighted mean, for points and quantiles, then those of the
    baselines; if all members have weight 0, they count equally.  They are stored as a buffer.
    """

    dense = False
    counts: Tensor

    def __init__(
        self, members: Sequence["Model"], combine: Combine = "median", apart: bool = False, counts: Sequence[int] = ()
    ) -> None:
        super().__init__()
        if not members:
            raise ValueError("an ensemble needs a member")
        if combine not in get_args(Combine):
            raise ValueError(f"combine: {combine!r} is not one of {', '.join(get_args(Combine))}")
        self.members, self.combine, self.apart = nn.ModuleList(members), combine, apart
        having: list[tuple[float, ...]] = [member.quantiles for member in members if member.quantiles]
        self.quantiles: tuple[float, ...] = (
            tuple(level for level in having[0] if all(level in levels for levels in having)) if having else ()
        )
        self.weights = _shares(counts[: len(members)])
        if counts:
            self.register_buffer("counts", torch.tensor(list(counts)))
        self.places = [
            [1 + member.quantiles.index(level) for level in self.quantiles if member.quantiles] for member in members
        ]

    def forward(
        self, past_BLF: Tensor, ahead_BAK: Tensor, static_BC: Tensor, series_B: Tensor, wide_BLE: Tensor, wide_BAE: Tensor
    ) -> Tensor:
        """[B, H, 1 + Q] for some `Inputs`; [B, H, M + Q] if the points stay separate."""
        given = past_BLF, ahead_BAK, static_BC, series_B, wide_BLE, wide_BAE
        outputs = [member(*given) for member in self.members]
        points_BHM = torch.cat([output[..., :1] for output in outputs], dim=-1)
        point_BH1 = self._combined(points_BHM)
        parts = [points_BHM if self.apart else point_BH1]
        if self.quantiles:
            quantiles_BHQ = self._averaged(outputs)
            parts.append(quantiles_BHQ - point_BH1 if self.apart else quantiles_BHQ)
        return torch.cat(parts, dim=-1)

    def _averaged(self, outputs: Sequence[Tensor]) -> Tensor:
        """[B, H, Q] the mean of the members' quantiles, level by level."""
        by_number = {number: output[..., self.places[number]] for number, output in enumerate(outputs) if self.places[number]}
        offsets = [quantiles - outputs[number][..., :1] for number, quantiles in by_number.items()]
        offsets_BHQ = _mean(offsets, _shares([self.weights[number] for number in by_number] if self.weights else ()))
        return _mean(
            [by_number.get(number, output[..., :1] + offsets_BHQ) for number, output in enumerate(outputs)], self.weights
        )

    def _combined(self, points_BHM: Tensor) -> Tensor:
        if self.weights:
            return _mean(points_BHM.split(1, dim=-1), self.weights)
        if self.combine == "mean":
            return points_BHM.mean(-1, keepdim=True)
        ordered_BHM, _ = points_BHM.sort(dim=-1)
        middle = points_BHM.shape[-1] // 2
        if points_BHM.shape[-1] % 2:
            return ordered_BHM[..., middle : middle + 1]
        return (ordered_BHM[..., middle - 1 : middle] + ordered_BHM[..., middle : middle + 1]) / 2


def _shares(counts: Sequence[float]) -> list[float]:
    """Each count's share of the total; equal shares if all are 0."""
    counts = counts if any(counts) else [1] * len(counts)
    return [count / sum(counts) for count in counts]


def _mean(parts: Sequence[Tensor], shares: Sequence[float]) -> Tensor:
    """The mean, or the sum weighted by `shares` if there are any."""
    if not shares:
        return torch.stack(list(parts)).mean(0)
    return torch.stack([part * share for part, share in zip(parts, shares, strict=True)]).sum(0)


Model = Forecaster | Ensemble  # anything that forecasts
