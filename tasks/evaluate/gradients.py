"""Which rows of which covariate a forecast is made of: integrated gradients, by captum.

Sundararajan et al. 2017: for each input, its distance from a reference times the mean gradient on the way
there; over all inputs they add up to the forecast minus that of the reference.  The reference has every channel
at its training mean, so that the level of a window counts as what its y says.
Shapes: B windows, L lookback, F past channels, A rows ahead, K channels known ahead, H horizon.
"""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from models.data.window import AHEAD, WindowParams
from models.data.windows import Inputs
from models.ensemble import Ensemble, Model
from models.forecaster import Forecaster
from tasks.files import spread

MOST_STEPS = 4  # steps of the horizon, evenly spread
POINTS = 32  # on the way from the reference, by Gauss and Legendre
AT_ONCE = 512  # windows in memory


@dataclass(frozen=True)
class Gradients:
    """The mean |attribution| over windows and steps of each covariate at each row, as a share of the total.

    `shares`: for each of `names`, from lag `first` (in rows before the target of step 1; 0 is that row, and
    what is known of later rows has negative lags) on; None where it is not read.
    """

    names: tuple[str, ...]
    first: int
    shares: tuple[tuple[float | None, ...], ...]


def gradients_of(model: Model, params: WindowParams, inputs: Inputs) -> Gradients | None:
    """The integrated gradients of a model over some windows: for an ensemble, the mean of its networks'.

    Of features and future covariates, not of the calendar.  None if none of them moves the forecast.
    """
    mean_LF, mean_AK = _means(model, params, inputs)
    first = 1 + params.gap - (params.ahead if params.future else 0)
    names = (*params.features, *(name for name in params.future if name not in params.features))
    by_lag: dict[str, list[float | None]] = {name: [None] * (2 + params.gap + params.reach - first) for name in names}
    for column, (name, window) in enumerate(params.features.items()):
        for sample in range(window.lookback):
            lag = 1 + params.gap + window.delay + window.sampling_rate * sample
            by_lag[name][lag - first] = float(mean_LF[-1 - sample, column])
    for name in params.future:
        for row in range(params.ahead):
            by_lag[name][params.gap - row - first] = float(mean_AK[row, params.known.index(name + AHEAD)])
    total = sum(share or 0.0 for row in by_lag.values() for share in row)
    if not total > 0:
        return None
    shares = tuple(tuple(None if share is None else share / total for share in row) for row in by_lag.values())
    return Gradients(names, first, shares)


def _means(model: Model, params: WindowParams, inputs: Inputs) -> tuple[Tensor, Tensor]:
    """[L, F] and [A, K] the mean |attribution|; each network's adds up to 1."""
    if isinstance(model, Ensemble):
        every = [_means(member, params, inputs) for member in model.members]  # type: ignore[arg-type]
        return torch.stack([past for past, _ in every]).mean(0), torch.stack([ahead for _, ahead in every]).mean(0)
    past_LF, ahead_AK = (part.abs().mean(0) for part in attributions(model, inputs))
    total = (past_LF.sum() + ahead_AK.sum()).clamp(min=torch.finfo(past_LF.dtype).tiny)
    return past_LF / total, ahead_AK / total


def attributions(forecaster: Forecaster, inputs: Inputs) -> tuple[Tensor, Tensor]:
    """[steps * B, L, F] and [steps * B, A, K] the integrated gradients of MOST_STEPS steps of the horizon.

    Those of one window and step add up to its scaled forecast minus that of the reference.  A missing value
    stays missing and has none.
    """
    from captum.attr import IntegratedGradients  # imports pyplot: only when needed

    own = copy.deepcopy(forecaster).double().eval()
    given = Inputs(*(part.double() if part.is_floating_point() else part for part in inputs))
    past_BLF, ahead_BAK = given.past_BLF.clone(), given.ahead_BAK.clone()
    past_BLF[..., own.wide], ahead_BAK[..., own.wide_ahead] = given.wide_BLE, given.wide_BAE
    x_BX, from_BX = _flat(past_BLF, ahead_BAK), _flat(*_reference(own, given))
    gone_BX = x_BX.isnan()

    def point_BH(x_BX: Tensor, gone_BX: Tensor, static_BC: Tensor, series_B: Tensor) -> Tensor:
        past_BLF, ahead_BAK = _apart(x_BX.masked_fill(gone_BX, torch.nan), inputs)
        wide = past_BLF[..., own.wide], ahead_BAK[..., own.wide_ahead]
        return own.scaled(past_BLF, ahead_BAK, static_BC, series_B, *wide)[..., 0]

    method, x_BX = IntegratedGradients(point_BH), x_BX.where(~gone_BX, from_BX).requires_grad_()
    others = (gone_BX, given.static_BC, given.series_B)
    parts = [
        method.attribute(x_BX, from_BX, step, others, n_steps=POINTS, internal_batch_size=AT_ONCE).detach()
        for step in spread(own.horizon, MOST_STEPS)
    ]
    return _apart(torch.cat(parts), inputs)


def _flat(past_BLF: Tensor, ahead_BAK: Tensor) -> Tensor:
    return torch.cat((past_BLF.flatten(1), ahead_BAK.flatten(1)), dim=1)


def _apart(x_BX: Tensor, like: Inputs) -> tuple[Tensor, Tensor]:
    """The inverse of `_flat`, for any number of windows."""
    (_, lookback, features), (_, ahead, known) = like.past_BLF.shape, like.ahead_BAK.shape
    past_BP, ahead_BP = x_BX.split((lookback * features, ahead * known), dim=1)
    return past_BP.reshape(-1, lookback, features), ahead_BP.reshape(len(x_BX), ahead, known)


def _reference(own: Forecaster, given: Inputs) -> tuple[Tensor, Tensor]:
    """The training means of each window's series, for its past and for what is known ahead, in original units."""
    row_B = given.series_B.clamp(max=own.loc.shape[0] - 1)
    mean_BF, ahead_BK = own.loc[row_B], own.ahead_loc[row_B]
    if own.y >= 0 and own.transform != "none":  # of y the mean was taken after its transform
        back = torch.expm1 if own.transform == "log1p" else torch.sinh
        mean_BF = mean_BF.clone()
        mean_BF[:, own.y] = back(mean_BF[:, own.y])
    past_BLF = mean_BF.unsqueeze(1).expand_as(given.past_BLF)
    return past_BLF.contiguous(), ahead_BK.unsqueeze(1).expand_as(given.ahead_BAK).contiguous()
