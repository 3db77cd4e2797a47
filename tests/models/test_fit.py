"""The training loop: best weights, seeds, resuming to the bit, failures; ridge against its normal equations; scaling; leaks."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models import build_forecaster, checkpoint, fit
from models.fit import FitFailed, Training
from models.job import weights_hash
from models.linear import PENALTIES, Ridge
from models.losses import absolute_errors, masked_loss
from models.origins import origin_rows
from models.panel import ARRAYS, Panel, Split
from models.scaling import fit_scaling
from models.windows import FeatureWindow, WindowParams, Windows

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
    torch.manual_seed(fit.stream(training, "weights"))
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
    before = fit.validate(forecaster, windows["validation"], "mae")[1]
    result = fit.fit(forecaster, windows["train"], windows["validation"], training, tmp_path)
    maes = [row["val_mae"] for row in result.history]
    assert result.val_mae == min(maes) < 0.6 * before
    assert fit.validate(forecaster, windows["validation"], "mae")[1] == pytest.approx(min(maes), rel=1e-6)
    assert result.best_epoch == maes.index(min(maes))


def test_early_stopping_stops(panel: Panel, params: WindowParams, split: Split, tmp_path: Path) -> None:
    training = replace(TRAINING, learning_rate=0.05, max_epochs=60, patience_epochs=2)
    result = run(panel, params, split, tmp_path / "a", training)[1]
    assert len(result.history) < 60
    assert len(result.history) - 1 - result.best_epoch == 2


def test_the_same_seed_gives_the_same_weights_and_another_does_not(
    panel: Panel, params: WindowParams, split: Split, tmp_path: Path
) -> None:
    hashes = []
    for number, seed in enumerate((0, 0, 1)):
        torch.manual_seed(number)  # what went on before in this process must not matter
        forecaster, _ = run(panel, params, split, tmp_path / str(number), replace(TRAINING, seed=seed, max_epochs=2))
        hashes.append(weights_hash(forecaster.state_dict()))
    assert hashes[0] == hashes[1] != hashes[2]


def test_no_two_streams_are_the_same() -> None:
    names = [(v, s, p, e) for v in ("a", "b") for s in range(20) for p in ("weights", "order", "dropout") for e in range(20)]
    seeds = {fit.stream(replace(TRAINING, variant=v, seed=s), p, e) for v, s, p, e in names}
    assert len(seeds) == len(names)


class Killed(Exception):
    pass


@pytest.mark.parametrize("damage", ["none", "newest"])
def test_a_killed_fit_goes_on_to_the_same_bits(
    panel: Panel, params: WindowParams, split: Split, tmp_path: Path, damage: str
) -> None:
    whole, undisturbed = run(panel, params, split, tmp_path / "whole")

    def kill(row: dict[str, float]) -> None:
        if row["epoch"] == 3:
            raise Killed

    with pytest.raises(Killed):
        run(panel, params, split, tmp_path / "killed", on_epoch=kill)
    if damage == "newest":
        newest = max((tmp_path / "killed").glob("epoch-*.pt"))
        newest.write_bytes(newest.read_bytes()[:-100] + bytes(100))
    seen: list[float] = []
    again, resumed = run(panel, params, split, tmp_path / "killed", on_epoch=lambda row: seen.append(row["epoch"]))
    assert weights_hash(again.state_dict()) == weights_hash(whole.state_dict())
    assert [r["val_mae"] for r in resumed.history] == [r["val_mae"] for r in undisturbed.history]
    assert seen == ([4, 5] if damage == "none" else [3, 4, 5])
    assert not list((tmp_path / "killed").glob("epoch-*.pt"))


def test_a_checkpoint_never_unpickles_code(tmp_path: Path) -> None:
    import hashlib
    import os
    import pickle

    class Evil:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "ran"),)

    content = pickle.dumps(Evil())
    (tmp_path / f"epoch-00001-{hashlib.sha256(content).hexdigest()[:16]}.pt").write_bytes(content)
    with pytest.raises(Exception, match=r"[Ww]eights"):
        checkpoint.load_newest(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_a_fit_that_diverges_is_a_result_and_no_number(
    panel: Panel, params: WindowParams, split: Split, tmp_path: Path
) -> None:
    training = replace(TRAINING, learning_rate=1e30, clip_norm=1e30, loss="mse")
    with pytest.raises(FitFailed, match="not finite"):
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
    assert absolute_errors(forecast.detach(), y) == (3.0, 3)
    assert float(masked_loss("mae", forecast.detach(), torch.full((2, 2), torch.nan))) == 0


def test_scaling_sees_training_rows_alone_and_survives_a_constant(panel: Panel, params: WindowParams, split: Split) -> None:
    loc, scale, *_, y_loc, _, _, _ = found = fit_scaling(panel, params, split, "series")
    expected = np.nanmean(panel.values[:180].astype(np.float64), 0)
    np.testing.assert_allclose(loc[0, 1:], expected[1:], rtol=1e-5)
    np.testing.assert_allclose(y_loc[0], np.nanmean(panel.target[:180].astype(np.float64)), rtol=1e-5)
    np.testing.assert_allclose(scale[1, 1], np.nanstd(panel.values[300:480, 1].astype(np.float64)), rtol=1e-5)
    both = np.concatenate([panel.values[:180, 1], panel.values[300:480, 1]]).astype(np.float64)
    np.testing.assert_allclose(loc[2, 1], np.nanmean(both), rtol=1e-5)
    changed = replace(panel, target=panel.target.copy(), values=panel.values.copy())
    changed.values[180:300] = changed.target[180:300] = 1e6
    for before, after in zip(found, fit_scaling(changed, params, split, "series"), strict=True):
        assert torch.equal(before, after)
    changed.values[:, 1] = 3.25
    assert fit_scaling(changed, params, split, "global").scale[:, 1].tolist() == [1.0, 1.0, 1.0]
    changed.values[300:480] = changed.target[300:480] = np.nan
    assert fit_scaling(changed, params, split, "series").loc[1, 0] == fit_scaling(changed, params, split, "series").loc[2, 0]


def test_scaling_is_exact_on_a_high_level() -> None:
    y = (1e6 + np.arange(100) % 2).astype(np.float32)
    panel = Panel(y, y[:, None], np.array([0, 100]), np.arange(100), ("a",), ("y",), "d")
    params = WindowParams(1, {"y": FeatureWindow(1)})
    assert fit_scaling(panel, params, Split("rows", 0, 0), "series").y_scale[0] == pytest.approx(0.5)


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


def test_a_job_runs_as_a_process_and_ends_with_its_parent(
    panel: Panel, params: WindowParams, split: Split, tmp_path: Path
) -> None:
    import subprocess
    import sys
    import time

    store = tmp_path / "panel"
    store.mkdir()
    for name in ARRAYS:
        np.save(store / f"{name}.npy", getattr(panel, name))
    facts = {"ids": panel.ids, "channels": panel.channels, "digest": "d"}
    (store / "panel.json").write_text(json.dumps(facts))
    job = {
        "family": "recurrent", "network": GRU, "windows": params.to_dict(), "split": vars(split), "device": "cpu", "threads": 1,
        "scaling": {"per": "series", "method": "standard", "window": "last", "target": "none"},
        "quantiles": [0.1, 0.9], "evaluation_stride": 1, "panel": str(store), "training": vars(TRAINING),
    }  # fmt: skip
    for name, epochs in (("short", 2), ("long", 100_000)):
        (tmp_path / name).mkdir()
        training = vars(TRAINING) | {"max_epochs": epochs, "patience_epochs": epochs}
        (tmp_path / name / "job.json").write_text(json.dumps(job | {"training": training}))
    done = subprocess.run(
        [sys.executable, "-m", "models.job", str(tmp_path / "short")], capture_output=True, text=True, check=True
    )
    assert [json.loads(line)["epoch"] for line in done.stdout.splitlines()] == [0, 1]
    result = json.loads((tmp_path / "short" / "result.json").read_text())
    assert result["status"] == "finished" and (tmp_path / "short" / "weights.pt").exists()
    command = [sys.executable, "-m", "models.job", str(tmp_path / "long"), "--with-parent"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None and child.stdin is not None
        child.stdout.readline()
        child.stdin.close()  # what happens when the parent dies, however it dies
        started = time.monotonic()
        child.wait(timeout=60)
        assert time.monotonic() - started < 30
    assert not (tmp_path / "long" / "result.json").exists()
