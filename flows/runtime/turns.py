"""What a comparison holds while it runs: its turn in the state folder, and an MLflow run that always ends."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from flows.runtime.progress import Board
from tasks.locks import Held, lock, shared
from tasks.tracking import connection, runs


@contextmanager
def alone(home: Path, name: str, board: Board) -> Iterator[None]:
    """One comparison at a time per state folder and per name: two would share folders or log into one run."""
    with ExitStack() as taken:
        for take in (partial(lock, home, "compare"), partial(shared, home, f"compare-{name}")):
            try:
                taken.enter_context(take(wait=False))
            except Held as held:
                board.say(f"waiting: {held}")
                taken.enter_context(take())
        yield


@contextmanager
def ended_in_any_case(run_id: str) -> Iterator[None]:
    """Ends an MLflow run as finished, killed (Ctrl-C, SIGTERM) or failed; waits for an unreachable server."""
    try:
        with connection.patience():
            yield
            runs.finish(run_id)
    except BaseException as error:
        runs.abandon(run_id, "FAILED" if isinstance(error, Exception) else "KILLED")
        raise
