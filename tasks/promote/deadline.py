"""The time that the gates of a promotion may take together, and at which of them it was over; judges nothing."""

import math
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from params.errors import UserError
from tasks.engine.contract import Interrupted

LONGEST = 1e6  # seconds: a process is waited for no longer at a time, whatever the time is


class Overdue(UserError):
    """The time was over before every gate had given its verdict: nothing is decided."""


class Deadline:
    """`stop` is set once the time is over; what a gate starts is to end with it."""

    def __init__(self, minutes: float | None) -> None:
        self.gate, self.minutes, self.stop = "", minutes, threading.Event()
        self._end = None if minutes is None else time.monotonic() + 60 * minutes

    @property
    def left(self) -> float | None:
        """Seconds until it is over, or None where nothing bounds it."""
        return None if self._end is None else min(max(self._end - time.monotonic(), 0.0), LONGEST)

    def at(self, gate: str) -> None:
        """The next gate begins.  Raises Overdue, naming the one before it, where the time is over."""
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
    """A bound on the block in minutes, None for none.  Raises Overdue where it cut off a process of a gate."""
    found = Deadline(minutes)
    timer = threading.Timer(min(60 * (minutes or math.inf), threading.TIMEOUT_MAX), found.stop.set)
    timer.daemon = True
    timer.start()
    try:
        yield found
    except (Interrupted, subprocess.TimeoutExpired) as error:
        if found.left == 0:
            raise found.overdue() from error
        raise
    finally:
        timer.cancel()
