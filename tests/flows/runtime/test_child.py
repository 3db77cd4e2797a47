"""A child server ends with its parent, however the parent ends; what still is left over is reaped by pid and start time."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from flows.runtime.child import Child, reap_leftovers
from params.errors import UserError

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def modules(tiny: Path) -> Path:
    """A folder of small modules that a child can be started from."""
    (tiny / "broken.py").write_text("raise SystemExit('the cause of it all')")
    (tiny / "mute.py").write_text("import time; time.sleep(60)")
    return tiny


def start(home: Path, module: str, port: int | None = None) -> Child:
    return Child(home, [module], port, "/", home / "child.log", {})


def gone(pid: int, seconds: float = 15) -> bool:
    """Whether process `pid` ends within `seconds` (a zombie has ended)."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.05)
    return False


def test_answers_and_stops_and_leaves_no_record(modules: Path) -> None:
    child = start(modules, "tiny")
    child.wait(30)
    record = json.loads(child.record.read_text())
    assert record["pid"] == child.process.pid and record["port"] == child.port and record["owner"] == os.getpid()
    child.stop()
    child.stop()
    assert child.process.poll() is not None and not list((modules / "locks").glob("server-*"))


def test_a_child_that_dies_shows_the_end_of_its_log(modules: Path) -> None:
    with pytest.raises(UserError, match=r"(?s)ended with status 1.*the cause of it all"):
        start(modules, "broken").wait(30)


def test_a_child_that_never_answers_is_ended(modules: Path) -> None:
    child = start(modules, "mute")
    with pytest.raises(UserError, match="did not answer within 1 seconds"):
        child.wait(1)
    assert child.process.poll() is not None


def test_a_port_in_use_is_an_error(modules: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        start(modules, "tiny", taken.getsockname()[1])


PARENT = """
import os, sys, time
from pathlib import Path
from flows.runtime.child import Child
child = Child(Path(sys.argv[1]), ["tiny"], None, "/", Path(sys.argv[1]) / "child.log", {})
child.wait(30)
worker = os.fork()           # like a pool's worker: it inherits our descriptors and outlives us
if worker == 0:
    os.close(1)
    time.sleep(60)
    os._exit(0)
print(child.process.pid, worker, flush=True)
time.sleep(60)
"""


@pytest.mark.fault
@pytest.mark.slow
def test_a_child_dies_after_kill_9_of_its_parent_even_while_a_forked_worker_lives(modules: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT, modules], cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child, worker = map(int, parent.stdout.readline().split())
        try:
            assert not gone(child, 0.5)
            parent.kill()
            assert gone(child)
            assert not gone(worker, 0.1)
        finally:
            os.kill(worker, signal.SIGKILL)


@pytest.fixture
def sleeper() -> Iterator["subprocess.Popen[bytes]"]:
    """A real process that stands for a leftover server."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        yield process
        process.kill()


def leave_record(home: Path, pid: int, started: float, owner_started: float = 1.0) -> Path:
    """A record as a killed parent leaves it: its owner (this very pid, but begun in 1970) is no more."""
    path = home / "locks" / f"server-{pid}.json"
    path.parent.mkdir(exist_ok=True)
    record = {"pid": pid, "started": started, "port": 1, "owner": os.getpid(), "owner_started": owner_started}
    path.write_text(json.dumps(record))
    return path


def test_a_leftover_is_reaped_at_the_next_start(tmp_path: Path, sleeper: "subprocess.Popen[bytes]") -> None:
    path = leave_record(tmp_path, sleeper.pid, psutil.Process(sleeper.pid).create_time())
    assert reap_leftovers(tmp_path) == [sleeper.pid]
    assert gone(sleeper.pid) and not path.exists()


def test_another_process_with_the_same_pid_is_spared(tmp_path: Path, sleeper: "subprocess.Popen[bytes]") -> None:
    path = leave_record(tmp_path, sleeper.pid, psutil.Process(sleeper.pid).create_time() - 60)
    assert reap_leftovers(tmp_path) == []
    assert sleeper.poll() is None and not path.exists()


def test_the_server_of_another_living_run_is_spared(tmp_path: Path, sleeper: "subprocess.Popen[bytes]") -> None:
    ours = psutil.Process().create_time()
    path = leave_record(tmp_path, sleeper.pid, psutil.Process(sleeper.pid).create_time(), owner_started=ours)
    assert reap_leftovers(tmp_path) == []
    assert sleeper.poll() is None and path.exists()


@pytest.mark.parametrize("text", ["", "[]", '{"pid": "x"}', '{"pid": null, "started": 1}', "\xff"])
def test_a_damaged_record_harms_nobody(tmp_path: Path, text: str) -> None:
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks" / "server-1.json").write_text(text, encoding="latin-1")
    assert reap_leftovers(tmp_path) == []
    assert not list((tmp_path / "locks").iterdir())
