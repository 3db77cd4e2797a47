"""A greedy ensemble's result: each member's weight, and what the weights are worth on held-out rows."""

from collections.abc import Mapping, Sequence

from models.fit.settings import Learnt
from params.schema import RunParams
from tasks import pages
from tasks.compare.board import Score
from tasks.pages import Html
from tasks.report.leaderboard import error_name
from tasks.train.fits import Fit

PARTS = {
    "folds": "by weights that were learnt on the other validation ranges",
    "origins": "block of origins by block, by weights that were learnt a horizon and more away from it",
    "series": "group of series by group, by weights that were learnt on the others, since validation has too few origins",
}


def members_of(fits: Sequence[Fit], scores: Mapping[str, Score], run: RunParams) -> Html:
    """A table of members per greedy ensemble; `scores`: each fit's validation scores."""
    error = error_name(run.evaluation.choose_by, run.data.target)
    return Html().join(_table(fit, fit.result.learnt, scores.get(fit.label), error) for fit in fits if fit.result.learnt)


def _table(fit: Fit, learnt: Learnt, score: Score, error: str) -> Html:
    picks = sum(learnt.mix.counts)
    rows = sorted(zip(fit.members, learnt.mix.counts, learnt.singles, strict=True), key=lambda row: -row[1])
    cells = [
        (label, f"{100 * count / picks:.0f} %", str(count), "left out" if alone is None else f"{alone:.4g}")
        for label, count, alone in rows
    ]
    held_out = "" if score is None else f"; held out, {score:.4g}, which is what the leaderboard has: {PARTS[learnt.by]}"
    words = f"{fit.label}: {error} on validation {learnt.score:.4g} where its weights were learnt{held_out}."
    return pages.bullets([words]) + pages.grid(("member", "weight", "picks", "by itself there"), cells)
