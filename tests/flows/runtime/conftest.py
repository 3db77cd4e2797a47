"""A state folder with its environment, and what a server answers, for the tests of servers."""

import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flows.runtime.state import prepare, set_environment

TINY = """
import http.server, socket, sys
from flows.runtime.child import die_with_parent
die_with_parent()
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
    def log_message(self, *rest): pass
server = http.server.HTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
server.socket.close()
server.socket = socket.socket(fileno=int(sys.argv[1]))
server.server_activate()
server.serve_forever()
"""


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the module `tiny`, which a child can be started from: a server that answers."""
    (tmp_path / "tiny.py").write_text(TINY)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


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
