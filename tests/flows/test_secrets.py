"""Passwords in addresses (params/shown.py, flows/runtime/state.py): they reach the server, and nothing else."""

import base64
import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar
from urllib.parse import quote

import pytest

Done = Callable[..., Any]
SECRET = "t0p/s3cr3t@9"
QUOTED = quote(SECRET, safe="")
TOLD = (SECRET, QUOTED, base64.b64encode(f"user:{SECRET}".encode()).decode())


class Store(BaseHTTPRequestHandler):
    """A tracking server that knows how to find no experiment, and goes away at every other question."""

    asked: ClassVar[list[str | None]] = []

    def log_message(self, *_: object) -> None:
        """Says nothing."""

    def do_POST(self) -> None:
        """An answer, or none."""
        self.asked.append(self.headers.get("Authorization"))
        if self.path.endswith("experiments/search"):
            body = json.dumps({"experiments": []}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        self.close_connection = True

    do_GET = do_POST


@pytest.fixture
def store() -> Iterator[str]:
    """Where one listens, with a password."""
    Store.asked = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Store) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://user:{QUOTED}@127.0.0.1:{server.server_port}"
        server.shutdown()


def kept(home: Path) -> list[Path]:
    """The files of a state folder in which the password stands."""
    texts = [text.encode() for text in TOLD]
    return [path for path in home.rglob("*") if path.is_file() and any(text in path.read_bytes() for text in texts)]


def said(done: Any) -> str:
    """What a command printed, in which the password is not."""
    text: str = done.stdout + done.stderr
    assert not any(told in text for told in TOLD), text
    return text


@pytest.mark.slow
def test_a_server_that_goes_away_in_a_run_leaves_no_password_in_prefect_either(flows: Done, home: Path, store: str) -> None:
    once = {"LAGLINE_PATIENCE": "0", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    run = ("--debug", "compare", "params/smoke.yaml", "--variants", "ridge")
    # with a registry of its own the address stays as it is, and is in the words of MLflow's errors, which Prefect keeps
    text = said(flows(*run, home=home, MLFLOW_TRACKING_URI=store, MLFLOW_REGISTRY_URI=store, **once))
    assert "http://user:***@127.0.0.1" in text and "Traceback" in text
    assert kept(home) == []
    Store.asked = []
    text = said(flows(*run, home=home, MLFLOW_TRACKING_URI=store, **once))
    assert "http://127.0.0.1" in text
    assert set(Store.asked) == {f"Basic {TOLD[2]}"}
    assert kept(home) == []


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("MLFLOW_TRACKING_URI", "http://user:{}@127.0.0.1:9"),
        ("MLFLOW_TRACKING_URI", "http://user:{}@127.0.0.1:port"),
        ("MLFLOW_TRACKING_URI", "http://{}@127.0.0.1:9"),
        ("MLFLOW_TRACKING_URI", "http://127.0.0.1:9/?access_token={}"),
        ("MLFLOW_TRACKING_URI", "postgresql://user:{}@127.0.0.1:9/db"),
        ("MLFLOW_TRACKING_URI", "nosuch://user:{}@127.0.0.1:9/db?sig={}"),
        ("PREFECT_API_URL", "http://user:{}@127.0.0.1:9/api"),
        ("PREFECT_API_URL", "ftp://user:{}@127.0.0.1:9/api"),
    ],
)
def test_a_server_that_does_not_answer_is_told_without_its_password(warm: Done, home: Path, name: str, address: str) -> None:
    verb = ("compare", "params/smoke.yaml") if name.startswith("PREFECT") else ("leaderboard", "smoke")
    settings = {name: address.format(QUOTED, QUOTED), "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    text = said(warm("--debug", *verb, home=home, **settings))
    assert f"{name}=" in text
    assert kept(home) == []
