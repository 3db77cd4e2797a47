"""First look: one fit of each variant of a preset, as far as time allows, and the decision that follows.

Trigger: `python -m flows compare PARAMS --preset NAME` (`verbs/preset.py`), before search and comparison.
"""

import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from prefect import flow

from flows.prepared import Cut, begun
from flows.runtime import artifacts
from flows.runtime.pool import fits_at_a_time, train_fits
from flows.runtime.progress import Board
from flows.runtime.turns import ended_in_any_case
from params.errors import UserError
from params.load import Plan
from params.preset import Preset
from params.shown import discreet
from tasks.engine.choice import engine
from tasks.evaluate.estimate import most_seconds
from tasks.explore.costs import START
from tasks.grid.split import folds_of
from tasks.lags.sizes import sizes_of
from tasks.report.inputs import log_inputs
from tasks.tracking import runs
from tasks.train.check import check_target
from tasks.train.fits import Fit, Trainer
from tasks.train.identity import identity
from tasks.train.job import Planned, plan_fits
from tasks.tune.clock import Clock, Decision, Tried, begins, decision_file, recorded_decision
from tasks.tune.score import Ruler


@dataclass(frozen=True)
class Look:
    """The result of a first look: the variants that were tried and those that were left out.

    `file`: where the decision is recorded; `decided`: the decision already recorded there.
    `jobs`: fits at a time.  `folds`: how many validation ranges the data have room for.
    """

    file: Path
    jobs: int
    folds: int
    decided: Decision | None = None
    tried: tuple[Tried, ...] = ()
    left_out: tuple[str, ...] = ()


@flow(name="first look", flow_run_name=artifacts.run_name("first look"), validate_parameters=False)
@discreet
def first_look(params: str, settings: list[str], preset: Preset, name: str, clock: Clock, fresh: bool, plan: Plan) -> Look:
    """Tries every variant of a plan once, in order.  `name`: of the preset."""
    run = plan.run
    with begun(plan) as at:
        cut, board = at.cut, at.board
        fits = _fits(plan, cut)
        jobs = min(fits_at_a_time(fits, engine().device()), len(fits))
        file = decision_file(at.home, name, clock.minutes, [identity(fit.job, cut.data.panel.digest) for fit in fits])
        folds = _most_folds(plan, cut, preset.folds)
        if not fresh and (decided := recorded_decision(file)):
            return Look(file, jobs, folds, decided)
        parent, _ = runs.parent_run(at.experiment, f"first look {run.name}", file.stem, kind="first look")
        with ended_in_any_case(parent):
            log_inputs(parent, run, cut.data, at.source, cut.sizes, at.folder)
            trainer = Trainer(at.home, parent, board.epoch, board.say, threading.Event(), fresh)
            done, left_out = _within(clock, preset, run.name, fits, cut, trainer, board, jobs)
            ruler = Ruler.of(run, cut.data, at.folder)
            tried = tuple(_tried(fit, plan, ruler) for fit in done)
    return Look(file, jobs, folds, tried=tried, left_out=left_out)


def _fits(plan: Plan, cut: Cut) -> list[Planned]:
    """One fit per variant, without the ensembles, which are built in the comparison."""
    data, single = cut.data, {name: variant for name, variant in plan.variants.items() if not variant.members}
    single_plan = plan.only(list(single))
    fits = plan_fits(single_plan.run, single_plan.variants, data.panel.folder, data.windows, [data.split], engine().device())
    check_target(data.panel, [fit.job for fit in fits])
    return fits


def _most_folds(plan: Plan, cut: Cut, wanted: int) -> int:
    """The most validation ranges, up to `wanted`, that leave a third of the training windows."""
    run, data = plan.run, cut.data
    for folds in range(wanted, 1, -1):
        with suppress(UserError):
            split = run.split.model_copy(update={"folds": folds})
            *earlier, last = folds_of(run.model_copy(update={"split": split}), data.panel)
            sizes = sizes_of(replace(data, split=last, earlier=tuple(earlier)), run.evaluation.stride, run.training.batch_size)
            if 3 * sizes.earlier[0]["train"] >= sizes.budget.windows["train"]:
                return folds
    return 1


def _within(
    clock: Clock, preset: Preset, name: str, fits: Sequence[Planned], cut: Cut, trainer: Trainer, board: Board, jobs: int
) -> tuple[list[Fit], tuple[str, ...]]:
    """The fits that the clock allowed to start, as many at a time as the engine runs; names of the others."""
    estimates = most_seconds(cut.data, cut.sizes, fits)
    done: list[Fit] = []
    left_out: list[str] = []
    asked = took = 0.0
    for start in range(0, len(fits), jobs):
        group, seconds = fits[start : start + jobs], estimates[start : start + jobs]
        pace = took / asked if asked else 1.0
        if start and not begins(clock, preset.clock.variants, seconds, pace, jobs):
            left_out += [fit.label for fit in group]
            continue
        done += train_fits(name, group, trainer, board)
        asked, took = asked + sum(seconds), took + sum(START + fit.result.train_seconds for fit in done[-len(group) :])
    return done, tuple(left_out)


def _tried(fit: Fit, plan: Plan, ruler: Ruler) -> Tried:
    return Tried(
        name=fit.variant,
        seconds=START + fit.result.train_seconds,
        score=ruler.score([fit]) if fit.finished else None,
        seeded=fit.planned.seeded,
        searched=bool(plan.variants[fit.variant].search),
    )
