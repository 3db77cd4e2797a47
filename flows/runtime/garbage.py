"""Garbage collection of a command and of its servers: rare while they start, since nearly all that they import stays."""

import gc

DEFAULT = gc.get_threshold()


def collect_rarely() -> None:
    """Raises the first threshold of the collector: with Python's own it takes a quarter of the time of our imports."""
    gc.set_threshold(50_000)


def settle() -> None:
    """For a server that has started: what there is stays, and what comes is collected as Python does, for weeks."""
    gc.freeze()
    gc.set_threshold(*DEFAULT)


def collect_no_more() -> None:
    """To be called before the interpreter ends, which looks through a million objects several times else: two seconds."""
    gc.freeze()
