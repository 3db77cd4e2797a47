"""fit/average.py: the average of weights by hand, and that a fit validates, keeps and goes on with it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from models.data.panel import Panel, Split
from models.data.window import WindowParams
from models.fit import checkpoint
from models.fit import loop as fit
from models.fit.average import Average
from models.fit.job import weights_hash
from models.fit.settings import Stopped, Training
from models.fit.step import Step, validate
from tests.models.fit.test_loop import TRAINING, make, run

AVERAGED = replace(TRAINING, average_epochs=1.0)


def test_the_average_is_the_recursion_of_a_textbook() -> None:
    """The newest counts 4 / (step + 4), and never less than 1 / steps; written out in numpy."""
    weight = nn.Parameter(torch.zeros(2, dtype=torch.float64))
    average, expected = Average([weight], 3.0), np.zeros(2)
    for step in range(1, 12):
        value = np.array([step, -(step**2)], dtype=np.float64)
        with torch.no_grad():
            weight.copy_(torch.from_numpy(value))
        average.take(step)
        share = max(1 / 3, 4 / (step + 4))
        expected = (1 - share) * expected + share * value
    np.testing.assert_allclose(average.values[0].numpy(), expected, rtol=1e-12)
    with average.in_place():
        np.testing.assert_allclose(weight.detach().numpy(), expected, rtol=1e-12)
    assert weight.tolist() == [11.0, -121.0]
    average.put()
    np.testing.assert_allclose(weight.detach().numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("steps", [0.0, 0.5, 1.0])
def test_an_average_over_no_more_than_a_step_is_nothing(steps: float) -> None:
    weight = nn.Parameter(torch.ones(1))
    average = Average([weight], steps)
    average.take(1)
    average.put()
    with average.in_place():
        assert weight.item() == 1.0
    assert average.values == []


def averages(panel: Panel, params: WindowParams, split: Split, training: Training) -> list[float]:
    """The validation error after each epoch, by a plain loop: the steps of the fit, and the recursion beside them."""
    forecaster, windows = make(panel, params, split, training)
    step = Step(forecaster, training, torch.device("cpu"))
    train, found, taken = windows["train"], [], 0
    per_epoch = -(-len(train) // training.batch_size)
    means = {name: value.detach().clone() for name, value in forecaster.named_parameters()}
    for epoch in range(training.max_epochs):
        torch.manual_seed(fit.stream(training, "dropout", epoch))
        forecaster.train()
        for batch in train.batches(training.batch_size, train.shuffled(fit.stream(training, "order", epoch))):
            step(batch, training.learning_rate * fit.schedule(taken, training.max_epochs * per_epoch))
            taken += 1
            share = max(1 / per_epoch, 4 / (taken + 4))
            for name, value in forecaster.named_parameters():
                means[name].lerp_(value.detach(), share)
        own = {name: value.detach().clone() for name, value in forecaster.named_parameters()}
        forecaster.load_state_dict(means, strict=False)
        found.append(validate(forecaster, windows["validation"], training.loss).mae)
        forecaster.load_state_dict(own, strict=False)
    return found


def test_a_fit_validates_and_keeps_its_averages(panel: Panel, params: WindowParams, split: Split, tmp_path: Path) -> None:
    forecaster, result = run(panel, params, split, tmp_path / "a", AVERAGED)
    expected = averages(panel, params, split, AVERAGED)
    assert [row["val_mae"] for row in result.history] == pytest.approx(expected, rel=1e-6)
    _, windows = make(panel, params, split, AVERAGED)
    assert validate(forecaster, windows["validation"], "mae").mae == pytest.approx(min(expected), rel=1e-6)
    _, plain = run(panel, params, split, tmp_path / "b", TRAINING)
    assert [row["train_loss"] for row in plain.history] == [row["train_loss"] for row in result.history]  # the same steps
    assert [row["val_mae"] for row in plain.history] != [row["val_mae"] for row in result.history]


def test_a_stopped_fit_goes_on_to_the_same_averages(panel: Panel, params: WindowParams, split: Split, tmp_path: Path) -> None:
    whole, _ = run(panel, params, split, tmp_path / "whole", AVERAGED)
    asked = iter([False] * 13 + [True] + [False] * 100)
    with pytest.raises(Stopped):
        run(panel, params, split, tmp_path / "part", AVERAGED, stop=lambda: next(asked))
    state = checkpoint.load_newest(tmp_path / "part")
    assert state is not None and len(state["average"]) == len(list(whole.parameters()))
    again, _ = run(panel, params, split, tmp_path / "part", AVERAGED)
    assert weights_hash(again.state_dict()) == weights_hash(whole.state_dict())


def test_a_refit_ends_with_the_average_of_its_last_step(
    panel: Panel, params: WindowParams, split: Split, tmp_path: Path
) -> None:
    """A fit whose third epoch is its last is validated on it; a refit of three epochs over the same windows has its weights."""
    training = replace(AVERAGED, max_epochs=3, learning_rate=1e-3)
    forecaster, result = run(panel, params, split, tmp_path / "a", training)
    assert result.best_epoch == 2
    refit, _ = run(panel, params, split, tmp_path / "b", replace(training, refit_epochs=3))
    assert weights_hash(refit.state_dict()) == weights_hash(forecaster.state_dict())
