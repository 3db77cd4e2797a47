"""The verbs history and rollback: who is champion, who was, and the one before back."""

import json
from contextlib import suppress
from datetime import UTC, date, datetime, time
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from params.errors import UserError
from tasks.promote import ledger
from tasks.registry.load import check_name
from tasks.tracking import connection


def show_rollback(home: Path, name: str) -> None:
    """Puts the champion before back, and says so."""
    from tasks.promote import decision as promotion  # torch, which the history needs not

    check_name(name)
    connection.connect(home)
    before, now = promotion.roll_back(name, home)
    Console(highlight=False).print(f"{name}: version {now} is champion again; version {before} is not any more.", markup=False)


def show_history(home: Path, name: str, moment: str | None, as_json: bool) -> None:
    """Who was champion when, and why.  Raises UserError where nothing was ever decided."""
    check_name(name)
    connection.connect(home)
    some = ledger.entries(name)
    if moment is not None:
        some = ledger.at(some, _moment(moment))
    if not some:
        when = f" up to {moment}" if moment else ""
        raise UserError(f"{name}: nothing was decided on it{when}; python -m flows promote {name} does")
    if as_json:
        print(json.dumps({"champion": ledger.champion(some), "entries": [entry.to_dict() for entry in some]}, indent=1))
        return
    console = Console(highlight=False)
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
        table.add_row(*(Text(cell) for cell in (*cells, entry.who, entry.why)))
    console.print(table)
    holder = ledger.champion(some)
    console.print(f"Champion{f' on {moment}' if moment else ''}: {f'version {holder}' if holder else 'nobody'}", markup=False)


def _moment(text: str) -> datetime:
    """The end of a day, or a moment, UTC where nothing is said."""
    with suppress(ValueError):
        return datetime.combine(date.fromisoformat(text), time.max, UTC)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise UserError(f"--at {text}: write a date or a time, such as 2026-11-24 or 2026-11-24T06:00") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
