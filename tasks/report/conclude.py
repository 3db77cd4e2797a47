"""What the verdict on a comparison rests on: its intervals, and the skill in every slice."""

import polars as pl

from params.schema import RunParams
from params.shown import visible
from tasks.compare.board import Difference
from tasks.compare.compare import Comparison
from tasks.compare.distribution import FIFTHS
from tasks.report.distribution import held
from tasks.report.verdict import FEWEST, Conclusion, verdict_on

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def verdict_of(comparison: Comparison, run: RunParams) -> Conclusion:
    """The verdict on a comparison.  Test scores enter its marks and choose nothing."""
    board, by = comparison.board, run.evaluation.choose_by
    intervals = held(comparison, comparison.shown, run.evaluation.levels, run.promotion.coverage)
    return verdict_on(board, gain_of(comparison), by, run.data.target, intervals, _slices(comparison))


def gain_of(comparison: Comparison) -> Difference | None:
    """The best variant's score minus the best baseline's, and how certain that is."""
    return comparison.to_baseline.get(comparison.best or "")


def _slices(comparison: Comparison) -> dict[str, float] | None:
    """The best variant's skill against the best baseline, the mean over its fits, by the name of a slice.

    Slices: fifths of the series by size (of fewer than ten: series), steps, hours and weekdays with enough
    rows.  None if no variant finished.
    """
    fits = [row.name for row in comparison.rows if row.variant == comparison.best and row.finished]
    if not fits or "skill" not in comparison.slices.columns:
        return None
    rows = comparison.slices.filter(pl.col("model").is_in(fits))
    left_out = "series" if (rows["by"] == "fifth").any() else ""
    known = rows.filter(pl.col("by") != left_out, pl.col("skill").is_finite(), pl.col("n") >= FEWEST)
    means = known.group_by("by", "value", maintain_order=True).agg(pl.col("skill").mean())
    return {slice_name(by, value): skill for by, value, skill in means.iter_rows()}


def slice_name(by: str, value: str) -> str:
    """Where a slice of scores.csv is, in words."""
    match by:
        case "fifth":
            return f"in the {FIFTHS[value]}"
        case "hour":
            return f"at hour {int(value)} UTC"
        case "weekday":
            return f"on {DAYS[int(value) - 1]}s"
        case "series":
            return f"in series {visible(value)}"
    return f"at {by} {value}"
