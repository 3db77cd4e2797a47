"""Ctrl-C, SIGTERM and SIGHUP: that they end every wait at once, and that none is lost before what cannot be taken back.

polars has a handler of its own, after which waiting calls (for a child, a lock) begin again as if nothing had come.  And one
that comes in a destructor Python prints and forgets, and the work goes on to its end.
"""

import signal
import threading
import time
from types import FrameType

UNDER_WAY = 15.0  # seconds
_asked = threading.Event()
_last: list[float] = []  # when a signal last did
_ended_by: list[int] = []  # the signals that have asked us to end, but a Ctrl-C that nobody noted


def end_in_order() -> None:
    """From here on SIGTERM and SIGHUP end this process as Ctrl-C does.  What is ignored (nohup) stays so.  Main thread only."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, ended_by)


def ended_by(number: int, frame: FrameType | None) -> None:
    """Does what Ctrl-C would do here and now, and keeps by which signal; another one soon after it is not a second Ctrl-C."""
    if again():
        return
    note(number)
    handler = signal.getsignal(signal.SIGINT)
    if not callable(handler):  # a shell has us ignore Ctrl-C, or a library has a handler of its own
        raise KeyboardInterrupt
    handler(signal.SIGINT, frame)


def note(number: int) -> None:
    """Keeps that a signal has asked this process to end."""
    _ended_by.append(number)
    _last[:] = [time.monotonic()]


def again() -> bool:
    """Whether a signal has asked for it a moment ago, so that the end is under way."""
    return bool(_last) and time.monotonic() - _last[0] < UNDER_WAY


def ended() -> signal.Signals:
    """The signal by which this process ends: SIGINT where no other has come."""
    return signal.Signals(_ended_by[-1] if _ended_by else signal.SIGINT)


def asked() -> bool:
    """Whether a signal has asked this process, and maybe all its children, to end."""
    return bool(_ended_by)


def listen(decides: bool = False) -> None:
    """From here on a Ctrl-C ends every wait; for a command that `decides` something it is kept, too.  Main thread only."""
    import polars  # noqa: F401 (what it sets it sets now, and not after us)

    signal.siginterrupt(signal.SIGINT, True)
    if decides:
        _asked.clear()
        signal.signal(signal.SIGINT, _remember)


def check() -> None:
    """Raises KeyboardInterrupt where a Ctrl-C has come, lost or not."""
    if _asked.is_set():
        raise KeyboardInterrupt


def _remember(number: int, frame: FrameType | None) -> None:
    _asked.set()
    signal.default_int_handler(number, frame)
