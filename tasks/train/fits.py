"""One fit of one variant and seed: its job, and its run in MLflow; never the loop itself, nor the process (`process.py`)."""

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from models.data.panel import Split
from models.data.window import WindowParams
from models.fit.job import SHARED, Job, members
from models.fit.settings import Epoch, Result
from models.memory_card import MemoryCard
from models.networks.linear import PENALTIES
from params.errors import UserError
from params.schema import RunParams, VariantParams
from tasks import tracking
from tasks.evaluate.rolling import is_refit
from tasks.train import identity as fingerprint
from tasks.train.check import is_closed_form, own_network, seeds_of
from tasks.train.curves import Curves, without_clock
from tasks.train.final import is_refit_all
from tasks.train.micro_batches import micro_batches
from tasks.train.process import Interrupted, Listener, fit_folder, run_fit
from tasks.train.system_metrics import system_metrics

OnEpoch = Callable[[str, Epoch], None]


class Kind(StrEnum):
    """What a row or a run stands for."""

    VARIANT = "variant"
    REFIT = "refit"
    REFIT_ALL = "refit-all"
    ENSEMBLE = "ensemble"
    BASELINE = "baseline"


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What a finished fit forecasts: the frames of validation and test (`evaluate/frames.py`), what it costs and remembers."""

    validation: Path
    test: Path
    forecast_ms_per_series: float
    weights_mb: float
    memory: MemoryCard


@dataclass(frozen=True, kw_only=True)
class Fit:
    """One fit of a variant and seed: what was asked for, its run in MLflow and folder, what became of it, what it forecasts.

    `seeded`: whether other seeds would give other weights.  `reused`: it was trained before.  `identity`: its name.
    """

    label: str
    variant: str
    family: str
    seed: int
    seeded: bool
    job: Job
    run_id: str
    folder: Path
    result: Result
    reused: bool = False
    evaluation: Evaluation | None = None

    @property
    def identity(self) -> str:
        """What makes it the same fit (`identity.py`)."""
        return self.folder.name

    @property
    def finished(self) -> bool:
        """Whether there is a model."""
        return self.result.finished

    def failed(self, reason: str) -> "Fit":
        """The same as one that failed: it is never scored."""
        return replace(self, result=self.result.failed(reason), evaluation=None)


def make_job(
    variant: VariantParams, seed: int, panel: Path, windows: WindowParams, split: Split, device: str
) -> dict[str, Any]:
    """Everything that a fit depends on, as JSON; of an ensemble, `members` are the jobs of the fits that it combines."""
    training = variant.run.training
    names = ("max_epochs", "patience_epochs", "batch_size", "learning_rate", "weight_decay", "clip_norm", "loss", "monitor")
    numbers = {name: getattr(training, name) for name in (*names, "precision", "max_steps", "max_seconds")}
    about = {
        "windows": windows.to_dict(),
        "split": vars(split),
        "scaling": variant.run.scaling.model_dump(),
        "evaluation_stride": variant.run.evaluation.stride,
        "threads": training.threads,
        "device": "cpu" if is_closed_form(variant) else device,
        "panel": str(panel),
    }
    if variant.members:
        fits = [
            make_job(one, number, panel, windows, split, device) for one in variant.members for number in range(seeds_of(one))
        ]
        inner = [{name: value for name, value in fit.items() if name not in SHARED} for fit in fits]
        own: dict[str, Any] = {"family": variant.family, "network": {}, "quantiles": []}
        own |= {"members": inner, "combine": variant.combine}
        return about | own | {"training": numbers | {"variant": variant.variant, "seed": seed}}
    whole = device != "cpu" and training.micro_batches == "auto"  # the rule is one for CPUs
    parts = 1 if whole else micro_batches(variant, windows.lookback)
    own = {"family": variant.family, "network": own_network(variant), "quantiles": list(training.quantiles)}
    return about | own | {"training": numbers | {"micro_batches": parts, "variant": variant.variant, "seed": seed}}


def most_epochs(variant: VariantParams, job: Mapping[str, Any]) -> int:
    """The most rows that the history of a fit may have: its epochs, or the penalties of a closed form."""
    if variant.members:
        return 1
    if is_closed_form(variant):
        return 1 if is_refit_all(job) else len(PENALTIES)
    return int(job["training"].get("refit_epochs") or variant.run.training.max_epochs)


def curves_of(variant: VariantParams, result: Mapping[str, Any]) -> list[Mapping[str, float]]:
    """The rows of a fit's curves by epoch.  A closed form has one, the best; its penalties are a curve of their own, where
    validation looked at them."""
    rows = [without_clock(row) for row in result["history"]]
    if variant.members:
        return []
    if not is_closed_form(variant) or not rows:
        return rows
    best = next((row for row in rows if row["epoch"] == result.get("best_epoch")), rows[-1])
    looked = [{"epoch": row["epoch"], "val_mae_by_penalty": row["val_mae"]} for row in rows if "val_mae" in row]
    return [dict(best) | {"epoch": 0}, *looked]


def log_fit(run_id: str, variant: VariantParams, job: dict[str, Any], result: dict[str, Any]) -> None:
    """Params, fingerprint, curves and cost of a fit to its MLflow run."""
    digest = Path(job["panel"]).name
    dump = variant.run.model_dump(mode="json") | {"network": own_network(variant)}
    about = {"variant": variant.variant, "family": variant.family, "seed": job["training"]["seed"]}
    tracking.log_params(run_id, about | tracking.flat(dump))
    tracking.log_text(run_id, tracking.to_yaml(dump | about), "params.yaml")
    printed = fingerprint.fingerprint(job, digest) | fingerprint.course(result)
    tracking.log_text(run_id, json.dumps(printed, indent=1), "fingerprint.json")
    tracking.log_metrics(run_id, {name: result.get(name) for name in ("peak_memory_mb", "peak_gpu_memory_mb")})
    tracking.log_history(run_id, curves_of(variant, result))
    if variant.members:  # what an ensemble is made of must not be pruned
        tracking.tag(run_id, {"members": " ".join(fingerprint.identity(one, digest) for one in members(job))})
    if result["status"] != "finished":
        place = {f"failed_{name}": f"{result[name]:g}" for name in ("step", "learning_rate") if result.get(name) is not None}
        tracking.tag(run_id, {"failed": result["reason"]} | place)
        return
    tracking.log_metrics(run_id, {name: result[name] for name in ("train_seconds", "windows_per_second", "num_parameters")})
    tracking.log_metrics(run_id, {"best_epoch": result["best_epoch"] + 1, "optimizer_steps": result["steps"]})
    tracking.tag(run_id, {"weights": result["weights"], "ended_by": result["ended_by"], "precision": result["precision"]})


@task(cache_policy=NO_CACHE, task_run_name="train {label}")
def train_variant(
    label: str,
    variant: VariantParams,
    job: dict[str, Any],
    home: Path,
    parent: str,
    on_epoch: OnEpoch,
    say: Callable[[str], None],
    stop: threading.Event,
    fresh: bool = False,
) -> dict[str, Any]:
    """Trains one variant and seed; returns its label, run id, folder, status and cost.  Curves are logged as they come."""
    folder = fit_folder(job, home)
    kind = "refit-all" if is_refit_all(job) else "refit" if is_refit(label) else "variant"
    about = {"kind": kind, "variant": variant.variant, "family": variant.family}
    run_id = tracking.child_run(parent, label, folder.name, about)
    try:
        with Curves(run_id) as curves, system_metrics(run_id):

            def heard(row: Epoch) -> None:
                if variant.members:  # of one that is trained for it alone
                    return
                on_epoch(label, row)
                if not is_closed_form(variant):
                    curves.add(row)

            result = run_fit(job, home, Listener(heard, lambda text: say(f"  {label}: {text}")), stop, fresh)
        log_fit(run_id, variant, job, result)
        if result["status"] != "finished":
            tracking.finish(run_id, "FAILED")
    except BaseException as error:
        tracking.abandon(run_id, "KILLED" if isinstance(error, Interrupted) or stop.is_set() else "FAILED")
        raise
    keep = ("status", "reason", "reused", "num_parameters", "train_seconds", "windows_per_second", "val_mae", "best_epoch")
    small = {key: result[key] for key in (*keep, "ended_by", "again") if key in result}
    small |= {"variant": variant.variant, "family": variant.family, "seed": job["training"]["seed"]}
    small |= {"seeded": not (is_closed_form(variant) or variant.members)}
    return small | {"label": label, "run_id": run_id, "folder": str(folder), "identity": folder.name}


def planned_fits(run: RunParams, variants: Mapping[str, VariantParams]) -> list[tuple[str, str, int]]:
    """Every fit of a run: (label, variant, seed); the first seed carries the variant's own name.

    A closed form has no seed to vary and is fitted once.
    """
    found = []
    for name in run.variants:
        seeds = seeds_of(variants[name])
        found += [(name if seed == 0 else f"{name}-s{seed}", name, seed) for seed in range(seeds)]
    found.sort(key=lambda fit: bool(variants[fit[1]].members))  # an ensemble when its members are done
    for label, _, _ in found:
        if sum(label == other for other, _, _ in found) > 1:
            raise UserError(
                f"variants: {label!r} is a variant and a further seed of another: rename params/variants/{label}.yaml"
            )
    return found
