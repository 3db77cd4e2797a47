"""One fit of one variant and seed: its process, and its MLflow run."""

import json
import threading
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from models.fit.job import Job, is_closed_form
from models.fit.settings import Epoch, Result
from models.worker import Evaluated
from params.shown import discreet
from tasks.engine.choice import engine
from tasks.engine.contract import Interrupted, Listener
from tasks.tracking import logs, runs
from tasks.train.check import member_labels, own_network
from tasks.train.curves import Curves, without_clock
from tasks.train.identity import ending, fingerprint, identity
from tasks.train.job import Planned
from tasks.train.process import fit_folder, run_fit
from tasks.train.system_metrics import system_metrics

OnEpoch = Callable[[str, Epoch], None]  # gets a fit's label and a row of its curves
COST = ("train_seconds", "windows_per_second", "num_parameters")


@dataclass(frozen=True)
class Trainer:
    """What the fits of a run share.

    `home`: the state folder.  `parent`: the id of the comparison's MLflow run.  `on_epoch`: gets each row of a
    fit's curves.  `say`: gets remarks for the user.  `stop`: once set, fits end early.  `fresh`: trains again
    what is trained already.
    """

    home: Path
    parent: str
    on_epoch: OnEpoch
    say: Callable[[str], None]
    stop: threading.Event
    fresh: bool = False


@dataclass(frozen=True, kw_only=True)
class Fit:
    """One fit of a variant and seed: its plan, its MLflow run and folder, and its result.

    `evaluated`: what its worker noted about its forecasts.  `reused`: whether it was trained before.
    `validation`, `test`: the files of its forecast frames, None until written (`evaluate/forecasts.py`).
    `earlier`: the same variant and seed fitted for earlier validation ranges, oldest first
    (`evaluate/folds.py`).
    """

    planned: Planned
    run_id: str
    folder: Path
    result: Result
    evaluated: Evaluated | None = None
    reused: bool = False
    validation: Path | None = None
    test: Path | None = None
    earlier: tuple["Fit", ...] = ()

    @property
    def label(self) -> str:
        """Its name among the fits of a run."""
        return self.planned.label

    @property
    def variant(self) -> str:
        """The name of its variant."""
        return self.planned.variant.variant

    @property
    def family(self) -> str:
        """The family of its network."""
        return self.planned.variant.family

    @property
    def job(self) -> Job:
        """The job that trained it."""
        return self.planned.job

    @property
    def members(self) -> tuple[str, ...]:
        """The labels of an ensemble's members, in the order of its job; empty for any other variant."""
        return member_labels(self.planned.variant)

    @property
    def counts(self) -> dict[str, int]:
        """How often each member counts, by label; empty if that was not learnt."""
        return dict(zip(self.members, self.result.learnt.mix.counts, strict=True)) if self.result.learnt else {}

    @property
    def identity(self) -> str:
        """The digest of all that its weights depend on (`identity.py`), which names its folder."""
        return self.folder.name

    @property
    def finished(self) -> bool:
        """Whether training produced a model."""
        return self.result.finished

    def failed(self, reason: str) -> "Fit":
        """The same fit marked as failed, so that it is never scored."""
        return replace(self, result=self.result.failed(reason), evaluated=None, validation=None, test=None)


def curves_of(planned: Planned, result: Result) -> list[Mapping[str, float]]:
    """The rows of a fit's curves, one per epoch.

    A closed form has one row, its best, and then a curve `val_mae_by_penalty` whose epochs number the
    penalties that validation compared.  An ensemble has one row with its error, or none without an error.
    """
    rows = [without_clock(row) for row in result.history]
    if planned.variant.members:
        return [{"epoch": 0, "val_mae": result.val_mae}] if result.val_mae is not None else []
    if not is_closed_form(planned.variant.family) or not rows:
        return rows
    best = next((row for row in rows if row["epoch"] == result.best_epoch), rows[-1])
    by_penalty = [{"epoch": row["epoch"], "val_mae_by_penalty": row["val_mae"]} for row in rows if "val_mae" in row]
    return [dict(best) | {"epoch": 0}, *by_penalty]


def log_fit(run_id: str, planned: Planned, result: Result) -> None:
    """Logs params, fingerprint, curves and cost of a fit to its MLflow run."""
    variant, job = planned.variant, planned.job
    digest = job.panel.name
    dump = variant.run.model_dump(mode="json") | {"network": own_network(variant)}
    about: dict[str, logs.Value] = {"variant": variant.variant, "family": variant.family, "seed": job.training.seed}
    logs.log_params(run_id, about | logs.flat(dump))
    logs.log_text(run_id, logs.to_yaml(dump | about), "params.yaml")
    logs.log_text(run_id, json.dumps({**fingerprint(job, digest), **ending(result)}, indent=1), "fingerprint.json")
    logs.log_history(run_id, curves_of(planned, result))
    logs.log_metrics(run_id, {name: getattr(result, name) for name in ("peak_memory_mb", "peak_gpu_memory_mb")})
    if job.members:  # protects members from pruning; those in use come first, since the store cuts long tags
        needed = (*job.resolved(result.learnt).networks, *job.trained)
        logs.tag(run_id, {"members": " ".join(dict.fromkeys(identity(member, digest) for member in needed))})
    if not result.finished:
        place = {"failed_step": result.step, "failed_learning_rate": result.learning_rate}
        where = {name: f"{value:g}" for name, value in place.items() if value is not None}
        logs.tag(run_id, {"failed": result.reason or "failed", **where})
        return
    logs.log_metrics(run_id, {name: getattr(result, name) for name in COST})
    if result.learnt is not None:
        content = asdict(result.learnt) | {"members": member_labels(variant)}
        logs.log_text(run_id, json.dumps(content, indent=1), "members.json")
        logs.log_metrics(run_id, {"val_score_in": result.learnt.score})  # on the rows that it was learnt on
    if not (planned.variant.members or is_closed_form(planned.variant.family)):
        logs.log_metrics(run_id, {"best_epoch": result.best_epoch + 1, "optimizer_steps": result.steps})
    logs.tag(run_id, {"weights": result.weights, "ended_by": str(result.ended_by), "precision": result.precision})


@task(cache_policy=NO_CACHE, task_run_name="train {planned.label}")
@discreet
def train_variant(planned: Planned, trainer: Trainer) -> Fit:
    """Trains one variant and seed and lets its worker forecast.  Curves are logged epoch by epoch.

    Its MLflow run ends with the fit; the run of a reused fit keeps the time at which it had ended.  Raises
    what `run_fit` raises, after it has ended the run as KILLED or FAILED; a fit that diverged or ran out of
    memory raises nothing and is not `finished`.
    """
    folder = fit_folder(planned.job, trainer.home)
    about = {"kind": str(planned.kind), "variant": planned.variant.variant, "family": planned.variant.family}
    about |= {"fold": str(planned.fold)} if planned.variant.run.split.folds > 1 else {}
    run_id = runs.child_run(trainer.parent, planned.label, folder.name, about)
    try:
        with system_metrics(run_id) if engine().here else nullcontext() as begun:  # trains here
            with Curves(run_id, begun) as curves:

                def on_row(row: Epoch) -> None:
                    if planned.variant.members:  # the row is of a member, trained only for the ensemble
                        return
                    trainer.on_epoch(planned.label, row)
                    if not is_closed_form(planned.variant.family):
                        curves.add(row)

                listener = Listener(on_row, lambda text: trainer.say(f"  {planned.label}: {text}"))
                outcome = run_fit(planned.job, trainer.home, listener, trainer.stop, trainer.fresh)
            ended = runs.ended(run_id) if outcome.reused else None
            log_fit(run_id, planned, outcome.result)
        runs.finish(run_id, "FINISHED" if outcome.result.finished else "FAILED", ended)
    except BaseException as error:
        killed = isinstance(error, Interrupted) or trainer.stop.is_set()
        runs.abandon(run_id, "KILLED" if killed else "FAILED")
        raise
    return Fit(
        planned=planned,
        run_id=run_id,
        folder=folder,
        result=outcome.result,
        evaluated=outcome.evaluated,
        reused=outcome.reused,
    )
