"""Which samples of which feature a forecast is made of: integrated gradients, by captum.

Sundararajan et al. 2017: for each input, its distance from a reference times the mean gradient on the way
there; over all inputs they add up to the forecast minus that of the reference.  The reference is the training
mean of every channel, and y at the level of its window.
Shapes: B windows, L lookback, N network inputs, F past channels, H horizon, K rows before the target of step 1.
"""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from models.data.window import WindowParams
from models.data.windows import Inputs
from models.ensemble import Ensemble, Model
from models.forecaster import Forecaster
from tasks.files import spread

MOST_STEPS = 4  # steps of the horizon, evenly spread
POINTS = 32  # on the way from the reference, by Gauss and Legendre
AT_ONCE = 512  # windows in memory


@dataclass(frozen=True)
class Gradients:
    """The mean |attribution| over windows and steps of each feature at each row, as a share of the total.

    `shares`: a row per feature of `names`, from lag `first` (rows before the target of step 1) on; None where
    the feature is not read.
    """

    names: tuple[str, ...]
    first: int
    shares: tuple[tuple[float | None, ...], ...]


def gradients_of(model: Model, params: WindowParams, inputs: Inputs) -> Gradients | None:
    """The integrated gradients of a model over some windows: for an ensemble, the mean of its networks'.

    None if no feature moves the forecast.
    """
    total_LF = _mean_LF(model, params, inputs)
    total = float(total_LF.sum())
    if not total > 0:
        return None
    rows = []
    for column, window in enumerate(params.features.values()):
        by_row: list[float | None] = [None] * (params.reach + 1)
        for sample in range(window.lookback):
            by_row[window.delay + window.sampling_rate * sample] = float(total_LF[-1 - sample, column]) / total
        rows.append(tuple(by_row))
    return Gradients(tuple(params.features), 1 + params.gap, tuple(rows))


def _mean_LF(model: Model, params: WindowParams, inputs: Inputs) -> Tensor:
    """[L, F] the mean |attribution| of the features, each model's adding up to 1 with all of its past."""
    if isinstance(model, Ensemble):
        return torch.stack([_mean_LF(member, params, inputs) for member in model.members]).mean(0)  # type: ignore[arg-type]
    own = copy.deepcopy(model).double().eval()
    found_LF = params.lookback, len(params.features)
    attributed_BLN = attributions(own, inputs)
    mean_LF = attributed_BLN.abs().mean(0)[:, : found_LF[1]]
    mean_LF = mean_LF / mean_LF.sum().clamp(min=torch.finfo(mean_LF.dtype).tiny)
    return torch.nn.functional.pad(mean_LF, (0, 0, params.lookback - own.lookback, 0))


def attributions(own: Forecaster, inputs: Inputs) -> Tensor:
    """[steps * B, L, N] the integrated gradients of a forecaster (in 64 bits), of MOST_STEPS steps of the horizon.

    Those of one window and step add up to its scaled forecast, relative to the level, minus that of the reference.
    """
    from captum.attr import IntegratedGradients  # imports pyplot: only when needed

    with torch.no_grad():
        seen = own.inputs(*(part.double() if part.is_floating_point() else part for part in inputs))
    beside = () if seen.ahead_BHK is None else (seen.ahead_BHK,)
    x_BLN = seen.x_BLN.detach().requires_grad_()

    def point(x_BLN: Tensor, *ahead: Tensor) -> Tensor:
        return own.mapped(x_BLN, **dict(zip(("ahead_BHK",), ahead, strict=False)))

    method = IntegratedGradients(point)
    found = []
    for step in spread(own.horizon, MOST_STEPS):
        one: Tensor = method.attribute(
            x_BLN, target=step, additional_forward_args=beside or None, n_steps=POINTS, internal_batch_size=AT_ONCE
        )
        found.append(one.detach())
    return torch.cat(found)
