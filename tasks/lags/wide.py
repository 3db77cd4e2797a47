"""Which columns of a panel are kept in 64 bits too: those whose usual change is small beside what 32 bits hold at their level.

32 bits have 24 for a number: at 48,213,907 one step is 4.  A meter that counts on by 0.3 would stand still, a price of 1.05
loses nothing.  The rest of a value, what 32 bits leave of it, is kept in a file of its own until this is known.
"""

from collections.abc import Callable, Iterable, Mapping
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


def small_changes(
    columns: Mapping[str, Callable[[slice], np.ndarray]], chunks: Iterable[slice], offsets: np.ndarray
) -> list[str]:
    """The columns in which, in any series, many changes from one observed value to the next are small beside a step of 32 bits.

    `columns`: a function each that gives the values of some rows; `chunks`: all rows, some at a time, and a change from one to
    the next is not looked at.
    """
    counts = {name: np.zeros((2, len(offsets) - 1), np.int64) for name in columns}
    for rows in chunks:
        first, last = np.searchsorted(offsets, (rows.start, rows.stop - 1), side="right") - 1
        sizes = np.diff(np.clip(offsets[first : last + 2], rows.start, rows.stop))
        series = np.repeat(np.arange(first, last + 1, dtype=np.int32), sizes)
        same = series[1:] == series[:-1]
        for name, values_of in columns.items():
            values, own, alike = values_of(rows), series, same
            missing = np.isnan(values)
            if missing.any():
                values, own = values[~missing], series[~missing]
                alike = own[1:] == own[:-1]
            change = np.abs(np.diff(values))
            level = np.abs(values).astype(np.float32)
            few = STEPS * np.spacing(np.maximum(level[1:], level[:-1])).astype(np.float64)
            changed = alike & (change > 0)
            for found, which in zip(counts[name], (changed, changed & (change < few)), strict=True):
                if which.any():
                    found[first : last + 1] += np.bincount(own[1:][which] - first, minlength=last - first + 1)
    return [name for name, (changed, small) in counts.items() if ((small > SHARE * changed) & (small >= LEAST)).any()]
