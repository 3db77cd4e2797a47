"""The verbs variants and leaderboard, and what compare ends with: tables of variants and of finished comparisons."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.console import Console
from rich.table import Table

from params.load import load_plan, variant_names, variants_setting
from tasks.report import leaderboard as report
from tasks.tracking import connection, logs, runs

if TYPE_CHECKING:
    from flows.compare import Comparison

DEFAULT = Path("params/nyc_weather.yaml")


class Listed(NamedTuple):
    """A variant as `variants` shows it."""

    name: str
    family: str
    parameters: int
    receptive_field: int
    about: str


def show_variants(as_json: bool) -> None:
    """Every variant with its family, parameters and measured receptive field on the shipped data's windows, and its purpose."""
    from tasks.train.check import check_variant, measured_field  # torch

    plan = load_plan(DEFAULT, [variants_setting(variant_names())])
    windows = plan.run.windows.window_params()
    rows = [
        Listed(name, one.family, check_variant(one, windows), measured_field(one, windows), one.about)
        for name, one in plan.variants.items()
    ]
    if as_json:
        print(json.dumps([row._asdict() for row in rows], indent=1))
        return
    title = f"Variants, sized for {DEFAULT}: lookback {windows.lookback}, horizon {windows.horizon} (field: in samples)"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for column, side in (("name", "left"), ("family", "left"), ("parameters", "right"), ("field", "right")):
        table.add_column(column, justify=side, no_wrap=True)  # type: ignore[arg-type]
    table.add_column("what it is for")
    for row in rows:
        table.add_row(row.name, row.family, f"{row.parameters:,}", str(row.receptive_field), row.about)
    Console().print(table)


def leaderboard_of(name: str, run_id: str | None = None) -> dict[str, Any]:
    """What a comparison (the last finished one of a name) found: chosen, naive, sentence, unit, rows, and its run."""
    run_id = run_id or runs.last_comparison(name).info.run_id
    facts: dict[str, Any] = json.loads(logs.artifact(run_id, "leaderboard.json").read_text())
    return facts | {"run": run_id}


def show_leaderboard(home: Path, name: str, as_json: bool) -> None:
    """Prints the last comparison of a name."""
    connection.connect(home)
    facts = leaderboard_of(name)
    if as_json:
        print(json.dumps(facts, indent=1))
    else:
        print_leaderboard(facts)


def print_leaderboard(facts: dict[str, Any]) -> None:
    """The table, what it means in a sentence, and where to look."""
    console = Console()
    board = report.leaderboard(facts["rows"])
    console.print(report.to_table(board, console.width))
    told = report.sentence(board, facts["unit"], facts.get("gain"), facts.get("choose_by", "mae"))
    console.print(told, soft_wrap=True, highlight=False)


def show_comparison(found: "Comparison") -> None:
    """What a comparison ends with: the leaderboard, what was registered, and where to look next."""
    print_leaderboard(leaderboard_of(found.name, found.parent))
    console = Console(highlight=False, soft_wrap=True)
    registered = found.registered or {}
    if found.unchanged:
        console.print("Nothing has changed since this comparison: nothing was trained or registered (--fresh trains anew).")
    elif registered["version"] is None:
        why = registered.get("why", "no variant beats the best naive forecast on validation")
        console.print(f"Nothing was registered: {why}.", markup=False)
    elif registered["new"]:
        console.print(f"Registered as {found.name} version {registered['version']}, alias challenger.")
    else:
        console.print(f"The same fit is {found.name} version {registered['version']} already: no new version.")
    console.print(f"Look: python -m flows ui   (the report of run {found.parent}: report.html)", markup=False)
    if registered.get("version"):
        console.print(f"Next: python -m flows promote {found.name} --dry-run", markup=False)
