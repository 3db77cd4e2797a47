"""Losses that ignore missing targets: ours by name, and those from outside by their target."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from models.outside import OutsideError, taken

ELEMENTWISE: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mae": lambda forecast, y: functional.l1_loss(forecast, y, reduction="none"),
    "mse": lambda forecast, y: functional.mse_loss(forecast, y, reduction="none"),
    "huber": lambda forecast, y: functional.huber_loss(forecast, y, reduction="none"),
}


def elementwise(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss of every forecast by its target, by name.  Raises OutsideError for one that nobody has taken in."""
    return ELEMENTWISE[name] if name in ELEMENTWISE else taken(name)


def check_loss(name: str) -> None:
    """Raises OutsideError unless a loss gives a finite number and gradient for every forecast, also for a perfect one."""
    y_BH = torch.tensor([[-1.0, 0.0, 2.0], [0.5, 3.0, -2.0]])
    missed_BH = (y_BH + torch.tensor([0.5, -1.5, 3.0])).requires_grad_()
    perfect_BH = y_BH.clone().requires_grad_()
    for forecast_BH in (missed_BH, perfect_BH):
        try:
            loss_BH = elementwise(name)(forecast_BH, y_BH)
        except Exception as error:
            raise OutsideError(f"{name} raised {type(error).__name__}: {error}") from error
        if not isinstance(loss_BH, Tensor) or loss_BH.shape != y_BH.shape:
            shape = list(loss_BH.shape) if isinstance(loss_BH, Tensor) else type(loss_BH).__name__
            raise OutsideError(f"{name} must give one loss for each forecast, a tensor of {list(y_BH.shape)}, not {shape}")
        if not torch.isfinite(loss_BH).all():
            raise OutsideError(f"{name} gives a loss that is not finite")
        if not loss_BH.requires_grad:
            raise OutsideError(f"{name} has no gradient: compute it by torch from the forecasts it is given")
        (slope_BH,) = torch.autograd.grad(loss_BH.sum(), forecast_BH)
        if not torch.isfinite(slope_BH).all():
            raise OutsideError(f"{name} has a gradient that is not finite where a forecast equals its target, or elsewhere")
        if forecast_BH is missed_BH and not slope_BH.abs().sum() > 0:
            raise OutsideError(f"{name} has a gradient of zero everywhere: nothing would be learnt")


def masked_loss(name: str, forecast_BH: Tensor, y_BH: Tensor, count: Tensor | None = None) -> Tensor:
    """The mean loss (`mae`, `mse`, `huber` of delta 1, or one from outside) over the observed targets; 0 if none is.

    `count`: the observed targets of the whole batch if this is part of one, so that the parts' losses add up.
    """
    observed = ~y_BH.isnan()
    errors = elementwise(name)(forecast_BH, torch.where(observed, y_BH, forecast_BH.detach()))
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
