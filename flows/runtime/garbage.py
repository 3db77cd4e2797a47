"""Garbage collection of a command and of its servers: rare, since nearly all that they make stays until they end."""

import gc


def collect_rarely() -> None:
    """Raises the thresholds of the collector: with Python's own it takes a quarter of the time of our imports."""
    gc.set_threshold(50_000, 50, 100)


def collect_no_more() -> None:
    """To be called before the interpreter ends, which looks through a million objects several times else: two seconds."""
    gc.freeze()
