"""Times several ways to do one thing, in turn within one process."""

import time
from collections.abc import Callable, Mapping

Way = Callable[[], object]


def in_turn(ways: Mapping[str, Way], rounds: int, clock: Callable[[], float] = time.perf_counter) -> dict[str, list[float]]:
    """Seconds of each way in each round, after one round that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            began = clock()
            way()
            if number:
                seconds[name].append(clock() - began)
    return seconds
