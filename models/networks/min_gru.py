"""The minimal GRU, whose states a parallel scan computes all at once.

Feng et al. 2024, "Were RNNs all we needed?" (arXiv 2410.01201); Ladner & Fischer 1980, Blelloch 1990 (the
scan).
Shapes: B batch, L lookback, F features, H horizon, O outputs, D hidden size.
"""

import math

import torch
from torch import Tensor, nn

from models.networks.contract import Head, Network, check_ranges
from models.networks.layers import initialise

LONGEST = 1000.0  # initial memory of the slowest units, in samples


def _pairs(keep_BLD: Tensor, add_BLD: Tensor) -> tuple[Tensor, Tensor]:
    """Merges pairs of maps h -> a h + b from the oldest on: [B, L, D] twice -> [B, L // 2, D] twice."""
    even = keep_BLD.shape[1] // 2 * 2
    first, second = keep_BLD[:, 0:even:2], keep_BLD[:, 1:even:2]
    return first * second, second * add_BLD[:, 0:even:2] + add_BLD[:, 1:even:2]


def scan(keep_BLD: Tensor, add_BLD: Tensor) -> Tensor:
    """h_t = keep_t h_(t-1) + add_t for every t, h_0 = 0: [B, L, D] twice -> [B, L, D], in O(L) work.

    Two neighbouring maps h -> a h + b compose to one: the scan over pairs gives every second state, and one
    more step gives the others (2 log2(L) steps, 2 L work).  Without divisions or logarithms: with keep
    between 0 and 1 nothing overflows.
    """
    length = add_BLD.shape[1]
    if length == 1:
        return add_BLD
    odd = scan(*_pairs(keep_BLD, add_BLD))  # the states of samples 1, 3, 5, ...
    later = keep_BLD[:, 2::2] * odd[:, : (length - 1) // 2] + add_BLD[:, 2::2]
    even = torch.cat([add_BLD[:, :1], later], dim=1)  # the states of samples 0, 2, 4, ...
    woven = torch.stack([even[:, : odd.shape[1]], odd], dim=2).flatten(1, 2)
    return woven if length % 2 == 0 else torch.cat([woven, even[:, -1:]], dim=1)


def last(keep_BLD: Tensor, add_BLD: Tensor) -> Tensor:
    """Only the newest state of `scan`, with half the work: [B, L, D] twice -> [B, D]."""
    while (length := add_BLD.shape[1]) > 1:
        if length % 2:  # the oldest map acts on the zero state: only its addend counts
            add = torch.cat([keep_BLD[:, 1:2] * add_BLD[:, :1] + add_BLD[:, 1:2], add_BLD[:, 2:]], dim=1)
            keep_BLD, add_BLD = keep_BLD[:, 1:], add
        keep_BLD, add_BLD = _pairs(keep_BLD, add_BLD)
    return add_BLD[:, 0]


def loop(keep_BLD: Tensor, add_BLD: Tensor) -> Tensor:
    """The definition of `scan`, one sample after another, for tests."""
    state, states = torch.zeros_like(add_BLD[:, 0]), []
    for step in range(add_BLD.shape[1]):
        state = keep_BLD[:, step] * state + add_BLD[:, step]
        states.append(state)
    return torch.stack(states, dim=1)


class MinGruLayer(nn.Module):
    """z_t = sigmoid(W x_t), h_t = (1 - z_t) h_(t-1) + z_t V x_t: [B, L, F] -> [B, L, D].

    No gate sees a state, so all gates are known in advance.  The biases of z are spread so that the units
    initially remember 2 to LONGEST samples (Tallec & Ollivier 2018, "chrono initialisation"): a unit that
    forgets quickly never learns from early samples.  Xavier weights.
    """

    def __init__(self, num_features: int, hidden_size: int) -> None:
        super().__init__()
        self.gate = nn.Linear(num_features, hidden_size)
        self.candidate = nn.Linear(num_features, hidden_size)
        for layer in (self.gate, self.candidate):
            initialise(layer, "tanh")
        spans = torch.logspace(math.log10(2.0), math.log10(LONGEST), hidden_size)
        with torch.no_grad():
            self.gate.bias.copy_(-torch.log(spans - 1))  # z = 1 / span where the features are 0

    def forward(self, x_BLF: Tensor, newest: bool = False) -> Tensor:
        """[B, L, F] -> [B, L, D]; `newest`: only the last state, [B, D]."""
        z_BLD = self.gate(x_BLF).sigmoid()
        return (last if newest else scan)(1 - z_BLD, z_BLD * self.candidate(x_BLF))


class MinGru(Network):
    """Layers of the minimal GRU, then a linear map of the last state: [B, L, F] -> [B, H, O].

    Between layers a state passes a linear map and a SiLU and is added to itself, since the recurrence alone
    is linear in the candidates.  `dropout` before each map.  Raises ValueError for numbers out of range.
    """

    def __init__(
        self,
        *,
        num_features: int,
        lookback: int,
        horizon: int,
        outputs: int = 1,
        hidden_size: int,
        num_layers: int = 2,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_ranges(hidden_size=hidden_size, num_layers=num_layers, dropout=dropout)
        widths = [num_features] + [hidden_size] * (num_layers - 1)
        self.layers = nn.ModuleList(MinGruLayer(width, hidden_size) for width in widths)
        mixes = [nn.Linear(hidden_size, hidden_size) for _ in widths]
        for mix in mixes:
            initialise(mix, "tanh")
        self.mixes = nn.ModuleList(mixes)
        self.dropout = nn.Dropout(dropout)
        self.head = Head(hidden_size, horizon, outputs)

    def forward(self, x_BLF: Tensor) -> Tensor:
        """[B, L, F] -> [B, H, O]."""
        states = x_BLF
        for number, (layer, mix) in enumerate(zip(self.layers, self.mixes, strict=True)):
            states = layer(states, newest=number == len(self.layers) - 1)
            states = states + nn.functional.silu(mix(self.dropout(states)))
        return self.head(self.dropout(states))
