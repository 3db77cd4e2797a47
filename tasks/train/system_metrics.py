"""What the machine does while a fit trains, in its run's tab of system metrics; a sample that cannot be sent is left out."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tasks.tracking import connection, logs

FIRST, LONGEST = 1.0, 10.0  # seconds between two samples: a twentieth of the fit's time so far, within these


@contextmanager
def system_metrics(run_id: str) -> Iterator[None]:
    """Samples processor, memory and GPUs from a thread of its own, for as long as the block lasts."""
    over = threading.Event()
    thread = threading.Thread(target=_watch, args=(run_id, over), name="system-metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(2.0)  # a server that is away is not waited for: these are no results


def _watch(run_id: str, over: threading.Event) -> None:
    sample, started, step = logs.machine(), time.monotonic(), 0
    while not over.wait(min(LONGEST, max(FIRST, (time.monotonic() - started) / 20))):
        try:
            logs.log_system_metrics(run_id, sample(), step)
        except Exception:
            connection.log.debug("system metrics of %s: not sent", run_id, exc_info=True)
        step += 1
