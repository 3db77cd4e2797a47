"""The alias champion of a name: one decision at a time, repaired where it differs from the ledger, moved, and rolled back.

The lock of a name is freed by the kernel however its holder ends.  The ledger is the truth: an alias that differs from it (a
kill between the two writes) is set right before the next decision.  Any error leaves the alias as it is.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from params.errors import UserError
from tasks.locks import lock
from tasks.promote import ledger
from tasks.promote.ledger import Entry, Event
from tasks.registry.load import opened
from tasks.registry.versions import CHALLENGER, CHAMPION, check_name, find, needed
from tasks.tracking import connection


@contextmanager
def held(name: str, home: Path) -> Iterator[None]:
    """One decision on a name at a time; repairs what a killed one left.

    Raises Held where another is at it, UserError for what is no name, Unavailable where the tracking server does not answer.
    """
    check_name(name)
    told = f"the champion of {name} is who it was, or who the ledger says: start the same command again once it is back"
    with lock(home, f"promote-{name}", wait=False), connection.answered(told):
        ledger.clear(name)
        repair(name, home)
        yield


def repair(name: str, home: Path) -> str | None:
    """Sets the alias to what the ledger says; returns what it did, if anything.

    An alias that somebody set by hand, without a ledger, stays.  A champion that was deleted is none, and an entry says so.
    """
    there = ledger.entries(name)
    if not there:
        return None
    wanted, now = ledger.champion(there), holder(name)
    if wanted == now:
        return None
    if wanted is not None and find(name, wanted) is None:
        ledger.close_entry(ledger.open_entry(name, home, Event.GONE, wanted, None, f"version {wanted} was deleted", {}))
        wanted = None
        if now is None:
            return f"version {ledger.champion(there)} was champion and was deleted: there is none now"
    set_alias(name, wanted)
    return f"the alias champion was {now or 'nobody'} and the ledger says {wanted or 'nobody'}: mended"


def holder(name: str, alias: str = CHAMPION) -> str | None:
    """The version that holds an alias, or None."""
    found = find(name, alias)
    return None if found is None else str(found.version)


def undecided(name: str) -> bool:
    """Whether the challenger waits for a decision: it is not champion, and no entry is about it."""
    version, there = holder(name, CHALLENGER), ledger.entries(name)
    return version is not None and version != ledger.champion(there) and all(entry.version != version for entry in there)


def set_alias(name: str, version: str | None) -> None:
    """Moves the alias and reads it back.  Raises RuntimeError where it is not there."""
    client = connection.client()
    if version is None:
        client.delete_registered_model_alias(name, CHAMPION)
    else:
        client.set_registered_model_alias(name, CHAMPION, version)
    found = holder(name)
    if found != version:
        raise RuntimeError(f"{name}: the alias champion was set to {version} and is {found}")


def roll_back(name: str, home: Path, unsealed: bool = False) -> tuple[str, str]:
    """Makes the champion before the present one champion again; returns (who was, who is).

    Versions that were deleted are skipped.  Raises UserError where none came before that is still there, or it is damaged, or
    has no seal (unless `unsealed`).
    """
    with held(name, home):
        there = ledger.entries(name)
        now, stack = ledger.champion(there), _stack(there)
        others = [version for version in reversed(stack) if version != now]
        earlier = next((version for version in others if find(name, version)), None)
        if earlier is None:
            before = f"before {f'version {now}' if now else 'now'}{' that is still there' if others else ''}"
            raise UserError(f"{name}: no champion came {before}: there is nothing to roll back to")
        was = now or stack[-1]
        why = f"version {earlier} is champion again, after {was}"
        with opened(needed(name, earlier), servable=True, unsealed=unsealed) as version:  # a damaged one is no champion
            why += "" if version.sealed else ", without a seal (--unsealed)"
            ledger.close_entry(ledger.open_entry(name, home, Event.ROLLBACK, earlier, now, why, {}))
            set_alias(name, earlier)
        return was, earlier


def _stack(some: Sequence[Entry]) -> list[str]:
    """All champions up to the newest: a rollback takes those above its version away, and they do not come back."""
    stack: list[str] = []
    for entry in some:
        if entry.decision is Event.ROLLBACK:
            stack.pop()
            while stack[-1] != entry.version:
                stack.pop()
        elif entry.decision is Event.PROMOTED:
            stack.append(entry.version)
    return stack
