"""The error of each model along the horizon and the calendar: in the measure of the run, on rows that the bar forecasts too."""

from collections.abc import Sequence

import polars as pl

from tasks.compare import scores
from tasks.compare.compare import Comparison
from tasks.compare.measures import Scale, losses

KEYS = ("unique_id", "cutoff", "step")


def along(found: Comparison, models: Sequence[str], scale: Scale) -> pl.DataFrame:
    """model, by (step, hour, weekday), value (text), rows, error, corrected: of variants and baselines, means over their seeds.

    `error`: the mean of what each row has in the score (`measures.losses`), so that the mean over all rows is the score.
    `corrected`: the same less what the steps of these rows have, plus the score; null where a step reaches one value alone, so
    that the two cannot be told apart.  Hour and weekday are UTC, and there where the rows have several.
    """
    fits = {name: [row.name for row in found.rows if row.variant == name and row.finished] for name in models}
    parts = [_along(found, name, fit, scale) for name, some in fits.items() for fit in some]
    table = pl.concat(parts)
    return table.group_by("model", "by", "value", maintain_order=True).agg(pl.col("rows", "error", "corrected").mean())


def _along(found: Comparison, name: str, fit: str, scale: Scale) -> pl.DataFrame:
    frame = found.test.read(fit, found.baseline, *scale.besides)
    places = {"step": pl.col("step"), **{by: scores.SLICES[by] for by in scores.slices(frame) if by in scores.SLICES}}
    rows = frame.select(*KEYS, *(place.alias(f"_{by}") for by, place in places.items()))
    error = pl.col(fit)
    shares = losses(frame, [fit, found.baseline], scale).join(rows, on=KEYS, how="left", maintain_order="left")
    shares = shares.with_columns(_left=error - error.mean().over("step") + error.mean())
    return pl.concat(_slice(shares, name, fit, by) for by in places)


def _slice(shares: pl.DataFrame, name: str, fit: str, by: str) -> pl.DataFrame:
    alone = shares.is_empty() or shares.group_by("step").agg(pl.col(f"_{by}").n_unique())[f"_{by}"].min() == 1
    found = shares.group_by(pl.col(f"_{by}").alias("value")).agg(
        rows=pl.len(), error=pl.col(fit).mean(), corrected=pl.lit(None, pl.Float64) if alone else pl.col("_left").mean()
    )
    return found.sort("value").select(
        pl.lit(name).alias("model"), pl.lit(by).alias("by"), pl.col("value").cast(pl.String), "rows", "error", "corrected"
    )
