"""What a run of a schedule says came of it, and whom it tells; tests/flows/test_promotion.py goes through whole runs."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows import retrain
from flows.compare import Comparison
from flows.retrain import Outcome, Retrained
from tasks.promote import decision
from tasks.promote.decision import Decision
from tasks.promote.gates import GateResult
from tasks.registry.versions import Registered

ROOT = Path(__file__).resolve().parents[2]
WEAK = GateResult("skill", False, "too weak")
CHANCE = GateResult("chance", False, "may be chance", "type something", "--allow-chance")
ALLOWED = GateResult("chance", True, "may be chance (--allow-chance)", option="--allow-chance")
DIRTY = GateResult("code", True, "changed (--allow-dirty)", option="--allow-dirty")


@pytest.fixture
def told(told: Callable[[], list[dict[str, Any]]]) -> Callable[[], list[tuple[str, str]]]:
    """(event, why) of each notification since the last call."""
    return lambda: [(one["event"], one["why"]) for one in told()]


def decided(outcome: decision.Outcome, *gates: GateResult) -> Decision:
    return Decision("shop", outcome, "3", "3" if outcome is decision.Outcome.PROMOTED else None, gates)


@pytest.mark.parametrize(
    ("gates", "why"),
    [
        ((WEAK, CHANCE), "skill: too weak; chance: may be chance"),  # an option alone would not do
        (
            (DIRTY, CHANCE),
            "chance: may be chance; to take it all the same: "
            "python -m flows promote shop --version 3 --allow-dirty --allow-chance",
        ),
    ],
)
def test_a_refusal_names_the_command_that_takes_it_all_the_same_if_there_is_one(
    gates: tuple[GateResult, ...], why: str, told: Callable[[], list[tuple[str, str]]]
) -> None:
    found = retrain._judged(decided(decision.Outcome.REFUSED, *gates))
    assert found == Retrained(outcome=Outcome.REFUSED, version="3", why=why) and told() == [("refusal", why)]


def test_a_champion_by_chance_is_told_as_one(told: Callable[[], list[tuple[str, str]]]) -> None:
    found = retrain._judged(decided(decision.Outcome.PROMOTED, DIRTY, ALLOWED))
    assert found.words == "promoted: chance: may be chance (--allow-chance)" and found.champion == "3"
    assert retrain._judged(decided(decision.Outcome.PROMOTED, DIRTY)).words == "promoted"
    assert [event for event, _ in told()] == ["promotion", "promotion"]


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({"registered": Registered(why="gru, refitted, failed: no memory")}, "gru, refitted, failed: no memory"),
        ({"registered": Registered()}, "no model has a score on validation"),
        ({"failed": ("gru: no memory",)}, "no model has a score on validation; every variant failed: gru: no memory"),
    ],
)
def test_what_registers_nothing_is_a_failure(
    facts: dict[str, Any], why: str, told: Callable[[], list[tuple[str, str]]]
) -> None:
    found = retrain._nothing("shop", Comparison("shop", "run", **facts))
    assert found == Retrained(outcome=Outcome.NOTHING_REGISTERED, why=why) and told() == [("failure", why)]


TRIES = """
import sys
from pathlib import Path
from prefect import flow
from flows.runtime.state import prepare, set_environment
home = prepare()
set_environment(home)
from flows.runtime.begin import prefect_api
from params.errors import ChecksFailed, Unavailable
with prefect_api(home) as server:
    from flows import retrain
    server.wait()
    tried = []
    def connect(home):
        tried.append(home)
        raise errors.pop(0)
    retrain.connection.connect = connect
    at_once = retrain.attempt.with_options(retry_delay_seconds=[0, 0, 0])
    @flow
    def scheduled():
        at_once(type("Plan", (), {"run": None})(), None, None, home)
    for errors in ([Unavailable("away"), OSError(28, "full"), ChecksFailed("bad data")], [Unavailable("away")] * 9):
        tried.clear()
        try:
            scheduled()
        except Exception as error:
            print("ended", len(tried), type(error).__name__)
"""


@pytest.mark.slow
def test_what_may_pass_is_tried_again_by_prefect_and_what_cannot_is_not(tmp_path: Path) -> None:
    environment = os.environ | {"LAGLINE_HOME": str(tmp_path / "home")}
    done = subprocess.run([sys.executable, "-c", TRIES], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200)
    told = [line for line in done.stdout.splitlines() if line.startswith("ended")]
    assert told == ["ended 3 ChecksFailed", "ended 4 Unavailable"], done.stdout + done.stderr
