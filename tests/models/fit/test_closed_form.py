"""fit/closed_form.py: the ridge regression beside a network, against the variant ridge (ridge itself: test_loop.py)."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models import build_forecaster
from models.data.origins import origin_rows
from models.data.panel import Panel, Split
from models.data.scaling import fit_scaling
from models.data.window import WindowParams
from models.data.windows import Windows
from models.fit.closed_form import solve_skip
from models.fit.loop import fit
from tests.models.fit.test_loop import TRAINING


def skipped(panel: Panel, params: WindowParams, split: Split, quantiles: tuple[float, ...] = (), **network: Any) -> Any:
    """A small GRU beside a ridge regression, its windows and the same ridge regression by itself."""
    windows = {n: Windows(panel, params, origin_rows(panel, params, split, n, 1)) for n in ("train", "validation", "test")}
    scaling = fit_scaling(panel, params, split, "series")
    torch.manual_seed(0)
    network = network or {"cell": "gru", "hidden_size": 8}
    beside = build_forecaster(
        "recurrent", {**network, "skip": "ridge"}, params, level="last", scaling=scaling, quantiles=quantiles
    )
    return beside, windows, build_forecaster("ridge", {}, params, level="last", scaling=scaling)


def test_a_network_beside_a_ridge_regression_begins_as_it_and_leaves_it_alone(
    panel: Panel, params: WindowParams, split: Split, tmp_path: Path
) -> None:
    """Solved as the variant ridge is, with the same penalty; before a step the forecasts are its, and its weights stay."""
    beside, windows, ridge = skipped(panel, params, split, (0.1, 0.5, 0.9))
    alone = fit(ridge, windows["train"], windows["validation"], TRAINING, tmp_path)
    inputs = windows["test"].inputs(windows["test"].origins)
    penalty = solve_skip(beside, windows["train"], windows["validation"], TRAINING)
    assert penalty == alone.penalty == alone.history[alone.best_epoch]["penalty"]
    torch.testing.assert_close(beside(*inputs)[..., 0], ridge(*inputs)[..., 0], rtol=1e-6, atol=1e-6)
    result = fit(beside, windows["train"], windows["validation"], TRAINING, tmp_path)
    assert result.penalty == penalty and result.ended_by == "max_epochs"
    assert torch.equal(beside.skip.map.weight, ridge.network.map.weight)
    assert torch.equal(beside.skip.map.bias, ridge.network.map.bias)
    assert not torch.equal(beside(*inputs)[..., 0], ridge(*inputs)[..., 0])
    assert result.val_mae is not None and alone.val_mae is not None and result.val_mae < 1.02 * alone.val_mae


def test_quantiles_beside_a_ridge_regression_begin_around_what_it_leaves(
    panel: Panel, params: WindowParams, split: Split
) -> None:
    """In place of the spread of the targets around their level, which is five times as wide here."""
    beside, windows, _ = skipped(panel, params, split, (0.1, 0.5, 0.9))
    wide = beside.reach_H.clone()
    solve_skip(beside, windows["train"], windows["validation"], TRAINING)
    rows = windows["test"]
    forecasts = beside(*rows.inputs(rows.origins)).detach().numpy()
    y = np.stack([panel.target[int(row) + 1 : int(row) + 5] for row in rows.origins])
    inside = (y > forecasts[..., 1]) & (y < forecasts[..., 3])
    assert 0.7 < inside.mean() < 0.9  # of the 80 % between them
    assert float((beside.reach_H / wide).max()) < 0.5


def test_a_refit_beside_a_ridge_regression_has_the_given_penalty(
    panel: Panel, params: WindowParams, split: Split, tmp_path: Path
) -> None:
    beside, windows, ridge = skipped(panel, params, split)
    refit = replace(TRAINING, refit_epochs=2, refit_penalty=100.0)
    result = fit(beside, windows["train"], windows["validation"].at(np.array([], np.int64)), refit, tmp_path)
    assert result.penalty == 100.0 and len(result.history) == 2
    fit(ridge, windows["train"], windows["validation"], replace(TRAINING, refit_penalty=100.0), tmp_path)
    assert torch.equal(beside.skip.map.weight, ridge.network.map.weight)
