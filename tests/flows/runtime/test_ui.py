"""The MLflow UI says what is missing, shows what there is, and ends with Ctrl-C."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psutil
import pytest

from flows.runtime.ui import ui
from params.errors import UserError

ROOT = Path(__file__).resolve().parents[3]


def test_the_ui_refuses_where_nothing_is_tracked_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(UserError, match=r"mlflow\.db: nothing is tracked here yet; run .*compare"):
        ui(tmp_path)


def test_the_ui_points_to_a_server_that_the_user_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://there:5000")
    with pytest.raises(UserError, match="open that address"):
        ui(tmp_path)


@pytest.mark.parametrize("port", [70_000, -1])
def test_the_ui_refuses_what_is_no_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "mlflow.db").touch()
    with pytest.raises(UserError, match="from 1 to 65535"):
        ui(tmp_path, port)


def test_the_ui_refuses_a_named_port_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "mlflow.db").touch()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"{port}: cannot be served on"):
            ui(tmp_path, port)


TRACK = """
import os, mlflow
experiment = mlflow.create_experiment("seen", artifact_location=os.environ["ARTIFACTS"])
with mlflow.start_run(experiment_id=experiment) as run:
    mlflow.log_text("a page", "note.txt")
print(run.info.run_id)
"""


@pytest.mark.slow
def test_the_ui_shows_runs_and_their_artifacts_and_ends_with_ctrl_c(status, state: Path) -> None:
    environment = {**os.environ, "ARTIFACTS": (state / "artifacts").as_uri()}
    tracked = subprocess.run([sys.executable, "-c", TRACK], env=environment, capture_output=True, text=True, check=True)
    run = tracked.stdout.split()[-1]
    (state / "schedule.json").write_text(json.dumps({"pid": os.getpid(), "lines": ["said last"]}))
    command = [sys.executable, "-m", "flows", "ui"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None and process.stderr is not None
            address = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
            assert address
            child = psutil.Process(process.pid).children()
            with urllib.request.urlopen(f"{address[0]}/get-artifact?path=note.txt&run_uuid={run}", timeout=20) as answer:
                assert answer.read() == b"a page"
            assert status(f"{address[0]}/api/2.0/mlflow/experiments/search?max_results=1", Host="evil.example") == 403
            assert process.stdout.readline() == "said last\n"
            time.sleep(0.5)  # now it does nothing but wait for its child
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0
            assert process.stderr.read().split("\n") == ["", "lagline: the UI has ended", ""]
            assert len(child) == 1 and not child[0].is_running()
        finally:
            process.kill()
