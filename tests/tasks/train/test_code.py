"""The code that decides what a fit is (`tasks/train/code.py`), read by the threads of a comparison."""

import gc
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tasks.files import ROOT
from tasks.train.code import WORKER, imported_by


def _noticed(phase: str, info: dict[str, int]) -> None:
    """Python code in the collection of garbage, in which another thread may take over."""
    list(range(10))


@pytest.fixture
def busy() -> Iterator[None]:
    """Threads that take turns all the time, and wherever they can."""
    interval, thresholds = sys.getswitchinterval(), gc.get_threshold()
    gc.callbacks.append(_noticed)
    sys.setswitchinterval(1e-6)
    gc.set_threshold(1)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        sys.setswitchinterval(interval)
        gc.callbacks.remove(_noticed)


@pytest.mark.slow
def test_several_threads_may_ask_for_the_code_at_once(busy: None) -> None:
    """Python 3.11 breaks with a SystemError where two threads parse at once."""

    def asked(_: int) -> frozenset[Path]:
        return imported_by.__wrapped__(ROOT, WORKER)

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(asked, range(12))) == {imported_by(ROOT, WORKER)}
