"""Greedy ensembles: what is held out and from whom, weights that no luck makes look good, fits made of their members."""

import json
import os
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from models.data.panel import Panel, Split
from models.data.window import FeatureWindow, WindowParams
from models.fit.greedy import GROUPS, Validated, held_out, learn, parts_of
from models.fit.job import Job, load_model, read_result, windows_of
from models.fit.settings import FitFailed, Greedy, Mix
from models.mixed import OwnForecasts
from models.worker import Evaluated, forecast_all
from params.load import load_plan
from params.schema import VariantParams
from tasks.engine.contract import Listener, variables
from tasks.engine.local import started
from tasks.files import ROOT
from tasks.grid.frequency import Frequency
from tasks.lags.panel import write_panel
from tasks.train.final import job_on_all_rows
from tasks.train.identity import identity
from tasks.train.job import make_job
from tasks.train.process import fit_folder, run_fit

RUN = "params/smoke.yaml"
WINDOWS = WindowParams(4, {"y": FeatureWindow(24)}, start_padding=8)
SPLIT, EARLIER = Split("rows", 60, 60), Split("rows", 60, 120)
NEVER = threading.Event()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two series of another length and size, a daily wave with noise."""
    rng, parts = np.random.default_rng(3), []
    for name, rows, size in (("a", 400, 1.0), ("b", 300, 1000.0)):
        y = size * (5 + np.sin(np.arange(rows) * np.pi / 12) + rng.normal(0, 0.2, rows))
        parts.append(pl.DataFrame({"unique_id": name, "ds": np.arange(rows), "y": y}))
    return write_panel(pl.concat(parts).lazy(), WINDOWS, Frequency(1), 0, tmp_path_factory.mktemp("panels"))


def a_variant(*settings: str) -> VariantParams:
    """The greedy ensemble of dense and nlinear, and some baselines."""
    baselines = "evaluation.baselines=[last_value, seasonal_naive, drift]"
    some = ("variants=[dense, nlinear, ensemble_greedy]", "training.max_epochs=1", "evaluation.stride=5")
    return load_plan(RUN, [*some, baselines, *settings]).variants["ensemble_greedy"]


def a_job(folder: Path, *settings: str, others: tuple[Split, ...] = ()) -> Job:
    return make_job(a_variant(*settings), 0, folder, WINDOWS, SPLIT, "cpu", others)


def learning(job: Job, columns: list[np.ndarray], families: list[str]) -> tuple[Job, Panel, Validated]:
    """A greedy ensemble of members that forecast what is given, on the validation windows of a job."""
    panel = Panel.open(job.panel)
    members = tuple(replace(job, family=family).with_training(seed=at) for at, family in enumerate(families))
    ensemble = replace(job, family="ensemble", network={}, members=members, combine="mean", greedy=Greedy("mae", 1))
    windows = windows_of(job, panel, ("validation",))["validation"]
    return ensemble, panel, Validated(SPLIT, windows, [OwnForecasts(one) for one in columns])


def actuals(panel: Panel, windows: object) -> np.ndarray:
    rows = windows.origins.numpy()[:, None] + 1 + np.arange(windows.params.horizon)  # type: ignore[attr-defined]
    return np.asarray(panel.target[rows], np.float64)


def test_it_is_read_as_all_of_the_run_and_comes_back_from_json(folder: Path) -> None:
    job = a_job(folder, "training.seeds=2", others=(EARLIER,))
    networks = ["dense", "dense", "nlinear", "nlinear"]
    assert [one.training.variant for one in job.members] == [*networks, "last_value", "seasonal_naive", "drift"]
    assert job.greedy == Greedy("mae", 24, others=(EARLIER,)) and job.combine == "mean"
    assert [(one.training.variant, one.split) for one in job.trained] == [
        (name, split) for split in (SPLIT, EARLIER) for name in networks
    ]
    assert Job.from_dict(json.loads(json.dumps(job.to_dict()))) == job
    stopped = replace(job, greedy=replace(job.greedy, stops=(None, 7, *[None] * 5)))
    assert [one.training.stop_step for one in stopped.trained] == [None] * 5 + [7, None, None]
    assert Job.from_dict(json.loads(json.dumps(stopped.to_dict()))) == stopped
    others = (a_job(folder), a_job(folder, "evaluation.choose_by=mase"), a_job(folder, "data.lowest=0"))
    assert len({identity(one, "d") for one in (job, *others)}) == 4


@pytest.mark.parametrize(("split", "stride"), [(SPLIT, 1), (Split("time", 200, 260), 1), (SPLIT, 4), (SPLIT, 13)])
def test_a_block_of_origins_is_a_horizon_away_from_what_its_weights_are_learnt_on(
    folder: Path, split: Split, stride: int
) -> None:
    job, panel = replace(a_job(folder), split=split, evaluation_stride=stride), Panel.open(folder)
    windows = windows_of(job, panel, ("validation",))["validation"]
    by, parts = parts_of(job, panel, windows)
    assert by == "origins" and len(parts) == 4
    together = np.concatenate([part.held_out for part in parts])
    assert sorted(together.tolist()) == list(range(len(windows)))
    rows = windows.origins.numpy()
    owner = np.searchsorted(panel.offsets, rows, side="right") - 1
    at = panel.times[rows] if split.by == "time" else rows - panel.offsets[owner + 1]
    for part in parts:
        gaps = np.abs(at[part.learnt_on][:, None] - at[part.held_out][None])
        assert len(part.learnt_on) and gaps.min() >= WINDOWS.horizon
        assert {*owner[part.held_out]} == {0, 1}  # all series at once: what happens at one time is held out together


def test_where_origins_are_too_few_groups_of_series_are_held_out(folder: Path) -> None:
    job, panel = replace(a_job(folder), evaluation_stride=59), Panel.open(folder)
    windows = windows_of(job, panel, ("validation",))["validation"]
    assert len(windows) == 2
    by, parts = parts_of(job, panel, windows)
    assert by == "series" and sorted([*part.held_out, *part.learnt_on] for part in parts) == [[0, 1], [1, 0]]
    with pytest.raises(FitFailed, match="too few origins of one series"):
        parts_of(job, panel, windows.at(windows.origins[:1].numpy()))
    assert GROUPS == 5


def test_luck_on_validation_does_not_show_in_its_scores(folder: Path) -> None:
    """Members that guess: some mean of them fits whatever rows it is learnt on, and none knows anything of others."""
    rng = np.random.default_rng(0)
    job = replace(a_job(folder).members[0], evaluation_stride=4)
    panel = Panel.open(job.panel)
    flat = replace(panel, target=rng.normal(0, 1, len(panel.target)))  # nothing can be known of it: 0 is the best forecast
    windows = windows_of(job, panel, ("validation",))["validation"]
    zero = np.zeros((len(windows), 4))
    guesses = [rng.normal(0, 0.7, zero.shape) for _ in range(60)]
    ensemble, _, own = learning(job, [zero, *guesses], ["ridge", *["dense"] * 60])
    learnt = learn(ensemble, flat, [own])
    y = actuals(flat, windows)
    best = np.abs(y - zero).mean()
    assert learnt.singles[0] == pytest.approx(best) and best < min(one for one in learnt.singles[1:] if one is not None)
    assert learnt.score < 0.97 * best  # on the rows that it was learnt on it beats the best that there is
    points, _ = held_out(ensemble, learnt, own, flat)
    assert np.abs(y - points).mean() > best  # and on rows that it has not seen it does not


def test_what_is_held_out_is_the_mean_by_the_weights_of_the_others(folder: Path) -> None:
    rng = np.random.default_rng(1)
    job, panel = a_job(folder).members[0], Panel.open(folder)
    windows = windows_of(job, panel, ("validation",))["validation"]
    y = actuals(panel, windows)
    columns = [y * (1 + 0.2 * rng.normal(size=y.shape)) for _ in range(4)]
    columns[3][5] = np.nan  # a baseline that forecasts nothing there
    ensemble, _, own = learning(job, columns, ["ridge", "dense", "drift", "last_value"])
    learnt = learn(ensemble, panel, [own])
    by, parts = parts_of(ensemble, panel, windows)
    assert learnt.by == by == "origins" and learnt.score <= min(one for one in learnt.singles if one is not None)
    points, quantiles = held_out(ensemble, learnt, own, panel)
    assert quantiles.shape == (*points.shape, 0)
    for part, mix in zip(parts, learnt.held_out, strict=True):
        assert mix == learn_alone(ensemble, panel, own, part.learnt_on)
        for at in part.held_out:
            there = [(count, one[at]) for count, one in zip(mix.counts, columns, strict=True) if np.isfinite(one[at]).all()]
            expected = sum(count * one for count, one in there) / sum(count for count, _ in there)
            np.testing.assert_allclose(points[at], expected, rtol=1e-12)


def learn_alone(job: Job, panel: Panel, own: Validated, at: np.ndarray) -> Mix:
    """What is learnt where there is nothing but some windows."""
    columns = [OwnForecasts(one.points[at]) for one in own.columns if one is not None]
    some = Validated(own.split, own.windows.at(own.windows.origins[at].numpy()), columns)
    elsewhere = Validated(own.split, some.windows, columns)
    return learn(job, panel, [some, elsewhere]).mix  # twice the same: the mean of both is one of them


def test_a_member_that_failed_is_left_out_and_so_is_a_baseline_without_a_forecast(folder: Path) -> None:
    job, panel = a_job(folder).members[0], Panel.open(folder)
    windows = windows_of(job, panel, ("validation",))["validation"]
    y = actuals(panel, windows)
    ensemble, _, own = learning(
        job, [y + 1.0, y - 1.0, np.full_like(y, np.nan), y + 3.0], ["ridge", "dense", "drift", "last_value"]
    )
    learnt = learn(ensemble, panel, [replace(own, columns=[None, *own.columns[1:]])])
    assert learnt.mix == Mix((0, 3, 0, 1)) and learnt.singles == (None, pytest.approx(1), None, pytest.approx(3))
    with pytest.raises(FitFailed, match="none of its networks"):
        learn(ensemble, panel, [replace(own, columns=[None, None, *own.columns[2:]])])


def test_where_no_network_is_picked_the_best_is_kept_for_its_quantiles(folder: Path) -> None:
    job, panel = a_job(folder).members[0], Panel.open(folder)
    windows = windows_of(job, panel, ("validation",))["validation"]
    y = actuals(panel, windows)
    ensemble, _, own = learning(job, [y + 9.0, y + 5.0, y], ["ridge", "dense", "drift"])
    offsets = np.stack([np.full_like(y, -2.0), np.full_like(y, 2.0)], -1).astype(np.float32)
    columns = [own.columns[0], OwnForecasts(y + 5.0, offsets, (0.1, 0.9)), own.columns[2]]
    own = replace(own, columns=columns)
    learnt = learn(ensemble, panel, [own])
    assert learnt.mix == Mix((0, 0, 1), network=1) and learnt.mix.kept == (1, 2) and {*learnt.held_out} == {learnt.mix}
    resolved = ensemble.resolved(learnt)
    assert (
        resolved.counts == (0, 1) and [one.family for one in resolved.members] == ["dense", "drift"] and resolved.greedy is None
    )
    points, quantiles = held_out(ensemble, learnt, own, panel, (0.1, 0.9))
    np.testing.assert_allclose(points, y, rtol=1e-12)
    np.testing.assert_array_equal(quantiles, offsets)
    assert np.isnan(held_out(ensemble, learnt, own, panel, (0.3,))[1]).all()  # a level that nobody has
    own = replace(own, columns=[columns[1], own.columns[0], columns[2]])
    learnt = replace(learnt, held_out=tuple(Mix((0, 0, 1), network=1) for _ in learnt.held_out))
    np.testing.assert_array_equal(held_out(ensemble, learnt, own, panel, (0.1, 0.9))[1], offsets)  # of one that is not in it


@pytest.fixture(scope="module")
def trained(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder in which the ensemble was trained, with one other validation range and with none."""
    home = tmp_path_factory.mktemp("trained")
    for job in (a_job(folder), a_job(folder, others=(EARLIER,))):
        assert run_fit(job, home, Listener(), NEVER).result.finished
    return home


@pytest.mark.slow
@pytest.mark.parametrize("others", [(), (EARLIER,)])
def test_it_is_put_together_and_forecasts_as_its_members_do(folder: Path, trained: Path, others: tuple[Split, ...]) -> None:
    job, panel = a_job(folder, others=others), Panel.open(folder)
    at = fit_folder(job, trained)
    result, evaluated = read_result(at), Evaluated.read(at)
    learnt = result.learnt
    assert learnt is not None and evaluated is not None and evaluated.not_finite == ()
    assert learnt.by == ("folds" if others else "origins") and len(learnt.held_out) == (1 if others else 4)
    assert learnt.score <= min(one for one in learnt.singles if one is not None)
    mixed, model = job.resolved(learnt), load_model(job, at)
    assert sum(mixed.counts) == sum(learnt.mix.counts) and model.counts.tolist() == list(mixed.counts)
    windows = windows_of(job, panel, ("validation", "test"))
    members = {}
    for one in mixed.members:
        made = fit_folder(one, trained) / "test.npy"
        if made.exists():
            members[one.training.variant, one.training.seed] = np.load(made)
    test = forecast_all(model, windows["test"], mixed)
    np.testing.assert_array_equal(np.load(at / "test.npy"), test.points)
    whole = sum(mixed.counts)
    if not mixed.baselines:
        each = [members[one.training.variant, one.training.seed] for one in mixed.members]
        expected = sum(count * one for count, one in zip(mixed.counts, each, strict=True)) / whole
        np.testing.assert_allclose(test.points, expected, rtol=1e-5)
    assert np.load(at / "test-quantiles.npy").shape == np.load(at / "validation-quantiles.npy").shape[:0] + test.quantiles.shape
    y = actuals(panel, windows["validation"])
    assert result.val_mae == pytest.approx(np.abs(np.load(at / "validation.npy") - y).mean(), rel=1e-9)
    assert len(result.members) == len(job.members) * (1 + len(others))


@pytest.mark.slow
def test_the_same_comes_out_elsewhere_and_what_is_done_is_taken_as_it_is(folder: Path, trained: Path, tmp_path: Path) -> None:
    job = a_job(folder, others=(EARLIER,))
    found = run_fit(job, trained, Listener(), NEVER)
    assert found.reused
    again = run_fit(job, tmp_path, Listener(), NEVER)
    assert not again.reused and again.result.weights == found.result.weights and again.result.learnt == found.result.learnt
    for name in ("validation.npy", "test.npy", "validation-quantiles.npy"):
        assert (fit_folder(job, tmp_path) / name).read_bytes() == (fit_folder(job, trained) / name).read_bytes()
    assert run_fit(job, tmp_path, Listener(), NEVER, fresh=True).result.weights == found.result.weights


@pytest.mark.slow
def test_forecasts_of_an_older_code_are_made_again_from_its_members(folder: Path, trained: Path) -> None:
    job = a_job(folder)
    at = fit_folder(job, trained)
    before = (at / "validation.npy").read_bytes()
    told = json.loads((at / "evaluation.json").read_text()) | {"code": "older"}
    (at / "evaluation.json").write_text(json.dumps(told))
    (at / "validation.npy").unlink()
    assert run_fit(job, trained, Listener(), NEVER).result.finished
    assert (at / "validation.npy").read_bytes() == before


@pytest.mark.slow
def test_its_refit_is_that_of_what_it_is_made_of_by_the_same_weights(folder: Path, trained: Path) -> None:
    job = a_job(folder)
    learnt = read_result(fit_folder(job, trained)).learnt
    again = job_on_all_rows(job, read_result(fit_folder(job, trained)))
    mixed = job.resolved(learnt)
    assert again.greedy is None and again.counts == mixed.counts and again.split is None
    assert [(one.family, one.training.seed) for one in again.members] == [
        (one.family, one.training.seed) for one in mixed.members
    ]
    assert all(one.split is None for one in again.members)
    assert Job.from_dict(json.loads(json.dumps(again.to_dict()))) == again
    result = run_fit(again, trained, Listener(), NEVER).result
    assert (
        result.finished
        and result.val_mae is None
        and load_model(again, fit_folder(again, trained)).counts.tolist() == list(again.counts)
    )


@pytest.mark.slow
def test_killed_at_any_moment_it_comes_out_the_same(folder: Path, trained: Path, tmp_path: Path) -> None:
    """Its worker is killed ever later until it gets to its end; whatever it had left is no result, or the right one."""
    job = a_job(folder, others=(EARLIER,))
    fits = [str(fit_folder(one, trained)) for one in job.trained]
    (tmp_path / "job.json").write_text(json.dumps(job.to_dict()))
    environment = os.environ | variables(1) | {"PYTHONPATH": str(ROOT)}
    for kills in range(60):
        with started([str(tmp_path), "--members", *fits], environment, (), forks=True) as worker:
            try:
                worker.wait(0.1 * kills)
                break
            except subprocess.TimeoutExpired:
                worker.kill()
    assert worker.returncode == 0 and kills > 0
    whole = fit_folder(job, trained)
    assert read_result(tmp_path).weights == read_result(whole).weights
    assert (tmp_path / "validation.npy").read_bytes() == (whole / "validation.npy").read_bytes()


@pytest.mark.slow
def test_a_variant_that_diverged_is_left_out_and_does_not_fail_it(folder: Path, trained: Path, tmp_path: Path) -> None:
    job = a_job(folder)
    diverging = job.members[0].with_training(learning_rate=1e38, clip_norm=1e38)
    found = run_fit(replace(job, members=(diverging, *job.members[1:])), trained, Listener(), NEVER).result
    assert found.finished and found.learnt is not None and found.learnt.singles[0] is None and found.learnt.mix.counts[0] == 0
    assert not found.members[0].finished and found.members[1].finished
    alone = run_fit(replace(job, members=(diverging, *job.members[2:])), trained, Listener(), NEVER).result
    assert not alone.finished and not alone.again and alone.reason == "none of its networks gave a forecast"
