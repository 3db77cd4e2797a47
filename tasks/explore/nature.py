"""Properties of a target's numbers: sign, integers, skew, and how much the sizes of series differ."""

import math
from dataclasses import dataclass

import numpy as np
import polars as pl

from params.errors import UserError
from tasks.explore.columns import Column
from tasks.load.files import collect

SKEWED = 1.0  # median skewness from which logarithms are proposed
TENFOLD = 10.0


@dataclass(frozen=True)
class Nature:
    """`negative`: some value is; `whole`: all are integers; `constant`: some series never changes.

    `sizes`: the ratio of the largest to the smallest non-zero series; `skew`: the median over series.
    """

    negative: bool
    whole: bool
    constant: bool
    sizes: float
    skew: float

    @property
    def spread(self) -> bool:
        """Whether sizes of series differ tenfold."""
        return self.sizes >= TENFOLD

    @property
    def log1p(self) -> bool:
        """Whether to forecast logarithms: ratios matter, not differences."""
        return not self.negative and (self.spread or self.skew >= SKEWED)


def nature_of(frame: pl.LazyFrame, target: Column, some: list[np.ndarray], path: str) -> Nature:
    """The properties of a long frame's target; `some`: the values of some series.

    Raises UserError if a series has no value at all.
    """
    value = pl.col("y").cast(pl.Float64, strict=False).fill_nan(None)
    aggregates = {"n": value.count(), "low": value.min(), "high": value.max(), "size": value.abs().mean()}
    series = collect(frame.group_by("unique_id").agg(**aggregates), path)
    empty = series.filter(pl.col("n") == 0)["unique_id"].sort()
    if len(empty):
        raise UserError(
            f"{path}: {len(empty)} series have no value of {target.name!r}, such as {empty[0]!r}: remove their rows"
        )
    sizes = series.filter(pl.col("size") > 0)["size"].to_numpy()
    return Nature(
        negative=float(series["low"].min()) < 0,  # type: ignore[arg-type]
        whole=target.whole,
        constant=bool((series["low"] == series["high"]).any()),
        sizes=float(sizes.max() / sizes.min()) if len(sizes) else 1.0,
        skew=_median([skewness(values) for values in some]),
    )


def skewness(values: np.ndarray) -> float:
    """The third standardised moment of the finite values; NaN for a constant."""
    there = values[np.isfinite(values)]
    deviation = there.std() if len(there) > 2 else 0.0
    return float(np.mean(((there - there.mean()) / deviation) ** 3)) if deviation > 0 else math.nan


def _median(values: list[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return float(np.median(known)) if known else 0.0
