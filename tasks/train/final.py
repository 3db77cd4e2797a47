"""The chosen variant once more on all data, for as long as validation chose (`training.refit: all`); never chooses or judges.

It is a fit like any other, but its job has no split: every row is training's, and so nothing of it is ever scored on the test
range.  What is judged is the fit that has not seen that range.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.data.origins import origin_rows
from models.data.panel import Panel
from models.data.window import WindowParams
from models.fit import job as jobs
from models.fit.job import SHARED, members
from tasks.train import identity as fingerprint

LOOKED_AT = 256  # windows


def label_of(label: str) -> str:
    """The label of the refit of a fit."""
    return f"{label}-all"


def is_refit_all(job: Mapping[str, Any]) -> bool:
    """Whether a job trains on every row."""
    return job["split"] is None


def refit_job(job: Mapping[str, Any], result: Mapping[str, Any]) -> dict[str, Any]:
    """The job that trains on every row for the epochs, or with the penalty, that validation chose in a finished fit.

    Budgets of steps grow with the epoch, so that the learning rate goes through the same share of its schedule; where the
    best epoch was one that a budget had cut short, the refit's last is cut at the same share.  Seconds are not looked at.  The
    refit of an ensemble is that of each of its members.
    """
    if "members" in job:
        refits = [refit_job(one, own) for one, own in zip(members(job), result["members"], strict=True)]
        inner = [{name: value for name, value in one.items() if name not in SHARED} for one in refits]
        return {**job, "split": None, "members": inner}
    training = {**job["training"], "max_seconds": None}
    best = next(row for row in result["history"] if row["epoch"] == result["best_epoch"])
    if "penalty" in best:
        training["refit_penalty"] = best["penalty"]
    else:
        old, new = result["epoch_steps"], _epoch_steps(job)
        epochs = result["best_epoch"] + 1
        training["refit_epochs"] = epochs
        if training["max_steps"] is not None:
            training["max_steps"] = max(1, round(training["max_steps"] * new / old))
        missing = epochs * old - result["steps"]  # of the best epoch, where it was the last and cut short
        if missing > 0:
            training["stop_step"] = (epochs - 1) * new + max(1, round((old - missing) * new / old))
    return {**job, "split": None, "training": training}


def _epoch_steps(job: Mapping[str, Any]) -> int:
    """The optimizer steps of an epoch over every window of a job's panel."""
    params = WindowParams.from_dict(job["windows"])
    windows = len(origin_rows(Panel.open(job["panel"]), params, None, "all", params.stride))
    return -(-windows // int(job["training"]["batch_size"]))


def not_finite(job: Mapping[str, Any], folder: Path) -> bool:
    """Whether a forecast of the refitted weights is no number, on windows spread over all rows."""
    forecaster, windows = jobs.load(job, folder)
    origins = windows["train"].origins
    some = origins[torch.linspace(0, len(origins) - 1, min(LOOKED_AT, len(origins))).long()]
    with torch.inference_mode():
        return not bool(forecaster(*windows["train"].inputs(some))[..., 0].isfinite().all())


def refit_facts(job: Mapping[str, Any], result: Mapping[str, Any], panel: Panel) -> dict[str, Any]:
    """What a version keeps of its refit so that it can be trained again, and what rows it has seen."""
    printed = fingerprint.fingerprint(job, panel.digest)
    return {
        "job": {name: value for name, value in job.items() if name != "panel"},
        "weights": result["weights"],
        "fingerprint": printed,
        "identity": printed["identity"],
        "seen_until": seen_until(panel),
    }


def seen_until(panel: Panel) -> int | dict[str, int]:
    """The time of the newest target: one for all series, or one for each that has any where they differ."""
    observed = np.flatnonzero(np.isfinite(panel.target))
    series, first = np.unique(np.searchsorted(panel.offsets, observed, side="right")[::-1] - 1, return_index=True)
    times = panel.times[observed[::-1][first]].tolist()
    if len(set(times)) == 1 and len(times) == len(panel.ids):
        return int(times[0])
    return {panel.ids[number]: int(time) for number, time in zip(series, times, strict=True)}


def identity_of(fit: str, refit: str) -> str:
    """The identity of a version that keeps both: another one than that of the fit alone."""
    return fingerprint.sha256(fingerprint.canonical([fit, refit]))
