"""The fits of a variant, one a seed, as one row: the mean of their scores, and their spread; scores and chooses nothing."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]
SPREAD = ("val_mae", "test_mae", "test_mse_scaled")
COST = ("train_seconds", "windows_per_second", "forecast_ms_per_series", "memory_half_life", "receptive_field")


def by_variant(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows of fits and baselines by their variant (a baseline is its own), in order."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.get("variant") or row["name"], []).append(row)
    return found


def merged(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """One row a variant: scores and cost as means over its finished seeds, `<score>_spread` their standard deviation.

    `seeds`: how many finished, None for what has none to vary; with one the spread is None: unknown.  A variant is finished
    where one of its seeds is; the reasons of the others stand in its note.
    """
    return [_merged(name, fits) for name, fits in by_variant(rows).items()]


def _merged(name: str, fits: Sequence[Row]) -> dict[str, Any]:
    done = [fit for fit in fits if fit["status"] == "finished"]
    if not done:
        return {**fits[0], "name": name}
    first = done[0]
    row: dict[str, Any] = {**first, "name": name, "seed": None if len(fits) > 1 else first.get("seed")}
    for key in first:
        if key.startswith(("val_", "test_")) or key in COST:
            row[key] = _mean([fit.get(key) for fit in done])
    seeded = first["kind"] == "variant" and first.get("seeded", True)
    row["seeds"] = len(done) if seeded else None
    for key in SPREAD:
        known = [fit[key] for fit in done if fit.get(key) is not None]
        row[f"{key}_spread"] = statistics.stdev(known) if len(known) > 1 else None
    row["note"] = "; ".join(dict.fromkeys(note for note in (*_failures(fits, done), *(fit["note"] for fit in done)) if note))
    return row


def _failures(fits: Sequence[Row], done: Sequence[Row]) -> list[str]:
    reasons = [fit["note"] for fit in fits if fit["status"] != "finished"]
    return [f"{len(reasons)} of {len(fits)} seeds failed ({'; '.join(dict.fromkeys(reasons))})"] if reasons else []


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None and math.isfinite(value)]
    if not known:
        return None
    mean = statistics.fmean(known)
    return round(mean) if all(isinstance(value, int) for value in known) else mean
