"""This machine as an engine: its device, the fits at a time, the turns on a device, what it says of itself."""

import multiprocessing
import os
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from models.fit.settings import Resources
from params.errors import UserError
from tasks.engine.contract import Interrupted
from tasks.engine.local import LOCAL, cores
from tasks.locks import Held, lock


def test_a_device_that_is_not_here_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for bad in ("gpu", "cuda:99", "cpu:1", "cuda:-1", "cuda:²"):
        monkeypatch.setenv("LAGLINE_DEVICE", bad)
        with pytest.raises(UserError, match="LAGLINE_DEVICE"):
            LOCAL.device()
    monkeypatch.setenv("LAGLINE_DEVICE", "cpu")
    assert LOCAL.device() == "cpu"
    monkeypatch.delenv("LAGLINE_DEVICE")
    assert LOCAL.device() == ("cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu")


def test_fits_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAGLINE_JOBS", raising=False)
    assert LOCAL.jobs(10_000, "cpu") == 1
    assert LOCAL.jobs(1, "cuda") == 1
    assert LOCAL.jobs(1, "cpu", Resources(memory=psutil.virtual_memory().total, gpus=1.0)) == 1  # and so is no other beside it
    assert LOCAL.jobs(1, "cpu", Resources(cpus=cores() / 2)) == 2
    monkeypatch.setenv("LAGLINE_JOBS", "3")
    assert LOCAL.jobs(1, "cpu") == 3
    for bad in ("0", "-1", "two", "²", "1.5"):
        monkeypatch.setenv("LAGLINE_JOBS", bad)
        with pytest.raises(UserError, match="LAGLINE_JOBS"):
            LOCAL.jobs(1, "cpu")


def test_this_machine_says_what_it_is() -> None:
    pool = LOCAL.pool()
    (node,) = pool.nodes
    assert (node.cpus, node.torch, pool.version) == (cores(), torch.__version__, "") and node.memory > 1e8
    (kind,) = pool.kinds("cpu")
    assert LOCAL.kind("cpu", 3) == f"{kind} 3 threads" and torch.backends.cpu.get_cpu_capability() in kind
    assert bool(pool.kinds("cuda:0")) == torch.cuda.is_available()


def _hold(home: Path, ready: Any) -> None:
    with LOCAL.turn(home, "cuda:0"):
        ready.set()
        time.sleep(600)


@pytest.mark.fault
def test_a_device_s_turn_is_free_again_when_its_holder_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No GPU is needed to hold its lock; on the CPU there is none, nor where LAGLINE_JOBS says how many at a time."""
    monkeypatch.delenv("LAGLINE_JOBS", raising=False)
    processes = multiprocessing.get_context("fork")
    ready = processes.Event()
    child = processes.Process(target=_hold, args=(tmp_path, ready))
    child.start()
    assert ready.wait(60)
    with pytest.raises(Held), lock(tmp_path, "device-cuda-0", wait=False):
        pass
    with LOCAL.turn(tmp_path, "cpu"), LOCAL.turn(tmp_path, "cuda:1"):  # these are others' turns
        pass
    monkeypatch.setenv("LAGLINE_JOBS", "2")
    with LOCAL.turn(tmp_path, "cuda:0"):
        pass
    monkeypatch.delenv("LAGLINE_JOBS")
    over = threading.Event()
    over.set()
    with pytest.raises(Interrupted), LOCAL.turn(tmp_path, "cuda:0", over):  # who may not wait any longer does not
        pass
    assert child.pid is not None
    os.kill(child.pid, 9)
    child.join()
    with LOCAL.turn(tmp_path, "cuda:0"):
        pass
