"""The verb init: looks at a table, writes a commented run file for it and prints what it found."""

import re
import shlex
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from params.errors import UserError
from params.load import load_run
from tasks.explore.asked import Asked
from tasks.explore.look import MELT, Found, look_at
from tasks.files import RUN_FILES, placed, require_writable


def make_run_file(data: str, out: Path | None, melting: bool, force: bool, asked: Asked) -> None:
    """Writes the run file of a table and prints what was found.

    `out` is by default `<name of the table>.yaml` in the working folder.  Raises UserError if it exists.
    """
    target = out or Path(f"{stem_of(data)}.yaml")
    if target.suffix.lower() not in RUN_FILES:
        raise UserError(f"--out {target}: a run file ends in .yaml")
    require_writable("--out", target, RUN_FILES)
    long = target.with_suffix(".long.parquet")
    for file in (target, *([long] if melting else [])):
        if file.exists() and not force:
            raise UserError(f"{file}: this file is there already; --force writes over it, --out names another")
    findings = look_at(data, target, melting, asked)
    try:
        with placed(target) as partial:
            partial.write_text(findings.text, encoding="utf-8")
            load_run(partial)
    except OSError as error:
        raise UserError(f"{target}: cannot be written ({error.strerror}); --out names another place") from None
    _show(findings, data, target)


def stem_of(data: str) -> str:
    """The name of a table, from its path or address."""
    name = re.split(r"[?#]", data)[0] if "://" in data else data
    return Path(name.removeprefix("env:")).name.split(".")[0].strip("*?[]") or "series"


def _show(findings: Found, data: str, target: Path) -> None:
    console = Console(highlight=False)
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for word, sentence in findings.facts():
        table.add_row(word, Text(sentence))
    console.print(Text(f"{data}"), soft_wrap=True)
    console.print(table)
    if findings.melted is not None and findings.wide is not None:
        console.print(Text(f"This table was {findings.wide.sentence}; written long to {findings.melted}."), soft_wrap=True)
    elif findings.wide is not None:
        console.print(Text(f"This table looks {findings.wide.sentence}: {MELT}."), soft_wrap=True)
    console.print(Text(f"Written: {target.absolute()}"), soft_wrap=True)
    name = shlex.quote(str(target))
    console.print(Text(f"Next: python -m flows validate {name}, then python -m flows compare {name}"), soft_wrap=True)
