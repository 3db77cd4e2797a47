"""The forecaster: raw values in, raw forecasts out, with scaling, network and rescaling in one module.

Shapes: B batch, L lookback, F past channels, A rows ahead, K channels known ahead, C static covariates, N
network inputs, H horizon, Q outputs (the point forecast, then the quantiles in ascending order), S series, E
channels read in 64 bits.
"""

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from models.data.scaling import Scaling, Transform
from models.data.window import AHEAD, WindowParams
from models.networks.contract import Apart, Head, Network, takes
from models.networks.linear import Linear, Ridge
from models.quantiles import normal_steps, shares

Level = Literal["none", "last", "mean", "revin"]
Skip = Literal["none", "linear", "ridge"]
Point = Literal["median", "mean"]  # how the point is derived from the quantiles
AS_NORMAL = math.log(math.e - 1)  # softplus(AS_NORMAL) = 1
FLAT = 1e-5  # added to a window's variance, as in RevIN: no division by zero


class Seen(NamedTuple):
    """What a network sees, and (in 64 bits) the level and spread that its forecasts are relative to."""

    x_BLN: Tensor
    level_B1: Tensor
    spread_B1: Tensor
    ahead_BHK: Tensor | None  # values known ahead; None where they are folded into `x_BLN`


class Above(NamedTuple):
    """Forecasts in loss units, minus the level of their window, so that small values keep their precision.

    A dense network in training returns forecasts for every sample, [B, L, H] and [B, L, H, Q]; quantiles from
    a separate head cover the newest sample only.
    """

    point_BH: Tensor
    quantiles_BHQ: Tensor
    level_B1: Tensor  # in 64 bits


class Forecaster(nn.Module):
    """Raw inputs (`windows.Inputs`; NaN: unknown) -> raw forecasts [B, H, Q]: point, then `quantiles`.

    The target and all 64-bit channels are scaled and centred in 64 bits; networks compute in 32.
    The scaling is in buffers fitted on training rows; series numbers from S on mean: not in training.
    `transform` is applied to y before scaling and inverted last.  `level` is what y is measured against in
    each window: nothing, its last observed value, its mean, or mean and standard deviation (RevIN, Kim et al.
    2022, without the affine map); it is subtracted before the network, passed to it as a channel, and added
    back.
    The network sees one sequence [B, L, N]: the past channels, a mask per feature, the level, the static
    covariates (repeated), and the rows ahead (right-aligned; several per sample if there are more than L),
    unless it takes those of each step separately (`num_ahead`).
    `lookback`: how many of the newest samples the network and its skip map see; None: all.
    A `guided` network receives the targets in training; a `dense` one forecasts from every sample in
    training, but quantiles from a separate head from the newest only.
    Quantiles are distances from the point forecast in units of the buffer `reach_H` (`models/fit/reach.py`).
    The point, and every layer before a `Head`, learns nothing from them: it is the same without quantiles.
    `point`: output 0 is the median or mean of the quantiles, and the network returns the middle quantile
    first instead of a point; None: the point is an output of its own.
    `skip`: a linear map [B, L, N] -> [B, H] of the same sequence, added to every output.  With it nothing is
    dense, and a guided network receives what the map leaves of the targets.  It is trained with the network,
    or is a ridge regression, solved first and then frozen (`models/fit/closed_form.py`): output 0 of a `Head`
    then starts at zero, so that the first forecasts are the ridge's.
    """

    level_Q: Tensor
    apart_Q: Tensor
    share_Q: Tensor
    reach_H: Tensor
    loc: Tensor
    scale: Tensor
    ahead_loc: Tensor
    ahead_scale: Tensor
    y_loc: Tensor
    y_scale: Tensor
    static_loc: Tensor
    static_scale: Tensor

    def __init__(
        self,
        network: Network,
        params: WindowParams,
        scaling: Scaling,
        level: Level,
        transform: Transform = "none",
        categories: Mapping[str, int] | None = None,
        quantiles: Sequence[float] = (),
        skip: Linear | Ridge | None = None,
        point: Point | None = None,
        lookback: int | None = None,
    ) -> None:
        super().__init__()
        self.network, self.skip, self.point = network, skip, point
        self.lookback = lookback or params.lookback
        self.quantiles = tuple(quantiles)
        self.guided = network.guided
        self.dense = network.dense and skip is None
        self.takes_ahead = takes(type(network), "num_ahead") and bool(params.known)
        self.horizon, self.rate = params.horizon, params.clock.sampling_rate
        self.level, self.transform = level, transform
        self.num_masks, self.num_future = len(params.features), len(params.future)
        self.y = list(params.features).index("y") if "y" in params.features else -1
        self.wide = [list(params.features).index(name) for name in params.wide_features]
        self.wide_ahead = [params.known.index(name + AHEAD) for name in params.wide_future]
        if self.y < 0 and level != "none":
            raise ValueError(f"scaling.window = {level} needs y among the features; add it or set scaling.window to none")
        self.register_buffer("level_Q", torch.tensor(self.quantiles), persistent=False)
        self.register_buffer("apart_Q", normal_steps(self.quantiles), persistent=False)
        self.register_buffer("reach_H", torch.ones(params.horizon))
        heads = self._heads()
        self.apart = bool(heads) and point is None
        for head in heads:
            head.apart = self.apart
            if self.solves_skip:
                head.begin_at_zero()
        self.register_buffer("share_Q", shares(self.quantiles) if point else torch.empty(0), persistent=False)
        for name, values in scaling._asdict().items():
            self.register_buffer(name, values)
        kinds = list(params.static.values())
        self.numeric = [i for i, kind in enumerate(kinds) if kind == "numeric"]
        self.categorical = [i for i, kind in enumerate(kinds) if kind == "categorical"]
        sizes = [(categories or {}).get(name, 1) for name, kind in params.static.items() if kind == "categorical"]
        self.embeddings = nn.ModuleList(nn.Embedding(size + 1, embedding_width(size), padding_idx=0) for size in sizes)

    def inputs(self, *given: Tensor) -> Seen:
        """The network's inputs, with the level and spread its forecasts are relative to; takes `Inputs`."""
        past_BLF, ahead_BAK, static_BC, series_B, wide_BLE, wide_BAE = given
        past_BLF, wide_BLE = past_BLF[:, -self.lookback :], wide_BLE[:, -self.lookback :]
        row_B = series_B.clamp(max=self.loc.shape[0] - 1)
        scaled = _scaled(past_BLF, self.loc[row_B], self.scale[row_B], wide_BLE, self.wide)
        y_BL = self._own_past(past_BLF, wide_BLE, row_B)
        if y_BL is not None:
            scaled[..., self.y] = y_BL
        known, filled = _known(scaled), _filled(scaled)
        level_B1 = self.loc.new_zeros(filled.shape[0], 1)  # len() would fix the batch size in an export
        spread_B1 = level_B1 + 1.0
        levels = []
        if self.level != "none" and y_BL is not None:
            seen_BL, y_BL = known[..., self.y] > 0, _filled(y_BL)
            level_B1 = _last(y_BL, seen_BL) if self.level == "last" else _mean(y_BL, seen_BL)
            if self.level == "revin":
                spread_B1 = (_mean((y_BL - level_B1) ** 2, seen_BL) + FLAT).sqrt()
            filled[..., self.y] = torch.where(seen_BL, (y_BL - level_B1) / spread_B1, 0.0)
            levels = [_repeat(part, filled) for part in ((level_B1, spread_B1) if self.level == "revin" else (level_B1,))]
        parts = [filled, known[..., : self.num_masks], *levels]
        ahead_BHK = None
        if self.takes_ahead:
            ahead_BHK = self._ahead(ahead_BAK, wide_BAE, row_B)[:, -self.horizon :]
        elif ahead_BAK.shape[-1]:
            parts.append(_fold(self._ahead(ahead_BAK, wide_BAE, row_B), filled.shape[1]))
        if static_BC.shape[-1]:
            parts.append(_repeat(self._static(static_BC), filled))
        return Seen(torch.cat([part.to(filled) for part in parts], dim=-1), level_B1, spread_B1, ahead_BHK)

    def _own_past(self, past_BLF: Tensor, wide_BLE: Tensor, row_B: Tensor) -> Tensor | None:
        """[B, L] the past of y, transformed and scaled, in 64 bits; None if y is not a feature."""
        if self.y < 0:
            return None
        y_BL = wide_BLE[..., self.wide.index(self.y)] if self.y in self.wide else past_BLF[..., self.y].to(self.loc)
        return (self._changed(y_BL) - self.loc[row_B, self.y].unsqueeze(1)) / self.scale[row_B, self.y].unsqueeze(1)

    def _changed(self, y: Tensor) -> Tensor:
        return torch.log1p(y) if self.transform == "log1p" else torch.asinh(y) if self.transform == "asinh" else y

    def _ahead(self, ahead_BAK: Tensor, wide_BAE: Tensor, row_B: Tensor) -> Tensor:
        scaled = _scaled(ahead_BAK, self.ahead_loc[row_B], self.ahead_scale[row_B], wide_BAE, self.wide_ahead)
        return torch.cat((_filled(scaled), _known(scaled)[..., scaled.shape[-1] - self.num_future :]), dim=-1)

    def _static(self, static_BC: Tensor) -> Tensor:
        """[B, ...] numbers scaled, 0 where missing; categories embedded, 0 for one not in training."""
        numbers = ((static_BC - self.static_loc) / self.static_scale).nan_to_num(nan=0.0)[:, self.numeric]
        parts = [numbers]
        for column, embedding in zip(self.categorical, self.embeddings, strict=True):
            parts.append(embedding(static_BC[:, column].to(torch.int64)))
        return torch.cat(parts, dim=-1)

    @torch.no_grad()
    def keep_categories(self, trained: Sequence[Tensor]) -> None:
        """Zeroes the embeddings of categories that no training window has, as for an unknown category.

        `trained`: per embedding, the codes that occur in training.
        """
        for embedding, codes in zip(self.embeddings, trained, strict=True):
            assert isinstance(embedding, nn.Embedding)
            kept = torch.zeros_like(embedding.weight)
            kept[codes] = embedding.weight[codes]
            embedding.weight.copy_(kept)

    def scale_targets(self, y_BT: Tensor, series_B: Tensor) -> Tensor:
        """Raw targets in loss units, in 64 bits."""
        row_B = series_B.clamp(max=self.loc.shape[0] - 1)
        loc_B1, scale_B1 = self.y_loc[row_B].unsqueeze(1), self.y_scale[row_B].unsqueeze(1)
        return (self._changed(y_BT.to(self.y_loc.dtype)) - loc_B1) / scale_B1

    def every_target(self, y_BT: Tensor) -> Tensor:
        """[B, L, H]: the targets of every sample that the network sees, from those of the whole window."""
        return y_BT.unfold(1, self.horizon, self.rate)[:, -self.lookback :]

    def targets(self, y_BT: Tensor) -> tuple[Tensor, Tensor]:
        """The targets of point and quantiles, shaped as in `Above`, from the targets of a batch."""
        if not (self.dense and self.training):
            return y_BT, y_BT
        every_BLH = self.every_target(y_BT)
        return every_BLH, every_BLH[:, -1] if self.apart else every_BLH

    def scaled(self, *given: Tensor) -> Tensor:
        """Forecasts [B, H, Q] for some `Inputs` in loss units, in 64 bits."""
        point_BH, quantiles_BHQ, level_B1 = self.above_level(given)
        forecasts_BHQ = torch.cat((point_BH.unsqueeze(-1), quantiles_BHQ), dim=-1)
        return forecasts_BHQ.to(level_B1) + level_B1.unsqueeze(-1)

    def above_level(self, given: Sequence[Tensor], scaled_BH: Tensor | None = None) -> Above:
        """The forecasts of a batch, as `Above` describes.

        `given`: `Inputs`.  `scaled_BH`: the targets in loss units, for a network that is guided by them in
        training.
        """
        seen = self.inputs(*given)
        beside: dict[str, Tensor] = {}
        if seen.ahead_BHK is not None and not self.network.closed_form:
            beside["ahead_BHK"] = seen.ahead_BHK
        linear_BH1 = None if self.skip is None else self.linear(seen.x_BLN).unsqueeze(-1)
        if self.guided and self.training and scaled_BH is not None:
            beside["y_BH"] = ((scaled_BH - seen.level_B1) / seen.spread_B1).to(seen.x_BLN)
            if linear_BH1 is not None:
                beside["y_BH"] = beside["y_BH"] - linear_BH1[..., 0].detach()
        first, others = self._outputs(self.network(seen.x_BLN, **beside))
        if linear_BH1 is not None:
            first = first + linear_BH1
        quantiles = others
        if self.quantiles:
            quantiles = self._quantiles(first[:, -1] if first.dim() > others.dim() else first, others)
            first = first if self.point is None else self._point_of(quantiles)
        point = first.squeeze(-1)
        if self.level == "revin":
            point, quantiles = _spread_out(point, seen.spread_B1), _spread_out(quantiles, seen.spread_B1)
        return Above(point, quantiles, seen.level_B1)

    def _outputs(self, given: Tensor | Apart) -> tuple[Tensor, Tensor]:
        """Output 0 of a network, its axis kept, and its other outputs, for the samples of `Above`."""
        if isinstance(given, Apart):
            first, others = given
        else:
            given = given.unsqueeze(-1) if given.dim() == 2 else given  # a family with one output may omit its axis
            first, others = given.split((1, given.shape[-1] - 1), dim=-1)
        if others.dim() == 4 and (self.apart or not self.dense):
            others = others[:, -1]
        return first[:, -1] if first.dim() == 4 and not self.dense else first, others

    @property
    def solves_skip(self) -> bool:
        """Whether the skip map is a ridge regression, which is solved rather than trained."""
        return isinstance(self.skip, Ridge)

    def skip_alone(self) -> "Forecaster":
        """The skip map alone as a point forecaster; it shares weights and buffers with this one."""
        alone = copy.copy(self)
        alone._modules = {**self._modules, "network": self.skip, "skip": None}
        alone._buffers = {**self._buffers, "level_Q": self.level_Q[:0]}
        alone.quantiles, alone.point, alone.apart, alone.guided, alone.dense = (), None, False, False, False
        return alone

    def linear(self, x_BLN: Tensor) -> Tensor:
        """[B, H]: the skip map's forecast from the network's inputs."""
        assert self.skip is not None
        linear_BH: Tensor = self.skip(x_BLN).flatten(1)
        return linear_BH

    def _heads(self) -> list[Head]:
        return [module for module in self.network.modules() if isinstance(module, Head)]

    def beside(self) -> list[nn.Parameter]:
        """The weights that only the quantiles train."""
        return [weight for head in self._heads() if head.apart and head.beside for weight in head.beside.parameters()]

    def _quantiles(self, first: Tensor, others: Tensor) -> Tensor:
        """[..., Q], ascending, from output 0 of a network and its other outputs.

        The middle quantile is a position; each other one is a positive distance from its neighbour. Outputs
        of zero give a normal distribution around output 0 with standard deviation `reach_H`.
        """
        middle, reach_H1 = (len(self.quantiles) - 1) // 2, self.reach_H.to(others).unsqueeze(-1)
        sizes = middle, len(self.quantiles) - middle - 1
        down_Q, _, up_Q = self.apart_Q.split((sizes[0], 1, sizes[1]))
        if self.point is None:
            down, place, up = others.split((sizes[0], 1, sizes[1]), dim=-1)
            centre = (first.detach() if self.training else first) + reach_H1 * (self.apart_Q[middle] + place)
        else:
            centre, (down, up) = first, others.split(sizes, dim=-1)
        down = reach_H1 * down_Q * nn.functional.softplus(down + AS_NORMAL)
        up = reach_H1 * up_Q * nn.functional.softplus(up + AS_NORMAL)
        return torch.cat((centre - down.flip(-1).cumsum(-1).flip(-1), centre, centre + up.cumsum(-1)), dim=-1)

    def _point_of(self, quantiles: Tensor) -> Tensor:
        """[..., 1]: the median or the mean of quantiles [..., Q], which are ascending."""
        if self.point == "median":
            middle = self.quantiles.index(0.5)
            return quantiles[..., middle : middle + 1]
        least = quantiles[..., :1]  # differences keep the precision of small values
        return least + ((quantiles - least) * self.share_Q).sum(-1, keepdim=True)

    def mapped(self, x_BLN: Tensor, **beside: Tensor) -> Tensor:
        """[B, H]: the point (or the middle quantile it is made from), with skip, relative to the level."""
        raw: Tensor = self.network(x_BLN, **beside)
        point_BH = raw if raw.dim() == 2 else raw[..., 0]
        return point_BH if self.skip is None else point_BH + self.linear(x_BLN)

    def raw(self, scaled_BHQ: Tensor, series_B: Tensor) -> Tensor:
        """Forecasts in loss units (64 bits), converted back to original units."""
        row_B = series_B.clamp(max=self.loc.shape[0] - 1)
        y_BHQ = scaled_BHQ * self.y_scale[row_B].reshape(-1, 1, 1) + self.y_loc[row_B].reshape(-1, 1, 1)
        if self.transform == "none":
            return y_BHQ
        y_BHQ = torch.expm1(y_BHQ) if self.transform == "log1p" else torch.sinh(y_BHQ)
        if self.point == "mean":  # the mean of the quantiles in original units
            return torch.cat((self._point_of(y_BHQ[..., 1:]), y_BHQ[..., 1:]), dim=-1)
        return y_BHQ

    def forward(
        self, past_BLF: Tensor, ahead_BAK: Tensor, static_BC: Tensor, series_B: Tensor, wide_BLE: Tensor, wide_BAE: Tensor
    ) -> Tensor:
        """Raw forecasts [B, H, Q] for some `Inputs`, in 64 bits."""
        return self.raw(self.scaled(past_BLF, ahead_BAK, static_BC, series_B, wide_BLE, wide_BAE), series_B)


def _scaled(values_BXF: Tensor, loc_BF: Tensor, scale_BF: Tensor, wide_BXE: Tensor, columns: Sequence[int]) -> Tensor:
    """Values scaled in their own precision; `columns` in 64 bits, taken from `wide_BXE`."""
    scaled = (values_BXF - loc_BF.to(values_BXF).unsqueeze(1)) / scale_BF.to(values_BXF).unsqueeze(1)
    for place, column in enumerate(columns):
        scaled[..., column] = (wide_BXE[..., place] - loc_BF[:, column, None]) / scale_BF[:, column, None]
    return scaled


def _known(values: Tensor) -> Tensor:
    """1 for a number, 0 for NaN; six times as fast as converting a boolean mask."""
    return torch.eq(values, values, out=torch.empty_like(values, requires_grad=False))


def _filled(values: Tensor) -> Tensor:
    """NaN replaced by 0.  (Infinite values, which no data check lets through, become the largest number.)"""
    return values.nan_to_num(nan=0.0)


def _spread_out(forecasts: Tensor, spread_B1: Tensor) -> Tensor:
    return forecasts * spread_B1.to(forecasts).reshape(-1, *[1] * (forecasts.dim() - 1))


def _last(y_BL: Tensor, seen_BL: Tensor) -> Tensor:
    """[B, 1] the last observed value of each window; 0 (the training mean) if there is none."""
    places = torch.arange(y_BL.shape[1], device=y_BL.device)
    last = torch.where(seen_BL, places, -1).amax(dim=1, keepdim=True)
    return torch.where(last >= 0, y_BL.gather(1, last.clamp(min=0)), 0.0)


def _mean(y_BL: Tensor, seen_BL: Tensor) -> Tensor:
    """[B, 1] the mean over the observed samples; 0 if there is none."""
    return torch.where(seen_BL, y_BL, 0.0).sum(1, keepdim=True) / seen_BL.sum(1, keepdim=True).clamp(min=1)


def _repeat(part_BX: Tensor, like_BLF: Tensor) -> Tensor:
    return part_BX.unsqueeze(1).expand(-1, like_BLF.shape[1], -1)


def _fold(ahead_BAK: Tensor, lookback: int) -> Tensor:
    """[B, L, m K]: the rows ahead, right-aligned with the samples, m = ceil(A / L) rows per sample."""
    rows, width = ahead_BAK.shape[1], ahead_BAK.shape[2]
    several = -(-rows // lookback)
    padded = nn.functional.pad(ahead_BAK, (0, 0, several * lookback - rows, 0))
    return padded.reshape(-1, lookback, several * width)


def embedding_width(categories: int) -> int:
    """The embedding size of a category: the rule of thumb 1.6 n^0.56, at most 16."""
    width: int = round(1.6 * categories**0.56)
    return min(16, max(1, width))


def num_inputs(
    params: WindowParams, level: Level, categories: Mapping[str, int] | None = None, folded: bool = True, lookback: int = 0
) -> tuple[int, int]:
    """(N, K): how many channels the input sequence has (with the rows ahead if `folded`), and each step."""
    several, width = -(-params.ahead // (lookback or params.lookback)), len(params.known) + len(params.future)
    static = sum(
        1 if kind == "numeric" else embedding_width((categories or {}).get(name, 1)) for name, kind in params.static.items()
    )
    levels: int = {"none": 0, "last": 1, "mean": 1, "revin": 2}[level]
    past = len(params.channels) + len(params.features) + levels + static
    return past + (several * width if folded else 0), width
