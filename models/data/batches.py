"""Windows of one series of plain arrays, equal to those of Keras's TimeseriesGenerator."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from models.data.origins import origin_rows
from models.data.panel import Panel
from models.data.window import WindowParams
from models.data.windows import Windows


class TimeseriesBatches:
    """Batches (x [B, samples, ...], y [B, ...]) of data and targets [N, ...], as `TimeseriesGenerator` has.

    Windows, values, order and batch borders equal those of Keras, in the dtypes of the arrays, even where a
    target is NaN.
    `shuffle`: a permutation that depends on `seed` alone and has every window once (Keras draws with
    replacement).
    Raises ValueError for arrays of different lengths, numbers out of range, or if no window fits.
    """

    def __init__(
        self,
        data: ArrayLike,
        targets: ArrayLike,
        length: int,
        sampling_rate: int = 1,
        stride: int = 1,
        start_index: int = 0,
        end_index: int | None = None,
        shuffle: bool = False,
        reverse: bool = False,
        batch_size: int = 128,
        seed: int = 0,
    ) -> None:
        values, wanted = np.asarray(data), torch.from_numpy(np.array(targets))
        if not values.ndim or len(values) != len(wanted):
            shapes = f"{values.shape} and {tuple(wanted.shape)}"
            raise ValueError(f"data and targets must each have one row per step, not shapes {shapes}")
        if end_index is not None and end_index >= len(values):
            raise ValueError(f"end_index is a row of the data, at most {len(values) - 1}, not {end_index!r}")
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise ValueError(f"batch_size must be a whole number of at least 1, not {batch_size!r}")
        panel = _panel(values)
        params = WindowParams.from_keras(length, sampling_rate, stride, start_index, end_index, panel.channels)
        windows = Windows(panel, params, origin_rows(panel, params, None, "", stride))
        if not len(windows):
            first, last = start_index + length, len(values) - 1 if end_index is None else end_index
            raise ValueError(f"no window fits: the first target would be row {first}, the last may be row {last}")
        self.windows, self.targets, self.step = windows, wanted, values.shape[1:]
        self.order = windows.shuffled(seed) if shuffle else torch.arange(len(windows))
        self.reverse, self.batch_size = reverse, batch_size

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Every batch once, in the same order each time."""
        batches = self.windows.batches(self.batch_size, self.order, self.reverse)
        for batch, index_B in zip(batches, self.order.split(self.batch_size), strict=True):
            past = batch.inputs.past_BLF
            yield past.reshape(*past.shape[:2], *self.step), self.targets.index_select(0, self.windows.origins[index_B] + 1)


def _panel(values: np.ndarray) -> Panel:
    """A one-series panel, each step's values as channels; its target has no gaps: every window counts."""
    rows = len(values)
    flat = np.array(values).reshape(rows, int(np.prod(values.shape[1:])))
    names = tuple(f"x{number}" for number in range(flat.shape[1]))
    offsets = np.array([0, rows], np.int64)
    return Panel(np.zeros(rows, np.float32), flat, offsets, np.arange(rows, dtype=np.int64), ("",), names, "")
