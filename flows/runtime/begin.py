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


def read_plan(params: Path, settings: list[str] | None, forecasts: Path | None = None, files: bool = True) -> "Plan":
    """The run and its variants, read before anything slow is imported: a mistake is told at once.

    So is a file of `--forecast` that cannot be written: after hours of training that would be too late.  `files`: whether
    the data has to be there already.
    """
    from params.load import load_plan
    from tasks.files import TABLES, require_writable

    plan = load_plan(params, settings or [])
    if forecasts is not None:
        require_writable("--forecast", forecasts, TABLES)
    if files:
        _check_data(plan.run)
    return plan


def read_run(params: Path, settings: list[str] | None, trains: bool = True) -> "RunParams":
    """The run alone, as early; where nothing is trained, whatever it says of split and variants."""
    from params.load import load_run

    above = [] if trains else ["split={validation: 1, test: 1}", "variants=[ridge]"]
    run = load_run(params, [*(settings or []), *above])
    _check_data(run)
    return run


def _check_data(run: "RunParams") -> None:
    """Raises UserError where the files of a run are not there."""
    from tasks.files import ROOT
    from tasks.load.find import find_files
    from tasks.load.remote import address_of

    if run.data.path is not None and address_of(run.data.path) is None:  # a query is asked later, once, and an address
        find_files(run.data, ROOT)


def a_name(name: str) -> str:
    """The name of a run file.  Raises UserError for what none may be called."""
    from tasks.registry.versions import check_name

    check_name(name)
    return name


def a_reference(reference: str) -> str:
    """NAME@VERSION.  Raises UserError for what is none."""
    from tasks.registry.versions import parse

    parse(reference)
    return reference


def a_table(data: str) -> str:
    """A table to forecast from, or the address of one, which is looked up later.  Raises UserError where there is none."""
    from params.data import DataParams
    from tasks.load.find import find_files, whole_path
    from tasks.load.remote import address_of

    path = whole_path(data)
    if address_of(path) is None:
        find_files(DataParams.model_construct(path=path), Path.cwd())
    return data


def a_future(table: str | None) -> str | None:
    """A table of what is known ahead.  Raises UserError where there is none."""
    return table and a_table(table)


def an_output(out: Path) -> Path:
    """A file for a table.  Raises UserError where none can be put in place."""
    from tasks.files import TABLES, require_writable

    return require_writable("--out", out, TABLES)


def a_parcel(file: Path) -> Path:
    """A file for an export.  Raises UserError where none can be put in place."""
    from tasks.files import require_writable

    return require_writable("FILE", file)


def a_file(file: Path) -> Path:
    """A file that is there.  Raises UserError where it is none."""
    if not file.is_file():
        raise UserError(f"{file}: {'that is no file' if file.exists() else 'there is no such file'}")
    if not os.access(file, os.R_OK):
        raise UserError(f"{file}: this user may not read it")
    return file


def some_numbers(option: str, text: str | None) -> tuple[float, ...]:
    """The numbers of an option, such as 80,95; none where it is not given.  Raises UserError for other text."""
    try:
        return tuple(dict.fromkeys(map(float, text.split(",")))) if text is not None else ()
    except ValueError:
        raise UserError(f"{option}: {text!r} says no numbers: write them with commas between, such as 80,95") from None


def a_picture(plot: Path | None) -> Path | None:
    """A file for pictures.  Raises UserError where none can be put in place."""
    from tasks.files import PICTURES, require_writable

    return plot and require_writable("--plot", plot, PICTURES)


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
