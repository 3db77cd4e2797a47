"""Convolutional networks over the time axis: stacked 1-D convolutions with stride, then one linear map; never scales anything.

LeCun et al. 1989; Waibel et al. 1989 (time delay networks).  Shapes: B batch, L lookback, F features, H horizon, C channels.
"""

from torch import Tensor, nn


class Convolutional(nn.Module):
    """`num_layers` convolutions with ReLU, each shortening the sequence by `stride`, then flattened to the horizon.

    [B, L, F] -> [B, H].  Each layer is padded so that its length becomes ceil(length / stride), down to one step.
    Kaiming initialisation (He et al. 2015).  Raises ValueError for numbers out of range.
    """

    def __init__(
        self,
        *,
        num_features: int,
        lookback: int,
        horizon: int,
        channels: int,
        kernel_size: int = 3,
        num_layers: int = 2,
        stride: int = 1,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if min(channels, kernel_size, num_layers, stride) < 1 or not 0 <= dropout < 1:
            raise ValueError("channels, kernel_size, num_layers and stride must be at least 1, dropout at least 0 and below 1")
        layers: list[nn.Module] = []
        width, length = num_features, lookback
        for _ in range(num_layers):
            shorter = -(-length // stride)
            padding = max((shorter - 1) * stride + kernel_size - length, 0)
            convolution = nn.Conv1d(width, channels, kernel_size, stride)
            nn.init.kaiming_uniform_(convolution.weight, nonlinearity="relu")
            if convolution.bias is not None:
                nn.init.zeros_(convolution.bias)
            layers += [nn.ConstantPad1d((padding, 0), 0.0), convolution, nn.ReLU()]
            width, length = channels, shorter
        self.convolutions = nn.Sequential(*layers)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width * length, horizon)

    def forward(self, x_BLF: Tensor) -> Tensor:
        """[B, L, F] -> [B, H]."""
        maps_BCL = self.convolutions(x_BLF.transpose(1, 2))
        result: Tensor = self.head(self.dropout(maps_BCL.flatten(1)))
        return result
