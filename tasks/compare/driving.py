"""What drives the forecasts of a comparison's choice: measured on test after everything is chosen."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl
import torch

from models.data.panel import Data
from models.data.windows import Windows
from models.fit.job import Job, load_model, windows_of
from params.schema import RunParams
from tasks.compare.compare import Comparison
from tasks.compare.measures import UNITS, Scale
from tasks.evaluate.gradients import gradients_of
from tasks.evaluate.importance import Importance, Ruler, drivers_of, sampled, threads
from tasks.evaluate.permute import slot_rows
from tasks.files import spread
from tasks.train.fits import Fit

CARD_WINDOWS = 64  # windows of the integrated gradients, as of a memory card


def explained(comparison: Comparison, run: RunParams, data: Data, fits: Sequence[Fit]) -> Comparison:
    """The comparison with the importance of each covariate for the chosen fit.

    Where a baseline was chosen: for the best variant's.  Unchanged if no variant finished, or if nothing can
    be exchanged.
    """
    label = comparison.chosen_fit if comparison.board.won else comparison.first_fit(comparison.best) if comparison.best else ""
    fit = next((one for one in fits if one.label == label and one.finished), None)
    return comparison if fit is None else replace(comparison, importance=importance_of(fit, comparison, run, data))


def importance_of(fit: Fit, comparison: Comparison, run: RunParams, data: Data) -> Importance | None:
    """The importance of each covariate for one fit, on windows of the test range."""
    job = fit.job.resolved(fit.result.learnt)
    model, windows = load_model(fit.job, fit.folder), windows_of(job, data.panel, ("test",))["test"]
    slot = slot_rows(data.panel, windows.params, run.evaluation.season)
    with threads(job.threads):
        partners = sampled(model, windows, slot)
        some = partners.windows
        beside = _beside(comparison, job, windows, some) if job.baselines else None
        drivers, over = drivers_of(model, job, partners, _ruler(comparison.scales[-1], some), beside)
        if not drivers:
            return None
        few = some.origins[torch.tensor(spread(len(some), CARD_WINDOWS))]
        gradients = gradients_of(model, some.params, some.inputs(few))
    return Importance(
        model=fit.label,
        drivers=drivers,
        windows=len(some),
        draws=len(partners.own),
        slot=slot,
        over=over,
        gradients=gradients,
    )


def _ruler(scale: Scale, windows: Windows) -> Ruler:
    """The run's measure, row by row; for an OWA that of its half, the MASE."""
    kind = UNITS.get(scale.by)
    if kind is None:
        return Ruler(np.ones(len(windows)))
    series = windows.series(windows.origins).cpu().numpy()
    unit = scale.units(pl.Series(np.array(windows.panel.ids, object)[series], dtype=pl.String), kind)
    square = scale.by in ("rmsse", "mse_scaled")
    return Ruler(np.sqrt(unit) if kind == "mse" else unit, 2 if square else 1)


def _beside(comparison: Comparison, job: Job, windows: Windows, some: Windows) -> np.ndarray:
    """[W, H, K] the forecasts of an ensemble's baselines at some of the test windows.

    Those that were compared themselves are read from the comparison; others are made here.
    """
    from models.baseline_fit import forecast_baseline  # imports pandas: only when needed

    names = [one.training.variant for one in job.baselines]
    compared = pl.read_parquet_schema(comparison.test.path).keys()
    stored = _stored(comparison, list(dict.fromkeys(name for name in names if name in compared)), windows, some)
    origins, ahead = some.origins.numpy(), job.windows.gap + np.arange(1, job.windows.horizon + 1)
    parts = [
        stored[name] if name in stored else forecast_baseline(one.family, one.network, windows.panel, origins, ahead)
        for name, one in zip(names, job.baselines, strict=True)
    ]
    return np.stack(parts, axis=-1)


def _stored(comparison: Comparison, names: list[str], windows: Windows, some: Windows) -> dict[str, np.ndarray]:
    """[W, H] the comparison's own forecasts of each baseline, at some of the test windows."""
    if not names:
        return {}
    places, parts, done = np.searchsorted(windows.origins.numpy(), some.origins.numpy()), list[np.ndarray](), 0
    for block in comparison.test.blocks(*names):
        grid = block.select(names).to_numpy().reshape(-1, windows.params.horizon, len(names))
        inside = places[(places >= done) & (places < done + len(grid))] - done
        parts.append(grid[inside].astype(np.float64))
        done += len(grid)
    return dict(zip(names, np.moveaxis(np.concatenate(parts), -1, 0), strict=True))
