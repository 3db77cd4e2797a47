"""The process of one fit: started, listened to, asked to stop; never the loop itself, and no tracker.

The process is ours to end, frees what it held when it ends, and ends with us.  Its folder is named by the identity of the fit,
so a fit that is done is taken as it is and a fit that was killed goes on from its last checkpoint.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.checkpoint import write_bytes
from models.job import FULL, PATIENCE, STOPPED
from models.training import Epoch
from params.errors import UserError
from tasks import fingerprint
from tasks.locks import lock

ROOT = Path(__file__).resolve().parents[1]


class Interrupted(Exception):
    """The fit was asked to stop and is not done; the same command goes on from its checkpoint."""


@dataclass(frozen=True)
class Listener:
    """Who is told of an epoch's row and of a warning while a fit runs."""

    epoch: Callable[[Epoch], None] = lambda _: None
    warning: Callable[[str], None] = lambda _: None


def fit_folder(job: Mapping[str, Any], home: Path) -> Path:
    """Where the checkpoints and the result of a fit lie: a folder named by its identity."""
    return home / "checkpoints" / fingerprint.identity(job, Path(job["panel"]).name)


def run_fit(job: dict[str, Any], home: Path, listener: Listener, stop: threading.Event, fresh: bool = False) -> dict[str, Any]:
    """Carries a job out in a process of its own, or hands back its finished result; one process at a time for one identity.

    The result has `status` finished or failed (with its `reason`).  A `fresh` fit that its `max_seconds` ended before ends at
    the same step again.  Raises Interrupted after `stop`, UserError where the disk is full, RuntimeError where the process
    broke otherwise.
    """
    folder = fit_folder(job, home)
    folder.mkdir(parents=True, exist_ok=True)
    with lock(home, f"fit-{folder.name[:16]}"):
        found = finished_result(folder)
        if found and not fresh:
            return found | {"reused": True}
        if fresh:
            for old in folder.iterdir():
                old.unlink()
        if found and found["ended_by"] in ("max_seconds", "stop_step"):
            job = job | {"training": job["training"] | {"stop_step": found["steps"]}}
        with turn(home, job["device"]):
            if stop.is_set():
                raise Interrupted
            write_bytes(folder / "job.json", json.dumps(job).encode())
            code, errors = _child(folder, job["threads"], listener, stop)
        if stop.is_set() or code == STOPPED:
            raise Interrupted
        if code in (-signal.SIGKILL, 128 + signal.SIGKILL):
            return {"status": "failed", "reason": "the system killed the fit (signal 9): most likely out of memory"}
        if code == FULL:
            raise UserError(f"{errors.strip()}: make room and start the same command again; what was saved before is whole")
        if code != 0:
            raise RuntimeError(f"the fit of {job['training']['variant']} broke (exit {code}):\n{errors}")
        result: dict[str, Any] = json.loads((folder / "result.json").read_text())
        return result | {"reused": False}


def finished_result(folder: Path) -> dict[str, Any] | None:
    """The result of a fit that ended well, else None."""
    path = folder / "result.json"
    if not path.exists() or not (folder / "weights.pt").exists():
        return None
    result: dict[str, Any] = json.loads(path.read_text())
    return result if result["status"] == "finished" else None


@contextlib.contextmanager
def turn(home: Path, device: str) -> Iterator[None]:
    """One fit at a time on an accelerator, also between comparisons, unless LAGLINE_JOBS says more.

    The kernel frees the lock however its holder ends; Prefect's own limits leak a slot after a kill.
    """
    if device == "cpu" or os.environ.get("LAGLINE_JOBS", "").strip():
        yield
        return
    with lock(home, f"device-{device.replace(':', '-')}"):
        yield


def _child(folder: Path, threads: int, listener: Listener, stop: threading.Event) -> tuple[int, str]:
    """Runs `job.json` of a folder; returns the exit status and the end of what it said of errors."""
    environment = os.environ | {
        "OMP_NUM_THREADS": str(threads),
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # what makes cuBLAS repeat itself to the bit
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "models.job", str(folder), "--with-parent"]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None and child.stderr is not None
        tail: deque[str] = deque(maxlen=40)
        errors = child.stderr
        hearing = threading.Thread(target=lambda: tail.extend(errors), daemon=True)
        ending = threading.Thread(target=_end_on, args=(child, stop), daemon=True)
        hearing.start()
        ending.start()
        try:
            for line in child.stdout:
                said = json.loads(line)
                if "warning" in said:
                    listener.warning(said["warning"])
                elif "full" in said:
                    tail.append(said["full"])
                else:
                    listener.epoch(said)
            code = child.wait()
        except BaseException:
            child.kill()
            raise
        hearing.join(timeout=5)
    return code, "".join(tail)


def _end_on(child: subprocess.Popen[str], stop: threading.Event) -> None:
    """Asks a process to stop after its step when `stop` is set, and ends it where the step takes too long."""
    while child.poll() is None:
        if stop.wait(0.2):
            child.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(PATIENCE)
                return
            child.kill()
