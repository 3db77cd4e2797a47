"""A local server process that cannot outlive this one, whatever it serves.

Three safeguards: we stop the child; the child exits at the end of a pipe that only we hold (kill -9 of us);
the next start ends what a record in our `locks/` names, by process id and start time, never by name.
"""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from http import HTTPStatus
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from flows.runtime.garbage import collect_no_more, settle
from flows.runtime.state import MAKE_ROOM, full_disk
from params.errors import Unavailable, UserError
from tasks import interrupt
from tasks.files import ROOT, placed

if TYPE_CHECKING:
    import psutil

SERVED_BY = "LAGLINE_SERVED_BY"  # the process id of the schedule, for its runs, which end when it does
LOOPBACK = "127.0.0.1"
START_LIMIT = 180.0  # seconds; a first start migrates a database and may compile every module
STOP_LIMIT = 8.0  # seconds
ASKED_AGAIN = 3  # times that a run is asked to end before it is killed
FULL = 74  # exit status of a child whose disk is full: it cannot write that to its log


class Child:
    """A running `python -m MODULE DESCRIPTOR ...`, serving on the inherited, bound socket DESCRIPTOR.

    `port` and `url` are known at once; `wait()` waits until it answers `health`; `stop()` may be repeated.
    We hold the socket too: during `revive`, clients wait instead of being refused or meeting a stranger.
    """

    def __init__(self, home: Path, arguments: list[str], port: int | None, health: str, log: Path, environment: dict[str, str]):
        """Starts the child without waiting; `environment` extends ours.  Raises OSError: `port` is taken."""
        reap_leftovers(home)
        self.home, self.arguments, self.health, self.log, self.environment = home, arguments, health, log, environment
        log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        log.write_bytes(b"")
        self.listener = bind(port)
        self.port: int = self.listener.getsockname()[1]
        self.url = f"http://{LOOPBACK}:{self.port}"
        self.pipe: IO[bytes] | None = None
        self.record: Path | None = None
        try:
            self._start()
        except BaseException:
            self.listener.close()
            raise
        os.register_at_fork(after_in_child=self._let_go)  # a forked worker must not hold it open

    def _start(self) -> None:
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        module, *rest = self.arguments
        # the socket is passed bound, so that nobody else can take the port before the child listens
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", module, str(self.listener.fileno()), *rest],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                bufsize=0,
                pass_fds=(self.listener.fileno(),),
                env={**os.environ, "PYTHONPATH": path, **self.environment},
                start_new_session=True,  # Ctrl-C is for us; we stop the child in order
            )
        self.pipe = self.process.stdin
        try:
            self.record = _write_record(self.home, self.process.pid, self.port)
        except BaseException:  # a full disk
            self._end()
            raise

    def _let_go(self) -> None:
        self.listener.close()
        if self.pipe is not None:
            self.pipe.close()

    def wait(self, limit: float = START_LIMIT) -> None:
        """Returns once the server answers.  Raises UserError with the end of its log if it fails to."""
        try:
            self._answered(limit)
        except UserError:
            self.stop()
            raise

    def _answered(self, limit: float) -> None:
        end = time.monotonic() + limit
        while not answers(self.port, self.health):
            code = self.process.poll()
            if code is not None or time.monotonic() > end:
                self._end()
                if code == FULL:
                    raise Unavailable(f"{self.url}: our server could not start: the disk is full ({self.home}): {MAKE_ROOM}")
                what = f"ended with status {code}" if code is not None else f"did not answer within {limit:.0f} seconds"
                raise UserError(f"{self.url}: our server {what}; the end of {self.log}:\n{tail(self.log)}")
            time.sleep(0.05)

    def revive(self, limit: float = START_LIMIT) -> None:
        """Ends what is left of the child and starts it again on the same port; returns once it answers.

        Raises UserError or OSError if that fails; another try may succeed."""
        self._end()
        self._start()
        self._answered(limit)

    def stop(self) -> None:
        """Shuts the child down, by SIGKILL if need be; returns when it is gone and its port is free."""
        self._end()
        self.listener.close()

    def _end(self) -> None:
        if self.pipe is not None:
            self.pipe.close()  # the signal to end
        try:
            self.process.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.record is not None:
            self.record.unlink(missing_ok=True)


def ended_first(children: Sequence[Child]) -> tuple[Child, int]:
    """Waits until one of the children has ended; returns it with its exit status."""
    while True:
        for child in children:
            if (code := child.process.poll()) is not None:
                return child, code
        time.sleep(0.2)


def bind(port: int | None) -> socket.socket:
    """A loopback socket on `port`, or on any free one (None).  Raises OSError or OverflowError."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if port is not None:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # reuse a port just left
        listener.bind((LOOPBACK, port or 0))
    except BaseException:
        listener.close()
        raise
    return listener


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log, whatever its bytes."""
    try:
        return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]) or "(empty)"
    except OSError as error:
        return f"(cannot be read: {error.strerror})"


def answers(port: int, path: str, limit: float = 5.0) -> bool:
    """Whether our server answers within `limit` seconds that it is healthy."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=limit)  # ignores proxies
    try:
        connection.request("GET", path)
        return connection.getresponse().status in (HTTPStatus.OK, HTTPStatus.UNAUTHORIZED)  # asks for its key
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def serve(descriptor: str, app: Any) -> None:
    """In the child: serves an ASGI application on the inherited socket until its parent ends it or is gone.

    SIGTERM is ignored: one sent to all our processes at once (a stopped service) would end the server before
    the run that still has to report its end to it.
    """
    import uvicorn

    class Server(uvicorn.Server):
        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="on", timeout_graceful_shutdown=3)
    server = Server(config)
    _asked_to_end.append(lambda: setattr(server, "should_exit", True))
    settle()
    server.run(sockets=[socket.socket(fileno=int(descriptor))])
    collect_no_more()


@contextmanager
def told_by_status() -> Iterator[None]:
    """In the child: exits with status FULL on a full disk."""
    try:
        yield
    except Exception as error:
        if full_disk(error):
            os._exit(FULL)
        raise


def die_with_parent() -> None:
    """In the child, before heavy imports: a thread reads stdin and shuts the process down at its end."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)

    def watch() -> None:
        with suppress(OSError):
            while os.read(0, 1):  # not sys.stdin: its lock breaks the interpreter's exit
                pass

    def end() -> None:
        if not _asked_to_end:  # not serving yet
            os._exit(0)
        _asked_to_end[0]()

    _end_after(watch, end)


_asked_to_end: list[Callable[[], None]] = []  # callbacks that shut down a running server


def end_runs() -> None:
    """Asks every process that Prefect started for us to end; our own servers, which they need, keep running.

    Repeats the request, since Python loses a signal that arrives in a destructor, and finally kills.
    """
    _each_run(lambda run: run.terminate())

    def insist() -> None:
        for _ in range(ASKED_AGAIN):
            time.sleep(interrupt.UNDER_WAY + 1)
            _each_run(lambda run: run.terminate())
        time.sleep(interrupt.UNDER_WAY + 1)
        _each_run(lambda run: run.kill())

    threading.Thread(target=insist, name="end-runs", daemon=True).start()


def _each_run(ask: Callable[["psutil.Process"], None]) -> None:
    import psutil

    for process in psutil.Process().children():
        with suppress(psutil.Error):
            if "flows.runtime.server" not in process.cmdline():
                ask(process)


def end_without(parent: int) -> None:
    """In a process started by another library: ends it with its parent, which is checked every second."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)

    _end_after(watch, lambda: os.kill(os.getpid(), signal.SIGTERM))


def _end_after(watch: Callable[[], None], end: Callable[[], None]) -> None:
    """Ends the process when `watch`, in its own thread, returns."""

    def run() -> None:
        watch()
        end()
        time.sleep(STOP_LIMIT)
        os._exit(1)

    threading.Thread(target=run, name="parent-watch", daemon=True).start()


def _started(pid: int) -> float | None:
    """When process `pid` began (seconds since 1970); None if there is none or it is a zombie."""
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())
    except psutil.Error:
        return None


def _same(pid: int, started: float) -> bool:
    """Whether `pid` is still the process that began at `started`, allowing for a small clock drift."""
    now = _started(pid)
    return now is not None and abs(now - started) < 1.0


def _write_record(home: Path, pid: int, port: int) -> Path:
    """Writes `locks/server-<pid>.json`: the child, and us as its owner."""
    path = home / "locks" / f"server-{pid}.json"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    owner = os.getpid()
    record = {"pid": pid, "started": _started(pid), "port": port, "owner": owner, "owner_started": _started(owner)}
    with placed(path) as partial:
        partial.write_text(json.dumps(record), encoding="utf-8")
    return path


def reap_leftovers(home: Path) -> list[int]:
    """Ends every recorded child whose owner is gone; returns their pids.  A reused pid is spared."""
    import psutil

    reaped = []
    for path in (home / "locks").glob("server-*.json"):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            pid, started = int(record["pid"]), float(record["started"])
            if _same(int(record["owner"]), float(record["owner_started"])):
                continue  # another run of ours, still alive
        except (OSError, ValueError, LookupError, TypeError):
            path.unlink(missing_ok=True)
            continue
        with suppress(psutil.Error):
            process = psutil.Process(pid)  # pinned to its start time: signals hit no successor
            if _same(pid, started):
                process.terminate()
                if psutil.wait_procs([process], timeout=STOP_LIMIT)[1]:
                    process.kill()
                reaped.append(pid)
        path.unlink(missing_ok=True)
    return reaped
