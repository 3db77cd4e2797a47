"""The alias champion of a name: one decision at a time, repair from the ledger, move and rollback.

A name's lock is freed however its holder ends.  The ledger is the truth: an alias that differs from it (after
a kill between the two writes) is corrected before the next decision.  Any error leaves the alias unchanged,
and a ledger with a broken chain stops all decisions.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from params.errors import UserError
from tasks.locks import shared, unguarded, whole
from tasks.promote import ledger
from tasks.promote.chain import Entry, Event
from tasks.promote.ledger import Draft, Ledger
from tasks.registry.load import opened
from tasks.registry.versions import CHALLENGER, CHAMPION, check_name, find, needed
from tasks.tracking import connection, logs

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

Say = Callable[[str], None]
GO_ON = "Once it is back, `python -m flows history {name}` shows how things stand, and the same command goes on from there"


class NothingBefore(UserError):
    """No earlier champion is there to roll back to."""


@dataclass
class Turn:
    """One decision on a name: the ledger it is based on, and how things `stand` if the server is lost.

    `champion`: the champion before it, in words.  `still_ours` raises Unavailable if the name's lock is lost.
    """

    book: Ledger
    stand: str
    champion: str = ""
    still_ours: Callable[[], None] = whole


@contextmanager
def held(name: str, home: Path, say: Say = lambda text: None) -> Iterator[Turn]:
    """Locks a name for a decision: repairs what a killed one left, reports it, and yields the ledger.

    Raises Held if another process has the lock, UserError for an invalid name, Broken if the ledger's chain
    is broken, Unavailable if the tracking server does not answer.
    """
    check_name(name)
    turn = Turn(Ledger(name), f"nothing was decided, and the champion of {name} is who it was, or who the ledger says")
    with (
        shared(home, f"promote-{name}", wait=False) as turn.still_ours,
        connection.answered(lambda: f"{turn.stand}.  {GO_ON.format(name=name)}"),
    ):
        if alone := unguarded():
            say(alone)
        if ledger.ready(name):
            say(f"the experiment of the ledger of {name} lay in MLflow's trash and was taken out of it")
        notes = ledger.sound(name).notes
        ledger.clear(name)
        for line in filter(None, (*notes, repair(name, home))):
            say(line)
        turn.book, now = ledger.sound(name), holder(name)
        turn.champion = f"version {now} stays champion of {name}" if now else f"{name} has no champion yet"
        turn.stand = f"nothing was decided, and {turn.champion}"
        yield turn


def carry_out(
    turn: Turn, home: Path, draft: Draft, files: Mapping[str, str] | None = None, scores: Mapping[str, float] | None = None
) -> Entry:
    """Writes the entry of a decision with its files and scores, and moves the alias if it says so."""
    opened = ledger.open_entry(turn.book, home, draft, files)
    if scores is not None:
        logs.log_metrics(opened.run_id, scores)
    number, says = opened.entry.number, f"{draft.decision} version {draft.version}"
    turn.stand = f"{turn.champion}, unless entry {number} of the ledger ({says}) was written, which the next start carries out"
    turn.still_ours()
    entry = ledger.close_entry(opened)
    if draft.decision.moves:
        turn.stand = f"entry {number} of the ledger is {says}, and the next start moves the alias, if that was not done yet"
        set_alias(turn.book.name, draft.champion)
    turn.stand = f"the decision is made: entry {number} of the ledger is {says}"
    return entry


def repair(name: str, home: Path) -> str | None:
    """Sets the alias to what the ledger says; returns what it did, if anything.

    An alias set by hand without a ledger stays.  A deleted champion counts as none, and an entry says so.
    Raises Broken, leaving the alias, if the ledger's chain is broken.
    """
    book = ledger.sound(name)
    if book.tip is None:
        return None
    ledger.note_down(name, book.tip)
    wanted, now = book.tip.champion, holder(name)
    if wanted == now:
        return None
    if wanted is not None and not _is_there(name, wanted, book):
        why = f"version {wanted} was deleted"
        ledger.close_entry(ledger.open_entry(book, home, Draft(Event.GONE, wanted, None, wanted, why)))
        if now is None:
            return f"version {wanted} was champion and was deleted: there is none now"
        wanted = None
    set_alias(name, wanted)
    return f"the alias champion was {now or 'nobody'} and the ledger says {wanted or 'nobody'}: mended"


def accept(name: str, home: Path, reason: str) -> Entry | None:
    """Accepts a broken ledger and the current champion as they are; an entry says who did, and what broke.

    None if the chain is not broken.
    """
    check_name(name)
    stands = f"the ledger of {name} may or may not be accepted, and the alias is where it was.  {GO_ON.format(name=name)}"
    with shared(home, f"promote-{name}", wait=False), connection.answered(stands):
        ledger.ready(name)
        book, now = ledger.read(name), find(name, CHAMPION)
        if not book.faults:
            return None
        version, created = (None, None) if now is None else (str(now.version), _made(now))
        recorded, why = ledger.champion(book.entries), "; ".join(book.faults)
        return ledger.close_entry(
            ledger.open_entry(book, home, Draft(Event.ACCEPTED, version or "", version, recorded, why, created, reason))
        )


def _made(version: "ModelVersion") -> int:
    """When a version was created, in milliseconds."""
    return int(version.creation_timestamp)


def _about(entry: Entry, version: "ModelVersion") -> bool:
    """Whether an entry is about this very version: a fully deleted name counts its versions from 1 again."""
    if entry.version != str(version.version):
        return False
    if entry.created is not None:
        return entry.created == _made(version)
    return _made(version) <= datetime.fromisoformat(entry.time).timestamp() * 1000


def _is_there(name: str, version: str, book: Ledger) -> bool:
    """Whether a champion in the ledger is still registered, and is the version that the ledger means."""
    registered = find(name, version)
    crowned = [entry for entry in book.entries if entry.version == version and entry.decision.moves]
    return registered is not None and (not crowned or _about(crowned[-1], registered))


def holder(name: str, alias: str = CHAMPION) -> str | None:
    """The version that holds an alias, or None."""
    registered = find(name, alias)
    return None if registered is None else str(registered.version)


def undecided(name: str) -> bool:
    """Whether the challenger awaits a decision: it is not champion, and no decision was about it."""
    pending, there = find(name, CHALLENGER), ledger.entries(name)
    decided = [entry for entry in there if entry.decision is not Event.GONE]
    if pending is None or any(_about(entry, pending) for entry in decided):
        return False
    namesake = any(entry.version == str(pending.version) for entry in decided)  # from a name that was deleted and created again
    return namesake or str(pending.version) != ledger.champion(there)


def set_alias(name: str, version: str | None) -> None:
    """Moves the alias and reads it back.  Raises RuntimeError if it did not move."""
    client = connection.client()
    if version is None:
        client.delete_registered_model_alias(name, CHAMPION)
    else:
        client.set_registered_model_alias(name, CHAMPION, version)
    actual = holder(name)
    if actual != version:
        raise RuntimeError(f"{name}: the alias champion was set to {version} and is {actual}")


def roll_back(name: str, home: Path, unsealed: bool = False, reason: str = "", say: Say = lambda text: None) -> tuple[str, str]:
    """Makes the previous champion champion again; returns (the old one, the new one).

    Skips deleted versions.  Raises UserError if no earlier champion exists any more, or it is damaged, or it
    has no seal (unless `unsealed`).
    """
    with held(name, home, say) as turn:
        return _back(turn, home, unsealed, reason)


def take_back(name: str, home: Path, version: str, reason: str, say: Say = lambda text: None) -> str | None:
    """Rolls back from `version` alone, and only if a promotion made it champion; returns the champion after it.

    None if another version is champion by now, or `version` is champion by a rollback itself.  Raises like
    `roll_back`.
    """
    with held(name, home, say) as turn:
        moved = [entry for entry in turn.book.entries if entry.decision.moves]
        if moved and (turn.book.tip is None or turn.book.tip.champion != version or moved[-1].decision is Event.ROLLBACK):
            return None
        return _back(turn, home, False, reason)[1]


def _back(turn: Turn, home: Path, unsealed: bool, reason: str) -> tuple[str, str]:
    """The rollback itself, in the turn of its caller."""
    book, name = turn.book, turn.book.name
    now, stack = ledger.champion(book.entries), _stack(book.entries)
    others = [version for version in reversed(stack) if version != now]
    earlier = next((version for version in others if _is_there(name, version, book)), None)
    if earlier is None:
        before = f"before {f'version {now}' if now else 'now'}{' that is still there' if others else ''}"
        raise NothingBefore(f"{name}: no champion came {before}: there is nothing to roll back to")
    was, registered = now or stack[-1], needed(name, earlier)
    why = f"version {earlier} is champion again, after {was}"
    with opened(registered, servable=True, unsealed=unsealed) as version:  # a damaged version cannot be champion
        why += "" if version.sealed else ", without a seal (--unsealed)"
        draft = Draft(Event.ROLLBACK, earlier, earlier, now, why, _made(registered), reason)
        carry_out(turn, home, draft)
    return was, earlier


def _stack(some: Sequence[Entry]) -> list[str]:
    """All champions up to the newest; a rollback removes those above its version for good."""
    stack: list[str] = []
    for entry in some:
        if entry.decision in (Event.ROLLBACK, Event.ACCEPTED) and entry.version in stack:
            below = stack[:-1] if entry.decision is Event.ROLLBACK else stack
            last = max((place for place, version in enumerate(below) if version == entry.version), default=len(stack) - 1)
            stack = stack[: last + 1]
        elif entry.decision.moves and entry.version:
            stack.append(entry.version)
    return stack
