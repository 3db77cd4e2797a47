"""Integrated gradients against their axiom, and against the weights of a linear map."""

from typing import Any

import numpy as np
import pytest
import torch

from models.data.panel import Panel
from models.data.scaling import fit_scaling
from models.data.window import FeatureWindow, WindowParams
from models.data.windows import Inputs, Windows
from models.ensemble import Ensemble
from models.families import build_forecaster
from models.forecaster import Forecaster
from tasks.evaluate.gradients import MOST_STEPS, attributions, gradients_of

PARAMS = WindowParams(
    6, {"y": FeatureWindow(8), "x": FeatureWindow(3, 2, 1), "z": FeatureWindow(2)}, gap=1, calendar=("hour",), future=("x", "w")
)
SERIES, ROWS = 2, 60


def panel() -> Panel:
    """Two series of unlike level, with gaps in x and in the target."""
    rng, rows = np.random.default_rng(2), SERIES * ROWS
    values = rng.normal(size=(rows, len(PARAMS.panel_channels))).astype(np.float32)
    values[:, 0] = np.repeat([4.0, 60.0], ROWS) + rng.normal(size=rows)
    values[::7, 1], values[::11, 0] = np.nan, np.nan
    target = values[:, 0].astype(np.float64)
    offsets = np.array([0, ROWS, rows])
    return Panel(target, values, offsets, np.tile(np.arange(ROWS), SERIES), ("a", "b"), PARAMS.panel_channels, "none")


def forecaster(family: str, network: dict[str, Any], level: Any = "last", transform: Any = "none") -> Forecaster:
    torch.manual_seed(1)
    scaling = fit_scaling(panel(), PARAMS, None, "series", "standard", transform)
    own = build_forecaster(family, network, PARAMS, level=level, transform=transform, scaling=scaling).eval()
    with torch.no_grad():  # a linear map starts at zero
        for weight in own.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return own


def inputs() -> Inputs:
    windows = Windows(panel(), PARAMS, np.array([9, 20, 40, 70, 100]))
    return windows.inputs(windows.origins)


def at(own: Forecaster, given: Inputs, mean: bool) -> torch.Tensor:
    """[B, steps] scaled forecasts, of the windows or of their reference, whose missing values stay missing."""
    own, given = own.double(), Inputs(*(part.double() if part.is_floating_point() else part for part in given))
    if mean:
        level_BF, ahead_BK = own.loc[given.series_B].clone(), own.ahead_loc[given.series_B]
        level_BF[:, 0] = torch.expm1(level_BF[:, 0]) if own.transform == "log1p" else level_BF[:, 0]
        given = given._replace(
            past_BLF=level_BF[:, None].expand_as(given.past_BLF).masked_fill(given.past_BLF.isnan(), torch.nan),
            ahead_BAK=ahead_BK[:, None].expand_as(given.ahead_BAK).masked_fill(given.ahead_BAK.isnan(), torch.nan),
        )
    with torch.no_grad():
        return own.scaled(*given)[..., 0][:, [0, 2, 3, 5]]


@pytest.mark.parametrize(
    ("family", "network", "level", "transform"),
    [
        ("recurrent", {"cell": "gru", "hidden_size": 6}, "last", "none"),
        ("recurrent", {"cell": "lstm", "hidden_size": 6}, "revin", "none"),
        ("dense", {"hidden_size": 8}, "mean", "log1p"),
        ("ridge", {}, "last", "none"),
    ],
)
def test_they_add_up_to_the_forecast_minus_that_of_the_reference(
    family: str, network: dict[str, Any], level: Any, transform: Any
) -> None:
    own, given = forecaster(family, network, level, transform), inputs()
    past, ahead = attributions(own, given)
    assert past.shape == (MOST_STEPS * 5, 8, len(PARAMS.channels)) and not past.isnan().any() and not ahead.isnan().any()
    total = (past.sum((1, 2)) + ahead.sum((1, 2))).reshape(MOST_STEPS, 5).T
    change = at(own, given, mean=False) - at(own, given, mean=True)
    assert change.abs().mean() > 0.1
    print((total - change).abs().max(), change.abs().mean())
    assert torch.allclose(total, change, atol=1e-4)
    gone = given.past_BLF.isnan().repeat(MOST_STEPS, 1, 1)
    assert gone.any() and not past[gone].any()


def test_those_of_a_linear_map_are_its_weights_times_its_inputs() -> None:
    own, given = forecaster("ridge", {}, "none"), inputs()
    past, _ = attributions(own, given)
    own, wide = own.double(), Inputs(*(part.double() if part.is_floating_point() else part for part in given))
    with torch.no_grad():
        x_BLN = own.inputs(*wide).x_BLN
        weights_HLN = own.network.map.weight.reshape(6, 8, -1)[[0, 2, 3, 5]]  # type: ignore[union-attr, operator]
    count = len(PARAMS.features)
    expected = torch.cat([x_BLN[..., :count] * one[:, :count] for one in weights_HLN])
    assert torch.allclose(past[..., :count], expected, atol=1e-9)


def test_each_share_stands_at_the_row_that_was_read() -> None:
    own = forecaster("ridge", {}, "none")
    found = gradients_of(own, PARAMS, inputs())
    assert found is not None and found.names == ("y", "x", "z", "w") and found.first == 2 - 7
    read = [{lag for lag, share in enumerate(row, found.first) if share is not None} for row in found.shares]
    ahead = set(range(-5, 2))  # rows 1 to 7 after the cutoff, and step 1 is row 2
    assert read == [set(range(2, 10)), {3, 5, 7} | ahead, {2, 3}, ahead]
    assert sum(share or 0 for row in found.shares for share in row) == pytest.approx(1)


def test_of_an_ensemble_they_are_the_mean_of_its_networks() -> None:
    one, two = forecaster("ridge", {}), forecaster("dense", {"hidden_size": 8}, "mean")
    both = gradients_of(Ensemble([one, two]), PARAMS, inputs())
    each = [gradients_of(member, PARAMS, inputs()) for member in (one, two)]
    assert both is not None and all(each)
    shares = [np.nan_to_num(np.array(found.shares, float)) for found in (both, *each) if found]
    assert np.allclose(shares[0], (shares[1] + shares[2]) / 2, atol=0.05)
