"""A copy of the checkout, and its command line from a process that stays warm: for what writes beside the shipped files."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
Done = subprocess.CompletedProcess[str]


def copy_of_the_checkout(folder: Path) -> Path:
    """Puts what a run needs of ours into a folder."""
    for name in ("flows", "tasks", "models", "params", "data"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    return folder


def environment(home: Path | None, checkout: Path = ROOT) -> dict[str, str]:
    """Ours, with a state folder of the test's own and a terminal of 120 columns."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}  # mlflow sets its own in tests
    return ours | ({"LAGLINE_HOME": str(home)} if home else {}) | {"PYTHONPATH": str(checkout), "COLUMNS": "120"}


@contextmanager
def kept_warm(checkout: Path, folder: Path, prefect_api: Mapping[str, str]) -> Iterator[Callable[..., Done]]:
    """`run("compare", ..., home=..., NAME=value)` runs a command line of a checkout in a forked process (warm.py).

    `folder`: for what it prints.  `prefect_api`: a server that runs already.
    """
    output = [str(folder / "stdout"), str(folder / "stderr")]
    command = [sys.executable, "-W", "ignore", str(Path(__file__).with_name("warm.py"))]
    with subprocess.Popen(
        command, cwd=checkout, env=environment(None, checkout), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdin is not None and server.stdout is not None
        asked, answers = server.stdin, server.stdout

        def run(*arguments: str, home: Path | None = None, cwd: Path = checkout, **variables: str) -> Done:
            settings = environment(home, checkout) | prefect_api | variables
            request = {"arguments": arguments, "cwd": str(cwd), "environment": settings, "output": output}
            limit = Timer(300, server.kill)
            limit.start()
            try:
                print(json.dumps(request), file=asked, flush=True)
                status = int(answers.readline())
            finally:
                limit.cancel()
            return subprocess.CompletedProcess(arguments, status, *(Path(path).read_text() for path in output))

        yield run
        asked.close()


@contextmanager
def runner(checkout: Path, folder: Path, prefect_api: Mapping[str, str]) -> Iterator[Callable[..., Any]]:
    """`run(home, "tune", ...)` runs a command line of a copy to its end, and gives what it said.

    `wait=False`: starts it as a process, which may be killed, and gives that.
    """
    with kept_warm(checkout, folder, prefect_api) as warm:

        def run(home: Path, *arguments: str, wait: bool = True, status: int = 0, **variables: str) -> Any:
            given = {"COLUMNS": "200", **variables}
            if not wait:
                names = [name for name in os.environ if name.startswith("PREFECT_")]
                ours = {name: value for name, value in environment(home, checkout).items() if name not in names} | given
                command = [sys.executable, "-m", "flows", *arguments]
                quiet = subprocess.DEVNULL
                return subprocess.Popen(command, cwd=checkout, env=ours, stdout=quiet, stderr=quiet, start_new_session=True)
            done = warm(*arguments, home=home, **given)
            assert done.returncode == status, done.stdout + done.stderr
            return done.stdout + done.stderr

        yield run


@pytest.fixture(scope="module")
def run(checkout: Path, prefect_api: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Any]]:
    """`runner` of a file's fixture `checkout`, for files with the line `run = copied.run`."""
    with runner(checkout, tmp_path_factory.mktemp("warm"), prefect_api) as run:
        yield run
