"""The entries of a ledger and the hash chain between them; touches no store.

An entry carries the digest of all it says, including the previous entry's digest.  The first entry with one
also carries the digest of all entries before it, which lagline 0.2 and older wrote without; so does one that
accepts a broken chain.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from itertools import pairwise
from typing import NamedTuple

KIND = "promotion"  # the tag `kind` of a run that is an entry
COUNT = re.compile(r"[1-9][0-9]{0,8}")
MOST = 999_999  # a higher number without a digest is not an entry of ours
MOST_MARKS = 200  # marks that fit into a tag


class Event(StrEnum):
    """What an entry records: a decision on a version, a deleted champion, or an accepted broken ledger."""

    PROMOTED = "promoted"
    REFUSED = "refused"
    ROLLBACK = "rollback"
    GONE = "gone"
    ACCEPTED = "accepted"

    @property
    def moves(self) -> bool:
        """Whether its version is champion afterwards."""
        return self in (Event.PROMOTED, Event.ROLLBACK, Event.ACCEPTED)


class Head(NamedTuple):
    """The newest entry's number and digest, as noted outside the ledger."""

    number: int
    digest: str


@dataclass(frozen=True)
class Entry:
    """A decision about `version`; `champion`: the champion after it (None: nobody).

    `created`: when that version was made, in milliseconds: a registry that lost a name counts from 1 again.
    `files`: the digest of its files.  `previous` and `digest`: the chain, both empty in an entry of lagline
    0.2 and older; `stood`: if `previous` covers all earlier entries, what tells which of them changed.
    """

    number: int
    decision: Event
    version: str
    champion: str | None
    before: str | None
    why: str
    who: str
    time: str
    run_id: str
    reason: str = ""
    created: int | None = None
    files: str = ""
    previous: str = ""
    digest: str = ""
    stood: str = ""

    @classmethod
    def of(cls, tags: Mapping[str, str], run_id: str) -> "Entry | None":
        """The entry in the tags of a run, or None if they hold none."""
        versions = [tags.get(key) for key in ("version", "champion", "before")]
        decision, created = tags.get("decision", ""), tags.get("created", "")
        if tags.get("kind") != KIND or decision not in set(Event) or not COUNT.fullmatch(tags.get("number", "")):
            return None
        if not all(version is not None and (version == "" or COUNT.fullmatch(version)) for version in versions):
            return None
        if not {"why", "who", "time"} <= set(tags) or not _is_moment(tags["time"]):
            return None
        if not (tags["version"] or decision == Event.ACCEPTED) or (created and not re.fullmatch(r"[0-9]{1,13}", created)):
            return None
        entry = cls(
            int(tags["number"]), Event(decision), tags["version"], tags["champion"] or None, tags["before"] or None,
            tags["why"], tags["who"], tags["time"], run_id, tags.get("reason", ""), int(created) if created else None,
            tags.get("files", ""), tags.get("previous", ""), tags.get("digest", ""), tags.get("stood", ""),
        )  # fmt: skip
        return entry if entry.number <= MOST or entry.digest == entry.computed() else None

    def tags(self) -> dict[str, str]:
        """The entry as tags of a run, with its digest."""
        texts = {key: "" if value is None else str(value) for key, value in self._content().items()}
        return {"kind": KIND, **texts, "digest": self.computed(), "stood": self.stood}

    def computed(self) -> str:
        """The digest of all it says."""
        return digest_of(self._content())

    def _content(self) -> dict[str, str | int | None]:
        keys = ("number", "decision", "version", "champion", "before", "why", "who", "time", "reason", "created", "files")
        return {key: getattr(self, key) for key in (*keys, "previous")}


def digest_of(content: object) -> str:
    """The sha256 of a value as canonical JSON."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _is_moment(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def digest_of_all(some: Sequence[Entry]) -> str:
    """The digest of entries as they stand, valid or not."""
    return digest_of(sorted(entry.computed() for entry in some))


def chained(entry: Entry, some: Sequence[Entry]) -> Entry:
    """A new entry, chained to those before it (`some`)."""
    links = [link for link in some if link.digest]
    if links and entry.decision is not Event.ACCEPTED:
        entry = replace(entry, previous=max(links, key=lambda link: link.number).computed())
    else:
        entry = replace(entry, previous=digest_of_all(some), stood=marks(some))
    return replace(entry, digest=entry.computed())


def faults(some: Sequence[Entry], deleted: Sequence[Entry], head: Head | None) -> list[str]:
    """What is wrong with the chain, one line per entry concerned; empty if it is sound.

    `deleted`: entries in the trash.
    """
    accepted = max((entry.number for entry in some if entry.decision is Event.ACCEPTED), default=0)
    root = accepted or min((entry.number for entry in some if entry.digest), default=0)
    problems = {
        entry.number: f"entry {entry.number} was deleted in MLflow (run {entry.run_id}); it can be restored there"
        for entry in deleted
        if entry.number > accepted
    }
    here: dict[int, list[Entry]] = {}
    for entry in some:
        here.setdefault(entry.number, []).append(entry)
    known = {number for number in (*here, *problems) if number >= accepted}
    last = max([*known, head.number if head else 0], default=0)
    for before, number in pairwise(sorted({max(accepted - 1, 0), *known, last + 1})):
        if number > before + 1:
            gap = f"entry {before + 1} is" if number == before + 2 else f"entries {before + 1} to {number - 1} are"
            problems[before + 1] = f"{gap} missing"
        problem = (
            _wrong(here[number], here.get(number - 1, []), root, head) if number in here and number not in problems else None
        )
        if problem:
            problems[number] = f"entry {number} {problem}"
    if root and root not in problems and not any(number < root for number in problems):
        problems |= _changed_before(here[root][0], [entry for entry in some if entry.number < root])
    return [problem for _, problem in sorted(problems.items())]


def _wrong(here: Sequence[Entry], before: Sequence[Entry], root: int, head: Head | None) -> str | None:
    """What is wrong with the entry of a number, or its link to the one before; None if nothing is."""
    if len(here) != 1:
        return f"is there {len(here)} times (runs {', '.join(entry.run_id for entry in here)})"
    (entry,) = here
    if not entry.digest:
        unchained = root and entry.number > root
        return "names no entry before it: it was made by hand, or by lagline 0.2 or older" if unchained else None
    if entry.digest != entry.computed() or (head and head.number == entry.number and head.digest != entry.digest):
        return "does not say what it said when it was written"
    if entry.number > root and len(before) == 1 and before[0].digest == before[0].computed() != entry.previous:
        return f"was written after another entry {entry.number - 1} than today's"
    return None


def _changed_before(root: Entry, before: Sequence[Entry]) -> dict[int, str]:
    """What differs among the entries covered by a first entry's digest."""
    if root.previous == digest_of_all(before):
        return {}
    apart = {mark.partition(":")[0] for mark in {*root.stood.split()} ^ {*marks(before).split()}}
    numbers = [int(mark) for mark in apart if COUNT.fullmatch(mark)] if root.stood else []
    if not numbers:
        problem = f"entry {root.number} was written after other entries than today's: one was changed, added or removed"
        return {root.number: problem}
    since = f"is not as it was when entry {root.number} was written: changed, added or removed since"
    return {number: f"entry {number} {since}" for number in numbers}


def marks(some: Sequence[Entry]) -> str:
    """Entries in just enough letters to tell which one changed; empty if there are too many."""
    return " ".join(sorted(f"{entry.number}:{entry.computed()[:12]}" for entry in some)) if len(some) <= MOST_MARKS else ""
