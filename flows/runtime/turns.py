"""What a comparison holds while it runs: its turn in the state folder, and its run in MLflow, which ends however it ends."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from flows.runtime.progress import Board
from tasks.locks import Held, lock
from tasks.tracking import connection, runs


@contextmanager
def alone(home: Path, board: Board) -> Iterator[None]:
    """One comparison at a time in a state folder: two would log into the same runs and train in the same folders."""
    with ExitStack() as taken:
        try:
            taken.enter_context(lock(home, "compare", wait=False))
        except Held as held:
            board.say(f"waiting: {held}")
            taken.enter_context(lock(home, "compare"))
        yield


@contextmanager
def ended_in_any_case(run_id: str) -> Iterator[None]:
    """Ends a run as finished, killed (Ctrl-C, SIGTERM) or failed; waits, until then, for a tracking server that is away."""
    try:
        with connection.patience():
            yield
            runs.finish(run_id)
    except BaseException as error:
        runs.abandon(run_id, "FAILED" if isinstance(error, Exception) else "KILLED")
        raise
