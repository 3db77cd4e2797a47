"""lagline inside somebody else's process (a script, a notebook): set up for a call, undone afterwards."""

import asyncio
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flows.runtime.begin import open_home
from flows.runtime.terminal import Shown

TALKATIVE = ("alembic", "httpcore", "httpx", "mlflow")  # loggers that tell of each request, where INFO is shown
_one_at_a_time = threading.RLock()  # the environment, which our libraries read, is that of the whole process


@contextmanager
def inside(decides: bool = False) -> Iterator[Path]:
    """The state folder, with the environment of the command line; afterwards that of the caller is back.

    One block at a time, from whichever thread.  `decides`: a champion is moved, and no Ctrl-C is lost.
    """
    from tasks.tracking.connection import borrowed

    with _one_at_a_time, _without_a_loop(), _same_environment(), _same_output(), _same_handler() as main, borrowed():
        home = open_home(decides and main, frames=main)
        _read_again()
        yield home


@contextmanager
def _without_a_loop() -> Iterator[None]:
    """Hides a running event loop (a notebook's) from Prefect, which would hand it what we wait for."""
    loop = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    try:
        yield
    finally:
        asyncio._set_running_loop(loop)


@contextmanager
def _same_environment() -> Iterator[None]:
    """Takes back every change of an environment variable."""
    before = dict(os.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        _read_again()


@contextmanager
def _same_output() -> Iterator[None]:
    """Takes our filter off the standard streams, and Prefect's handlers off the root logger.

    Meanwhile, libraries log warnings alone.
    """
    make_record, errors, show = logging.getLogRecordFactory(), logging.raiseExceptions, warnings.showwarning
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in TALKATIVE}
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        yield
    finally:
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if isinstance(stream, Shown):
                stream.flush()
                setattr(sys, name, stream.stream)
        logging.setLogRecordFactory(make_record)
        logging.raiseExceptions = errors
        if warnings.showwarning is not show:
            logging.captureWarnings(False)
            warnings.showwarning = show
        root.handlers[:] = handlers
        root.setLevel(level)
        for name, before in levels.items():
            logging.getLogger(name).setLevel(before)


@contextmanager
def _same_handler() -> Iterator[bool]:
    """Whether this is the main thread, which alone hears signals; its handler of Ctrl-C comes back."""
    main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield main
    finally:
        if main and handler is not None:
            signal.signal(signal.SIGINT, handler)


def _read_again() -> None:
    """Has a prefect that was imported before read its settings from the environment as it is now."""
    from flows.runtime.server import refresh

    refresh()
