"""Recurrent networks, last state to all steps (seq2vec): Elman, LSTM, GRU, stacked and bidirectional.

Elman 1990 ("Finding structure in time"), Hochreiter & Schmidhuber 1997 (LSTM), Cho et al. 2014 (GRU),
Schuster & Paliwal 1997 (bidirectional).  Shapes: B batch, L lookback, F features, H horizon, O outputs, D
hidden size.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from models.networks.contract import Cell, Head, Network, check_ranges
from models.networks.fast_recurrence import Elman, Gru
from models.networks.layers import initialise_recurrence

CELLS: dict[Cell, Callable[..., nn.RNNBase]] = {"elman": Elman, "lstm": nn.LSTM, "gru": Gru}


class Recurrent(Network):
    """A recurrence over the window, then a linear map from its last state: [B, L, F] -> [B, H, O].

    elman: h_t = f(W x_t + U h_(t-1) + b), f = tanh or relu.  Stacked (`num_layers`): each layer passes its
    sequence to the next, with `dropout` between.  `bidirectional`: a second network over the reversed window;
    both last states are used.  Initialisation: orthogonal recurrent weights per gate, Xavier input weights,
    zero biases, LSTM forget gate bias 1 (Jozefowicz et al. 2015).  Raises ValueError for numbers out of
    range.
    """

    micro_batched = True

    def __init__(
        self,
        *,
        num_features: int,
        lookback: int,
        horizon: int,
        outputs: int = 1,
        cell: Cell,
        hidden_size: int,
        num_layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        nonlinearity: Literal["tanh", "relu"] = "tanh",
    ) -> None:
        super().__init__()
        check_ranges(hidden_size=hidden_size, num_layers=num_layers, dropout=dropout)
        if nonlinearity != "tanh" and cell != "elman":
            raise ValueError(f"nonlinearity is a choice of the elman cell; {cell} has its own")
        between = dropout if num_layers > 1 else 0.0
        extra = {"nonlinearity": nonlinearity} if cell == "elman" else {}
        self.recurrence = CELLS[cell](
            num_features, hidden_size, num_layers, batch_first=True, dropout=between, bidirectional=bidirectional, **extra
        )
        self.directions = 2 if bidirectional else 1
        self.dropout = nn.Dropout(dropout)
        self.head = Head(hidden_size * self.directions, horizon, outputs)
        initialise_recurrence(self.recurrence)

    def forward(self, x_BLF: Tensor) -> Tensor:
        """[B, L, F] -> [B, H, O]."""
        _, state = self.recurrence(x_BLF)
        hidden = state[0] if isinstance(state, tuple) else state  # [layers * directions, B, D]
        last_BD = torch.cat(tuple(hidden[-self.directions :]), dim=-1)
        return self.head(self.dropout(last_BD))
