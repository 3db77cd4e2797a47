"""Limits how long a block waits for the tracking server, over all its calls.

MLflow limits one try of a request, but not a call that makes many requests, or a step that makes many calls.
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
BOUNDS = {TRIES: "3", TIMEOUT: "15"}  # MLflow's defaults, 7 and 120 s, add up to 20 minutes
LONGEST = 30.0  # seconds, if the user sets no bounds
SLOW = 10.0  # seconds: time beyond this counts as waiting, even if the call is then answered
PAUSES = (0.5, 2.0, 4.0)  # seconds before each retry
LOOK = 0.5  # seconds between checks for arriving data


def set_bounds() -> None:
    """Bounds MLflow's retries and timeout, here and in child processes, unless the user set them."""
    os.environ.update({name: value for name, value in BOUNDS.items() if not os.environ.get(name)})


class Silent(Exception):
    """The server did not reply within the time limit of a block."""


class Waiting:
    """The time limit of a block; `left`: the seconds that it may still wait."""

    def __init__(self) -> None:
        bounds_set = all(os.environ.get(name) == value for name, value in BOUNDS.items())
        self.left = LONGEST
        with contextlib.suppress(LookupError, ValueError):  # MLflow itself rejects invalid numbers
            if not bounds_set:
                self.left = max(LONGEST, 1.5 * (int(os.environ[TRIES]) + 1) * float(os.environ[TIMEOUT]))
        self.pauses, self.longest = PAUSES if bounds_set else (), self.left

    def ask(
        self, call: Callable[[], Any], away: Callable[[BaseException], bool], arrived: Callable[[], object] = lambda: None
    ) -> Any:
        """The result of a call, retried while the server is `away`.  Raises Silent when no time is left.

        `arrived`: a value that changes while data come in; that time does not count.
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
        """Runs a call in its own thread, abandoned if it hangs: a socket read cannot be cancelled."""
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
                good, outcome = answers.get(timeout=min(LOOK, max(self.left, 0.01)))
                waited = time.monotonic() - since
                self.left -= max(waited - SLOW, 0.0) if good else waited
                if good:
                    return outcome
                raise outcome
            now = arrived()
            if now != there:
                since, there = time.monotonic(), now
            if time.monotonic() - since >= self.left:
                self.left = 0.0
                raise Silent


@contextlib.contextmanager
def one_try_a_call(waiting: Waiting) -> Iterator[None]:
    """Within the block MLflow does not retry, since `ask` does, so that abandoned calls end soon."""
    before = os.environ.get(TRIES)
    if waiting.pauses:
        os.environ[TRIES] = "0"
    try:
        yield
    finally:
        if waiting.pauses and before is not None:
            os.environ[TRIES] = before
