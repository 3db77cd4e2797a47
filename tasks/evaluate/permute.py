"""Exchanges what a model reads of one covariate with what it reads at another origin of the same series.

An origin's partner is in the same slot of the season and at least reach + horizon rows away, so that no row is
read by both.  Past and ahead move together, since they are one curve; a static covariate comes from another
series.  Everything else of the window, and its targets, stay.
Shapes: W sampled windows, B batch, L lookback.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from models.data.panel import Panel
from models.data.window import AHEAD, HOLIDAY, FeatureWindow, WindowParams
from models.data.windows import Inputs, Windows
from params.errors import UserError
from tasks.grid.frequency import Frequency

MOST_BLOCKS = 8  # blocks of lags of a feature, narrow near the cutoff


class Role(StrEnum):
    """When a covariate is known."""

    OWN = "own past"
    PAST = "past"
    AHEAD = "ahead"
    BOTH = "past and ahead"
    STATIC = "static"


@dataclass(frozen=True)
class Covariate:
    """What a model reads of one column; `window`: of its past, if it reads that."""

    name: str
    role: Role
    window: FeatureWindow | None = None


class Lags(NamedTuple):
    """Some samples of a feature, `newest` to `oldest`, counted from its newest sample, 0."""

    newest: int
    oldest: int

    def rows(self, window: FeatureWindow, gap: int) -> tuple[int, int]:
        """The first and last lag in rows before the target of step 1, as the lag table counts them."""
        first, last = (1 + gap + window.delay + window.sampling_rate * sample for sample in self)
        return first, last


@dataclass(frozen=True)
class Partners:
    """Sampled windows [W] and, for each draw, the origins [W] that they are exchanged with.

    `others`: the same in other series, for static covariates; empty if there is only one series.
    """

    windows: Windows
    own: tuple[np.ndarray, ...]
    others: tuple[np.ndarray, ...]


class Exchanged(Windows):
    """Windows that read one covariate, or some of its lags, at the origins of their partners."""

    def __init__(self, windows: Windows, partners: np.ndarray, covariate: Covariate, lags: Lags | None = None) -> None:
        """`partners` [W]: an origin for each window; the windows are in order of their origins."""
        self.__dict__.update(vars(windows))  # a device holds the panel once
        self.covariate, self.lags = covariate, lags
        self.partners = torch.from_numpy(np.ascontiguousarray(partners)).to(self.origins)

    def inputs(self, origins_B: Tensor) -> Inputs:
        """The inputs at some of the windows' origins, with the covariate of their partners."""
        partners_B = self.partners[torch.searchsorted(self.origins, origins_B)]
        return moved(super().inputs(origins_B), super().inputs(partners_B), self.params, self.covariate, self.lags)


def covariates_of(params: WindowParams, series: int) -> list[Covariate]:
    """Everything a model reads that can be exchanged: features, what is known ahead, and static covariates.

    Not the calendar, which is the same in the same slot; holidays are not.  Static ones only if there are two
    series.
    """
    covariates = []
    for name, window in params.features.items():
        role = Role.OWN if name == "y" else Role.BOTH if name in params.future else Role.PAST
        covariates.append(Covariate(name, role, window))
    covariates += [Covariate(name, Role.AHEAD) for name in params.future if name not in params.features]
    covariates += [Covariate(HOLIDAY, Role.BOTH)] if HOLIDAY in params.calendar else []
    return covariates + ([Covariate(name, Role.STATIC) for name in params.static] if series > 1 else [])


def lags_of(window: FeatureWindow) -> list[Lags]:
    """At most MOST_BLOCKS blocks of samples, of geometrically growing sizes; together they are the window."""
    edges = np.unique(np.geomspace(1, window.lookback + 1, MOST_BLOCKS + 1).round().astype(int)) - 1
    return [Lags(int(low), int(high) - 1) for low, high in itertools.pairwise(edges)]


def moved(own: Inputs, other: Inputs, params: WindowParams, covariate: Covariate, lags: Lags | None) -> Inputs:
    """The inputs `own`, with one covariate, or some lags of its past, from `other`."""
    name = covariate.name
    if covariate.role is Role.STATIC:
        return own._replace(static_BC=_with(own.static_BC, other.static_BC, [*params.static].index(name)))
    length = own.past_BLF.shape[1]
    samples = slice(None) if lags is None else slice(length - 1 - lags.oldest, length - lags.newest)
    if name in params.channels:
        past_BLF = _with(own.past_BLF, other.past_BLF, [*params.channels].index(name), samples)
        own = own._replace(past_BLF=past_BLF)
    if name in params.wide_features:
        own = own._replace(wide_BLE=_with(own.wide_BLE, other.wide_BLE, params.wide_features.index(name), samples))
    ahead = name if name == HOLIDAY else name + AHEAD
    if lags is None and ahead in params.known:
        own = own._replace(ahead_BAK=_with(own.ahead_BAK, other.ahead_BAK, params.known.index(ahead)))
    if lags is None and name in params.wide_future:
        own = own._replace(wide_BAE=_with(own.wide_BAE, other.wide_BAE, params.wide_future.index(name)))
    return own


def _with(own: Tensor, other: Tensor, column: int, samples: slice = slice(None)) -> Tensor:
    """A copy of `own` whose last axis holds another's values in one column, in some samples."""
    copy = own.clone()
    if own.dim() == 2:
        copy[:, column] = other[:, column]
    else:
        copy[:, samples, column] = other[:, samples, column]
    return copy


def slot_rows(panel: Panel, params: WindowParams, season: int) -> int:
    """The rows after which a slot returns: a season, and a whole week where the calendar has the weekday."""
    if "weekday" not in params.calendar:
        return season
    try:
        return math.lcm(season, Frequency.of(panel.facts).rows_in("7d"))
    except UserError:  # a week is no whole number of steps
        return season


def partners_of(windows: Windows, slot: int, most: int, draws: int, seed: int = 0) -> Partners:
    """Partners for at most `most` of the windows (of a test range), drawn at random from the seed.

    A partner is another window of the range; where it has none, any row of the series with a whole window.
    A window without either is left out.
    """
    generator = np.random.default_rng(seed)
    every = windows.origins.cpu().numpy().astype(np.int64)
    some = np.sort(generator.choice(len(every), min(most, len(every)), replace=False))
    series = windows.series(windows.origins).cpu().numpy()
    starts = np.searchsorted(series, np.arange(len(windows.panel.ids) + 1))
    kept, own = [], []
    for place in some:
        origin, number = every[place], int(series[place])
        there = _in_slot(every[starts[number] : starts[number + 1]], origin, slot, windows.params)
        if not len(there):
            there = _in_slot(_whole_windows(windows, number), origin, slot, windows.params)
        if len(there):
            kept.append(place)
            own.append(generator.choice(there, draws))
    partners = np.array(own, np.int64).reshape(len(own), draws).T
    some = np.array(kept, np.int64)
    return Partners(windows.at(every[some]), tuple(partners), _others(every, series, some, draws, generator))


def _in_slot(rows: np.ndarray, origin: int, slot: int, params: WindowParams) -> np.ndarray:
    """The rows that share the slot of an origin, and none of the rows that its window spans."""
    shared: np.ndarray = rows[((rows - origin) % slot == 0) & (np.abs(rows - origin) >= params.reach + params.ahead)]
    return shared


def _whole_windows(windows: Windows, series: int) -> np.ndarray:
    """Every row of a series that has a whole window, without padding."""
    low, high = windows.panel.offsets[series : series + 2]
    return np.arange(low + windows.params.start_padding + windows.params.reach, high - windows.params.ahead)


def _others(
    every: np.ndarray, series: np.ndarray, some: np.ndarray, draws: int, generator: np.random.Generator
) -> tuple[np.ndarray, ...]:
    """For each draw, an origin of another series for each of some windows: every other series is as likely."""
    numbers, first = np.unique(series, return_index=True)
    if len(numbers) < 2:
        return ()
    own = np.searchsorted(numbers, series[some])
    others = []
    for _ in range(draws):
        shift = generator.integers(1, len(numbers), len(some))
        others.append(every[first[(own + shift) % len(numbers)]])
    return tuple(others)


def groups_of(windows: Windows, most: int) -> tuple[Sequence[np.ndarray], str]:
    """The windows' numbers in at most `most` blocks of consecutive origins, or of series if there are few origins.

    The second value says which: `origins` or `series`.
    """
    origins = windows.origins.cpu().numpy()
    times = windows.panel.times[origins]
    if len(np.unique(times)) >= most:
        edges = np.quantile(times, np.arange(1, most) / most, method="lower")
        place, over = np.searchsorted(edges, times, side="left"), "origins"
    else:
        number = np.unique(windows.series(windows.origins).cpu().numpy(), return_inverse=True)[1]
        place, over = number * most // max(int(number.max(initial=0)) + 1, 1), "series"
    return [group for at in range(most) if len(group := np.flatnonzero(place == at))], over
