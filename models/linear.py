"""One linear map from all lags to all steps, solved in closed form (ridge); never iterates over epochs.

Hoerl & Kennard 1970.  Shapes: B batch, L lookback, F features, H horizon, P = L * F lags.
"""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

PENALTIES = tuple(10.0**power for power in range(-1, 6))
STEPS_AT_ONCE = 32


class Linear(nn.Module):
    """y = W x + b over the flattened window: [B, L, F] -> [B, H].  `candidates` gives the ridge solutions of `PENALTIES`."""

    def __init__(self, *, num_features: int, lookback: int, horizon: int) -> None:
        super().__init__()
        self.map = nn.Linear(lookback * num_features, horizon)

    def forward(self, x_BLF: Tensor) -> Tensor:
        """[B, L, F] -> [B, H]."""
        result: Tensor = self.map(x_BLF.flatten(1))
        return result

    def candidates(self, batches: Iterable[tuple[Tensor, Tensor]]) -> Iterator[tuple[float, dict[str, Tensor]]]:
        """Each penalty with the weights that minimise |y - W x - b|^2 + penalty |W|^2 over all (x [B, L, F], y [B, H]).

        A missing target (NaN) is left out of its own step only.  The bias is not penalised; a lag that never varies gets 0.
        """
        moments, cross, gaps = _normal_equations((x.flatten(1).double(), y.double()) for x, y in batches)
        varies = _varying(moments)
        moments, cross = moments[varies][:, varies], cross[varies]
        for penalty in PENALTIES:
            ridge = torch.diag(torch.full_like(moments[0], penalty))
            ridge[-1, -1] = 0.0
            solved = _solve(moments + ridge, cross, {h: x[:, varies] for h, x in gaps.items()})
            full = cross.new_zeros(len(varies), cross.shape[1])
            full[varies] = solved
            weights = {"map.weight": full[:-1].T.float().contiguous(), "map.bias": full[-1].float()}
            yield penalty, weights


def _normal_equations(batches: Iterable[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor, dict[int, Tensor]]:
    """X'X [P+1, P+1] and X'Y [P+1, H] with a column of ones last, and the rows of X that each step has to leave out."""
    moments = cross = None
    gaps: dict[int, list[Tensor]] = {}
    for x_BP, y_BH in batches:
        ones = torch.cat((x_BP, x_BP.new_ones(len(x_BP), 1)), dim=1)
        missing = y_BH.isnan()
        if moments is None or cross is None:
            moments, cross = x_BP.new_zeros(ones.shape[1], ones.shape[1]), x_BP.new_zeros(ones.shape[1], y_BH.shape[1])
        moments += ones.T @ ones
        cross += ones.T @ y_BH.masked_fill(missing, 0.0)
        for step in missing.any(0).nonzero().flatten().tolist():
            gaps.setdefault(step, []).append(ones[missing[:, step]])
    if moments is None or cross is None:
        raise ValueError("no window to fit on")
    return moments, cross, {step: torch.cat(rows) for step, rows in gaps.items()}


def _varying(moments: Tensor) -> Tensor:
    """Which columns have a variance above rounding; the column of ones, last, always stays."""
    count, sums = moments[-1, -1], moments[-1]
    squares = moments.diagonal()
    varies = squares / count - (sums / count) ** 2 > 1e-9 * (1 + squares / count)
    varies[-1] = True
    return varies


def _solve(moments: Tensor, cross: Tensor, gaps: dict[int, Tensor]) -> Tensor:
    """Solves for all steps at once where nothing is missing, else with each step's own sums."""
    if not gaps:
        return _cholesky_solve(moments, cross)
    solved = torch.empty_like(cross)
    for start in range(0, cross.shape[1], STEPS_AT_ONCE):
        steps = range(start, min(start + STEPS_AT_ONCE, cross.shape[1]))
        own = torch.stack([moments - gaps[h].T @ gaps[h] if h in gaps else moments for h in steps])
        solved[:, start : steps.stop] = _cholesky_solve(own, cross[:, start : steps.stop].T.unsqueeze(-1)).squeeze(-1).T
    return solved


def _cholesky_solve(a: Tensor, b: Tensor) -> Tensor:
    return torch.cholesky_solve(b, torch.linalg.cholesky(a))
