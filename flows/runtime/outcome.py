"""How a command ends: exit status, and the messages for errors, interruptions and signals."""

import signal
import sys
import traceback
from dataclasses import dataclass

import typer

from flows.runtime.terminal import guard
from params.errors import ChecksFailed, UserError
from tasks import interrupt

INTERRUPTED = 130
GO_ON = "; the same command goes on from the step that each fit was at"


@dataclass
class Invocation:
    """What the handling of an early end needs to know."""

    debug: bool = False
    continues: bool = False  # whether the same command resumes where this one stopped


def status_of(app: typer.Typer) -> int:
    """Runs the command line; returns its exit status.  User errors are one message unless --debug."""
    guard()
    at = Invocation()
    interrupt.end_in_order()
    try:
        app(obj=at)
    except SystemExit as end:  # typer's way to exit; it turns Ctrl-C into 130 by itself
        status = 2 if isinstance(end.code, str) else int(end.code or 0)
        if status == INTERRUPTED:
            _say_interrupted(at)
            return 128 + interrupt.ended()
        return status
    except Exception as error:
        from flows.runtime.state import passing

        message = error if isinstance(error, UserError | ChecksFailed) else passing(error)
        if message is None:
            raise
        if at.debug:
            traceback.print_exc()
        print(f"lagline: {message}", file=sys.stderr)
        return 1 if isinstance(error, ChecksFailed) else 2
    except BaseException as error:
        # polars panics if Ctrl-C arrives while it builds a Python object
        if not isinstance(error, KeyboardInterrupt) and repr(KeyboardInterrupt) not in str(error):
            raise
        _say_interrupted(at)
        return 128 + interrupt.ended()
    finally:
        # Ctrl-C during an `exec` of text (importing a dataclass) leaves a mark that makes Python exit by
        # SIGINT whatever status we return; the next such `exec` clears it
        exec("")
    return 0


def _say_interrupted(at: Invocation) -> None:
    """Prints how the command ended; ignores later signals, which would kill Python while it shuts down."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    how = "interrupted" if interrupt.ended() == signal.SIGINT else f"ended by {interrupt.ended().name}"
    print(f"lagline: {how}{GO_ON if at.continues else ''}", file=sys.stderr)
