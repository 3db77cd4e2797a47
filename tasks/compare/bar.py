"""The bar: the best baseline on validation, which a variant has to beat, and the best naive one.

Theta and AutoETS forecast only some origins, and no series that is too short for them: baselines are compared
on the rows that all of them forecast, without those that leave out most series.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from models.baselines import NAIVES
from tasks.compare.board import Score, best_naive
from tasks.compare.measures import Measured, Scale, measured_from, sums_of
from tasks.evaluate.frames import Forecasts, numbers_of

LEAST_SHARE = 0.5  # of the series that any baseline forecasts: with fewer, it cannot be the bar


@dataclass(frozen=True)
class Bar:
    """The names of the best baseline and the best naive one; `notes` on baselines with too few series."""

    name: str
    naive: str
    notes: Mapping[str, str] = field(default_factory=dict)


def find_bar(validation: Forecasts, baselines: Sequence[str], scales: Sequence[Scale]) -> Bar:
    """The bar among a run's baselines, in its measure (the mean over folds); the first on a tie.

    `scales`: one per fold.  Raises ValueError if no naive baseline forecast anything.
    """
    known = _Known.of(validation, baselines)
    few = {name for name, count in known.series.items() if 0 < count < LEAST_SHARE * known.most}
    able = [name for name, count in known.series.items() if count and name not in few]
    naives = [name for name in NAIVES if known.series.get(name)]
    scores = _scores(validation, [known.together(naives), known.together(able)], scales)
    naive = best_naive(scores[0])
    scored = {name: value for name, value in scores[1].items() if value is not None}
    words = {name: f"forecasts {known.series[name]} of {known.most} series: too few to be the bar" for name in few}
    notes = {name: words[name] for name in baselines if name in few}
    return Bar(min(scored, key=scored.__getitem__, default=naive), naive, notes)


@dataclass(frozen=True)
class _Known:
    """Which baselines forecast rows with an actual.

    `series`: how many series each covers; `most`: the most any covers; `rows`: which rows are forecast
    together."""

    series: Mapping[str, int]
    most: int
    rows: frozenset[frozenset[str]]

    @classmethod
    def of(cls, validation: Forecasts, baselines: Sequence[str]) -> "_Known":
        """Over all folds."""
        series = np.zeros((len(baselines), len(validation.ids) + 1), bool)
        patterns: set[int] = set()
        for block in validation.blocks(*baselines):
            there, number = np.zeros(block.height, np.int64), numbers_of(block["unique_id"], validation.ids)
            for place, name in enumerate(baselines):
                known = block.select(_there([name])).to_series().to_numpy()
                there |= known.astype(np.int64) << place
                series[place, number[known]] = True
            patterns.update(np.unique(there).tolist())
        counts = dict(zip(baselines, series.sum(axis=1).tolist(), strict=True))
        names = (frozenset(name for place, name in enumerate(baselines) if pattern >> place & 1) for pattern in patterns)
        return cls(counts, int(series.any(axis=0).sum()), frozenset(names))

    def together(self, names: Sequence[str]) -> dict[str, Sequence[str]]:
        """Per baseline, those that must forecast a row for it to count: all, or itself if no row has all."""
        common = any({*names} <= row for row in self.rows)
        return {name: names if common else [name] for name in names}


def _there(names: Sequence[str]) -> pl.Expr:
    """Whether the actual and all forecasts exist."""
    return pl.all_horizontal(pl.col("y", *names).cast(pl.Float64).fill_nan(None).is_not_null())


def _scores(
    frames: Forecasts, groups: Sequence[Mapping[str, Sequence[str]]], scales: Sequence[Scale]
) -> list[dict[str, Score]]:
    """Per group, name -> its score on the rows that the whole group forecasts, in one pass over each fold."""
    columns = {name for group in groups for names in group.values() for name in names}
    folds: list[list[dict[str, Measured]]] = []
    for fold, scale in enumerate(scales):
        sums: list[dict[str, list[pl.DataFrame]]] = [{name: [] for name in group} for group in groups]
        for block in frames.blocks(*sorted(columns), *scale.besides, fold=fold):
            for group, some in zip(groups, sums, strict=True):
                for name, needed in group.items():
                    some[name].append(sums_of(block.filter(_there(needed)), [name], scale))
        folds.append([{name: measured_from(parts, [name], scale) for name, parts in some.items()} for some in sums])
    return [
        {name: Measured.mean([fold[place][name] for fold in folds]).scores[name] for name in group}
        for place, group in enumerate(groups)
    ]
