"""A stack of LSTMs whose layers skip back over 1, 2, 4, ... samples.

Chang et al. 2017, "Dilated recurrent neural networks"; Smyl 2020 (ES-RNN, the winner of M4).
Shapes: B batch, L lookback, F features, H horizon, O outputs, D hidden size.

Only the newest state makes the forecast.  In layer i it depends on the states 2^i, 2 * 2^i, ... samples
earlier, and these on states at such distances in the layer below.  So each layer from the second on keeps
every second step of the one below, counted from the newest, and a dilated recurrence becomes a plain one: the
same result as with all samples, in 2 L steps instead of L per layer.
"""

from torch import Tensor, nn

from models.networks.contract import Head, Network, check_ranges
from models.networks.layers import initialise_recurrence


class DilatedLstm(Network):
    """LSTMs of dilation 1, 2, 4, ..., with residual sums from the second on: [B, L, F] -> [B, H, O].

    A gradient reaches sample t - k over about log2(k) + k / 2^(layers - 1) steps instead of k.  The forecast
    is a linear map of the newest state.  Initialisation: as in `Recurrent`.  Raises ValueError for numbers
    out of range.
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
        hidden_size: int,
        num_layers: int = 3,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_ranges(hidden_size=hidden_size, num_layers=num_layers, dropout=dropout)
        widths = [num_features] + [hidden_size] * (num_layers - 1)
        self.layers = nn.ModuleList(nn.LSTM(width, hidden_size, batch_first=True) for width in widths)
        for layer in self.layers:
            initialise_recurrence(layer)  # type: ignore[arg-type]
        self.dropout = nn.Dropout(dropout)
        self.head = Head(hidden_size, horizon, outputs)

    def forward(self, x_BLF: Tensor) -> Tensor:
        """[B, L, F] -> [B, H, O]."""
        states, _ = self.layers[0](x_BLF)
        for layer in self.layers[1:]:
            states = states[:, (states.shape[1] - 1) % 2 :: 2]
            above, _ = layer(states)
            states = states + self.dropout(above)
        return self.head(self.dropout(states[:, -1]))
