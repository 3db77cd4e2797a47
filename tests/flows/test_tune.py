"""The verb tune as a person runs it (flows/tune.py): a search killed twice ends as one that was not; tuned variants in compare.

In a copy of the checkout, since variant files are written beside the shipped ones.
"""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import time
from pathlib import Path
from typing import Any

import polars as pl
import psutil
import pytest
from mlflow import MlflowClient

from tasks.tune.store import Store, all_trials
from tasks.tune.trial import State, Trial, ranked
from tests.flows import copied
from tests.marks import STORY

ROOT = Path(__file__).resolve().parents[2]
pytestmark = STORY
run = copied.run
FEW = ("params/smoke.yaml", "--variants", "gru", "--set", "training.max_epochs=3", "--set", "windows.stride=96")
DIVERGES = "  training.learning_rate: {choices: [0.001, 0.003, 0.01, 1.0e+25]}\n"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """A copy of ours, in which gru's search has a rate at which it diverges, so that some trials fail."""
    folder = copied.copy_of_the_checkout(tmp_path_factory.mktemp("copy"))
    gru = folder / "params" / "variants" / "gru.yaml"
    lines = gru.read_text().splitlines(keepends=True)
    gru.write_text("".join(DIVERGES if "learning_rate" in line else line for line in lines))
    return folder


@pytest.fixture(scope="module")
def whole(run, new_home, checkout, tmp_path_factory) -> tuple[Path, str, str]:
    """A search of twelve trials that nobody disturbed: its home, what it said, and the file that it wrote."""
    home = new_home(tmp_path_factory.mktemp("whole") / "home")
    said = run(home, "tune", *FEW, "--trials", "12", "--folds", "2")
    file = checkout / "params" / "variants" / "gru_tuned.yaml"
    return home, said, file.read_text()


def trials_of(home: Path, run: str = "smoke") -> list[Trial]:
    store = Store(home)
    return all_trials(store, store.searches(run)[0])


def came_of(home: Path) -> list[tuple[Any, ...]]:
    """What a search is repeatable in: not its seconds and run ids."""
    return [(one.number, one.values, one.state, one.rungs, one.score, one.identity, one.reason) for one in trials_of(home)]


def wait_for(home: Path, ended: int) -> None:
    """Until so many trials have ended and another has begun."""
    deadline, query = time.monotonic() + 240, "SELECT count(*) FROM trials WHERE state {} 'RUNNING'"
    while time.monotonic() < deadline:
        time.sleep(0.1)
        with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(home / "tune.db")) as store:
            if store.execute(query.format("!=")).fetchone()[0] >= ended and store.execute(query.format("=")).fetchone()[0]:
                return
    raise TimeoutError(f"no {ended} trials in four minutes")


def kill(child: subprocess.Popen[bytes]) -> None:
    """SIGKILL, as the system does it, and to nobody else; what it started ends by itself."""
    below = psutil.Process(child.pid).children(recursive=True)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    psutil.wait_procs(below, timeout=60)


def test_a_search_that_is_killed_twice_ends_as_one_that_was_not(run, whole, new_home, checkout, tmp_path) -> None:
    home = new_home(tmp_path / "home")
    for ended in (1, 6):
        child = run(home, "tune", *FEW, "--trials", "12", "--folds", "2", wait=False)
        wait_for(home, ended)
        kill(child)
        assert any(not one.ended for one in trials_of(home))
    said = run(home, "tune", *FEW, "--trials", "12", "--folds", "2", LAGLINE_JOBS="1")
    assert "trials are there already" in said
    assert came_of(home) == came_of(whole[0])
    assert (checkout / "params" / "variants" / "gru_tuned.yaml").read_text() == whole[2]


def test_trials_are_pruned_and_fail_and_are_told(whole) -> None:
    home, said, _ = whole
    trials = trials_of(home)
    states = [one.state for one in trials]
    assert len(trials) == 12 and {*states} == {State.FINISHED, State.PRUNED, State.FAILED}
    assert all(one.number >= 8 for one in trials if one.state is State.PRUNED)  # five before it have come to a rung
    for one in trials:
        assert f"gru-t{one.number}: " in said
        assert (one.score is not None) == (one.state is State.FINISHED) == (one.reason == "")
    counts = ", ".join(f"{states.count(state)} {state}" for state in (State.FINISHED, State.PRUNED, State.FAILED))
    assert f"12 trials: {counts}" in said
    assert f"Wrote params/variants/gru_tuned.yaml: Trial {ranked(trials)[0].number} of gru" in said
    assert "compare params/smoke.yaml --set training.max_epochs=3 --set windows.stride=96 --tuned 1" in said


def test_mlflow_has_a_run_a_trial_below_one_parent_with_pictures(whole) -> None:
    home, _, _ = whole
    client = MlflowClient(f"sqlite:///{home}/mlflow.db", f"sqlite:///{home}/mlflow.db")
    experiment = client.get_experiment_by_name("smoke").experiment_id
    (parent,) = client.search_runs([experiment], "tags.kind = 'tuning'")
    assert parent.info.status == "FINISHED"
    assert {"history.png", "importance.png", "parallel.png", "summary.md", "trials.csv"} <= {
        one.path for one in client.list_artifacts(parent.info.run_id)
    }
    below = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    runs = {run.info.run_id: run for run in below}
    for one in trials_of(home):
        run = runs[one.run_id]
        assert run.data.tags["trial"] == str(one.state) and run.data.tags["identity"] == one.identity
        assert run.info.status == ("FAILED" if one.state is State.FAILED else "FINISHED")
        assert float(run.data.params["training.learning_rate"]) == one.values["training.learning_rate"]
        if one.state is State.FINISHED:
            assert run.data.metrics["val_score"] == pytest.approx(one.score, rel=1e-5)
    folds = [run for run in below if run.info.run_name.endswith("~1")]
    assert len(folds) >= sum(one.state is State.FINISHED for one in trials_of(home))


def test_the_best_trials_are_in_a_comparison_at_once_with_the_scores_that_they_had(run, whole, checkout) -> None:
    home, _, _ = whole
    more = ("--set", "training.max_epochs=3", "--set", "windows.stride=96", "--set", "split.folds=2")
    said = run(home, "compare", "params/smoke.yaml", "--set", "variants=[ridge]", *more, "--tuned", "2")
    assert said.count("taken as it was trained before") == 4  # two variants, two folds each
    found = run(home, "leaderboard", "smoke", "--json")
    rows = {row["name"]: row for row in json.loads(found)["rows"]}
    best = [one for one in ranked(trials_of(home)) if one.number]
    for name, one in zip(("gru_tuned", "gru_tuned_2"), best, strict=False):
        assert rows[name]["val_score"] == pytest.approx(one.score, rel=1e-9)
    assert (checkout / "params" / "variants" / "gru_tuned_2.yaml").read_text().splitlines()[0].startswith("# Written by")
    (checkout / "params" / "variants" / "gru_tuned_2.yaml").unlink()


def test_more_trials_go_on_from_those_that_are_there(run, whole) -> None:
    home, _, _ = whole
    before = came_of(home)
    said = run(home, "tune", *FEW, "--trials", "13", "--folds", "2")
    assert "12 trials are there already" in said
    assert came_of(home)[:12] == before and len(came_of(home)) == 13


def test_the_test_range_is_never_read(run, whole, new_home, checkout, tmp_path) -> None:
    """Other actuals there, other panels and other fits: the same draws and the same scores to the bit."""
    table = pl.read_parquet(checkout / "data" / "nyc_weather.parquet")
    border = table["time_hour"].max() - pl.duration(days=14)
    spoilt = pl.when(pl.col("time_hour") > border).then(pl.col("temp") * -3.0 + 400).otherwise(pl.col("temp"))
    table.with_columns(spoilt.alias("temp")).write_parquet(tmp_path / "spoilt.parquet")
    home = new_home(tmp_path / "home")
    out = tmp_path / "other.yaml"
    spoilt_run = (*FEW, "--trials", "4", "--folds", "2", "--set", f"data.path={tmp_path}/spoilt.parquet", "--out", str(out))
    said = run(home, "tune", *spoilt_run)
    assert f"Wrote {out}" in said
    ours, theirs = trials_of(home), trials_of(whole[0])[:4]
    assert [(one.values, one.state, one.rungs, one.score) for one in ours] == [
        (one.values, one.state, one.rungs, one.score) for one in theirs
    ]
    assert {one.identity for one in ours} & {one.identity for one in theirs} == set()


def test_what_cannot_be_searched_is_refused_before_any_data_is_read(run, new_home, checkout, tmp_path) -> None:
    home = new_home(tmp_path / "home")
    mine = checkout / "params" / "variants" / "lstm_tuned.yaml"
    mine.write_text("family: recurrent\n")
    try:
        for words, told in (
            (("tune", "params/smoke.yaml", "--variants", "ridge"), "ridge: no `search:` in params/variants/ridge.yaml"),
            (("tune", "params/smoke.yaml", "--variants", "lstm"), "lstm_tuned.yaml was not written by tune and stays"),
            (("tune", "params/smoke.yaml", "--variants", "gru,tcn", "--out", "x.yaml"), "one file for 2 variants"),
            (
                ("compare", "params/smoke.yaml", "--tuned", "1"),
                "no search of smoke has found anything yet: python",
            ),
        ):
            said = run(home, *words, status=2)
            assert told in said and "Traceback" not in said and "check the data" not in said
    finally:
        mine.unlink()
