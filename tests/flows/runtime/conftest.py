"""A state folder with its environment, and what a server answers, for the tests of servers."""

import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flows.runtime.state import prepare, set_environment


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state folder of this module with its environment set; the environment of before comes back at the end."""
    before = dict(os.environ)
    for name in before:
        if name.startswith(("PREFECT_", "MLFLOW_")):
            del os.environ[name]
    os.environ["LAGLINE_HOME"] = str(tmp_path_factory.mktemp("server") / "state")
    try:
        folder = prepare()
        set_environment(folder)
        yield folder
    finally:
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture(scope="session")
def status() -> Callable[..., int]:
    """`status(url, "POST", Header=...)`: the status of the answer."""

    def ask(url: str, method: str = "GET", **headers: str) -> int:
        request = urllib.request.Request(url, method=method, headers=headers, data=b"{}" if method == "POST" else None)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    return ask
