"""Our Prefect server records what a flow did and ends with us; the MLflow UI says what is missing and shows what there is."""

import http.server
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from flows.runtime.server import start_prefect
from flows.runtime.state import prefect_home
from params.errors import UserError

ROOT = Path(__file__).resolve().parents[3]
FLOW = """
from prefect import flow, task
@task(persist_result=True)
def increment(x):
    return x + 1
@flow
def count(n):
    x = 0
    for _ in range(n):
        x = increment(x)
    return x
assert count(12) == 12
"""


@pytest.fixture(scope="module")
def server(state: Path) -> Iterator[str]:
    """The address of a running Prefect server of ours."""
    handle = start_prefect(state)
    try:
        address = os.environ["PREFECT_API_URL"]
        handle.wait()
        yield address
    finally:
        handle.stop()
        assert "PREFECT_API_URL" not in os.environ


@pytest.mark.slow
def test_a_flow_and_all_its_tasks_are_recorded(prefect_rows, state: Path, server: str) -> None:
    done = subprocess.run([sys.executable, "-c", FLOW], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    end = time.monotonic() + 20  # the recorder writes once a second
    while prefect_rows(state, "select state_type, count(*) from task_run group by 1") != [("COMPLETED", 12)]:
        assert time.monotonic() < end, prefect_rows(state, "select state_type, count(*) from task_run group by 1")
        time.sleep(0.2)
    assert prefect_rows(state, "select state_type, count(*) from flow_run group by 1") == [("COMPLETED", 1)]


@pytest.mark.slow
def test_results_are_json_and_never_pickles(state: Path, server: str) -> None:
    done = subprocess.run([sys.executable, "-c", FLOW], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    results = list((prefect_home(state) / "storage").iterdir())
    assert results and all(b'"type": "json"' in path.read_bytes() or b'"type":"json"' in path.read_bytes() for path in results)


@pytest.mark.slow
def test_answers_nobody_without_our_key(status, server: str) -> None:
    assert status(f"{server}/health") == 200
    assert status(f"{server}/flows/", "POST", **{"Content-Type": "application/json"}) in (401, 403)
    assert status(f"{server}/flows/filter", "POST", **{"Content-Type": "application/json", "Authorization": "Basic eDp5"}) in (
        401,
        403,
    )
    assert server.startswith("http://127.0.0.1:")


@pytest.mark.slow
def test_nothing_is_lost_when_the_server_stops_right_after_a_burst(prefect_rows, state: Path) -> None:
    """In one process of its own, as `compare` does it: start, flow, stop; the states still on their way are written."""
    script = """
from pathlib import Path
import sys
from flows.runtime.server import start_prefect
server = start_prefect(Path(sys.argv[1]))
try:
    server.wait()
    exec(sys.argv[2])
finally:
    server.stop()
""".lstrip()
    before = len(prefect_rows(state, "select id, 1 from task_run")) if (prefect_home(state) / "prefect.db").exists() else 0
    clean = {name: value for name, value in os.environ.items() if name not in ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING")}
    flow = FLOW.replace("12", "200")
    done = subprocess.run(
        [sys.executable, "-c", script, state, flow],
        cwd=ROOT,
        env=clean,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(prefect_rows(state, "select id, 1 from task_run where state_type = 'COMPLETED'")) == before + 200


class Health(http.server.BaseHTTPRequestHandler):
    """Answers its server's `code` to everything."""

    def do_GET(self) -> None:
        self.send_response(self.server.code)  # type: ignore[attr-defined]
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Keeps the terminal clean."""


@contextmanager
def answering(code: int, port: int = 0) -> Iterator[str]:
    """The address of an HTTP server that answers `code`, for the block."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), Health) as server:
        server.code = code  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/api"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("code", [200, 401])
def test_a_server_that_the_user_named_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    with answering(code) as address:
        monkeypatch.setenv("PREFECT_API_URL", address)
        handle = start_prefect(tmp_path)
        handle.wait()
        handle.stop()
        assert os.environ["PREFECT_API_URL"] == address and not list(tmp_path.iterdir())


@pytest.fixture
def free_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def test_a_named_server_that_is_just_being_started_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_port: int
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{free_port}/api")
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(start_prefect(tmp_path).wait)
        time.sleep(0.3)
        assert not waiting.done()
        with answering(200, free_port):
            waiting.result(20)


def test_a_named_server_that_does_not_answer_is_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_port: int
) -> None:
    monkeypatch.setattr("flows.runtime.server.ANSWER_LIMIT", 0.4)
    with answering(503) as gateway, socket.create_server(("127.0.0.1", 0)) as mute:
        nobody, silent = (f"http://127.0.0.1:{port}/api" for port in (free_port, mute.getsockname()[1]))
        for address in (nobody, silent, gateway, "file:///etc", "127.0.0.1:4200/api", "http://127.0.0.1:port/api"):
            monkeypatch.setenv("PREFECT_API_URL", address)
            with pytest.raises(UserError, match="start it, or unset PREFECT_API_URL") as told:
                start_prefect(tmp_path).wait()
            assert f"PREFECT_API_URL={address}: " in str(told.value)
