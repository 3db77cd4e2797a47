"""Signal handling: Ctrl-C, SIGTERM and SIGHUP end blocking waits; none is lost before an irreversible step.

polars installs a handler after which blocking calls (for a child, a lock) restart as if nothing had come.
And Python only prints a KeyboardInterrupt raised in a destructor, and goes on.
"""

import signal
import threading
import time
from types import FrameType

UNDER_WAY = 15.0  # seconds
_asked = threading.Event()
_last: list[float] = []  # when the last signal came
_ended_by: list[int] = []  # signals that asked us to end, except an unrecorded Ctrl-C


def end_in_order() -> None:
    """Makes SIGTERM and SIGHUP end this process as Ctrl-C does, unless ignored (nohup).  Main thread only."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, ended_by)


def ended_by(number: int, frame: FrameType | None) -> None:
    """Acts as Ctrl-C would, and records the signal; another one shortly after is not a second Ctrl-C."""
    if again():
        return
    note(number)
    handler = signal.getsignal(signal.SIGINT)
    if not callable(handler):  # the shell made us ignore Ctrl-C, or a library installed a C handler
        raise KeyboardInterrupt
    handler(signal.SIGINT, frame)


def note(number: int) -> None:
    """Records that a signal asked this process to end."""
    _ended_by.append(number)
    _last[:] = [time.monotonic()]


def again() -> bool:
    """Whether a signal came a moment ago, so that shutdown is under way."""
    return bool(_last) and time.monotonic() - _last[0] < UNDER_WAY


def ended() -> signal.Signals:
    """The signal that ends this process; SIGINT if no other came."""
    return signal.Signals(_ended_by[-1] if _ended_by else signal.SIGINT)


def asked() -> bool:
    """Whether a signal asked this process, and perhaps all its children, to end."""
    return bool(_ended_by)


def listen(decides: bool = False) -> None:
    """Makes Ctrl-C end every wait; if the command `decides` something, also records it.  Main thread only."""
    import polars  # noqa: F401 (it installs its SIGINT handler on import, so import it first)

    signal.siginterrupt(signal.SIGINT, True)
    if decides:
        _asked.clear()
        signal.signal(signal.SIGINT, _remember)


def check() -> None:
    """Raises KeyboardInterrupt if a Ctrl-C has come, even one that was lost."""
    if _asked.is_set():
        raise KeyboardInterrupt


def _remember(number: int, frame: FrameType | None) -> None:
    _asked.set()
    signal.default_int_handler(number, frame)
