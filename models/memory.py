"""What of its window a network uses, measured and not derived; never trains or scores.

Shapes: B batch, L lookback, F channels of a batch.
"""

import torch

from models.forecaster import Forecaster
from models.windows import Inputs, WindowParams


def receptive_field(forecaster: Forecaster, params: WindowParams) -> int:
    """Samples from the newest back to the oldest that moves any forecast, by the gradient at a random window."""
    generator = torch.Generator().manual_seed(0)
    blank = Inputs.zeros(params, 8)
    past_BLF = torch.randn(blank.past_BLF.shape, generator=generator, dtype=torch.float64).abs()  # log1p takes these
    past_BLF.requires_grad_()
    own = forecaster.double().eval()
    own(past_BLF, blank.ahead_BAK.double(), blank.static_BC.double(), blank.series_B).abs().sum().backward()
    assert past_BLF.grad is not None
    moved_L = past_BLF.grad.abs().sum(dim=(0, 2)) > 0
    return int(params.lookback - moved_L.int().argmax()) if bool(moved_L.any()) else 0
