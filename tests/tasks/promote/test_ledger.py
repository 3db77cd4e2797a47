"""tasks/promote/ledger.py and alias.py on a real store: what breaks a ledger by hand or by chance stops all."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import ViewType

from tasks.promote import alias, ledger
from tasks.promote.chain import Entry, Event
from tasks.promote.ledger import Broken, Conflict, Draft
from tasks.registry.versions import CHALLENGER, CHAMPION, find
from tasks.tracking import connection

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning")]  # MLflow's own
CHAIN = ("previous", "digest", "stood", "created", "reason", "files")


@pytest.fixture(scope="module")
def home(module_store: Path) -> Path:
    return module_store


@pytest.fixture
def name(home: Path, request: pytest.FixtureRequest) -> str:
    """A name with four versions, of which 1, 2 and 3 became champion in turn."""
    made = f"n{abs(hash(request.node.name)):x}"
    versions(made, 4)
    for version in "123":
        decide(made, home, version)
    return made


def versions(name: str, count: int) -> None:
    connection.client().create_registered_model(name)
    for _ in range(count):
        connection.client().create_model_version(name, "file:///nowhere")


def decide(name: str, home: Path, version: str, said: Callable[[str], None] = lambda text: None) -> Entry:
    """A promotion without gates."""
    with alias.held(name, home, said) as turn:
        found, before = find(name, version), ledger.champion(turn.book.entries)
        assert found is not None
        return alias.carry_out(turn, home, Draft(Event.PROMOTED, version, version, before, "fixed", found.creation_timestamp))


def experiment(name: str) -> str:
    return str(connection.client().get_experiment_by_name(f"{name}.promotions").experiment_id)


def run_of(name: str, number: int) -> str:
    there = connection.client().search_runs([experiment(name)], f"tags.number = '{number}'", ViewType.ALL)
    return str(there[0].info.run_id)


def told(name: str) -> list[str]:
    return [f"{entry.number} {entry.decision} {entry.champion}" for entry in ledger.entries(name)]


def test_an_experiment_out_of_the_trash_is_counted_on(home: Path, name: str) -> None:
    connection.client().delete_experiment(experiment(name))
    assert told(name) == ["1 promoted 1", "2 promoted 2", "3 promoted 3"] and ledger.read(name).trashed
    said: list[str] = []
    assert decide(name, home, "4", said.append).number == 4
    assert "lay in MLflow's trash" in said[0]
    assert told(name)[-1] == "4 promoted 4" and ledger.read(name).faults == () and ledger.read(name).notes == []


def copied(name: str) -> None:
    old = connection.client().get_run(run_of(name, 2))
    tags = {key: value for key, value in old.data.tags.items() if not key.startswith("mlflow.")}
    copy = connection.client().create_run(experiment(name), tags=tags)
    connection.client().set_terminated(copy.info.run_id)


def erased(name: str, number: int) -> None:
    """As `mlflow gc` does."""
    run = run_of(name, number)
    store = sqlite3.connect(str(connection.client().tracking_uri).removeprefix("sqlite:///"))
    with store:
        for table in ("tags", "metrics", "latest_metrics", "params", "runs"):
            store.execute(f"DELETE FROM {table} WHERE run_uuid = ?", (run,))
    store.close()


BROKEN: dict[str, tuple[Callable[[str], Any], str]] = {
    "changed": (
        lambda name: connection.client().set_tag(run_of(name, 3), "champion", "1"),
        "entry 3 does not say what it said",
    ),
    "a text": (lambda name: connection.client().set_tag(run_of(name, 3), "number", "three"), "entry 3 is missing"),
    "a tag less": (lambda name: connection.client().delete_tag(run_of(name, 2), "why"), "entry 2 is missing"),
    "in the trash": (lambda name: connection.client().delete_run(run_of(name, 3)), "entry 3 was deleted in MLflow"),
    "erased": (lambda name: erased(name, 3), "entry 3 is missing"),
    "all erased": (lambda name: [erased(name, number) for number in (1, 2, 3)], "entries 1 to 3 are missing"),
    "ended otherwise": (lambda name: connection.client().set_terminated(run_of(name, 2), "FAILED"), "entry 2 is missing"),
    "twice": (copied, "entry 2 is there 2 times"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_ledger_that_does_not_chain_stops_every_decision_until_somebody_accepts_it(home: Path, name: str, how: str) -> None:
    spoil, words = BROKEN[how]
    spoil(name)
    connection.client().set_registered_model_alias(name, CHAMPION, "2")  # which a repair would move
    before = told(name)
    for decision in (alias.held(name, home).__enter__, lambda: alias.repair(name, home), lambda: alias.roll_back(name, home)):
        with pytest.raises(Broken, match=words) as caught:
            decision()
    assert f"flows history {name} --accept" in str(caught.value) and told(name) == before
    found = find(name, CHAMPION)
    assert found is not None and str(found.version) == "2"
    entry = alias.accept(name, home, "looked at it")
    assert entry is not None and (entry.number, entry.champion, entry.reason) == (4, "2", "looked at it")
    assert words in entry.why and "@" in entry.who and ledger.read(name).faults == ()
    assert alias.accept(name, home, "") is None and alias.repair(name, home) is None
    assert decide(name, home, "4").number == 5 and ledger.read(name).faults == ()
    connection.client().set_tag(entry.run_id, "champion", "1")
    with pytest.raises(Broken, match="entry 4 does not say"):
        decide(name, home, "3")


def test_a_run_of_somebody_else_is_ignored_and_told(home: Path, name: str) -> None:
    client = connection.client()
    full = client.get_run(run_of(name, 1)).data.tags
    for tags in (
        {},
        {"kind": "comparison", "number": "4"},
        {"number": "abc", "kind": "promotion"},
        {key: value for key, value in full.items() if key != "time"},
        full | {"number": "9" * 30},
        full | {"number": "-1"},
        full | {"decision": "deleted"},
    ):
        client.set_terminated(client.create_run(experiment(name), tags=tags).info.run_id)
    at_work = client.create_run(experiment(name)).info.run_id
    said: list[str] = []
    assert decide(name, home, "4", said.append).number == 4
    assert len(said) == 1 and "8 runs in it are no entry of the ledger and ignored" in said[0]
    assert client.get_run(at_work).info.status == "RUNNING"
    assert told(name)[-1] == "4 promoted 4" and len(ledger.read(name).foreign) == 8


def test_the_first_new_entry_counts_those_of_an_older_lagline_as_they_stand(home: Path, name: str) -> None:
    client = connection.client()
    for number in (1, 2, 3):
        for key in CHAIN:
            client.delete_tag(run_of(name, number), key)
    client.delete_registered_model_tag(name, ledger.HEAD)
    assert ledger.read(name).faults == () and not any(entry.digest for entry in ledger.entries(name))
    decide(name, home, "4")
    assert decide(name, home, "1").number == 5 and ledger.read(name).faults == ()
    client.set_tag(run_of(name, 2), "champion", "1")
    assert ledger.read(name).faults == ("entry 2 is not as it was when entry 4 was written: changed, added or removed since",)


def test_of_two_machines_only_one_takes_a_number(home: Path, name: str) -> None:
    book, draft = ledger.sound(name), Draft(Event.PROMOTED, "4", "4", "3", "fixed")
    ours, theirs = ledger.open_entry(book, home, draft), ledger.open_entry(book, home, draft)
    assert ours.entry.number == theirs.entry.number == 4
    ledger.close_entry(theirs)
    with pytest.raises(Conflict, match="from another machine"):
        ledger.close_entry(ours)
    with pytest.raises(Conflict):
        ledger.open_entry(book, home, draft)  # decided on what is not the newest any more
    assert told(name)[3:] == ["4 promoted 4"] and ledger.read(name).faults == ()


def test_both_of_two_that_close_at_once_step_back(home: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    book, draft = ledger.sound(name), Draft(Event.PROMOTED, "4", "4", "3", "fixed")
    ours, theirs = ledger.open_entry(book, home, draft), ledger.open_entry(book, home, draft)
    finish = ledger.runs.finish

    def at_once(run_id: str, status: str = "FINISHED") -> None:
        finish(run_id, status)
        if status == "FINISHED":
            finish(theirs.run_id)

    monkeypatch.setattr(ledger.runs, "finish", at_once)
    with pytest.raises(Conflict):
        ledger.close_entry(ours)
    assert [entry.run_id for entry in ledger.entries(name) if entry.number == 4] == [theirs.run_id]


def test_a_name_that_was_deleted_whole_gives_its_champion_to_no_namesake(home: Path, name: str) -> None:
    decide(name, home, "1")
    client = connection.client()
    client.set_registered_model_alias(name, CHALLENGER, "1")
    assert not alias.undecided(name)
    client.delete_registered_model(name)
    assert not alias.undecided(name)
    versions(name, 1)
    client.set_registered_model_alias(name, CHALLENGER, "1")
    assert alias.undecided(name)  # another version 1
    assert "was champion and was deleted" in str(alias.repair(name, home))
    assert find(name, CHAMPION) is None and told(name)[-1] == "5 gone None" and alias.undecided(name)
    assert decide(name, home, "1").number == 6 and not alias.undecided(name)


def test_what_somebody_says_is_one_line_of_letters(home: Path, name: str) -> None:
    draft = Draft(Event.REFUSED, "4", "3", "3", "worse\nby \x1b[31mfar", reason="so \udcff I said\x00 \u202e")
    entry = ledger.close_entry(ledger.open_entry(ledger.sound(name), home, draft))
    assert entry.reason == r"so \udcff I said\x00 \u202e" and entry.why == r"worse\nby \x1b[31mfar"
    assert ledger.sound(name).tip == entry
