"""A tracking server that goes away and comes back: a real one, killed and started again on the same store."""

import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from params.errors import UserError
from tasks import tracking
from tasks.curves import Curves
from tasks.tracking import connection

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of mlflow's own imports
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning"),
]


class Server:
    """An MLflow server on a port of its own, whose store outlives it."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.uri, self.folder = f"http://127.0.0.1:{self.port}", folder
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        store = ("--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db", "--default-artifact-root", str(self.folder))
        where = ("--host", "127.0.0.1", "--port", str(self.port), "--workers", "1")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *store, *where],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        until = time.monotonic() + 120
        while time.monotonic() < until:
            try:
                with urllib.request.urlopen(f"{self.uri}/health", timeout=1):
                    return
            except OSError:
                time.sleep(0.2)
        raise TimeoutError("the MLflow server did not come up")

    def kill(self) -> None:
        import psutil

        if self.process is not None:
            family = [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]
            for member in family:
                member.kill()
            self.process.wait()
            psutil.wait_procs(family[1:], timeout=10)
            self.process = None


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server that is up; lagline's client speaks to it, and waits briefly."""
    found = Server(tmp_path)
    found.start()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", found.uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(connection, "AGAIN", 0.1)
    tracking.client.cache_clear()
    try:
        yield found
    finally:
        found.kill()
        tracking.client.cache_clear()


def test_patience_is_a_number_of_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    for bad in ("soon", "-1", "inf", "nan"):
        monkeypatch.setenv("LAGLINE_PATIENCE", bad)
        with pytest.raises(UserError, match=f"LAGLINE_PATIENCE={bad}: write how many seconds"), tracking.patience():
            pass


def test_every_way_of_not_answering_is_being_away() -> None:
    """The words of MLflow's client for a refused connection and a connection that timed out."""
    from mlflow.exceptions import MlflowException

    for words in ("failed with exception", "failed with timeout exception"):
        assert connection._away(MlflowException(f"API request to http://x/api {words} HTTPConnectionPool(...)"))
    assert not connection._away(MlflowException("Run 'x' not found"))
    assert not connection._away(ValueError("API request to x failed with exception"))


def test_no_row_is_lost_while_the_server_is_away_and_no_call_waits_for_it_for_ever(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    tracking.connect(tmp_path)
    run = tracking.client().create_run(tracking.experiment("demo", tmp_path)).info.run_id

    def row(epoch: int) -> dict[str, float]:
        return {"epoch": epoch, "val_mae": 10.0 - epoch, "seconds": 1.0}

    def logged() -> list[tuple[int, float]]:
        return sorted((point.step, point.value) for point in tracking.client().get_metric_history(run, "val_mae"))

    with tracking.patience(), Curves(run) as curves:
        curves.add(row(0))
        while not logged():
            time.sleep(0.05)
        server.kill()
        for epoch in (1, 2, 3):  # each returns, though nobody answers
            curves.add(row(epoch))
        back = threading.Timer(1.0, server.start)
        back.start()
    back.join()
    assert logged() == [(1, 10.0), (2, 9.0), (3, 8.0), (4, 7.0)]
    assert f"the tracking server at {server.uri} does not answer" in capfd.readouterr().err
    tracking.log_history(run, [row(epoch) for epoch in range(5)])  # what is there is not logged twice
    assert logged() == [(1, 10.0), (2, 9.0), (3, 8.0), (4, 7.0), (5, 6.0)]

    with tracking.patience(), pytest.raises(Exception, match="not found"):  # an answer is no reason to wait
        tracking.client().get_run("0" * 32)

    server.kill()
    monkeypatch.setenv("LAGLINE_PATIENCE", "0.3")
    with pytest.raises(Exception, match="API request to"):  # nothing to lose: no waiting
        tracking.tag(run, {"a": "b"})
    with tracking.patience():
        with pytest.raises(UserError, match=r"has not answered for \d+ s\.  No fit is lost: start the same command again"):
            tracking.tag(run, {"a": "b"})
        tracking.abandon(run, "FAILED")  # another error is on its way out: no word of this one
        monkeypatch.setenv("LAGLINE_PATIENCE", "600")
        ending = threading.Timer(1.0, tracking.give_up)  # as a comparison does that ends: a call that waits gives up at once
        ending.start()
        with pytest.raises(Exception, match="API request to"):
            tracking.tag(run, {"a": "b"})
        ending.join()
