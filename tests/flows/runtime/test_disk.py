"""A disk that is full while our Prefect server (flows/runtime/server.py) starts: one message, soon, and nothing left."""

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flows.runtime.state import no_room

ROOT = Path(__file__).resolve().parents[3]
pytestmark = [pytest.mark.fault, pytest.mark.slow]


@pytest.mark.parametrize("most", [300_000, 1_500_000])
def test_a_database_that_cannot_be_written_is_a_full_disk(tmp_path: Path, refused, most: int) -> None:
    """No file may be larger, as with a quota: the log of the server cannot say so."""

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    ours = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
    command = [sys.executable, "-m", "flows", "compare", "params/smoke.yaml"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=ours | {"LAGLINE_HOME": str(tmp_path / "home")},
        preexec_fn=limited,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    refused(done, 2, "the disk is full", "make room")
    assert not list((tmp_path / "home" / "locks").glob("server-*"))


@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="needs to mount a small disk")
@pytest.mark.parametrize("verb", ["compare", "serve"])
@pytest.mark.parametrize(("kilobytes", "words"), [(100, "0.1 MB are left"), (4300, "our server could not start")])
def test_a_full_disk_is_found_before_or_by_the_start(
    flows, refused, tmp_path: Path, verb: str, kilobytes: int, words: str
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "none", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("nothing can be mounted here")
    try:
        started = time.monotonic()
        refused(flows(verb, "params/smoke.yaml", home=disk / "home"), 2, "the disk is full", words, "make room")
        assert time.monotonic() - started < 150  # not the patience for a server that says nothing
    finally:
        subprocess.run(["umount", disk], check=True)


def test_room_is_what_a_new_database_takes(tmp_path: Path) -> None:
    assert no_room(tmp_path) is None and "the disk is full" in str(no_room(tmp_path, 10**18))
