"""Losses that leave missing targets out; never an average over what was not observed."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

ELEMENTWISE: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mae": lambda forecast, y: functional.l1_loss(forecast, y, reduction="none"),
    "mse": lambda forecast, y: functional.mse_loss(forecast, y, reduction="none"),
    "huber": lambda forecast, y: functional.huber_loss(forecast, y, reduction="none"),
}


def masked_loss(name: str, forecast_BH: Tensor, y_BH: Tensor) -> Tensor:
    """The mean loss (`mae`, `mse` or `huber`, delta 1) over the observed targets; 0 where none is observed."""
    observed = ~y_BH.isnan()
    errors = ELEMENTWISE[name](forecast_BH, torch.where(observed, y_BH, forecast_BH.detach()))
    return errors.sum() / observed.sum().clamp(min=1)


def absolute_errors(forecast_BH: Tensor, y_BH: Tensor) -> tuple[float, int]:
    """The sum of |y - forecast| over the observed targets, in float64, and their number."""
    observed = ~y_BH.isnan()
    errors = (forecast_BH - y_BH).abs().masked_fill(~observed, 0.0)
    return float(errors.cpu().double().sum()), int(observed.sum())  # not every device has float64
