"""Fits as processes of this machine: starts, monitors and stops them; devices, and how many run at a time.

Such a process is ours to end, frees its resources when it ends, and does not outlive us.
"""

import contextlib
import json
import os
import platform
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import psutil

from models.fit.settings import Resources
from models.remote import arithmetic, kind_of
from models.worker import PATIENCE
from params.errors import UserError
from tasks.engine.contract import ANY, Engine, Interrupted, Listener, Node, Pool, Work, variables
from tasks.engine.forked import Forked, NoServer, fork
from tasks.engine.room import needs_of, slots
from tasks.files import ROOT
from tasks.locks import Held, lock


class Local:
    """The engine that needs only this machine."""

    name, here = "local", True

    def pool(self) -> Pool:
        """This machine."""
        import torch

        kinds = {"cpu": arithmetic("cpu")} | {device: arithmetic(device) for device in ("cuda", "mps") if _available(device)}
        node = Node(
            address=platform.node(),
            cpus=cores(),
            gpus=torch.cuda.device_count(),
            memory=psutil.virtual_memory().total,
            kinds=kinds,
            torch=torch.__version__,
            python=platform.python_version(),
        )
        return Pool(address="this machine", nodes=(node,))

    def device(self) -> str:
        """LAGLINE_DEVICE, or the best available: cuda, mps, cpu.  Raises UserError for a missing device."""
        import torch  # takes a second or two, and not every verb needs it

        wanted = os.environ.get("LAGLINE_DEVICE", "").strip()
        here = {name: _available(name) for name in ("cuda", "mps", "cpu")}
        if not wanted:
            return next(name for name, available in here.items() if available)
        kind, _, number = wanted.partition(":")
        known = kind in here and (not number or (kind == "cuda" and number.isdecimal()))
        if not known or not here[kind] or (number and int(number) >= torch.cuda.device_count()):
            names = ", ".join(name for name, available in here.items() if available)
            raise UserError(f"LAGLINE_DEVICE={wanted}: there is no such device here; found: {names}")
        return wanted

    def jobs(self, threads: int, device: str, resources: Resources = ANY) -> int:
        """LAGLINE_JOBS, or as many fits as cores and memory allow; one on an accelerator.

        Raises UserError for an invalid number.
        """
        text = os.environ.get("LAGLINE_JOBS", "").strip()
        if text:
            if not (text.isascii() and text.isdigit() and len(text) <= 4 and int(text) >= 1):
                raise UserError(f"LAGLINE_JOBS={text}: write a whole number of at least 1, and of four digits at most")
            return int(text)
        if device != "cpu":
            return 1
        here = Node(address="", cpus=cores(), memory=psutil.virtual_memory().total)
        return max(1, min(slots([here], needs_of(threads, device, replace(resources, gpus=0.0))), 16))

    def kind(self, device: str, threads: int, resources: Resources = ANY) -> str:
        """The arithmetic of a fit here."""
        return kind_of(device, threads)

    def summary(self, device: str, resources: Resources = ANY) -> str:
        """The device."""
        return device

    def round_trips(self) -> Mapping[str, float]:
        """Empty: nothing is sent."""
        return {}

    def remark(self) -> str | None:
        """None."""
        return None

    @contextlib.contextmanager
    def turn(self, home: Path, device: str, stop: threading.Event | None = None) -> Iterator[tuple[int, ...]]:
        """One fit at a time on an accelerator, also across comparisons, unless LAGLINE_JOBS is set.

        Yields the lock's descriptor.  The kernel frees it however its holder ends; Prefect's own limits leak
        a slot after a kill.  Raises Interrupted if `stop` is set before our turn comes.
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

    def run(self, work: Work, listener: Listener, stop: threading.Event, locks: tuple[int, ...] = ()) -> tuple[int, str]:
        """Runs a fit in a child process.

        The child holds our locks too: if we are killed, others wait until it has stopped.
        """
        arguments = [str(work.folder), "--with-parent", "--code", work.code]
        arguments += ["--members", *map(str, work.members)] if work.members else []
        environment = os.environ | variables(work.job.threads) | {"PYTHONPATH": str(ROOT)}
        with started(arguments, environment, locks, forks=work.job.device == "cpu") as child:
            try:
                return _listen_to(child, listener, stop)
            except BaseException:
                assert child.stdout is not None
                child.stdout.close()  # a child with an unread pipe would block on its next line
                _end(child)
                raise


LOCAL: Engine = Local()


def started(
    arguments: Sequence[str], environment: Mapping[str, str], locks: tuple[int, ...], forks: bool
) -> "subprocess.Popen[str] | Forked":
    """A running worker (`models/worker.py`) with these arguments; holds `locks` to its end.

    `forks`: as a fork of a process that has imported torch already, where that is possible.
    """
    if forks:
        with contextlib.suppress(NoServer):
            return fork(arguments, environment, locks)
    return subprocess.Popen(
        [sys.executable, "-m", "models.worker", *arguments],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        pass_fds=locks,
    )


def cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _available(device: str) -> bool:
    """Whether this machine has a device."""
    import torch

    return device == "cpu" or (torch.cuda if device == "cuda" else torch.backends.mps).is_available()


def _listen_to(child: subprocess.Popen[str] | Forked, listener: Listener, stop: threading.Event) -> tuple[int, str]:
    """Reads a worker's messages until it ends; returns its exit status and the end of its error output."""
    assert child.stdout is not None and child.stderr is not None
    tail: deque[str] = deque(maxlen=40)
    errors = child.stderr
    hearing = threading.Thread(target=lambda: tail.extend(errors), daemon=True)
    ending = threading.Thread(target=_stop_when, args=(child, stop), daemon=True)
    hearing.start()
    ending.start()
    for line in child.stdout:
        message = json.loads(line)
        if "warning" in message:
            listener.warning(message["warning"])
        elif "full" in message:
            tail.append(message["full"])
        else:
            listener.epoch(message)
    code = child.wait()
    hearing.join(timeout=5)
    return code, "".join(tail)


def _stop_when(child: subprocess.Popen[str] | Forked, stop: threading.Event) -> None:
    """Asks a process to stop after its step once `stop` is set, and kills it if the step takes too long."""
    while child.poll() is None:
        if stop.wait(0.2):
            _end(child)


def _end(child: subprocess.Popen[str] | Forked) -> None:
    """Asks a process to stop after its step, with a checkpoint, and kills it if the step takes too long."""
    child.terminate()
    try:
        child.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        child.kill()
