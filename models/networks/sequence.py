"""Sequence to sequence: SeqToSeq, VecToSeq and EncoderDecoder; never sees a target in eval mode.

Graves 2013 ("Generating sequences with recurrent neural networks"; an output at every step), Cho et al. 2014
(GRU, a summary as input of every decoder step), Sutskever et al. 2014 ("Sequence to sequence learning with
neural networks"), Williams & Zipser 1989 (teacher forcing), S. Bengio et al. 2015 (scheduled sampling).
Shapes: B batch, L lookback, F features, H horizon, O outputs, K channels known ahead, D hidden size, S parts
of a window.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from models.networks.contract import Apart, Cell, Head, Network, check_ranges
from models.networks.layers import initialise, initialise_recurrence
from models.networks.recurrent import CELLS

Feedback = Literal["own", "teacher", "scheduled"]
State = Tensor | tuple[Tensor, Tensor]  # for an LSTM (h, c): output and memory

ONE_STEP: dict[Cell, Callable[..., nn.RNNCellBase]] = {"elman": nn.RNNCell, "lstm": nn.LSTMCell, "gru": nn.GRUCell}


class SeqToSeq(Network):
    """A recurrence that forecasts the next horizon at every sample of the window: [B, L, F] -> [B, H, O].

    In training [B, L, H, O] (or `Apart`): each sample's own forecast from the samples up to it (dense
    supervision with equal weights), so that one window gives L examples; in eval mode only the last sample's.
    One linear head for all samples.  Stacked (`num_layers`): each layer passes its sequence to the next, with
    `dropout` between and before the head.
    Initialisation: `initialise_recurrence`.  Raises ValueError for numbers out of range.
    """

    dense = True
    micro_batched = True

    def __init__(
        self,
        *,
        num_features: int,
        lookback: int,
        horizon: int,
        outputs: int = 1,
        cell: Cell = "gru",
        hidden_size: int = 32,
        num_layers: int = 1,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_ranges(hidden_size=hidden_size, num_layers=num_layers, dropout=dropout)
        between = dropout if num_layers > 1 else 0.0
        self.recurrence = CELLS[cell](num_features, hidden_size, num_layers, batch_first=True, dropout=between)
        self.dropout = nn.Dropout(dropout)
        self.head = Head(hidden_size, horizon, outputs)
        initialise_recurrence(self.recurrence)

    def forward(self, x_BLF: Tensor) -> Tensor | Apart:
        """[B, L, F] -> [B, L, H, O] (or `Apart`) in training, [B, H, O] in eval mode."""
        states_BLD, _ = self.recurrence(x_BLF)
        if self.training:
            return self.head.of_every(self.dropout(states_BLD))
        return self.head(self.dropout(states_BLD[:, -1]))


class VecToSeq(Network):
    """The window as one vector, and a recurrence from it over the horizon: [B, L, F], [B, H, K] -> [B, H, O].

    The vector is tanh of a linear map of the newest sample and the means of `parts` equal parts of the
    window, oldest first.  Means, because every n-th sample alone would alias faster changes; parts, because
    one mean would lose the order of time; not every sample, whose map would outweigh the rest of the network;
    the newest separately, because a forecast starts there.  The vector is the first state (an LSTM's memory
    starts at 0) and an input of every step, with what is known ahead of it.  No step sees an earlier output,
    so the whole horizon is one call.  A shared linear head.
    Initialisation: `initialise_recurrence`, Xavier for the vector.  Raises ValueError for numbers out of
    range.
    """

    share_SL: Tensor

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
        parts: int = 24,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_ranges(hidden_size=hidden_size, parts=parts, num_ahead=num_ahead, dropout=dropout, least={"num_ahead": 0})
        self.horizon, self.num_ahead, self.cell = horizon, num_ahead, cell
        self.register_buffer("share_SL", equal_parts(lookback, min(parts, lookback)), persistent=False)
        self.vector = nn.Linear((min(parts, lookback) + 1) * num_features, hidden_size)
        self.decoder = CELLS[cell](hidden_size + num_ahead, hidden_size, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.head = Head(hidden_size, 1, outputs)
        initialise(self.vector, "tanh")
        initialise_recurrence(self.decoder)

    def forward(self, x_BLF: Tensor, ahead_BHK: Tensor | None = None) -> Tensor:
        """[B, L, F], [B, H, K] -> [B, H, O]; ValueError if `ahead_BHK` is missing or of another shape."""
        ahead_BHK = known_ahead(ahead_BHK, x_BLF, self.horizon, self.num_ahead)
        seen = torch.cat((torch.matmul(self.share_SL, x_BLF), x_BLF[:, -1:]), dim=1)
        vector_BD = self.vector(seen.flatten(1)).tanh()
        first_1BD = vector_BD.unsqueeze(0)
        state: State = (first_1BD, torch.zeros_like(first_1BD)) if self.cell == "lstm" else first_1BD
        every_BHD = vector_BD.unsqueeze(1).expand(-1, self.horizon, -1)
        states_BHD, _ = self.decoder(torch.cat((every_BHD, ahead_BHK), dim=-1), state)
        return self.head(self.dropout(states_BHD)).squeeze(-2)


class EncoderDecoder(Network):
    """A recurrence that reads the window and one that writes the forecast: [B, L, F], [B, H, K] -> [B, H, O].

    The decoder starts from the encoder's last state.  Each step sees output 0 of the previous step (at first:
    a learned linear map of the newest sample instead of the last value) and what is known ahead of it;
    gradients flow through.  `feedback`, in training only: `teacher` feeds the true previous target, or the
    model's output where it is missing; `scheduled` does so with probability `teacher_share`, drawn per window
    and step.  A shared linear head.
    Initialisation: `initialise_recurrence`.  Raises ValueError for numbers out of range.
    """

    guided = True
    micro_batched = True

    def __init__(
        self,
        *,
        num_features: int,
        lookback: int,
        horizon: int,
        outputs: int = 1,
        num_ahead: int = 0,
        cell: Cell = "lstm",
        hidden_size: int = 32,
        dropout: float = 0.0,
        feedback: Feedback = "own",
        teacher_share: float = 0.5,
    ) -> None:
        super().__init__()
        sizes = {"hidden_size": hidden_size, "num_ahead": num_ahead}
        check_ranges(**sizes, dropout=dropout, teacher_share=teacher_share, least={"num_ahead": 0})
        self.horizon, self.num_ahead = horizon, num_ahead
        self.feedback, self.teacher_share = feedback, teacher_share
        self.encoder = CELLS[cell](num_features, hidden_size, batch_first=True)
        self.decoder = ONE_STEP[cell](1 + num_ahead, hidden_size)
        self.begin = nn.Linear(num_features, 1)
        self.dropout = nn.Dropout(dropout)
        self.head = Head(hidden_size, 1, outputs)
        initialise_recurrence(self.encoder)
        initialise_recurrence(self.decoder)

    def forward(self, x_BLF: Tensor, ahead_BHK: Tensor | None = None, y_BH: Tensor | None = None) -> Tensor:
        """[B, L, F], [B, H, K] -> [B, H, O]; `y_BH`: the targets, NaN where missing, used in training only.

        Raises ValueError if the values known ahead are missing or have another shape.
        """
        ahead_BHK = known_ahead(ahead_BHK, x_BLF, self.horizon, self.num_ahead)
        taught_BH = taught(y_BH if self.training else None, self.feedback, self.teacher_share)
        _, state = self.encoder(x_BLF)
        state, fed_B1 = first_layer(state), self.begin(x_BLF[:, -1])
        forecasts = []
        for step, known_BK in enumerate(ahead_BHK.unbind(1)):
            state = self.decoder(torch.cat((fed_B1, known_BK), dim=-1), state)
            forecasts.append(self.head(self.dropout(output_of(state))).squeeze(-2))
            fed_B1 = fed_back(forecasts[-1], taught_BH, step)
        return torch.stack(forecasts, dim=1)


def known_ahead(ahead_BHK: Tensor | None, x_BLF: Tensor, horizon: int, num_ahead: int) -> Tensor:
    """[B, H, K]: the values known ahead of each step as given; no channels if a network takes none."""
    if ahead_BHK is None:
        if num_ahead:
            raise ValueError(f"num_ahead is {num_ahead}: the network needs ahead_BHK, what is known ahead of each step")
        return x_BLF.new_zeros(x_BLF.shape[0], horizon, 0)
    if tuple(ahead_BHK.shape[1:]) != (horizon, num_ahead):
        raise ValueError(f"ahead_BHK must be [B, {horizon}, {num_ahead}], not {list(ahead_BHK.shape)}")
    return ahead_BHK


def equal_parts(lookback: int, parts: int) -> Tensor:
    """[S, L]: each sample's share in the means of S successive parts, whose sizes differ by at most one."""
    part_L = torch.arange(lookback) * parts // lookback
    inside_SL = (part_L == torch.arange(parts).unsqueeze(1)).to(torch.get_default_dtype())
    return inside_SL / inside_SL.sum(1, keepdim=True)


def first_layer(state: State) -> State:
    """The state of a one-layer recurrence in the shape its one-step cell takes: [1, B, D] -> [B, D]."""
    return (state[0][0], state[1][0]) if isinstance(state, tuple) else state[0]


def output_of(state: State) -> Tensor:
    """h, the output part of a cell's state."""
    return state[0] if isinstance(state, tuple) else state


def taught(y_BH: Tensor | None, feedback: Feedback, teacher_share: float) -> Tensor | None:
    """[B, H] the targets fed back instead of outputs, NaN where the output is used; None: everywhere."""
    if y_BH is None or feedback == "own":
        return None
    if feedback == "scheduled":
        return torch.where(torch.rand_like(y_BH) < teacher_share, y_BH, torch.nan)
    return y_BH


def fed_back(forecast_BO: Tensor, taught_BH: Tensor | None, step: int) -> Tensor:
    """[B, 1]: the feedback that the step after `step` sees."""
    own_B1 = forecast_BO[:, :1]
    if taught_BH is None:
        return own_B1
    truth_B1 = taught_BH[:, step : step + 1]
    return torch.where(truth_B1.isnan(), own_B1, truth_B1)
