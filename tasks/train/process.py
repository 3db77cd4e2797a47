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

from models.fit.checkpoint import StorageFull, write_bytes
from models.fit.job import FULL, PATIENCE, STOPPED, assemble, members
from models.fit.settings import Epoch
from params.errors import UserError
from tasks.locks import Held, lock
from tasks.train import identity as fingerprint

ROOT = Path(__file__).resolve().parents[2]


MAKE_ROOM = ": make room and start the same command again; what was saved before is whole"


class Interrupted(UserError):
    """The fit was asked to stop and is not done; the same command goes on from its checkpoint."""

    def __init__(self) -> None:
        super().__init__("a fit was asked to stop; the same command goes on from the step that it was at")


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
    if "members" in job:
        return _combined(job, home, listener, stop, fresh)
    folder = fit_folder(job, home)
    folder.mkdir(parents=True, exist_ok=True)
    with lock(home, f"fit-{folder.name[:16]}") as ours:
        found = finished_result(folder)
        if found and not fresh:
            return found | {"reused": True}
        stop_step = _recorded_stop(folder)
        if stop_step is not None:
            job = job | {"training": job["training"] | {"stop_step": stop_step}}
        try:
            write_bytes(folder / "job.json", json.dumps(job).encode())  # first: it keeps the step that the result had recorded
        except StorageFull as error:
            raise UserError(f"{error.filename}: {error.strerror}{MAKE_ROOM}") from None
        if fresh:
            for old in folder.iterdir():
                if old.name != "job.json":
                    old.unlink()
        with turn(home, job["device"]) as devices:
            if stop.is_set():
                raise Interrupted
            code, errors = _child(folder, job["threads"], listener, stop, (ours, *devices))
        if stop.is_set() or code == STOPPED:
            raise Interrupted
        if code in (-signal.SIGKILL, 128 + signal.SIGKILL):
            reason = "the system killed the fit (signal 9): most likely out of memory"
            return {"status": "failed", "reason": reason, "again": True, "history": []}
        if code == FULL:
            raise UserError(f"{errors.strip()}{MAKE_ROOM}")
        if code != 0:
            raise RuntimeError(f"the fit of {job['training']['variant']} broke (exit {code}):\n{errors}")
        result: dict[str, Any] = json.loads((folder / "result.json").read_text())
        return result | {"reused": False}


def _combined(job: dict[str, Any], home: Path, listener: Listener, stop: threading.Event, fresh: bool) -> dict[str, Any]:
    """An ensemble: its members as they were trained, or trained now where they were not; then put together."""
    folder, fits = fit_folder(job, home), []
    if not fresh and (done := finished_result(folder)):
        return done | {"reused": True}
    for member in members(job):
        found = run_fit(member, home, listener, stop, fresh)
        if found["status"] != "finished":
            name, seed = member["training"]["variant"], member["training"]["seed"]
            return {**found, "reason": f"its member {name} (seed {seed}) failed: {found['reason']}", "history": []}
        fits.append(fit_folder(member, home))
    folder.mkdir(parents=True, exist_ok=True)
    with lock(home, f"fit-{folder.name[:16]}"):
        try:
            return assemble(job, fits, folder) | {"reused": False}
        except StorageFull as error:
            raise UserError(f"{error.filename}: {error.strerror}{MAKE_ROOM}") from None


def _recorded_stop(folder: Path) -> int | None:
    """The step at which the seconds of an equal fit were over, though its repetition may have been cut off since."""
    found = finished_result(folder)
    if found is not None and found["ended_by"] == "max_seconds":
        return int(found["steps"])
    path = folder / "job.json"
    return json.loads(path.read_text())["training"].get("stop_step") if path.exists() else None


def finished_result(folder: Path) -> dict[str, Any] | None:
    """The result of a fit that ended well, else None."""
    path = folder / "result.json"
    if not path.exists() or not (folder / "weights.pt").exists():
        return None
    result: dict[str, Any] = json.loads(path.read_text())
    return result if result["status"] == "finished" else None


@contextlib.contextmanager
def turn(home: Path, device: str, stop: threading.Event | None = None) -> Iterator[tuple[int, ...]]:
    """One fit at a time on an accelerator, also between comparisons, unless LAGLINE_JOBS says more.

    Gives the lock's descriptor.  The kernel frees it however its holder ends; Prefect's own limits leak a slot after a kill.
    Raises Interrupted where `stop` is set before our turn comes.
    """
    if device == "cpu" or os.environ.get("LAGLINE_JOBS", "").strip():
        yield ()
        return
    with contextlib.ExitStack() as held:
        while True:
            try:
                descriptor = held.enter_context(lock(home, f"device-{device.replace(':', '-')}", wait=stop is None))
                break
            except Held:
                if stop is not None and stop.wait(0.2):
                    raise Interrupted from None
        yield (descriptor,)


def _child(folder: Path, threads: int, listener: Listener, stop: threading.Event, locks: tuple[int, ...]) -> tuple[int, str]:
    """Runs `job.json` of a folder; returns the exit status and the end of what it said of errors.

    The child holds our locks too: where we are killed, whoever comes next waits until it has stopped.
    """
    environment = os.environ | {
        "OMP_NUM_THREADS": str(threads),
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # what makes cuBLAS repeat itself to the bit
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "models.fit.job", str(folder), "--with-parent"]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        pass_fds=locks,
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
