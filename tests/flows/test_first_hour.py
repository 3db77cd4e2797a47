"""A newcomer's first hour in a checkout (flows/promote.py): init, compare, promote on a table of one's own."""

import shutil
import subprocess
from datetime import date, timedelta
from pathlib import Path
from random import Random

import pytest

from tests.flows.copied import kept_warm

ROOT = Path(__file__).resolve().parents[2]
QUICK = ("variants=[ridge]", "evaluation.baselines=[last_value, seasonal_naive]")
pytestmark = pytest.mark.story


def a_clone(folder: Path) -> Path:
    """A checkout with a commit of its own, whatever this one is."""
    for name in ("flows", "tasks", "models", "params"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "constraints.txt", folder)
    (folder / ".gitignore").write_text("__pycache__/\n")
    for words in ("init -q", "config user.name a", "config user.email a@b.c", "add -A", "commit -q -m first"):
        subprocess.run(["git", *words.split()], cwd=folder, check=True)
    return folder


def daily_sales(path: Path) -> None:
    draw, first = Random(3), date(2024, 1, 1)
    days = [first + timedelta(days=number) for number in range(300)]
    rows = [
        f"{shop},{day},{50 + 20 * (day.weekday() == 5) + draw.gauss(0, 3):.2f}" for shop in ("Köln", "Łódź") for day in days
    ]
    path.write_text("\n".join(["shop,date,sales", *rows]) + "\n", encoding="utf-8")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A checkout with a table of one's own and a change that is not committed."""
    folder = a_clone(tmp_path / "clone")
    daily_sales(folder / "sales.csv")
    changed = folder / "tasks" / "compare" / "board.py"
    changed.write_text(changed.read_text() + "# mine\n")
    return folder


@pytest.fixture
def warm(clone: Path, prefect_api, tmp_path: Path):
    with kept_warm(clone, tmp_path, prefect_api) as run:
        yield run


def test_init_compare_promote_and_what_a_changed_file_asks_for(warm, home, clone) -> None:
    def run(*words: str, status: int = 0) -> list[str]:
        done = warm(*words, home=home)
        assert done.returncode == status, done.stdout + done.stderr
        return list(done.stdout.splitlines())

    assert run("init", "sales.csv")[-1] == "Next: python -m flows validate sales.yaml, then python -m flows compare sales.yaml"
    told = run("compare", "sales.yaml", *(part for one in QUICK for part in ("--set", one)))
    assert told[-1] == "Next: python -m flows promote sales --dry-run"
    assert "Note: promote will ask for a commit of tasks/compare/board.py" in " ".join(told)
    refused = run("promote", "sales", status=1)
    assert refused[0].startswith("Refused: there is no champion")
    prefix = "To go on (code): "
    assert refused[1].startswith(prefix) and refused[2].startswith("then: python -m flows promote sales --version 1")
    (code,) = (line for line in refused if line.startswith("failed  "))
    assert code.split()[1] == "code" and "sales" not in code
    assert "tasks/compare/board.py" in " ".join(refused)
    subprocess.run(refused[1].removeprefix(prefix), shell=True, cwd=clone, check=True, capture_output=True)
    again = run(*refused[2].removeprefix("then: python -m flows ").split("   ")[0].split())
    assert "Promoted: sales version 1 is champion (entry 2 of the ledger)." in again
    assert not any(line.startswith("failed") for line in again)
