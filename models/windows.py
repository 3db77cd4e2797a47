"""Sliding windows over a panel, gathered on demand; never a copy made ahead of time, never a window across two series.

For an origin row t, a feature with `lookback` n, `sampling_rate` r and `delay` d reads rows t - d - r*(n-1-j), j = 0 .. n-1
(oldest first); the targets are rows t + gap + 1 .. t + gap + horizon.
Shapes: B batch, L lookback (the longest), F features, H horizon, S series.
"""

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

CALENDAR = {"hour": 24, "weekday": 7, "month": 12}  # name -> its period
SPLITS = ("train", "validation", "test")
OBSERVED = "y (observed)"  # channel 0 of a panel; no feature may be called so


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
    """What a window holds: each feature with its own window, calendar channels, and the steps to forecast.

    Raises ValueError for numbers out of range, no feature at all or an unknown calendar name.
    """

    horizon: int
    features: Mapping[str, FeatureWindow] = field(default_factory=dict)
    gap: int = 0
    stride: int = 1
    calendar: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _whole("horizon", self.horizon, 1)
        _whole("gap", self.gap, 0)
        _whole("stride", self.stride, 1)
        if not self.features:
            raise ValueError("a window needs at least one feature")
        for name in self.calendar:
            if name not in CALENDAR:
                raise ValueError(f"unknown calendar feature {name!r}; there are: {', '.join(CALENDAR)}")

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
        """Rows from the origin to the last target."""
        return self.gap + self.horizon

    @property
    def channels(self) -> dict[str, FeatureWindow]:
        """Every channel of a batch in order: the features, then sine and cosine of each calendar feature.

        A calendar channel keeps step with the samples of the feature that has the longest lookback.
        """
        longest = max(self.features.values(), key=lambda w: w.lookback)
        step = FeatureWindow(longest.lookback, longest.sampling_rate)
        return dict(self.features) | {f"{name}_{wave}": step for name in self.calendar for wave in ("sin", "cos")}

    def without(self, names: Sequence[str]) -> Self:
        """The same without some features.  Raises ValueError where none is left."""
        return replace(self, features={name: window for name, window in self.features.items() if name not in names})

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; `from_dict` gives it back."""
        return asdict(self) | {"calendar": list(self.calendar)}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`."""
        features = {name: FeatureWindow(**window) for name, window in raw["features"].items()}
        return cls(**{**raw, "features": features, "calendar": tuple(raw["calendar"])})


@dataclass(frozen=True)
class Split:
    """Where validation and test begin: at a moment for all series (`time`), or counted from the end of each (`rows`).

    `validation` and `test` are timestamps in the unit of the panel, or row counts.  `embargo` rows before each border are
    no one's target.
    """

    by: Literal["time", "rows"]
    validation: int
    test: int
    embargo: int = 0

    def target_rows(self, times: np.ndarray, name: str) -> tuple[int, int]:
        """The half-open range of rows of one series (its timestamps given) that are targets of split `name`."""
        if self.by == "time":
            validation, test = (int(np.searchsorted(times, border)) for border in (self.validation, self.test))
        else:
            test = max(len(times) - self.test, 0)
            validation = max(test - self.validation, 0)
        ranges = {
            "train": (0, validation - self.embargo),
            "validation": (validation, test - self.embargo),
            "test": (test, len(times)),
        }
        return ranges[name]


@dataclass(frozen=True)
class Panel:
    """The table as one array on a regular grid: `values` float32 [rows, channels], series one after another.

    Channel 0, OBSERVED, is y as it came (NaN where missing: never imputed); then the features (filled forward within their
    limit, NaN beyond) and the calendar.  `times` int64 [rows]: microseconds since 1970 UTC, or the integer time step.
    """

    values: np.ndarray
    offsets: np.ndarray
    times: np.ndarray
    ids: tuple[str, ...]
    channels: tuple[str, ...]
    digest: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """The panel in a folder, memory-mapped.  Raises FileNotFoundError where there is none."""
        folder = Path(folder)
        facts = json.loads((folder / "panel.json").read_text())
        values, offsets, times = (np.load(folder / f"{n}.npy", mmap_mode="r") for n in ("values", "offsets", "times"))
        return cls(values, np.asarray(offsets), times, tuple(facts["ids"]), tuple(facts["channels"]), facts["digest"], facts)

    def rows(self, series: int) -> slice:
        """The rows of one series."""
        return slice(int(self.offsets[series]), int(self.offsets[series + 1]))


def origin_rows(panel: Panel, params: WindowParams, split: Split | None, name: str, stride: int) -> np.ndarray:
    """The origin rows (int64) of a split, every `stride` rows in each series, all their targets inside the split.

    Without a split: every window of every series.  The first origin of validation and test is the row whose first target is
    the first row of the split (so that all series share their cutoffs); windows without one observed target are left out.
    """
    found = []
    for series in range(len(panel.ids)):
        rows = panel.rows(series)
        low, high = (0, rows.stop - rows.start) if split is None else split.target_rows(panel.times[rows], name)
        first = low - 1 - params.gap
        if low == 0:
            first = params.reach
        elif first < params.reach:
            first += -(-(params.reach - first) // stride) * stride
        origins = np.arange(first, high - params.ahead, stride, dtype=np.int64)
        if len(origins):
            seen = np.concatenate(([0], np.cumsum(~np.isnan(panel.values[rows, 0]))))
            observed = seen[origins + params.ahead + 1] - seen[origins + params.gap + 1]
            found.append(origins[observed > 0] + rows.start)
    return np.concatenate(found) if found else np.empty(0, np.int64)


class Batch(NamedTuple):
    """One batch of windows, raw values in original units; NaN marks what is missing or outside a shorter feature's window."""

    past_BLF: Tensor
    y_BH: Tensor
    series_B: Tensor


@dataclass(frozen=True)
class _Group:
    """Neighbouring channels with the same window: one strided view of the panel, gathered at once."""

    view: Tensor  # [starts, lookback, channels]
    reach: int
    places: slice
    columns: slice


class Windows:
    """Windows at given origin rows of a panel.  Memory is O(rows) whatever the lookback: a batch is gathered from views."""

    def __init__(self, panel: Panel, params: WindowParams, origins: np.ndarray, device: str | torch.device = "cpu") -> None:
        """`origins`: int64 global rows, each with `reach` rows before and `ahead` rows after it within its series."""
        self.panel, self.params = panel, params
        with warnings.catch_warnings():  # the map is read-only on purpose, and nothing here writes to it
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            values = torch.from_numpy(panel.values)
        self._values = values.to(device)
        self.origins = torch.from_numpy(np.ascontiguousarray(origins, np.int64)).to(device)
        self._offsets = torch.from_numpy(np.ascontiguousarray(panel.offsets, np.int64)).to(device)
        self._groups = self._group()
        rows, width = self._values.shape
        ends = max(rows - params.horizon + 1, 0)
        self._targets = self._values.as_strided((ends, params.horizon), (width, width), 0)

    def __len__(self) -> int:
        return len(self.origins)

    def _group(self) -> list[_Group]:
        rows, width = self._values.shape
        names = list(self.params.channels)
        at = [self.panel.channels.index(name) for name in names]
        windows = list(self.params.channels.values())
        groups, start = [], 0
        for stop in range(1, len(names) + 1):
            same = stop < len(names) and windows[stop] == windows[start] and at[stop] == at[stop - 1] + 1
            if same:
                continue
            window = windows[start]
            span = window.sampling_rate * (window.lookback - 1)
            size = (max(rows - span, 0), window.lookback, stop - start)
            view = self._values.as_strided(size, (width, window.sampling_rate * width, 1), at[start])
            places = slice(self.params.lookback - window.lookback, self.params.lookback)
            groups.append(_Group(view, window.reach, places, slice(start, stop)))
            start = stop
        return groups

    def past(self, origins_B: Tensor) -> Tensor:
        """[B, L, F] raw feature values for origin rows, right-aligned; NaN in the older places of a shorter feature."""
        if len(self._groups) == 1:
            return self._groups[0].view.index_select(0, origins_B - self._groups[0].reach)
        shape = (len(origins_B), self.params.lookback, len(self.params.channels))
        past_BLF = self._values.new_full(shape, torch.nan)
        for group in self._groups:
            past_BLF[:, group.places, group.columns] = group.view.index_select(0, origins_B - group.reach)
        return past_BLF

    def batch(self, index_B: Tensor) -> Batch:
        """The windows number `index_B` (int64, on the device of the panel): past [B, L, F], targets [B, H], series [B]."""
        origins_B = self.origins[index_B]
        y_BH = self._targets.index_select(0, origins_B + self.params.gap + 1)
        return Batch(self.past(origins_B), y_BH, self.series(origins_B))

    def series(self, origins_B: Tensor) -> Tensor:
        """The number of the series that each origin row lies in."""
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
