"""The process of one fit: started, listened to, asked to stop.

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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from models.fit.checkpoint import StorageFull, write_bytes
from models.fit.job import Job, read_result
from models.fit.settings import Ended, Epoch, Result, Status
from models.worker import FULL, PATIENCE, STOPPED, Evaluated, is_done
from params.errors import Unavailable, UserError
from tasks.files import ROOT
from tasks.locks import Held, lock
from tasks.train import identity
from tasks.train.code import WORKER, code_digest
from tasks.train.kept import emptied, own_folder, put_damaged_aside

MAKE_ROOM = ": make room and start the same command again; what was saved before is whole"


class Interrupted(UserError):
    """The fit was asked to stop and is not done; the same command goes on from its checkpoint."""

    def __init__(self) -> None:
        super().__init__("a fit was asked to stop; the same command goes on from the step that it was at")


@dataclass(frozen=True)
class Listener:
    """Who hears of an epoch's row and of a warning while a fit runs."""

    epoch: Callable[[Epoch], None] = lambda _: None
    warning: Callable[[str], None] = lambda _: None


@dataclass(frozen=True)
class Outcome:
    """What a fit came to: its result, what its worker found out about its forecasts, and whether it was trained before."""

    result: Result
    evaluated: Evaluated | None = None
    reused: bool = False


def fit_folder(job: Job, home: Path) -> Path:
    """Where the checkpoints and the result of a fit lie: a folder named by its identity."""
    return home / "checkpoints" / identity.identity(job, job.panel.name)


def run_fit(job: Job, home: Path, listener: Listener, stop: threading.Event, fresh: bool = False) -> Outcome:
    """Carries a job out in a process of its own, or hands back its finished result; one process at a time for one identity.

    Finished weights that another version of the code has forecast with are kept and forecast with again.  A `fresh` fit that
    its `max_seconds` ended before ends at the same step again.  The networks of an ensemble are trained first.
    Raises Interrupted after `stop`, Unavailable where the disk is full, RuntimeError where the process broke otherwise.
    """
    members: list[Path] = []
    folder = fit_folder(job, home)
    with lock(home, f"fit-{folder.name[:16]}"):
        _mend(folder, listener)
    if job.members and (fresh or finished_result(folder) is None):
        for member in job.networks:
            found = run_fit(member, home, listener, stop, fresh)
            if not found.result.finished:
                name, seed = member.training.variant, member.training.seed
                reason = f"its member {name} (seed {seed}) failed: {found.result.reason}"
                return Outcome(Result(status=Status.FAILED, reason=reason, again=found.result.again))
            members.append(fit_folder(member, home))
    with lock(home, f"fit-{folder.name[:16]}") as ours:
        done, evaluated = finished_result(folder), Evaluated.read(folder)
        if done and not fresh and evaluated is not None and evaluated.code == _code():
            return Outcome(done, evaluated, reused=True)
        _write_job(job, folder)
        if fresh:
            emptied(folder)
        with device_lock(home, job.device) as devices:
            if stop.is_set():
                raise Interrupted
            code, errors = _child(folder, job.threads, members, listener, stop, (ours, *devices))
        result = _result(job, folder, code, errors, stop)
        return Outcome(result, Evaluated.read(folder) if result.finished else None, reused=bool(done) and not fresh)


def _mend(folder: Path, listener: Listener) -> None:
    """Whatever an earlier process, a disk or a hand has left of a fit that is not what the fit wrote is told and not used."""
    names = [*own_folder(folder), *put_damaged_aside(folder)]
    if names:
        again = "forecasts" if names == ["evaluation.json"] else "is trained"
        listener.warning(f"{', '.join(names)} of a kept fit is damaged, or not its own, and is put aside: it {again} again")


def _code() -> str:
    """The digest of the code that forecasts with trained weights."""
    return code_digest(start=WORKER)


def _write_job(job: Job, folder: Path) -> None:
    """Puts `job.json` in place; the step at which an equal fit's seconds were over is kept in it."""
    stop_step = _recorded_stop(folder)
    if stop_step is not None:
        job = job.with_training(stop_step=stop_step)
    try:
        write_bytes(folder / "job.json", json.dumps(job.to_dict()).encode())
    except StorageFull as error:
        raise Unavailable(f"{error.filename}: {error.strerror}{MAKE_ROOM}") from None


def _result(job: Job, folder: Path, code: int, errors: str, stop: threading.Event) -> Result:
    """What a process that has ended with an exit status has left."""
    if stop.is_set() or code == STOPPED:
        raise Interrupted
    if code in (-signal.SIGKILL, 128 + signal.SIGKILL):
        reason = "the system killed the fit (signal 9): most likely out of memory"
        return Result(status=Status.FAILED, reason=reason, again=True)
    if code == FULL:
        raise Unavailable(f"{errors.strip()}{MAKE_ROOM}")
    if code != 0:
        raise RuntimeError(f"the fit of {job.training.variant} broke (exit {code}):\n{errors}")
    return read_result(folder)


def _recorded_stop(folder: Path) -> int | None:
    """The step at which the seconds of an equal fit were over, though its repetition may have been cut off since."""
    found = finished_result(folder)
    if found is not None and found.ended_by is Ended.MAX_SECONDS:
        return found.steps
    path = folder / "job.json"
    step: int | None = json.loads(path.read_text())["training"].get("stop_step") if path.exists() else None
    return step


def finished_result(folder: Path) -> Result | None:
    """The result of a fit that ended well, else None."""
    return read_result(folder) if is_done(folder) else None


@contextlib.contextmanager
def device_lock(home: Path, device: str, stop: threading.Event | None = None) -> Iterator[tuple[int, ...]]:
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


def _child(
    folder: Path,
    threads: int,
    members: Sequence[Path],
    listener: Listener,
    stop: threading.Event,
    locks: tuple[int, ...],
) -> tuple[int, str]:
    """Runs `job.json` of a folder; returns the exit status and the end of what it said of errors.

    The child holds our locks too: where we are killed, whoever comes next waits until it has stopped.
    """
    environment = os.environ | {
        "OMP_NUM_THREADS": str(threads),
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # what makes cuBLAS repeat itself to the bit
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "models.worker", str(folder), "--with-parent", "--code", _code()]
    command += ["--members", *map(str, members)] if members else []
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
        try:
            return _heard(child, listener, stop)
        except BaseException:
            assert child.stdout is not None
            child.stdout.close()  # else one whose words nobody reads any more waits with the next of them
            _end(child)
            raise


def _heard(child: subprocess.Popen[str], listener: Listener, stop: threading.Event) -> tuple[int, str]:
    """Listens to a worker until it ends; its exit status, and the end of what it said of errors."""
    assert child.stdout is not None and child.stderr is not None
    tail: deque[str] = deque(maxlen=40)
    errors = child.stderr
    hearing = threading.Thread(target=lambda: tail.extend(errors), daemon=True)
    ending = threading.Thread(target=_stop_when, args=(child, stop), daemon=True)
    hearing.start()
    ending.start()
    for line in child.stdout:
        said = json.loads(line)
        if "warning" in said:
            listener.warning(said["warning"])
        elif "full" in said:
            tail.append(said["full"])
        else:
            listener.epoch(said)
    code = child.wait()
    hearing.join(timeout=5)
    return code, "".join(tail)


def _stop_when(child: subprocess.Popen[str], stop: threading.Event) -> None:
    """Asks a process to stop after its step when `stop` is set, and ends it where the step takes too long."""
    while child.poll() is None:
        if stop.wait(0.2):
            _end(child)


def _end(child: subprocess.Popen[str]) -> None:
    """Asks a process to stop after its step, with a checkpoint, and ends it where the step takes too long."""
    child.terminate()
    try:
        child.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        child.kill()
