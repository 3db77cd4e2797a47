"""tasks/serve/rollback.py on a real store: once, through the ledger, and the same after a kill between any two steps."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from params.errors import UserError
from params.load import load_run
from params.schema import RunParams
from tasks.promote import alias, ledger
from tasks.promote.chain import Event
from tasks.promote.ledger import Draft
from tasks.registry.versions import find, log_bundle
from tasks.serve.realised import LookedBack, Realised
from tasks.serve.rollback import reason_to_roll_back, roll_back_if_worse
from tasks.serve.watched import watch_champion
from tasks.tracking import connection, runs
from tests.marks import STORE

pytestmark = STORE
ROOT = Path(__file__).resolve().parents[3]
NONE = pl.DataFrame(schema={"age": pl.Int64})
STEPS = ("open_entry", "close_entry", "set_alias")
KILLED = """
import os, signal, sys
from pathlib import Path
import mlflow.artifacts, mlflow.pyfunc
from tasks.promote import alias, ledger
from tasks.serve.rollback import roll_back_if_worse
from tasks.tracking import connection
from tests.tasks.serve.test_rollback import STEPS, past, run_of
home, names = Path(sys.argv[1]), sys.argv[2:]
for name, step in zip(names, STEPS, strict=True):
    child = os.fork()
    if not child:
        setattr(alias if step == "set_alias" else ledger, step, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
        connection.connect(home)
        roll_back_if_worse(run_of(name), past(-0.5, -0.5, -0.5), "2", home)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL, step
"""


def past(*skills: float | None) -> Realised:
    """Forecasts of a champion with these realised skills, by cutoff."""
    return Realised(NONE, -0.5, by_cutoff=pl.DataFrame({"skill": pl.Series(skills, dtype=pl.Float64)}))


def run_of(name: str, below: str = "-0.1") -> RunParams:
    rule = (f"promotion.rollback_below={below}", "promotion.rollback_after=3")
    return load_run("params/smoke.yaml", [f"name={name}", *rule])


@pytest.fixture(scope="module")
def home(module_store: Path, house: Any) -> Path:
    """A store with one logged bundle."""
    house.write(module_store / "bundle", house.build())
    return module_store


@pytest.fixture(scope="module")
def logged(home: Path) -> tuple[str, str, str]:
    """(run, model, seal) of the bundle; versions may share it."""
    parent = runs.parent_run(runs.experiment("bundle", home), "bundle", "0" * 64)[0]
    run = runs.child_run(parent, "lstm", "a" * 64, {})
    return run, *log_bundle(home / "bundle", run)


@pytest.fixture(scope="module")
def new_name(home: Path, logged: tuple[str, str, str]) -> Callable[[str], str]:
    """`new_name("shop")`: a name with three versions, of which 1 and then 2 became champion."""

    def make(name: str) -> str:
        run, model, seal = logged
        digest = hashlib.sha256((home / "bundle" / "manifest.json").read_bytes()).hexdigest()
        connection.client().create_registered_model(name)
        for _ in range(3):
            tags = {"manifest": digest, "seal": seal}
            connection.client().create_model_version(name, f"models:/{model}", run, tags=tags, model_id=model)
        for version in "12":
            promote(name, home, version)
        return name

    return make


def promote(name: str, home: Path, version: str) -> None:
    with alias.held(name, home) as turn:
        found, before = find(name, version), ledger.champion(turn.book.entries)
        assert found is not None
        alias.carry_out(turn, home, Draft(Event.PROMOTED, version, version, before, "fixed", found.creation_timestamp))


def told_of(name: str) -> list[tuple[str, str | None]]:
    return [(entry.decision.value, entry.champion) for entry in ledger.entries(name)]


def test_all_of_the_newest_origins_must_be_below() -> None:
    run = run_of("shop")
    assert "below -10.0% on each of its newest 3 origins, between -50.0% and -20.0%" in str(
        reason_to_roll_back(run, past(0.9, -0.2, -0.5, -0.3))
    )
    for fine in (past(-0.2, -0.2), past(-0.5, -0.2, -0.1), past(-0.5, None, -0.5), past()):
        assert reason_to_roll_back(run, fine) is None
    assert reason_to_roll_back(run_of("shop", "null"), past(-0.5, -0.5, -0.5)) is None


def test_it_happens_once_and_the_ledger_says_why(new_name: Callable[[str], str], home: Path, told: Any) -> None:
    name = new_name("once")
    run, bad = run_of(name), past(-0.5, -0.4, -0.3)
    looked = LookedBack("bad", "2", bad)
    found = watch_champion.fn(run, home, looked)
    assert found.rolled_back is not None and found.rolled_back.champion == "1" and alias.holder(name) == "1"
    assert told_of(name)[2:] == [("rollback", "1")]
    assert "by the schedule: realised skill against the best naive below -10.0%" in ledger.entries(name)[-1].reason
    rollback = [one for one in told() if one["event"] == "rollback"]
    assert [(one["version"], one["champion"]) for one in rollback] == [("2", "1")]
    again = roll_back_if_worse(run, bad, "1", home)  # it was rolled back to, and stays however it does
    assert again is not None and again.champion is None and "became champion by a rollback itself" in again.words
    assert len(told_of(name)) == 3
    promote(name, home, "3")
    assert roll_back_if_worse(run, bad, "2", home) is not None and alias.holder(name) == "3"  # of a version that is gone
    assert len(told_of(name)) == 4


def test_without_an_earlier_champion_it_stays_and_that_is_said(home: Path) -> None:
    only = "only"
    connection.client().create_registered_model(only)
    connection.client().create_model_version(only, "file:///nowhere")
    promote(only, home, "1")
    found = roll_back_if_worse(run_of(only), past(-1, -1, -1), "1", home)
    assert found is not None and found.champion is None and "nothing to roll back to" in found.words
    assert told_of(only) == [("promoted", "1")]


def test_killed_between_any_two_steps_the_next_run_ends_the_same(new_name: Callable[[str], str], home: Path) -> None:
    names = [new_name(step.replace("_", "-")) for step in STEPS]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run([sys.executable, "-c", KILLED, str(home), *names], cwd=ROOT, env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    for name in names:
        found = roll_back_if_worse(run_of(name), past(-0.5, -0.5, -0.5), "2", home)
        assert found is not None and found.champion == "1" and alias.holder(name) == "1"
        assert told_of(name) == [("promoted", "1"), ("promoted", "2"), ("rollback", "1")]


def test_a_threshold_that_no_skill_can_pass_is_refused_by_name() -> None:
    with pytest.raises(UserError, match=r"promotion\.rollback_below"):
        run_of("shop", "1.5")
