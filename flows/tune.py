"""Tune: search better values for variants; each trial is a fit judged on validation alone.

Trigger: by hand (`python -m flows tune PARAMS`).  Trials are kept in `tune.db` (`tasks/tune/store.py`):
a search that was killed resumes with the trials that were running and ends the same.
"""

import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from prefect import flow
from prefect.futures import PrefectFuture
from prefect.task_runners import ThreadPoolTaskRunner

from flows.prepared import begun
from flows.runtime import artifacts
from flows.runtime.pool import fits_at_a_time
from flows.runtime.progress import Board
from flows.runtime.state import ready
from flows.runtime.turns import ended_in_any_case
from models.data.panel import Data
from params.load import Plan
from params.shown import discreet
from tasks.engine.choice import engine
from tasks.report.inputs import log_inputs
from tasks.report.tuning import Found, publish_search
from tasks.tracking import connection, runs
from tasks.train.check import check_target
from tasks.train.fits import Trainer
from tasks.train.job import Planned
from tasks.tune.draw import draw
from tasks.tune.files import best_as_file, file_of
from tasks.tune.halving import Halving
from tasks.tune.score import Ruler
from tasks.tune.space import Space, searched
from tasks.tune.store import Search, Store, identity_of
from tasks.tune.study import Asked, planned, run_trial
from tasks.tune.trial import AHEAD, Trial, known_to, ranked


@dataclass(frozen=True)
class Limits:
    """When a search ends: after `trials` in all, or after `minutes`, including those before a kill.
    `seed`: of the draws.  `out`: the file for the best, by default next to the variant's own."""

    trials: int | None = None
    minutes: float | None = None
    seed: int = 0
    out: Path | None = None


@dataclass(frozen=True)
class Tuned:
    """What the flow returns: the search with its trials, its MLflow run, the files written by variant."""

    found: Found
    parent: str
    files: Mapping[str, Path]
    minutes: float


@flow(name="tune", flow_run_name=artifacts.run_name("tune"), validate_parameters=False)
@discreet
def tune(params: str, settings: list[str], limits: Limits, plan: Plan) -> Tuned:
    """Searches the variants of a plan; `plan` is `params` with `settings`."""
    home, run = ready(), plan.run
    spaces, store = searched(plan), Store(home)
    with begun(plan) as at:
        cut, board = at.cut, at.board
        as_they_are = _as_they_are(plan, cut.data)
        search = _search(plan, limits.seed, as_they_are, spaces)
        parent, _ = runs.parent_run(at.experiment, f"tune {run.name}", search.identity, kind="tuning")
        runs.go_on(parent)
        with ended_in_any_case(parent):
            log_inputs(parent, run, cut.data, at.source, cut.sizes, at.folder)
            ruler = Ruler.of(run, cut.data, at.folder)
            trainer = Trainer(home, parent, board.epoch, board.say, threading.Event())
            loop = _Loop(plan, spaces, limits, store, store.begin(search, spaces), trainer, ruler, board)
            loop.run()
            result = loop.found()
            with board.stage("publish the search"):
                files = _write(plan, result, limits)
                publish_search(result, parent, at.folder)
    return Tuned(result, parent, files, loop.elapsed() / 60)


def _as_they_are(plan: Plan, data: Data) -> dict[str, list[Planned]]:
    """The fits of each variant with its own, untuned values."""
    device = engine().device()
    fits = {}
    for name, variant in plan.variants.items():
        fits[name] = planned(Trial(variant=name, number=0, values={}), variant, data, device)
        check_target(data.panel, [fit.job for fit in fits[name]])
    return fits


def _search(plan: Plan, seed: int, fits: Mapping[str, Sequence[Planned]], spaces: Mapping[str, Space]) -> Search:
    """The search that a plan asks for; draws look at least as far ahead as fits run at a time."""
    run = plan.run
    jobs = fits_at_a_time([fit for some in fits.values() for fit in some], engine().device())
    return Search(
        identity=identity_of(run, fits, spaces, seed),
        run=run.name,
        seed=seed,
        ahead=max(AHEAD, -(-jobs // len(spaces))),
        measure=run.evaluation.choose_by,
        folds=run.split.folds,
    )


class _Loop:
    """Runs trials, alternating between variants, until a limit is reached."""

    def __init__(
        self,
        plan: Plan,
        spaces: Mapping[str, Space],
        limits: Limits,
        store: Store,
        search: Search,
        trainer: Trainer,
        ruler: Ruler,
        board: Board,
    ) -> None:
        self.plan, self.spaces, self.limits, self.store, self.search = plan, spaces, limits, store, search
        self.trainer, self.ruler, self.board = trainer, ruler, board
        self.device, self.names, self.place = engine().device(), list(spaces), 0
        self.trials = {name: store.trials(search, name) for name in spaces}
        self.started = time.monotonic()

    def elapsed(self) -> float:
        """Seconds that the search has run, including those before a kill."""
        return self.search.spent + time.monotonic() - self.started

    def found(self) -> Found:
        """Everything known about the search so far."""
        importance = {name: self.store.importance(self.search, name) for name in self.names}
        return Found(self.plan.run, self.search, self.spaces, self.trials, importance)

    def run(self) -> None:
        """Runs all trials.  Raises the error of a trial that breaks, after asking the others to stop."""
        slots = self._slots()
        self._announce(slots)
        runner: ThreadPoolTaskRunner[Any] = ThreadPoolTaskRunner(max_workers=slots)
        ended: SimpleQueue[PrefectFuture[Any]] = SimpleQueue()
        with self.board.stage("search"), runner:
            running = 0
            try:
                while True:
                    while running < slots and (trial := self._next()) is not None:
                        given = {"asked": self._asked(trial), "trainer": self.trainer, "ruler": self.ruler}
                        runner.submit(run_trial, given).add_done_callback(ended.put)
                        running += 1
                    if not running:
                        return
                    with suppress(Empty):  # short waits, so that Ctrl-C takes effect at once
                        self._end(ended.get(timeout=0.3).result())
                        running -= 1
            except BaseException:
                self.trainer.stop.set()
                connection.give_up()
                self.board.say("stopping after the step that each fit is at ...")
                raise
            finally:
                self.board.fits_done()

    def _slots(self) -> int:
        fits = [fit for name in self.names for fit in self._fits(Trial(variant=name, number=0, values={}))]
        return min(fits_at_a_time(fits, self.device), self.search.ahead * len(self.names))

    def _announce(self, slots: int) -> None:
        limits, there = self.limits, sum(trial.ended for some in self.trials.values() for trial in some)
        ends = [f"{limits.trials} trials" if limits.trials else "", f"{limits.minutes:g} minutes" if limits.minutes else ""]
        words = f"search {', '.join(self.names)} for {' or '.join(filter(None, ends))}, {slots} fits at a time"
        self.board.say(words + (f"; {there} trials are there already" if there else ""))
        if limits.minutes is not None and self.elapsed() >= 60 * limits.minutes:
            self.board.say(f"  the search has run for {self.elapsed() / 60:.1f} minutes before: ask for more than that")
        for name, space in self.spaces.items():
            if space.fixed:
                self.board.say(f"  {name}: not searched, since --set holds them fast: {', '.join(space.fixed)}")
            if space.outside:
                self.board.say(f"  {name} is not tried as it is: its search leaves out its own {', '.join(space.outside)}")

    def _next(self) -> Trial | None:
        """The next trial: one that a killed process was running, or a new one; None if none is due."""
        while True:
            name, number = self.names[self.place % len(self.names)], self.place // len(self.names)
            trials = self.trials[name]
            if self.limits.trials is not None and self.place >= self.limits.trials:
                return None
            if number < len(trials):
                self.place += 1
                if trials[number].ended:
                    continue
                return trials[number]
            over = self.limits.minutes is not None and self.elapsed() >= 60 * self.limits.minutes
            if over or not all(trial.ended for trial in known_to(number, trials, self.search.ahead)):
                return None
            values = draw(self.spaces[name], trials, self.search.seed, number, self.search.ahead)
            trials.append(self.store.add(self.search, self.spaces[name], values, number))

    def _fits(self, trial: Trial) -> list[Planned]:
        values = self.spaces[trial.variant].changed(trial.values) if trial.values else {}
        return planned(trial, self.plan.tuned(trial.variant, trial.variant, values)[0], self.ruler.data, self.device)

    def _asked(self, trial: Trial) -> Asked:
        fits = self._fits(trial)
        training = self.plan.variants[trial.variant].run.training
        others = [other.rungs for other in known_to(trial.number, self.trials[trial.variant], self.search.ahead)]
        halving = Halving.of(training.max_epochs, self.spaces[trial.variant].column, others)
        self.board.fit_begins(trial.label, fits[0].most_epochs)
        return Asked(trial, fits, halving, lambda *heard: self.store.heard(self.search, *heard))

    def _end(self, trial: Trial) -> None:
        self.store.end(self.search, trial)
        self.store.spend(self.search, self.elapsed())
        self.trials[trial.variant][trial.number] = trial
        best = ranked(self.trials[trial.variant])
        what = str(trial.state) if trial.score is None else f"{self.search.measure} {trial.score:.4g}"
        so_far = f", best {best[0].score:.4g} ({best[0].label})" if best else ""
        why = f" {trial.reason}" if trial.reason else ""
        self.board.fit_over(trial.label, f"{what}{why}{so_far}: {trial.words}")


def _write(plan: Plan, result: Found, limits: Limits) -> dict[str, Path]:
    """Writes the best trial per variant as a variant file; none if its own values are best."""
    files = {}
    for name, space in result.spaces.items():
        best = next(iter(ranked(result.trials[name])), None)
        if best is not None and space.changed(best.values):
            files[name] = limits.out or file_of(name)
            best_as_file(plan, space, best, files[name], result.words(best))
    return files
