"""The pictures of a comparison, each drawn on demand."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from models.data.panel import Data
from params.schema import RunParams
from tasks.compare import scores
from tasks.compare.board import LEVEL, Difference
from tasks.compare.compare import Comparison
from tasks.compare.distribution import fifths
from tasks.evaluate.bounds import bounds_of
from tasks.report import distribution, importance, memory_card
from tasks.report import leaderboard as report
from tasks.report.along import along
from tasks.report.plots.cost import pareto_plot
from tasks.report.plots.coverage import coverage_strip, step_intervals_plot
from tasks.report.plots.differences import Distance, difference_plot
from tasks.report.plots.errors import accuracy_plot, slice_plot, step_plot
from tasks.report.plots.fans import fan_plot
from tasks.report.plots.forecasts import evenly, forecast_plot, interval_columns, plotted
from tasks.report.plots.reliability import pit_plot, reliability_plot
from tasks.report.plots.style import file_name
from tasks.train.fits import Fit
from tasks.train.kind import Kind

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LINES = 7  # in a line picture
GROUPS = LINES - 2  # of series in one: next to all series, and to how it should be
BOTH = (False, True)  # for a desktop, and for a phone


class Picture(NamedTuple):
    """A picture by file name; `narrow`: the same for a phone, if it has one."""

    name: str
    figure: "Figure"
    narrow: "Figure | None" = None


def pictures_of(comparison: Comparison, run: RunParams, data: Data, fits: Sequence[Fit]) -> Iterable[Picture]:
    """Every picture of the comparison's run, drawn one after another."""
    unit, board = run.data.target, report.frame(comparison.board.rows)
    error = report.error_name(run.evaluation.choose_by, unit)
    chosen, bar = comparison.chosen, comparison.baseline
    models = drawn_models(board, bar)
    yield Picture("accuracy.png", accuracy_plot(board, chosen, bar, error))
    skills = _skills(comparison)
    if skills:
        axis = f"skill against {bar} on test, in % of its {error}; right of the line is better"
        yield Picture("skill.png", difference_plot(skills, bar, "Against the best baseline, with 90 % intervals", axis))
    if comparison.best:
        axis = f"{error} on test minus that of the best variant on validation; right of the line is worse"
        rows = _distances(comparison, comparison.to_best)
        yield Picture(
            "differences.png",
            difference_plot(rows, comparison.best, "How far from the best variant, with 90 % intervals", axis),
        )
    table = along(comparison, models, comparison.scales[-1])
    steps = scores.wide(table, "step", "error").rename({"_value": "step"})
    yield Picture("error_by_step.png", step_plot(steps, models, chosen, bar, error, str(run.data.frequency)))
    for by in scores.SLICES:
        if table.filter(pl.col("by") == by)["corrected"].is_not_null().any():
            corrected = scores.wide(table, by, "corrected")
            yield Picture(f"error_by_{by}.png", slice_plot(corrected, by, models, chosen, bar, error))
    yield from _distributions(comparison, run, data)
    shown, other = comparison.shown, beside(comparison)
    drawn = drawn_series(comparison)
    test = comparison.test.read(shown, other, *interval_columns(shown, run.evaluation.levels), series=drawn)
    for number, series in enumerate(drawn):
        sizes = BOTH if series == start_series(comparison) else BOTH[:1]
        figures = (forecast_plot(test, series, shown, other, unit, narrow) for narrow in sizes)
        yield Picture(f"forecasts/{file_name(number, series)}", *figures)
    yield Picture("pareto.png", pareto_plot(board, chosen, bar, error))
    cards = memory_card.cards_of(fits)
    cards = {row.name: cards[row.name] for row in comparison.board.rows if row.name in cards}
    if cards:
        yield Picture("memory.png", memory_card.card_figure(cards))
    yield from (Picture(*one) for one in importance.pictures_of(comparison.importance, unit))


def _distributions(comparison: Comparison, run: RunParams, data: Data) -> Iterable[Picture]:
    """Pictures of the shown model's intervals and quantiles; nothing if it has none."""
    model, levels, unit = comparison.shown, run.evaluation.levels, run.data.target
    coverage = distribution.held(comparison, model, levels, run.promotion.coverage)
    if coverage is None or not coverage.groups:
        return
    groups, bounds = fifths(comparison.scales[-1].series), bounds_of(run.data)
    calibration = comparison.calibrations[model].calibration
    strip = distribution.strip_of(comparison, coverage, groups)
    yield Picture("coverage_by_series.png", *(coverage_strip(strip, model, narrow) for narrow in BOTH))
    wide = [level for level in levels if level >= 50] or levels
    inside, width = (distribution.by_step(comparison, model, wide, what) for what in ("coverage", "width"))
    span, steps = str(run.data.frequency), step_intervals_plot
    yield Picture("coverage_by_step.png", *(steps(inside, width, unit, model, span, narrow) for narrow in BOTH))
    whole, parts = comparison.shapes[model], distribution.shapes_of(comparison.test, model, calibration, bounds, groups)
    names = list(parts)
    some = [names[place] for place in evenly(len(names), GROUPS)] if len(names) > 1 else []
    below = {name: distribution.shares_below(parts[name]) for name in some}
    at, pool = calibration.levels.tolist(), distribution.shares_below(whole)
    yield Picture("reliability.png", *(reliability_plot(at, pool, below, model, narrow) for narrow in BOTH))
    yield Picture("pit.png", *(pit_plot(whole.pit, whole.rows, model, narrow) for narrow in BOTH))
    fans = distribution.fans_of(comparison, coverage, calibration, bounds, data.panel)
    yield Picture("fans.png", *(fan_plot(fans, at, unit, model, narrow) for narrow in BOTH))


def drawn_models(board: pl.DataFrame, bar: str) -> list[str]:
    """The models with a line in pictures, LINES at most: the best baseline, the best variants, other baselines."""
    scored = board.filter(pl.col("val_score").is_not_null())
    kinds = dict(scored.select("name", "kind").iter_rows())
    ranked = sorted(kinds, key=lambda name: (name != bar, kinds[name] == "baseline"))
    return [name for name in kinds if name in ranked[:LINES]]


def start_series(comparison: Comparison) -> str | None:
    """The series that the report draws first: the one in the middle by error; None if nothing was forecast."""
    drawn = drawn_series(comparison)
    return drawn[len(drawn) // 2] if drawn else None


def still(comparison: Comparison) -> str:
    """The file name of its picture."""
    drawn = drawn_series(comparison)
    return f"forecasts/{file_name(len(drawn) // 2, drawn[len(drawn) // 2])}"


def drawn_series(comparison: Comparison) -> list[str]:
    """The series to draw, worst first."""
    return plotted(comparison.errors_by_series(comparison.shown), comparison.shown)


def beside(comparison: Comparison) -> str:
    """The model drawn for comparison: the best baseline, or the best variant if that baseline is shown."""
    bar = comparison.baseline
    return comparison.first_fit(comparison.best) if comparison.shown == bar and comparison.best else bar


def _distances(comparison: Comparison, to: Mapping[str, Difference]) -> list[Distance]:
    rows = comparison.board.rows
    return [
        Distance(row.name, row.kind, row.name in comparison.board.alike, difference.mean, difference.low, difference.high)
        for row in rows
        if (difference := to.get(row.name))
    ]


def _skills(comparison: Comparison) -> list[Distance]:
    """Each model's skill against the best baseline, in percent; `alike`: its difference may be chance."""
    rows = []
    for row in comparison.board.rows:
        difference = comparison.to_baseline.get(row.name)
        if difference is None or difference.skill is None:
            continue
        alike = row.kind is not Kind.BASELINE and difference.p_holm is not None and difference.p_holm > LEVEL
        low, high = (None if end is None else 100 * end for end in (difference.skill_low, difference.skill_high))
        rows.append(Distance(row.name, row.kind, alike, 100 * difference.skill, low, high))
    return rows
