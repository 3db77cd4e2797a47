"""The command line, as a person runs it or in less time, a prepared state folder, and Prefect's database without Prefect."""

import fcntl
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.runtime.server import start_prefect
from flows.runtime.state import prefect_home, set_environment
from tests.flows.copied import Done, environment, kept_warm

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def flows() -> Callable[..., Done]:
    """`flows("compare", ..., home=..., NAME=value)` runs `python -m flows` to its end, NAME in its environment."""

    def run(*arguments: str, home: Path | None = None, cwd: Path = ROOT, **variables: str) -> Done:
        command = [sys.executable, "-m", "flows", *arguments]
        return subprocess.run(command, cwd=cwd, env=environment(home) | variables, capture_output=True, text=True, timeout=300)

    return run


NEW = """
import asyncio
from flows.runtime.state import ready
home = ready()
from prefect.server.database import provide_database_interface
from tasks.tracking import connection
asyncio.run(provide_database_interface().create_db())
connection.connect(home)
"""


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder with nothing in it but the tables of its databases, made once for all workers: that takes seconds."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "empty-home"
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            made = folder.with_suffix(".made")
            settings = environment(made) | {"PREFECT_HOME": str(prefect_home(made))}
            subprocess.run([sys.executable, "-c", NEW], env=settings, check=True, capture_output=True, timeout=300)
            made.rename(folder)
    return folder


@pytest.fixture(scope="session")
def new_home(empty: Path) -> Callable[[Path], Path]:
    """`new_home(path)` makes a state folder there, as lagline itself would."""

    def make(path: Path) -> Path:
        return Path(shutil.copytree(empty, path))

    return make


@pytest.fixture
def home(new_home: Callable[[Path], Path], tmp_path: Path) -> Path:
    """An empty state folder of the test's own."""
    return new_home(tmp_path / "home")


@pytest.fixture(scope="session")
def prefect_api(new_home: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What names a Prefect server that all tests of this worker may use."""
    before, home = dict(os.environ), new_home(tmp_path_factory.mktemp("prefect") / "home")
    try:
        set_environment(home)
        server = start_prefect(home)
        named = {name: os.environ[name] for name in ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING")}
    finally:
        os.environ.clear()
        os.environ.update(before)
    try:
        server.wait()
        yield named
    finally:
        server.stop()


@pytest.fixture(scope="session")
def warm(prefect_api: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Done]]:
    """`flows` in less time: a process that is forked and not started, and a Prefect server that runs already."""
    with kept_warm(ROOT, tmp_path_factory.mktemp("warm"), prefect_api) as run:
        yield run


@pytest.fixture(scope="session")
def start() -> Callable[..., Any]:
    """The same, started and not waited for, in a process group of its own; output in a file, or in two."""

    def run(*arguments: str, home: Path, output: Path, errors: Path | None = None) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "flows", *arguments]
        with output.open("ab") as out, (errors or output).open("ab") as err:
            return subprocess.Popen(command, cwd=ROOT, env=environment(home), stdout=out, stderr=err, start_new_session=True)

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
