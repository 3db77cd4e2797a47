"""A lock keeps other processes out and outlives nobody."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from params.errors import UserError
from tasks.locks import lock

ROOT = Path(__file__).resolve().parents[2]
HOLD = """
import os, sys, time
from pathlib import Path
from tasks.locks import lock
with lock(Path(sys.argv[1]), "gpu"):
    print("held", flush=True)
    time.sleep(120)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process that holds the lock `gpu` below tmp_path."""
    with subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_excludes_another_process_and_says_which(tmp_path: Path, holder: "subprocess.Popen[str]") -> None:
    with pytest.raises(UserError, match=rf"gpu.lock: held by .*{holder.pid}"), lock(tmp_path, "gpu", wait=False):
        pass
    with lock(tmp_path, "other", wait=False):
        pass


def test_is_free_the_moment_its_holder_is_killed(tmp_path: Path, holder: "subprocess.Popen[str]") -> None:
    holder.kill()  # SIGKILL
    holder.wait()
    with lock(tmp_path, "gpu", wait=False):
        pass


def test_waits_for_its_turn(tmp_path: Path) -> None:
    script = HOLD.replace("time.sleep(120)", "time.sleep(0.7)")
    with subprocess.Popen([sys.executable, "-c", script, tmp_path], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        start = time.monotonic()
        with lock(tmp_path, "gpu"):
            assert time.monotonic() - start > 0.4


FORK = """
import os, sys
from pathlib import Path
from params.errors import UserError
from tasks.locks import lock
home = Path(sys.argv[1])
read, write = os.pipe()
try:
    with lock(home, "gpu"):
        if os.fork() == 0:       # a pool's worker: it shares the descriptor and lives on
            os.read(read, 1)
            os._exit(0)
        raise ValueError("in the block")
except ValueError:
    pass
try:
    with lock(home, "gpu", wait=False):
        print("free")
except UserError as error:
    print(error)
os.write(write, b"x")
os.wait()
"""


def test_is_free_again_after_an_error_and_while_a_forked_child_lives(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORK, tmp_path], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout == "free\n"


def test_a_lock_that_is_a_link_a_folder_or_a_pipe_is_refused_and_never_followed(tmp_path: Path) -> None:
    target = tmp_path / "theirs"
    target.write_text("theirs")
    (tmp_path / "locks").mkdir()
    path = tmp_path / "locks" / "gpu.lock"
    for make in (lambda: path.symlink_to(target), lambda: path.symlink_to("gpu.lock"), path.mkdir, lambda: os.mkfifo(path)):
        make()
        with pytest.raises(UserError, match=r"gpu\.lock: this is not a lock file"), lock(tmp_path, "gpu"):
            pass
        path.rmdir() if path.is_dir() else path.unlink()
    assert target.read_text() == "theirs"
