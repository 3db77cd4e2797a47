"""Split conformal intervals from validation residuals; never looks at a test row's actual.

A 90 % interval is the point forecast plus or minus the ceil((n + 1) * 0.9)-th smallest absolute residual of its horizon step,
pooled over the series (Lei et al. 2018, "Distribution-free predictive inference for regression").  It covers at least 90 %
where validation and test residuals are exchangeable.  Rolling origins are so only roughly: neighbouring windows overlap, and a
season or a trend moves the errors.  The validation residuals also chose the epoch (and the variant), so they lie a little
closer to the forecast than test residuals do: expect slightly less than 90 %, and read `test_coverage_90` beside it.
Pooling holds the 90 % over all series together, not for each.
"""

from collections.abc import Sequence

import polars as pl

from models.serving import Bounds
from tasks.evaluate.bounds import NO_BOUNDS, within

COVERAGE = 90
LEVELS = tuple(round(0.05 * k, 2) for k in range(1, 20))


def quantile_column(level: float) -> str:
    """The name of the residual quantile of `level` in a calibration: q0.05."""
    return f"q{level:.2f}"


def calibrate(validation: pl.DataFrame, model: str, levels: Sequence[float] = LEVELS) -> pl.DataFrame:
    """One row a step: `step`, `n` (residuals), `half_width_90`, and the quantiles of y - forecast, `q0.05` and so on.

    `validation` is a wide forecast frame.  Rows without actual or forecast are left out.  `half_width_90` is null where n < 9:
    fewer residuals cannot promise 90 %.
    """
    residual = pl.col("y") - pl.col(model)
    rank = ((pl.len().cast(pl.Int64) + 1) * COVERAGE + 99) // 100  # in whole numbers: (n + 1) * 0.9 may round past an integer
    return (
        validation.select("step", residual.cast(pl.Float64).fill_nan(None).alias("residual"))
        .drop_nulls()
        .group_by("step")
        .agg(
            pl.len().cast(pl.Int64).alias("n"),
            pl.col("residual").abs().sort().get(rank - 1, null_on_oob=True).alias(f"half_width_{COVERAGE}"),
            *(pl.col("residual").quantile(level, "linear").alias(quantile_column(level)) for level in levels),
        )
        .sort("step")
    )


def half_widths(calibration: pl.DataFrame, horizon: int) -> list[float | None]:
    """The half width of the 90 % interval of each step, 1 to `horizon`; None where there are too few residuals."""
    return by_step(calibration, f"half_width_{COVERAGE}", horizon)


def by_step(calibration: pl.DataFrame, column: str, horizon: int) -> list[float | None]:
    """A column of a calibration for the steps 1 to `horizon`."""
    known = dict(zip(calibration["step"], calibration[column], strict=True))
    return [known.get(step) for step in range(1, horizon + 1)]


def of_step(values: Sequence[float | None]) -> pl.Expr:
    """The value of a row's `step`."""
    return pl.col("step").replace_strict(range(1, len(values) + 1), values, default=None, return_dtype=pl.Float64)


def with_interval(frame: pl.DataFrame, model: str, widths: Sequence[float | None], bounds: Bounds = NO_BOUNDS) -> pl.DataFrame:
    """A frame with `<model>-lo-90` and `<model>-hi-90` added, within bounds; null without a forecast or a width of its step."""
    half = of_step(widths)
    ends = {f"{model}-lo-{COVERAGE}": pl.col(model) - half, f"{model}-hi-{COVERAGE}": pl.col(model) + half}
    return within(frame.with_columns(**ends), ends, bounds)
