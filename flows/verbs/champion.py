"""The verbs rollback and history, and the output of promote."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.runtime.terminal import print_json
from params.errors import UserError
from tasks.promote import ledger
from tasks.promote.chain import Entry
from tasks.registry.versions import check_name
from tasks.tracking import connection

if TYPE_CHECKING:
    from tasks.promote.decision import Decision


def show_decision(decision: "Decision") -> None:
    """Prints the decision (a refusal first, with what to type), the verdict of every gate and the scores."""
    console = Console(highlight=False)
    if not decision.promoted:
        for line in (decision.words, *_go_on(decision)):
            console.print(line, markup=False, soft_wrap=True)
    table = Table(box=None, pad_edge=False, show_header=False)
    for result in decision.gates:
        mark = Text("passed", "green") if result.passed else Text("failed", "bold red")
        table.add_row(mark, Text(result.gate), Text(result.words))
    if decision.gates:
        console.print(table)
    if decision.scores is not None:
        console.print(decision.scores.words, markup=False, soft_wrap=True)
    if decision.promoted:
        console.print(decision.words, markup=False, soft_wrap=True)
    if decision.outcome in ("promoted", "unchanged"):
        console.print(
            f"Next: python -m flows forecast {decision.name}@champion --data FILE --out forecasts.parquet", markup=False
        )


def _go_on(decision: "Decision") -> list[str]:
    """What to type after a refusal: what each gate suggests, then the same command; else where to look."""
    failed = [result for result in decision.gates if not result.passed]
    lines = [f"To go on ({result.gate}): {result.way}" for result in failed if result.way]
    if lines and all(result.way for result in failed):
        return [*lines, f"then: {decision.again}   (nothing is trained again for it)"]
    names = ", ".join(result.gate for result in failed if not result.way)
    look = f"python -m flows leaderboard {decision.name}   (the thresholds stand under promotion: in the run file)"
    return [*lines, f"To look into it ({names}): {look}"]


def show_rollback(home: Path, name: str, unsealed: bool = False, reason: str = "") -> None:
    """Restores the previous champion and says so."""
    from tasks.promote.alias import roll_back  # torch

    check_name(name)
    connection.connect(home)
    console = Console(highlight=False)
    before, now = roll_back(name, home, unsealed, reason, lambda text: console.print(text, markup=False, soft_wrap=True))
    console.print(f"{name}: version {now} is champion again; version {before} is not any more.", markup=False)


def accept_ledger(home: Path, name: str, reason: str) -> None:
    """Accepts a ledger with a broken chain as it is, and says so."""
    from tasks.promote.alias import accept  # torch

    check_name(name)
    connection.connect(home)
    entry = accept(name, home, reason)
    outcome = "chains: there was nothing to accept" if entry is None else f"is accepted as it stands by entry {entry.number}"
    Console(highlight=False).print(f"The ledger of {name} {outcome}.", markup=False)


def show_history(home: Path, name: str, moment: str | None, as_json: bool) -> None:
    """Prints who was champion when and why, and any broken chain.  Raises UserError if there was none."""
    check_name(name)
    with connection.answered():
        connection.connect(home)
        book = ledger.read(name)
    some = list(book.entries)
    if moment is not None:
        some = ledger.at(some, _moment(moment))
    if not some and not book.faults:
        when = f" up to {moment}" if moment else ""
        remarks = "".join(f"; {note}" for note in book.notes)
        raise UserError(f"{name}: nothing was decided on it{when}; python -m flows promote {name} does{remarks}")
    if as_json:
        content = {"champion": ledger.champion(some), "entries": [asdict(entry) for entry in some]}
        print_json(content | {"faults": book.faults, "notes": book.notes})
        return
    console = Console(highlight=False)
    console.print(_table(some))
    holder = ledger.champion(some)
    console.print(f"Champion{f' on {moment}' if moment else ''}: {f'version {holder}' if holder else 'nobody'}", markup=False)
    for line in [*book.notes, *([book.broken, ledger.HOW.format(name=name)] if book.faults else [])]:
        console.print(line, markup=False, soft_wrap=True)


def _table(some: Sequence[Entry]) -> Table:
    table = Table(box=None, pad_edge=False)
    for head in ("#", "time (UTC)", "decision", "version", "champion", "who", "why"):
        table.add_column(head, no_wrap=head not in ("why", "who"))
    for entry in some:
        cells = (
            str(entry.number),
            entry.time[:16].replace("T", " "),
            entry.decision,
            entry.version,
            entry.champion or "nobody",
        )
        why = f"{entry.why}\nreason: {entry.reason}" if entry.reason else entry.why
        table.add_row(*(Text(cell) for cell in (*cells, entry.who, why)))
    return table


def _moment(text: str) -> datetime:
    """The end of a day, or a moment; UTC unless a zone is given."""
    with suppress(ValueError):
        return datetime.combine(date.fromisoformat(text), time.max, UTC)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UserError(f"--at {text}: write a date or a time, such as 2026-11-24 or 2026-11-24T06:00") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
