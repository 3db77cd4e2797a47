"""flows/preset.py and its verb: a preset from the first look to a champion that is served without our code; the clock's cuts.

In a copy of the checkout, since variant files are written beside the shipped ones.
"""

import json
import re
from pathlib import Path

import polars as pl
import pytest
from mlflow import MlflowClient

from tests.flows import copied
from tests.flows.served import served
from tests.marks import STORY

pytestmark = STORY
run = copied.run
SMALL = """
about: little of everything
variants: [ridge, dense_relu, own, ensemble_greedy]
seeds: 2
folds: 2
tune: {variants: 1, trials: 6}
clock: {variants: 0.5, tune: 0.5}
"""
RUN = ("params/smoke.yaml", "--set", "training.max_epochs=3", "--set", "variants=[nlinear]", "--set", "name=preset")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """A copy of ours, whose preset `good` tries little."""
    folder = copied.copy_of_the_checkout(tmp_path_factory.mktemp("copy"))
    (folder / "params" / "presets" / "good.yaml").write_text(SMALL)
    return folder


@pytest.fixture(scope="module")
def whole(run, new_home, tmp_path_factory) -> tuple[Path, str]:
    """A comparison by preset, without a clock: its home, and what it said."""
    home = new_home(tmp_path_factory.mktemp("whole") / "home")
    return home, run(home, "compare", *RUN, "--variants", "ridge,dense_relu,ensemble_greedy", "--preset", "good")


def rows_of(run, home: Path) -> dict[str, dict]:
    found = json.loads(run(home, "leaderboard", "preset", "--json"))
    return {row["name"]: row for row in found["rows"]}


def test_it_tunes_the_best_over_seeds_and_ranges_and_weighs_all_together(run, whole, checkout) -> None:
    home, said = whole
    assert "preset good: 3 variants, 1 of them tuned, 2 seeds, 2 validation ranges" in said
    assert "cut, since" not in said
    rows = rows_of(run, home)
    assert {"ridge", "dense_relu", "dense_relu_tuned", "ensemble_greedy"} <= {*rows}
    assert rows["dense_relu"]["seeds"] == rows["dense_relu_tuned"]["seeds"] == 2
    (decided,) = (home / "decisions").glob("*.json")
    decision = json.loads(decided.read_text())
    assert decision["tuned"] == ["dense_relu"] and len(decision["picks"]) == 1
    client = MlflowClient(f"sqlite:///{home}/mlflow.db", f"sqlite:///{home}/mlflow.db")
    experiment = client.get_experiment_by_name("preset").experiment_id
    (parent,) = client.search_runs([experiment], "tags.kind = 'comparison'")
    assert parent.data.tags["preset"] == "good"
    path = client.download_artifacts(parent.info.run_id, "preset.json", str(home))
    assert json.loads(Path(path).read_text()) == decision
    command = json.loads(run(home, "leaderboard", "preset", "--json"))["command"]
    assert "--preset" not in command and "dense_relu_tuned" in command and "training.seeds=2" in command


def test_the_same_command_does_the_same_whatever_was_searched_since(run, whole) -> None:
    home, _ = whole
    settings = ("--set", "training.max_epochs=3", "--set", "name=preset", "--set", "training.seeds=1", "--set", "split.folds=1")
    run(home, "tune", "params/smoke.yaml", *settings, "--variants", "dense_relu", "--trials", "8")
    said = run(home, "compare", *RUN, "--variants", "ridge,dense_relu,ensemble_greedy", "--preset", "good")
    assert "Nothing has changed since this comparison" in said
    assert "search dense_relu" not in said


def test_a_tuned_greedy_ensemble_is_promoted_reproduced_and_served_without_our_code(run, whole, checkout, tmp_path) -> None:
    home, _ = whole
    assert rows_of(run, home)["ensemble_greedy"]["rank"] == 1
    said = run(home, "promote", "preset", "--allow-dirty", "--allow-chance")
    assert "passed  reproduction" in said, said
    (told,) = (json.loads(path.read_text()) for path in home.rglob("model.json"))
    assert {name.partition("-s")[0] for name in told["trained_on"]["counts"]} >= {"ridge", "dense_relu", "dense_relu_tuned"}
    said = run(home, "reproduce", "preset@champion")
    assert "the same weights" in said
    table = checkout / "data" / "nyc_weather.parquet"
    theirs = served(home, "preset", table, tmp_path, {"PATH": "/usr/bin:/bin"})
    ours = tmp_path / "ours.parquet"
    run(home, "forecast", "preset@champion", "--data", str(table), "--out", str(ours), "--nixtla")
    own = pl.read_parquet(ours).sort("unique_id", "ds")
    assert theirs.height == own.height > 0 and theirs["yhat"].equals(own["yhat"])


def test_a_clock_cuts_and_says_what(run, new_home, tmp_path) -> None:
    home = new_home(tmp_path / "home")
    long = ("--set", "training.max_epochs=100000")  # six seconds hold no network, however fast the machine
    command = ("compare", "params/smoke.yaml", "--minutes", "0.1", *long, "--set", "name=preset")
    said = run(home, *command, LAGLINE_JOBS="1")
    assert "preset good: 2 variants, none of them tuned, " in said, said  # seeds and ranges depend on the machine
    (cut,) = re.findall("  cut, since 0.1 minutes do not hold it: (.*)", said)
    assert cut.startswith("dense_relu, ") and "; tuning" in cut
    assert {"ridge", "ensemble_greedy"} < {*rows_of(run, home)}
    assert "Nothing has changed" in run(home, *command, LAGLINE_JOBS="1")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--preset", "quick"), "--preset quick: there is no such preset; there are: best, fast, good"),
        (("--preset", "good", "--tuned", "2"), "--tuned: a preset searches by itself"),
        (("--minutes", "0"), "--minutes"),
        (("--preset", "good", "--variants", "lsmt"), "did you mean 'lstm'"),
    ],
)
def test_what_no_preset_can_do_is_refused(run, new_home, tmp_path, arguments, told) -> None:
    said = run(new_home(tmp_path / "home"), "compare", *RUN, *arguments, status=2)
    assert told in said
    assert not (tmp_path / "home" / "checkpoints").exists() or not [*(tmp_path / "home" / "checkpoints").iterdir()]
