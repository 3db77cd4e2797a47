"""fit/loop.py, closed_form.py, losses.py and networks/linear.py: best weights, seeds, resuming, failures, ridge, leaks."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models import build_forecaster
from models.data.origins import origin_rows
from models.data.panel import Panel, Split
from models.data.scaling import fit_scaling
from models.data.window import FeatureWindow, WindowParams
from models.data.windows import Windows
from models.fit import checkpoint
from models.fit import loop as fit
from models.fit.job import weights_hash
from models.fit.losses import absolute_errors, masked_loss
from models.fit.settings import FitFailed, Training, stream
from models.fit.step import validate
from models.networks.linear import PENALTIES, Ridge

TRAINING = Training(
    max_epochs=6,
    patience_epochs=6,
    batch_size=32,
    learning_rate=1e-2,
    weight_decay=1e-4,
    clip_norm=1.0,
    loss="mae",
    variant="v",
    seed=0,
)
GRU = {"cell": "gru", "hidden_size": 8, "num_layers": 2, "dropout": 0.2}


def make(
    panel: Panel, params: WindowParams, split: Split, training: Training = TRAINING, family: str = "recurrent", **network: Any
) -> Any:
    windows = {n: Windows(panel, params, origin_rows(panel, params, split, n, 1)) for n in ("train", "validation", "test")}
    torch.manual_seed(stream(training, "weights"))
    network = network or (GRU if family == "recurrent" else {})
    scaling = fit_scaling(panel, params, split, "series")
    return build_forecaster(family, network, params, level="last", scaling=scaling), windows


def run(
    panel: Panel, params: WindowParams, split: Split, folder: Path, training: Training = TRAINING, **kwargs: Any
) -> tuple[Any, Any]:
    forecaster, windows = make(panel, params, split, training)
    folder.mkdir(exist_ok=True)
    return forecaster, fit.fit(forecaster, windows["train"], windows["validation"], training, folder, **kwargs)


def test_training_learns_and_hands_back_the_best_weights(
    panel: Panel, params: WindowParams, split: Split, tmp_path: Path
) -> None:
    training = replace(TRAINING, learning_rate=0.05, max_epochs=8, patience_epochs=8)
    forecaster, windows = make(panel, params, split, training)
    before = validate(forecaster, windows["validation"], "mae")[1]
    result = fit.fit(forecaster, windows["train"], windows["validation"], training, tmp_path)
    maes = [row["val_mae"] for row in result.history]
    assert result.val_mae == min(maes) < 0.6 * before
    assert validate(forecaster, windows["validation"], "mae")[1] == pytest.approx(min(maes), rel=1e-6)
    assert result.best_epoch == maes.index(min(maes))


def test_the_best_epoch_may_be_that_of_the_loss(panel: Panel, params: WindowParams, split: Split, tmp_path: Path) -> None:
    """Series of other sizes pull the raw MAE and the scaled loss apart; with `monitor` loss the weights of its minimum come."""
    y = panel.target.copy()
    y[300:] = 1000 * y[300:]
    values = panel.values.copy()
    values[:, 0] = y
    large = replace(panel, target=y, values=values)
    for monitor, column in (("mae", "val_mae"), ("loss", "val_loss")):
        training = replace(TRAINING, learning_rate=0.05, max_epochs=8, patience_epochs=8, monitor=monitor)
        forecaster, result = run(large, params, split, tmp_path / monitor, training)
        curve = [row[column] for row in result.history]
        assert result.best_epoch == int(np.argmin(curve))
        windows = Windows(large, params, origin_rows(large, params, split, "validation", 1))
        loss, error, _ = validate(forecaster, windows, "mae")
        assert (error if monitor == "mae" else loss) == pytest.approx(min(curve), rel=1e-5)


def test_a_loss_that_is_no_number_on_validation_is_a_failed_fit(
    panel: Panel, params: WindowParams, split: Split, tmp_path: Path
) -> None:
    """One target whose square no float holds: its absolute error is a number, and the loss is none."""
    target = panel.target.astype(np.float64)
    target[200] = 1e200
    with pytest.raises(FitFailed, match="the validation error is not finite"):
        run(replace(panel, target=target), params, split, tmp_path / "x", replace(TRAINING, loss="mse", monitor="loss"))


def test_early_stopping_hands_back_the_best_weights_and_not_the_last(
    panel: Panel, params: WindowParams, split: Split, tmp_path: Path
) -> None:
    """A rate so high that later epochs are worse; what comes back scores as the best of them did."""
    training = replace(TRAINING, learning_rate=0.3, max_epochs=30, patience_epochs=3)
    forecaster, windows = make(panel, params, split, training)
    result = fit.fit(forecaster, windows["train"], windows["validation"], training, tmp_path)
    maes = [row["val_mae"] for row in result.history]
    assert result.best_epoch < len(maes) - 1 and maes[-1] > min(maes)
    assert validate(forecaster, windows["validation"], "mae")[1] == pytest.approx(min(maes), rel=1e-6)


def test_what_ended_a_fit_is_said(panel: Panel, params: WindowParams, split: Split, tmp_path: Path) -> None:
    """10 steps are an epoch; a budget may end within one, which is validated all the same."""
    budgets = {
        "max_epochs": ({"max_epochs": 2}, 20, 2),
        "max_steps": ({"max_steps": 17}, 17, 2),
        "max_seconds": ({"max_seconds": 1e-9}, 1, 1),
        "stop_step": ({"stop_step": 5, "max_seconds": 1e-9}, 5, 1),
    }
    for number, (ended_by, (numbers, steps, epochs)) in enumerate(budgets.items()):
        result = run(panel, params, split, tmp_path / str(number), replace(TRAINING, **numbers))[1]
        assert (result.ended_by, result.steps, len(result.history)) == (ended_by, steps, epochs)
        assert [row["epoch"] for row in result.history] == list(range(epochs))
    patient = replace(TRAINING, learning_rate=0.3, max_epochs=60, patience_epochs=1)
    assert run(panel, params, split, tmp_path / "p", patient)[1].ended_by == "patience_epochs"


def test_a_budget_of_steps_brings_the_learning_rate_down_within_it(
    panel: Panel, params: WindowParams, split: Split, tmp_path: Path
) -> None:
    """20 steps are two epochs: the same fit, whichever of the two says so."""
    hashes = {
        weights_hash(run(panel, params, split, tmp_path / str(n), replace(TRAINING, **numbers))[0].state_dict())
        for n, numbers in enumerate(({"max_epochs": 2}, {"max_steps": 20}))
    }
    assert len(hashes) == 1


def test_a_repeated_fit_stops_where_the_seconds_of_the_first_were_over(
    panel: Panel, params: WindowParams, split: Split, tmp_path: Path
) -> None:
    """`max_seconds` shapes nothing but the end: with its step recorded, the repetition has the same weights."""
    first, timed = run(panel, params, split, tmp_path / "a", replace(TRAINING, max_epochs=10_000, max_seconds=0.5))
    assert timed.ended_by == "max_seconds" and timed.steps > 1
    again, _ = run(panel, params, split, tmp_path / "b", replace(TRAINING, max_epochs=10_000, stop_step=timed.steps))
    assert weights_hash(first.state_dict()) == weights_hash(again.state_dict())


@pytest.mark.parametrize("part", [0, 7], ids=["whole epochs", "and a part of one"])
def test_a_refit_is_a_plain_loop_over_all_windows(panel: Panel, params: WindowParams, tmp_path: Path, part: int) -> None:
    """Written out here: no validation, the last weights, the schedule planned over what an equal fit was allowed."""
    origins = origin_rows(panel, params, None, "all", 1)
    scaling = fit_scaling(panel, params, None, "series")
    a_pass = -(-len(origins) // 32)
    numbers: dict[str, Any] = {"refit_epochs": 3, "max_seconds": 1e-9, "patience_epochs": 1}
    training = replace(TRAINING, **numbers, stop_step=2 * a_pass + part if part else None)

    def fresh() -> tuple[Any, Windows]:
        torch.manual_seed(stream(training, "weights"))
        network = {"cell": "gru", "hidden_size": 8}
        return build_forecaster("recurrent", network, params, level="last", scaling=scaling), Windows(panel, params, origins)

    forecaster, windows = fresh()
    result = fit.fit(forecaster, windows, windows.at(origins[:0]), training, tmp_path)
    taken = 3 * a_pass if not part else 2 * a_pass + part
    assert (result.ended_by, result.steps, result.val_mae, result.best_epoch) == ("refit", taken, None, 2)
    assert [sorted(row) for row in result.history] == [["epoch", "seconds", "train_loss"]] * 3

    plain, windows = fresh()
    adam = torch.optim.AdamW(plain.parameters(), weight_decay=training.weight_decay, fused=True)
    for step in range(taken):
        if step % a_pass == 0:
            order = windows.shuffled(stream(training, "order", step // a_pass))
        batch = windows.batch(order[step % a_pass * 32 :][:32])
        adam.param_groups[0]["lr"] = training.learning_rate * fit.schedule(step, training.max_epochs * a_pass)
        adam.zero_grad()
        point, _, level = plain.above_level(batch.inputs)
        targets = plain.scale_targets(batch.y_BH, batch.inputs.series_B) - level
        masked_loss("mae", point, targets.float()).backward()
        torch.nn.utils.clip_grad_norm_(plain.parameters(), training.clip_norm)
        adam.step()
    assert weights_hash(forecaster.state_dict()) == weights_hash(plain.state_dict())


def test_a_refit_whose_weights_are_no_numbers_has_failed(
    panel: Panel, params: WindowParams, split: Split, tmp_path: Path
) -> None:
    """No validation looks at what the last step left."""
    training = replace(TRAINING, refit_epochs=1, stop_step=1, learning_rate=1e38, weight_decay=1e30, clip_norm=1e30)
    with pytest.raises(FitFailed, match=r"diverged: the weights are not finite \(epoch 1, step 1,"):
        run(panel, params, split, tmp_path / "a", training)


def test_a_fit_leaves_the_generators_of_torch_as_they_were(
    panel: Panel, params: WindowParams, split: Split, tmp_path: Path
) -> None:
    torch.manual_seed(5)
    make(panel, params, split)
    forecaster, windows = make(panel, params, split)
    before = torch.get_rng_state()
    fit.fit(forecaster, windows["train"], windows["validation"], replace(TRAINING, max_epochs=1), tmp_path)
    assert torch.equal(torch.get_rng_state(), before)


def test_early_stopping_stops(panel: Panel, params: WindowParams, split: Split, tmp_path: Path) -> None:
    training = replace(TRAINING, learning_rate=0.05, max_epochs=60, patience_epochs=2)
    result = run(panel, params, split, tmp_path / "a", training)[1]
    assert len(result.history) < 60
    assert len(result.history) - 1 - result.best_epoch == 2


def test_no_two_streams_are_the_same() -> None:
    names = [(v, s, p, e) for v in ("a", "b") for s in range(20) for p in ("weights", "order", "dropout") for e in range(20)]
    seeds = {stream(replace(TRAINING, variant=v, seed=s), p, e) for v, s, p, e in names}
    assert len(seeds) == len(names)


def test_a_checkpoint_never_unpickles_code(tmp_path: Path) -> None:
    import hashlib
    import os
    import pickle

    class Evil:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "ran"),)

    content = pickle.dumps(Evil())
    (tmp_path / f"step-000000001-{hashlib.sha256(content).hexdigest()[:16]}.pt").write_bytes(content)
    with pytest.raises(Exception, match=r"[Ww]eights"):
        checkpoint.load_newest(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_a_fit_that_diverges_is_a_result_and_no_number(
    panel: Panel, params: WindowParams, split: Split, tmp_path: Path
) -> None:
    training = replace(TRAINING, learning_rate=1e30, clip_norm=1e30, loss="mse")
    with pytest.raises(
        FitFailed, match=r"not finite \(epoch 1, step \d+, learning rate .*\); lower training.learning_rate"
    ) as failed:
        run(panel, params, split, tmp_path / "a", training)
    assert failed.value.step is not None and failed.value.learning_rate is not None
    state = checkpoint.load_newest(tmp_path / "a")  # the last finite one
    assert state is not None and state["steps"] == failed.value.step - 1
    assert all(value.isfinite().all() for value in state["weights"].values())
    with pytest.raises(FitFailed, match=f"step {failed.value.step},"):  # started again it fails at the same step
        run(panel, params, split, tmp_path / "a", training)


def test_a_split_without_a_window_is_named(panel: Panel, params: WindowParams, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="training split"):
        run(panel, params, Split("time", 5, 240), tmp_path / "a")


def test_ridge_equals_the_normal_equations_of_the_windows(
    panel: Panel, params: WindowParams, split: Split, tmp_path: Path
) -> None:
    """Each step solved by numpy on the rows that have its target; the penalty is the one with the best validation MAE."""
    forecaster, windows = make(panel, params, split, family="ridge")
    x, y = [], []
    for raw, target in windows["train"].batches(50):
        inputs, level, _, _ = forecaster.inputs(*raw)
        x.append(inputs.flatten(1).double().numpy())
        y.append((forecaster.scale_targets(target, raw.series_B) - level).double().numpy())
    x_all, y_all = np.concatenate(x), np.concatenate(y)
    assert np.isnan(y_all).any() and not np.isnan(y_all).all()
    result = fit.fit(forecaster, windows["train"], windows["validation"], replace(TRAINING), tmp_path)
    penalty = min(result.history, key=lambda row: row["val_mae"])["penalty"]
    weight = forecaster.network.map.weight.detach().double().numpy()
    bias = forecaster.network.map.bias.detach().double().numpy()
    varies = x_all.std(0) > 1e-4
    for h in range(4):
        rows = ~np.isnan(y_all[:, h])
        design = np.column_stack([x_all[rows][:, varies], np.ones(rows.sum())])
        shrink = penalty * np.eye(design.shape[1])
        shrink[-1, -1] = 0
        solution = np.linalg.solve(design.T @ design + shrink, design.T @ y_all[rows, h])
        np.testing.assert_allclose(weight[h, varies], solution[:-1], atol=2e-5)
        np.testing.assert_allclose(bias[h], solution[-1], atol=2e-5)
        assert (weight[h, ~varies] == 0).all()


@pytest.mark.slow
def test_a_ridge_refit_is_ridge_with_the_given_penalty(
    panel: Panel, params: WindowParams, split: Split, tmp_path: Path
) -> None:
    """Against numpy on the windows that it was given, with a penalty that validation would not choose."""
    forecaster, windows = make(panel, params, split, family="ridge")
    every = windows["train"].at(origin_rows(panel, params, None, "all", 1))
    training = replace(TRAINING, refit_penalty=PENALTIES[-1])
    result = fit.fit(forecaster, every, every.at(np.zeros(0, np.int32)), training, tmp_path)
    assert (result.ended_by, result.val_mae, len(result.history)) == ("refit", None, 1)
    assert result.history[0]["penalty"] == PENALTIES[-1]
    raw, target = every.batch(torch.arange(len(every)))
    inputs, level, _, _ = forecaster.inputs(*raw)
    y = (forecaster.scale_targets(target, raw.series_B) - level).double().numpy()
    both = torch.column_stack([forecaster.network.map.weight, forecaster.network.map.bias]).detach().numpy()
    for step in range(4):
        expected = by_numpy(inputs.flatten(1).double().numpy(), y[:, step], PENALTIES[-1])
        np.testing.assert_allclose(both[step], expected, atol=2e-5)


def by_numpy(x: np.ndarray, y: np.ndarray, penalty: float) -> np.ndarray:
    """Ridge weights and bias of one step, on its observed rows, by least squares on rows that stand for the penalty."""
    seen = ~np.isnan(y)
    design = np.column_stack([x[seen], np.ones(seen.sum())])
    shrink = np.sqrt(penalty) * np.eye(x.shape[1], x.shape[1] + 1)
    rows, targets = np.concatenate([design, shrink]), np.concatenate([y[seen], np.zeros(x.shape[1])])
    return np.asarray(np.linalg.lstsq(rows, targets, rcond=None)[0])


def test_ridge_solves_each_step_on_the_targets_that_it_has() -> None:
    """Steps with all, most, three, two, one and no targets; the last two have nothing to learn from and get zero."""
    rng = np.random.default_rng(3)
    x, y = rng.normal(2, 3, (200, 4, 2)), rng.normal(5, 1, (200, 6))
    y[rng.random(200) < 0.3, 1] = np.nan
    for step, seen in ((2, [7, 90, 150]), (3, [60, 61]), (4, [120]), (5, [])):
        y[np.setdiff1d(np.arange(200), seen), step] = np.nan
    network = Ridge(num_features=2, lookback=4, horizon=6)
    batches = [(torch.tensor(x[i : i + 50]), torch.tensor(y[i : i + 50])) for i in range(0, 200, 50)]
    found = list(network.candidates(batches))
    assert [penalty for penalty, _ in found] == list(PENALTIES)
    for penalty, weights in found:
        both = np.column_stack([weights["map.weight"].numpy(), weights["map.bias"].numpy()])
        for step in range(4):
            np.testing.assert_allclose(both[step], by_numpy(x.reshape(200, 8), y[:, step], penalty), atol=1e-5)
        assert (both[4:] == 0).all()


def test_a_penalty_too_small_to_solve_with_is_left_out() -> None:
    """Two equal lags of 2**26 over 64 windows: 0.1 on sums of 2**58 is lost in 64 bits, and the matrix is singular."""
    x = torch.full((64, 2, 1), 2.0**26)
    x[::2] *= -1
    y = torch.where(torch.arange(64) % 2 == 0, -1.0, 1.0).unsqueeze(1)
    penalties = [penalty for penalty, _ in Ridge(num_features=1, lookback=2, horizon=1).candidates([(x, y)])]
    assert PENALTIES[0] not in penalties and PENALTIES[-1] in penalties


def test_ridge_without_a_finite_solution_is_a_failed_fit(
    panel: Panel, params: WindowParams, split: Split, tmp_path: Path
) -> None:
    forecaster, windows = make(panel, params, split, family="ridge")
    forecaster.y_scale[:] = torch.nan
    with pytest.raises(FitFailed, match="no finite solution"):
        fit.fit(forecaster, windows["train"], windows["validation"], TRAINING, tmp_path)


def test_a_missing_target_is_left_out_of_loss_and_error() -> None:
    y = torch.tensor([[1.0, torch.nan], [3.0, 4.0]])
    forecast = torch.tensor([[2.0, 99.0], [3.0, 6.0]], requires_grad=True)
    loss = masked_loss("mae", forecast, y)
    assert float(loss.detach()) == pytest.approx(1.0)
    assert float(masked_loss("mse", forecast.detach(), y)) == pytest.approx(5 / 3)
    loss.backward()  # type: ignore[no-untyped-call]
    assert forecast.grad is not None and forecast.grad[0, 1] == 0
    assert [float(part) for part in absolute_errors(forecast.detach(), y)] == [3.0, 3.0]
    assert float(masked_loss("mae", forecast.detach(), torch.full((2, 2), torch.nan))) == 0


@pytest.mark.parametrize("family", ["recurrent", "ridge"])
def test_what_comes_after_the_cutoff_changes_no_forecast(
    panel: Panel, params: WindowParams, split: Split, tmp_path: Path, family: str
) -> None:
    forecaster, windows = make(panel, params, split, family=family)
    fit.fit(forecaster, windows["train"], windows["validation"], replace(TRAINING, max_epochs=1), tmp_path)
    forecaster.eval()
    origin = 250
    changed = replace(panel, target=panel.target.copy(), values=panel.values.copy())
    changed.values[origin + 1 :] = changed.target[origin + 1 :] = 1e9
    forecasts = []
    for table in (panel, changed):
        rows = Windows(table, params, np.array([origin]))
        forecasts.append(forecaster(*rows.inputs(rows.origins)))
    assert torch.equal(*forecasts)


@pytest.mark.parametrize("gap", [0, 3])
def test_a_ramp_comes_back_unshifted(gap: int, tmp_path: Path) -> None:
    """y_t = t: ridge must answer t + gap + k."""
    ramp = np.arange(400, dtype=np.float32)
    panel = Panel(ramp, ramp[:, None], np.array([0, 400]), np.arange(400), ("a",), ("y",), "d")
    params = WindowParams(5, {"y": FeatureWindow(6)}, gap)
    forecaster, windows = make(panel, params, Split("time", 250, 320), family="ridge")
    fit.fit(forecaster, windows["train"], windows["validation"], TRAINING, tmp_path)
    test = windows["test"]
    found = forecaster(*test.inputs(test.origins))[..., 0].detach().numpy()
    expected = test.origins.numpy()[:, None] + gap + np.arange(1, 6)
    np.testing.assert_allclose(found, expected, atol=0.2)


def test_the_schedule_rises_then_falls_to_zero() -> None:
    rates = [fit.schedule(step, 1000) for step in range(1000)]
    assert rates.index(max(rates)) in (49, 50)
    assert max(rates) == 1.0
    assert rates[-1] < 1e-4
    assert all(a <= b for a, b in pairwise(rates[:50]))
