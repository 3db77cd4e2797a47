"""`training.refit: all` (tasks/train/final.py) by the command line: a version with two sets of weights; none where it fails."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from mlflow import MlflowClient

from tests.marks import STORY

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "data" / "nyc_weather.parquet"
pytestmark = STORY


@pytest.fixture(scope="module")
def home(new_home, tmp_path_factory):
    return new_home(tmp_path_factory.mktemp("run") / "home")


@pytest.fixture(scope="module")
def compare(warm, home):
    """`compare("name=x", ...)` compares the smoke params with these settings; gives all that it said."""

    def run(*settings: str, flags: tuple[str, ...] = ()) -> str:
        more = [part for one in settings for part in ("--set", one)]
        done = warm("compare", "params/smoke.yaml", *more, *flags, home=home)
        assert done.returncode == 0, done.stdout + done.stderr
        return str(done.stdout + done.stderr)

    return run


def store_of(home: Path) -> MlflowClient:
    """Whatever store and registry an earlier test has left as MLflow's own."""
    return MlflowClient(f"sqlite:///{home}/mlflow.db", f"sqlite:///{home}/mlflow.db")


def test_a_version_keeps_both_sets_and_forecasts_with_the_refitted_one(compare, warm, home, tmp_path) -> None:
    settings = ("name=both", "variants=[ridge]")
    said = compare(*settings, "training.refit=all")
    assert "ridge-all: trained on all rows" in said and "Registered as both version 1" in said
    assert "Nothing has changed" in compare(*settings, "training.refit=all")
    plain = compare(*settings)  # a changed training.refit is a change, and another version
    assert "taken as it was trained before" in plain and "ridge-all" not in plain and "both version 2" in plain
    again = compare(*settings, "training.refit=all", flags=("--fresh",))
    assert "The same fit is both version 1 already" in again

    client = store_of(home)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    refits = client.search_runs(experiments, "tags.kind = 'refit-all'")
    assert len(refits) == 2 and {run.info.run_name for run in refits} == {"ridge-all"}
    for run in refits:
        assert (run.info.status, run.data.tags["ended_by"], run.data.tags["registered_version"]) == ("FINISHED", "refit", "1")
        assert "val_mae" not in run.data.metrics and run.inputs.dataset_inputs
    (fit,) = client.search_runs(experiments, "tags.kind = 'variant'", max_results=1)
    tags = client.get_model_version("both", "1").tags
    assert tags["fit"] == fit.data.tags["identity"] and tags["refit"] == refits[0].data.tags["identity"]
    assert len({tags["fit"], tags["refit"], tags["identity"], refits[0].data.tags["weights"], fit.data.tags["weights"]}) == 5

    forecasts = {}
    for number, more in ((1, ()), (1, ("--judged",)), (2, ())):
        out = tmp_path / f"{number}{len(more)}.parquet"
        from_ = ("--from", "2013-12-28", "--stride", "6")
        done = warm("forecast", f"both@{number}", "--data", str(DATA), "--out", str(out), *from_, *more, home=home)
        assert done.returncode == 0, done.stderr
        assert ("Note: the model was trained on" in done.stdout) == (number == 1 and not more)
        forecasts[number, len(more)] = pl.read_parquet(out)["yhat"].to_numpy()
    np.testing.assert_array_equal(forecasts[1, 1], forecasts[2, 0])
    assert np.abs(forecasts[1, 0] - forecasts[1, 1]).max() > 0.01


def test_a_refit_that_fails_registers_nothing_and_is_said(compare, home, tmp_path) -> None:
    """The newest row, which only the refit sees, is so large that its squared error is no number any more."""
    rows = pl.read_parquet(DATA).filter(pl.col("time_hour") < datetime(2013, 12, 1, tzinfo=UTC))
    last = (pl.col("origin") == "JFK") & (pl.col("time_hour") == pl.col("time_hour").max())
    rows.with_columns(temp=pl.when(last).then(1e29).otherwise("temp")).write_parquet(tmp_path / "spike.parquet")
    settings = ["name=spike", "variants=[gru]", "windows.horizon=12", "windows.stride=3", "training.max_epochs=4"]
    settings += [f"data.path={tmp_path}/spike.parquet", "training.loss=mse", "scaling.method=robust"]
    said = compare(*settings, "training.refit=all")
    assert "gru *" in said  # it was chosen
    assert "Nothing was registered: gru-all, the chosen variant trained on all rows (training.refit), failed: diverged" in said
    client = store_of(home)
    assert client.search_registered_models("name = 'spike'") == []
    (experiment,) = client.search_experiments(filter_string="name = 'spike'")
    (refit,) = client.search_runs([experiment.experiment_id], "tags.kind = 'refit-all'")
    assert refit.info.status == "FAILED" and "not finite" in refit.data.tags["failed"]


def test_a_network_beside_a_ridge_regression_is_trained_on_all_rows_and_again(compare, warm, home) -> None:
    """Its ridge is solved with the penalty that validation chose, on all rows and in the repetition, to the same bits."""
    said = compare("name=beside", "variants=[gru]", "network.skip=ridge", "training.average_epochs=1", "training.refit=all")
    assert "gru *" in said and "Registered as beside version 1" in said
    client = store_of(home)
    (experiment,) = client.search_experiments(filter_string="name = 'beside'")
    (refit,) = client.search_runs([experiment.experiment_id], "tags.kind = 'refit-all'")
    assert (refit.info.status, refit.data.tags["ended_by"]) == ("FINISHED", "refit")
    again = warm("reproduce", "beside@challenger", home=home)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "the same" in again.stdout
