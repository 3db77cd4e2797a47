"""Fits as forks of a server (`models/forkserver.py`) that has imported torch once, which takes seconds per fit else.

One server per environment of the libraries; it ends with this process, however that ends.  Linux only: forks
of a process that has imported torch are not safe on macOS.
"""

import atexit
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import IO

from tasks.files import ROOT

# what the libraries read from the environment when they are imported
AT_IMPORT = ("PYTHON", "OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "TORCH", "PYTORCH", "ATEN_", "LD_", "CUDA_", "CUBLAS_")
SET_LATER = ("PYTHON_COLORS", "TORCHINDUCTOR_CACHE_DIR")  # by us and by torch while a command runs; no fit depends on them
POSSIBLE = sys.platform == "linux" and hasattr(os, "pidfd_open")


class NoServer(Exception):
    """The fork server does not run: start the fit as a process of its own."""


class Forked:
    """A running fit; like `subprocess.Popen` as far as it goes."""

    def __init__(self, stdin: IO[str], stdout: IO[str], stderr: IO[str], status: IO[str]) -> None:
        """Raises NoServer unless the status pipe says the process id."""
        self.stdin, self.stdout, self.stderr, self._status = stdin, stdout, stderr, status
        self.returncode: int | None = None
        self._reading = threading.Lock()
        line = status.readline()
        if not line:
            raise NoServer
        self.pid = int(line)
        try:
            self._pidfd = os.pidfd_open(self.pid)
        except ProcessLookupError:  # it has ended already
            self._pidfd = -1

    def __enter__(self) -> "Forked":
        return self

    def __exit__(self, *_: object) -> None:
        """Waits for the end, as that of Popen does."""
        for pipe in (self.stdout, self.stderr, self.stdin):
            pipe.close()
        self.wait()
        self._status.close()
        if self._pidfd >= 0:
            os.close(self._pidfd)

    def poll(self) -> int | None:
        """The exit status, negative for a signal; None while the fit runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, once the fit has ended.  Raises subprocess.TimeoutExpired after `timeout` seconds."""
        if self.returncode is None:
            self._once_ready(self._status, timeout)
            with self._reading:
                if self.returncode is None and (line := self._status.readline()):
                    self.returncode = int(line)
        if self.returncode is None:  # the server is gone, and nobody will know the status
            if self._pidfd >= 0:
                self._once_ready(self._pidfd, timeout)
            self.returncode = -signal.SIGKILL
        return self.returncode

    def _once_ready(self, source: IO[str] | int, timeout: float | None) -> None:
        if not select.select([source], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired("models.worker", timeout or 0.0)

    def terminate(self) -> None:
        """Asks it to stop."""
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it."""
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)


class _Server:
    """A running fork server and our end of its socket."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, "-m", "models.forkserver", str(theirs.fileno())]
            quiet = subprocess.DEVNULL
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdin=quiet, stdout=quiet, stderr=quiet, pass_fds=[theirs.fileno()]
            )
        atexit.register(self.close)

    def close(self) -> None:
        """Ends the server, unless a process that we were forked from still uses it."""
        self.control.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(1)

    def start(self, arguments: Sequence[str], environment: Mapping[str, str], locks: Sequence[int]) -> Forked:
        """Starts a fit.  Raises NoServer."""
        pipes = [os.pipe() for _ in range(4)]  # standard input, output, error; status
        theirs = [pipes[0][0], *(write for _, write in pipes[1:])]
        ours = [pipes[0][1], *(read for read, _ in pipes[1:])]
        with contextlib.ExitStack() as opened:
            files = [
                opened.enter_context(os.fdopen(descriptor, "r" if place else "w")) for place, descriptor in enumerate(ours)
            ]
            try:
                message = json.dumps({"arguments": list(arguments), "environment": dict(environment)}).encode()
                socket.send_fds(self.control, [message], [*theirs, *locks])
            except OSError:
                raise NoServer from None
            finally:
                for descriptor in theirs:
                    os.close(descriptor)
            fork = Forked(*files)
            opened.pop_all()  # they are closed with the fit
        return fork


_SERVERS: dict[tuple[tuple[str, str], ...], _Server] = {}
_starting = threading.Lock()


def fork(arguments: Sequence[str], environment: Mapping[str, str], locks: Sequence[int] = ()) -> Forked:
    """Starts `models/worker.py` with these arguments as a fork.  Raises NoServer where that is not possible.

    `locks`: descriptors that the fit holds to its end.
    """
    if not POSSIBLE:
        raise NoServer
    server = warm_up(environment)
    try:
        return server.start(arguments, environment, locks)
    except NoServer:
        with _starting:
            for key in [key for key, other in _SERVERS.items() if other is server]:
                del _SERVERS[key]
        raise


def warm_up(environment: Mapping[str, str]) -> _Server:
    """The fork server for an environment; it need not be ready yet."""
    read = {name: value for name, value in environment.items() if name.startswith(AT_IMPORT) and name not in SET_LATER}
    key = tuple(sorted(read.items()))
    with _starting:
        if key not in _SERVERS:
            _SERVERS[key] = _Server(environment)
        return _SERVERS[key]
