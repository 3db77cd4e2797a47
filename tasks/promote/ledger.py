"""The ledger of a name: one entry per decision on its champion, numbered, chained and never changed.

An entry is an MLflow run in the experiment NAME.promotions.  It counts once it is FINISHED; an interrupted
one does not, and the next decision ends it as KILLED.  The registered model notes the newest entry (tag
`lagline.ledger`), so that its loss is noticed.  The caller holds the lock of the name.  If that lock is local
to one home, two machines are told apart by the entry numbers they take.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from params.errors import UserError
from params.section import LEDGER
from params.shown import shown
from tasks import interrupt
from tasks.locks import me
from tasks.promote import chain
from tasks.promote.chain import Entry, Event, Head
from tasks.tracking import connection, runs
from tasks.tracking.logs import NOTE

if TYPE_CHECKING:
    from mlflow.entities import Experiment

HEAD = "lagline.ledger"  # tag of the registered model: number and digest of the newest entry
LONGEST = 5000  # letters of a tag
HOW = """Until then nothing is decided, and the alias champion stays where it is.  Look at it: python -m flows history {name}
Once you know why, accept it as it stands, with the champion of now: python -m flows history {name} --accept --reason \"WHY\""""


class Broken(UserError):
    """The ledger's chain is broken: nothing is decided and the alias stays until somebody has looked."""


class Conflict(UserError):
    """Another machine decided at the same time: nothing is decided here."""


@dataclass(frozen=True)
class Ledger:
    """All entries that count, oldest first; runs that are not (`foreign`); a line per fault of the chain.

    `trashed`: whether the experiment is in MLflow's trash.  `deleted`: single entries in the trash.
    """

    name: str
    entries: tuple[Entry, ...] = ()
    foreign: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    trashed: bool = False
    deleted: tuple[Entry, ...] = ()
    head: Head | None = None

    @property
    def tip(self) -> Entry | None:
        """The newest entry."""
        return self.entries[-1] if self.entries else None

    @property
    def notes(self) -> list[str]:
        """What people should know without it stopping a decision."""
        notes = []
        if self.trashed:
            notes.append(f"the experiment {self.name}{LEDGER} lies in MLflow's trash; the next decision takes it out again")
        if self.foreign:
            some = ", ".join(self.foreign[:5]) + (", ..." if len(self.foreign) > 5 else "")
            what = "1 run in it is" if len(self.foreign) == 1 else f"{len(self.foreign)} runs in it are"
            notes.append(f"experiment {self.name}{LEDGER}: {what} no entry of the ledger and ignored ({some})")
        return notes

    @property
    def broken(self) -> str:
        """The faults of the chain, in words."""
        return "\n".join([f"the ledger of {self.name} (experiment {self.name}{LEDGER} in MLflow) does not chain:",
                          *(f"  {fault}" for fault in self.faults)])  # fmt: skip


@dataclass(frozen=True)
class Draft:
    """The content of a new entry; `champion`: after it; `created`: when `version` was made."""

    decision: Event
    version: str
    champion: str | None
    before: str | None
    why: str
    created: int | None = None
    reason: str = ""


@dataclass(frozen=True)
class Opened:
    """An entry that is written but does not count yet."""

    name: str
    entry: Entry

    @property
    def run_id(self) -> str:
        """Its run."""
        return self.entry.run_id


def read(name: str) -> Ledger:
    """The ledger as it stands, sound or not."""
    from mlflow.entities import ViewType

    client, head, experiment = connection.client(), _head(name), _experiment(name)
    if experiment is None:
        return Ledger(name, faults=tuple(chain.faults([], [], head)), head=head)
    trashed = experiment.lifecycle_stage == "deleted"
    there = list(
        connection.every(
            lambda token: client.search_runs([experiment.experiment_id], "", ViewType.ALL, max_results=1000, page_token=token)
        )
    )
    entries, deleted, foreign = list[Entry](), list[Entry](), list[str]()
    for run in there:
        entry, in_trash = Entry.of(run.data.tags, run.info.run_id), run.info.lifecycle_stage == "deleted"
        if entry is not None and run.info.status == "FINISHED":
            (deleted if in_trash and not trashed else entries).append(entry)
        elif not (in_trash or (run.data.tags.get("kind") == chain.KIND and run.info.status != "FINISHED")):
            foreign.append(run.info.run_id)
    entries.sort(key=lambda entry: (entry.number, entry.time))
    faults = chain.faults(entries, deleted, head)
    return Ledger(name, tuple(entries), tuple(sorted(foreign)), tuple(faults), trashed, tuple(deleted), head)


def entries(name: str) -> list[Entry]:
    """All entries that count, oldest first."""
    return list(read(name).entries)


def sound(name: str) -> Ledger:
    """The ledger.  Raises Broken if its chain is broken."""
    book = read(name)
    if book.faults:
        raise Broken(f"{book.broken}\n{HOW.format(name=name)}")
    return book


def champion(some: list[Entry] | tuple[Entry, ...]) -> str | None:
    """The champion after these entries."""
    return some[-1].champion if some else None


def at(some: list[Entry], moment: datetime) -> list[Entry]:
    """The entries up to a given time."""
    return [entry for entry in some if datetime.fromisoformat(entry.time) <= moment]


def ready(name: str) -> bool:
    """Takes the experiment out of MLflow's trash before a decision, or its entries would not be counted.

    Returns whether it was there.
    """
    experiment = _experiment(name)
    if experiment is None or experiment.lifecycle_stage != "deleted":
        return False
    connection.client().restore_experiment(experiment.experiment_id)
    return True


def clear(name: str) -> int:
    """Ends interrupted entries; returns how many."""
    client, experiment = connection.client(), _experiment(name)
    cut = f"attributes.status = 'RUNNING' and tags.kind = '{chain.KIND}'"
    some = client.search_runs([experiment.experiment_id], cut) if experiment else []
    for run in some:
        client.set_terminated(run.info.run_id, "KILLED")
    return len(some)


def open_entry(book: Ledger, home: Path, draft: Draft, files: Mapping[str, str] | None = None) -> Opened:
    """Writes the next entry completely, but does not let it count yet.  `files`: name -> text.

    `book`: the ledger that the decision was based on.  Raises Conflict if it has grown since.
    """
    client, experiment = connection.client(), runs.experiment(f"{book.name}{LEDGER}", home)
    if read(book.name).entries != book.entries:
        raise _conflict(book.name)
    noted = book.head.number if book.head and book.head.number <= chain.MOST else 0
    last = max([noted, *(entry.number for entry in (*book.entries, *book.deleted))])
    entry = chain.chained(
        Entry(
            last + 1,
            draft.decision, draft.version, draft.champion, draft.before, _line(draft.why)[:LONGEST],
            _line(me())[:200], datetime.now(UTC).isoformat(timespec="microseconds"), "",
            _line(draft.reason)[:LONGEST], draft.created, chain.digest_of(dict(files or {})),
        ),
        book.entries,
    )  # fmt: skip
    note = f"{draft.decision}: version {draft.version}. {entry.why}"[:LONGEST]
    made = client.create_run(
        experiment, run_name=f"{entry.number} {draft.decision} {draft.version}".strip(), tags={**entry.tags(), NOTE: note}
    )
    for file, content in (files or {}).items():
        client.log_text(made.info.run_id, content, file)
    return Opened(book.name, replace(entry, run_id=made.info.run_id))


def close_entry(opened: Opened) -> Entry:
    """Makes the entry count.  Raises KeyboardInterrupt if a Ctrl-C arrived on the way here.

    Raises Conflict, and the entry does not count, if another machine took its number.  Of two at the same
    time both may fail, but never both count.
    """
    interrupt.check()
    if _rivals(opened):
        raise _conflict(opened.name)
    runs.finish(opened.run_id)
    if _rivals(opened):
        runs.finish(opened.run_id, "KILLED")
        raise _conflict(opened.name)
    note_down(opened.name, opened.entry)
    return opened.entry


def note_down(name: str, entry: Entry | None) -> None:
    """Notes the newest entry in the registered model, if there is one."""
    from mlflow.exceptions import MlflowException

    if entry is None or not entry.digest:
        return
    try:
        connection.client().set_registered_model_tag(name, HEAD, f"{entry.number} {entry.digest}")
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise


def _head(name: str) -> Head | None:
    """The newest entry noted in the registered model, if any."""
    from mlflow.exceptions import MlflowException

    try:
        text = connection.client().get_registered_model(name).tags.get(HEAD, "")
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None
    number, _, digest = text.partition(" ")
    return Head(int(number), digest) if chain.COUNT.fullmatch(number) else None


def _experiment(name: str) -> "Experiment | None":
    experiment: Experiment | None = connection.client().get_experiment_by_name(f"{name}{LEDGER}")
    return experiment


def _rivals(opened: Opened) -> bool:
    """Whether another entry with the same number counts."""
    experiment = _experiment(opened.name)
    clause = f"tags.number = '{opened.entry.number}' and tags.kind = '{chain.KIND}' and attributes.status = 'FINISHED'"
    some = connection.client().search_runs([experiment.experiment_id], clause) if experiment else []
    return any(run.info.run_id != opened.run_id for run in some)


def _conflict(name: str) -> Conflict:
    return Conflict(
        f"{name}: another decision was made meanwhile, from another machine, so nothing was decided here: look at it with "
        f"`python -m flows history {name}`, then start the same command again"
    )


def _line(text: str) -> str:
    """A text made fit for a tag, a table or a log; idempotent."""
    return shown(text).replace("\n", "\\n").replace("\t", "\\t")
