"""Which columns of a panel are kept in 64 bits too: those whose usual change is small beside what 32 bits hold at their level.

32 bits have 24 for a number: at 48,213,907 one step is 4.  A meter that counts on by 0.3 would stand still, a price of 1.05
loses nothing.  The rest of a value, what 32 bits leave of it, is kept in a file of its own until this is known.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap

STEPS = 256  # of 32 bits at the level of a value: a change of fewer counts as small
SHARE = 0.25  # of the changes of a series that may be small
LEAST = 2  # small changes that a series needs to count


class Rests:
    """What 32 bits leave of the values of each column, by row; a file a column, made when the first is not 0."""

    def __init__(self, folder: Path, rows: int, make_room: Callable[[int], None]) -> None:
        """`make_room` is called with the bytes of a file before it is made."""
        self._folder, self._rows, self._make_room = folder, rows, make_room
        self._files: dict[str, np.ndarray] = {}

    def keep(self, name: str, at: np.ndarray | slice, exact: np.ndarray, small: np.ndarray) -> None:
        """Of some rows: their values, and what became of them in 32 bits."""
        rest = exact - small
        rest[np.isnan(rest)] = 0.0
        if name not in self._files and rest.any():
            self._make_room(8 * self._rows)
            path = self._folder / f"rest-{len(self._files)}.npy"
            self._files[name] = open_memmap(path, "w+", np.float64, (self._rows,))
        if name in self._files:
            self._files[name][at] = rest

    def exact(self, name: str, rows: slice, values: np.ndarray) -> np.ndarray:
        """Values of some rows as they came, from what 32 bits hold of them."""
        wide = values.astype(np.float64)
        return wide + self._files[name][rows] if name in self._files else wide


def changes_are_small(parts: Iterator[tuple[slice, np.ndarray]], offsets: np.ndarray) -> bool:
    """Whether in any series many changes, from one observed value to the next, are small beside a step of 32 bits there.

    `parts`: some rows and their values, one after another; a change from one part to the next is not looked at.
    """
    changed, small = np.zeros(len(offsets) - 1, np.int64), np.zeros(len(offsets) - 1, np.int64)
    for rows, values in parts:
        at = np.flatnonzero(~np.isnan(values))
        seen, size = values[at], np.abs(values[at])
        series = np.searchsorted(offsets, at + rows.start, side="right") - 1
        change = np.abs(np.diff(seen))
        few = STEPS * np.spacing(np.maximum(size[1:], size[:-1]).astype(np.float32)).astype(np.float64)
        within = (change > 0) & (series[1:] == series[:-1])
        changed += np.bincount(series[1:][within], minlength=len(changed))
        small += np.bincount(series[1:][within & (change < few)], minlength=len(changed))
    return bool(((small > SHARE * changed) & (small >= LEAST)).any())
