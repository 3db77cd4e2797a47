"""How long a block waits in vain for the tracking server: all of its calls together, whatever else the machine is busy with.

MLflow bounds a single try of a request, and not what a call that makes many of them takes, or a decision that makes many calls.
"""

import contextlib
import contextvars
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

TRIES, TIMEOUT = "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT"
BOUNDS = {TRIES: "3", TIMEOUT: "15"}  # MLflow's own: 7 and 120 s, 20 minutes in all
LONGEST = 30.0  # seconds, where the user sets no bounds
SLOW = 10.0  # seconds: a call that is answered as late counts as waiting in vain from there on
PAUSES = (0.5, 2.0, 4.0)  # seconds before another try
LOOK = 0.5  # seconds between two looks at what arrives


def set_bounds() -> None:
    """Bounds MLflow's tries of a request, here and in child processes, unless the user has."""
    os.environ.update({name: value for name, value in BOUNDS.items() if not os.environ.get(name)})


class Silent(Exception):
    """The server did not reply for the seconds of a block."""


class Waiting:
    """`left`: the seconds that may still be waited in vain."""

    def __init__(self) -> None:
        own = all(os.environ.get(name) == value for name, value in BOUNDS.items())
        self.left = LONGEST
        with contextlib.suppress(LookupError, ValueError):  # what is no number MLflow refuses
            if not own:
                self.left = max(LONGEST, 1.5 * (int(os.environ[TRIES]) + 1) * float(os.environ[TIMEOUT]))
        self.pauses, self.longest = PAUSES if own else (), self.left

    def ask(
        self, call: Callable[[], Any], away: Callable[[BaseException], bool], arrived: Callable[[], object] = lambda: None
    ) -> Any:
        """The result of a call, tried again where the server was `away`.  Raises Silent once no second is left.

        `arrived`: what changes while something comes in; then nobody waits in vain.
        """
        for pause in (*self.pauses, None):
            try:
                return self._once(call, arrived)
            except Exception as error:
                if pause is None or not away(error) or self.left <= pause:
                    raise
            self.left -= pause
            time.sleep(pause)
        raise AssertionError

    def _once(self, call: Callable[[], Any], arrived: Callable[[], object]) -> Any:
        """In a thread of its own, which is left alone where it hangs: no read of a socket can be ended from outside."""
        answers: queue.SimpleQueue[tuple[bool, Any]] = queue.SimpleQueue()
        within = contextvars.copy_context()

        def run() -> None:
            try:
                answers.put((True, within.run(call)))
            except BaseException as error:
                answers.put((False, error))

        threading.Thread(target=run, name="asks the tracking server", daemon=True).start()
        since, there = time.monotonic(), arrived()
        while True:
            with contextlib.suppress(queue.Empty):
                good, found = answers.get(timeout=min(LOOK, max(self.left, 0.01)))
                waited = time.monotonic() - since
                self.left -= max(waited - SLOW, 0.0) if good else waited
                if good:
                    return found
                raise found
            now = arrived()
            if now != there:
                since, there = time.monotonic(), now
            if time.monotonic() - since >= self.left:
                self.left = 0.0
                raise Silent


@contextlib.contextmanager
def one_try_a_call(waiting: Waiting) -> Iterator[None]:
    """MLflow itself tries a request once in the block, where `ask` tries again, so that what was left alone ends soon."""
    before = os.environ.get(TRIES)
    if waiting.pauses:
        os.environ[TRIES] = "0"
    try:
        yield
    finally:
        if waiting.pauses and before is not None:
            os.environ[TRIES] = before
