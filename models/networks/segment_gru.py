"""A GRU over segments of the window instead of samples, which shortens long windows.

Lin et al. 2023, "SegRNN" (arXiv 2308.11200).
Shapes: B batch, L lookback, F features, H horizon, O outputs, D hidden size, P segments.
"""

import torch
from torch import Tensor, nn

from models.networks.contract import Head, Network, check_ranges
from models.networks.fast_recurrence import Gru
from models.networks.layers import initialise, initialise_recurrence


class SegmentGru(Network):
    """A GRU over segments of the window, then all segments of the horizon at once: [B, L, F] -> [B, H, O].

    A linear map and a ReLU turn `segment` samples of all features into one vector, so the recurrence takes L
    / segment steps; zeros precede the oldest sample if L is not a multiple.  Decoding is parallel: each
    segment of the horizon has a position embedding, with which the same GRU takes one step from the last
    state; a linear map turns the result into `segment` steps.  Initialisation: orthogonal recurrent weights
    per gate, Xavier, zero biases, small embeddings.
    Raises ValueError for numbers out of range.
    """

    fixed_cell = "gru"

    def __init__(
        self,
        *,
        num_features: int,
        lookback: int,
        horizon: int,
        outputs: int = 1,
        hidden_size: int,
        segment: int = 12,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_ranges(hidden_size=hidden_size, segment=segment, dropout=dropout)
        self.segment, self.horizon = segment, horizon
        self.enter = nn.Linear(segment * num_features, hidden_size)
        initialise(self.enter)
        self.recurrence = Gru(hidden_size, hidden_size, batch_first=True)
        initialise_recurrence(self.recurrence)
        self.places = nn.Parameter(0.1 * torch.randn(-(-horizon // segment), hidden_size))
        self.dropout = nn.Dropout(dropout)
        self.head = Head(hidden_size, segment, outputs)

    def forward(self, x_BLF: Tensor) -> Tensor:
        """[B, L, F] -> [B, H, O]."""
        padded = nn.functional.pad(x_BLF, (0, 0, -x_BLF.shape[1] % self.segment, 0))
        segments = padded.unflatten(1, (-1, self.segment)).flatten(2)
        _, last_1BD = self.recurrence(self.enter(segments).relu())
        count, width = self.places.shape
        states = last_1BD.squeeze(0).unsqueeze(1).expand(-1, count, -1).reshape(1, -1, width)  # one per segment of the horizon
        places = self.places.expand(last_1BD.shape[1], -1, -1).reshape(-1, 1, width)
        decoded, _ = self.recurrence(places, states)
        made = self.head(self.dropout(decoded))
        steps: Tensor = made.reshape(last_1BD.shape[1], count * self.segment, made.shape[-1])
        return steps[:, : self.horizon]
