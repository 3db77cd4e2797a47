"""What differs between two fingerprints; training again is tried in `tests/tasks/registry/test_refitted.py`."""

import shlex
import subprocess
from dataclasses import replace
from typing import Any

import pytest

from models.data.panel import Split
from models.fit.settings import Greedy
from tasks.promote import proof
from tasks.promote.proof import differing


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"data": "b" * 64}, "data (aaaaaaaaaaaa then, bbbbbbbbbbbb now)"),
        ({"numbers": {"training": {"seed": 1}}}, "numbers (training.seed: 0 then, 1 now)"),
        ({"code": "b" * 64}, "code (aaaaaaaaaaaa then, bbbbbbbbbbbb now)"),
        ({"torch": "2.14"}, "torch (2.13 then, 2.14 now)"),
        ({"device": "cuda H100"}, "device (cpu then, cuda H100 now)"),
        ({"python": "3.12"}, "python (3.11 then, 3.12 now)"),
        ({}, ""),
    ],
)
def test_what_differs_is_named(change: dict[str, Any], told: str) -> None:
    recorded = {"data": "a" * 64, "numbers": {"training": {"seed": 0}}, "code": "a" * 64, "torch": "2.13", "device": "cpu"}
    recorded |= {"python": "3.11", "lock": "a" * 64, "revision": "x"}
    found = differing(recorded, recorded | change)
    assert [str(one) for one in found] == ([told] if told else [])
    assert [one.field for one in found] == list(change)


def test_a_code_that_is_taken_by_another_rule_differs_even_where_the_digest_is_the_same() -> None:
    recorded = {"data": "a" * 64, "code": "a" * 64, "torch": "2.13"}
    for old, new in (({}, {"code_rule": 2}), ({"code_rule": 2}, {"code_rule": 3})):
        for code in ("a" * 64, "b" * 64):
            (one,) = differing(recorded | old, recorded | new | {"code": code})
            assert one.field == "code" and f"rule {old.get('code_rule', 1)} then" in one.words


def test_a_number_that_is_younger_than_a_fingerprint_and_unset_does_not_differ() -> None:
    then, now = ({"numbers": {"training": training}} for training in ({"seed": 0}, {"seed": 0, "stop_step": None}))
    assert differing(then, now) == ()
    (one,) = differing(then, {"numbers": {"training": {"seed": 0, "stop_step": 5}}})
    assert str(one) == "numbers (training.stop_step: None then, 5 now)"


def test_a_command_that_is_printed_is_one_command_whatever_a_fingerprint_holds() -> None:
    """A schema refuses such a revision before it comes so far (tasks/registry/schema.py)."""
    line = proof._way_back({"revision": "x; touch y", "clean": True})  # type: ignore[typeddict-item]
    command = line.removeprefix("\nIts code: ")
    assert shlex.split(command) == ["git", "worktree", "add", "../lagline-x; touch y", "x; touch y"]
    assert subprocess.run(["sh", "-c", f"git() {{ printf '%s\\n' \"$#\"; }}; {command}"], capture_output=True).stdout == b"4\n"


def test_an_argument_that_a_network_does_not_take_is_said_before_anything_is_trained(house: Any) -> None:
    job = house.made().job
    assert proof._unknown_argument(job) == ""
    told = proof._unknown_argument(replace(job, network={**job.network, "unheard": 1}))
    assert told.startswith("network.unheard: family recurrent has no such argument")


def test_a_member_whose_seconds_were_over_ends_there_again_in_every_validation_range(house: Any) -> None:
    job = house.made().job
    drift = replace(job, family="drift", network={"season": 24})
    greedy = Greedy("mae", 24, others=(Split("rows", 9, 18),))
    ensemble = replace(job, family="ensemble", network={}, members=(job, drift), combine="mean", greedy=greedy)
    kept = replace(house.made(), job=ensemble, stop_steps=(4, None, 7, None), counts={"gru": 1, "drift": 0})
    found = proof._stopped(ensemble, kept)
    assert [one.training.stop_step for one in found.trained] == [4, 7]
    assert proof._stopped(ensemble, replace(kept, stop_steps=())) == ensemble
