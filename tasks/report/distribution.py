"""Whether a model's intervals hold, in words and for pictures: overall, per size fifth, and per series."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from models.data.panel import Panel
from models.serving import Bounds, Calibration
from params.shown import visible
from tasks.compare.compare import Comparison
from tasks.compare.distribution import FIFTHS, RowScores, Shape
from tasks.evaluate.frames import COVERAGE, Forecasts, Outcome
from tasks.lags.past import target_frame
from tasks.report.plots.coverage import Strip
from tasks.report.plots.fans import Fan
from tasks.report.plots.forecasts import newest_apart

ORIGINS, ROWS = 4, 24  # in a fan chart: this many forecasts, or as many as have this many rows
BEFORE = 2  # horizons of history before them


@dataclass(frozen=True)
class Held:
    """The share of actuals inside a `model`'s `level` (percent) intervals: `pool`, and `groups` of series.

    `fifths`: whether the groups are size fifths or single series; `wanted`: the limits of promotion.coverage,
    which apply to 90 % (None for other levels).  `fewest`: rows of the smallest group.
    """

    model: str
    level: int
    pool: float
    groups: Mapping[str, float]
    fifths: bool
    wanted: tuple[float, float] | None
    fewest: int = 0

    @property
    def holds(self) -> bool | None:
        """Whether they hold overall and in every group; None if there are no limits."""
        return None if self.wanted is None else all(map(self._fits, (self.pool, *self.groups.values())))

    def words(self) -> str:
        """Whether they hold for every group, as a clause."""
        clause = f"the {self.level} % intervals of {self.model} hold {_percent(self.pool)} of the actuals on test"
        every = "every fifth of the series by size" if self.fifths else "every series"
        if self.wanted is None:
            shares = sorted(self.groups.values())
            return clause + (f"; in {every} {_percent(shares[0])[:-2]} to {_percent(shares[-1])}" if len(shares) > 1 else "")
        low, high = (f"{100 * end:.0f}" for end in self.wanted)
        inside = self._fits(self.pool)
        if len(self.groups) < 2:
            return f"{clause}: {'within' if inside else 'outside'} the {low} to {high} % of promotion.coverage"
        out = {name: share for name, share in self.groups.items() if not self._fits(share)}
        if out:
            named = [f"{_percent(share)} in {'the ' if self.fifths else ''}{visible(name)}" for name, share in out.items()]
            return f"{clause}, but they do not hold in {every}: {', '.join(named)} (promotion.coverage: {low} to {high} %)"
        ends = f"{_percent(min(self.groups.values()))[:-2]} to {_percent(max(self.groups.values()))}"
        if not inside:
            return f"{clause}, outside the {low} to {high} % of promotion.coverage, though {every} lies within ({ends})"
        return f"{clause}, and they hold in {every}: {ends}, within the {low} to {high} % of promotion.coverage"

    def _fits(self, share: float) -> bool:
        return self.wanted is None or self.wanted[0] <= share <= self.wanted[1]


def held(comparison: Comparison, model: str, levels: Sequence[int], wanted: tuple[float, float]) -> Held | None:
    """The coverage of a model's intervals; None if it has none."""
    level = shown_level(levels)
    row = next((row for row in comparison.rows if row.name == model), None)
    pool = None if row is None or level is None else row[f"test_coverage_{level}"]
    if level is None or pool is None:
        return None
    groups, fifths = _covered(comparison, model, level, "series"), _covered(comparison, model, level, "fifth")
    if fifths.height:
        groups = fifths.with_columns(pl.col("value").replace_strict(FIFTHS))
    by_name = dict(groups.select("value", "_share").iter_rows())
    limits, fewest = wanted if level == COVERAGE else None, min(groups["n"].to_list(), default=0)
    return Held(model, level, float(pool), by_name, fifths.height > 0, limits, fewest)


def shown_level(levels: Sequence[int]) -> int | None:
    """The level in percent of the interval reported first: 90, or the nearest available."""
    return min(levels, key=lambda level: abs(level - COVERAGE), default=None)


def strip_of(comparison: Comparison, coverage: Held, fifths: pl.DataFrame) -> Strip:
    """The coverage of each series.  `fifths`: unique_id, fifth (`tasks.compare.distribution.fifths`)."""
    rows = _covered(comparison, coverage.model, coverage.level, "series").join(
        fifths, left_on="value", right_on="unique_id", how="left"
    )
    names = {
        (FIFTHS if coverage.fifths else {}).get(value, value): value for value in rows["fifth"].drop_nulls().unique().sort()
    }
    group = rows["fifth"].replace_strict({value: place for place, value in enumerate(names.values())}, default=-1)
    return Strip(
        coverage.level,
        rows["value"].to_list(),
        rows["_share"].to_numpy(),
        rows["n"].to_numpy(),
        group.cast(pl.Int64).to_numpy(),
        {name: coverage.groups.get(name, np.nan) for name in names},
        coverage.wanted,
    )


def by_step(comparison: Comparison, model: str, levels: Sequence[int], what: str) -> dict[float, np.ndarray]:
    """`coverage` or `width` of each level's interval (percent) by step [H], NaN if there is none."""
    rows = comparison.slices.filter((pl.col("model") == model) & (pl.col("by") == "step"))
    rows = rows.with_columns(pl.col("value").cast(pl.Int64)).sort("value")
    names = {level: f"{what}_{level}" for level in levels if f"{what}_{level}" in rows.columns}
    return {level: rows[name].cast(pl.Float64).fill_null(np.nan).to_numpy() for level, name in names.items()}


def shapes_of(test: Forecasts, model: str, calibration: Calibration, bounds: Bounds, fifths: pl.DataFrame) -> dict[str, Shape]:
    """Where each group's actuals lie in a model's distributions, by group name."""
    groups = dict(fifths.iter_rows())
    alone = fifths.select((pl.col("fifth") == pl.col("unique_id")).all()).item()
    masks = {
        group: np.array([*(groups.get(name) == group for name in test.ids), False]) for group in sorted({*groups.values()})
    }
    rows = {group: RowScores(calibration, bounds, ()) for group in masks}
    for part in test.outcomes(model, calibration.levels.tolist()):
        for group, some in masks.items():
            if (there := some[part.series]).any():
                rows[group].counted(_where(part, there))
    return {group if alone else FIFTHS[group]: row_scores.shape() for group, row_scores in rows.items()}


def shares_below(shape: Shape) -> np.ndarray:
    """[Q] the share of actuals below each quantile, counting as many equal ones as bring it to its level."""
    return np.asarray(np.clip(shape.levels, shape.under, shape.upto))


def fans_of(comparison: Comparison, coverage: Held, calibration: Calibration, bounds: Bounds, panel: Panel) -> list[Fan]:
    """The worst and best series by interval score, per unit of each series where it has one."""
    ranked, inside = (
        _ranked(comparison, coverage),
        dict(_covered(comparison, coverage.model, coverage.level, "series").select("value", "_share").iter_rows()),
    )
    places = {0: "worst", len(ranked) - 1: "best"} if len(ranked) > 1 else dict.fromkeys(range(len(ranked)), "")
    frame = comparison.test.read(coverage.model, series=[ranked[place] for place in places])
    fans = list[Fan]()  # in the panel's local time
    origins = max(ORIGINS, ROWS // comparison.test.horizon)
    for place, words in places.items():
        name = ranked[place]
        rows = frame.filter(pl.col("unique_id") == name).rename({coverage.model: "point"})
        quantiles = _quantiles(comparison.test, coverage.model, name, calibration, bounds)
        rows = rows.with_columns(pl.Series(f"q{at}", quantiles[:, at]) for at in range(len(calibration.levels)))
        rows = rows.filter(pl.col("point").is_finite())
        rows = rows.filter(pl.col("cutoff").is_in(newest_apart(rows).head(origins).implode())).sort("cutoff", "step")
        actuals = target_frame(panel, [name]).filter(pl.col("ds") <= rows["ds"].max()).sort("ds")
        before = actuals.filter(pl.col("ds") <= rows["cutoff"].min()).tail(BEFORE * comparison.test.horizon)
        title = f"{name}: the {words} of {len(ranked):,} series by interval score" if words else name
        title += f"; inside the {coverage.level} % interval: {_percent(inside[name])}"
        fans.append(Fan(title, pl.concat([before, actuals.filter(pl.col("ds") > rows["cutoff"].min())]), rows))
    return fans


def _quantiles(test: Forecasts, model: str, name: str, calibration: Calibration, bounds: Bounds) -> np.ndarray:
    """[r, Q] the quantiles of one series, in row order."""
    number, parts = test.ids.index(name), []
    for part in test.outcomes(model, calibration.levels.tolist()):
        series_rows = _where(part, part.series == number)
        if not len(series_rows.y):
            continue
        parts.append(calibration.quantiles(series_rows.point, series_rows.step, series_rows.series, series_rows.own))
    return bounds.outward(np.concatenate(parts), calibration.levels)


def _ranked(comparison: Comparison, coverage: Held) -> list[str]:
    """The series with an interval score, largest first."""
    rows = comparison.slices.filter((pl.col("model") == coverage.model) & (pl.col("by") == "series"))
    for score in (f"msis_{coverage.level}", f"interval_score_{coverage.level}"):
        some = rows.filter(pl.col(score).is_finite()).sort(score, "value", descending=[True, False])
        if some.height:
            return some["value"].to_list()
    return []


def _where(rows: Outcome, some: np.ndarray) -> Outcome:
    """Some of the rows."""
    return Outcome._make(None if part is None else part[some] for part in rows)


def _covered(comparison: Comparison, model: str, level: int, by: str) -> pl.DataFrame:
    """value, n, _share: the coverage of a model's interval by series or fifth, where known."""
    name, schema = f"coverage_{level}", {"value": pl.String, "n": pl.Int64, "_share": pl.Float64}
    if name not in comparison.slices.columns:
        return pl.DataFrame(schema=schema)
    rows = comparison.slices.filter((pl.col("model") == model) & (pl.col("by") == by))
    return rows.select("value", "n", _share=name).drop_nulls()


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
