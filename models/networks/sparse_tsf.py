"""Cross-period sparse forecasting: one map from past to future periods, shared by all phases of a season.

Lin et al. 2024, "SparseTSF" (ICML, arXiv 2405.00946).
Shapes: B batch, L lookback, F features, H horizon, O outputs, K channels known ahead, S season, P periods
seen, M ahead.
"""

import torch
from torch import Tensor, nn

from models.networks.contract import FIRST, Head, Network, Target, check_ranges
from models.networks.layers import initialise
from models.networks.sequence import known_ahead


class SparseTsf(Network):
    """One linear map of P periods to M, the same for each of the S phases: [B, L, F], [B, H, K] -> [B, H, O].

    The channels are summed with one weight each (initially 1 for y, 0 for all others), and a convolution over
    a season is added to the sum, so that each sample also knows its neighbours.  Zeros, which stand for the
    level, precede the oldest sample if L is not a multiple of the season.  Values known ahead of a step move
    its point by one weight per channel.  The paper's 720 samples and 720 steps take fewer than 1,000 weights
    for the point.
    It starts as the seasonal naive forecast, without random draws.  `hidden_size` above 0 replaces the linear
    map by one with a hidden layer (ReLU, Kaiming weights), the paper's SparseTSF/MLP.
    `season`: in rows.  A window shorter than that has no season, which then counts as 1: a linear map of all
    samples to all steps, without a convolution.  The level is handled by the forecaster (`scaling.window`).
    Raises ValueError for numbers out of range.
    """

    def __init__(
        self,
        *,
        num_features: int,
        lookback: int,
        horizon: int,
        outputs: int = 1,
        num_ahead: int = 0,
        target: Target = FIRST,
        season: int = 1,
        hidden_size: int = 0,
    ) -> None:
        super().__init__()
        check_ranges(season=season, hidden_size=hidden_size, num_ahead=num_ahead, least={"hidden_size": 0, "num_ahead": 0})
        self.season = target.season(season, lookback)
        self.horizon, self.num_ahead = horizon, num_ahead
        steps = target.steps(horizon)
        left_out = (steps[0] - 1) // self.season * self.season  # whole periods inside a gap
        places = [step - 1 - left_out for step in steps]
        self.places = slice(places[0], places[-1] + 1) if target.rate == 1 else places
        seen, ahead = -(-lookback // self.season), places[-1] // self.season + 1
        self.share_F = nn.Parameter(torch.zeros(num_features))
        half = self.season // 2
        self.around = nn.Conv1d(1, 1, 2 * half + 1, padding=half, bias=False) if half else None
        self.hidden = nn.Linear(seen, hidden_size) if hidden_size else None
        self.head = Head(hidden_size or seen, ahead, outputs)
        self.share_K = nn.Parameter(torch.zeros(num_ahead)) if num_ahead else None
        with torch.no_grad():
            self.share_F[target.channel] = 1.0
            if self.around is not None:
                self.around.weight.zero_()
            if self.hidden is not None:
                initialise(self.hidden)
                initialise(self.head, "tanh")
            else:
                self.head.weight.zero_()
                self.head.weight[:, -1] = 1.0
                self.head.bias.zero_()

    def forward(self, x_BLF: Tensor, ahead_BHK: Tensor | None = None) -> Tensor:
        """[B, L, F], [B, H, K] -> [B, H, O]; ValueError if `ahead_BHK` is missing or of another shape."""
        sum_BL = x_BLF @ self.share_F
        sum_BL = nn.functional.pad(sum_BL, (-x_BLF.shape[1] % self.season, 0))
        if self.around is not None:
            sum_BL = sum_BL + self.around(sum_BL.unsqueeze(1)).squeeze(1)
        phases_BSP = sum_BL.unflatten(1, (-1, self.season)).transpose(1, 2)
        if self.hidden is not None:
            phases_BSP = self.hidden(phases_BSP).relu()
        made_BMSO = self.head(phases_BSP).transpose(1, 2)
        steps_BHO = made_BMSO.flatten(1, 2)[:, self.places]
        if self.share_K is None:
            return steps_BHO
        known_BH = known_ahead(ahead_BHK, x_BLF, self.horizon, self.num_ahead) @ self.share_K
        return torch.cat((steps_BHO[..., :1] + known_BH.unsqueeze(-1), steps_BHO[..., 1:]), dim=-1)
