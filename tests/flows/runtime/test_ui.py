"""`ui` says what is missing, opens the pages of MLflow and Prefect to who has their keys, and ends with Ctrl-C."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from html import unescape
from pathlib import Path

import psutil
import pytest

from flows.runtime.state import prefect_home
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


def lines(text: str) -> tuple[str, str]:
    """The link to MLflow's pages and that to Prefect's."""
    links = re.findall(r"UI: (http://127\.0\.0\.1:\d+/\?key=\S+)", text)
    assert len(links) == 2, text
    return links[0], links[1]


@contextmanager
def shown(state: Path) -> Iterator[tuple[subprocess.Popen[str], Callable[[], str]]]:
    """`flows ui` on a state folder with one run: the process, and what it has printed once Prefect's line is there."""
    with tempfile.TemporaryFile("w+") as out:
        command = [sys.executable, "-m", "flows", "ui"]
        with subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=subprocess.PIPE, text=True) as process:

            def printed() -> str:
                until = time.monotonic() + 120
                while "Prefect UI" not in (text := Path(f"/proc/{os.getpid()}/fd/{out.fileno()}").read_text()):
                    assert process.poll() is None and time.monotonic() < until, text
                    time.sleep(0.2)
                return text

            try:
                yield process, printed
            finally:
                process.kill()


@pytest.mark.slow
def test_the_ui_opens_mlflow_and_prefect_to_their_keys_alone_and_ends_with_ctrl_c(status, state: Path) -> None:
    environment = {**os.environ, "ARTIFACTS": (state / "artifacts").as_uri()}
    tracked = subprocess.run([sys.executable, "-c", TRACK], env=environment, capture_output=True, text=True, check=True)
    artifact = f"get-artifact?path=note.txt&run_uuid={tracked.stdout.split()[-1]}"
    with socket.socket() as taken, ExitStack() as started:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):  # it is somebody else's already
            taken.bind(("127.0.0.1", 5000))
            taken.listen()
        process, printed = started.enter_context(shown(state))
        mlflow, prefect = lines(printed())
        address, key = mlflow.split("/?key=")
        assert "(port 5000 is taken; Ctrl-C ends it)" in printed() and ":5000/" not in mlflow
        api = f"{address}/api/2.0/mlflow"
        for path in ("", f"/{artifact}", "/health", "/api/2.0/mlflow/experiments/search?max_results=1"):
            assert status(address + path) == 401
        assert status(f"{api}/registered-models/alias", "POST", **{"Content-Type": "application/json"}) == 401
        assert status(f"{address}/ajax-api/2.0/mlflow/upload-artifact?run_uuid=1&path=x", "POST") == 401
        opened = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        with opened.open(mlflow, timeout=20) as answer:
            assert answer.url == f"{address}/" and b"MLflow" in answer.read()
        with opened.open(f"{address}/{artifact}", timeout=20) as answer:
            assert answer.read() == b"a page"
        assert status(f"{api}/experiments/search?max_results=1", Authorization=f"Bearer {key}") == 200
        assert status(f"{address}/", Host="evil.example", Authorization=f"Bearer {key}") == 403
        server = prefect.split("/?key=")[0]
        words = re.search(r"its key: (\S+)\)", printed())
        assert words and status(f"{server}/api/admin/version") == 401
        basic = b64encode(words[1].encode()).decode()
        assert status(f"{server}/api/admin/version", Authorization=f"Basic {basic}") == 200
        family = psutil.Process(process.pid).children(recursive=True)
        said = [" ".join(one.cmdline()) for one in (psutil.Process(process.pid), *family)]
        said += [path.read_text() for path in (state / "ui.log", prefect_home(state) / "ui.log")]
        assert len(family) == 2 and not [text for text in said if key in text or words[1] in text]
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert process.stderr is not None and process.stderr.read().split("\n") == ["", "lagline: the UI has ended", ""]
        assert not [one for one in family if one.is_running()]


@pytest.mark.slow
def test_the_ui_names_the_pages_of_a_schedule_that_is_served(state: Path) -> None:
    (state / "mlflow.db").touch()
    (state / "schedule.json").write_text(json.dumps({"pid": os.getpid(), "lines": ["Prefect UI: of the schedule"]}))
    try:
        with shown(state) as (process, printed):
            assert printed().endswith("Prefect UI: of the schedule\n")
            assert len(psutil.Process(process.pid).children()) == 1  # none of its own
    finally:
        (state / "schedule.json").unlink()


@pytest.mark.slow
def test_a_browser_is_sent_by_a_file_and_not_by_a_link_that_every_user_can_read(state: Path, tmp_path: Path) -> None:
    (state / "mlflow.db").touch()
    (tmp_path / "browser").write_text(f'#!/bin/sh\necho "$1" >> {tmp_path}/asked\n')
    (tmp_path / "browser").chmod(0o755)
    (state / "schedule.json").write_text(json.dumps({"pid": os.getpid(), "lines": ["Prefect UI: of the schedule"]}))
    command = [sys.executable, "-m", "flows", "ui", "--open"]
    environment = {**os.environ, "BROWSER": f"{tmp_path}/browser %s"}
    with (tmp_path / "out").open("w") as out, subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out) as process:
        try:
            until = time.monotonic() + 120
            while not (tmp_path / "asked").exists():
                assert process.poll() is None and time.monotonic() < until
                time.sleep(0.2)
            page = Path((tmp_path / "asked").read_text().strip().removeprefix("file://"))
            link = re.search(r"http://\S+", (tmp_path / "out").read_text())
            assert link and page.parent == state and page.stat().st_mode & 0o777 == 0o600
            assert f"url={link[0]}" in unescape(page.read_text())
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0 and not page.exists()
        finally:
            process.kill()
            (state / "schedule.json").unlink()
