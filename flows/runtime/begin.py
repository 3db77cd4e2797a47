"""What a verb begins with: its params, the state folder, a Prefect API; nothing heavy is imported before it is needed."""

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from params.errors import UserError
from params.shown import shown

if TYPE_CHECKING:
    from flows.runtime.server import PrefectServer
    from params.load import Plan
    from params.schema import RunParams

MOST_REASON = 500  # letters


def open_home(decides: bool = False, frames: bool = True) -> Path:
    """The state folder, with the environment set that prefect, mlflow and the rest read when they are imported.

    `decides`: for a verb that moves a champion, which must not go on after a Ctrl-C that Python has lost.  `frames`: whether
    the verb uses polars, whose handling of Ctrl-C we have to undo.
    """
    from flows.runtime.state import ready

    home = ready()
    if frames:
        from tasks.interrupt import listen

        listen(decides)
    return home


def collect_nothing() -> None:
    """For a verb that prints and ends: walking over all that it imports, again and again, is a fifth of its time."""
    gc.disable()


def read_plan(params: Path, settings: list[str] | None, forecasts: Path | None = None) -> "Plan":
    """The run and its variants, read before anything slow is imported: a mistake is told at once.

    So is a file of `--forecast` that cannot be written: after hours of training that would be too late.
    """
    from params.load import load_plan
    from tasks.files import unwritable

    plan = load_plan(params, settings or [])
    if forecasts is not None and (why := unwritable(forecasts)) is not None:
        raise UserError(f"--forecast {forecasts}: {why}")
    return plan


def read_run(params: Path, settings: list[str] | None) -> "RunParams":
    """The run alone, as early."""
    from params.load import load_run

    return load_run(params, settings or [])


def a_reason(text: str) -> str:
    """What somebody gives as a reason, if it is short enough."""
    if len(text) > MOST_REASON:
        raise UserError(f"--reason: {len(text):,} letters are too many for an entry of the ledger; {MOST_REASON} at most")
    return shown(text.strip())


@contextmanager
def prefect_api(home: Path, lasting: bool = False) -> Iterator["PrefectServer"]:
    """A Prefect API for the block, which comes up while we import."""
    from flows.runtime.server import start_prefect

    server = start_prefect(home, lasting)
    try:
        yield server
    finally:
        server.stop()


def with_variants(settings: list[str] | None, names: str | None) -> list[str]:
    """The settings with the variants of `--variants` above them."""
    if names is None:
        return settings or []
    from params.load import variant_names, variants_setting

    listed = variant_names() if names.strip() == "all" else [name.strip() for name in names.split(",") if name.strip()]
    if not listed:
        raise UserError("--variants: name at least one, such as --variants lstm,gru, or all")
    return [*(settings or []), variants_setting(listed)]


def leave(status: int) -> NoReturn:
    """Ends this process: at once where a Prefect server that is away would be waited for, for a second or more an event."""
    sent = True
    if "flows.runtime.server" in sys.modules:
        from flows.runtime.server import drain

        sent = drain()
    if not sent:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)
