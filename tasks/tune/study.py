"""One trial: its fits, the newest validation range first, stopped early if pruned; and its run in MLflow."""

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from prefect import task
from prefect.cache_policies import NO_CACHE

from models.data.panel import Data
from models.fit.settings import Epoch
from params.schema import VariantParams
from params.search import path_of
from params.shown import discreet
from tasks.engine.contract import Interrupted
from tasks.tracking import logs, runs
from tasks.train.fits import Fit, Trainer, train_variant
from tasks.train.job import Planned, make_job
from tasks.train.kind import Kind
from tasks.train.process import fit_folder
from tasks.tune.halving import Cut, Halving
from tasks.tune.score import Ruler
from tasks.tune.trial import State, Trial


@dataclass(frozen=True)
class Asked:
    """A trial to run: its fits, oldest fold last, and its pruning rule; `heard` stores an error at a rung."""

    trial: Trial
    fits: Sequence[Planned]
    halving: Halving
    heard: Callable[[Trial, int, float], None]


def planned(trial: Trial, variant: VariantParams, data: Data, device: str) -> list[Planned]:
    """A trial's fits: the newest validation range, then the ones before it, as in a comparison."""
    last = len(data.earlier) + 1
    splits = [(last, data.split), *((number, data.earlier[number - 1]) for number in range(last - 1, 0, -1))]
    return [
        Planned(
            label=trial.label if fold == last else f"{trial.label}~{fold}",
            variant=variant,
            job=make_job(variant, 0, data.panel.folder, data.windows, split, device),
            kind=Kind.TRIAL,
            first="" if fold == last else trial.label,
            fold=fold,
        )
        for fold, split in splits
    ]


class _Watch:
    """Receives the epochs of a trial's first fit; stops it if the trial is pruned."""

    def __init__(self, asked: Asked, trainer: Trainer) -> None:
        self.asked, self.trainer, self.stop = asked, trainer, threading.Event()
        self.errors = dict(asked.trial.rungs)
        self.heard, self.best, self.seconds = 0, math.inf, 0.0

    def epoch(self, label: str, row: Epoch) -> None:
        """Takes the row of an epoch; a resumed fit does not repeat earlier ones."""
        halving, epochs = self.asked.halving, int(row["epoch"]) + 1
        self.trainer.on_epoch(label, row)
        self.heard, self.seconds = self.heard + 1, row.get("seconds", 0.0)
        self.best = min(self.best, row[halving.column])
        late = self.stop.is_set()  # a fit continues for a step, or an epoch, after a stop request
        if self.heard == epochs and epochs in halving.peers and epochs not in self.errors and not late:
            self.errors[epochs] = self.best
            self.asked.heard(self.asked.trial, epochs, self.best)
            if halving.cut(self.errors, epochs):
                self.stop.set()


@task(cache_policy=NO_CACHE, task_run_name="trial {asked.trial.label}")
@discreet
def run_trial(asked: Asked, trainer: Trainer, ruler: Ruler) -> Trial:
    """Runs a trial and returns its outcome.  Raises Interrupted if the whole search was asked to stop."""
    trial, first = asked.trial, asked.fits[0]
    cut = asked.halving.cut(trial.rungs, max(trial.rungs, default=0))
    if cut is not None:  # recorded before a process was killed
        return _pruned(asked, trainer, cut, dict(trial.rungs), 0.0)
    watch = _Watch(asked, trainer)
    fit = _trained(first, replace(trainer, on_epoch=watch.epoch), watch.stop)
    rungs = watch.errors
    if fit is not None and fit.finished:  # a killed process may have lost a row
        rungs = asked.halving.at(fit.result.history)
    cut = asked.halving.cut(rungs, len(fit.result.history) if fit is not None else max(rungs))
    if cut is not None and (fit is None or fit.finished):
        return _pruned(asked, trainer, cut, rungs, watch.seconds)
    assert fit is not None  # only the rule stops it
    fits = [fit]
    for planned_fit in asked.fits[1:]:
        if fits[-1].finished:
            fits.append(train_variant.fn(planned_fit, trainer))
    return _ended(asked, fits, ruler, rungs)


def _trained(first: Planned, trainer: Trainer, stop: threading.Event) -> Fit | None:
    """A trial's first fit; None if the rule stopped it.  The whole search may also be stopped meanwhile."""
    fit_stop, over = threading.Event(), threading.Event()

    def either() -> None:
        while not over.is_set():
            if stop.is_set() or trainer.stop.wait(0.05):
                fit_stop.set()
                return

    thread = threading.Thread(target=either, name=f"stop-{first.label}", daemon=True)
    thread.start()
    try:
        return train_variant.fn(first, replace(trainer, stop=fit_stop))
    except Interrupted:
        if not stop.is_set():
            raise
        return None
    finally:
        over.set()
        thread.join()


def _pruned(asked: Asked, trainer: Trainer, cut: Cut, rungs: Mapping[int, float], seconds: float) -> Trial:
    """A pruned trial, after its fit trained for `seconds`; ends its MLflow run properly."""
    first = asked.fits[0]
    identity = fit_folder(first.job, trainer.home).name
    run_id = runs.child_run(trainer.parent, first.label, identity, {"kind": str(Kind.TRIAL), "variant": asked.trial.variant})
    reason = f"after epoch {cut.epoch} of {first.job.training.max_epochs}: {cut.error:.4g}, and half are below {cut.bound:.4g}"
    kept = {rung: error for rung, error in rungs.items() if rung <= cut.epoch}
    trial = replace(asked.trial, state=State.PRUNED, rungs=kept, identity=identity, run_id=run_id, reason=reason)
    return _logged(replace(trial, seconds=seconds), "FINISHED")


def _ended(asked: Asked, fits: Sequence[Fit], ruler: Ruler, rungs: Mapping[int, float]) -> Trial:
    """A trial whose fits have ended, with its score or the reason why it has none."""
    failed = next((why for fit in fits if (why := _why_failed(fit))), "")
    score = None if failed else ruler.score([*fits[1:][::-1], fits[0]])
    if score is None and not failed:
        failed = "nothing of the validation range can be measured"
    trial = replace(
        asked.trial,
        state=State.FAILED if failed else State.FINISHED,
        rungs={} if failed else rungs,
        score=score,
        identity=fits[0].identity,
        run_id=fits[0].run_id,
        seconds=sum(fit.result.train_seconds for fit in fits),
        reason=failed,
    )
    return _logged(trial, "FAILED" if failed else "FINISHED")


def _why_failed(fit: Fit) -> str:
    if not fit.finished:
        return fit.result.reason or "failed"
    lost = fit.evaluated is not None and "validation" in fit.evaluated.not_finite
    return "forecasts on validation are not finite" if lost else ""


def _logged(trial: Trial, status: str) -> Trial:
    """The trial, after logging what is known to its MLflow run; only a finished fit logs its own params."""
    values = {".".join(path_of(key)): value for key, value in trial.values.items()}
    logs.log_params(trial.run_id, {"variant": trial.variant, "trial": trial.number, **values})
    logs.log_metrics(trial.run_id, {"val_score": trial.score})
    logs.tag(trial.run_id, {"trial": str(trial.state), **({"why": trial.reason} if trial.reason else {})})
    runs.finish(trial.run_id, status)
    return trial
