"""A variant's fits, one per seed, as one row: the mean of their scores, and their spread."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace

from tasks.compare.board import Score, ScoreRow
from tasks.train.kind import Kind

SPREAD = (
    *("val_mae", "test_mae", "test_score", "test_mse_scaled"),
    *("test_interval_score_90", "test_worst_fifth_coverage_90", "test_msis_95", "test_wql", "test_crps"),
)
COST = ("train_seconds", "windows_per_second", "forecast_ms_per_series", "memory_half_life", "receptive_field")


def by_variant(rows: Sequence[ScoreRow]) -> dict[str, list[ScoreRow]]:
    """The rows of fits and baselines by variant (a baseline is its own), in order."""
    grouped: dict[str, list[ScoreRow]] = {}
    for row in rows:
        grouped.setdefault(row.variant, []).append(row)
    return grouped


def merged(rows: Sequence[ScoreRow]) -> list[ScoreRow]:
    """One row per variant: scores and costs as means over its finished seeds, `<score>_spread` as deviation.

    `seeds`: how many finished, None if nothing can vary; with one the spread is None: unknown.  A variant is
    finished if one of its seeds is; the others' reasons are in its note.
    """
    return [_merged(name, fits) for name, fits in by_variant(rows).items()]


def _merged(name: str, fits: Sequence[ScoreRow]) -> ScoreRow:
    done = [fit for fit in fits if fit.finished]
    if not done:
        return replace(fits[0], name=name)
    first = done[0]
    numbers = {
        key: _mean([fit[key] for fit in done]) if key.startswith(("val_", "test_")) or key in COST else value
        for key, value in first.numbers.items()
    }
    for key in SPREAD:
        known = [value for value in (fit[key] for fit in done) if value is not None]
        numbers[f"{key}_spread"] = statistics.stdev(known) if len(known) > 1 else None
    notes = (*_failures(fits), *(fit.note for fit in done))
    return replace(
        first,
        name=name,
        seed=None if len(fits) > 1 else first.seed,
        seeds=len(done) if first.kind is not Kind.BASELINE and first.seeded else None,
        note="; ".join(dict.fromkeys(note for note in notes if note)),
        numbers=numbers,
    )


def _failures(fits: Sequence[ScoreRow]) -> list[str]:
    reasons = [fit.note for fit in fits if not fit.finished]
    return [f"{len(reasons)} of {len(fits)} seeds failed ({'; '.join(dict.fromkeys(reasons))})"] if reasons else []


def _mean(values: Sequence[Score]) -> Score:
    known = [value for value in values if value is not None and math.isfinite(value)]
    if not known:
        return None
    mean = statistics.fmean(known)
    return round(mean) if all(isinstance(value, int) for value in known) else mean
