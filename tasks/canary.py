"""The leakage canary: spoil everything after a cutoff, make the panel again, and nothing that was forecast may change.

It goes through the code of the run itself, from the long frame to the forecast: a leak anywhere on the way is seen.
"""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from prefect import task
from prefect.cache_policies import NO_CACHE

from models import job as jobs
from models.forecaster import Forecaster
from models.origins import origin_rows
from models.panel import Panel, Split
from models.scaling import fit_scaling
from models.windows import WindowParams, Windows
from params.errors import ChecksFailed
from params.schema import RunParams
from tasks.frequency import Frequency
from tasks.panel import write_panel

SERIES, CUTOFFS = 8, 3  # how many are tried, spread evenly
SPOILED = 12345.678

BuildPanel = Callable[[pl.LazyFrame, Path], Path]


class Leak(ChecksFailed):
    """Something that a forecast must not see was seen: a fault of the pipeline or of a feature, never of the data."""


def find_leak(
    frame: pl.LazyFrame, build: BuildPanel, params: WindowParams, split: Split, forecasters: dict[str, Forecaster]
) -> str | None:
    """What leaks, in words, or None.

    `frame`: the long frame of a run; `build` makes a panel of it, as the run does.  For some test cutoffs of some series all
    values after the cutoff are spoiled; forecasts at the cutoff must keep their bits, and scaling fitted again its numbers.
    """
    ids = frame.select(pl.col("unique_id").unique().sort()).collect().to_series()
    some = frame.filter(pl.col("unique_id").is_in(ids.gather(_spread(len(ids), SERIES)).implode())).collect()
    with tempfile.TemporaryDirectory() as folder:
        panel = Panel.open(build(some.lazy(), Path(folder)))
        rows = origin_rows(panel, params, split, "test", 1)
        times = np.unique(panel.times[rows])
        for cutoff in times[_spread(len(times), CUTOFFS)].tolist():
            origins = rows[panel.times[rows] == cutoff]
            leak = _leak_at(some, panel, cutoff, origins, build, params, split, forecasters, Path(folder))
            if leak:
                return leak
    return None


def _spread(count: int, most: int) -> list[int]:
    return sorted({round(i) for i in np.linspace(0, count - 1, min(count, most))}) if count else []


def _leak_at(
    frame: pl.DataFrame,
    panel: Panel,
    cutoff: int,
    origins: np.ndarray,
    build: BuildPanel,
    params: WindowParams,
    split: Split,
    forecasters: dict[str, Forecaster],
    folder: Path,
) -> str | None:
    ahead = {"unique_id", "ds", *params.future, *params.static}  # known ahead, and so left alone
    values = [name for name in frame.columns if name not in ahead]
    before = Windows(panel, params, origins)
    spoiled = Panel.open(build(spoil(frame, values, cutoff).lazy(), folder))
    if _changed(before, spoiled, params, split, forecasters) is None:
        return None
    for name in values:  # which one?
        alone = Panel.open(build(spoil(frame, [name], cutoff).lazy(), folder))
        what = _changed(before, alone, params, split, forecasters)
        if what:
            when = pl.Series([cutoff]).cast(frame["ds"].dtype)[0]
            return f"{what} at cutoff {when} changes when {name!r} is altered after it"
    return f"a forecast at cutoff {cutoff} changes when what comes after it is altered"


def spoil(frame: pl.DataFrame, names: Sequence[str], cutoff: int) -> pl.DataFrame:
    """The frame with every value of some columns overwritten where its row lies after the cutoff; missing ones too."""
    after = pl.col("ds").to_physical() > cutoff
    return frame.with_columns(pl.when(after).then(SPOILED).otherwise(pl.col(name)).alias(name) for name in names)


@torch.inference_mode()
def _changed(
    before: Windows, panel: Panel, params: WindowParams, split: Split, forecasters: dict[str, Forecaster]
) -> str | None:
    """What differs between two panels at the same origins: an input, the scaling, or a variant's forecast."""
    after = Windows(panel, params, before.origins.numpy())
    pair = [windows.inputs(windows.origins) for windows in (before, after)]
    for column, name in enumerate(params.channels):
        if not _same(*(inputs.past_BLF[..., column] for inputs in pair)):
            return f"the window of feature {name!r}"
    for column, name in enumerate(params.known):
        if not _same(*(inputs.ahead_BAK[..., column] for inputs in pair)):
            return f"what is known ahead of {name!r}"
    for per in ("series", "global"):
        scalings = [fit_scaling(table, params, split, per) for table in (before.panel, panel)]
        if not all(torch.equal(a, b) for a, b in zip(*scalings, strict=True)):
            return "the scaling"
    for label, forecaster in forecasters.items():
        if not _same(*(forecaster(*inputs) for inputs in pair)):
            return f"the forecast of {label}"
    return None


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return bool(torch.equal(a.isnan(), b.isnan()) and torch.equal(a.nan_to_num(), b.nan_to_num()))


@task(cache_policy=NO_CACHE)
def try_canary(
    frame: pl.LazyFrame, run: RunParams, params: WindowParams, split: Split, fits: list[dict[str, Any]], jobs_of: dict[str, Any]
) -> None:
    """Raises Leak, naming the feature, where the forecast of any trained variant sees past its cutoff."""
    done = [fit for fit in fits if fit["status"] == "finished"]
    forecasters = {fit["label"]: jobs.load(jobs_of[fit["label"]], Path(fit["folder"]))[0] for fit in done}

    def build(rows: pl.LazyFrame, folder: Path) -> Path:
        return write_panel(rows, params, Frequency(run.data.frequency), run.windows.forward_fill, folder)

    leak = find_leak(frame, build, params, split, forecasters)
    if leak:
        raise Leak(f"leakage canary: {leak}; nothing was registered")
