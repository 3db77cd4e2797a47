"""`split.folds` by the command line (tasks/evaluate/folds.py): fits of each range, the mean chooses, the last is registered."""

import json
from pathlib import Path
from statistics import fmean, stdev

import pytest
from mlflow import MlflowClient

from tests.marks import STORY

pytestmark = STORY
NAMES = ("ridge", "gru", "ensemble_theta", "last_value", "seasonal_naive")


@pytest.fixture(scope="module")
def home(new_home, tmp_path_factory):
    return new_home(tmp_path_factory.mktemp("run") / "home")


@pytest.fixture(scope="module")
def compare(warm, home):
    """`compare("name=x", ...)` compares the smoke params with these settings; gives all that it said."""

    def run(name: str, split: str, *flags: str) -> str:
        own = ("variants=[ridge, gru, ensemble_theta]", "evaluation.baselines=[last_value, seasonal_naive]")
        settings = [part for one in (f"name={name}", f"split={split}", *own) for part in ("--set", one)]
        done = warm("compare", "params/smoke.yaml", *settings, *flags, home=home)
        assert done.returncode == 0, done.stdout + done.stderr
        return str(done.stdout + done.stderr)

    return run


def rows_of(warm, home, name: str) -> dict[str, dict[str, float]]:
    found = json.loads(warm("leaderboard", name, "--json", home=home).stdout)
    return {row["name"]: row for row in found["rows"]}


def test_the_mean_over_folds_chooses_and_each_is_the_run_that_it_would_be_alone(compare, warm, home) -> None:
    """14 days of validation before 14 of test, and the 14 days before those: the borders of the run with 28 days of test."""
    said = compare("three", "{validation: 14d, test: 14d, folds: 2}")
    assert "validation range 1 of 2: train " in said and "6 fits in all" in said
    assert "means over 2 ranges (split.folds)" in said and "± folds" in said
    alone = compare("older", "{validation: 14d, test: 28d}")
    assert alone.count("taken as it was trained before") == 3  # ridge, gru and the ensemble of gru and theta
    last = compare("last", "{validation: 14d, test: 14d}")
    assert last.count("taken as it was trained before") == 3
    folds, older, newer = (rows_of(warm, home, name) for name in ("three", "older", "last"))
    assert {*folds} == {*NAMES}
    for name in NAMES:
        both = [older[name]["val_mae"], newer[name]["val_mae"]]
        assert [folds[name][f"val_mae_fold_{number}"] for number in (1, 2)] == pytest.approx(both, rel=1e-12)
        assert folds[name]["val_mae"] == pytest.approx(fmean(both)) and both[0] != both[1]
        assert folds[name]["val_mae_fold_spread"] == pytest.approx(stdev(both))
        assert folds[name]["test_mae"] == pytest.approx(newer[name]["test_mae"], rel=1e-12)
        assert "val_mae_fold_1" not in newer[name]
    ranked = sorted(NAMES, key=lambda name: folds[name]["val_score"])
    assert ranked == list(folds)


def test_what_is_registered_is_the_fit_of_the_last_range_and_its_folds_are_runs_of_their_own(compare, home) -> None:
    compare("three", "{validation: 14d, test: 14d, folds: 2}")
    assert "Nothing has changed" in compare("three", "{validation: 14d, test: 14d, folds: 2}")
    client = MlflowClient(f"sqlite:///{home}/mlflow.db", f"sqlite:///{home}/mlflow.db")
    experiment = client.get_experiment_by_name("three")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    for name in ("ridge", "gru", "ensemble_theta"):
        fit, fold = runs[name].data, runs[f"{name}~1"].data
        assert (fold.tags["kind"], fold.tags["fold"], fit.tags["kind"], fit.tags["fold"]) == ("fold", "1", "variant", "2")
        assert fold.tags["mlflow.parentRunId"] == fit.tags["mlflow.parentRunId"] and runs[f"{name}~1"].info.status == "FINISHED"
        assert fold.tags["weights"] != fit.tags["weights"]
        numbers = [fit.metrics[f"val_mae_fold_{number}"] for number in (1, 2)]
        assert fold.metrics["best_val_mae"] == numbers[0] and runs[f"{name}~1"].inputs.dataset_inputs
        assert fit.metrics["best_val_mae"] == pytest.approx(fmean(numbers), rel=1e-5)
        assert fit.metrics["val_mae_fold_spread"] == pytest.approx(stdev(numbers), rel=1e-3)
    version = client.get_model_version_by_alias("three", "challenger")
    chosen = client.get_run(version.run_id).data.tags
    assert (chosen["kind"], chosen["fold"]) == ("variant", "2") and chosen["registered_version"] == str(version.version)


def test_more_folds_than_the_data_have_rows_for_are_refused_before_anything_is_trained(warm, home, refused) -> None:
    done = warm("compare", "params/smoke.yaml", "--set", "split.folds=20", "--set", "split.validation=28d", home=home)
    refused(done, 1, "split.folds 20", "lower split.folds to 12 or less")
    done = warm("compare", "params/smoke.yaml", "--set", "split={validation: 672, test: 336, folds: 13}", home=home)
    refused(done, 1, "before the first of 13 validation ranges: lower split.folds to 12")
    assert not list(Path(home).glob("checkpoints/*~*"))
