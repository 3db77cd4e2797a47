"""Sliding windows over a panel, gathered on demand; never a copy made ahead of time, never a window across two series.

For an origin row t, a feature with `lookback` n, `sampling_rate` r and `delay` d reads rows t - d - r*(n-1-j), j = 0 .. n-1
(oldest first); what is known ahead is read at rows t + 1 .. t + gap + horizon; the targets are rows
t + gap + 1 .. t + gap + horizon.
Shapes: B batch, L lookback (the longest), F past channels, A rows ahead (gap + horizon), K channels known ahead, C static
covariates, H horizon, S series.
"""

import copy
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from models.panel import Panel

CALENDAR = {"hour": 24.0, "weekday": 7.0, "monthday": 31.0, "yearday": 365.25, "month": 12.0}  # name -> its period
OBSERVED = "y (observed)"  # the target as it came, beside the feature y, in the frame of a panel; no feature may be called so
AHEAD = " (ahead)"  # marks the channel of a panel that keeps a covariate known ahead as it came
Static = Literal["numeric", "categorical"]


def _whole(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, not {value!r}")


@dataclass(frozen=True)
class FeatureWindow:
    """The window of one feature: `lookback` samples, `sampling_rate` rows apart, known `delay` rows late."""

    lookback: int
    sampling_rate: int = 1
    delay: int = 0

    def __post_init__(self) -> None:
        _whole("lookback", self.lookback, 1)
        _whole("sampling_rate", self.sampling_rate, 1)
        _whole("delay", self.delay, 0)

    @property
    def reach(self) -> int:
        """Rows from the origin back to the oldest sample."""
        return self.delay + self.sampling_rate * (self.lookback - 1)


@dataclass(frozen=True)
class WindowParams:
    """What a window holds: each feature with its own window, what is known ahead, static covariates, the steps to forecast.

    `calendar`: waves that are seen with the samples of the longest feature and at every row ahead.  `future`: covariates given
    at the rows ahead; whoever wants their past too lists them among the features.  `static`: numeric or categorical.
    `max_missing_share`: of the samples of a window that may be missing.  `start_index`, `end_index`: the first row of a series
    that a window reads and its last target row (inclusive, as in Keras; None: to the end).
    Raises ValueError for numbers out of range, no feature at all or an unknown calendar name.
    """

    horizon: int
    features: Mapping[str, FeatureWindow] = field(default_factory=dict)
    gap: int = 0
    stride: int = 1
    calendar: tuple[str, ...] = ()
    future: tuple[str, ...] = ()
    static: Mapping[str, Static] = field(default_factory=dict)
    max_missing_share: float = 1.0
    start_index: int = 0
    end_index: int | None = None

    def __post_init__(self) -> None:
        _whole("horizon", self.horizon, 1)
        _whole("gap", self.gap, 0)
        _whole("stride", self.stride, 1)
        _whole("start_index", self.start_index, 0)
        if self.end_index is not None:
            _whole("end_index", self.end_index, 0)
        if not self.features:
            raise ValueError("a window needs at least one feature")
        if not 0 <= self.max_missing_share <= 1:
            raise ValueError(f"max_missing_share must lie between 0 and 1, not {self.max_missing_share!r}")
        for name in self.calendar:
            if name not in CALENDAR:
                raise ValueError(f"unknown calendar feature {name!r}; there are: {', '.join(CALENDAR)}")

    @classmethod
    def from_keras(
        cls,
        length: int,
        sampling_rate: int = 1,
        stride: int = 1,
        start_index: int = 0,
        end_index: int | None = None,
        features: Sequence[str] = ("y",),
    ) -> Self:
        """The windows of Keras's `TimeseriesGenerator(data, targets, length, sampling_rate, stride, start_index, end_index)`.

        There `length` counts raw rows: a window has ceil(length / sampling_rate) samples, the oldest `length` rows before its
        target; where `length` is no multiple of the rate, its newest sample is not the row before the target: a delay here.
        """
        _whole("length", length, 1)
        _whole("sampling_rate", sampling_rate, 1)
        lookback = -(-length // sampling_rate)
        window = FeatureWindow(lookback, sampling_rate, length - 1 - sampling_rate * (lookback - 1))
        named = dict.fromkeys(features, window)
        return cls(1, named, stride=stride, start_index=start_index, end_index=end_index)

    @property
    def lookback(self) -> int:
        """Samples of the longest feature: L."""
        return max(w.lookback for w in self.features.values())

    @property
    def reach(self) -> int:
        """Rows from the origin back to the oldest row that any feature reads."""
        return max(w.reach for w in self.features.values())

    @property
    def ahead(self) -> int:
        """Rows from the origin to the last target: A."""
        return self.gap + self.horizon

    @property
    def waves(self) -> tuple[str, ...]:
        """Sine and cosine of each calendar feature."""
        return tuple(f"{name}_{wave}" for name in self.calendar for wave in ("sin", "cos"))

    @property
    def channels(self) -> dict[str, FeatureWindow]:
        """Every past channel of a batch in order: the features, then the calendar's waves.

        A calendar channel keeps step with the samples of the feature that has the longest lookback.
        """
        longest = max(self.features.values(), key=lambda w: w.lookback)
        step = FeatureWindow(longest.lookback, longest.sampling_rate)
        return dict(self.features) | dict.fromkeys(self.waves, step)

    @property
    def known(self) -> tuple[str, ...]:
        """Every channel known ahead, in order: the calendar's waves, then the future covariates."""
        return (*self.waves, *(name + AHEAD for name in self.future))

    @property
    def panel_channels(self) -> tuple[str, ...]:
        """The channels of the panel that these windows are cut from, in order."""
        return (*self.features, *self.known)

    def without(self, names: Sequence[str]) -> Self:
        """The same without some features.  Raises ValueError where none is left."""
        return replace(self, features={name: window for name, window in self.features.items() if name not in names})

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; `from_dict` gives it back."""
        return asdict(self) | {"calendar": list(self.calendar), "future": list(self.future)}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`."""
        features = {name: FeatureWindow(**window) for name, window in raw["features"].items()}
        return cls(**{**raw, "features": features, "calendar": tuple(raw["calendar"]), "future": tuple(raw["future"])})


class Inputs(NamedTuple):
    """What a forecaster sees, raw values in original units: past [B, L, F], ahead [B, A, K], static [B, C], series [B].

    NaN marks what is missing or lies outside a shorter feature's window.
    """

    past_BLF: Tensor
    ahead_BAK: Tensor
    static_BC: Tensor
    series_B: Tensor

    @classmethod
    def zeros(cls, params: WindowParams, size: int) -> Self:
        """Inputs of the right shapes for `size` windows."""
        past = torch.zeros(size, params.lookback, len(params.channels))
        ahead = torch.zeros(size, params.ahead, len(params.known))
        return cls(past, ahead, torch.zeros(size, len(params.static)), torch.zeros(size, dtype=torch.int64))


class Batch(NamedTuple):
    """One batch of windows: what a forecaster sees, and the targets [B, H], NaN where they were not observed."""

    inputs: Inputs
    y_BH: Tensor


@dataclass(frozen=True)
class _Group:
    """Neighbouring channels with the same window: one strided view of the panel [starts, lookback, channels]."""

    view: Tensor
    reach: int
    places: slice
    columns: slice


class Windows:
    """Windows at given origin rows of a panel.  Memory is O(rows) whatever the lookback: a batch is gathered from views."""

    def __init__(self, panel: Panel, params: WindowParams, origins: np.ndarray, device: str | torch.device = "cpu") -> None:
        """`origins`: global rows, each with `reach` rows before and `ahead` rows after it within its series."""
        self.panel, self.params = panel, params
        small = np.int32 if len(panel.times) < 2**31 else np.int64  # a third of the memory of a narrow panel is its origins
        self.origins = torch.from_numpy(np.ascontiguousarray(origins, small)).to(device)
        self._offsets = torch.from_numpy(np.ascontiguousarray(panel.offsets, small)).to(device)
        self._values, target = _tensor(panel.values).to(device), _tensor(panel.target).to(device)
        self._static = torch.from_numpy(np.array(panel.static, np.float32)).to(device)
        self._base, self._groups = self._plan()
        rows, width = self._values.shape
        horizon, ahead, known = params.horizon, params.ahead, len(params.known)
        self._targets = target.as_strided((max(rows - horizon + 1, 0), horizon), (1, 1))
        self._known = self._values.as_strided((max(rows - ahead + 1, 0), ahead, known), (width, width, 1), width - known)
        self._width = len(params.channels)
        self._unseen = self._unseen_places()

    def __len__(self) -> int:
        return len(self.origins)

    def at(self, origins: np.ndarray) -> Self:
        """Windows at other origin rows of the same panel, which stays where it is: a device holds it once for all splits."""
        other = copy.copy(self)
        other.origins = torch.from_numpy(np.ascontiguousarray(origins)).to(self.origins)
        return other

    def _plan(self) -> tuple["_Group | None", list[_Group]]:
        """How past channels are gathered: most of them at once, as whole rows of the panel; the others one by one into it.

        The base holds all samples of the window that most features have in common (but for their lookback), with the columns
        of the others between them, to be overwritten.  It is used where it is as long as the whole window.
        """
        windows = list(self.params.channels.values())
        if list(self.panel.channels) != list(self.params.panel_channels):
            raise ValueError(f"the panel holds {self.panel.channels}, the windows need {self.params.panel_channels}")
        (rate, delay), _ = Counter((w.sampling_rate, w.delay) for w in windows).most_common(1)[0]
        lookback = max(w.lookback for w in windows if (w.sampling_rate, w.delay) == (rate, delay))
        base = None
        if lookback == self.params.lookback:
            base = self._group(FeatureWindow(lookback, rate, delay), slice(0, self._values.shape[1]))
        groups, start = [], 0
        for stop in range(1, len(windows) + 1):
            if stop < len(windows) and windows[stop] == windows[start]:
                continue
            window = windows[start]
            if base is None or (window.sampling_rate, window.delay) != (rate, delay):
                groups.append(self._group(window, slice(start, stop)))
            start = stop
        return base, groups

    def _group(self, window: FeatureWindow, columns: slice) -> _Group:
        rows, width = self._values.shape
        step, count = window.sampling_rate * width, columns.stop - columns.start
        size = (max(rows - window.sampling_rate * (window.lookback - 1), 0), window.lookback, count)
        view = self._values.as_strided(size, (width, step, 1), columns.start)
        if step == count:  # whole rows, one after another: as one long row they are gathered several times as fast
            view = self._values.as_strided((size[0], window.lookback * width), (width, 1))
        return _Group(view, window.reach, slice(self.params.lookback - window.lookback, self.params.lookback), columns)

    def _unseen_places(self) -> Tensor | None:
        """[L, panel channels]: NaN in the older places of shorter features, else -0.0, which changes no number it is added to.

        None where all features are as long as the longest.
        """
        lookbacks = [window.lookback for window in self.params.channels.values()]
        if min(lookbacks) == self.params.lookback:
            return None
        places_LW = self._values.new_full((self.params.lookback, self._values.shape[1]), -0.0)
        for column, lookback in enumerate(lookbacks):
            places_LW[: self.params.lookback - lookback, column] = torch.nan
        return places_LW

    def past(self, origins_B: Tensor) -> Tensor:
        """[B, L, F] raw values of the past channels, right-aligned; NaN in the older places of a shorter feature."""
        base, width, lookback = self._base, self._values.shape[1], self.params.lookback
        if base is None:
            past_BLW = self._values.new_full((len(origins_B), lookback, width), torch.nan)
        else:
            past_BLW = base.view.index_select(0, origins_B - base.reach).view(-1, lookback, width)
        for group in self._groups:
            part = group.view.index_select(0, origins_B - group.reach)
            past_BLW[:, group.places, group.columns] = part.view(len(origins_B), -1, group.columns.stop - group.columns.start)
        if base is not None and self._unseen is not None:
            past_BLW += self._unseen
        return past_BLW[..., : self._width]

    def inputs(self, origins_B: Tensor) -> Inputs:
        """What a forecaster sees at some origin rows (int, on the device of the panel)."""
        series_B = self.series(origins_B)
        known = self.params.known
        ahead_BAK = self._known.index_select(0, origins_B + 1) if known else self._empty(origins_B, self.params.ahead)
        static_BC = self._static.index_select(0, series_B) if self.params.static else self._empty(origins_B)
        return Inputs(self.past(origins_B), ahead_BAK, static_BC, series_B)

    def _empty(self, origins_B: Tensor, *shape: int) -> Tensor:
        return self._values.new_empty((len(origins_B), *shape, 0))

    def batch(self, index_B: Tensor) -> Batch:
        """The windows number `index_B` (on the device of the panel)."""
        origins_B = self.origins.index_select(0, index_B)
        y_BH = self._targets.index_select(0, origins_B + (self.params.gap + 1))
        return Batch(self.inputs(origins_B), y_BH)

    def batches(self, size: int, order: Tensor | None = None, reverse: bool = False) -> Iterator[Batch]:
        """All windows once, in order or in the order given; the last batch, however small, is kept; no windows, no batch.

        `reverse`: the samples of each window newest first.
        """
        order = torch.arange(len(self), dtype=self.origins.dtype) if order is None else order
        for index_B in order.to(self.origins.device).split(size) if len(order) else ():
            batch = self.batch(index_B)
            if reverse:
                batch = batch._replace(inputs=batch.inputs._replace(past_BLF=batch.inputs.past_BLF.flip(1)))
            yield batch

    def shuffled(self, seed: int) -> Tensor:
        """A permutation of all windows (each comes once; Keras draws with replacement), a function of the seed alone."""
        generator = torch.Generator().manual_seed(seed)
        return torch.randperm(len(self), generator=generator, dtype=self.origins.dtype)

    def series(self, origins_B: Tensor) -> Tensor:
        """The number (int64) of the series that each origin row lies in."""
        return torch.searchsorted(self._offsets, origins_B, right=True) - 1

    def where(self, index: int) -> dict[str, Any]:
        """What one window is: its series, first row read, cutoff and target timestamps (in the unit of the panel)."""
        origin = int(self.origins[index])
        ahead = slice(origin + self.params.gap + 1, origin + self.params.ahead + 1)
        return {
            "unique_id": self.panel.ids[int(self.series(self.origins[index]))],
            "first_row": origin - self.params.reach,
            "cutoff": int(self.panel.times[origin]),
            "ds": self.panel.times[ahead].tolist(),
        }


def _tensor(array: np.ndarray) -> Tensor:
    with warnings.catch_warnings():  # the map is read-only on purpose, and nothing here writes to it
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)
