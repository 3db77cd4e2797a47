"""tasks/registry/bundle.py with two sets of weights: which forecasts come from which, what was seen, the proof of both."""

import importlib.util
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file

from models import serving
from models.data.panel import Split
from models.data.windows import Windows
from models.fit import job as jobs
from models.fit.job import Job, load_model
from params.load import load_variant
from tasks.engine.contract import Listener
from tasks.promote import proof as proofs
from tasks.registry.bundle import write_bundle
from tasks.registry.facts import BundleFacts, TrainedOn
from tasks.registry.load import Version
from tasks.registry.register import Judged, facts_of, trained_on
from tasks.registry.unseen import forecasts
from tasks.serve.forecast import Asked, forecast_frame, rows_trained_on
from tasks.train.final import planned_on_all_rows
from tasks.train.fits import Fit
from tasks.train.job import Planned, make_job
from tasks.train.process import Outcome, fit_folder

SETTINGS = ["training.max_epochs=3", "training.batch_size=32", "training.max_steps=11", "network.hidden_size=8"]
RUN = "params/nyc_weather.yaml"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Series.values returning an ndarray"),  # polars, of a frame of pandas
]


def fitted(job: Job, home: Path, listener: Listener | None = None, stop: Any = None) -> Outcome:
    """`run_fit` in this process."""
    folder = fit_folder(job, home)
    folder.mkdir(parents=True, exist_ok=True)
    return Outcome(jobs.run(job, folder, (listener or Listener()).epoch))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, house: Any) -> Path:
    """A state folder that keeps the panel of the house."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "panels").mkdir()
    (folder / "panels" / house.panel.digest).symlink_to(Path(house.panel.target.filename).parent)
    return folder


@pytest.fixture(scope="module")
def version(home: Path, house: Any) -> Version:
    """A trained gru and its refit as a bundle; a version without a registry."""
    variant = load_variant("gru", RUN, SETTINGS)
    split = Split("time", int(house.panel.times[110]), int(house.panel.times[150]))
    job = make_job(variant, 0, home / "panels" / house.panel.digest, house.params, split, "cpu")
    planned = Planned(label="gru", variant=variant, job=job)
    fit = Fit(planned=planned, run_id="", folder=fit_folder(job, home), result=fitted(job, home).result)
    again = planned_on_all_rows(fit)
    folder = fit_folder(again.job, home)
    refit = Fit(planned=again, run_id="", folder=folder, result=fitted(again.job, home).result)
    assert fit.finished and refit.finished
    made = trained_on(fit, refit, variant.run, house.panel, Judged("last_value", "theta", {}, True))
    facts = facts_of(job, house.panel, made, (), house.calibrated([1.0] * 4))
    forecaster, refitted = (load_model(one.job, one.folder) for one in (fit, refit))
    digest = write_bundle(home / "bundle", facts, house.panel, forecaster, refitted)
    read = BundleFacts.from_dict(json.loads((home / "bundle/model.json").read_text()))
    assert read.to_dict() == json.loads(json.dumps(facts.to_dict()))
    return Version("two", "1", "", digest, home / "bundle", read)


def with_made(version: Version, made: TrainedOn) -> Version:
    """The same bundle, said to be trained otherwise."""
    return replace(version, facts=replace(version.facts, trained_on=made))


def own(version: Version, home: Path, house: Any, refit: bool) -> np.ndarray:
    """The forecasts of the forecaster behind a set of weights, from the last complete window of every series, [S * H]."""
    kept = version.trained_on.refit if refit else version.trained_on
    assert kept is not None
    job = kept.job_in(home / "panels", "cpu")
    forecaster = load_model(job, fit_folder(job, home))
    origins = torch.from_numpy(house.panel.offsets[1:] - 1 - house.params.ahead)
    inputs = Windows(house.panel, house.params, origins.numpy()).inputs(origins)
    with torch.no_grad():
        found: np.ndarray = forecaster(*inputs)[..., 0].numpy().ravel()
    return found


def test_each_set_of_weights_forecasts_as_its_own_forecaster(version: Version, home: Path, house: Any) -> None:
    judged, refitted = own(version, home, house, False), own(version, home, house, True)
    assert np.abs(judged - refitted).max() > 0.01
    model = serving.load(version.folder, version.digest)
    np.testing.assert_allclose(model.forecast(house.history)["yhat"], refitted, atol=1e-4)
    np.testing.assert_allclose(model.forecast(house.history, judged=True)["yhat"], judged, atol=1e-4)
    made = version.trained_on
    assert made.refit is not None
    for name, weights in (("weights", made.weights), ("refitted", made.refit.weights)):
        assert jobs.weights_hash(load_file(version.folder / f"{name}.safetensors")) == weights


def test_the_served_model_and_forecast_use_the_refitted_weights(
    version: Version, home: Path, house: Any, tmp_path: Path
) -> None:
    """The copy of the serving code that stands beside the bundle, loaded as MLflow does (bytecode comes to lie there)."""
    (inside,) = (version.folder / "code").iterdir()
    code = Path(shutil.copy(inside, tmp_path))
    spec = importlib.util.spec_from_file_location(code.stem, code)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    served = module._load_pyfunc(str(version.folder)).predict(house.history)
    refitted = own(version, home, house, True)
    np.testing.assert_allclose(served["yhat"], refitted, atol=1e-4)
    np.testing.assert_allclose(forecast_frame(version, house.history)[0]["yhat"], refitted, atol=1e-4)
    judged, _ = forecast_frame(version, house.history, Asked(judged=True))
    np.testing.assert_allclose(judged["yhat"], own(version, home, house, False), atol=1e-4)


def test_gates_judge_the_weights_that_have_not_seen_the_test_range(version: Version, home: Path, house: Any) -> None:
    origins = house.panel.offsets[1:] - 1 - house.params.ahead
    for refit in (False, True):
        found = forecasts(version, house.panel, origins, **({"refitted": True} if refit else {})).ravel()
        np.testing.assert_allclose(found, own(version, home, house, refit), atol=1e-4)


def test_rows_that_the_refit_was_trained_on_are_counted(version: Version, house: Any) -> None:
    last = house.frame["ds"].max()
    made, _ = forecast_frame(version, house.frame)
    assert set(made["cutoff"]) == {last} and rows_trained_on(version, made) == 0
    earlier, _ = forecast_frame(version, house.history)  # the last target is the last row of the table
    assert rows_trained_on(version, earlier) == earlier.height == 8
    assert rows_trained_on(version, earlier.with_columns(unique_id=pl.lit("new"))) == 0


def test_a_bundle_without_a_refit_has_one_set_of_weights(house: Any, tmp_path: Path) -> None:
    digest = house.write(tmp_path / "bundle", house.build("ridge", {}), family="ridge", network={})
    assert not [name for name in serving.check(tmp_path / "bundle") if name.startswith("refitted")]
    model = serving.load(tmp_path / "bundle", digest)
    assert model.refitted is None
    assert model.forecast(house.history).equals(model.forecast(house.history, judged=True))


@pytest.mark.parametrize("tampered", ["", "judged", "refitted"])
def test_the_proof_is_of_both_and_names_the_one_that_does_not_come_out_again(
    version: Version, home: Path, tampered: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, other = version.trained_on, {"weights": "0" * 64}
    assert made.refit is not None
    if tampered:
        made = replace(made, **other) if tampered == "judged" else replace(made, refit=replace(made.refit, **other))
    monkeypatch.setattr(proofs, "run_fit", fitted)
    said: list[str] = []
    proof = proofs.reproduce(with_made(version, made), home, "cpu", said.append)
    assert (proof.same, proof.exact, proof.differing) == (not tampered, not tampered, ())
    words = dict(part.split(": ", 1) for part in proof.words.split("; "))
    for name in ("judged", "refitted"):
        told = "other weights came out" if name == tampered else "the same weights, bit for bit"
        assert words[f"the {name} weights"].startswith(told)
    assert any("val_mae" in line for line in said) and any("train_loss" in line for line in said)
    assert list(home.glob(".reproduce-*")) == []


def test_what_keeps_both_from_being_trained_again_is_said_once(version: Version, home: Path) -> None:
    made = version.trained_on
    assert made.refit is not None
    other = {"fingerprint": made.fingerprint | {"code": "0" * 64}}
    refit = replace(made.refit, fingerprint=made.refit.fingerprint | {"code": "0" * 64})
    proof = proofs.reproduce(with_made(version, replace(made, refit=refit, **other)), home, "cpu")
    assert not proof.same and proof.words.startswith("neither the judged nor the refitted weights: cannot be trained again")
    assert proof.words.count("code (") == 1


def test_a_refit_for_other_epochs_than_were_recorded_is_not_the_refit(
    version: Version, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = version.trained_on
    assert made.refit is not None and made.refit.job.training.refit_epochs is not None
    longer = made.refit.job.with_training(refit_epochs=made.refit.job.training.refit_epochs + 1)
    monkeypatch.setattr(proofs, "run_fit", fitted)
    proof = proofs.reproduce(with_made(version, replace(made, refit=replace(made.refit, job=longer))), home, "cpu")
    assert not proof.same and "the refitted weights: cannot be trained again as it was: numbers (" in proof.words
    assert "the judged weights: the same weights" in proof.words
