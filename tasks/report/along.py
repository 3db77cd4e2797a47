"""Each model's error along horizon and calendar, in the run's measure, on rows the bar forecasts too."""

from collections.abc import Sequence

import polars as pl

from tasks.compare import scores
from tasks.compare.compare import Comparison
from tasks.compare.measures import Scale, shares_by
from tasks.compare.sums import merged


def along(comparison: Comparison, models: Sequence[str], scale: Scale) -> pl.DataFrame:
    """model, by (step, hour, weekday), value (text), rows, error, corrected: per variant and baseline.

    `error`: the mean of the rows' shares in the score (`measures.shares_by`), so that the mean over all rows
    is the score.  `corrected`: the same minus the effect of the rows' steps, plus the score; null if a step
    reaches only one value, so that the two cannot be separated.  Hour and weekday are UTC, and only present
    if they vary.
    """
    fits = {name: [row.name for row in comparison.rows if row.variant == name and row.finished] for name in models}
    parts = [_along(comparison, name, fit, scale) for name, some in fits.items() for fit in some]
    table = pl.concat(parts)
    return table.group_by("model", "by", "value", maintain_order=True).agg(pl.col("rows", "error", "corrected").mean())


def _along(comparison: Comparison, name: str, fit: str, scale: Scale) -> pl.DataFrame:
    blocks = comparison.test.blocks(fit, comparison.baseline, *scale.besides)
    cells = shares_by(
        map(_with_calendar, blocks), [fit, comparison.baseline], scale, ["step", *(f"_{by}" for by in scores.SLICES)]
    )
    several = [by for by in scores.SLICES if cells[f"_{by}"].n_unique() > 1]
    return pl.concat(_slice(cells, name, fit, by) for by in ("step", *several))


def _with_calendar(block: pl.DataFrame) -> pl.DataFrame:
    places = scores.calendar(block) or dict.fromkeys(scores.SLICES, pl.lit(0))
    return block.with_columns(place.cast(pl.Int64).alias(f"_{by}") for by, place in places.items())


def _slice(cells: pl.DataFrame, name: str, fit: str, by: str) -> pl.DataFrame:
    value = pl.col("step" if by == "step" else f"_{by}")
    cells = cells.select("step", "_n", value.alias("_value"), _error=fit)
    sliced = merged([cells.drop("step")], ["_value"])
    left = scores.corrected(merged([cells], ["step", "_value"]), "_error")
    sliced = sliced.join(left, on="_value", how="left", maintain_order="left")
    return sliced.select(
        pl.lit(name).alias("model"),
        pl.lit(by).alias("by"),
        pl.col("_value").cast(pl.String).alias("value"),
        pl.col("_n").cast(pl.UInt32).alias("rows"),
        (pl.col("_error") / pl.col("_n")).alias("error"),
        pl.col("_corrected").alias("corrected"),
    )
