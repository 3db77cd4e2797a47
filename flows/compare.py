"""Compare: check the data, cut windows, train every variant, score them side by side, register the best as challenger.

Trigger: by hand or on a schedule (`python -m flows compare PARAMS`).  Needs a Prefect API (`runtime/server.py` brings one).
Nothing is cached by Prefect: a fit that is done is found by its identity in LAGLINE_HOME.
"""

import shlex
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from prefect import flow

from flows.runtime import artifacts
from flows.runtime.pool import train_fits
from flows.runtime.progress import Board
from flows.runtime.state import ready
from flows.runtime.turns import alone, ended_in_any_case
from models.data.panel import Data
from params.errors import ChecksFailed
from params.load import Plan, load_plan
from params.schema import RunParams
from tasks.compare.compare import naive_error
from tasks.evaluate.canary import try_canary
from tasks.evaluate.forecasts import evaluate_variant
from tasks.evaluate.rolling import join_refits, refit_splits
from tasks.grid.split import split_of
from tasks.lags.panel import generate_lags
from tasks.lags.sizes import Sizes, sizes_of
from tasks.load.source import LongFrame, Source, load_series, long_frame
from tasks.registry.register import register_best
from tasks.report.inputs import log_failed_checks, log_inputs
from tasks.report.publish import compare_variants
from tasks.tracking import connection, logs, runs
from tasks.train.device import choose_device
from tasks.train.final import planned_on_all_rows
from tasks.train.fits import Fit, Trainer
from tasks.train.identity import Provenance, comparison_identity, fingerprint
from tasks.train.job import Planned, plan_fits
from tasks.validate.report import failure_message, notes
from tasks.validate.suite import validate_series
from tasks.validate.verdict import Verdict


@dataclass(frozen=True)
class Comparison:
    """What the flow returns: its run in MLflow, what was found and registered; `unchanged`: an equal one was there already.

    `failed`: why each fit failed, where all of them did.
    """

    name: str
    parent: str
    unchanged: bool = False
    found: Any = None
    registered: Any = None
    failed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Prepared:
    """What is trained and judged: the long frame, the panel with its windows and split, what they take, every fit to come."""

    frame: LongFrame
    data: Data
    sizes: Sizes
    fits: list[Planned]


@flow(name="compare", flow_run_name="compare {params}", validate_parameters=False)
def compare(params: str, settings: list[str], fresh: bool = False, plan: Plan | None = None) -> Comparison:
    """The main job; nothing is published before the leakage canary has passed.

    `plan`: what the file and the settings say, where the caller has read them already.
    """
    plan = plan or load_plan(params, settings)
    home, run = ready(), plan.run
    with Board() as board, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with board.stage("open the store"):
            connection.connect(home)
            experiment = runs.experiment(run.name, home)
        with board.stage("check the data"):
            source = load_series(run)
            verdict = _checked(run, source, experiment, folder, board)
        with alone(home, board):
            prepared = _prepare(plan, source, verdict, home, board)
            parent, finished = runs.parent_run(experiment, run.name, comparison_identity(run, prepared.fits), fresh)
            if finished:
                return Comparison(run.name, parent, unchanged=True)
            with ended_in_any_case(parent):
                log_inputs(parent, run, prepared.data, source, prepared.sizes, folder)
                trainer = Trainer(home, parent, board.epoch, board.say, threading.Event(), fresh)
                trained = _train(run, prepared, trainer, board)
                judged = _judge(run, prepared, trained, board)
                found, about = _publish(plan, prepared, judged, verdict, parent, home, board)
                refit = _train_on_all_rows(run, prepared, judged, found["chosen"], trainer, board)
                with board.stage("register"):
                    registered = register_best(run, found, judged, home, about, refit)
                _log_end(parent, [*trained, *([refit] if refit else [])], board)
        failed = tuple(f"{fit.label}: {fit.result.reason}" for fit in judged if not fit.finished)
        return Comparison(
            run.name, parent, found=found, registered=registered, failed=failed if len(failed) == len(judged) else ()
        )


def _checked(run: RunParams, source: Source, experiment: str, folder: Path, board: Board) -> Verdict:
    """The verdict of the checks; where they fail, it is in MLflow before the flow stops."""
    verdict = validate_series(run, source, folder)
    for line in notes(verdict):  # what fails is said once, at the end
        board.say(f"  {line}")
    if not verdict.passed:
        failed = log_failed_checks(experiment, run, folder)
        raise ChecksFailed(
            f"{failure_message(verdict)}\n"
            f"Nothing was trained; the whole report is in MLflow (run {failed}, checks/checks.html)."
        )
    return verdict


def _prepare(plan: Plan, source: Source, verdict: Verdict, home: Path, board: Board) -> Prepared:
    """Cuts the windows and plans every fit; says what they will take."""
    run = plan.run
    with board.stage("cut the windows"):
        frame = long_frame(run, source, verdict.dropped_features, verdict.dropped_series)
        windows = run.windows.window_params().without(verdict.dropped_features)
        panel = generate_lags(frame, windows, run, home / "panels")
        data = Data(panel, windows, split_of(run, panel))
        sizes = sizes_of(data, run.evaluation.stride, run.training.batch_size)
    for line in sizes.lines():
        board.say(f"  {line}")
    splits = (data.split, *refit_splits(run, data))
    fits = plan_fits(run, plan.variants, panel.folder, windows, splits, choose_device())
    if len(splits) > 1:
        board.say(f"  every variant is trained again after {run.evaluation.refit} test origins: {len(fits)} fits in all")
    return Prepared(frame, data, sizes, fits)


def _train(run: RunParams, prepared: Prepared, trainer: Trainer, board: Board) -> list[Fit]:
    """Trains every fit; each forecasts from its own process as soon as it is trained."""
    naive = naive_error(run, prepared.data)
    return train_fits(run.name, prepared.fits, trainer, board, naive, lambda fit: evaluate_variant(fit, prepared.data.panel))


def _judge(run: RunParams, prepared: Prepared, fits: Sequence[Fit], board: Board) -> list[Fit]:
    """The fits that are compared, none of which sees past its cutoff.  Raises Leak where one does."""
    judged = join_refits(fits)
    with board.stage("leakage canary"):
        try_canary(prepared.frame, run, prepared.data, judged)
    return judged


def _publish(
    plan: Plan, prepared: Prepared, fits: Sequence[Fit], verdict: Verdict, parent: str, home: Path, board: Board
) -> tuple[dict[str, Any], Provenance]:
    """Scores all models on the same rows and shows them in MLflow and Prefect."""
    about = Provenance(verdict, _command(plan), fingerprint(prepared.fits[0].job, prepared.data.panel.digest))
    with board.stage("score"):
        found = compare_variants(plan.run, prepared.data, _rows(fits), parent, about, home)
        artifacts.show_comparison(plan.run.name, parent, found)
    return found, about


def _command(plan: Plan) -> str:
    """What does the same again."""
    settings = [part for text in plan.settings for part in ("--set", text)]
    return shlex.join(["python", "-m", "flows", "compare", str(plan.path), *settings])


def _train_on_all_rows(
    run: RunParams, prepared: Prepared, fits: Sequence[Fit], chosen: str | None, trainer: Trainer, board: Board
) -> Fit | None:
    """The chosen fit trained once more on all rows; None where nothing was chosen or its params ask for none."""
    fit = next((fit for fit in fits if fit.label == chosen), None)
    if fit is None or fit.planned.variant.run.training.refit is None:
        return None
    (refit,) = train_fits(
        run.name,
        [planned_on_all_rows(fit)],
        trainer,
        board,
        then=lambda fit: evaluate_variant(fit, prepared.data.panel),
        stage="train on all rows",
    )
    if refit.finished:
        logs.share_datasets(trainer.parent, [refit.run_id])
    return refit


def _log_end(parent: str, fits: Sequence[Fit], board: Board) -> None:
    """Which fits may do better on another try, and what each stage took."""
    runs.try_again(parent, [fit.label for fit in fits if fit.result.again])
    logs.log_metrics(parent, {f"seconds_{name.replace(' ', '_')}": value for name, value in board.seconds.items()})


def _rows(fits: Sequence[Fit]) -> list[dict[str, Any]]:
    found = []
    for fit in fits:
        row: dict[str, Any] = {
            "label": fit.label, "variant": fit.variant, "family": fit.family, "seed": fit.job.training.seed,
            "seeded": fit.planned.seeded, "run_id": fit.run_id, "folder": str(fit.folder), "reused": fit.reused,
            "status": str(fit.result.status), "num_parameters": fit.result.num_parameters, "identity": fit.identity,
            "train_seconds": fit.result.train_seconds, "windows_per_second": fit.result.windows_per_second,
            "val_mae": fit.result.val_mae, "best_epoch": fit.result.best_epoch, "ended_by": fit.result.ended_by,
            "again": fit.result.again, "validation": fit.validation, "test": fit.test,
        }  # fmt: skip
        row |= {"reason": fit.result.reason} if fit.result.reason else {}
        if fit.evaluated is not None and fit.evaluated.memory is not None:
            card = fit.evaluated.memory
            row |= {"forecast_ms_per_series": fit.evaluated.forecast_ms_per_series, "weights_mb": fit.evaluated.weights_mb}
            row |= {"memory": asdict(card), "receptive_field": card.receptive_field, "memory_half_life": card.half_life}
        found.append(row)
    return found
