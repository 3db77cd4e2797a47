"""Promote: hold the challenger against the champion on origins that neither has seen; move the alias if every gate is passed.

Trigger: by hand (`python -m flows promote NAME`), or after `compare` in `retrain`.  Needs a Prefect API.  The other verbs on
the champion, rollback and history, need none.
"""

from typing import Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.runtime.progress import Board
from flows.runtime.state import ready
from tasks.promote.task import promote_challenger
from tasks.registry.load import check_name
from tasks.tracking import connection
from tasks.train.device import choose_device

WORDS = {
    "promoted": "Promoted: {name} version {version} is champion (entry {number} of the ledger).",
    "refused": "Refused: {champion} (entry {number} of the ledger).",
    "unchanged": "{name} version {version} is champion already: nothing was decided.",
    "would promote": "It would be promoted; this was a dry run, and nothing moved.",
    "would refuse": "It would be refused; this was a dry run, and nothing moved.",
}


@flow(name="promote", flow_run_name="promote {name}", validate_parameters=False)
def promote(
    name: str,
    number: str | None = None,
    dry_run: bool = False,
    allow_dirty: bool = False,
    rules: dict[str, Any] | None = None,
    minutes: float | None = None,
) -> dict[str, Any]:
    """Returns the decision, every gate's verdict and both scores.

    `rules`: the thresholds, by default the challenger's own; `minutes` in place of their `timeout_minutes`.
    """
    check_name(name)
    home = ready()
    with Board() as board, board.stage("judge the challenger"):
        connection.connect(home)
        found = promote_challenger(name, home, choose_device(), number, dry_run, allow_dirty, board.say, rules, minutes)
    create_markdown_artifact(_markdown(name, found), key="promotion", description=_sentence(name, found))
    return found


def _sentence(name: str, found: dict[str, Any]) -> str:
    holder = f"version {found['champion']} stays champion" if found["champion"] else "there is no champion"
    return WORDS[found["decision"]].format(**found | {"name": name, "champion": holder})


def _markdown(name: str, found: dict[str, Any]) -> str:
    rows = [f"- {'passed' if one['passed'] else '**failed**'}: {one['gate']}: {one['words']}" for one in found["verdicts"]]
    return "\n".join([_sentence(name, found), "", *rows])


def show_decision(name: str, found: dict[str, Any]) -> None:
    """The verdict of every gate, the scores, and what was decided."""
    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False, show_header=False)
    for one in found["verdicts"]:
        mark = Text("passed", "green") if one["passed"] else Text("failed", "bold red")
        table.add_row(mark, Text(one["gate"]), Text(one["words"]))
    if found["verdicts"]:
        console.print(table)
    for line in _scores(found["scores"]):
        console.print(line, markup=False, soft_wrap=True)
    console.print(_sentence(name, found), markup=False, soft_wrap=True)
    if found["decision"] in ("promoted", "unchanged"):
        console.print(f"Next: python -m flows forecast {name}@champion --data FILE --out forecasts.parquet", markup=False)


def _scores(found: dict[str, Any]) -> list[str]:
    if not found:
        return []
    names = [name.removesuffix("_mae") for name in found if name.endswith("_mae") and found[name] is not None]
    told = ", ".join(f"{name} {found[f'{name}_mae']:.4g}" for name in names)
    return [f"MAE on {found['origins']} unseen origins of {found['series']} series: {told}"]
