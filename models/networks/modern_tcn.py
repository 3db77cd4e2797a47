"""Convolution with large kernels over patches of the window, which shorten long windows.

Luo & Wang 2024, "ModernTCN" (ICLR).
Shapes: B batch, L lookback, F features, H horizon, O outputs, P patches, C channels.
"""

from torch import Tensor, nn

from models.networks.contract import Head, Network


class Block(nn.Module):
    """x + W gelu(V norm(depth-wise convolution of x)): mixes along time, then across channels.

    The norm runs over the channels of each patch, never over a batch.
    """

    def __init__(self, channels: int, kernel_size: int, expansion: int, dropout: float) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(channels, channels, kernel_size, padding=kernel_size // 2, groups=channels)
        self.norm = nn.LayerNorm(channels)
        self.wide = nn.Linear(channels, expansion * channels)
        self.narrow = nn.Linear(expansion * channels, channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BPC: Tensor) -> Tensor:
        """[B, P, C] -> [B, P, C]."""
        mixed = self.norm(self.depthwise(x_BPC.transpose(1, 2)).transpose(1, 2))
        result: Tensor = x_BPC + self.dropout(self.narrow(nn.functional.gelu(self.wide(mixed))))
        return result


class ModernTcn(Network):
    """Patches of the window, blocks of large-kernel depth-wise convolution, a linear map of all patches.

    [B, L, F] -> [B, H, O].  A patch has `patch_size` samples of all features and starts `patch_stride`
    samples after the previous one; zeros before the oldest sample make the newest patch end with the window.
    `kernel_size` (odd) counts patches and is cut to twice their number minus one.  Unlike in the paper,
    features share their patches (our networks see one sequence of all channels) and the norm is over
    channels, not the batch.  torch's own initialisation.
    Raises ValueError for numbers out of range.
    """

    def __init__(
        self,
        *,
        num_features: int,
        lookback: int,
        horizon: int,
        outputs: int = 1,
        channels: int,
        patch_size: int = 8,
        patch_stride: int = 4,
        kernel_size: int = 13,
        num_blocks: int = 1,
        expansion: int = 2,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if min(channels, patch_size, patch_stride, kernel_size, num_blocks, expansion) < 1 or not 0 <= dropout < 1:
            raise ValueError("all sizes must be at least 1, dropout at least 0 and below 1")
        if channels < 2:
            raise ValueError("channels must be at least 2: the norm over a single one is 0 whatever it holds")
        if patch_stride > patch_size:
            raise ValueError(f"patch_stride must be at most patch_size ({patch_size}), or no patch would hold some samples")
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, so that it has a middle, not {kernel_size}")
        patches = 1 + -(-max(lookback - patch_size, 0) // patch_stride)
        self.padding = patch_size + (patches - 1) * patch_stride - lookback
        self.enter = nn.Conv1d(num_features, channels, patch_size, patch_stride)
        kernel_size = min(kernel_size, 2 * patches - 1)  # a wider kernel would only see padding
        self.blocks = nn.Sequential(*(Block(channels, kernel_size, expansion, dropout) for _ in range(num_blocks)))
        self.dropout = nn.Dropout(dropout)
        self.head = Head(patches * channels, horizon, outputs)

    def forward(self, x_BLF: Tensor) -> Tensor:
        """[B, L, F] -> [B, H, O]."""
        x_BFL = nn.functional.pad(x_BLF.transpose(1, 2), (self.padding, 0))
        x_BPC = self.blocks(self.enter(x_BFL).transpose(1, 2))
        return self.head(self.dropout(x_BPC.flatten(1)))
