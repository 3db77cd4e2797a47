"""A job as JSON and back; a trained forecaster is loaded without its data being looked at again."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.data.panel import Panel, PanelFacts
from models.fit import job as jobs
from models.fit.job import Job, load_model, prepare, run, windows_of
from models.fit.settings import Ended, Resources, Result, Status, Training
from models.worker import forecast

ROOT = Path(__file__).resolve().parents[3]
TRAINING = Training(1, 1, 32, 1e-2, 0.0, 1.0, "mae", "v", 0)


def ensemble(job: Job) -> Job:
    """A GRU and a ridge regression."""
    ridge = replace(job, family="ridge", network={}, quantiles=())
    return replace(job, family="ensemble", network={}, quantiles=(), members=(job, ridge), combine="mean")


def test_a_job_comes_back_from_json_as_it_was(job: Job) -> None:
    needing = replace(job, resources=Resources(gpus=0.5, memory=4 * 10**9))
    both = replace(ensemble(job), members=(needing, *ensemble(job).members[1:]), resources=Resources(cpus=2.0))
    for one in (
        job,
        ensemble(job),
        replace(job, split=None).with_training(refit_epochs=3),
        replace(job, save_every=0.0),
        needing,
        both,
    ):
        assert Job.from_dict(json.loads(json.dumps(one.to_dict()))) == one


def test_what_a_fit_needs_of_a_machine_is_said_where_it_is_asked_for(job: Job) -> None:
    """The file of a fit that asks for nothing is as an older lagline wrote it."""
    assert "resources" not in job.to_dict() and "resources" not in json.dumps(ensemble(job).to_dict())
    assert replace(job, resources=Resources(kind="H100")).to_dict()["resources"]["kind"] == "H100"


def test_a_closed_form_in_an_ensemble_is_solved_on_the_cpu(job: Job) -> None:
    raw = ensemble(job).to_dict() | {"device": "cuda", "panel": "elsewhere", "threads": 3}
    found = Job.from_dict(raw)
    assert [(one.device, one.threads, one.panel) for one in found.members] == [
        ("cuda", 3, Path("elsewhere")),
        ("cpu", 3, Path("elsewhere")),
    ]


def test_the_numbers_of_a_job_do_not_say_where_it_runs(job: Job) -> None:
    moved = replace(job, device="cuda", threads=8, panel=Path("elsewhere"), save_every=0.0)
    assert moved.numbers() == job.numbers()
    assert replace(job, resources=Resources(cpus=0.5, gpus=0.25, memory=10**9, kind="H100")).numbers() == job.numbers()
    assert replace(job, evaluation_stride=5).numbers() != job.numbers() != job.with_training(seed=1).numbers()


@pytest.mark.parametrize(
    "change", [{"family": 5, "members": [{}]}, {"windows": {}}, {"split": {"by": "time"}}, {"unknown": 1}, {"training": {}}]
)
def test_what_is_no_job_is_refused(job: Job, change: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        Job.from_dict(job.to_dict() | change)


def test_a_trained_forecaster_is_loaded_without_fitting_the_scaling_again(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also within an ensemble; the forecasts are those of what was trained."""
    folders = [tmp_path / name for name in ("gru", "ridge", "both")]
    both = ensemble(job)
    for one, folder in zip(both.members, folders, strict=False):
        folder.mkdir()
        assert run(one, folder, lambda _: None).finished
    folders[2].mkdir()
    assert jobs.assemble(both, folders[:2], folders[2], forecast).ended_by is Ended.MEMBERS
    _, windows = prepare(job)
    inputs, _ = next(windows["test"].batches(8))
    monkeypatch.setattr(jobs, "fit_scaling", None)  # any call would fail
    first, second, together = (load_model(one, folder) for one, folder in zip((*both.members, both), folders, strict=True))
    for one in (first, second):
        assert float(one.y_scale.abs().sum()) > 0 and not torch.equal(one.y_scale, torch.ones_like(one.y_scale))
    points = [one(*inputs)[..., 0] for one in (first, second)]
    torch.testing.assert_close(together(*inputs)[..., 0], torch.stack(points).mean(0))


def test_weights_that_are_not_the_fit_s_own_are_refused(job: Job, tmp_path: Path) -> None:
    folder = tmp_path / "fit"
    folder.mkdir()
    run(job, folder, lambda _: None)
    weights = torch.load(folder / "weights.pt", weights_only=True)
    next(iter(weights.values())).add_(1e-3)
    torch.save(weights, folder / "weights.pt")
    with pytest.raises(ValueError, match="the weights are not those that the fit wrote"):
        load_model(job, folder)


def test_a_result_comes_back_from_json_as_it_was() -> None:
    member = Result(status=Status.FINISHED, history=[{"epoch": 0.0}], ended_by=Ended.PATIENCE, weights="a")
    for one in (
        member,
        Result(status=Status.FAILED, reason="out of memory", again=True),
        Result(status=Status.FINISHED, ended_by=Ended.MEMBERS, members=(member,)),
    ):
        assert Result.from_dict(json.loads(json.dumps(one.to_dict()))) == one


def test_a_category_that_no_training_window_has_stays_that_of_a_new_series(job: Job, tmp_path: Path) -> None:
    """The second series begins after the training rows: its vector stays zero, unlike that of the first."""
    panel = Panel.open(job.panel)
    rows = np.r_[0:300, 500:600]
    facts = PanelFacts(static=("unique_id",), categories={"unique_id": ("a", "b")})
    for name in ("target", "values", "times"):
        np.save(job.panel / f"{name}.npy", getattr(panel, name)[rows])
    np.save(job.panel / "offsets.npy", np.array([0, 300, 400]))
    np.save(job.panel / "static.npy", np.array([[1.0], [2.0]]))
    told = {"ids": panel.ids, "channels": panel.channels, "digest": "d", **facts.to_dict()}
    (job.panel / "panel.json").write_text(json.dumps(told))
    one = replace(job, windows=replace(job.windows, static={"unique_id": "categorical"}))
    vectors = prepare(one)[0].embeddings[0].weight
    assert not vectors[0].any() and vectors[1].all() and not vectors[2].any()
    assert run(one, tmp_path, lambda row: None).finished
    trained = torch.load(tmp_path / "weights.pt", weights_only=True)["embeddings.0.weight"]
    assert not trained[2].any() and not torch.equal(trained[1], vectors[1])


@pytest.mark.parametrize(
    ("family", "network"),
    [
        ("recurrent", {"cell": "gru", "hidden_size": 4, "dropout": 0.2}),
        ("dense", {"hidden_size": 4, "skip": "linear"}),
        ("linear", {}),
        ("seq2seq", {"cell": "lstm", "hidden_size": 4}),
        ("encoder_decoder", {"cell": "gru", "hidden_size": 4, "feedback": "scheduled"}),
        ("attention", {"cell": "gru", "hidden_size": 4}),
        ("segment_gru", {"hidden_size": 4}),
        ("tcn", {"channels": 4}),
        ("wavenet", {"channels": 4}),
        ("modern_tcn", {"channels": 4, "patch_size": 4, "patch_stride": 2, "kernel_size": 3}),
    ],
)
@pytest.mark.parametrize("monitor", ["mae", "loss"])
def test_with_quantiles_and_without_the_point_is_the_same(
    job: Job, tmp_path: Path, family: str, network: dict[str, Any], monitor: str
) -> None:
    """Trained apart: weights, order, dropout, clipping and the choice of the epoch are those of the point alone, bit for bit;
    where a step is fed with the one before, and over segments, sums are taken in another order, and digits differ.
    """
    own = replace(job, family=family, network=network).with_training(max_epochs=3, monitor=monitor, clip_norm=0.05)
    points, found = [], []
    for quantiles in ((), (0.05, 0.5, 0.9, 0.95)):
        folder = tmp_path / str(len(quantiles))
        folder.mkdir()
        found.append(run(replace(own, quantiles=quantiles), folder, lambda row: None))
        model = load_model(replace(own, quantiles=quantiles), folder)
        windows = windows_of(own, Panel.open(own.panel))["test"]
        points.append(forecast(model, windows))
    near = 1e-3 if family in ("encoder_decoder", "attention", "segment_gru") else 0.0
    assert found[0].best_epoch == found[1].best_epoch and found[0].val_mae == pytest.approx(found[1].val_mae, rel=near, abs=0)
    np.testing.assert_allclose(*points, rtol=near)
    assert found[1].num_parameters > found[0].num_parameters
