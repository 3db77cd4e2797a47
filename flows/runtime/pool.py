"""Runs the fits of a comparison, as many at a time as the engine allows, and shows their progress."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

from prefect.futures import PrefectFuture
from prefect.task_runners import ThreadPoolTaskRunner

from flows.runtime import artifacts
from flows.runtime.progress import Board
from tasks.engine.choice import engine
from tasks.tracking import connection
from tasks.train.device import cautions
from tasks.train.fits import Fit, Trainer, train_variant
from tasks.train.job import Planned


def train_fits(
    name: str,
    plan: Sequence[Planned],
    trainer: Trainer,
    board: Board,
    naive: Sequence[float | None] = (),
    then: Callable[[Fit], Fit] = lambda fit: fit,
    stage: str = "train",
) -> list[Fit]:
    """All fits in plan order; the first that breaks (an error, not a failed fit) stops the others.

    `name`: of the run.  `naive`: per fold, the error that skill is relative to.  `then`: called with each
    fit that has ended, while others still train.
    """
    device = engine().device()
    jobs = min(fits_at_a_time(plan, device), len(plan))
    board.say(f"train {len(plan)} fits on {engine().summary(device, plan[0].job.resources)}, {jobs} at a time")
    for line in cautions([fit.variant for fit in plan], jobs, device):
        board.say(f"  {line}")
    runner: ThreadPoolTaskRunner[Any] = ThreadPoolTaskRunner(max_workers=jobs)
    with board.stage(stage), runner:
        shown = artifacts.start_progress(name, len(plan))
        board.fits({fit.label: fit.most_epochs for fit in plan}, {fit.label: naive[fit.fold - 1] for fit in plan if naive})
        waiting: list[PrefectFuture[Any]] = []
        for planned in plan:  # one that learns from the others comes after them in the plan, and waits
            learns_from = waiting[:] if planned.variant.greedy else []
            waiting.append(runner.submit(train_variant, {"planned": planned, "trainer": trainer}, wait_for=learns_from))
        done: dict[str, Fit] = {}
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
    if remark := engine().remark():
        board.say(f"  {remark}")
    return [done[fit.label] for fit in plan]


def fits_at_a_time(plan: Sequence[Planned], device: str) -> int:
    """Fits at a time: limited by the largest fit here, by the smallest on an engine that queues."""
    needs = {(fit.job.threads, fit.job.resources) for fit in plan}
    carried = [engine().jobs(threads, device, resources) for threads, resources in needs]
    return min(carried) if engine().here else max(carried)


def _as_they_end(futures: Sequence[PrefectFuture[Any]]) -> Iterator[PrefectFuture[Any]]:
    """The futures in order of completion; waits briefly each time, so that Ctrl-C takes effect at once."""
    ended: SimpleQueue[PrefectFuture[Any]] = SimpleQueue()
    for future in futures:
        future.add_done_callback(ended.put)
    for _ in futures:
        while True:
            with suppress(Empty):
                yield ended.get(timeout=0.3)
                break
