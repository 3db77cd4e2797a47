"""From raw values to raw forecasts in one module: scaling in, network, scaling out; never touches a window or a file.

Shapes: B batch, L lookback, F channels of a batch, N inputs of the network, H horizon, Q outputs, S series.
"""

import inspect
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

import torch
from torch import Tensor, nn

from models.scaling import Scaling, no_scaling
from models.windows import WindowParams

Level = Literal["none", "last", "mean"]
CONTRACT = ("num_features", "lookback", "horizon")


class Forecaster(nn.Module):
    """Raw past values [B, L, F] (NaN: unknown) and the number of each series [B] -> raw forecasts [B, H, Q], Q = 1.

    The scaling is held in buffers fitted on training rows; a series number of S (or beyond) means: not seen in training.
    `level` sets what the y channel is measured against in each window: nothing, its last observed value, or its mean; it is
    taken off before the network, handed to it as a channel, and put back on after.
    """

    loc: Tensor
    scale: Tensor
    y_loc: Tensor
    y_scale: Tensor

    def __init__(self, network: nn.Module, params: WindowParams, scaling: Scaling, level: Level) -> None:
        super().__init__()
        self.network = network
        self.level = level
        self.num_masks = len(params.features)
        self.y = list(params.features).index("y") if "y" in params.features else -1
        if self.y < 0 and level != "none":
            raise ValueError(f"scaling.window = {level} needs y among the features; add it or set scaling.window to none")
        for name, values in scaling._asdict().items():
            self.register_buffer(name, values)

    def inputs(self, past_BLF: Tensor, series_B: Tensor) -> tuple[Tensor, Tensor]:
        """What the network sees, [B, L, N] (scaled channels, masks of the features, the level), and the level [B, 1]."""
        row_B = series_B.clamp(max=self.loc.shape[0] - 1)
        scaled = (past_BLF - self.loc[row_B].unsqueeze(1)) / self.scale[row_B].unsqueeze(1)
        observed = ~scaled.isnan()
        filled = torch.where(observed, scaled, 0.0)
        masks = observed[..., : self.num_masks].to(filled.dtype)
        if self.level == "none":
            return torch.cat((filled, masks), dim=-1), filled.new_zeros(
                filled.shape[0], 1
            )  # len() would fix the batch size in an export
        y_BL, seen_BL = filled[..., self.y], observed[..., self.y]
        level_B1 = _last(y_BL, seen_BL) if self.level == "last" else _mean(y_BL, seen_BL)
        relative = torch.where(seen_BL, y_BL - level_B1, 0.0).unsqueeze(-1)
        parts = (filled[..., : self.y], relative, filled[..., self.y + 1 :], masks)
        level_BL1 = level_B1.unsqueeze(-1).expand(-1, filled.shape[1], -1)
        return torch.cat((*parts, level_BL1), dim=-1), level_B1

    def scale_targets(self, y_BH: Tensor, series_B: Tensor) -> Tensor:
        """Raw targets in the units of the loss."""
        row_B = series_B.clamp(max=self.loc.shape[0] - 1)
        scaled: Tensor = (y_BH - self.y_loc[row_B].unsqueeze(1)) / self.y_scale[row_B].unsqueeze(1)
        return scaled

    def scaled(self, past_BLF: Tensor, series_B: Tensor) -> Tensor:
        """Forecasts [B, H] in the units of the loss."""
        x_BLN, level_B1 = self.inputs(past_BLF, series_B)
        result: Tensor = self.network(x_BLN) + level_B1
        return result

    def forward(self, past_BLF: Tensor, series_B: Tensor) -> Tensor:
        """Raw forecasts [B, H, Q]."""
        row_B = series_B.clamp(max=self.loc.shape[0] - 1)
        scaled_BH = self.scaled(past_BLF, series_B)
        return (scaled_BH * self.y_scale[row_B].unsqueeze(1) + self.y_loc[row_B].unsqueeze(1)).unsqueeze(-1)


def _last(y_BL: Tensor, seen_BL: Tensor) -> Tensor:
    """[B, 1] the last observed value of each window, 0 (the mean of training) where there is none."""
    places = torch.arange(y_BL.shape[1], device=y_BL.device)
    last = torch.where(seen_BL, places, -1).amax(dim=1, keepdim=True)
    return torch.where(last >= 0, y_BL.gather(1, last.clamp(min=0)), 0.0)


def _mean(y_BL: Tensor, seen_BL: Tensor) -> Tensor:
    return y_BL.sum(1, keepdim=True) / seen_BL.sum(1, keepdim=True).clamp(min=1)


def num_inputs(params: WindowParams, level: Level) -> int:
    """N: every channel that the network sees: features, calendar, masks and the level."""
    return len(params.channels) + len(params.features) + (level != "none")


def build_forecaster(
    family: str,
    network: Mapping[str, Any],
    params: WindowParams,
    *,
    level: Level = "none",
    scaling: Scaling | None = None,
) -> Forecaster:
    """A forecaster of a family (a key of FAMILIES) with the arguments of its constructor; without `scaling` nothing is scaled.

    Raises ValueError for an unknown family, argument or type.
    """
    from models import FAMILIES

    if family not in FAMILIES:
        raise ValueError(f"unknown family {family!r}; there are: {', '.join(FAMILIES)}")
    kind = FAMILIES[family]
    check_arguments(kind, family, network)
    built = kind(num_features=num_inputs(params, level), lookback=params.lookback, horizon=params.horizon, **network)
    return Forecaster(built, params, scaling or no_scaling(params), level)


def check_arguments(kind: type, family: str, given: Mapping[str, Any]) -> None:
    """Refuses (ValueError) what the constructor of a network does not take: unknown, missing or of another type."""
    signature = inspect.signature(kind).parameters
    own = [name for name in signature if name not in CONTRACT]
    for name in given:
        if name not in own:
            raise ValueError(f"network.{name}: family {family} has no such argument; it has: {', '.join(own) or 'none'}")
    for name in own:
        if name not in given and signature[name].default is inspect.Parameter.empty:
            raise ValueError(f"network.{name}: family {family} needs it")
    hints = get_type_hints(kind.__init__)  # type: ignore[misc]
    for name, value in given.items():
        if not _fits(value, hints[name]):
            raise ValueError(f"network.{name}: {value!r} is not {_words(hints[name])}")


def _fits(value: Any, hint: Any) -> bool:
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is hint


def _words(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(map(str, get_args(hint)))
    return {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}.get(hint, str(hint))
