"""The verb leaderboard, and the output of compare."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from flows.runtime.terminal import print_json
from params.errors import UserError
from tasks.compare.board import Board, Difference, ScoreRow
from tasks.report import leaderboard as report
from tasks.report.told import Told
from tasks.report.verdict import Conclusion, verdict_on
from tasks.tracking import connection, logs, runs

if TYPE_CHECKING:
    from flows.compare import Comparison


def leaderboard_of(name: str, run_id: str | None = None) -> dict[str, Any]:
    """The results of a comparison, by default the last: chosen, naive, verdict, unit, rows, run."""
    run_id = run_id or runs.last_comparison(name).info.run_id
    file = logs.artifact(run_id, "leaderboard.json")
    try:
        leaderboard: dict[str, Any] = json.loads(file.read_bytes())
        board_in(leaderboard)
        return leaderboard | {"run": run_id}
    except (ValueError, LookupError, TypeError, AttributeError, OSError, RecursionError) as error:
        what = f"its leaderboard.json is not what a comparison writes ({type(error).__name__})"
        raise UserError(f"{name}, run {run_id}: {what}; run compare again, with --fresh") from None


def show_leaderboard(home: Path, name: str, as_json: bool) -> None:
    """Prints the last comparison of a name."""
    with connection.answered():
        connection.connect(home)
        leaderboard = leaderboard_of(name)
    if as_json:
        print_json(leaderboard)
    else:
        print_leaderboard(leaderboard)


def print_leaderboard(leaderboard: dict[str, Any]) -> None:
    """Prints the table and what it means in words."""
    _print_board(*board_in(leaderboard))


def board_in(leaderboard: dict[str, Any]) -> tuple[Board, Told]:
    """The rows of a leaderboard and its remarks; one of lagline 0.2 was measured against its best naive."""
    rows, naive = (ScoreRow.read(row) for row in leaderboard["rows"]), leaderboard["naive"]
    board = Board.of(rows, leaderboard.get("baseline", naive), naive)
    gain = Difference(**leaderboard["gain"]) if leaderboard.get("gain") else None
    if "verdict" in leaderboard:
        verdict = Conclusion.read(leaderboard["verdict"])
    else:
        verdict = verdict_on(board, gain, leaderboard.get("choose_by", "mae"), leaderboard["unit"])
    return board, Told.read(verdict, leaderboard)


def _print_board(board: Board, conclusion: Told) -> None:
    console = Console()
    console.print(report.to_table(board, console.width, conclusion.choose_by))
    for line in ("", *conclusion.verdict.lines(console.width), *conclusion.lines()):
        command = line.startswith("  ")  # stays one line, to be copied; so do the verdict's own, which fit
        console.print(line, soft_wrap=command, highlight=False, markup=False)


def show_comparison(comparison: "Comparison") -> None:
    """Prints the end of a comparison: the leaderboard, what was registered, and where to look next."""
    if comparison.compared is None:  # an equal one existed
        print_leaderboard(leaderboard_of(comparison.name, comparison.parent))
    else:
        _print_board(comparison.compared.found.board, comparison.compared.told)
    console = Console(highlight=False)
    registered = comparison.registered
    if registered is None:
        console.print("Nothing has changed since this comparison: nothing was trained or registered (--fresh trains again).")
    else:
        console.print(registered.words(comparison.name), markup=False)
    console.print(f"Look: python -m flows ui   (report.html of run {comparison.parent})", markup=False)
    if registered and registered.version:
        for line in _to_commit():
            console.print(line, markup=False)
        console.print(f"Next: python -m flows promote {comparison.name} --dry-run", markup=False, soft_wrap=True)


def _to_commit() -> list[str]:
    """An early note of what the gate `code` will ask for; empty if a commit holds the code that ran."""
    from tasks.train.identity import revision  # torch
    from tasks.train.revision import named

    stands = revision()
    if stands.commit and not stands.changed:
        return []
    return [f"Note: promote will ask for a commit of {named(stands.changed) or f'this code: {stands.why}'}"]
