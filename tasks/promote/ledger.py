"""The ledger of a name: one entry for each decision on its champion, numbered and never changed.

An entry is an MLflow run in the experiment NAME.promotions.  It counts once it is FINISHED: one that was cut off does not, and
is ended as KILLED by whoever comes next.  The caller holds the lock of the name.
"""

import getpass
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from tasks import interrupt
from tasks.tracking import connection, runs
from tasks.tracking.logs import NOTE

if TYPE_CHECKING:
    from mlflow.entities import Run


class Event(StrEnum):
    """What an entry says happened: a decision on a version, or that the champion was deleted."""

    PROMOTED = "promoted"
    REFUSED = "refused"
    ROLLBACK = "rollback"
    GONE = "gone"

    @property
    def moves(self) -> bool:
        """Whether its version is champion afterwards."""
        return self in (Event.PROMOTED, Event.ROLLBACK)


@dataclass(frozen=True)
class Entry:
    """A decision: `version` is what it was about, `champion` who is champion after it (None: nobody)."""

    number: int
    decision: Event
    version: str
    champion: str | None
    before: str | None
    why: str
    who: str
    time: str
    run_id: str


def experiment(name: str, home: Path) -> str:
    """The experiment of a name's ledger, made where it is missing."""
    return runs.experiment(f"{name}.promotions", home)


def entries(name: str) -> list[Entry]:
    """All entries that count, oldest first."""
    client = connection.client()
    found = client.get_experiment_by_name(f"{name}.promotions")
    if found is None:
        return []
    ended = "attributes.status = 'FINISHED'"
    ended_runs = connection.every(
        lambda token: client.search_runs([found.experiment_id], ended, max_results=1000, page_token=token)
    )
    return sorted((_entry(run) for run in ended_runs), key=lambda entry: entry.number)


def _entry(run: "Run") -> Entry:
    tags = run.data.tags
    return Entry(
        int(tags["number"]), Event(tags["decision"]), tags["version"], tags["champion"] or None, tags["before"] or None,
        tags["why"], tags["who"], tags["time"], run.info.run_id,
    )  # fmt: skip


def champion(some: list[Entry]) -> str | None:
    """Who is champion after these entries."""
    return some[-1].champion if some else None


def at(some: list[Entry], moment: datetime) -> list[Entry]:
    """The entries up to a moment."""
    return [entry for entry in some if datetime.fromisoformat(entry.time) <= moment]


def open_entry(
    name: str, home: Path, decision: Event, version: str, before: str | None, why: str, files: Mapping[str, str]
) -> str:
    """Writes the next entry whole, but does not let it count yet; returns its run.  `files`: name -> text."""
    there = entries(name)
    after = version if decision.moves else before
    tags = {
        "kind": "promotion",
        "number": str(there[-1].number + 1 if there else 1),
        "decision": str(decision),
        "version": version,
        "champion": after or "",
        "before": before or "",
        "why": why[:5000],
        "who": f"{_user()}@{socket.gethostname()}",
        "time": datetime.now(UTC).isoformat(timespec="microseconds"),
        NOTE: f"{decision}: version {version}. {why}"[:5000],
    }
    client = connection.client()
    run_id: str = client.create_run(
        experiment(name, home), run_name=f"{tags['number']} {decision} {version}", tags=tags
    ).info.run_id
    for file, content in files.items():
        client.log_text(run_id, content, file)
    return run_id


def close_entry(run_id: str) -> None:
    """From here on the entry counts.  Raises KeyboardInterrupt where a Ctrl-C was lost on the way here."""
    interrupt.check()
    runs.finish(run_id)


def clear(name: str) -> int:
    """Ends entries that were cut off; returns how many."""
    client = connection.client()
    found = client.get_experiment_by_name(f"{name}.promotions")
    cut = client.search_runs([found.experiment_id], "attributes.status = 'RUNNING'") if found else []
    for run in cut:
        client.set_terminated(run.info.run_id, "KILLED")
    return len(cut)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container may have no name for its user
        return str(os.getuid())
