"""What every verb does first: reads params, opens the state folder, starts Prefect.  Imports are lazy."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from flows.runtime.garbage import collect_no_more
from params.errors import UserError
from params.shown import shown

if TYPE_CHECKING:
    from flows.runtime.server import PrefectServer
    from params.load import Plan
    from params.schema import RunParams

MOST_REASON = 500  # characters


def open_home(decides: bool = False, frames: bool = True) -> Path:
    """The state folder; sets the environment that prefect, mlflow and others read on import.

    `decides`: for a verb that moves a champion, which must not continue after a Ctrl-C that Python lost.
    `frames`: whether the verb uses polars, whose SIGINT handler we have to undo.
    """
    from flows.runtime.state import ready

    home = ready()
    if frames:
        from tasks.interrupt import listen

        listen(decides)
    return home


def read_plan(params: Path, settings: list[str] | None, forecasts: Path | None = None, files: bool = True) -> "Plan":
    """The run and its variants, read before slow imports, so that mistakes surface at once.

    The same holds for an unwritable `--forecast` file: after hours of training it would be too late.
    `files`: whether the data must already exist.
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
    """The run alone, as early; where nothing is trained, its split and variants are ignored."""
    from params.load import load_run

    above = [] if trains else ["split={validation: 1, test: 1}", "variants=[ridge]"]
    run = load_run(params, [*(settings or []), *above])
    _check_data(run)
    return run


def _check_data(run: "RunParams") -> None:
    """Raises UserError if the files of a run do not exist."""
    from tasks.files import ROOT
    from tasks.load.find import find_files
    from tasks.load.remote import address_of

    if run.data.path is not None and address_of(run.data.path) is None:  # the others are checked later
        find_files(run.data, ROOT)


def a_name(name: str) -> str:
    """The name of a run file.  Raises UserError if it is invalid."""
    from tasks.registry.versions import check_name

    check_name(name)
    return name


def a_reference(reference: str) -> str:
    """NAME@VERSION.  Raises UserError if it is malformed."""
    from tasks.registry.versions import parse

    parse(reference)
    return reference


def a_table(data: str) -> str:
    """A table to forecast from; an address is checked later.  Raises UserError if a file is missing."""
    from params.data import DataParams
    from tasks.load.find import find_files, whole_path
    from tasks.load.remote import address_of

    path = whole_path(data)
    if address_of(path) is None:
        find_files(DataParams.model_construct(path=path), Path.cwd())
    return data


def a_future(table: str | None) -> str | None:
    """A table of values known ahead.  Raises UserError if it is missing."""
    return table and a_table(table)


def an_output(out: Path) -> Path:
    """An output file for a table.  Raises UserError if it cannot be written."""
    from tasks.files import TABLES, require_writable

    return require_writable("--out", out, TABLES)


def a_parcel(file: Path) -> Path:
    """An output file for an export.  Raises UserError if it cannot be written."""
    from tasks.files import require_writable

    return require_writable("FILE", file)


def a_file(file: Path) -> Path:
    """An existing, readable file.  Raises UserError otherwise."""
    if not file.is_file():
        raise UserError(f"{file}: {'that is no file' if file.exists() else 'there is no such file'}")
    if not os.access(file, os.R_OK):
        raise UserError(f"{file}: this user may not read it")
    return file


def some_numbers(option: str, text: str | None) -> tuple[float, ...]:
    """The numbers of an option, such as 80,95; empty if not given.  Raises UserError for other text."""
    try:
        return tuple(dict.fromkeys(map(float, text.split(",")))) if text is not None else ()
    except ValueError:
        raise UserError(f"{option}: {text!r} says no numbers: write them with commas between, such as 80,95") from None


def a_picture(plot: Path | None) -> Path | None:
    """An output file for pictures.  Raises UserError if it cannot be written."""
    from tasks.files import PICTURES, require_writable

    return plot and require_writable("--plot", plot, PICTURES)


def a_page(out: Path | None) -> Path | None:
    """An output file for a page.  Raises UserError if it cannot be written."""
    from tasks.files import require_writable

    return out and require_writable("--out", out, (".html",))


def a_reason(text: str) -> str:
    """The reason that somebody gives.  Raises UserError if it is longer than MOST_REASON characters."""
    if len(text) > MOST_REASON:
        raise UserError(f"--reason: {len(text):,} letters are too many for an entry of the ledger; {MOST_REASON} at most")
    return shown(text.strip())


@contextmanager
def prefect_api(home: Path, lasting: bool = False) -> Iterator["PrefectServer"]:
    """A Prefect API for the block; it starts up while we import."""
    from flows.runtime.server import start_prefect

    server = start_prefect(home, lasting)
    try:
        yield server
    finally:
        server.stop()


def with_variants(settings: list[str] | None, names: str | None) -> list[str]:
    """The settings, overridden by the variants of `--variants`."""
    if names is None:
        return settings or []
    from params.load import variant_names, variants_setting

    listed = variant_names() if names.strip() == "all" else [name.strip() for name in names.split(",") if name.strip()]
    if not listed:
        raise UserError("--variants: name at least one, such as --variants lstm,gru, or all")
    return [*(settings or []), variants_setting(listed)]


def leave(status: int) -> NoReturn:
    """Exits at once if an unreachable Prefect server would hold the exit up (a second per event)."""
    sent = True
    if "flows.runtime.server" in sys.modules:
        from flows.runtime.server import drain

        sent = drain()
    if not sent:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    collect_no_more()
    sys.exit(status)
