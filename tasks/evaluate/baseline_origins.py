"""The origins on which theta, auto_ets and those from outside are fitted, by counts alone, and what that costs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from models.baseline_fit import history_of, series_at
from models.baselines import LONGEST_SEASON, arguments_of, is_outside
from models.data.origins import origin_rows
from models.data.panel import Data, Panel
from models.fit.job import Job
from params.schema import RunParams, VariantParams
from tasks.files import spread
from tasks.lags.past import series_parts

# `auto` allows ALLOWED core milliseconds per split by the prices below, which for a few series covers all
# origins; ORIGINS of them may take ALLOWED_FEW.  Models are compared where the best baseline forecasts.
ALLOWED, ALLOWED_FEW = 30_000.0, 60_000.0
ORIGINS = 30
ORIGINS_LEAST = 10  # with fewer, the baseline is left out


class Fitted(NamedTuple):
    """The cost of fitting a baseline, and the longest season that it supports.

    `prices`: (longest season, core milliseconds per row), as measured; rows are those read or forecast.
    """

    longest: int
    prices: tuple[tuple[int, float], ...]

    def price(self, season: int) -> float:
        """Milliseconds per row."""
        return next(price for longest, price in self.prices if season <= longest)


# Theta at 8760 cost 100 times what it does at 1000, hence `longest`; auto_ets has a parameter per row of a
# season. auto_ets: 500 rows of the shipped data (season 24) cost twice as much as 240, for 1 % less error; it
# needs three seasons to start from a decomposition.  docs/comparison.md has this table.
FITTED = {
    "theta": Fitted(LONGEST_SEASON["theta"], ((52, 0.01), (100, 0.016), (168, 0.03), (336, 0.045), (1000, 0.12))),
    "auto_ets": Fitted(LONGEST_SEASON["auto_ets"], ((1, 0.05), (12, 0.6), (24, 0.7), (52, 0.95), (100, 1.3), (168, 3.2))),
}
# What a baseline from outside costs is not known, and measuring it would make origins depend on the machine.
FROM_OUTSIDE = Fitted(10**9, ((10**9, 0.1),))


def _limits(family: str) -> Fitted | None:
    """The cost of a baseline that is fitted; None for any other."""
    return FROM_OUTSIDE if is_outside(family) else FITTED.get(family)


def is_fitted(name: str, run: RunParams) -> bool:
    """Whether a run's baseline is fitted at each origin, and so perhaps at some only."""
    return _limits(run.baseline_family(name)) is not None


@dataclass(frozen=True)
class Origins:
    """All series' values, and the positions of origins in them.

    `y` [rows], NaN where missing; `start`, `at`, `cutoff` [origins]: the first row of the origin's series,
    the row of its cutoff, the cutoff as a number.  `panel`: which they are rows of, if any.
    """

    y: np.ndarray
    start: np.ndarray
    at: np.ndarray
    cutoff: np.ndarray
    panel: Panel | None = None

    @classmethod
    def of(cls, panel: Panel, origins: np.ndarray) -> "Origins":
        """The origins at some rows of a panel."""
        return cls(*history_of(panel, origins), panel.times[origins], panel)

    def series(self, number: int) -> str:
        """The name of an origin's series; empty if not known."""
        return "" if self.panel is None else series_at(self.panel, int(self.at[number]))

    def parts(self) -> Iterator[slice]:
        """Slices of the (ascending) origins by whole series, with a limited number of rows each."""
        first = np.flatnonzero(np.diff(self.start, prepend=-1))
        ends = np.append(first[1:], len(self.start))
        for some in series_parts(np.append(self.start[first], self.at.max(initial=-1) + 1)) if len(first) else ():
            yield slice(int(first[some.start]), int(ends[some.stop - 1]))


class Chosen(NamedTuple):
    """The origins at which a baseline forecasts [origins], and why not at all of them, in words."""

    tried: np.ndarray
    note: str = ""


def choices(past: Origins, run: RunParams) -> dict[str, Chosen]:
    """The origins of each baseline of a run: all for naive ones, spread cutoffs for those that are fitted."""
    return {name: _chosen(name, past, run) for name in run.evaluation.baselines}


def _chosen(name: str, past: Origins, run: RunParams) -> Chosen:
    every, none = np.ones(len(past.at), bool), np.zeros(len(past.at), bool)
    limits = _limits(run.baseline_family(name))
    if limits is None:
        return Chosen(every)
    if run.evaluation.season > limits.longest:
        return Chosen(none, f"left out: it takes a season of {limits.longest} rows at most")
    moment = _groups(past)
    cutoffs = np.unique(moment)
    if not len(cutoffs):
        return Chosen(every)
    most = _most_origins(name, past, run)
    if most < min(ORIGINS_LEAST, len(cutoffs)) and run.evaluation.baseline_origins == "auto":
        series = len(np.unique(past.start))
        words = f"left out: too slow for {series:,} series; set evaluation.baseline_origins to fit it all the same"
        return Chosen(none, words)
    some = cutoffs[spread(len(cutoffs), most)]
    part = f"on {len(some)} of {len(cutoffs)} origins (its scores are of those alone)" if len(some) < len(cutoffs) else ""
    return Chosen(np.isin(moment, some), part)


def _most_origins(name: str, past: Origins, run: RunParams) -> int:
    """The most origins that a baseline is fitted on: as the run says, or for `auto` by counts alone (series,
    rows, season, horizon)."""
    evaluation, family = run.evaluation, run.baseline_family(name)
    limits = _limits(family)
    assert limits is not None  # a fitted one has them
    if evaluation.baseline_origins != "auto":
        return evaluation.baseline_origins
    starts, first = np.unique(past.start, return_index=True)
    kept = arguments_of(family, evaluation.season).rows or past.at.max()
    rows = np.minimum(np.maximum.reduceat(past.at, first) - starts + 1, kept)
    rows = rows + run.windows.gap + run.windows.horizon
    return _allowed(limits.price(evaluation.season) * rows.sum())


def _allowed(milliseconds: float) -> int:
    """How many origins `auto` allows, at `milliseconds` each."""
    return max(int(ALLOWED / milliseconds), min(ORIGINS, int(ALLOWED_FEW / milliseconds)))


def spread_origins(names: Sequence[str], panel: Panel, origins: np.ndarray, run: RunParams) -> np.ndarray:
    """The `origins` (rows of a panel, ascending) on which a model with these baselines is judged: those of
    the slowest fitted one, as in a comparison, at least ORIGINS_LEAST by `auto`.  All if none is fitted."""
    evaluation = run.evaluation
    past = Origins.of(panel, origins)
    moment = _groups(past) if len(origins) else origins
    cutoffs = np.unique(moment)
    fitted = [(name, limits) for name in names if (limits := _limits(name)) and len(origins)]
    most = [_most_origins(name, past, run) for name, limits in fitted if evaluation.season <= limits.longest]
    least = ORIGINS_LEAST if evaluation.baseline_origins == "auto" else 1
    count = max(min(most, default=least), least)
    return origins[np.isin(moment, cutoffs[spread(len(cutoffs), count)])] if fitted else origins


def with_whole_members(variants: Mapping[str, VariantParams], run: RunParams, data: Data) -> dict[str, VariantParams]:
    """The variants, with greedy ensembles stripped of baselines that are fitted at some origins only: their
    mean would differ between origins."""
    left_out = _thinned(run, data) if any(variant.greedy for variant in variants.values()) else ()

    def whole(variant: VariantParams) -> VariantParams:
        members = tuple(member for member in variant.members if member.variant not in left_out)
        return variant.model_copy(update={"members": members}) if variant.greedy else variant

    return {name: whole(variant) for name, variant in variants.items()}


def _thinned(run: RunParams, data: Data) -> set[str]:
    """The baselines that are not fitted at all origins of a split."""
    thinned, evaluation = set[str](), run.evaluation
    for fold, split in [*((fold, "validation") for fold in data.folds), (data, "test")]:
        origins = origin_rows(fold.panel, fold.windows, fold.split, split, evaluation.stride)
        if not len(origins):
            continue
        past = Origins.of(fold.panel, origins)
        cutoffs = len(np.unique(_groups(past)))
        for name, limits in _fitted(run):
            if evaluation.season > limits.longest or _most_origins(name, past, run) < cutoffs:
                thinned.add(name)
    return thinned


def fitted_seconds(run: RunParams, rows: np.ndarray, origins: int) -> list[float]:
    """Estimated core seconds of theta and auto_ets on validation (all folds) and test; none if left out.

    `rows`: of each series; `origins`: of each in a split.
    """
    evaluation, seconds, ranges = run.evaluation, [], run.split.folds + 1
    for name, limits in _fitted(run):
        season = evaluation.season
        if season > limits.longest:
            continue
        kept = arguments_of(run.baseline_family(name), season).rows or rows.max()
        all_rows = (np.minimum(rows, kept) + run.windows.gap + run.windows.horizon).sum()
        per_origin = limits.price(season) * float(all_rows) / 1000
        if evaluation.baseline_origins != "auto":
            seconds.append(ranges * per_origin * min(evaluation.baseline_origins, origins))
        elif (most := _allowed(1000 * per_origin)) >= min(ORIGINS_LEAST, origins):
            seconds.append(ranges * per_origin * min(most, origins))
    return seconds


def member_seconds(job: Job, rows: np.ndarray, origins: int) -> float:
    """Estimated core seconds of an ensemble's baselines, which are fitted on all of its origins.

    `rows`: of each series; `origins`: of both splits together.
    """
    ahead = job.windows.gap + job.windows.horizon
    fitted = [(baseline.network, limits) for baseline in job.baselines if (limits := _limits(baseline.family))]
    prices = (limits.price(network["season"]) for network, limits in fitted)
    lengths = (np.minimum(rows, network.get("rows", rows.max())).mean() + ahead for network, _ in fitted)
    return float(sum(price * length * origins / 1000 for price, length in zip(prices, lengths, strict=True)))


def _fitted(run: RunParams) -> list[tuple[str, Fitted]]:
    """The run's baselines that are fitted, with what they cost."""
    return [(name, limits) for name in run.evaluation.baselines if (limits := _limits(run.baseline_family(name)))]


def _groups(past: Origins) -> np.ndarray:
    """[origins] what is fitted together: cutoffs or, if series end at different times, places from the end.

    Otherwise thirty cutoffs would miss most series of a split by rows.
    """
    _, first, counts = np.unique(past.start, return_index=True, return_counts=True)
    if len(np.unique(past.cutoff)) <= counts.max(initial=0):
        return past.cutoff
    return np.repeat(first + counts, counts) - np.arange(len(past.start))
