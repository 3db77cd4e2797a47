"""The verb watch: how a version does since it was trained; prints it, writes a page, logs and notifies."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.runtime.begin import a_page, a_reference, a_table, open_home

if TYPE_CHECKING:
    from tasks.serve.watch import Watched

MOST = 12  # columns in the table
Watchable = Annotated[
    str,
    typer.Argument(metavar="NAME", callback=a_reference, help="Such as nyc-weather, nyc-weather@challenger or nyc-weather@3."),
]
OtherTable = Annotated[
    str | None,
    typer.Option(
        "--data", metavar="TABLE", callback=lambda data: data and a_table(data), help="Another table than the run's own."
    ),
]
Page = Annotated[Path | None, typer.Option("--out", metavar="FILE", callback=a_page, help="Write the page: .html.")]


def watch_version(reference: Watchable, data: OtherTable = None, out: Page = None) -> None:
    """How a champion does since it was trained: realised error, drift of its inputs, missing series.

    Exit status 1 where something is found, which LAGLINE_NOTIFY_COMMAND is told too. A schedule does the same.
    """
    home = open_home()
    seen = show_watch(home, reference, data, out)
    if seen.findings:
        raise typer.Exit(1)


def show_watch(home: Path, reference: str, data: str | None, out: Path | None) -> "Watched":
    """Looks, and prints the verdict, every finding and the columns that drift by most."""
    from flows.runtime.progress import Board
    from tasks.registry.versions import needed, parse
    from tasks.tracking import connection

    name, which = parse(reference)
    with Board() as board, board.stage(f"watch {name}@{which}"), connection.answered():
        connection.connect(home)
        registered = needed(name, which)

        from tasks.registry.load import opened
        from tasks.serve.watch import own_run, watch
        from tasks.serve.watch_page import page
        from tasks.serve.watched import record, tell

        with opened(registered) as version:
            seen = watch(version, own_run(version), home, data)
        text = page(seen)
        if data is None:  # what another table looks like is no part of the version's history
            record(seen, text, home)
    if out is not None:
        from tasks.files import placed

        with placed(out) as partial:
            partial.write_text(text, encoding="utf-8")
    tell(seen)
    _printed(seen, out)
    return seen


def _printed(seen: "Watched", out: Path | None) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from params.shown import visible
    from tasks.serve.watch import SAID, ranked

    console = Console(highlight=False)
    console.print(seen.verdict, markup=False, soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    for head in ("column", "drifts", "PSI", "usual", "KS", "usual", "jump", "usual"):
        table.add_column(head, justify="left" if head in ("column", "drifts") else "right", no_wrap=head != "column")
    for drift in ranked(seen.since.drifts)[:MOST]:
        when = f"since {seen.since.began(drift)}" if drift.since is not None else "no" if drift.judged else "not judged"
        pairs = ((drift.psi, drift.psi_bar), (drift.distance, drift.distance_bar), (drift.jump, drift.jump_bar))
        numbers = [f"{number:.2g}" for pair in pairs for number in pair] if drift.judged else [""] * 6
        table.add_row(*(Text(cell) for cell in (visible(drift.feature), when, *numbers)))
    if seen.since.rows:
        console.print(table)
    for line in seen.findings[SAID:]:
        console.print(f"- {line}", markup=False, soft_wrap=True)
    if out is not None:
        console.print(f"{out}: the page", markup=False, soft_wrap=True)
