"""The time limit of a promotion's gates together, and the gate at which it ran out; judges nothing."""

import math
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from params.errors import UserError
from tasks.engine.contract import Interrupted

LONGEST = 1e6  # seconds: the longest single wait for a process, whatever the limit


class Overdue(UserError):
    """Time ran out before every gate had its verdict: nothing is decided."""


class Deadline:
    """`stop` is set when time runs out; everything that a gate starts must end with it."""

    def __init__(self, minutes: float | None) -> None:
        self.gate, self.minutes, self.stop = "", minutes, threading.Event()
        self._end = None if minutes is None else time.monotonic() + 60 * minutes

    @property
    def left(self) -> float | None:
        """Seconds left, or None without a limit."""
        return None if self._end is None else min(max(self._end - time.monotonic(), 0.0), LONGEST)

    def at(self, gate: str) -> None:
        """Starts the next gate.  Raises Overdue, naming the gate before it, if time has run out."""
        if self.gate and self.left == 0:
            raise self.overdue()
        self.gate = gate

    def overdue(self) -> Overdue:
        """The error to raise."""
        return Overdue(
            f"the gate {self.gate} was not through after {self.minutes:g} minutes (promotion.timeout_minutes, or --timeout): "
            "nothing was decided, and the champion stays; give it more with `python -m flows promote NAME --timeout MINUTES`"
        )


@contextmanager
def deadline(minutes: float | None) -> Iterator[Deadline]:
    """Limits a block in minutes; None: no limit.  Raises Overdue if it cut off a gate's process."""
    limit = Deadline(minutes)
    timer = threading.Timer(min(60 * (minutes or math.inf), threading.TIMEOUT_MAX), limit.stop.set)
    timer.daemon = True
    timer.start()
    try:
        yield limit
    except (Interrupted, subprocess.TimeoutExpired) as error:
        if limit.left == 0:
            raise limit.overdue() from error
        raise
    finally:
        timer.cancel()
