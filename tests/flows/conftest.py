"""The command line as a person runs it, and Prefect's database without Prefect, for tests; never runs our flows itself."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.runtime.state import prefect_home

ROOT = Path(__file__).resolve().parents[2]
Done = subprocess.CompletedProcess[str]


def environment(home: Path | None) -> dict[str, str]:
    """Ours, with a state folder of the test's own and a terminal of 120 columns."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}  # mlflow sets its own in tests
    return ours | ({"LAGLINE_HOME": str(home)} if home else {}) | {"PYTHONPATH": str(ROOT), "COLUMNS": "120"}


@pytest.fixture(scope="session")
def flows() -> Callable[..., Done]:
    """`flows("compare", ..., home=..., NAME=value)` runs `python -m flows` to its end, NAME in its environment."""

    def run(*arguments: str, home: Path | None = None, cwd: Path = ROOT, **variables: str) -> Done:
        command = [sys.executable, "-m", "flows", *arguments]
        return subprocess.run(command, cwd=cwd, env=environment(home) | variables, capture_output=True, text=True, timeout=300)

    return run


@pytest.fixture(scope="session")
def start() -> Callable[..., Any]:
    """The same, started and not waited for, in a process group of its own; output in a file."""

    def run(*arguments: str, home: Path, output: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "flows", *arguments]
        with output.open("wb") as file:
            return subprocess.Popen(command, cwd=ROOT, env=environment(home), stdout=file, stderr=file, start_new_session=True)

    return run


@pytest.fixture(scope="session")
def refused() -> Callable[..., None]:
    """`refused(done, status, *words)`: the status, the words, and nothing that looks like a broken program."""

    def check(done: Done, status: int, *words: str) -> None:
        assert done.returncode == status, done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr
        for word in words:
            assert word in done.stdout + done.stderr

    return check


@pytest.fixture(scope="session")
def prefect_rows() -> Callable[..., list[tuple[Any, ...]]]:
    """`prefect_rows(home, query)`: what Prefect's database holds, read without Prefect."""

    def read(home: Path, query: str) -> list[tuple[Any, ...]]:
        database = sqlite3.connect(f"file:{prefect_home(home)}/prefect.db?mode=ro", uri=True)
        try:
            return database.execute(query).fetchall()
        finally:
            database.close()

    return read
