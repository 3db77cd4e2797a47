"""What the numbers of a target are like: negative or not, whole or not, skewed; how different the series are in size."""

import math
from dataclasses import dataclass

import numpy as np
import polars as pl

from params.errors import UserError
from tasks.explore.columns import Column
from tasks.load.files import collect

SKEWED = 1.0  # the median skewness of series from which their logarithm is proposed
TENFOLD = 10.0


@dataclass(frozen=True)
class Nature:
    """`negative`: whether any value is; `whole`: whether all are whole; `constant`: whether some series never changes.

    `sizes`: how many times as large as the smallest series (of those that are not 0) the largest is; `skew`: the median over
    series.
    """

    negative: bool
    whole: bool
    constant: bool
    sizes: float
    skew: float

    @property
    def spread(self) -> bool:
        """Whether series differ in size tenfold."""
        return self.sizes >= TENFOLD

    @property
    def log1p(self) -> bool:
        """Whether to forecast logarithms: ratios count, and not differences."""
        return not self.negative and (self.spread or self.skew >= SKEWED)


def nature_of(frame: pl.LazyFrame, target: Column, some: list[np.ndarray], path: str) -> Nature:
    """What the target of a long frame is like; `some`: the values of some series.

    Raises UserError where some series have no value at all.
    """
    value = pl.col("y").cast(pl.Float64, strict=False).fill_nan(None)
    facts = {"n": value.count(), "low": value.min(), "high": value.max(), "size": value.abs().mean()}
    series = collect(frame.group_by("unique_id").agg(**facts), path)
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
    """The third standardized moment of the values that are there; NaN of a constant."""
    there = values[np.isfinite(values)]
    deviation = there.std() if len(there) > 2 else 0.0
    return float(np.mean(((there - there.mean()) / deviation) ** 3)) if deviation > 0 else math.nan


def _median(values: list[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return float(np.median(known)) if known else 0.0
