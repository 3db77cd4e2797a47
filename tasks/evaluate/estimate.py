"""Estimates the time and memory of a comparison from measured costs, before it trains."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from models.data.panel import Data, Split
from params.schema import RunParams
from tasks.evaluate.baseline_origins import fitted_seconds, member_seconds
from tasks.evaluate.frames import ROWS
from tasks.explore.costs import EVERY_RUN, MEMORY, START, Work, cost_of, fit_seconds
from tasks.lags.sizes import Sizes, size_text
from tasks.train.job import Planned

HIDDEN = 12 * 32 * 4  # bytes per sample that a network's layers keep for the backward pass
FRAMES = 8  # columns of a block of the forecast frame in memory at a time
NUMBERS = 60  # 64-bit numbers per origin that scoring holds until it ends (measured: 100,000 series against 20,000)


@dataclass(frozen=True)
class Estimate:
    """What a comparison will cost.

    `least`, `most`: wall clock seconds if every fit ends as early as its patience allows, and if none ends
    early.  `memory`: bytes of all processes together.  `jobs`: how many fits run at a time.
    """

    least: float
    most: float
    memory: float
    jobs: int

    def line(self) -> str:
        """The line that is printed before training."""
        low, high = _time(self.least), _time(self.most)
        duration = f"about {high}" if low == high else f"{low} to {high}"
        at_a_time = f"{self.jobs} fits at a time" if self.jobs > 1 else "one fit at a time"
        return (
            f"estimate: {duration}, {at_a_time}, and {size_text(int(self.memory))} of memory "
            "(by rates measured elsewhere: half or twice as long is no surprise)"
        )


def estimate(run: RunParams, data: Data, sizes: Sizes, fits: Sequence[Planned], jobs: int) -> Estimate:
    """What a comparison costs on a CPU if nothing was trained before, with `jobs` fits at a time."""
    counts, training = sizes.budget, run.training
    windows = [counts.windows[name] for name in ("train", "validation", "test")]
    work, rows = _last_work(data, sizes), np.diff(data.panel.offsets)
    baselines = fitted_seconds(run, rows, -(-max(windows[1:]) // max(len(rows), 1)))
    earlier = zip(data.earlier, sizes.earlier, strict=True)
    works = {
        split: replace(work, train=fold_counts["train"], validation=fold_counts["validation"], test=fold_counts["test"])
        for split, fold_counts in earlier
    }
    least, most = (_by_the_clock([*_every_fit(fits, work, early, rows, works), *baselines], jobs) for early in (True, False))
    batch = counts.batch_bytes + training.batch_size * work.samples * HIDDEN
    frames = 8 * FRAMES * min(run.windows.horizon * max(windows[1:]), ROWS) + 8 * NUMBERS * max(windows[1:])
    memory = 1e9 * MEMORY[1] + frames + jobs * (1e9 * MEMORY[0] + counts.device_bytes + batch)
    return Estimate(EVERY_RUN + least, EVERY_RUN + most, memory, jobs)


def most_seconds(data: Data, sizes: Sizes, fits: Sequence[Planned]) -> list[float]:
    """Core seconds of each fit if none ends early; `fits` must hold no ensemble and no earlier fold."""
    return _every_fit(fits, _last_work(data, sizes), False, np.diff(data.panel.offsets))


def _last_work(data: Data, sizes: Sizes) -> Work:
    """The work of a fit for the newest validation range."""
    windows = [sizes.budget.windows[name] for name in ("train", "validation", "test")]
    return Work(data.windows.lookback, len(data.windows.channels) + 1, *windows)


def _every_fit(
    fits: Sequence[Planned], last: Work, early: bool, rows: np.ndarray, earlier: Mapping[Split, Work] | None = None
) -> list[float]:
    """Core seconds of every network, alone or of an ensemble, each once, then of every ensemble's baselines.

    `last`: the work of a fit for the newest validation range; `earlier`: for earlier ones, by their split.
    `early`: whether patience ends every fit as soon as it can.  `rows` [S]: the rows of each series.
    """
    by_fit: dict[tuple[str, int, Split | None], float] = {}
    works = {fit.label: (earlier or {}).get(fit.job.split, last) if fit.job.split else last for fit in fits}
    for fit in fits:
        work = works[fit.label]
        for job in fit.job.networks or (fit.job,):
            training = job.training
            epochs = min(training.patience_epochs + 1, training.max_epochs) if early else training.max_epochs
            if training.max_steps is not None:
                epochs = min(epochs, -(-training.max_steps * training.batch_size // max(work.train, 1)))
            skip = job.network.get("skip")
            seconds = fit_seconds(cost_of(training.variant), work, epochs, training.batch_size, skip)
            by_fit[training.variant, training.seed, job.split] = min(seconds, START + (training.max_seconds or seconds))
    origins = {label: work.validation + work.test for label, work in works.items()}
    ensembles = (START + member_seconds(fit.job, rows, origins[fit.label]) for fit in fits if fit.job.members)
    return [*by_fit.values(), *ensembles]


def _by_the_clock(seconds: Sequence[float], jobs: int) -> float:
    """Wall clock seconds of fits that take these core seconds, `jobs` at a time; at least the longest fit."""
    return max(sum(seconds) / jobs, *seconds)


def _time(seconds: float) -> str:
    """A duration for people, in minutes or, from 100 minutes on, in hours."""
    minutes = round(seconds / 60)
    return f"{max(minutes, 1)} min" if minutes < 100 else f"{seconds / 3600:.1f} h"
