"""The score of a trial: its validation error in the run's measure, over folds.  Never reads the test."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from models.data.panel import Data
from models.fit.job import windows_of
from params.schema import RunParams
from tasks.compare import folds, measures
from tasks.compare.measures import NAIVE2, Measured, Scale
from tasks.evaluate import frames
from tasks.evaluate.baselines import only_naive, with_baselines, write_baselines
from tasks.evaluate.forecasts import forecast_frame
from tasks.train.fits import Fit

MODEL = "model"  # column of a trial's forecasts


@dataclass(frozen=True)
class Ruler:
    """What trials are measured with: the data, each fold's scale, and other columns (Naive2 for an OWA).

    The oldest fold comes first."""

    data: Data
    scales: Sequence[Scale]
    beside: Sequence[pl.DataFrame]

    @classmethod
    def of(cls, run: RunParams, data: Data, folder: Path) -> "Ruler":
        """Raises UserError if the run chooses by a score that these data do not have."""
        names = (NAIVE2,) if run.evaluation.choose_by == "owa" else ()
        baseline_run = with_baselines(run, names or only_naive(run).evaluation.baselines[:1])
        baselines = write_baselines(baseline_run, data, folder)
        folds.naive_errors(baseline_run, data, baselines)
        targets = frames.targets_of(data, "validation", run.evaluation.stride).frame()
        files = baselines.files["validation"]
        rows = targets.with_columns(pl.read_parquet(files[name], columns=[name])[name] for name in names)
        parts = rows.partition_by("_fold", maintain_order=True) if data.earlier else [rows]
        keys = ("unique_id", "ds", "cutoff", *names)
        return cls(data, folds.scales_of(run.evaluation, data), [part.select(keys) for part in parts])

    def score(self, fits: Sequence[Fit]) -> float | None:
        """The score of a trial's fits, one per fold, oldest first; None if it cannot be measured."""
        parts = [self._measured(fit, place) for place, fit in enumerate(fits)]
        return Measured.mean(parts).scores[MODEL]

    def _measured(self, fit: Fit, place: int) -> Measured:
        windows = windows_of(fit.job, self.data.panel, ("validation",))["validation"]
        points = np.load(fit.folder / "validation.npy")
        frame = forecast_frame(self.data.panel, windows, points, MODEL)
        if (scale := self.scales[place]).besides:
            frame = frame.join(self.beside[place], on=["unique_id", "ds", "cutoff"], how="left", maintain_order="left")
        return measures.measured([frame], [MODEL], scale)
