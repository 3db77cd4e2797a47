"""The report's section on intervals: their coverage for every model, and how they are made."""

from params.schema import RunParams
from tasks import pages
from tasks.compare.compare import Comparison
from tasks.pages import Html
from tasks.report.columns import DISTRIBUTION
from tasks.report.distribution import held
from tasks.report.leaderboard import to_html

CAPTIONS = {
    "coverage_by_series.png": "Coverage by series; of many those that are covered least have their names",
    "coverage_by_step.png": "Coverage and mean width of the intervals by step of the horizon",
    "reliability.png": "Reliability: the share of actuals below each quantile; a line flatter than the dashed one is of "
    "distributions that are too narrow",
    "pit.png": "Where the actuals lie in their distributions (PIT): high at both ends where these are too narrow, high in the "
    "middle where they are too wide, a slope where forecasts are too low or too high",
    "fans.png": "The whole distribution for the series with the worst and the best interval score, each in units of its own",
}
PARTS = (
    "split: errors in the unit of the target, the same for all series",
    "naive: in units of each series, its seasonal naive error in the training rows",
    "spread: in units of each series, its recent error",
    "cqr: errors of the model's own quantiles (conformalised quantile regression), else of its point forecast",
    "by-NAME: each group of series has its own; by-series: each series, shrunk towards all where it has few origins",
    "even: as far down as up",
    "log1p, asinh: in the space of scaling.target",
)


def intervals_of(comparison: Comparison, run: RunParams) -> Html:
    """Scores of all distributions, coverage by group, and how each model's intervals are made."""
    scores = to_html(comparison.board, ("rank", "name", *DISTRIBUTION))
    return scores + pages.folded("coverage by group of series", _groups(comparison, run)) + _methods(comparison)


def _groups(comparison: Comparison, run: RunParams) -> Html:
    """A row per model, a column per size fifth, or per series if there are few."""
    every = [held(comparison, model, run.evaluation.levels, run.promotion.coverage) for model in comparison.models]
    some = [coverage for coverage in every if coverage and coverage.groups]
    names = list(dict.fromkeys(name for coverage in some for name in coverage.groups))
    rows = [
        [coverage.model, *(_share(coverage.groups.get(name)) for name in names), _share(coverage.pool)] for coverage in some
    ]
    return pages.grid([f"{some[0].level} % interval, % inside", *names, "all"], rows) if some else Html()


def _share(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}"


def _methods(comparison: Comparison) -> Html:
    """Each model's method, and the scores behind the choice."""
    words = {}
    for model in comparison.models:
        calibrated = comparison.calibrations.get(model)
        if calibrated is None:
            continue
        others = ", ".join(f"{name} {score:.4g}" for name, score in sorted(calibrated.scores.items(), key=lambda pair: pair[1]))
        words[model] = calibrated.method + (
            f" (interval score on rows that each was not calibrated on: {others})" if others else ""
        )
    if not words:
        return Html()
    return pages.folded("how the intervals of each model are made", pages.facts(words) + pages.bullets(PARTS))
