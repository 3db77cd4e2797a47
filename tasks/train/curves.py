"""The rows of a fit on their way to its run while it trains; never keeps the fit waiting, never drops a row.

What a server that is away does not take is kept and sent when it answers; `logs.log_history` after the fit looks again.
"""

import threading
from collections.abc import Mapping
from queue import SimpleQueue
from types import TracebackType
from typing import Self

from tasks.tracking import connection, logs

Row = Mapping[str, float]
CLOCK = ("seconds", "left", "best")  # for people who watch


def without_clock(row: Row) -> Row:
    """What of a row goes into a curve."""
    return {name: value for name, value in row.items() if name not in CLOCK}


class Curves:
    """Sends rows from a thread of its own, all that wait in one call; a context whose end waits for the last of them.

    `begun` is set once the run has some.
    """

    def __init__(self, run_id: str, begun: threading.Event | None = None) -> None:
        self.run_id, self.begun = run_id, begun or threading.Event()
        self._waiting: SimpleQueue[Row | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def add(self, row: Row) -> None:
        """Hands a row over and returns at once."""
        self._waiting.put(without_clock(row))

    def _work(self) -> None:
        over, there = False, None
        while not over:
            rows = [self._waiting.get()]
            while not self._waiting.empty():
                rows.append(self._waiting.get())
            over = None in rows
            some = [row for row in rows if row is not None]
            try:
                if there is None and some:
                    there = logs.steps_logged(self.run_id, some)
                if there is not None:
                    logs.log_rows(self.run_id, some, there)
                    self.begun.set()
            except Exception:  # the whole history is sent once more when the fit is done, and that one tells
                connection.log.debug("curves of %s: not sent", self.run_id, exc_info=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._waiting.put(None)
        if error is None:
            self._thread.join()
