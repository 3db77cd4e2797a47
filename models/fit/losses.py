"""Losses that ignore missing targets."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

ELEMENTWISE: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mae": lambda forecast, y: functional.l1_loss(forecast, y, reduction="none"),
    "mse": lambda forecast, y: functional.mse_loss(forecast, y, reduction="none"),
    "huber": lambda forecast, y: functional.huber_loss(forecast, y, reduction="none"),
}


def masked_loss(name: str, forecast_BH: Tensor, y_BH: Tensor, count: Tensor | None = None) -> Tensor:
    """The mean loss (`mae`, `mse` or `huber`, delta 1) over the observed targets; 0 if none is observed.

    `count`: the observed targets of the whole batch if this is part of one, so that the parts' losses add up.
    """
    observed = ~y_BH.isnan()
    errors = ELEMENTWISE[name](forecast_BH, torch.where(observed, y_BH, forecast_BH.detach()))
    return errors.sum() / (observed.sum() if count is None else count).clamp(min=1)


def pinball_loss(quantiles_HQ: Tensor, y_H: Tensor, level_Q: Tensor, count: Tensor | None = None) -> Tensor:
    """The mean pinball loss (Koenker & Bassett 1978) of quantiles [..., Q] over the observed targets [...].

    0 without levels.  `y_H`: NaN where not observed; `count` as in `masked_loss`.
    """
    if not len(level_Q):
        return quantiles_HQ.new_zeros(())
    observed = ~y_H.isnan()
    error_HQ = torch.where(observed, y_H, 0.0).unsqueeze(-1) - quantiles_HQ
    pinball_HQ = level_Q * error_HQ - error_HQ.clamp(max=0)
    pinball_H = torch.where(observed, pinball_HQ.mean(-1), 0.0)
    return pinball_H.sum() / (observed.sum() if count is None else count).clamp(min=1)


def absolute_errors(forecast_BH: Tensor, y_BH: Tensor) -> tuple[Tensor, Tensor]:
    """The sum of |y - forecast| over the observed targets and their number, on the forecasts' device."""
    observed = ~y_BH.isnan()
    return (forecast_BH - y_BH).abs().masked_fill(~observed, 0.0).sum(), observed.sum()
