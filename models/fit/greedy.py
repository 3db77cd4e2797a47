"""Greedy ensembles: weights learnt on the members' validation forecasts and scored on held-out parts.

Weights look good on the rows they were learnt on.  So an ensemble is judged on held-out forecasts: each part
of validation is forecast with weights learnt without it (`parts_of`).  The final weights are learnt on all of
validation.
Shapes: W windows, H horizon, Q quantiles, M networks, K baselines.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from models.data.panel import Panel, Split
from models.data.windows import Windows
from models.fit.job import Job, assembled, is_baseline, mae, put_together, read_result, write_ensemble, write_result
from models.fit.settings import By, FitFailed, Learnt, Mix, Result, Status
from models.mixed import Beside, OwnForecasts, combined
from models.objective import units
from models.selection import Range, select
from models.serving import Bounds, combine

BLOCKS = (4, 3, 2)  # of origins: the first number that leaves enough to learn from
GROUPS = 5  # of series, if there are too few origins
AT_A_TIME = 1024  # windows per chunk


@dataclass(frozen=True)
class Validated:
    """A validation range: its borders, its windows, and each member's forecasts there; None: it failed."""

    split: Split
    windows: Windows
    columns: Sequence[OwnForecasts | None]


class Part(NamedTuple):
    """The indices of a part's windows, and of those that share nothing with it and can teach its weights."""

    held_out: np.ndarray
    learnt_on: np.ndarray


def validated(
    job: Job, windows: Mapping[str, Windows], beside: Beside, networks: Sequence[OwnForecasts | None]
) -> list[Validated]:
    """Every validation range of a job; `networks`: the forecasts of the fits of `job.trained`, in order."""
    assert job.greedy is not None and job.split is not None
    trained, ranges = iter(networks), []
    for split, (name, range_windows) in zip((job.split, *job.greedy.others), windows.items(), strict=True):
        baselines = iter(np.moveaxis(beside.forecasts[name], -1, 0)) if job.baselines else iter(())
        columns = [OwnForecasts(next(baselines)) if is_baseline(member.family) else next(trained) for member in job.members]
        ranges.append(Validated(split, range_windows, columns))
    return ranges


def learn(job: Job, panel: Panel, ranges: Sequence[Validated]) -> Learnt:
    """The weights of a greedy ensemble; `ranges`: its own first.  Raises FitFailed if it cannot learn."""
    usable = [
        at
        for at in range(len(job.members))
        if all(_forecasts(split_range.columns[at], panel, split_range.windows) for split_range in ranges)
    ]
    if not any(not is_baseline(job.members[at].family) for at in usable):
        raise FitFailed("none of its networks gave a forecast")
    mix, score, singles = _learnt(job, panel, ranges, usable)
    own_range, *others = ranges
    by: By = "folds"
    if others:
        held_out = [_learnt(job, panel, others, usable)[0]]
    else:
        by, parts = parts_of(job, panel, own_range.windows)
        held_out = [_learnt(job, panel, ranges, usable, part.learnt_on)[0] for part in parts]
    by_member = dict(zip(usable, singles, strict=True))
    return Learnt(mix, by, tuple(held_out), score, tuple(by_member.get(at) for at in range(len(job.members))))


def _forecasts(column: OwnForecasts | None, panel: Panel, windows: Windows) -> bool:
    """Whether a member forecasts any row that has an actual."""
    return column is not None and bool((np.isfinite(column.points) & np.isfinite(_actuals(panel, windows))).any())


def _actuals(panel: Panel, windows: Windows) -> np.ndarray:
    rows = windows.origins.cpu().numpy().astype(np.int64)[:, None] + windows.params.gap + 1 + np.arange(windows.params.horizon)
    return np.asarray(panel.target[rows], np.float64)


def _learnt(
    job: Job, panel: Panel, ranges: Sequence[Validated], usable: Sequence[int], some: np.ndarray | None = None
) -> tuple[Mix, float, Sequence[float]]:
    """The mix learnt on some ranges (on the windows `some`), its score, and each usable member's score."""
    selected = select([_range(job, panel, split_range, usable, some) for split_range in ranges])
    if selected is None:
        raise FitFailed("validation has no row with an actual that all of its members forecast, or nothing to divide by")
    counts = dict(zip(usable, selected.counts, strict=True))
    networks = [place for place, at in enumerate(usable) if not is_baseline(job.members[at].family)]
    best = min(networks, key=lambda place: selected.singles[place])
    network = None if any(selected.counts[place] for place in networks) else usable[best]
    return Mix(tuple(counts.get(at, 0) for at in range(len(job.members))), network), selected.score, selected.singles


def _range(job: Job, panel: Panel, split_range: Validated, usable: Sequence[int], some: np.ndarray | None) -> Range:
    greedy = job.greedy
    assert greedy is not None
    naive2 = (place for place, at in enumerate(usable) if job.members[at].family == "naive2")
    origins = split_range.windows.origins.cpu().numpy()
    return Range(
        by=greedy.measure,
        y=_actuals(panel, split_range.windows),
        members=[column.points for column in (split_range.columns[at] for at in usable) if column is not None],
        series=np.searchsorted(panel.offsets, origins, side="right") - 1,
        unit=units(panel, split_range.split, greedy.season, greedy.measure),
        bounds=Bounds(greedy.lowest, greedy.highest, greedy.integer),
        naive2=next(naive2, None),
        some=some,
    )


def parts_of(job: Job, panel: Panel, windows: Windows) -> tuple[By, list[Part]]:
    """The parts of a single validation range.

    Consecutive blocks of origins; the weights for a block are learnt from origins that share no target with
    it, at least a horizon away.  With too few origins, groups of series by a hash of their names.  Raises
    FitFailed for a single origin of a single series.
    """
    assert job.split is not None
    origins = windows.origins.cpu().numpy().astype(np.int64)
    owner = np.searchsorted(panel.offsets, origins, side="right") - 1
    rows = [origins + windows.params.gap + 1, origins + windows.params.gap + windows.params.horizon]
    ends = panel.offsets[owner + 1]  # with a split by rows, series end at different times
    first, last = (np.asarray(panel.times[at] if job.split.by == "time" else at - ends) for at in rows)
    moments = np.unique(first)
    for count in BLOCKS:
        blocks = [(first >= some[0]) & (first <= some[-1]) for some in np.array_split(moments, count) if len(some)]
        away = [(last < first[block].min()) | (first > last[block].max()) for block in blocks]
        if len(blocks) == count and all(mask.any() for mask in away):
            return "origins", [Part(*map(np.flatnonzero, pair)) for pair in zip(blocks, away, strict=True)]
    numbers = np.unique(owner)
    if len(numbers) < 2:
        raise FitFailed("validation has too few origins of one series to learn weights on some and score them on others")
    ranked = sorted(numbers.tolist(), key=lambda number: hashlib.sha256(panel.ids[number].encode()).hexdigest())
    group = {number: place % GROUPS for place, number in enumerate(ranked)}
    groups = np.array([group[number] for number in owner.tolist()])
    parts = [
        Part(np.flatnonzero(groups == number), np.flatnonzero(groups != number)) for number in range(min(GROUPS, len(ranked)))
    ]
    return "series", parts


def held_out(
    job: Job, learnt: Learnt, own_range: Validated, panel: Panel, levels: Sequence[float] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """Points [W, H] and quantiles [W, H, Q] minus them on its own validation, with held-out weights."""
    count = len(own_range.windows)
    parts = (
        [np.arange(count)] if learnt.by == "folds" else [part.held_out for part in parts_of(job, panel, own_range.windows)[1]]
    )
    points, quantiles = np.empty((count, job.windows.horizon)), np.empty((count, job.windows.horizon, len(levels)), np.float32)
    for part, mix in zip(parts, learnt.held_out, strict=True):
        mixed = _Mixed.of(job, mix, own_range.columns)
        for start in range(0, len(part), AT_A_TIME):
            some = part[start : start + AT_A_TIME]
            points[some], quantiles[some] = mixed.points(some), mixed.quantiles(some, levels)
    return points, quantiles


@dataclass(frozen=True)
class _Mixed:
    """The columns of a mix, networks then baselines, the weights in the same order, and the `others`."""

    networks: Sequence[OwnForecasts]
    baselines: Sequence[OwnForecasts]
    counts: tuple[int, ...]
    others: Sequence[OwnForecasts]

    @classmethod
    def of(cls, job: Job, mix: Mix, columns: Sequence[OwnForecasts | None]) -> "_Mixed":
        """The columns of a mix of a job's members."""
        kept = job.kept(mix)
        networks, baselines = (
            [column for at in kept if is_baseline(job.members[at].family) is which and (column := columns[at])]
            for which in (False, True)
        )
        others = [column for at, column in enumerate(columns) if at not in kept and column is not None]
        return cls(networks, baselines, tuple(mix.counts[at] for at in kept), others)

    def points(self, some: np.ndarray) -> np.ndarray:
        """[some, H] as the ensemble forecasts them (`models/worker.py`)."""
        networks_BHM = np.stack([column.points[some] for column in self.networks], -1)
        baselines_BHK = np.empty((*networks_BHM.shape[:2], len(self.baselines)))
        for place, column in enumerate(self.baselines):
            baselines_BHK[..., place] = column.points[some]
        return combined(networks_BHM, baselines_BHK, "mean", self.counts)

    def quantiles(self, some: np.ndarray, levels: Sequence[float]) -> np.ndarray:
        """[some, H, Q] minus the points: the networks' weighted mean, as in `models/ensemble.py`.

        A network that lacks one of the levels counts as one without quantiles.  If all of the mix do, the
        networks outside it supply them with equal weights; NaN if none has any.
        """
        picked = [(column, times) for column, times in zip(self.networks, self.counts, strict=False) if _has(column, levels)]
        having = picked or [(column, 1) for column in self.others if _has(column, levels)]
        parts = [np.full((len(some), self.networks[0].points.shape[1], len(levels)), np.nan)]
        for column, _ in having:
            assert column.quantiles is not None
            parts.append(column.quantiles[some][..., [column.levels.index(level) for level in levels]])
        return combine(np.stack(parts, -1), "mean", np.array([0, *(times for _, times in having)])).astype(np.float32)


def _has(column: OwnForecasts, levels: Sequence[float]) -> bool:
    return column.quantiles is not None and {*levels} <= {*column.levels}


def assemble(job: Job, fits: Sequence[Path], folder: Path, ranges: Sequence[Validated], panel: Panel, forecasts: str) -> Result:
    """Makes a greedy ensemble of the fits of `job.trained`, in order: writes `weights.pt` and `result.json`.

    `ranges`: its own validation range, then the others.  `forecasts`: the sha256 of its baselines' forecasts.
    """
    results = [read_result(fit) for fit in fits]
    try:
        learnt = learn(job, panel, ranges)
        points, _ = held_out(job, learnt, ranges[0], panel)
    except FitFailed as error:
        result = Result(status=Status.FAILED, reason=str(error))
        write_result(result, folder)
        return result
    networks = [at for at, member in enumerate(job.members) if not is_baseline(member.family)]
    kept = [fits[networks.index(at)] for at in job.kept(learnt.mix) if at in networks]
    result = replace(assembled(job.members * len(ranges), results), learnt=learnt, forecasts=forecasts)
    val_mae = mae(points, panel, ranges[0].windows)
    return write_ensemble(put_together(job.resolved(learnt), kept), result, folder, val_mae=val_mae)
