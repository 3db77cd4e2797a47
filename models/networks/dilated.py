"""Dilated causal convolutions over the time axis, the last step to all steps: TCN and WaveNet.

Bai et al. 2018 ("An empirical evaluation of generic convolutional and recurrent networks for sequence
modeling"); van den Oord et al. 2016 ("WaveNet").  Shapes: B batch, L lookback, F features, H horizon, O
outputs, C channels, T steps.

Only the last step makes the forecast.  It reads layer i, of dilation 2^i, only at distances 0, 2^(i+1), 2 *
2^(i+1), ... from itself.  So each layer keeps every second step of its input, counted from the newest, and a
dilated kernel becomes a plain one: the same result in 2 L steps instead of L log2 L.
"""

import torch
from torch import Tensor, nn

from models.networks.contract import Head, Network, check_ranges
from models.networks.layers import initialise


def fewest_layers(lookback: int, reach: int) -> int:
    """The fewest layers n, at least one, with 1 + reach (1 + 2 + 4 + ... + 2^(n-1)) >= lookback."""
    layers = 1
    while 1 + reach * (2**layers - 1) < lookback:
        layers += 1
    return layers


def every_second(maps_BCT: Tensor) -> Tensor:
    """[B, C, T] -> [B, C, ceil(T / 2)]: the newest step and every second one before it."""
    return maps_BCT[..., (maps_BCT.shape[-1] - 1) % 2 :: 2]


def causal(maps_BCT: Tensor, kernel_size: int) -> Tensor:
    """[B, C, T] -> [B, C, T + kernel_size - 1]: zeros before the window only: no kernel sees a later step."""
    return nn.functional.pad(maps_BCT, (kernel_size - 1, 0))


def every_second_causal(maps_BCT: Tensor, kernel_size: int) -> Tensor:
    """Like `causal`, but a convolution of stride 2 ends on the newest step."""
    even = 1 - maps_BCT.shape[-1] % 2
    return nn.functional.pad(maps_BCT, (kernel_size - 1 - even, 0))


class ResidualBlock(nn.Module):
    """ReLU(x + F(x)), F: two causal convolutions with ReLU and dropout; a 1 x 1 one adapts the width of x.

    The input is every 2^i-th step of the window, the output every 2^(i+1)-th: [B, C_in, T] -> [B, C, ceil(T /
    2)].
    """

    def __init__(self, width: int, channels: int, kernel_size: int, dropout: float) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.first = nn.Conv1d(width, channels, kernel_size)
        self.second = nn.Conv1d(channels, channels, kernel_size, stride=2)
        self.residual = nn.Conv1d(width, channels, 1) if width != channels else nn.Identity()
        self.dropout = nn.Dropout(dropout)

    def forward(self, maps_BCT: Tensor) -> Tensor:
        """[B, C_in, T] -> [B, C, ceil(T / 2)]."""
        hidden = self.dropout(self.first(causal(maps_BCT, self.kernel_size)).relu())
        change = self.dropout(self.second(every_second_causal(hidden, self.kernel_size)).relu())
        result: Tensor = (self.residual(every_second(maps_BCT)) + change).relu()
        return result


class Tcn(Network):
    """Residual blocks of dilated causal convolutions, dilation 1, 2, 4, ..., then one linear map of the last step.

    [B, L, F] -> [B, H, O].  `num_blocks` 0: the fewest whose receptive field covers the lookback.  Without
    the paper's weight normalisation.  Initialisation: Kaiming, the second convolution of a block divided by
    sqrt(blocks), so that the sum over the blocks keeps its size; Xavier for the 1 x 1 convolution; zero
    biases.  Raises ValueError for numbers out of range.
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
        num_blocks: int = 0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        least = {"kernel_size": 2, "num_blocks": 0}
        check_ranges(channels=channels, kernel_size=kernel_size, num_blocks=num_blocks, dropout=dropout, least=least)
        self.kernel_size = kernel_size
        count = num_blocks or fewest_layers(lookback, 2 * (kernel_size - 1))
        widths = [num_features] + [channels] * (count - 1)
        self.blocks = nn.Sequential(*(ResidualBlock(width, channels, kernel_size, dropout) for width in widths))
        for name, layer in self.blocks.named_modules():
            if isinstance(layer, nn.Conv1d):
                initialise(layer, "tanh" if name.endswith("residual") else "relu")
                layer.weight.data.mul_(count**-0.5 if name.endswith("second") else 1.0)
        self.head = Head(channels, horizon, outputs)

    @property
    def receptive_field(self) -> int:
        """How many of the newest steps can move the forecast: 1 + 2 (k - 1)(1 + 2 + 4 + ...)."""
        field: int = 1 + 2 * (self.kernel_size - 1) * (2 ** len(self.blocks) - 1)
        return field

    def forward(self, x_BLF: Tensor) -> Tensor:
        """[B, L, F] -> [B, H, O]."""
        last_BC = self.blocks(x_BLF.transpose(1, 2))[..., -1]
        return self.head(last_BC)


class GatedLayer(nn.Module):
    """z = tanh(W x) * sigmoid(V x), W, V causal convolutions; passes on x + R z, the newest z to the head.

    The input is every 2^i-th step of the window, the output every 2^(i+1)-th.  The last layer omits x + R z.
    """

    def __init__(self, channels: int, kernel_size: int, dropout: float, last: bool) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.gates = nn.Conv1d(channels, 2 * channels, kernel_size, stride=2)
        self.residual = None if last else nn.Conv1d(channels, channels, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, maps_BCT: Tensor) -> tuple[Tensor, Tensor]:
        """[B, C, T] -> x + R z [B, C, ceil(T / 2)] (x in the last layer), newest z [B, C]."""
        value, gate = self.gates(every_second_causal(maps_BCT, self.kernel_size)).chunk(2, dim=1)
        z_BCT = self.dropout(value.tanh() * gate.sigmoid())
        kept = every_second(maps_BCT)
        return kept if self.residual is None else kept + self.residual(z_BCT), z_BCT[..., -1]


class WaveNet(Network):
    """Gated dilated causal convolutions, dilation 1, 2, 4, ..., residual and skip connections: [B, L, F] -> [B, H, O].

    The features enter by a 1 x 1 convolution; the skips of all layers, summed, leave through ReLU, linear,
    ReLU, linear.
    `num_layers` 0: the fewest whose receptive field covers the lookback, in one cycle of dilations (the paper
    repeats it). Initialisation: Xavier, Kaiming between the ReLUs, zero biases.  Raises ValueError for
    numbers out of range.
    """

    def __init__(
        self,
        *,
        num_features: int,
        lookback: int,
        horizon: int,
        outputs: int = 1,
        channels: int,
        kernel_size: int = 2,
        num_layers: int = 0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        least = {"kernel_size": 2, "num_layers": 0}
        check_ranges(channels=channels, kernel_size=kernel_size, num_layers=num_layers, dropout=dropout, least=least)
        self.kernel_size = kernel_size
        count = num_layers or fewest_layers(lookback, kernel_size - 1)
        self.enter = nn.Conv1d(num_features, channels, 1)
        self.layers = nn.ModuleList(GatedLayer(channels, kernel_size, dropout, i == count - 1) for i in range(count))
        self.skip = nn.Linear(count * channels, channels)  # the sum of one map per layer, as a single map
        self.mix = nn.Linear(channels, channels)
        self.head = Head(channels, horizon, outputs)
        of_head = {*self.head.modules()}
        for layer in self.modules():
            if isinstance(layer, nn.Conv1d | nn.Linear) and layer not in of_head:
                initialise(layer, "relu" if layer is self.mix or layer is self.skip else "tanh")

    @property
    def receptive_field(self) -> int:
        """How many of the newest steps can move the forecast: 1 + (k - 1)(1 + 2 + 4 + ...)."""
        field: int = 1 + (self.kernel_size - 1) * (2 ** len(self.layers) - 1)
        return field

    def forward(self, x_BLF: Tensor) -> Tensor:
        """[B, L, F] -> [B, H, O]."""
        maps_BCT, newest = self.enter(x_BLF.transpose(1, 2)), []
        for layer in self.layers:
            maps_BCT, z_BC = layer(maps_BCT)
            newest.append(z_BC)
        hidden_BC = self.mix(self.skip(torch.cat(newest, dim=-1)).relu()).relu()
        return self.head(hidden_BC)
