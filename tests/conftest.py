"""What all tests share: a state folder of their own, no server from outside, calm hypothesis, one thread a process."""

import gc
import json
import os
import signal
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.postgresql import Postgres, programs

# Read when numpy and torch are imported.  Threads of small networks wait for each other more than they work: on a busy machine
# with two cores the tests of the training loop take 118 CPU seconds with two threads and 9 with one
os.environ.setdefault("OMP_NUM_THREADS", "1")
settings.register_profile("lagline", deadline=None)  # a busy machine is no failure
settings.load_profile("lagline")


# Python would look through the million objects that imports and collected tests leave, again and again
gc.set_threshold(50_000)

# A test that takes one of these starts a server, a command line or Keras, or writes a bundle: it is `slow` without being marked
STARTED = {"flows", "warm", "start", "server", "address", "processes", "keras_generator", "house"}


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks as slow what starts something slow, and as one of the stack what needs PostgreSQL."""
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        if STARTED & fixtures or item.get_closest_marker("story"):
            item.add_marker("slow")
        if "postgres" in fixtures:
            item.add_marker("stack")


def pytest_collection_finish() -> None:
    """What there is now stays until the end."""
    gc.freeze()


def pytest_unconfigure() -> None:
    """The interpreter ends at once, without looking through all there is."""
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _own_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test writes to the user's .lagline or to a server that the user's environment names; signals work in all children.

    A shell that starts us in the background has us ignore Ctrl-C, nohup has us ignore SIGHUP, and our children with us.
    """
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, handler)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAGLINE_HOME", str(tmp_path_factory.mktemp("lagline-home")))
        for name in (
            "MLFLOW_TRACKING_URI",
            "MLFLOW_REGISTRY_URI",
            "PREFECT_API_URL",
            "LAGLINE_SHELF",
            "LAGLINE_LOCKS",
            "LAGLINE_ARTIFACTS",
        ):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(autouse=True)
def _own_environment() -> Iterator[None]:
    """What a test, or a library in it, leaves in the environment is not there for the next: mlflow puts its store there."""
    before = dict(os.environ)
    yield
    if os.environ != before:
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL that all tests of this process share; a test makes databases of its own."""
    pytest.importorskip("psycopg2", reason="the extra [postgresql] is not installed")
    folder = programs()
    if folder is None:
        pytest.skip("PostgreSQL is not installed (the package postgresql of Debian and Ubuntu)")
    found = Postgres(folder)
    try:
        found.make()
        found.start()
        yield found
    finally:
        found.remove()


@pytest.fixture
def database(postgres: Postgres) -> str:
    """The address of a new and empty database."""
    name = f"d{uuid.uuid4().hex[:12]}"
    postgres.sql(f"CREATE DATABASE {name}")
    return postgres.address(name)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """No store of the test before; skip a test marked gpu where there is no CUDA device (torch is imported for those alone)."""
    os.environ.pop("MLFLOW_REGISTRY_URI", None)  # mlflow sets it, and the next test would talk to the store of the one before
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("there is no CUDA device here")


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[dict[str, Any]]]:
    """What LAGLINE_NOTIFY_COMMAND was told since the last call."""
    log = tmp_path / "told.txt"
    (tmp_path / "tell.sh").write_text(f'#!/bin/sh\necho "$1" >> "{log}"\n')
    (tmp_path / "tell.sh").chmod(0o700)
    monkeypatch.setenv("LAGLINE_NOTIFY_COMMAND", str(tmp_path / "tell.sh"))

    def read() -> list[dict[str, Any]]:
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return [json.loads(line) for line in lines]

    return read
