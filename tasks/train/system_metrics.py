"""What the machine does while a fit trains, in its run's tab of system metrics; a sample that cannot be sent is left out."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tasks.tracking import connection, logs

FIRST, LONGEST = 1.0, 10.0  # seconds between two samples: a twentieth of the fit's time so far, within these


@contextmanager
def system_metrics(run_id: str) -> Iterator[threading.Event]:
    """Samples processor, memory and GPUs from a thread of its own, for as long as the block lasts.

    They are kept until the event that it gives is set, or the block ends: the run then has metrics of its own.  MLflow's pages
    that compare runs open on what was logged first.
    """
    over, begun = threading.Event(), threading.Event()
    thread = threading.Thread(target=_watch, args=(run_id, over, begun), name="system-metrics", daemon=True)
    thread.start()
    try:
        yield begun
    finally:
        over.set()
        thread.join(2.0)  # a server that is away is not waited for: these are no results


def _watch(run_id: str, over: threading.Event, begun: threading.Event) -> None:
    sample, started, kept = logs.machine(), time.monotonic(), list[logs.Sample]()
    step, ended = 0, False
    while not ended:
        ended = over.wait(min(LONGEST, max(FIRST, (time.monotonic() - started) / 20)))
        try:
            if not ended:
                kept.append(logs.Sample(int(time.time() * 1000), step, sample()))
            if kept and (ended or begun.is_set()):
                some, kept = kept, []
                logs.log_system_metrics(run_id, some)
        except Exception:
            connection.log.debug("system metrics of %s: not sent", run_id, exc_info=True)
        step += 1
