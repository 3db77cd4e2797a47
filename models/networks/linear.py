"""One map from all lags to all steps: linear (ridge or gradient descent), or with a hidden layer.

Hoerl & Kennard 1970 (ridge); Zeng et al. 2023, "Are transformers effective for time series forecasting?"
(linear, nlinear).
Shapes: B batch, L lookback, F features, H horizon, O outputs, P = L * F lags, D hidden size.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from models.networks.contract import ClosedForm, Head, Network, check_ranges
from models.networks.layers import initialise

PENALTIES = tuple(10.0**power for power in range(-1, 6))
LEAST_TARGETS = 2


class Linear(Network):
    """y = W x + b over the flattened window, by gradient descent: [B, L, F] -> [B, H, O].

    `subtract_last` (nlinear): every channel is relative to its newest sample, so the map does not depend on
    the window's level; the forecaster adds the level back (`scaling.window: last`).
    Weights start at zero: the first forecast is the level alone.
    """

    linear = True

    def __init__(
        self, *, num_features: int, lookback: int, horizon: int, outputs: int = 1, subtract_last: bool = False
    ) -> None:
        super().__init__()
        self.subtract_last = subtract_last
        self.map = Head(lookback * num_features, horizon, outputs)
        nn.init.zeros_(self.map.weight)
        nn.init.zeros_(self.map.bias)

    def forward(self, x_BLF: Tensor) -> Tensor:
        """[B, L, F] -> [B, H, O]."""
        x_BLF = x_BLF - x_BLF[:, -1:] if self.subtract_last else x_BLF
        return self.map(x_BLF.flatten(1))


class Dense(Network):
    """A layer without recurrence, h = f(W x + b), then a linear map: [B, L, F] -> [B, H, O].

    Every lag has its own weights and nothing is carried between samples; comparing it shows what a recurrence
    adds.  Xavier weights, zero biases (Kaiming for relu).  Raises ValueError for numbers out of range.
    """

    def __init__(
        self,
        *,
        num_features: int,
        lookback: int,
        horizon: int,
        outputs: int = 1,
        hidden_size: int,
        nonlinearity: Literal["tanh", "relu"] = "tanh",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_ranges(hidden_size=hidden_size, dropout=dropout)
        self.hidden = nn.Linear(lookback * num_features, hidden_size)
        self.head = Head(hidden_size, horizon, outputs)
        initialise(self.hidden, nonlinearity)
        self.function = nn.Tanh() if nonlinearity == "tanh" else nn.ReLU()
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BLF: Tensor) -> Tensor:
        """[B, L, F] -> [B, H, O]."""
        hidden_BD = self.function(self.hidden(x_BLF.flatten(1)))
        return self.head(self.dropout(hidden_BD))


class Ridge(ClosedForm):
    """y = W x + b over the flattened window, by ridge regression for each penalty: [B, L, F] -> [B, H].

    Only a point forecast: it has no `outputs`.
    """

    linear = True
    penalties = PENALTIES

    def __init__(self, *, num_features: int, lookback: int, horizon: int) -> None:
        super().__init__()
        self.map = nn.Linear(lookback * num_features, horizon)

    def forward(self, x_BLF: Tensor) -> Tensor:
        """[B, L, F] -> [B, H]."""
        result: Tensor = self.map(x_BLF.flatten(1))
        return result

    def candidates(
        self, batches: Iterable[tuple[Tensor, Tensor]], penalties: Sequence[float] = PENALTIES
    ) -> Iterator[tuple[float, dict[str, Tensor]]]:
        """Each penalty with its weights: the minimum of |y - W x - b|^2 + penalty |W|^2 over all batches.

        Batches are (x [B, L, F], y [B, H]).  A missing target (NaN) is left out of its own step only.  The
        bias is not penalised; a constant lag gets weight 0, as does a step with fewer than two targets.  A
        penalty too small to solve with is left out. Memory: 8 (P + 1)^2 bytes, plus as much for each step
        that misses a target, for any number of windows.
        """
        moments, cross, by_step = _normal_equations((x.flatten(1).double(), y.double()) for x, y in batches)
        varies = _varying(moments)
        moments, cross = moments[varies][:, varies], cross[varies]
        for step in by_step:  # one at a time: they may be large
            by_step[step] = by_step[step][varies][:, varies]
        for penalty in penalties:
            try:
                solved = _solve(moments, cross, by_step, penalty)
            except torch.linalg.LinAlgError:  # type: ignore[attr-defined]  # singular in 64 bits: a larger penalty may work
                continue
            full = cross.new_zeros(len(varies), cross.shape[1])
            full[varies] = solved
            weights = {"map.weight": full[:-1].T.float().contiguous(), "map.bias": full[-1].float()}
            yield penalty, weights


def _normal_equations(batches: Iterable[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor, dict[int, Tensor]]:
    """X'X [P+1, P+1] and X'Y [P+1, H] over all windows, ones last; and X'X of each step with gaps."""
    moments = cross = None
    by_step: dict[int, Tensor] = {}
    for x_BP, y_BH in batches:
        ones = torch.cat((x_BP, x_BP.new_ones(len(x_BP), 1)), dim=1)
        missing = y_BH.isnan()
        if moments is None or cross is None:
            moments, cross = x_BP.new_zeros(ones.shape[1], ones.shape[1]), x_BP.new_zeros(ones.shape[1], y_BH.shape[1])
        moments += ones.T @ ones
        cross += ones.T @ y_BH.masked_fill(missing, 0.0)
        for step in missing.any(0).nonzero().flatten().tolist():
            rows = ones[missing[:, step]]
            by_step.setdefault(step, torch.zeros_like(moments)).addmm_(rows.T, rows, alpha=-1)
    if moments is None or cross is None:
        raise ValueError("no window to fit on")
    for matrix in by_step.values():
        matrix += moments
    return moments, cross, by_step


def _varying(moments: Tensor) -> Tensor:
    """Which columns vary by more than rounding; the last one, of ones, always stays."""
    count, sums = moments[-1, -1], moments[-1]
    squares = moments.diagonal()
    varies = squares / count - (sums / count) ** 2 > 1e-9 * (1 + squares / count)
    varies[-1] = True
    return varies


def _solve(moments: Tensor, cross: Tensor, by_step: Mapping[int, Tensor], penalty: float) -> Tensor:
    """[P+1, H]: all complete steps at once, each other one with its own moments; 0 with fewer than 2 targets.

    Raises LinAlgError if a matrix is not positive definite.
    """
    solved = torch.zeros_like(cross)
    whole = [step for step in range(cross.shape[1]) if step not in by_step]
    if whole:
        solved[:, whole] = _ridge(moments, cross[:, whole], penalty)
    for step, matrix in by_step.items():
        if matrix[-1, -1] >= LEAST_TARGETS:  # the count of ones, exact under sums and differences
            solved[:, [step]] = _ridge(matrix, cross[:, [step]], penalty)
    return solved


def _ridge(moments: Tensor, cross: Tensor, penalty: float) -> Tensor:
    shrunk = moments.clone()
    shrunk.diagonal()[:-1] += penalty
    return torch.cholesky_solve(cross, torch.linalg.cholesky(shrunk))
