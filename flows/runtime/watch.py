"""Keeps our Prefect server alive: restarts one that died or hangs, with its port, key and database."""

import itertools
import sys
import threading
import time
from collections.abc import Callable

from flows.runtime.child import Child, answers
from params.errors import UserError
from tasks import interrupt
from tasks.serve.notify import notify

LOOK, ASK = 0.5, 10.0  # seconds between looks at the process, and between health checks
SILENT = 3  # failed health checks after which a server counts as gone
GRACE = 1.0  # seconds: a signal to all our processes ends the server first
STEP = 60.0  # seconds: a smaller step back of the clock is a mere correction
TRIES, PAUSES = 3, (2.0, 10.0, 60.0)  # restart attempts, and the seconds after each of them


def _clock() -> float:
    """Changes if the clock is set or the machine sleeps."""
    return time.time() - time.monotonic()


class Watch:
    """A thread that restarts a child whenever it goes away, until `over`.

    `lasting`: for a schedule, which depends on the server; a single run does not.  It is also restarted after
    the clock was set back, since its services wait for times of the old clock; then `set_back` is called.
    """

    def __init__(self, child: Child, lasting: bool, clock: Callable[[], float] = _clock) -> None:
        self.child, self.lasting, self.clock = child, lasting, clock
        self.set_back: Callable[[], None] = lambda: None
        self._over, self._turn = threading.Event(), threading.Lock()
        threading.Thread(target=self._watch, name="prefect-watch", daemon=True).start()

    def over(self) -> None:
        """Stops the restarts; returns when none is in progress."""
        self._over.set()
        while not self._turn.acquire(timeout=0.2):
            self.child.process.terminate()
        self._turn.release()

    def _watch(self) -> None:
        """Counts failed checks, not seconds without an answer: the clock runs on while a laptop sleeps."""
        asked, silent, clock = time.monotonic(), 0, self.clock()
        while not self._over.wait(LOOK):
            before, clock = clock, self.clock()
            if self.lasting and before - clock > STEP and self.child.process.poll() is None:
                self._after_a_step(before - clock)
                asked, silent = time.monotonic(), 0
            ended = self.child.process.poll()
            if ended is None and time.monotonic() - asked < ASK:
                continue
            if ended is None:
                silent = 0 if answers(self.child.port, self.child.health, ASK) else silent + 1
                asked = time.monotonic()
            if ended is not None or silent >= SILENT:
                if self._over.wait(GRACE) or interrupt.asked() or not self._start_again(_words(ended)):
                    self.child.listener.close()  # nobody is to wait for it
                    return
                asked, silent = time.monotonic(), 0

    def _after_a_step(self, seconds: float) -> None:
        why = f"the clock was set back by {seconds:,.0f} s"
        if self._start_again(f"is started again, since {why}"):
            try:
                self.set_back()
            except Exception as error:
                why += f"; the due times could not be planned again ({type(error).__name__}: {error}): start `serve` again"
        notify("warning", "serve", why=why)

    def _start_again(self, how: str) -> bool:
        _say(f"our Prefect server {how}, and what runs goes on")
        for tries in itertools.count(1):
            try:
                with self._turn:
                    if self._over.is_set():
                        return False
                    self.child.revive()
                return True
            except (UserError, OSError) as error:
                why = f"our Prefect server cannot be started again: {error}"
            if tries == TRIES and not self.lasting:
                _say(f"{why}\nWhat runs goes on without it, and is not shown in Prefect")
                return False
            if tries == TRIES:
                _say(f"{why}\nIt is tried again every {PAUSES[-1]:.0f} s; no run begins without it")
                notify("warning", "serve", why=why)
            if self._over.wait(PAUSES[min(tries, len(PAUSES)) - 1]) or interrupt.asked():
                return False
        raise AssertionError("itertools.count has no end")


def _words(ended: int | None) -> str:
    how = "does not answer any more" if ended is None else f"has ended ({ended if ended >= 0 else f'signal {-ended}'})"
    return f"{how}; it is started again"


def _say(text: str) -> None:
    print(f"lagline: {text}", file=sys.stderr, flush=True)
