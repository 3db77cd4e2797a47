"""Promotions on a real store: killed between any two steps, raced by eight processes, rolled back; the ledger is the truth.

Only the judgement is fixed here (its gates have tests of their own, and the story in tests/flows goes through all of it).
"""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from params.errors import UserError
from tasks import interrupt
from tasks.compare.board import Difference
from tasks.promote import alias, ledger
from tasks.promote import decision as promotion
from tasks.promote.gates import GateResult
from tasks.promote.options import PromoteOptions
from tasks.promote.scored import Figures
from tasks.registry.load import opened
from tasks.registry.versions import CHALLENGER, CHAMPION, find, log_bundle, needed
from tasks.tracking import connection, logs, runs
from tests.marks import STORE

ROOT = Path(__file__).resolve().parents[3]
STEPS = ("open_entry", "log_metrics", "close_entry", "set_alias", "the end")
pytestmark = STORE

FORKS = """
import json, os, signal, sys, traceback
from pathlib import Path
from tasks.tracking import connection, logs
from tasks.promote import alias, ledger
from tasks.promote import decision as promotion
from tasks.promote.gates import GateResult
import mlflow.artifacts, mlflow.pyfunc

home = Path(sys.argv[1])
owners = {"open_entry": ledger, "close_entry": ledger, "log_metrics": logs, "set_alias": alias}
promotion.judge = lambda *_: ((GateResult("skill", True, "fixed"),), None)

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

def promote(name, killed, out):
    if killed in owners:
        setattr(owners[killed], killed, die)
    connection.connect(home)
    try:
        found = promotion.promote(name, home, "cpu")
        text = f"{found.outcome} {found.version} {found.entry}"
    except Exception as error:
        text = f"{type(error).__name__} {error}"
    out.write_text(text)
    if killed == "the end":
        die()

for line in sys.stdin:
    started = []
    for number, (name, killed) in enumerate(json.loads(line)):
        out = home / f"said-{number}.txt"
        out.unlink(missing_ok=True)
        pid = os.fork()
        if not pid:
            promote(name, killed, out)
            os._exit(0)
        started.append((pid, out))
    ends = [(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), out.read_text() if out.exists() else "") for pid, out in started]
    print(json.dumps(ends), flush=True)
"""


@pytest.fixture(scope="module")
def home(module_store: Path, house: Any) -> Path:
    """A store with one logged bundle."""
    house.write(module_store / "bundle", house.build())
    return module_store


@pytest.fixture
def name(home: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A name of the test's own with three versions, of which the last is challenger; no champion yet; every gate says yes."""
    monkeypatch.setattr(promotion, "judge", lambda *_: ((GateResult("skill", True, "fixed"),), None))
    made = f"n{abs(hash(request.node.name)):x}"
    connection.client().create_registered_model(made)
    for _ in range(3):
        a_version(made, home, *_logged(home))
    challenge(made, "3")
    return made


@cache
def _logged(home: Path) -> tuple[str, str, str]:
    """(run, model, seal) of the bundle, logged once: versions may share it."""
    parent = runs.parent_run(runs.experiment("bundle", home), "bundle", "0" * 64)[0]
    run = runs.child_run(parent, "lstm", "a" * 64, {})
    return run, *log_bundle(home / "bundle", run)


def a_version(name: str, home: Path, run: str, model: str, seal: str | None = None) -> None:
    digest = hashlib.sha256((home / "bundle" / "manifest.json").read_bytes()).hexdigest()
    tags = {"manifest": digest} | ({"seal": seal} if seal else {})
    connection.client().create_model_version(name, f"models:/{model}", run, tags=tags, model_id=model)


@pytest.fixture(scope="module")
def processes(home: Path) -> Iterator[Callable[..., list[list[Any]]]]:
    """`processes((name, step), ...)` promotes in as many processes at once, each killed before a step (`""`: none).

    Gives exit status and answer of each.  One process imports everything and forks the others.
    """
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-c", FORKS, str(home)]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None and server.stdout is not None
        given, told = server.stdin, server.stdout

        def run(*some: tuple[str, str]) -> list[list[Any]]:
            given.write(json.dumps(some) + "\n")
            given.flush()
            found: list[list[Any]] = json.loads(told.readline())
            return found

        yield run
        given.close()


def holder(name: str) -> str | None:
    found = find(name, CHAMPION)
    return None if found is None else str(found.version)


def challenge(name: str, version: str) -> None:
    connection.client().set_registered_model_alias(name, CHALLENGER, version)


def test_a_story_of_decisions_and_what_the_ledger_says_of_it(home: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for version in "123":
        challenge(name, version)
        found = promotion.promote(name, home, "cpu")
        assert (found.outcome, found.champion, holder(name)) == ("promoted", version, version)
    assert promotion.promote(name, home, "cpu").outcome == "unchanged"
    assert alias.roll_back(name, home) == ("3", "2") and holder(name) == "2"
    assert alias.roll_back(name, home) == ("2", "1") and holder(name) == "1"
    with pytest.raises(UserError, match="nothing to roll back to"):
        alias.roll_back(name, home)
    challenge(name, "3")
    monkeypatch.setattr(promotion, "judge", lambda *_: ((GateResult("skill", False, "too weak"),), None))
    assert promotion.promote(name, home, "cpu", PromoteOptions(dry_run=True)).outcome == "would refuse"
    refused = promotion.promote(name, home, "cpu")
    assert (refused.outcome, refused.champion, holder(name)) == ("refused", "1", "1")
    monkeypatch.setattr(promotion, "judge", lambda *_: ((GateResult("skill", True, "fixed"),), None))
    assert promotion.promote(name, home, "cpu", PromoteOptions(version="2")).outcome == "promoted"
    assert alias.roll_back(name, home) == ("2", "1")  # not to 3 or 2, which were taken back before
    some = ledger.entries(name)
    assert [entry.number for entry in some] == list(range(1, 9))
    words = ["promoted"] * 3 + ["rollback"] * 2 + ["refused", "promoted", "rollback"]
    assert [entry.decision for entry in some] == words
    assert [entry.champion for entry in some] == ["1", "2", "3", "2", "1", "1", "2", "1"]  # the history of the alias
    assert [entry.before for entry in some] == [None, "1", "2", "3", "2", "1", "1", "2"]
    assert some[5].why == "skill: too weak"
    verdicts = logs.artifact(some[5].run_id, "verdicts.json")
    told = [(one["gate"], one["passed"], one["words"]) for one in json.loads(verdicts.read_text())]
    assert told == [("skill", False, "too weak")]


def test_a_champion_by_chance_is_one_in_the_ledger_too(home: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    gap = Difference(-0.1, -0.3, 0.1, None, None, "origins", 12, skill=0.05, skill_low=-0.02, skill_high=0.11)
    both, less = {"challenger": 1.9, "theta": 2.0}, {("challenger", "theta"): gap}
    figures = Figures(
        origins=12, series=3, rows=144, naive="theta", bar="theta", measure="owa", mae=both, score=both,
        skill={"challenger": 0.05}, skill_naive={"challenger": None}, less=less,
        coverage={"challenger": 0.91}, interval_score={"challenger": 7.5},
    )  # fmt: skip
    allowed = GateResult("chance", True, "may be chance (--allow-chance)", option="--allow-chance")
    monkeypatch.setattr(promotion, "judge", lambda *_: ((allowed,), figures))
    assert promotion.promote(name, home, "cpu").promoted
    (entry,) = ledger.entries(name)
    told = "all 1 gates were passed; chance: may be chance (--allow-chance); skill +5.0% against theta in OWA"
    assert entry.why == told
    kept = json.loads(logs.artifact(entry.run_id, "scores.json").read_text())
    assert (kept["baseline"], kept["measure"], kept["challenger_less_theta"]["skill_high"]) == ("theta", "owa", 0.11)
    expected = {f"{model}_{score}": both[model] for model in both for score in ("mae", "score")}
    expected |= {"challenger_skill": 0.05, "challenger_skill_low": -0.02, "challenger_skill_high": 0.11}
    expected |= {"challenger_coverage_90": 0.91, "challenger_interval_score_90": 7.5}
    assert connection.client().get_run(entry.run_id).data.metrics == expected


@pytest.mark.fault
@pytest.mark.parametrize("step", STEPS)
def test_killed_before_any_step_the_alias_is_as_it_was_and_the_next_start_goes_on(
    home: Path, name: str, processes: Callable[..., list[list[Any]]], step: str
) -> None:
    challenge(name, "1")
    assert promotion.promote(name, home, "cpu").promoted
    challenge(name, "2")
    ((status, _),) = processes((name, step))
    assert status == -signal.SIGKILL
    decided = step in ("set_alias", "the end")  # the entry counts: the answer is yes, and whoever comes next carries it out
    assert holder(name) == ("2" if step == "the end" else "1")
    assert ledger.champion(ledger.entries(name)) == ("2" if decided else "1")
    ((status, answer),) = processes((name, ""))
    assert status == 0 and answer.split()[0] == ("unchanged" if decided else "promoted"), answer
    some = ledger.entries(name)
    assert [entry.number for entry in some] == [1, 2] and ledger.champion(some) == holder(name) == "2"


def test_of_eight_at_once_one_wins_and_the_others_are_told(
    home: Path, name: str, processes: Callable[..., list[list[Any]]]
) -> None:
    challenge(name, "2")
    answers = [answer for _, answer in processes(*[(name, "")] * 8)]
    assert sum(answer.startswith("promoted 2 1") for answer in answers) == 1, answers
    assert all(answer.startswith(("promoted", "unchanged 2", "Held")) for answer in answers), answers
    assert [entry.number for entry in ledger.entries(name)] == [1] and holder(name) == "2"


def test_an_alias_that_was_moved_by_hand_is_mended_and_one_without_a_ledger_stays(home: Path, name: str) -> None:
    client = connection.client()
    client.set_registered_model_alias(name, CHAMPION, "3")
    assert alias.repair(name, home) is None and holder(name) == "3"
    challenge(name, "2")
    assert promotion.promote(name, home, "cpu").promoted
    client.set_registered_model_alias(name, CHAMPION, "1")
    assert "was 1 and the ledger says 2" in str(alias.repair(name, home)) and holder(name) == "2"


@pytest.mark.parametrize("broken", ["judge", "log_metrics"])
def test_an_error_on_the_way_leaves_the_alias_and_a_later_run_goes_on(
    home: Path, name: str, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("the store went away")

    challenge(name, "1")
    with monkeypatch.context() as patch:
        patch.setattr(promotion if broken == "judge" else logs, broken, fail)
        with pytest.raises(RuntimeError, match="went away"):
            promotion.promote(name, home, "cpu")
    assert holder(name) is None and ledger.entries(name) == []
    assert promotion.promote(name, home, "cpu").entry == 1 and holder(name) == "1"


class _Lost:
    """A Ctrl-C that comes in a destructor."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_ctrl_c_that_python_loses_still_leaves_the_alias(home: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def judge(*_: Any) -> Any:
        _Lost()
        return (GateResult("skill", True, "fixed"),), None

    before = signal.getsignal(signal.SIGINT)
    try:
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(promotion, "judge", judge)
            interrupt.listen(decides=True)
            promotion.promote(name, home, "cpu")
        assert holder(name) is None and ledger.entries(name) == []
        interrupt.listen(decides=True)  # the next start
        assert promotion.promote(name, home, "cpu").promoted and holder(name) == "3"
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_damaged_version_is_neither_promoted_nor_rolled_back_to(home: Path, name: str) -> None:
    run, *_ = _logged(home)
    source, seal = log_bundle(home / "bundle", run)  # one that no other version shares
    a_version(name, home, run, source, seal)
    for version in "42":
        challenge(name, version)
        promotion.promote(name, home, "cpu")
    (graph,) = (home / "artifacts").rglob(f"{source}/artifacts/data/bundle/graph.pt2")
    content = bytearray(graph.read_bytes())
    content[len(content) // 2] ^= 1
    graph.write_bytes(bytes(content))
    with pytest.raises(UserError, match=r"version 4 is damaged and is not used: data/bundle/graph\.pt2 has changed"):
        alias.roll_back(name, home)
    challenge(name, "4")
    with pytest.raises(UserError, match="damaged"):
        promotion.promote(name, home, "cpu")
    assert holder(name) == "2" and len(ledger.entries(name)) == 2
    with opened(needed(name, "2")) as whole:
        assert whole.version == "2"
    with pytest.raises(UserError, match="there are versions 1, 2, 3, 4"):
        needed(name, "9")
    for huge in ("9" * 20, "9" * 5000):
        with pytest.raises(UserError, match="there is no such version; there are versions 1, 2, 3, 4"):
            needed(name, huge)


def test_a_refusal_leaves_a_champion_that_was_set_by_hand(home: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    connection.client().set_registered_model_alias(name, CHAMPION, "1")
    monkeypatch.setattr(promotion, "judge", lambda *_: ((GateResult("skill", False, "too weak"),), None))
    assert alias.undecided(name)
    assert promotion.promote(name, home, "cpu").outcome == "refused"
    assert holder(name) == "1" and not alias.undecided(name)
    promotion.promote(name, home, "cpu", PromoteOptions(dry_run=True))  # mends, if there were anything to mend
    assert holder(name) == "1"


def test_a_champion_that_was_deleted_is_none_and_the_name_goes_on(home: Path, name: str) -> None:
    challenge(name, "1")
    promotion.promote(name, home, "cpu")
    client = connection.client()
    client.delete_registered_model_alias(name, CHAMPION)
    client.delete_model_version(name, "1")
    challenge(name, "2")
    assert promotion.promote(name, home, "cpu").promoted and holder(name) == "2"
    assert [(entry.decision, entry.champion) for entry in ledger.entries(name)] == [
        ("promoted", "1"),
        ("gone", None),
        ("promoted", "2"),
    ]


def test_serving_code_that_is_not_the_bundle_s_is_refused(home: Path, name: str) -> None:
    run, *_ = _logged(home)
    source, seal = log_bundle(home / "bundle", run)
    a_version(name, home, run, source, seal)
    (copy,) = (home / "artifacts").rglob(f"{source}/artifacts/code/lagline_serving_*.py")
    copy.write_text("raise SystemExit")
    with pytest.raises(UserError, match=r"is not used: code/lagline_serving_\w+\.py has changed"), opened(needed(name, "4")):
        pass


def test_versions_that_were_deleted_are_skipped_on_the_way_back(home: Path, name: str) -> None:
    client = connection.client()
    for version in "123":
        challenge(name, version)
        promotion.promote(name, home, "cpu")
    client.delete_model_version(name, "3")  # the champion
    client.delete_model_version(name, "2")
    assert alias.roll_back(name, home) == ("3", "1") and holder(name) == "1"
    for _ in range(2):  # the second has nothing to mend
        with pytest.raises(UserError, match="no champion came before version 1: there is nothing to roll back to"):
            alias.roll_back(name, home)
    assert promotion.promote(name, home, "cpu", PromoteOptions(version="1")).outcome == "unchanged"
    a_version(name, home, *_logged(home))
    promotion.promote(name, home, "cpu", PromoteOptions(version="4"))
    assert alias.roll_back(name, home) == ("4", "1") and holder(name) == "1"
    client.delete_model_version(name, "1")
    with pytest.raises(UserError, match="no champion came before now that is still there: there is nothing to roll back to"):
        alias.roll_back(name, home)
    some = ledger.entries(name)
    told = ["promoted 1", "promoted 2", "promoted 3", "gone None", "rollback 1", "promoted 4", "rollback 1", "gone None"]
    assert [f"{entry.decision} {entry.champion}" for entry in some] == told  # the history of the alias
    assert some[4].why == "version 1 is champion again, after 3" and some[4].before is None


def test_a_champion_that_comes_after_a_deleted_one_is_not_its_own_predecessor(home: Path, name: str) -> None:
    for version in "121":  # and 1 once more
        promotion.promote(name, home, "cpu", PromoteOptions(version=version))
    connection.client().delete_model_version(name, "2")
    with pytest.raises(UserError, match="before version 1 that is still there"):
        alias.roll_back(name, home)
    promotion.promote(name, home, "cpu", PromoteOptions(version="3"))
    assert alias.roll_back(name, home) == ("3", "1") and holder(name) == "1"


@pytest.mark.parametrize("step", ["promote", "roll_back"])
def test_what_is_no_name_makes_no_lock(home: Path, step: str) -> None:
    before = set(home.rglob("*"))
    with pytest.raises(UserError, match="begin with a letter or digit"):
        alias.roll_back("a/../../x", home) if step == "roll_back" else promotion.promote("a/../../x", home, "cpu")
    assert set(home.rglob("*")) == before


@pytest.mark.parametrize("part", ["MLmodel", "code"])
def test_a_version_that_mlflow_cannot_load_is_no_champion(home: Path, name: str, part: str) -> None:
    run, *_ = _logged(home)
    source, seal = log_bundle(home / "bundle", run)
    a_version(name, home, run, source, seal)
    for version in "42":
        promotion.promote(name, home, "cpu", PromoteOptions(version=version))
    (found,) = (home / "artifacts").rglob(f"{source}/artifacts/{part}")
    found.unlink() if part == "MLmodel" else shutil.rmtree(found)
    missing = r"version 4 is damaged and is not used: (MLmodel|code/lagline_serving_\w+\.py) is missing"
    with pytest.raises(UserError, match=missing):
        alias.roll_back(name, home)
    with pytest.raises(UserError, match=missing):
        promotion.promote(name, home, "cpu", PromoteOptions(version="4"))
    assert holder(name) == "2" and len(ledger.entries(name)) == 2
    with pytest.raises(UserError, match=missing), opened(needed(name, "4")):
        pass
