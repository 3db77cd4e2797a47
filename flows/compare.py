"""Compare: check the data, cut windows, train every variant, score them side by side, register the best as challenger.

Trigger: by hand or on a schedule (`python -m flows compare PARAMS`).  Needs a Prefect API (`runtime/server.py` brings one).
Nothing is cached by Prefect: a fit that is done is found by its identity in LAGLINE_HOME.
"""

import json
import shlex
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from prefect import flow
from prefect.futures import PrefectFuture
from prefect.task_runners import ThreadPoolTaskRunner

from flows.runtime import artifacts
from flows.runtime.progress import Board
from flows.runtime.state import ready
from models.data.panel import Panel, Split
from models.data.window import WindowParams
from params.errors import ChecksFailed
from params.load import load_run, load_variant
from params.schema import RunParams
from tasks import tracking
from tasks.compare.compare import naive_error
from tasks.evaluate.canary import try_canary
from tasks.evaluate.forecasts import evaluate_variant
from tasks.evaluate.rolling import MARK, join_refits, label_of, refit_splits
from tasks.grid.split import split_of
from tasks.lags.sizes import budget, counts_lines, window_counts
from tasks.lags.table import generate_lags
from tasks.load.source import load_series, long_frame
from tasks.locks import Held, lock
from tasks.registry.register import register_best
from tasks.report.inputs import log_failed_checks, log_inputs
from tasks.report.publish import compare_variants
from tasks.train.device import cautions, choose_device, concurrent_fits
from tasks.train.final import label_of as label_of_refit
from tasks.train.final import not_finite, refit_job
from tasks.train.fits import make_job, most_epochs, planned_fits, train_variant
from tasks.train.identity import canonical, fingerprint, sha256
from tasks.train.process import finished_result, fit_folder
from tasks.validate.suite import validate_series


@flow(name="compare", flow_run_name="compare {params}", validate_parameters=False)
def compare(params: str, settings: list[str], fresh: bool = False) -> dict[str, Any]:
    """The main job; returns what was chosen, the scores of every model, and what was registered."""
    home, run = ready(), load_run(params, settings)
    with Board() as board, tempfile.TemporaryDirectory() as folder:
        with board.stage("open the store"):
            tracking.connect(home)
            experiment = tracking.experiment(run.name, home)
        with board.stage("check the data"):
            source = load_series(run)
            checks = _checked(run, experiment, Path(folder), board)
        with _alone(home, board):
            with board.stage("cut the windows"):
                frame, windows = long_frame(run, checks), run.windows.window_params().without(checks["dropped_features"])
                panel = generate_lags(frame, windows, run, home / "panels")
                split = split_of(run, Panel.open(panel))
                counts = window_counts(Panel.open(panel), windows, split, run.evaluation.stride)
                needs = budget(counts, windows, run.training.batch_size)
            for line in (needs.line(), *counts_lines(counts)):
                board.say(f"  {line}")
            fits = _plan(run, params, settings, panel, windows, split)
            if len(fits) > len(run.variants) * run.training.seeds:
                board.say(
                    f"  every variant is trained again after {run.evaluation.refit} test origins: {len(fits)} fits in all"
                )
            jobs_of = {label: job for label, (_, job) in fits.items()}
            parent, finished = tracking.parent_run(experiment, run.name, _identity(run, fits, home), fresh)
            if finished:
                return {"parent": parent, "name": run.name, "unchanged": True}
            with _ended_in_any_case(parent):
                log_inputs(parent, run, panel, source, windows, counts, needs, Path(folder))
                naive = naive_error(run, Panel.open(panel), split, windows)
                trained = _train(fits, home, parent, run, fresh, board, naive)
                with board.stage("forecast and score"):
                    evaluated = join_refits(
                        [evaluate_variant(fit["label"].partition(MARK)[0], fit, jobs_of[fit["label"]]) for fit in trained]
                    )
                    about = {
                        "checks": json.loads((Path(folder) / "checks.json").read_text()),
                        "command": _command(params, settings),
                    }
                    about["fingerprint"] = fingerprint(next(iter(jobs_of.values())), Panel.open(panel).digest)
                    found = compare_variants(run, panel, split, windows, evaluated, parent, about, home)
                    artifacts.show_comparison(run.name, parent, found)
                with board.stage("leakage canary"):
                    try_canary(frame, run, windows, split, evaluated, jobs_of)
                refit = _refit(run, found["chosen"], fits, home, parent, fresh, board)
                with board.stage("register"):
                    registered = register_best(run, found, evaluated, jobs_of, home, about, refit)
                tracking.try_again(parent, [fit["label"] for fit in filter(None, (*trained, refit)) if fit.get("again")])
                tracking.log_metrics(
                    parent, {f"seconds_{name.replace(' ', '_')}": value for name, value in board.seconds.items()}
                )
        failed = [f"{fit['label']}: {fit.get('reason', 'failed')}" for fit in evaluated if fit["status"] != "finished"]
        ended = {"parent": parent, "name": run.name, "registered": registered, "seconds": board.seconds}
        return ended | {"failed": failed if len(failed) == len(evaluated) else []}


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
        with tracking.patience():
            yield
            tracking.finish(run_id)
    except BaseException as error:
        tracking.abandon(run_id, "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        raise


def _plan(run: RunParams, params: str, settings: list[str], panel: str, windows: WindowParams, split: Split) -> dict[str, Any]:
    """Every fit of the run: label -> (its params, its job)."""
    device = choose_device()
    variants = {name: load_variant(name, params, settings) for name in run.variants}
    again = refit_splits(run, Panel.open(panel), windows, split)
    return {
        label_of(label, number + 1) if number else label: (
            variants[name],
            make_job(variants[name], seed, Path(panel), windows, borders, device),
        )
        for number, borders in enumerate((split, *again))
        for label, name, seed in planned_fits(run, variants)
    }


def _command(params: str, settings: list[str]) -> str:
    """What does the same again."""
    return shlex.join(["python", "-m", "flows", "compare", params, *(part for text in settings for part in ("--set", text))])


def _identity(run: RunParams, fits: Mapping[str, Any], home: Path) -> str:
    """The identity of a comparison: that of its fits, how they are evaluated, and on what the chosen one is trained again."""
    facts = {
        "fits": {label: fit_folder(job, home).name for label, (_, job) in fits.items()},
        "refit": {label: variant.run.training.refit for label, (variant, _) in fits.items()},
        "evaluation": run.evaluation.model_dump(mode="json"),
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
    run: RunParams, chosen: str | None, fits: Mapping[str, Any], home: Path, parent: str, fresh: bool, board: Board
) -> dict[str, Any] | None:
    """The chosen variant trained once more on all rows, with its `job`; None where nothing was chosen or its params ask for
    none."""
    if chosen is None or fits[chosen][0].run.training.refit is None:
        return None
    variant, job = fits[chosen]
    result = finished_result(fit_folder(job, home))
    assert result is not None  # it was chosen
    again = refit_job(job, result)
    only = {label_of_refit(chosen): (variant, again)}
    (fit,) = _train(only, home, parent, run, fresh, board, None, "train on all rows")
    if fit["status"] == "finished" and not_finite(again, Path(fit["folder"])):
        fit |= {"status": "failed", "reason": "forecasts are not finite"}
    if fit["status"] == "finished":
        tracking.share_datasets(parent, [fit["run_id"]])
        tracking.finish(fit["run_id"])
    return fit | {"job": again}


def _train(
    fits: Mapping[str, Any],
    home: Path,
    parent: str,
    run: RunParams,
    fresh: bool,
    board: Board,
    naive: float | None,
    stage: str = "train",
) -> list[dict[str, Any]]:
    """All fits, as many at a time as the machine carries; the first that breaks (not: fails) stops the others."""
    device = choose_device()
    jobs = concurrent_fits(run.training.threads, device)
    board.say(f"train {len(fits)} fits on {device}, {min(jobs, len(fits))} at a time")
    for line in cautions([variant for variant, _ in fits.values()], min(jobs, len(fits)), device):
        board.say(f"  {line}")
    stop = threading.Event()
    done: dict[str, dict[str, Any]] = {}
    runner: ThreadPoolTaskRunner[Any] = ThreadPoolTaskRunner(max_workers=jobs)
    with board.stage(stage), runner:
        shown = artifacts.start_progress(run.name, len(fits))
        board.fits({label: most_epochs(variant, job) for label, (variant, job) in fits.items()}, naive)
        waiting: list[PrefectFuture[Any]] = [
            runner.submit(
                train_variant,
                {
                    "label": label,
                    "variant": variant,
                    "job": job,
                    "home": home,
                    "parent": parent,
                    "on_epoch": board.epoch,
                    "say": board.say,
                    "stop": stop,
                    "fresh": fresh,
                },
            )
            for label, (variant, job) in fits.items()
        ]
        try:
            for future in _as_they_end(waiting):
                result = future.result()
                done[result["label"]] = result
                board.fit_done(result)
                artifacts.progress(shown, len(done), len(fits), result["label"])
        except BaseException:
            stop.set()
            tracking.give_up()
            board.say("stopping after the step that each fit is at ...")
            raise
        finally:
            board.fits_done()
    return [done[label] for label in fits]


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
