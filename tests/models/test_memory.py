"""The measured receptive field on networks whose field is known."""

import pytest
import torch
from torch import Tensor, nn

from models import build_forecaster
from models.forecaster import Forecaster
from models.memory import receptive_field
from models.scaling import no_scaling
from models.windows import FeatureWindow, WindowParams

PARAMS = WindowParams(2, {"y": FeatureWindow(20)})


class Newest(nn.Module):
    """Sees the newest `seen` samples alone."""

    def __init__(self, seen: int) -> None:
        super().__init__()
        self.seen = seen

    def forward(self, x_BLF: Tensor) -> Tensor:
        return x_BLF[:, x_BLF.shape[1] - self.seen :, 0].sum(1, keepdim=True).expand(-1, 2)


@pytest.mark.parametrize("seen", [0, 1, 7, 20])
def test_a_known_field_is_measured_exactly(seen: int) -> None:
    assert receptive_field(Forecaster(Newest(seen), PARAMS, no_scaling(PARAMS), "none"), PARAMS) == seen


def test_a_convolution_that_skips_the_oldest_samples_is_seen_through() -> None:
    network = {"channels": 4, "kernel_size": 1, "num_layers": 1, "stride": 20}
    torch.manual_seed(0)
    assert receptive_field(build_forecaster("convolutional", network, PARAMS), PARAMS) in (1, 20)
    torch.manual_seed(0)
    recurrent = build_forecaster("recurrent", {"cell": "gru", "hidden_size": 4}, PARAMS)
    assert receptive_field(recurrent, PARAMS) == 20
