"""Exponential smoothing of level and season inside the window, and a dilated LSTM for the rest.

Smyl 2020 (ES-RNN, the winner of M4; IJF 36(1)); Hyndman et al. 2008 (smoothing as error correction).
Shapes: B batch, L lookback, F features, H horizon, O outputs, S season, P seasons per window, K smoothers.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.networks.contract import FIRST, Network, Target, check_ranges
from models.networks.dilated_lstm import DilatedLstm
from models.networks.min_gru import scan

PACE = 10.0  # learning rate of the smoothing's few weights, relative to the LSTM's
LEAST = 1e-8  # added to a mean square before its logarithm


class Smoothed(NamedTuple):
    """The smoothing of a window by K smoothers.

    `level_BK`: the newest.  `season_BSK`: the newest per phase, counted from the oldest sample.  `under_BLK`:
    each sample's season as known before that sample.  `squares_BK`: the mean square one-sample-ahead error.
    """

    level_BK: Tensor
    season_BSK: Tensor
    under_BLK: Tensor
    squares_BK: Tensor


def first_season(y_BL: Tensor, seen_BL: Tensor, season: int) -> tuple[Tensor, Tensor]:
    """[B, 1] the mean of the phases' first observations, and [B, S] their deviation from it; 0 if unobserved."""
    padding = (0, -y_BL.shape[1] % season)
    y_BPS = nn.functional.pad(y_BL, padding).unflatten(1, (-1, season))
    seen_BPS = nn.functional.pad(seen_BL, padding).unflatten(1, (-1, season))
    first_BPS = seen_BPS * (seen_BPS.cumsum(1) == 1)
    known_BS, first_BS = first_BPS.sum(1), (first_BPS * y_BPS).sum(1)
    level_B1 = first_BS.sum(1, keepdim=True) / known_BS.sum(1, keepdim=True).clamp(min=1)
    return level_B1, first_BS - known_BS * level_B1


def smooth(y_BL: Tensor, seen_BL: Tensor, alpha_K: Tensor, gamma_K: Tensor | None, season: int) -> Smoothed:
    """Additive smoothing of level and season from a window's second season on; skips where `seen_BL` is 0.

    e = y_t - (level + season of its phase); level += alpha e; season of its phase += gamma e (no season
    without `gamma_K`).  Both start from `first_season`.  Within one season each phase comes once, so only the
    level recurs: it is (1 - alpha) level + alpha (y_t - season), which one parallel scan computes for every
    sample.
    """
    length = y_BL.shape[1]
    level_B1, season_BS = first_season(y_BL, seen_BL, season)
    level_B1K = level_B1.unsqueeze(-1).expand(-1, -1, len(alpha_K))
    season_BSK = season_BS.unsqueeze(-1).expand(-1, -1, len(alpha_K))
    under, errors = [season_BSK[:, :length]], [torch.zeros_like(level_B1K)]
    size = length if gamma_K is None else season
    for start in range(season, length, size):
        seen, y = seen_BL[:, start : start + size, None], y_BL[:, start : start + size, None]
        now = season_BSK[:, : y.shape[1]] if gamma_K is not None else season_BSK.expand(-1, y.shape[1], -1)
        gain = alpha_K * seen
        add = gain * (y - now)
        levels = scan(1 - gain, torch.cat((add[:, :1] + (1 - gain[:, :1]) * level_B1K, add[:, 1:]), dim=1))
        error = (y - now - torch.cat((level_B1K, levels[:, :-1]), dim=1)) * seen
        under.append(now)
        errors.append(error)
        level_B1K = levels[:, -1:]
        if gamma_K is not None:
            season_BSK = torch.cat((now + gamma_K * error, season_BSK[:, now.shape[1] :]), dim=1)
    squares_BK = torch.cat(errors, 1).square().sum(1) / seen_BL[:, season:].sum(1, keepdim=True).clamp(min=1)
    return Smoothed(level_B1K.squeeze(1), season_BSK, torch.cat(under, 1), squares_BK)


class EsRnn(Network):
    """Level, season and a dilated LSTM's forecast of the rest, added up: [B, L, F] -> [B, H, O].

    `smoothers` smoothings of y, each with learned coefficients (logits; alpha starts evenly spread over 0 to
    1, gamma at one half), run over the observed samples of the window.  Each is weighted by exp(b) / (its
    mean square one-sample-ahead error in this window)^p, with learned b and p: what Smyl fits per series is
    chosen per window, so it also works for unseen series.  The LSTM reads the window minus its newest level
    and minus the season (in place of y), the season, and all other channels.  Output 0 is the newest level
    plus the step's season plus output 0 of the LSTM; any further outputs are the LSTM's own.
    Differences from the paper: there the first season and one alpha and gamma are learned per series, level
    and season are multiplied (which is adding on a logarithm, `scaling.target: log1p`), and several
    specialists are averaged.
    `season`: in rows; a shorter window has no season, only a level.  A window of one season teaches the
    smoothing nothing.  Initialisation: as in `DilatedLstm`.  Raises ValueError for numbers out of range.
    """

    fixed_cell = "lstm"
    micro_batched = True

    def __init__(
        self,
        *,
        num_features: int,
        lookback: int,
        horizon: int,
        outputs: int = 1,
        target: Target = FIRST,
        season: int = 1,
        hidden_size: int,
        num_layers: int = 3,
        smoothers: int = 4,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_ranges(season=season, hidden_size=hidden_size, num_layers=num_layers, smoothers=smoothers, dropout=dropout)
        self.target, self.season = target, target.season(season, lookback)
        self.phases = [(lookback - 1 + step) % self.season for step in target.steps(horizon)]
        self.alpha_K = nn.Parameter(torch.linspace(0, 1, smoothers + 2)[1:-1].logit() / PACE)
        self.gamma_K = nn.Parameter(torch.zeros(smoothers)) if self.season > 1 else None
        self.bias_K = nn.Parameter(torch.zeros(smoothers)) if smoothers > 1 else None
        self.power = nn.Parameter(torch.tensor(1 / PACE)) if smoothers > 1 else None
        sizes = {"num_features": num_features + 1, "lookback": lookback, "horizon": horizon, "outputs": outputs}
        self.rest = DilatedLstm(**sizes, hidden_size=hidden_size, num_layers=num_layers, dropout=dropout)

    def forward(self, x_BLF: Tensor) -> Tensor:
        """[B, L, F] -> [B, H, O]."""
        y_BL = x_BLF[..., self.target.channel]
        seen_BL = torch.ones_like(y_BL) if self.target.mask is None else x_BLF[..., self.target.mask]
        gamma_K = None if self.gamma_K is None else (PACE * self.gamma_K).sigmoid()
        smoothed = smooth(y_BL, seen_BL, (PACE * self.alpha_K).sigmoid(), gamma_K, self.season)
        share_B1K = self.shares(smoothed.squares_BK).unsqueeze(1)
        level_B1 = (smoothed.level_BK.unsqueeze(1) * share_B1K).sum(-1)
        season_BS, under_BL = ((part * share_B1K).sum(-1) for part in (smoothed.season_BSK, smoothed.under_BLK))
        left_BL = (y_BL - under_BL - level_B1) * seen_BL
        others = x_BLF[..., : self.target.channel], x_BLF[..., self.target.channel + 1 :]
        rest_BHO = self.rest(torch.cat((left_BL.unsqueeze(-1), under_BL.unsqueeze(-1), *others), dim=-1))
        smooth_BH1 = (level_B1 + season_BS[:, self.phases]).unsqueeze(-1)
        return torch.cat((rest_BHO[..., :1] + smooth_BH1, rest_BHO[..., 1:]), dim=-1)

    def shares(self, squares_BK: Tensor) -> Tensor:
        """[B, K]: each smoother's weight in each window (their sum is 1), from its mean square error there."""
        if self.bias_K is None or self.power is None:
            return torch.ones_like(squares_BK)
        return (PACE * self.bias_K - PACE * self.power * (squares_BK + LEAST).log()).softmax(-1)
