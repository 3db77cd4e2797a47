"""Sliding windows over a panel, gathered on demand; no window crosses two series.

For an origin row t, a feature with `lookback` n, `sampling_rate` r and `delay` d reads rows t - d -
r*(n-1-j), j = 0 .. n-1 (oldest first); values known ahead are read at rows t + 1 .. t + gap + horizon; the
targets are rows t + gap + 1 .. t + gap + horizon.
Shapes: B batch, L lookback (the longest), F past channels, A rows ahead (gap + horizon), K channels known
ahead, C static covariates, H horizon, S series, E channels read in 64 bits (features, or values known ahead).
"""

import copy
import warnings
from collections.abc import Iterator
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from models.data.gather import PastGather
from models.data.panel import Panel
from models.data.window import WindowParams

BATCHES_PER_LOOKUP = 64  # batches per index lookup, since one lookup costs as much as gathering ten windows


class Inputs(NamedTuple):
    """A forecaster's inputs, in original units: past [B, L, F], ahead [B, A, K], static [B, C], series [B].

    NaN marks a missing value or a place outside a shorter feature's window.  `wide_BLE`, `wide_BAE`: the
    channels of `past_BLF` and `ahead_BAK` that need more than 32 bits (`WindowParams.wide`), repeated in 64
    bits, like `static_BC`.
    """

    past_BLF: Tensor
    ahead_BAK: Tensor
    static_BC: Tensor
    series_B: Tensor
    wide_BLE: Tensor
    wide_BAE: Tensor

    @classmethod
    def zeros(cls, params: WindowParams, size: int) -> Self:
        """Inputs of the right shapes for `size` windows."""
        past = torch.zeros(size, params.lookback, len(params.channels))
        ahead = torch.zeros(size, params.ahead, len(params.known))
        wide = torch.zeros(size, params.lookback, len(params.wide_features), dtype=torch.float64)
        wide_ahead = torch.zeros(size, params.ahead, len(params.wide_future), dtype=torch.float64)
        static = torch.zeros(size, len(params.static), dtype=torch.float64)
        return cls(past, ahead, static, torch.zeros(size, dtype=torch.int64), wide, wide_ahead)


class Batch(NamedTuple):
    """One batch: the forecaster's inputs, and the targets [B, H] in 64 bits, NaN where not observed."""

    inputs: Inputs
    y_BH: Tensor


class Place(NamedTuple):
    """A window's series, first row (of the panel), cutoff and target times (both in the panel's unit)."""

    unique_id: str
    first_row: int
    cutoff: int
    ds: list[int]


class Windows:
    """Windows at given origin rows of a panel.  Memory is O(rows): batches are gathered from views."""

    def __init__(self, panel: Panel, params: WindowParams, origins: np.ndarray, device: str | torch.device = "cpu") -> None:
        """`origins`: rows of the panel, each with `reach` rows before and `ahead` rows after it in its series.

        Raises ValueError if the panel's channels are not those of the params.
        """
        if list(panel.channels) != list(params.panel_channels):
            raise ValueError(f"the panel holds {panel.channels}, the windows need {params.panel_channels}")
        self.panel, self.params = panel, params
        small = np.int32 if len(panel.times) < 2**31 else np.int64  # origins take a third of a narrow panel's memory
        self.origins = torch.from_numpy(np.ascontiguousarray(origins, small)).to(device)
        self._offsets = torch.from_numpy(np.ascontiguousarray(panel.offsets, small)).to(device)
        self._blocks, self._shift = self._series_of_blocks()
        values, wide_kind = _tensor(panel.values).to(device), widest(device)
        self._target = _tensor(panel.target).to(device, wide_kind)
        static = np.array(panel.static, np.float64) if params.static else np.empty((len(panel.ids), 0))
        self._static = torch.from_numpy(static).to(device, wide_kind)
        # Views indexed by the first row of a window (not its origin), so that one index serves them all.
        self._past = PastGather(values, list(params.channels.values()), params.reach)
        self._known = self._rows_ahead(values, len(params.known))
        wide = _tensor(_wide(panel, params)).to(device, wide_kind)
        wide_features = [params.features[name] for name in params.wide_features]
        self._wide = PastGather(wide, wide_features, params.reach, params.lookback) if wide_features else None
        self._nothing = self._target.new_empty(0), self._target.new_empty(0)
        self._wide_known = self._rows_ahead(wide, len(params.wide_future))
        starts = max(len(values) - params.reach - params.ahead, 0)
        self._targets = self._target.as_strided((starts, params.horizon), (1, 1), params.reach + 1 + params.gap)

    def _rows_ahead(self, values: Tensor, count: int) -> Tensor:
        """[starts, A, count]: the last channels of the rows ahead of each origin, as a view."""
        (rows, width), params = values.shape, self.params
        starts = max(rows - params.reach - params.ahead, 0)
        return values.as_strided((starts, params.ahead, count), (width, width, 1), (params.reach + 2) * width - count)

    def __len__(self) -> int:
        return len(self.origins)

    def at(self, origins: np.ndarray) -> Self:
        """Windows at other origin rows of the same panel, whose tensors both share on the device."""
        other = copy.copy(self)
        other.origins = torch.from_numpy(np.ascontiguousarray(origins)).to(self.origins)
        return other

    def dense(self) -> Self:
        """The same windows with the targets of every sample, [B, r (L - 1) + H].

        `unfold(1, H, r)` makes them [B, L, H]; r: the sampling rate of the clock.  Targets before the origin
        are not imputed either.
        """
        other, earlier = copy.copy(self), self.params.clock.reach
        starts, horizon = self._targets.shape
        first = self.params.reach + 1 + self.params.gap - earlier
        other._targets = self._target.as_strided((starts, earlier + horizon), (1, 1), first)
        return other

    def past(self, origins_B: Tensor) -> Tensor:
        """[B, L, F] raw values of the past channels, right-aligned; NaN before a shorter feature's window."""
        return self._past(origins_B - self.params.reach)

    def inputs(self, origins_B: Tensor) -> Inputs:
        """The forecaster's inputs at some origin rows (int, on the panel's device)."""
        first_B, series_B = origins_B - self.params.reach, self.series(origins_B)
        ahead_BAK, static_BC = self._known.index_select(0, first_B), self._static.index_select(0, series_B)
        return Inputs(self._past(first_B), ahead_BAK, static_BC, series_B, *self._in_64_bits(first_B))

    def batch(self, index_B: Tensor) -> Batch:
        """The windows with the indices `index_B` (on the panel's device)."""
        return next(self._gathered(index_B, max(len(index_B), 1)))

    def batches(self, size: int, order: Tensor | None = None, reverse: bool = False) -> Iterator[Batch]:
        """All windows once, in order or in the given order; a smaller last batch is kept.

        `reverse`: the samples of each window newest first.
        """
        order = torch.arange(len(self), dtype=self.origins.dtype) if order is None else order
        for index in order.to(self.origins.device).split(size * BATCHES_PER_LOOKUP) if len(order) else ():
            gathered = self._gathered(index, size)
            yield from map(_reversed, gathered) if reverse else gathered

    def _gathered(self, index: Tensor, size: int) -> Iterator[Batch]:
        """Batches of `size`; row positions are looked up for all at once, values are gathered per batch."""
        origins = self.origins.index_select(0, index)
        first, series = origins - self.params.reach, self.series(origins)
        firsts, static = first.split(size), self._static.index_select(0, series).split(size)
        known = self._known.index_select
        ahead = (known(0, first_B) for first_B in firsts) if self.params.known else known(0, first).split(size)
        for first_B, ahead_BAK, static_BC, series_B in zip(firsts, ahead, static, series.split(size), strict=True):
            inputs = Inputs(self._past(first_B), ahead_BAK, static_BC, series_B, *self._in_64_bits(first_B))
            yield Batch(inputs, self._targets.index_select(0, first_B))

    def _in_64_bits(self, first_B: Tensor) -> tuple[Tensor, Tensor]:
        """The 64-bit channels: [B, L, E] and [B, A, E]."""
        if self._nothing[0].shape[0] != len(first_B):  # reuse one empty tensor per batch size
            sizes = (len(first_B), self.params.lookback, 0), (len(first_B), self.params.ahead, 0)
            self._nothing = self._target.new_empty(sizes[0]), self._target.new_empty(sizes[1])
        wide_BLE, wide_BAE = self._nothing
        if self._wide is not None:
            wide_BLE = self._wide(first_B)
        if self.params.wide_future:
            wide_BAE = self._wide_known.index_select(0, first_B)
        return wide_BLE, wide_BAE

    def shuffled(self, seed: int) -> Tensor:
        """A permutation of all windows, a function of the seed (each once; Keras draws with replacement)."""
        generator = torch.Generator().manual_seed(seed)
        return torch.randperm(len(self), generator=generator, dtype=self.origins.dtype)

    def series(self, origins_B: Tensor) -> Tensor:
        """The series number (int64) of each origin row."""
        if self._blocks is None:
            return torch.searchsorted(self._offsets, origins_B, right=True) - 1
        series_B = self._blocks.index_select(0, origins_B >> self._shift)  # of the block's first row: at most one too low
        return series_B + (self._offsets.index_select(0, series_B + 1) <= origins_B)

    def _series_of_blocks(self) -> tuple[Tensor | None, int]:
        """The series of every 2**shift-th row, blocks no longer than any series: 7 times as fast as a search.

        None if a series is so short that there would be many blocks.
        """
        offsets = self.panel.offsets
        shift = int(np.diff(offsets).min(initial=2**20)).bit_length() - 1
        if shift < 5:
            return None, 0
        series = np.searchsorted(offsets, np.arange(0, int(offsets[-1]), 1 << shift), side="right") - 1
        return torch.from_numpy(series).to(self.origins.device), shift

    def where(self, index: int) -> Place:
        """Where the window with this index lies."""
        origin = int(self.origins[index])
        ahead = slice(origin + self.params.gap + 1, origin + self.params.ahead + 1)
        return Place(
            unique_id=self.panel.ids[int(self.series(self.origins[index]))],
            first_row=origin - self.params.reach,
            cutoff=int(self.panel.times[origin]),
            ds=self.panel.times[ahead].tolist(),
        )


def _reversed(batch: Batch) -> Batch:
    """The batch with the samples of each window newest first."""
    past_BLF, wide_BLE = batch.inputs.past_BLF.flip(1), batch.inputs.wide_BLE.flip(1)
    return batch._replace(inputs=batch.inputs._replace(past_BLF=past_BLF, wide_BLE=wide_BLE))


def widest(device: str | torch.device) -> torch.dtype:
    """float64, or float32 on a device that has no 64-bit floats."""
    return torch.float32 if torch.device(device).type == "mps" else torch.float64


def _wide(panel: Panel, params: WindowParams) -> np.ndarray:
    """[rows, E] the 64-bit channels, converted from 32 bits if the panel stores them only so."""
    if params.wide_channels == panel.facts.wide:
        return panel.wide if params.wide_channels else np.empty((len(panel.times), 0))
    columns = [panel.channel(name) for name in params.wide_channels]
    return np.stack(columns, axis=1, dtype=np.float64) if columns else np.empty((len(panel.times), 0))


def _tensor(array: np.ndarray) -> Tensor:
    """A tensor on the memory of an array."""
    with warnings.catch_warnings():  # the memory map is read-only on purpose
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)
