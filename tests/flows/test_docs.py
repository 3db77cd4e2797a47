"""README.md and docs: the commands and the Python that are not marked `no-run`, run in the order of the pages.

All in one folder with one state folder, as a reader would: a table of one's own, from `init` to a champion in a
second home. What makes them quick is said in QUICK and changes no word of a page.
"""

import shutil
import subprocess
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from random import Random

import pytest

from tests.docs.blocks import Block, all_blocks

pytestmark = pytest.mark.story
RUN = [block for block in all_blocks() if block.language in ("bash", "console", "python") and not block.no_run + block.run_by]
QUICK = {  # verb -> what is added to its command line
    "compare": (
        *("--variants", "ridge,lstm", "--set", "training.max_epochs=1", "--set", "training.refit=null"),
        *("--set", "evaluation.baselines=[last_value, seasonal_naive]", "--set", "evaluation.stride=3"),
    ),
    "promote": ("--allow-dirty", "--allow-chance"),  # the table is small, and the checkout a developer's
}
ENDS = {"rollback": 2}  # verb -> exit status other than 0: the first champion has none before it


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tables that the pages speak of."""
    place = tmp_path_factory.mktemp("pages")
    draw, first = Random(3), date(2024, 1, 1)
    days = [first + timedelta(days=number) for number in range(300)]
    rows = [f"{store},{day},{50 + 20 * (day.weekday() == 5) + draw.gauss(0, 3):.2f}" for store in "ab" for day in days]
    for name in ("sales.csv", "today.csv"):
        (place / name).write_text("\n".join(["store,date,sales", *rows]) + "\n", encoding="utf-8")
    return place


@pytest.fixture(scope="module")
def homes(new_home: Callable[[Path], Path], folder: Path) -> tuple[Path, Path]:
    """The state folder of all commands, and that of another machine, where `import` runs."""
    return new_home(folder / ".lagline"), new_home(folder / "elsewhere")


def test_commands_and_python_of_the_pages_run(
    warm: Callable[..., subprocess.CompletedProcess[str]],
    folder: Path,
    homes: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(folder)
    ran = []
    for block in RUN:
        if block.language == "python":
            take_what_it_reads(block, folder, homes[0])
            exec(compile(block.text, f"{block.page}:{block.line}", "exec"), {})  # ours, word for word
            continue
        for words in block.commands:
            assert words[:3] == ["python", "-m", "flows"], f"{block.page}:{block.line}: how is {words} run? Else mark it no-run"
            verb, *rest = words[3:]
            home = homes[verb == "import"]
            done = warm(verb, *rest, *QUICK.get(verb, ()), home=home, cwd=folder)
            assert done.returncode == ENDS.get(verb, 0), f"{block.page}:{block.line}: {done.stdout}{done.stderr}"
            ran.append(verb)
    assert {"init", "validate", "compare", "forecast", "promote", "rollback", "export", "import"} <= {*ran}
    assert (folder / "next.csv").read_text().startswith("store,date,cutoff,yhat,")
    assert "<html" in (folder / "next.html").read_text()[:500]


def take_what_it_reads(block: Block, folder: Path, home: Path) -> None:
    """Puts the files that a block of Python names next to it: those that the comparison wrote."""
    for found in home.rglob("forecasts.parquet"):
        if found.name in block.text:
            shutil.copy(found, folder)
