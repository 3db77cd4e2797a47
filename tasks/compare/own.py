"""Measures from outside the repository (`metrics:` in a run file): their mean over the rows of a model."""

from collections.abc import Mapping

import numpy as np
import polars as pl

from models.outside import OutsideError, taken
from params.errors import UserError
from tasks.compare.board import Score
from tasks.train.outside import measured


class OwnMeasures:
    """The measures of one model: `add` each block of its forecast frame, then read `score`.

    `metrics`: name -> target, as in the run file.
    """

    def __init__(self, model: str, metrics: Mapping[str, str]) -> None:
        self.model, self.metrics = model, metrics
        self.totals, self.rows = dict.fromkeys(metrics, 0.0), 0

    def add(self, block: pl.DataFrame) -> None:
        """Adds a block.  Raises UserError, naming the key, for a measure that is no finite number somewhere."""
        if not self.metrics:
            return
        y, forecast = (block[name].cast(pl.Float64).fill_null(np.nan).to_numpy() for name in ("y", self.model))
        known = ~np.isnan(y) & ~np.isnan(forecast)
        self.rows += int(known.sum())
        for name, target in self.metrics.items():
            try:
                self.totals[name] += float(measured(taken(target), target, y[known], forecast[known]).sum())
            except OutsideError as error:
                raise UserError(f"metrics.{name}: of {self.model}: {error}") from error

    def score(self) -> dict[str, Score]:
        """`test_own_<name>` of each: the mean over all rows with both an actual and a forecast."""
        return {f"test_own_{name}": total / self.rows if self.rows else None for name, total in self.totals.items()}
