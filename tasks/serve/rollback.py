"""The rollback of a schedule: a champion whose realised skill stays below `promotion.rollback_below` is taken back.

It goes through the ledger like any other, in one decision; a version that became champion by a rollback is
not taken back again.
"""

from dataclasses import dataclass
from pathlib import Path

from params.schema import RunParams
from tasks.promote.alias import NothingBefore, holder, take_back
from tasks.serve.realised import Realised


@dataclass(frozen=True)
class RolledBack:
    """What a rule on realised skill did: `champion` is who it is now, None if nothing moved; `words` why."""

    words: str
    version: str
    champion: str | None = None


def reason_to_roll_back(run: RunParams, realised: Realised) -> str | None:
    """Why the champion should go, in words; None if it should stay, or the rule is off.

    Its newest `rollback_after` origins count, each once every step of its forecast has had its time; all of
    them must be below.  An origin on which the best naive has no error counts as not below.
    """
    below, after = run.promotion.rollback_below, run.promotion.rollback_after
    if below is None or realised.by_cutoff.height < after:
        return None
    some = realised.by_cutoff.tail(after)["skill"].to_list()
    if any(one is None or one >= below for one in some):
        return None
    each = f"each of its newest {after} origins" if after > 1 else "its newest origin"
    spread = f"between {min(some):+.1%} and {max(some):+.1%}" if after > 1 else f"{some[0]:+.1%}"
    return f"realised skill against the best naive below {below:+.1%} on {each}, {spread} (promotion.rollback_below)"


def roll_back_if_worse(run: RunParams, realised: Realised | None, champion: str | None, home: Path) -> RolledBack | None:
    """Takes the champion back if its realised skill says so; None if there was no reason to.

    Killed at any moment, the next run ends the same: an entry that does not count yet is written again, and
    one that does is carried out.
    """
    why = None if realised is None else reason_to_roll_back(run, realised)
    if why is None or champion is None:
        return None
    notes: list[str] = []
    try:
        now = take_back(run.name, home, champion, f"by the schedule: {why}", notes.append)
    except NothingBefore as error:
        return RolledBack(f"version {champion} has a {why}, and stays: {error}", champion)
    if now is None and (now := holder(run.name)) == champion:
        return RolledBack(f"version {champion} has a {why}, and stays: it became champion by a rollback itself", champion)
    if now is None:
        return RolledBack("; ".join([f"version {champion} is champion no more", *notes]), champion)
    return RolledBack(f"version {now} is champion again, after {champion}: {why}", champion, now)
