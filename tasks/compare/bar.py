"""The bar: the best of all baselines on validation, which a variant has to beat, and the best of the naive ones.

Theta and AutoETS forecast some origins only, and none of a series that is too short for them: baselines are compared on the
rows that all of them forecast, without those that leave out most of the series.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from models.baselines import NAIVES
from tasks.compare.board import Score, best_naive
from tasks.compare.measures import Measured, Scale, measured
from tasks.evaluate.frames import Forecasts

LEAST_SHARE = 0.5  # of the series that any baseline forecasts: one with fewer is no bar


@dataclass(frozen=True)
class Bar:
    """The names of the best baseline and of the best naive one; `notes` on each baseline that forecasts too few series."""

    name: str
    naive: str
    notes: Mapping[str, str] = field(default_factory=dict)


def find_bar(validation: Forecasts, baselines: Sequence[str], scales: Sequence[Scale]) -> Bar:
    """The bar of the baselines of a run, in its measure, a mean over folds; the first on a tie.  `scales`: one a fold.

    Raises ValueError where no naive baseline forecast anything.
    """
    there = {name: _there(validation, name) for name in baselines}
    series = validation.read()["unique_id"]
    counts = {name: series.filter(rows).n_unique() for name, rows in there.items()}
    most = series.filter(pl.DataFrame(there).select(pl.any_horizontal(pl.all())).to_series()).n_unique() if there else 0
    few = {name for name, count in counts.items() if 0 < count < LEAST_SHARE * most}
    able = [name for name, count in counts.items() if count and name not in few]
    naive = best_naive(_scores(validation, [name for name in NAIVES if counts.get(name)], there, scales))
    known = {name: value for name, value in _scores(validation, able, there, scales).items() if value is not None}
    notes = {name: f"forecasts {counts[name]} of {most} series: too few to be the bar" for name in baselines if name in few}
    return Bar(min(known, key=known.__getitem__, default=naive), naive, notes)


def _there(frames: Forecasts, name: str) -> pl.Series:
    """[rows] whether there are an actual and a forecast."""
    rows = frames.read(name).select(pl.col("y", name).cast(pl.Float64).fill_nan(None).is_not_null())
    return rows.select(pl.all_horizontal(pl.all())).to_series().alias(name)


def _scores(
    frames: Forecasts, names: Sequence[str], there: Mapping[str, pl.Series], scales: Sequence[Scale]
) -> dict[str, Score]:
    """name -> the score on the rows that all of them forecast; each on its own where there is no such row."""
    if not names:
        return {}
    common = pl.DataFrame([there[name] for name in names]).select(pl.all_horizontal(pl.all())).to_series()
    rows = {name: common if common.any() else there[name] for name in names}

    def score(name: str) -> Score:
        parts = frames.split(frames.read(name, *scales[0].besides).with_columns(_counts=rows[name]))
        found = [measured(part.filter("_counts"), [name], scale) for part, scale in zip(parts, scales, strict=True)]
        return Measured.mean(found).scores[name]

    return {name: score(name) for name in names}
