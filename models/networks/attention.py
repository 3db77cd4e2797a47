"""An encoder and a decoder with attention over the window's samples; never sees a target in eval mode.

Bahdanau et al. 2015 ("Neural machine translation by jointly learning to align and translate"), Luong et al.
2015 ("Effective approaches to attention-based neural machine translation"), Vaswani et al. 2017 (the scaled
dot product).
Shapes: B batch, L lookback, F features, H horizon, O outputs, K channels known ahead, D hidden size, A
attention size.
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from models.networks.contract import Cell, Head, Network, check_ranges
from models.networks.layers import initialise, initialise_recurrence
from models.networks.recurrent import CELLS
from models.networks.sequence import ONE_STEP, Feedback, fed_back, first_layer, known_ahead, output_of, taught


class Attention(Network):
    """Encoder and decoder with attention: [B, L, F], [B, H, K] -> [B, H, O].

    At each step the decoder's previous state s (at first the encoder's last state) is scored against every
    encoder state h: additive: v . tanh(W s + U h + b) (Bahdanau); dot: (W s) . (U h) / sqrt(A) (Luong,
    scaled).  The softmax of the scores weighs the encoder states; their sum, the context, is an input of the
    decoder's cell, together with output 0 of the previous step (at first: a learned linear map of the newest
    sample) and what is known ahead of the step.  A shared linear head sees the new state and the context.
    `feedback` and `teacher_share` as in `EncoderDecoder`.
    Initialisation: `initialise_recurrence`, Xavier for W, U and v.  Raises ValueError for numbers out of
    range.
    """

    guided = True

    def __init__(
        self,
        *,
        num_features: int,
        lookback: int,
        horizon: int,
        outputs: int = 1,
        num_ahead: int = 0,
        cell: Cell = "gru",
        hidden_size: int = 32,
        attention_size: int = 16,
        score: Literal["additive", "dot"] = "additive",
        dropout: float = 0.0,
        feedback: Feedback = "own",
        teacher_share: float = 0.5,
    ) -> None:
        super().__init__()
        sizes = {"hidden_size": hidden_size, "attention_size": attention_size, "num_ahead": num_ahead}
        check_ranges(**sizes, dropout=dropout, teacher_share=teacher_share, least={"num_ahead": 0})
        self.horizon, self.num_ahead, self.score = horizon, num_ahead, score
        self.feedback, self.teacher_share = feedback, teacher_share
        self.encoder = CELLS[cell](num_features, hidden_size, batch_first=True)
        self.decoder = ONE_STEP[cell](1 + num_ahead + hidden_size, hidden_size)
        self.begin = nn.Linear(num_features, 1)
        self.query = nn.Linear(hidden_size, attention_size, bias=False)
        # a constant shift of the scores cancels in the softmax: v needs no bias, nor does U with the dot product
        self.key = nn.Linear(hidden_size, attention_size, bias=score == "additive")
        self.energy = nn.Linear(attention_size, 1, bias=False) if score == "additive" else None
        self.dropout = nn.Dropout(dropout)
        self.head = Head(2 * hidden_size, 1, outputs)
        for layer in (self.query, self.key, self.energy):
            if layer is not None:
                initialise(layer, "tanh")
        initialise_recurrence(self.encoder)
        initialise_recurrence(self.decoder)

    def forward(self, x_BLF: Tensor, ahead_BHK: Tensor | None = None, y_BH: Tensor | None = None) -> Tensor:
        """[B, L, F], [B, H, K] -> [B, H, O]; `y_BH`: the targets, NaN where missing, used in training only.

        Raises ValueError if the values known ahead are missing or have another shape.
        """
        taught_BH = taught(y_BH if self.training else None, self.feedback, self.teacher_share)
        forecasts, _ = self._decode(x_BLF, ahead_BHK, taught_BH)
        return torch.stack(forecasts, dim=1)

    @torch.no_grad()
    def weights(self, x_BLF: Tensor, ahead_BHK: Tensor | None = None) -> Tensor:
        """[B, H, L]: each step's attention to each sample, fed with its own outputs; the rows sum to 1."""
        _, weights = self._decode(x_BLF, ahead_BHK, None)
        return torch.stack(weights, dim=1)

    def _decode(self, x_BLF: Tensor, ahead_BHK: Tensor | None, taught_BH: Tensor | None) -> tuple[list[Tensor], list[Tensor]]:
        """The forecast [B, O] and the attention [B, L] of each step."""
        ahead_BHK = known_ahead(ahead_BHK, x_BLF, self.horizon, self.num_ahead)
        states_BLD, state = self.encoder(x_BLF)
        state, fed_B1 = first_layer(state), self.begin(x_BLF[:, -1])
        key_BLA = self.key(states_BLD)
        forecasts, weights = [], []
        for step, known_BK in enumerate(ahead_BHK.unbind(1)):
            weight_BL = self._scores(output_of(state), key_BLA).softmax(dim=-1)
            context_BD = torch.bmm(weight_BL.unsqueeze(1), states_BLD).squeeze(1)
            state = self.decoder(torch.cat((fed_B1, known_BK, context_BD), dim=-1), state)
            forecast_BO = self.head(self.dropout(torch.cat((output_of(state), context_BD), dim=-1))).squeeze(-2)
            fed_B1 = fed_back(forecast_BO, taught_BH, step)
            forecasts.append(forecast_BO)
            weights.append(weight_BL)
        return forecasts, weights

    def _scores(self, state_BD: Tensor, key_BLA: Tensor) -> Tensor:
        """[B, L]: the score of each sample for one step."""
        query_BA = self.query(state_BD)
        if self.energy is None:
            # faster than bmm with a one-column matrix
            dot_BL: Tensor = (query_BA.unsqueeze(1) * key_BLA).sum(dim=2)
            return dot_BL / math.sqrt(key_BLA.shape[-1])
        energy_BL1: Tensor = self.energy((query_BA.unsqueeze(1) + key_BLA).tanh())
        return energy_BL1.squeeze(2)
