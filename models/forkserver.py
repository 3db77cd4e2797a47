"""Starts fits as forks of a process that has imported torch: `python -m models.forkserver DESCRIPTOR`.

DESCRIPTOR is one end of a Unix socket (SOCK_SEQPACKET).  Each message asks for one fit: JSON with the
arguments of `models/worker.py` and the environment, and file descriptors: its standard input, output and
error, a pipe for its status, then locks that it holds to its end.  The pipe gets the process id at once and
the exit status (negative: a signal) when the fit has ended.  The server ends when the other end is closed.
"""

import contextlib
import gc
import json
import os
import selectors
import signal
import socket
import sys
import traceback
from collections.abc import Sequence

MESSAGE, DESCRIPTORS = 2**20, 64  # bytes of a message, and descriptors with it, at most
STANDARD = 3  # standard input, output and error
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def serve(control: socket.socket) -> None:
    """Forks until the other end of `control` is closed."""
    gc.disable()  # looking for garbage takes a quarter of the time of these imports
    import torch._dynamo  # noqa: F401 (a second and more of CPU time, which the first optimizer of a process takes)

    import models.worker  # noqa: F401

    gc.freeze()  # forks share what is imported; collecting garbage in one would copy it
    for number in SIGNALS:  # they are for the parent, whose end ends this process
        signal.signal(number, signal.SIG_IGN)
    selector = selectors.DefaultSelector()
    selector.register(control, selectors.EVENT_READ)
    running: dict[int, tuple[int, int]] = {}  # pidfd -> process id, status pipe
    while True:
        for key, _ in selector.select():
            if key.fd in running:
                selector.unregister(key.fd)
                _report(key.fd, *running.pop(key.fd))
                continue
            message, descriptors, *_ = socket.recv_fds(control, MESSAGE, DESCRIPTORS)
            if not message:
                return
            signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # one to the fork waits until it is ready for it
            process = os.fork()
            if process == 0:
                for owned in (selector, control):
                    owned.close()
                for pidfd, (_, status) in running.items():
                    os.close(pidfd)
                    os.close(status)
                _become(json.loads(message), descriptors)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            status = descriptors.pop(STANDARD)
            for descriptor in descriptors:
                os.close(descriptor)
            _tell(status, process)
            pidfd = os.pidfd_open(process)
            running[pidfd] = process, status
            selector.register(pidfd, selectors.EVENT_READ)


def _become(asked: dict[str, object], descriptors: Sequence[int]) -> None:
    """In the fork: is `python -m models.worker ARGUMENTS` from here on.  Does not return."""
    from models import worker

    code = 1
    gc.enable()
    try:
        for place, descriptor in enumerate(descriptors[:STANDARD]):
            os.dup2(descriptor, place)
        for descriptor in descriptors[: STANDARD + 1]:
            os.close(descriptor)
        os.environ.clear()
        os.environ.update(asked["environment"])  # type: ignore[call-overload]
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        code = worker.main(asked["arguments"])  # type: ignore[arg-type]
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _report(pidfd: int, process: int, status: int) -> None:
    """Passes on the exit status of a fit that has ended."""
    _tell(status, os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
    os.close(status)
    os.close(pidfd)


def _tell(status: int, number: int) -> None:
    with contextlib.suppress(BrokenPipeError):  # nobody waits for it any more
        os.write(status, b"%d\n" % number)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
