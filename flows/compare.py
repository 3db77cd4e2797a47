"""Compare: check the data, cut windows, train and score every variant, register the best as challenger.

Trigger: by hand or on a schedule (`python -m flows compare PARAMS`).  Needs a Prefect API
(`runtime/server.py` starts one).  Prefect caches nothing: finished fits are found in LAGLINE_HOME.
"""

import shlex
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from prefect import flow

from flows.prepared import Cut, begun
from flows.runtime import artifacts
from flows.runtime.pool import fits_at_a_time, train_fits
from flows.runtime.progress import Board
from flows.runtime.turns import ended_in_any_case
from params.load import Plan, load_plan
from params.schema import RunParams
from params.shown import discreet, masked
from tasks.compare.folds import naive_errors
from tasks.engine.choice import engine
from tasks.evaluate.baseline_origins import with_whole_members
from tasks.evaluate.baselines import Baselines, only_fitted, only_naive, write_baselines
from tasks.evaluate.canary import try_canary
from tasks.evaluate.estimate import estimate
from tasks.evaluate.folds import join_folds
from tasks.evaluate.forecasts import evaluate_variant
from tasks.evaluate.rolling import join_refits, refit_splits
from tasks.registry.register import register_best
from tasks.registry.standing import fallen
from tasks.registry.versions import Registered
from tasks.report.inputs import log_inputs
from tasks.report.publish import Compared, compare_variants
from tasks.tracking import logs, runs
from tasks.train.check import check_target
from tasks.train.final import planned_on_all_rows
from tasks.train.fits import Fit, Trainer
from tasks.train.identity import Provenance, comparison_identity, fingerprint
from tasks.train.job import Planned, plan_fits
from tasks.train.kind import Kind


@dataclass(frozen=True)
class Comparison:
    """What the flow returns: its MLflow run, the results and what was registered.

    `unchanged`: an equal comparison already existed.  `failed`: why each fit failed, if all of them did.
    """

    name: str
    parent: str
    unchanged: bool = False
    compared: Compared | None = None
    registered: Registered | None = None
    failed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Prepared:
    """What is trained and judged: the data with their windows, and every planned fit."""

    cut: Cut
    fits: list[Planned]


@flow(name="compare", flow_run_name=artifacts.run_name("compare"), validate_parameters=False)
@discreet
def compare(params: str, settings: list[str], fresh: bool = False, plan: Plan | None = None) -> Comparison:
    """Runs a whole comparison; nothing is published before the leakage canary has passed.

    `plan`: the file and the settings, where the caller has already read them.
    """
    plan = plan or load_plan(params, settings)
    run = plan.run
    with begun(plan) as at:
        cut, board = at.cut, at.board
        prepared = _planned(plan, cut, board)
        parent, finished = runs.parent_run(at.experiment, run.name, comparison_identity(run, prepared.fits), fresh)
        gone = fallen(run.name, parent) if finished else None
        if gone:
            board.say(f"  {gone}: what was registered is registered again")
            runs.go_on(parent)
        elif finished:
            return Comparison(run.name, parent, unchanged=True)
        with ended_in_any_case(parent):
            log_inputs(parent, run, cut.data, at.source, cut.sizes, at.folder)
            trainer = Trainer(at.home, parent, board.epoch, board.say, threading.Event(), fresh)
            trained, baselines = _train(run, prepared, trainer, board, at.folder)
            judged = _judge(run, prepared, trained, board)
            about = Provenance(at.verdict, _command(plan), fingerprint(prepared.fits[0].job, cut.data.panel.digest))
            compared = _publish(run, prepared, judged, baselines, parent, about, at.home, board)
            refit = _train_on_all_rows(run, prepared, judged, compared.found.chosen_fit, trainer, board)
            with board.stage("register"):
                verdict = compared.told.verdict
                registered = register_best(run, compared.found, judged, parent, at.home, about, refit, verdict)
                registered = replace(registered, why=registered.why or gone)
            board.log(registered.words(run.name))
            _log_end(parent, [*trained, *([refit] if refit else [])], board)
    failed = tuple(f"{fit.label}: {fit.result.reason}" for fit in judged if not fit.finished)
    return Comparison(
        run.name, parent, compared=compared, registered=registered, failed=failed if len(failed) == len(judged) else ()
    )


def _planned(plan: Plan, cut: Cut, board: Board) -> Prepared:
    """Plans every fit and announces how long they will take."""
    run, data = plan.run, cut.data
    splits = (data.split, *refit_splits(run, data))
    device = engine().device()
    variants = with_whole_members(plan.variants, run, data)
    for name, whole in variants.items():
        if less := [member.variant for member in plan.variants[name].members if member not in whole.members]:
            board.say(f"  {name} leaves out {' and '.join(less)}, fitted at some origins only (evaluation.baseline_origins)")
    fits = plan_fits(run, variants, data.panel.folder, data.windows, splits, device, data.earlier)
    check_target(data.panel, [fit.job for fit in fits])
    if engine().here and device == "cpu":
        jobs = min(fits_at_a_time(fits, device), len(fits))
        board.say(f"  {estimate(run, data, cut.sizes, fits, jobs).line()}")
    if data.earlier:
        board.say(f"  every variant is trained for each of {len(data.folds)} validation ranges: {len(fits)} fits in all")
    if len(splits) > 1:
        board.say(f"  every variant is trained again after {run.evaluation.refit} test origins: {len(fits)} fits in all")
    return Prepared(cut, fits)


def _train(run: RunParams, prepared: Prepared, trainer: Trainer, board: Board, folder: Path) -> tuple[list[Fit], Baselines]:
    """Trains every fit, each forecasting from its own process; the baselines forecast meanwhile."""
    data = prepared.cut.data
    naive = write_baselines(only_naive(run), data, folder)
    errors = naive_errors(run, data, naive)

    def fitted() -> Baselines:
        with board.stage("fitted baselines") as stage:

            def on_progress(name: str, done: int, total: int) -> None:
                if trainer.stop.is_set():
                    raise KeyboardInterrupt
                stage.advance(done, total, name)

            return write_baselines(only_fitted(run), data, folder, on_progress)

    with ThreadPoolExecutor(max_workers=1) as pool:
        slow = pool.submit(fitted) if only_fitted(run).evaluation.baselines else None
        try:
            fits = train_fits(run.name, prepared.fits, trainer, board, errors, lambda fit: evaluate_variant(fit, data.panel))
            return fits, naive.joined(slow.result()) if slow else naive
        except BaseException:
            trainer.stop.set()  # the pool waits for the fit that a baseline is working on
            raise


def _judge(run: RunParams, prepared: Prepared, fits: Sequence[Fit], board: Board) -> list[Fit]:
    """The fits to compare, after a check that none, nor any fold, sees past its cutoff.  Raises Leak."""
    judged = join_folds(join_refits(fits))
    with board.stage("leakage canary"):
        try_canary(prepared.cut.frame, run, prepared.cut.data, [fit for fit in fits if fit.planned.kind is not Kind.REFIT])
    return judged


def _publish(
    run: RunParams,
    prepared: Prepared,
    fits: Sequence[Fit],
    baselines: Baselines,
    parent: str,
    about: Provenance,
    home: Path,
    board: Board,
) -> Compared:
    """Scores all models on the same rows and shows them in MLflow and Prefect."""
    with board.stage("score") as stage:
        compared = compare_variants(run, prepared.cut.data, fits, baselines, parent, about, home, stage.advance)
        artifacts.show_comparison(run.name, parent, compared)
    board.log(compared.told.verdict.sentence)
    return compared


def _command(plan: Plan) -> str:
    """The command that repeats this comparison, as MLflow and the report store it: secrets masked."""
    settings = [part for text in plan.settings for part in ("--set", text)]
    return masked(shlex.join(["python", "-m", "flows", "compare", str(plan.path), *settings]))


def _train_on_all_rows(
    run: RunParams, prepared: Prepared, fits: Sequence[Fit], chosen: str, trainer: Trainer, board: Board
) -> Fit | None:
    """The chosen fit, trained again on all rows; None if a baseline was chosen or no refit is asked for."""
    fit = next((fit for fit in fits if fit.label == chosen), None)
    if fit is None or fit.planned.variant.run.training.refit is None:
        return None
    (refit,) = train_fits(
        run.name,
        [planned_on_all_rows(fit)],
        trainer,
        board,
        then=lambda fit: evaluate_variant(fit, prepared.cut.data.panel),
        stage="train on all rows",
    )
    if refit.finished:
        logs.share_datasets(trainer.parent, [refit.run_id])
    return refit


def _log_end(parent: str, fits: Sequence[Fit], board: Board) -> None:
    """Records which fits may succeed on another try, and how long each stage took."""
    runs.try_again(parent, [fit.label for fit in fits if fit.result.again])
    logs.log_metrics(parent, {f"seconds_{name.replace(' ', '_')}": value for name, value in board.seconds.items()})
