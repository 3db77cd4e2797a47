"""Convolutional networks over the time axis, with stride or pooling, alone or below an LSTM.

LeCun et al. 1989; Waibel et al. 1989 (time delay networks); Sainath et al. 2015 (convolutions below an LSTM).
Shapes: B batch, L lookback, F features, H horizon, O outputs, C channels, T steps of the maps.
"""

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

from models.networks.contract import Head, Network, check_ranges
from models.networks.layers import initialise
from models.networks.recurrent import Recurrent

Pooling = Literal["none", "max", "min", "average"]


class MinPool1d(nn.MaxPool1d):
    """The smallest value of each pool: -maxpool(-x), so that padding is never the smallest."""

    def forward(self, input: Tensor) -> Tensor:
        """[B, C, T] -> [B, C, ceil(T / size)]."""
        return -functional.max_pool1d(-input, self.kernel_size, self.stride, ceil_mode=self.ceil_mode)


def convolution_stack(
    num_features: int,
    lookback: int,
    channels: int,
    kernel_size: int,
    num_layers: int,
    stride: int,
    pooling: Pooling,
    pool_size: int,
) -> tuple[nn.Sequential, int]:
    """`num_layers` of convolution, ReLU and pooling, [B, F, L] -> [B, C, T], and T.

    A convolution yields ceil(length / stride) steps: it is zero-padded before the first step, and the newest
    step is always the last it reads.  Pools of `pool_size` steps follow without overlap from the oldest step
    on; the newest pool covers the remaining steps alone (ceil(length / pool_size) pools, at least one).
    Raises ValueError for numbers out of range.
    """
    check_ranges(channels=channels, kernel_size=kernel_size, num_layers=num_layers, stride=stride)
    pools = {"max": nn.MaxPool1d, "min": MinPool1d, "average": nn.AvgPool1d}
    if pooling not in ("none", *pools):
        raise ValueError(f"pooling is one of none, {', '.join(pools)}, not {pooling!r}")
    if pooling != "none" and pool_size < 2:
        raise ValueError("pool_size must be at least 2; set pooling to none for no pooling")
    layers: list[nn.Module] = []
    width, length = num_features, lookback
    for _ in range(num_layers):
        shorter = -(-length // stride)
        padding = (shorter - 1) * stride + kernel_size - length  # below 0: drops the oldest steps that no kernel reaches
        convolution = nn.Conv1d(width, channels, kernel_size, stride)
        initialise(convolution)
        layers += [nn.ConstantPad1d((padding, 0), 0.0), convolution, nn.ReLU()]
        if pooling != "none":
            layers.append(pools[pooling](pool_size, ceil_mode=True))
            shorter = -(-shorter // pool_size)
        width, length = channels, shorter
    return nn.Sequential(*layers), length


class Convolutional(Network):
    """Convolutions with ReLU and, with `pooling`, a pool after each; their maps are flattened to the horizon.

    [B, L, F] -> [B, H, O].  Lengths, padding and pools: `convolution_stack`; `pool_size` matters only with
    pooling.  Kaiming initialisation (He et al. 2015).  Raises ValueError for numbers out of range.
    """

    def __init__(
        self,
        *,
        num_features: int,
        lookback: int,
        horizon: int,
        outputs: int = 1,
        channels: int,
        kernel_size: int = 3,
        num_layers: int = 2,
        stride: int = 1,
        pooling: Pooling = "none",
        pool_size: int = 2,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_ranges(dropout=dropout)
        self.convolutions, length = convolution_stack(
            num_features, lookback, channels, kernel_size, num_layers, stride, pooling, pool_size
        )
        self.dropout = nn.Dropout(dropout)
        self.head = Head(channels * length, horizon, outputs)

    def forward(self, x_BLF: Tensor) -> Tensor:
        """[B, L, F] -> [B, H, O]."""
        maps_BCT = self.convolutions(x_BLF.transpose(1, 2))
        return self.head(self.dropout(maps_BCT.flatten(1)))


class CnnLstm(Network):
    """Convolutions for local patterns, an LSTM over their maps for long ones: [B, L, F] -> [B, H, O].

    The forecast is a linear map of the LSTM's last state.  Pooling or stride shorten the LSTM's sequence;
    lengths, padding and pools: `convolution_stack`.  Initialisation: Kaiming below, as in `Recurrent` above.
    Raises ValueError for numbers out of range.
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
        channels: int,
        hidden_size: int,
        kernel_size: int = 3,
        num_layers: int = 1,
        stride: int = 1,
        pooling: Pooling = "none",
        pool_size: int = 2,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.convolutions, length = convolution_stack(
            num_features, lookback, channels, kernel_size, num_layers, stride, pooling, pool_size
        )
        self.lstm = Recurrent(
            num_features=channels,
            lookback=length,
            horizon=horizon,
            outputs=outputs,
            cell="lstm",
            hidden_size=hidden_size,
            dropout=dropout,
        )

    def forward(self, x_BLF: Tensor) -> Tensor:
        """[B, L, F] -> [B, H, O]."""
        result: Tensor = self.lstm(self.convolutions(x_BLF.transpose(1, 2)).transpose(1, 2))
        return result
