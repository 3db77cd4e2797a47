"""Retrains the chosen variant on all data, for as long as validation chose (`training.refit: all`).

It is an ordinary fit whose job has no split: all rows train, so it is never scored on the test range.  Judged
is the fit that has not seen that range.
"""

from dataclasses import replace

import numpy as np

from models.data.origins import origin_rows
from models.data.panel import Panel
from models.fit.job import Job, is_baseline
from models.fit.settings import Result
from tasks.train.fits import Fit
from tasks.train.job import Planned
from tasks.train.kind import Kind


def planned_on_all_rows(fit: Fit) -> Planned:
    """The planned fit that retrains the variant of a finished fit on all rows."""
    job = job_on_all_rows(fit.job, fit.result)
    return Planned(label=f"{fit.label}-all", variant=fit.planned.variant, job=job, kind=Kind.REFIT_ALL)


def job_on_all_rows(job: Job, result: Result) -> Job:
    """The job that trains on all rows for the epochs, or with the penalty, that validation chose in a fit.

    Step budgets grow with the epoch, so that the learning rate goes through the same share of its schedule;
    if a budget cut the best epoch short, the refit's last epoch is cut at the same share.  `max_seconds` is
    ignored.  The refit of an ensemble is that of each member, with its weights.  A baseline is unchanged.
    """
    if is_baseline(job.family):
        return replace(job, split=None)
    if job.members:
        mixed = job.resolved(result.learnt)
        results = [result.members[at] for at in job.kept(result.learnt.mix)] if job.greedy and result.learnt else result.members
        refits = [job_on_all_rows(member, member_result) for member, member_result in zip(mixed.members, results, strict=True)]
        return replace(mixed, split=None, members=tuple(refits))
    again = replace(job, split=None).with_training(max_seconds=None)
    best = next(row for row in result.history if row["epoch"] == result.best_epoch)
    penalty = best.get("penalty", result.penalty)  # its own, or that of its ridge skip path
    if penalty is not None:
        again = again.with_training(refit_penalty=penalty)
    if "penalty" in best:
        return again
    old, new, epochs = result.epoch_steps, _epoch_steps(job), result.best_epoch + 1
    again = again.with_training(refit_epochs=epochs)
    if job.training.max_steps is not None:
        again = again.with_training(max_steps=max(1, round(job.training.max_steps * new / old)))
    missing = epochs * old - result.steps  # steps missing from the best epoch, if it was cut short
    if missing > 0:
        again = again.with_training(stop_step=(epochs - 1) * new + max(1, round((old - missing) * new / old)))
    return again


def _epoch_steps(job: Job) -> int:
    """The optimizer steps of an epoch over every window of a job's panel."""
    windows = len(origin_rows(Panel.open(job.panel), job.windows, None, "all", job.windows.stride))
    return -(-windows // job.training.batch_size)


def seen_until(panel: Panel) -> int | dict[str, int]:
    """The time of the newest target: one for all series, or, if they differ, one per series with targets."""
    observed = np.flatnonzero(np.isfinite(panel.target))
    series, first = np.unique(np.searchsorted(panel.offsets, observed, side="right")[::-1] - 1, return_index=True)
    times = panel.times[observed[::-1][first]].tolist()
    if len(set(times)) == 1 and len(times) == len(panel.ids):
        return int(times[0])
    return {panel.ids[number]: int(time) for number, time in zip(series, times, strict=True)}
