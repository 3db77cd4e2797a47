"""tasks/promote/chain.py: what is told of a ledger in which an entry was changed, removed, added or accepted."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from tasks.promote.chain import Entry, Event, Head, chained, faults

OLD, ALL = 3, 7  # entries of lagline 0.2, and with those that are chained
TIME = "2026-01-01T00:00:00+00:00"


def entry(number: int, decision: Event = Event.PROMOTED) -> Entry:
    return Entry(number, decision, str(number), str(number), None, "why", "who", TIME, f"run{number}")


def ledger(old: int = OLD, last: int = ALL) -> list[Entry]:
    found = [entry(number) for number in range(1, old + 1)]
    for number in range(old + 1, last + 1):
        found.append(chained(entry(number), found))
    return found


def head(some: Sequence[Entry]) -> Head:
    return Head(some[-1].number, some[-1].digest)


@pytest.mark.parametrize("old", [0, 1, OLD, ALL])
def test_an_untouched_ledger_chains_whoever_wrote_its_first_entries(old: int) -> None:
    found = ledger(old)
    assert faults(found, [], head(found) if old < ALL else None) == []
    assert [bool(one.digest) for one in found] == [False] * old + [True] * (ALL - old)
    assert faults([], [], None) == []


@pytest.mark.parametrize("number", range(1, ALL + 1))
@pytest.mark.parametrize("field", ["champion", "version", "before", "why", "who", "time", "reason", "created", "files"])
def test_a_changed_entry_is_named(number: int, field: str) -> None:
    found = ledger()
    noted = head(found)
    found[number - 1] = replace(found[number - 1], **{field: 9 if field == "created" else "9"})
    (told,) = faults(found, [], noted)
    assert told.startswith(f"entry {number} ")


@pytest.mark.parametrize("number", range(1, ALL + 1))
def test_a_change_whose_digest_was_made_anew_is_noticed_by_what_comes_after(number: int) -> None:
    found = ledger()
    noted = head(found)
    forged = replace(found[number - 1], champion="9")
    found[number - 1] = replace(forged, digest=forged.computed() if forged.digest else "")
    (told,) = faults(found, [], noted)
    assert (
        told.startswith(f"entry {number} ")
        or told == f"entry {number + 1} was written after another entry {number} than today's"
    )


@pytest.mark.parametrize("number", range(1, ALL + 1))
def test_an_entry_that_is_gone_or_in_the_trash_is_named(number: int) -> None:
    found = ledger()
    noted, gone = head(found), found.pop(number - 1)
    assert faults(found, [], noted) == [f"entry {number} is missing"]
    (told,) = faults(found, [gone], noted)
    assert told.startswith(f"entry {number} was deleted in MLflow (run run{number})")


def test_a_ledger_that_is_gone_altogether_is_missed_by_the_model() -> None:
    assert faults([], [], Head(5, "d")) == ["entries 1 to 5 are missing"]


@pytest.mark.parametrize("number", [1, OLD, OLD + 1, ALL])
def test_two_entries_of_one_number_and_one_that_was_put_in_are_named(number: int) -> None:
    found = ledger()
    (told,) = faults([*found, replace(found[number - 1], run_id="copy")], [], head(found))
    assert told.startswith(f"entry {number} is there 2 times (runs run{number}, copy)")
    (told,) = faults([*found, entry(ALL + 1)], [], head(found))
    assert told.startswith(f"entry {ALL + 1} names no entry before it")
    assert "is there 2 times" in faults([entry(1), entry(1)], [], None)[0]


def test_a_number_that_leaves_a_gap_of_a_million_is_told_at_once() -> None:
    found = [*ledger(), entry(999_999)]
    assert "entries 8 to 999998 are missing" in faults(found, [], None)


def test_what_was_accepted_counts_as_it_stood_and_no_further() -> None:
    found = ledger()
    gone = found.pop(4)
    found.append(chained(entry(8, Event.ACCEPTED), found))
    found.append(chained(entry(9), found))
    assert faults(found, [gone], head(found)) == []
    assert "entry 5 is not as it was when entry 8 was written" in faults([*found, gone], [], head(found))[0]
    changed = [replace(one, why="other") if one.number == 2 else one for one in found]
    assert "entry 2 is not as it was when entry 8 was written" in faults(changed, [], head(found))[0]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *((key, None) for key in ("kind", "number", "decision", "version", "champion", "before", "why", "who", "time")),
        *(("number", value) for value in ("", "abc", "0", "-1", "1.5", "9" * 30, "1000000", "٣")),
        *(("version", value) for value in ("", "latest", "9" * 30)),
        *(("champion", "x"), ("before", "1 "), ("decision", "deleted"), ("kind", "comparison"), ("created", "soon")),
        *(("time", value) for value in ("", "yesterday", "2026-01-01T00:00:00")),
    ],
)
def test_a_run_that_is_no_entry_is_none(key: str, value: str | None) -> None:
    tags = entry(1).tags() | {"digest": ""}
    assert Entry.of(tags, "run1") == entry(1)
    given = {name: text for name, text in tags.items() if name != key} | ({} if value is None else {key: value})
    assert Entry.of(given, "run1") is None
