"""What a run of a schedule says came of it, and whom it tells; tests/flows/test_promotion.py goes through whole runs."""

from collections.abc import Callable
from typing import Any

import pytest

from flows import retrain
from flows.compare import Comparison
from flows.retrain import Outcome, Retrained
from tasks.promote import decision
from tasks.promote.decision import Decision
from tasks.promote.gates import GateResult
from tasks.registry.versions import Registered

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
