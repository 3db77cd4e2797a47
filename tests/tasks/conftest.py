"""Small tables, and a real tracking server, that the tests of several steps share."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from tasks import tracking
from tasks.tracking import connection

START = datetime(2020, 1, 1)


@pytest.fixture(scope="session")
def frame_of() -> Callable[..., pl.LazyFrame]:
    """`frame_of({"a": [1.0, None]}, x=[...])`: hourly rows of each series from START; other columns are given for all rows."""

    def make(series: dict[str, list[float | None]], **columns: list[float | None] | pl.Series) -> pl.LazyFrame:
        rows = [(name, START + timedelta(hours=i), y) for name, values in series.items() for i, y in enumerate(values)]
        keys = pl.DataFrame(rows, schema={"unique_id": pl.String, "ds": pl.Datetime("us"), "y": pl.Float64}, orient="row")
        others = {k: v if isinstance(v, pl.Series) else pl.Series(v, dtype=pl.Float64) for k, v in columns.items()}
        return keys.with_columns(pl.col("ds").dt.replace_time_zone("UTC"), **others).lazy()

    return make


class Server:
    """An MLflow server on a port of its own, whose store and artifacts outlive it."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.uri, self.folder = f"http://127.0.0.1:{self.port}", folder
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        store = ("--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db")
        store += ("--artifacts-destination", str(self.folder / "artifacts"))  # the server hands them out
        where = ("--host", "127.0.0.1", "--port", str(self.port), "--workers", "1")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *store, *where],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},  # nothing of ours needs it, and it costs seconds
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
