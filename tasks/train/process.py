"""One fit in its folder: run by the engine, or reused.

The folder is named by the fit's identity: a finished fit is reused, a killed one resumes from a checkpoint.
"""

import json
import signal
import threading
from dataclasses import dataclass
from pathlib import Path

from models.fit.checkpoint import StorageFull, write_bytes
from models.fit.job import Job, is_baseline, read_result
from models.fit.settings import Ended, Result, Status
from models.worker import Evaluated, is_done
from params.errors import Unavailable
from tasks.engine.choice import engine
from tasks.engine.contract import FULL, KILLED, STOPPED, Interrupted, Listener, Work
from tasks.engine.local import LOCAL
from tasks.locks import lock
from tasks.train import identity
from tasks.train.code import WORKER, code_digest
from tasks.train.kept import emptied, own_folder, put_damaged_aside

MAKE_ROOM = ": make room and start the same command again; what was saved before is whole"


@dataclass(frozen=True)
class Outcome:
    """The outcome of a fit: its result, its worker's findings on its forecasts, and whether it was reused."""

    result: Result
    evaluated: Evaluated | None = None
    reused: bool = False


def fit_folder(job: Job, home: Path) -> Path:
    """The folder of a fit's checkpoints and result, named by its identity."""
    return home / "checkpoints" / identity.identity(job, job.panel.name)


def run_fit(job: Job, home: Path, listener: Listener, stop: threading.Event, fresh: bool = False) -> Outcome:
    """Runs a job with the engine, or returns its finished result; one at a time per identity.

    Finished weights are kept and forecast again if the forecasting code has changed.  A `fresh` fit that
    `max_seconds` once ended stops at the same step.  An ensemble's networks are trained first; those of a
    greedy one are the run's own, already trained, and failed ones are left out. Raises Interrupted after
    `stop`, Unavailable on a full disk, RuntimeError if the process broke otherwise.
    """
    members: list[Path] = []
    folder = fit_folder(job, home)
    with lock(home, f"fit-{folder.name[:16]}"):
        _put_damaged_aside(folder, listener)
    if job.members and (fresh or finished_result(folder) is None or (job.greedy and not _is_current(Evaluated.read(folder)))):
        for member in job.trained:
            outcome = run_fit(member, home, listener, stop, fresh and not job.greedy)
            if not outcome.result.finished and (outcome.result.again or not job.greedy):
                name, seed = member.training.variant, member.training.seed
                reason = f"its member {name} (seed {seed}) failed: {outcome.result.reason}"
                return Outcome(Result(status=Status.FAILED, reason=reason, again=outcome.result.again))
            members.append(fit_folder(member, home))
    with lock(home, f"fit-{folder.name[:16]}") as ours:
        done, evaluated = finished_result(folder), Evaluated.read(folder)
        if done and not fresh and evaluated is not None and _is_current(evaluated):
            return Outcome(done, evaluated, reused=True)
        job = _write_job(job, folder)
        if fresh:
            emptied(folder)
        runs = LOCAL if job.members or is_baseline(job.family) else engine()  # inputs are local
        with runs.turn(home, job.device) as devices:
            if stop.is_set():
                raise Interrupted
            code, errors = runs.run(Work(folder, job, _code(), members), listener, stop, (ours, *devices))
        result = _result(job, folder, code, errors, stop)
        return Outcome(result, Evaluated.read(folder) if result.finished else None, reused=bool(done) and not fresh)


def _put_damaged_aside(folder: Path, listener: Listener) -> None:
    """Moves aside whatever is not as the fit wrote it, with a warning."""
    names = [*own_folder(folder), *put_damaged_aside(folder)]
    if names:
        again = "forecasts" if names == ["evaluation.json"] else "is trained"
        listener.warning(f"{', '.join(names)} of a kept fit is damaged, or not its own, and is put aside: it {again} again")


def _is_current(evaluated: Evaluated | None) -> bool:
    """Whether the forecasts were made by the current code."""
    return evaluated is not None and evaluated.code == _code()


def _code() -> str:
    """The digest of the code that forecasts with trained weights."""
    return code_digest(start=WORKER)


def _write_job(job: Job, folder: Path) -> Job:
    """Writes `job.json` and returns the job; keeps the step at which an equal fit ran out of seconds."""
    stop_step = _recorded_stop(folder)
    if stop_step is not None:
        job = job.with_training(stop_step=stop_step)
    try:
        write_bytes(folder / "job.json", json.dumps(job.to_dict()).encode())
    except StorageFull as error:
        raise Unavailable(f"{error.filename}: {error.strerror}{MAKE_ROOM}") from None
    return job


def _result(job: Job, folder: Path, code: int, errors: str, stop: threading.Event) -> Result:
    """The result of a process that ended with an exit status.  Raises as `run_fit` does."""
    if stop.is_set() or code == STOPPED:
        raise Interrupted
    if code in (KILLED, 128 + signal.SIGKILL):
        reason = "the system killed the fit (signal 9): most likely out of memory"
        return Result(status=Status.FAILED, reason=reason, again=True)
    if code == FULL:
        raise Unavailable(f"{errors.strip()}{MAKE_ROOM}")
    if code != 0:
        raise RuntimeError(f"the fit of {job.training.variant} broke (exit {code}):\n{errors}")
    return read_result(folder)


def _recorded_stop(folder: Path) -> int | None:
    """The step at which an equal fit ran out of seconds, even if a repetition was interrupted since."""
    result = finished_result(folder)
    if result is not None and result.ended_by is Ended.MAX_SECONDS:
        return result.steps
    path = folder / "job.json"
    step: int | None = json.loads(path.read_text())["training"].get("stop_step") if path.exists() else None
    return step


def finished_result(folder: Path) -> Result | None:
    """The result of a fit that ended well, else None."""
    return read_result(folder) if is_done(folder) else None
