"""A stack of LSTMs whose layers skip back over 1, 2, 4, ... samples; never a loop of ours over the window.

Chang et al. 2017, "Dilated recurrent neural networks"; Smyl 2020 (ES-RNN, the winner of M4).
Shapes: B batch, L lookback, F features, H horizon, O outputs, D hidden size.
"""

from torch import Tensor, nn

from models.recurrent import initialise_recurrence


def dilated(recurrence: nn.LSTM, x_BLF: Tensor, dilation: int) -> Tensor:
    """The states of a recurrence from t - dilation to t: [B, L, F] -> [B, L, D].

    Every dilation-th sample is a sequence of its own, so they run side by side as so many windows.  The oldest is padded with
    zeros where L is no multiple, and the newest sample stays the last.
    """
    length, width = x_BLF.shape[1], x_BLF.shape[2]
    padded = nn.functional.pad(x_BLF, (0, 0, -length % dilation, 0))
    steps = padded.shape[1] // dilation
    apart = padded.reshape(-1, steps, dilation, width).transpose(1, 2).reshape(-1, steps, width)
    states, _ = recurrence(apart)
    together = (
        states.reshape(-1, dilation, steps, states.shape[2]).transpose(1, 2).reshape(-1, padded.shape[1], states.shape[2])
    )
    newest: Tensor = together[:, padded.shape[1] - length :]
    return newest


class DilatedLstm(nn.Module):
    """`num_layers` LSTMs of dilation 1, 2, 4, ..., each from the second on added to what it reads: [B, L, F] -> [B, H, O].

    A gradient reaches sample t - k over about log2(k) + k / 2^(layers - 1) steps in place of k.  The forecast is a linear map
    of the newest state.  Initialisation: that of `Recurrent`.  Raises ValueError for numbers out of range.
    """

    def __init__(
        self,
        *,
        num_features: int,
        lookback: int,
        horizon: int,
        outputs: int = 1,
        hidden_size: int,
        num_layers: int = 3,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if hidden_size < 1 or num_layers < 1 or not 0 <= dropout < 1:
            raise ValueError("hidden_size and num_layers must be at least 1, dropout at least 0 and below 1")
        self.shape = (horizon, outputs)
        widths = [num_features] + [hidden_size] * (num_layers - 1)
        self.layers = nn.ModuleList(nn.LSTM(width, hidden_size, batch_first=True) for width in widths)
        for layer in self.layers:
            initialise_recurrence(layer)  # type: ignore[arg-type]
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden_size, horizon * outputs)

    def forward(self, x_BLF: Tensor) -> Tensor:
        """[B, L, F] -> [B, H, O]."""
        states = x_BLF
        for number, layer in enumerate(self.layers):
            above = dilated(layer, states, 2**number)  # type: ignore[arg-type]
            states = above if number == 0 else states + self.dropout(above)
        result: Tensor = self.head(self.dropout(states[:, -1])).unflatten(-1, self.shape)
        return result
