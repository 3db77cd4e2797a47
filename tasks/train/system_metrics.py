"""Samples the machine's load while a fit trains, for its run's system metrics; skips what cannot be sent."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tasks.tracking import connection, logs

FIRST, LONGEST = 1.0, 10.0  # bounds in seconds for the interval, a twentieth of the elapsed time


@contextmanager
def system_metrics(run_id: str) -> Iterator[threading.Event]:
    """Samples processor, memory and GPUs from a thread while the block runs.

    Samples are held back until the yielded event is set, or the block ends: by then the run has metrics of
    its own. MLflow's comparison pages open on what was logged first.
    """
    over, begun = threading.Event(), threading.Event()
    thread = threading.Thread(target=_watch, args=(run_id, over, begun), name="system-metrics", daemon=True)
    thread.start()
    try:
        yield begun
    finally:
        over.set()
        thread.join(2.0)  # not longer, even if the server is unreachable: these are not results


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
