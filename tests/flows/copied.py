"""A copy of the checkout, and its command line in a process of its own: for what writes beside the shipped files."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def copy_of_the_checkout(folder: Path) -> Path:
    """Puts what a run needs of ours into a folder."""
    for name in ("flows", "tasks", "models", "params", "data"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    return folder


def runner(checkout: Path) -> Callable[..., Any]:
    """`run(home, "tune", ...)` runs a command line of a copy to its end, and gives what it said.

    `wait=False`: gives its process.
    """

    def run(home: Path, *arguments: str, wait: bool = True, status: int = 0, **variables: str) -> Any:
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "PREFECT_"))}
        ours |= {"LAGLINE_HOME": str(home), "PYTHONPATH": str(checkout), "COLUMNS": "200", **variables}
        child = subprocess.Popen(
            [sys.executable, "-m", "flows", *arguments],
            cwd=checkout, env=ours, stdout=subprocess.PIPE if wait else subprocess.DEVNULL, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        )  # fmt: skip
        if not wait:
            return child
        said = child.communicate(timeout=580)[0]
        assert child.returncode == status, said
        return said

    return run
