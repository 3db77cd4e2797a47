"""What a forecast can be (data.lowest, data.highest, data.integer): the same rule for what is scored and what is served."""

from collections.abc import Iterable

import numpy as np
import polars as pl

from models.serving import Bounds
from params.data import DataParams

NO_BOUNDS = Bounds()


def bounds_of(data: DataParams) -> Bounds:
    """The bounds that a run file gives."""
    return Bounds(data.lowest, data.highest, data.integer)


def within(frame: pl.DataFrame, models: Iterable[str], bounds: Bounds) -> pl.DataFrame:
    """A forecast frame with every forecast of some models within bounds; null where there is none."""
    if bounds == NO_BOUNDS:
        return frame
    return frame.with_columns(
        pl.Series(name, bounds.of(frame[name].cast(pl.Float64).to_numpy().astype(np.float64))).fill_nan(None) for name in models
    )
