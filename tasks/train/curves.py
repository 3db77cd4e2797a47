"""Sends the epoch rows of a fit to its MLflow run while it trains, without blocking the fit or losing rows.

Rows that an unreachable server does not take are sent later; `logs.log_history` completes them after the fit.
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
    """The part of a row that belongs in a curve."""
    return {name: value for name, value in row.items() if name not in CLOCK}


class Curves:
    """Sends waiting rows in batches from its own thread; leaving the context waits for the last of them.

    `begun` is set once the run has rows.
    """

    def __init__(self, run_id: str, begun: threading.Event | None = None) -> None:
        self.run_id, self.begun = run_id, begun or threading.Event()
        self._waiting: SimpleQueue[Row | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def add(self, row: Row) -> None:
        """Queues a row and returns at once."""
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
            except Exception:  # the whole history is sent again after the fit, and that call reports errors
                connection.log.debug("curves of %s: not sent", self.run_id, exc_info=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._waiting.put(None)
        if error is None:
            self._thread.join()
