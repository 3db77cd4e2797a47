"""Bounds on forecasts (data.lowest, data.highest, data.integer), the same for scoring and serving."""

from collections.abc import Iterable

import numpy as np
import polars as pl

from models.serving import Bounds
from params.data import DataParams

NO_BOUNDS = Bounds()


def bounds_of(data: DataParams) -> Bounds:
    """The bounds in a run file."""
    return Bounds(data.lowest, data.highest, data.integer)


def within(frame: pl.DataFrame, models: Iterable[str], bounds: Bounds) -> pl.DataFrame:
    """A forecast frame with the forecasts of some models brought within bounds; null without a forecast."""
    if bounds == NO_BOUNDS:
        return frame
    return frame.with_columns(
        pl.Series(name, bounds.of(frame[name].cast(pl.Float64).to_numpy().astype(np.float64))).fill_nan(None) for name in models
    )
