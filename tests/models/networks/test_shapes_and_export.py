"""Shapes, gradients and export of `models/networks/segment_gru.py`, `modern_tcn.py`, `dilated_lstm.py` and `min_gru.py`."""

import pytest
import torch

from models.networks.dilated_lstm import DilatedLstm
from models.networks.min_gru import MinGru
from models.networks.modern_tcn import ModernTcn
from models.networks.segment_gru import SegmentGru
from tests.models.networks.exported import check_export

SIZES = [(1, 1, 1), (3, 7, 2), (5, 1, 12), (2, 30, 5)]
EACH = pytest.mark.parametrize(
    ("kind", "own"),
    [
        (SegmentGru, {"hidden_size": 6}),
        (ModernTcn, {"channels": 6, "num_blocks": 2}),
        (DilatedLstm, {"hidden_size": 6}),
        (MinGru, {"hidden_size": 6}),
    ],
    ids=["segment_gru", "modern_tcn", "dilated_lstm", "min_gru"],
)


@pytest.mark.parametrize(("features", "lookback", "horizon"), SIZES)
@pytest.mark.parametrize("outputs", [1, 4])
@EACH
def test_any_size_gives_a_forecast_and_a_gradient_in_every_parameter(kind, own, features, lookback, horizon, outputs) -> None:
    torch.manual_seed(0)
    sizes = {"num_features": features, "lookback": lookback, "horizon": horizon, "outputs": outputs}
    network = kind(**sizes, **own, dropout=0.1)
    found = network(torch.randn(64, lookback, features))
    assert found.shape == (64, horizon, outputs) and torch.isfinite(found).all()
    (found + 1).square().mean().backward()  # outputs after the first begin at zero
    for name, parameter in network.named_parameters():
        if kind is DilatedLstm and lookback == 1 and "weight_hh" in name:
            continue  # a window of one sample has no state before it
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    with torch.device("meta"):
        assert kind(**sizes, **own)(torch.zeros(2, lookback, features)).shape == found[:2].shape
    assert network.double().eval()(torch.zeros(2, lookback, features, dtype=torch.float64)).dtype == torch.float64


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The tensor attributes .*_flat_weights")  # torch keeps a list of the weights
@pytest.mark.parametrize("lookback", [1, 12, 13])
@EACH
def test_an_exported_network_forecasts_the_same_for_any_batch(kind, own, lookback) -> None:
    torch.manual_seed(1)
    network = kind(num_features=3, lookback=lookback, horizon=4, outputs=2, **own, dropout=0.2).eval()
    check_export(network, lambda batch: (torch.randn(batch, lookback, 3),), 1e-5)
