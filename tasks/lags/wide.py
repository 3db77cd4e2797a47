"""Which columns of a panel are also kept in 64 bits: those whose changes are small at 32-bit resolution.

32 bits have 24 for the digits: near 48,213,907 one step is 4.  A meter that grows by 0.3 would stand still; a
price of 1.05 loses nothing.  The remainders after rounding are kept in files until this is known.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap

STEPS = 256  # 32-bit steps at a value's level: smaller changes count as small
SHARE = 0.25  # of a series' changes that may be small
LEAST = 2  # small changes that a series needs to count


class Rests:
    """The remainders of each column after rounding to 32 bits, by row; a file each, if any is not 0."""

    def __init__(self, folder: Path, rows: int, make_room: Callable[[int], None]) -> None:
        """`make_room` is called with a file's size in bytes before it is created."""
        self._folder, self._rows, self._make_room = folder, rows, make_room
        self._files: dict[str, np.ndarray] = {}

    def keep(self, name: str, at: np.ndarray | slice, exact: np.ndarray, small: np.ndarray) -> None:
        """Stores the remainders of some rows: their values, and the same rounded to 32 bits."""
        rest = exact - small
        rest[np.isnan(rest)] = 0.0
        if name not in self._files and rest.any():
            self._make_room(8 * self._rows)
            path = self._folder / f"rest-{len(self._files)}.npy"
            self._files[name] = open_memmap(path, "w+", np.float64, (self._rows,))
        if name in self._files:
            self._files[name][at] = rest

    def exact(self, name: str, rows: slice, values: np.ndarray) -> np.ndarray:
        """The original values of some rows, from their 32-bit values."""
        wide = values.astype(np.float64)
        return wide + self._files[name][rows] if name in self._files else wide


def small_changes(
    columns: Mapping[str, Callable[[slice], np.ndarray]], chunks: Iterable[slice], offsets: np.ndarray
) -> list[str]:
    """The columns in which, for any series, many changes between observed values are small in 32 bits.

    `columns`: functions that return the values of some rows; `chunks`: all rows in parts, each for itself.
    """
    counts = {name: np.zeros((2, len(offsets) - 1), np.int64) for name in columns}
    for rows in chunks:
        first, last = np.searchsorted(offsets, (rows.start, rows.stop - 1), side="right") - 1
        sizes = np.diff(np.clip(offsets[first : last + 2], rows.start, rows.stop))
        series = np.repeat(np.arange(first, last + 1, dtype=np.int32), sizes)
        same = series[1:] == series[:-1]
        for name, values_of in columns.items():
            values, owners, alike = values_of(rows), series, same
            missing = np.isnan(values)
            if missing.any():
                values, owners = values[~missing], series[~missing]
                alike = owners[1:] == owners[:-1]
            change = np.abs(np.diff(values))
            level = np.abs(values).astype(np.float32)
            few = STEPS * np.spacing(np.maximum(level[1:], level[:-1])).astype(np.float64)
            changed = alike & (change > 0)
            for tally, which in zip(counts[name], (changed, changed & (change < few)), strict=True):
                if which.any():
                    tally[first : last + 1] += np.bincount(owners[1:][which] - first, minlength=last - first + 1)
    return [name for name, (changed, small) in counts.items() if ((small > SHARE * changed) & (small >= LEAST)).any()]
