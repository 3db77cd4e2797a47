"""The leakage canary: alters everything after a cutoff, rebuilds the panel, and no forecast may change.

It uses the run's own code from the long frame to the forecast, so that a leak anywhere shows.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
import torch
from prefect import task
from prefect.cache_policies import NO_CACHE
from torch import Tensor

from models.data.origins import origin_rows
from models.data.panel import Data, Panel, Split
from models.data.scaling import fit_scaling
from models.data.window import WindowParams
from models.data.windows import Windows
from models.ensemble import Model
from models.fit.job import Job, Rule, load_model
from models.mixed import baseline_forecasts
from params.errors import ChecksFailed
from params.schema import RunParams
from params.shown import discreet
from tasks.evaluate.alignment import find_shift
from tasks.files import spread
from tasks.grid.frequency import Frequency
from tasks.lags.panel import write_panel
from tasks.names import column
from tasks.train.fits import Fit

SERIES, CUTOFFS = 8, 3  # how many are tried, evenly spread
SPOILED = 12345.678

BuildPanel = Callable[[pl.LazyFrame, Path], Path]


class Leak(ChecksFailed):
    """A forecast sees past its cutoff, or is shifted: a fault of the pipeline or a feature, not of data."""


@dataclass(frozen=True)
class Pipeline:
    """What the canary tests: how to build a panel, windows and split, forecasters by label, their scaling,
    and `mixed` ensembles, whose forecasters lack their baselines; `tried`: the split to take cutoffs from."""

    build: BuildPanel
    params: WindowParams
    split: Split
    forecasters: dict[str, Model]
    rules: tuple[Rule, ...]
    mixed: Mapping[str, Job] = field(default_factory=dict)
    tried: str = "test"

    def fit_scaling(self, panel: Panel) -> list[Tensor]:
        """Every scaling of the run, fitted again."""
        scalings = (fit_scaling(panel, self.params, self.split, rule.per, rule.method, rule.target) for rule in self.rules)
        return [part for scaling in scalings for part in scaling]


def find_leak(frame: pl.LazyFrame, ids: Sequence[str], pipeline: Pipeline) -> str | None:
    """What leaks, in words, or None.

    `frame`: the long frame of a run, `ids` its series.  For some cutoffs of some series, alters all values
    after the cutoff except those known ahead; forecasts at the cutoff must keep their bits, and refitted
    scaling its numbers. In a split by rows a longer series may still train while another is tested: rows that
    a series trains on are not altered.
    """
    some = _rows_tried(frame, ids)
    with tempfile.TemporaryDirectory() as folder:
        panel = Panel.open(pipeline.build(some.lazy(), Path(folder)))
        rows = origin_rows(panel, pipeline.params, pipeline.split, pipeline.tried, 1)
        times = np.unique(panel.times[rows])
        for cutoff in times[spread(len(times), CUTOFFS)].tolist():
            before = Windows(panel, pipeline.params, rows[panel.times[rows] == cutoff])
            leak = _leak_at(some, before, cutoff, pipeline, Path(folder))
            if leak:
                return leak
    return None


def _rows_tried(frame: pl.LazyFrame, ids: Sequence[str]) -> pl.DataFrame:
    """The rows of some of the series."""
    names = [ids[number] for number in spread(len(ids), SERIES)]
    return frame.filter(pl.col("unique_id").is_in(names)).collect(engine="streaming")


def _leak_at(frame: pl.DataFrame, before: Windows, cutoff: int, pipeline: Pipeline, folder: Path) -> str | None:
    ahead = {"unique_id", "ds", *pipeline.params.future, *pipeline.params.static}  # known ahead: not altered
    values = [name for name in frame.columns if name not in ahead]

    borders = _borders(before.panel, pipeline.split)

    def changed_by(names: Sequence[str]) -> str | None:
        spoiled = Panel.open(pipeline.build(spoil(frame, names, cutoff, borders).lazy(), folder))
        return _changed(before, spoiled, pipeline)

    if changed_by(values) is None:
        return None
    for name in values:  # find the column
        what = changed_by([name])
        if what:
            when = pl.Series([cutoff]).cast(frame["ds"].dtype)[0]
            return f"{what} at cutoff {when} changes when {name!r} is altered after it"
    return f"a forecast at cutoff {cutoff} changes when what comes after it is altered"


def _borders(panel: Panel, split: Split) -> pl.DataFrame:
    """unique_id and the time of the last training row of each series (_border)."""
    _, stops = split.target_ranges(panel.times, panel.offsets, "train")
    last = panel.times[panel.offsets[:-1] + np.maximum(stops - 1, 0)]
    return pl.DataFrame({"unique_id": panel.ids, "_border": last}, schema={"unique_id": pl.String, "_border": pl.Int64})


def spoil(frame: pl.DataFrame, names: Sequence[str], cutoff: int, borders: pl.DataFrame) -> pl.DataFrame:
    """The frame with some columns overwritten, missing values included, in rows after both the cutoff and
    their series' border (of `_borders`)."""
    border = frame.select("unique_id").join(borders, on="unique_id", how="left", maintain_order="left")["_border"]
    after = pl.lit(frame.select(pl.col("ds").to_physical() > pl.max_horizontal(pl.lit(cutoff), pl.lit(border))).to_series())
    return frame.with_columns(pl.when(after).then(SPOILED).otherwise(column(name)).alias(name) for name in names)


@torch.inference_mode()
def _changed(before: Windows, panel: Panel, pipeline: Pipeline) -> str | None:
    """What differs between two panels at the same origins: an input, the scaling, or a variant's forecast."""
    params = pipeline.params
    after = Windows(panel, params, before.origins.numpy())
    pair = [windows.inputs(windows.origins) for windows in (before, after)]
    channels = (
        ("past_BLF", params.channels, "the window of feature"),
        ("ahead_BAK", params.known, "what is known ahead of"),
        ("wide_BLE", params.wide_features, "the window of feature"),
        ("wide_BAE", params.wide_future, "what is known ahead of"),
    )
    for kind, names, what in channels:
        for place, name in enumerate(names):
            if not _same(*(getattr(inputs, kind)[..., place] for inputs in pair)):
                return f"{what} {name!r}"
    if not all(_same(*two) for two in zip(*(pipeline.fit_scaling(table) for table in (before.panel, panel)), strict=True)):
        return "the scaling"
    for label, forecaster in pipeline.forecasters.items():
        if not _same(*(forecaster(*inputs) for inputs in pair)):
            return f"the forecast of {label}"
    origins = before.origins.numpy()
    for label, job in pipeline.mixed.items():
        forecasts = (torch.from_numpy(baseline_forecasts(job, table, origins)) for table in (before.panel, panel))
        if not _same(*forecasts):
            return f"the forecast of {label}, of its baselines,"
    return None


def _same(a: Tensor, b: Tensor) -> bool:
    return bool(torch.equal(a.isnan(), b.isnan()) and torch.equal(a.nan_to_num(), b.nan_to_num()))


@task(cache_policy=NO_CACHE)
@discreet
def try_canary(frame: pl.LazyFrame, run: RunParams, data: Data, fits: Sequence[Fit]) -> None:
    """Raises Leak, naming the feature, if a trained variant's forecast sees past its cutoff or is shifted.

    Cutoffs are in the test range; for fits of an earlier fold, in its validation range.
    """
    params, frequency, fill = data.windows, Frequency.of(data.panel.facts), run.windows.forward_fill
    rules = tuple(dict.fromkeys(rule for fit in fits for rule in rules_of(fit.job)))
    for rule in rules:
        with tempfile.TemporaryDirectory() as folder:
            shift = find_shift(params, frequency, rule, fill, Path(folder))
        if shift:
            raise Leak(f"alignment probe: {shift}; nothing was registered")

    def build(rows: pl.LazyFrame, folder: Path) -> Path:
        return write_panel(rows, params, frequency, fill, folder)

    if data.earlier:  # read the table only once
        frame = _rows_tried(frame, data.panel.ids).lazy()
    for number, split in enumerate((data.split, *data.earlier)):
        split_fits = [fit for fit in fits if fit.finished and fit.job.split == split]
        forecasters = {fit.label: load_model(fit.job, fit.folder) for fit in split_fits}
        mixed = {fit.label: fit.job for fit in split_fits if fit.job.baselines}
        tried = "validation" if number else "test"
        leak = find_leak(frame, data.panel.ids, Pipeline(build, params, split, forecasters, rules, mixed, tried))
        if leak:
            raise Leak(f"leakage canary: {leak}; nothing was registered")


def rules_of(job: Job) -> list[Rule]:
    """The scaling of a fit, or of each member of an ensemble."""
    return [rule for member in job.networks for rule in rules_of(member)] or [job.scaling]
