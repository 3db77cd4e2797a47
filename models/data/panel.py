"""The panel: a table of series as memory-mapped arrays on a regular grid, and the borders of its splits.

Shapes: S series.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from tokenize import TokenError
from typing import Any, Literal, Self

import numpy as np
from numpy.lib.format import open_memmap

from models.data.window import AHEAD, WindowParams

SPLITS = ("train", "validation", "test")
ARRAYS = ("target", "values", "offsets", "times", "static")  # in every panel
WIDE = "wide"  # only if some channels are also stored in 64 bits
WIDE_OR_OLD = (np.float64, np.float32)  # target and static covariates: panels of lagline 0.1 hold 32 bits
UNREADABLE = (ValueError, TypeError, LookupError, SyntaxError, TokenError, OverflowError, RecursionError)  # from damaged files


class DamagedPanel(ValueError):
    """A file of a panel is missing, cannot be read, or does not fit the others."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"panel {path.parent} is damaged ({path.name} {reason})")


@dataclass(frozen=True)
class Split:
    """Where validation and test begin: at one time (`time`), or counted from each series' end (`rows`).

    `validation` and `test` are timestamps in the panel's unit, or row counts.  The `embargo` rows before each
    border belong to no split's targets.
    """

    by: Literal["time", "rows"]
    validation: int
    test: int
    embargo: int = 0

    def target_rows(self, times: np.ndarray, name: str) -> tuple[int, int]:
        """The half-open range of target rows of split `name` in one series, given its timestamps."""
        low, high = self.target_ranges(times, np.array([0, len(times)]), name)
        return int(low[0]), int(high[0])

    def target_ranges(self, times: np.ndarray, offsets: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
        """The same for every series at once, int64 [S] each, counted from the first row of each series.

        tasks/validate/profile.py has the same as polars expressions, over tables.
        """
        sizes = np.diff(offsets)
        if self.by == "time":
            validation, test = (_rows_before(times, offsets, border) for border in (self.validation, self.test))
        else:
            test = np.maximum(sizes - self.test, 0)
            validation = np.maximum(test - self.validation, 0)
        ranges = {
            "train": (np.zeros_like(sizes), validation - self.embargo),
            "validation": (validation, test - self.embargo),
            "test": (test, sizes),
        }
        return ranges[name]


def _rows_before(times: np.ndarray, offsets: np.ndarray, border: int) -> np.ndarray:
    """How many rows of each series lie before a given time: one binary search over all series."""
    low, high = offsets[:-1].astype(np.int64), offsets[1:].astype(np.int64)
    while (low < high).any():
        middle = (low + high) // 2
        before = times[np.minimum(middle, len(times) - 1)] < border
        open_ = low < high
        low, high = np.where(open_ & before, middle + 1, low), np.where(open_ & ~before, middle, high)
    return np.asarray(low - offsets[:-1])


@dataclass(frozen=True, kw_only=True)
class PanelFacts:
    """How a panel was made, as stored in panel.json.

    `forward_fill`: the most rows a value is carried forward.  `start_padding`: padding rows before each
    series.  `categories`: of each categorical covariate, in the order of their codes 1, 2 ...  `wide`: the
    channels also stored in 64 bits.  `zone`: the table's time zone, None if its times have none; times with
    a step of a day or more are local (wall clock).  `holidays`: dates such as 2024-12-25, for business days
    and the calendar.
    """

    frequency: str | int = 1
    forward_fill: int = 0
    start_padding: int = 0
    static: tuple[str, ...] = ()
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    wide: tuple[str, ...] = ()
    zone: str | None = None
    holidays: tuple[str, ...] = ()

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """The facts in the contents of panel.json, which has other keys too; KeyError if one is missing."""
        categories = {name: tuple(values) for name, values in fields.get("categories", {}).items()}
        static, padding = tuple(fields.get("static", ())), fields.get("start_padding", 0)  # added later
        return cls(
            frequency=fields["frequency"],
            forward_fill=fields["forward_fill"],
            start_padding=padding,
            static=static,
            categories=categories,
            wide=tuple(fields.get("wide", ())),
            zone=fields.get("zone"),
            holidays=tuple(fields.get("holidays", ())),
        )

    def to_dict(self) -> dict[str, Any]:
        """The facts for panel.json; empty ones are left out."""
        return {name: value for name, value in vars(self).items() if name not in ("wide", "zone", "holidays") or value}


@dataclass(frozen=True)
class Panel:
    """The table on a regular grid: the rows of one series after another; a missing step is a row of NaN.

    `target` float64 [rows]: y as given (NaN where missing; never imputed).  `values` float32 [rows,
    channels]: the features (carried forward within their limit, NaN beyond), the calendar, then the raw
    values known ahead; named by `channels`.  `wide` float64 [rows, wide channels]: the channels that need
    more than 32 bits, repeated; named by `facts.wide`.  `times` int64 [rows]: microseconds since 1970 (UTC,
    or local time of the zone), or the integer time step.  `offsets` int64 [S + 1]: where each series begins.
    `static` float64 [S, statics]: a number, or a category's code, counted from 1.
    `folder`: the folder it was opened from, if any.
    """

    target: np.ndarray
    values: np.ndarray
    offsets: np.ndarray
    times: np.ndarray
    ids: tuple[str, ...]
    channels: tuple[str, ...]
    digest: str
    facts: PanelFacts = field(default_factory=PanelFacts)
    static: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))
    wide: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))
    folder: Path = Path()

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """The memory-mapped panel of a folder; changed cells go unnoticed.

        Raises FileNotFoundError or DamagedPanel.
        """
        folder = Path(folder)
        text = (folder / "panel.json").read_bytes()
        try:
            fields = json.loads(text)
            panel_facts = PanelFacts.from_dict(fields)
            ids, channels, digest = tuple(fields["ids"]), tuple(fields["channels"]), fields["digest"]
        except (*UNREADABLE, AttributeError):
            raise DamagedPanel(folder / "panel.json", "cannot be read") from None
        offsets = np.asarray(_array(folder / "offsets.npy", np.int64, len(ids) + 1))
        rows = int(offsets[-1])
        if offsets[0] != 0 or (np.diff(offsets) < 0).any():
            raise DamagedPanel(folder / "offsets.npy", "is out of order")
        target = _array(folder / "target.npy", WIDE_OR_OLD, rows)
        values = _array(folder / "values.npy", np.float32, rows, len(channels))
        times = _array(folder / "times.npy", np.int64, rows)
        static = np.asarray(_array(folder / "static.npy", WIDE_OR_OLD, len(ids), len(panel_facts.static)), np.float64)
        wide = (
            _array(folder / f"{WIDE}.npy", np.float64, rows, len(panel_facts.wide)) if panel_facts.wide else np.empty((rows, 0))
        )
        return cls(target, values, offsets, times, ids, channels, digest, panel_facts, static, wide, folder)

    def rows(self, series: int) -> slice:
        """The rows of one series."""
        return slice(int(self.offsets[series]), int(self.offsets[series + 1]))

    def column(self, name: str) -> int:
        """The column of a channel in `values`."""
        return self.channels.index(name)

    def channel(self, name: str) -> np.ndarray:
        """[rows] a channel, in 64 bits if it is stored so."""
        wide: bool = name in self.facts.wide
        return self.wide[:, self.facts.wide.index(name)] if wide else self.values[:, self.column(name)]

    def widened(self, params: WindowParams) -> WindowParams:
        """The same windows, reading in 64 bits the channels that are stored so."""
        there = {name for name in params.features if name in self.facts.wide}
        there |= {name for name in params.future if name + AHEAD in self.facts.wide}
        return replace(params, wide=tuple(dict.fromkeys(name for name in (*params.features, *params.future) if name in there)))

    @property
    def categories(self) -> Mapping[str, tuple[str, ...]]:
        """The categories of each categorical covariate, in the order of their codes 1, 2 ..."""
        return self.facts.categories


@dataclass(frozen=True)
class Data:
    """What a comparison trains and evaluates on: a panel, the windows over it, and the borders of its splits.

    `earlier`: the borders of earlier validation folds, oldest first; each is trained separately.
    """

    panel: Panel
    windows: WindowParams
    split: Split
    earlier: tuple[Split, ...] = ()

    @property
    def folds(self) -> tuple["Data", ...]:
        """One `Data` per validation fold, oldest first; the last is that of `split`."""
        return tuple(Data(self.panel, self.windows, split) for split in (*self.earlier, self.split))


def arrays_of(panel_facts: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of a panel's arrays, according to its panel.json."""
    return (*ARRAYS, *((WIDE,) if panel_facts.get("wide") else ()))


def digest_of(folder: Path, panel_facts: Mapping[str, Any]) -> str:
    """A panel's digest, computed from its facts and the bytes of its arrays."""
    digest = hashlib.sha256(json.dumps(panel_facts, sort_keys=True).encode())
    for name in arrays_of(panel_facts):
        with (folder / f"{name}.npy").open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def content_digest(folder: Path) -> str:
    """The digest of a panel's current files; it differs from the panel's name if a cell was changed."""
    panel_facts = json.loads((folder / "panel.json").read_text())
    return digest_of(folder, {name: value for name, value in panel_facts.items() if name not in ("digest", "rows", "bytes")})


def _array(path: Path, dtype: type | tuple[type, ...], *shape: int) -> np.ndarray:
    """One array of a panel, memory-mapped.  Raises DamagedPanel if its type or shape is not as expected."""
    try:
        array = open_memmap(path, mode="r")
    except FileNotFoundError:
        raise DamagedPanel(path, "is missing") from None
    except UNREADABLE as error:
        raise DamagedPanel(path, f"cannot be read: {str(error).splitlines()[0]}") from None
    allowed = [np.dtype(kind) for kind in (dtype if isinstance(dtype, tuple) else (dtype,))]
    if array.dtype not in allowed or array.shape != shape:
        raise DamagedPanel(path, f"holds {array.dtype} {array.shape}, not {allowed[0]} {shape}")
    return array
