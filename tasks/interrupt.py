"""Ctrl-C: that it ends every wait at once, and that none is lost before what cannot be taken back.

polars has a handler of its own, after which waiting calls (for a child, a lock) begin again as if nothing had come.  And one
that comes in a destructor Python prints and forgets, and the work goes on to its end.
"""

import signal
import threading
from types import FrameType

_asked = threading.Event()


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
