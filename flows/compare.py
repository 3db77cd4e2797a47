"""Compare: check the data, cut windows, train every variant, score them side by side, register the best as challenger.

Trigger: by hand or on a schedule (`python -m flows compare PARAMS`).  Needs a Prefect API (`runtime/server.py` brings one).
Nothing is cached by Prefect: a fit that is done is found by its identity in LAGLINE_HOME.
"""

import json
import shlex
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from prefect import flow
from prefect.futures import PrefectFuture
from prefect.task_runners import ThreadPoolTaskRunner

from flows.runtime import artifacts
from flows.runtime.progress import Board
from flows.runtime.state import ready
from models.data.panel import Data, Panel
from params.errors import ChecksFailed
from params.load import load_run, load_variant
from params.schema import RunParams
from tasks.compare.compare import naive_error
from tasks.evaluate.canary import try_canary
from tasks.evaluate.forecasts import evaluate_variant
from tasks.evaluate.rolling import join_refits, refit_splits
from tasks.grid.split import split_of
from tasks.lags.panel import generate_lags
from tasks.lags.sizes import budget, counts_lines, window_counts
from tasks.load.source import load_series, long_frame
from tasks.locks import Held, lock
from tasks.registry.register import register_best
from tasks.report.inputs import log_failed_checks, log_inputs
from tasks.report.publish import compare_variants
from tasks.tracking import connection, logs, runs
from tasks.train.device import cautions, choose_device, concurrent_fits
from tasks.train.final import planned_on_all_rows
from tasks.train.fits import Fit, Trainer, train_variant
from tasks.train.identity import canonical, fingerprint, judging_digest, sha256
from tasks.train.job import Planned, plan_fits
from tasks.train.process import fit_folder
from tasks.validate.suite import validate_series


@flow(name="compare", flow_run_name="compare {params}", validate_parameters=False)
def compare(params: str, settings: list[str], fresh: bool = False) -> dict[str, Any]:
    """The main job; returns what was chosen, the scores of every model, and what was registered."""
    home, run = ready(), load_run(params, settings)
    with Board() as board, tempfile.TemporaryDirectory() as folder:
        with board.stage("open the store"):
            connection.connect(home)
            experiment = runs.experiment(run.name, home)
        with board.stage("check the data"):
            source = load_series(run)
            checks = _checked(run, experiment, Path(folder), board)
        with _alone(home, board):
            with board.stage("cut the windows"):
                frame, windows = long_frame(run, checks), run.windows.window_params().without(checks["dropped_features"])
                panel = generate_lags(frame, windows, run, home / "panels")
                data = Data(panel, windows, split_of(run, panel))
                counts = window_counts(data, run.evaluation.stride)
                needs = budget(counts, windows, run.training.batch_size)
            for line in (needs.line(), *counts_lines(counts)):
                board.say(f"  {line}")
            plan = _plan(run, params, settings, data)
            if len(plan) > len(run.variants) * run.training.seeds:
                board.say(
                    f"  every variant is trained again after {run.evaluation.refit} test origins: {len(plan)} fits in all"
                )
            parent, finished = runs.parent_run(experiment, run.name, _identity(run, plan, home), fresh)
            if finished:
                return {"parent": parent, "name": run.name, "unchanged": True}
            with _ended_in_any_case(parent):
                log_inputs(parent, run, data, source, counts, needs, Path(folder))
                naive = naive_error(run, data)
                fits = _train(plan, run, home, parent, fresh, board, naive, lambda fit: evaluate_variant(fit, panel))
                about = {
                    "checks": json.loads((Path(folder) / "checks.json").read_text()),
                    "command": _command(params, settings),
                    "fingerprint": fingerprint(plan[0].job, panel.digest),
                }
                with board.stage("leakage canary"):
                    first = join_refits(fits)
                    try_canary(frame, run, data, first)
                with board.stage("score"):
                    found = compare_variants(run, data, _rows(first), parent, about, home)
                    artifacts.show_comparison(run.name, parent, found)
                refit = _refit(run, first, found["chosen"], home, parent, fresh, board, panel)
                with board.stage("register"):
                    registered = register_best(run, found, first, home, about, refit)
                runs.try_again(parent, [fit.label for fit in filter(None, (*fits, refit)) if fit.result.again])
                logs.log_metrics(parent, {f"seconds_{name.replace(' ', '_')}": value for name, value in board.seconds.items()})
        failed = [f"{fit.label}: {fit.result.reason}" for fit in first if not fit.finished]
        ended = {"parent": parent, "name": run.name, "registered": registered, "seconds": board.seconds}
        return ended | {"failed": failed if len(failed) == len(first) else []}


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


@contextmanager
def _alone(home: Path, board: Board) -> Iterator[None]:
    """One comparison at a time in a state folder: two would log into the same runs and train in the same folders."""
    with ExitStack() as taken:
        try:
            taken.enter_context(lock(home, "compare", wait=False))
        except Held as held:
            board.say(f"waiting: {held}")
            taken.enter_context(lock(home, "compare"))
        yield


@contextmanager
def _ended_in_any_case(run_id: str) -> Iterator[None]:
    """Ends a run as finished, killed (Ctrl-C) or failed; waits, until then, for a tracking server that is away."""
    try:
        with connection.patience():
            yield
            runs.finish(run_id)
    except BaseException as error:
        runs.abandon(run_id, "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        raise


def _plan(run: RunParams, params: str, settings: list[str], data: Data) -> list[Planned]:
    """Every fit of the run, then those that repeat each as time goes on."""
    variants = {name: load_variant(name, params, settings) for name in run.variants}
    splits = (data.split, *refit_splits(run, data))
    return plan_fits(run, variants, data.panel.folder, data.windows, splits, choose_device())


def _command(params: str, settings: list[str]) -> str:
    """What does the same again."""
    return shlex.join(["python", "-m", "flows", "compare", params, *(part for text in settings for part in ("--set", text))])


def _identity(run: RunParams, plan: Sequence[Planned], home: Path) -> str:
    """The identity of a comparison: that of its fits, what judges them, and on what the chosen one is trained again."""
    facts = {
        "fits": {fit.label: fit_folder(fit.job, home).name for fit in plan},
        "refit": {fit.label: fit.variant.run.training.refit for fit in plan},
        "evaluation": run.evaluation.model_dump(mode="json"),
        "judged_by": judging_digest(),
        "name": run.name,
    }
    return sha256(canonical(facts))


def _checked(run: RunParams, experiment: str, folder: Path, board: Board) -> dict[str, Any]:
    """The verdict of the checks; where they fail, it is in MLflow before the flow stops."""
    checks: dict[str, Any] = validate_series(run, folder)
    for line in checks["notes"]:
        if checks["passed"] or not line.startswith("fail"):  # what fails is told once, at the end
            board.say(f"  {line}")
    if not checks["passed"]:
        failed = log_failed_checks(experiment, run, folder)
        raise ChecksFailed(
            f"{checks['message']}\nNothing was trained; the whole report is in MLflow (run {failed}, checks/checks.html)."
        )
    return checks


def _refit(
    run: RunParams, fits: Sequence[Fit], chosen: str | None, home: Path, parent: str, fresh: bool, board: Board, panel: Panel
) -> Fit | None:
    """The chosen fit trained once more on all rows; None where nothing was chosen or its params ask for none."""
    fit = next((fit for fit in fits if fit.label == chosen), None)
    if fit is None or fit.planned.variant.run.training.refit is None:
        return None
    again = planned_on_all_rows(fit)
    (refit,) = _train(
        [again], run, home, parent, fresh, board, None, lambda fit: evaluate_variant(fit, panel), "train on all rows"
    )
    if refit.finished:
        logs.share_datasets(parent, [refit.run_id])
        runs.finish(refit.run_id)
    return refit


def _train(
    plan: Sequence[Planned],
    run: RunParams,
    home: Path,
    parent: str,
    fresh: bool,
    board: Board,
    naive: float | None,
    then: Callable[[Fit], Fit],
    stage: str = "train",
) -> list[Fit]:
    """All fits, as many at a time as the machine carries; the first that breaks (not: fails) stops the others.

    `then` is called with each fit that has ended, while others train.
    """
    device = choose_device()
    jobs = concurrent_fits(run.training.threads, device)
    board.say(f"train {len(plan)} fits on {device}, {min(jobs, len(plan))} at a time")
    for line in cautions([fit.variant for fit in plan], min(jobs, len(plan)), device):
        board.say(f"  {line}")
    trainer = Trainer(home, parent, board.epoch, board.say, threading.Event(), fresh)
    done: dict[str, Fit] = {}
    runner: ThreadPoolTaskRunner[Any] = ThreadPoolTaskRunner(max_workers=jobs)
    with board.stage(stage), runner:
        shown = artifacts.start_progress(run.name, len(plan))
        board.fits({fit.label: fit.most_epochs for fit in plan}, naive)
        waiting: list[PrefectFuture[Any]] = [runner.submit(train_variant, {"planned": fit, "trainer": trainer}) for fit in plan]
        try:
            for future in _as_they_end(waiting):
                fit = then(future.result())
                done[fit.label] = fit
                board.fit_done(fit)
                artifacts.progress(shown, len(done), len(plan), fit.label)
        except BaseException:
            trainer.stop.set()
            connection.give_up()
            board.say("stopping after the step that each fit is at ...")
            raise
        finally:
            board.fits_done()
    return [done[fit.label] for fit in plan]


def _as_they_end(futures: list[PrefectFuture[Any]]) -> Iterator[PrefectFuture[Any]]:
    """The futures in the order in which they end; waits in short turns, so that Ctrl-C is heard at once."""
    ended: SimpleQueue[PrefectFuture[Any]] = SimpleQueue()
    for future in futures:
        future.add_done_callback(ended.put)
    for _ in futures:
        while True:
            with suppress(Empty):
                yield ended.get(timeout=0.3)
                break
