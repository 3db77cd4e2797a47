"""The state folder and the environment, set up before any heavy import (torch, mlflow, prefect, polars)."""

import errno
import json
import logging
import os
import re
import shutil
import sqlite3
import stat
import sys
import tempfile
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from urllib.parse import unquote

from flows.runtime.terminal import guard
from params.errors import Unavailable, UserError
from tasks.files import placed

LAYOUT = 1  # raise it when a newer lagline writes what this one cannot read
FOLDERS = ("artifacts", "panels", "checkpoints", "locks")
READ_BY_OTHERS = ("PREFECT_", "MLFLOW_", "GX_", "DO_NOT_TRACK")
OTHERS = stat.S_IRWXG | stat.S_IRWXO
NO_MODES = "is open to other users, and its file system lets nobody change that"
ELSEWHERE = "set LAGLINE_HOME to a folder that you may write"
# no telemetry to the makers of our libraries unless the user set one of these; set before their import
SILENT = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GX_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "true",  # prefect's client; mlflow takes no other word for yes
}
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # a full disk, a quota, a size limit
SQLITE_NO_SPACE = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE)  # the second: a quota or a size limit
ROOM = 4_000_000  # bytes of a new Prefect database with its journal
RUST_ERRNO = re.compile(r"\(os error (\d+)\)")  # all that polars and safetensors report
MAKE_ROOM = "make room, by python -m flows prune or by hand, then run the same command again"


def home() -> Path:
    """The state folder: LAGLINE_HOME, or `.lagline` in the working folder; absolute, not created yet.

    Raises UserError if it names a home folder that does not exist, or the working folder is gone.
    """
    given = os.environ.get("LAGLINE_HOME") or ".lagline"
    try:
        path = Path(given).expanduser()
        if given.startswith("~") and not os.path.isdir(os.path.expanduser(given.split("/")[0])):  # noqa: PTH111, PTH112
            raise RuntimeError
        return Path(os.path.abspath(path))  # noqa: PTH100 (folds "..")
    except RuntimeError:
        raise UserError(f"LAGLINE_HOME={given}: there is no home folder {given.split('/')[0]}; {ELSEWHERE}") from None
    except FileNotFoundError:
        raise UserError("the working folder is gone: cd to another one, or set LAGLINE_HOME to a whole path") from None


def _check_name(folder: Path) -> None:
    """Raises UserError for a name that some library here would misread or cannot encode."""
    name, encoding = str(folder), sys.getfilesystemencoding()
    if set("?#%") & set(name):
        raise UserError(f"LAGLINE_HOME={folder}: the characters ? # % do not fit a database's address; {ELSEWHERE}")
    if not name.isascii() and encoding.lower() != "utf-8":
        why = f"this locale's encoding ({encoding}) does not hold its name: set PYTHONUTF8=1 or LC_ALL=C.UTF-8"
        raise UserError(f"LAGLINE_HOME={folder}: {why}, or {ELSEWHERE}")
    if any("\ud800" <= letter <= "\udfff" for letter in name):
        raise UserError(f"LAGLINE_HOME={folder}: its name is no UTF-8 text; {ELSEWHERE}")


def ready() -> Path:
    """Creates the state folder, sets the environment and installs the output filter; may be called again.

    Flows call it too, since a worker runs a flow without our command line.
    """
    guard()
    folder = prepare()
    set_environment(folder)
    return folder


def prefect_home(folder: Path) -> Path:
    """Prefect's own folder, one per minor version: an older Prefect cannot read a newer one's database."""
    return folder / f"prefect-{'.'.join(version('prefect').split('.')[:2])}"


def prepare() -> Path:
    """Creates the state folder (mode 0700) if missing; safe for any number of processes at once.

    Raises UserError if it is a file, is not writable, or is from a newer lagline.  An existing folder
    on a full disk is accepted: many verbs only read, and prune makes room.
    """
    folder = home()
    _check_name(folder)
    try:
        _refuse_other_layouts(folder)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _keep_to_its_owner(folder)
        for name in (*FOLDERS, prefect_home(folder).name):
            (folder / name).mkdir(mode=0o700, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".probe-") as probe:
            probe.write(b"probe")
        _write_layout(folder)
    except (FileExistsError, NotADirectoryError) as error:
        raise UserError(f"LAGLINE_HOME={folder}: {error.filename} is a file, not a folder; {ELSEWHERE}") from None
    except OSError as error:
        if error.errno in NO_SPACE:
            if (folder / "layout.json").exists():
                return folder
            why = f"cannot be written ({error.strerror}): make room, or {ELSEWHERE}"
            raise Unavailable(f"LAGLINE_HOME={folder}: {why}") from None
        raise UserError(f"LAGLINE_HOME={folder}: cannot be written ({error.strerror}); {ELSEWHERE}") from None
    return folder


def _keep_to_its_owner(folder: Path) -> None:
    """Makes a state folder that others may enter private, and says so: what others write there, we would run.

    The mode of the folder protects all below it.  Raises UserError if it belongs to somebody else.
    """
    status = folder.stat()
    if status.st_uid != os.geteuid():
        owner = f"another user (number {status.st_uid}), who may change all that lagline reads there"
        raise UserError(f"LAGLINE_HOME={folder}: belongs to {owner}; work as that user, make it yours by chown, or {ELSEWHERE}")
    mode = stat.S_IMODE(status.st_mode)
    if not mode & OTHERS:
        return
    with suppress(OSError):
        folder.chmod(0o700)
    if stat.S_IMODE(folder.stat().st_mode) & OTHERS:
        print(f"lagline: LAGLINE_HOME={folder}: {NO_MODES} (mode {mode:04o})", file=sys.stderr)
    else:
        print(
            f"lagline: LAGLINE_HOME={folder}: was open to other users (mode {mode:04o}), and is yours alone now",
            file=sys.stderr,
        )


def passing(error: BaseException | None) -> str | None:
    """The message for an error that may pass by itself: a full disk, a silent tracking server; else None."""
    message = full_disk(error)
    if message is None and error is not None and "mlflow" in sys.modules:
        from tasks.tracking.connection import AGAIN_LATER, lost

        message = lost(error)
        message = f"{message}; {AGAIN_LATER}" if message else None
    return message


def full_disk(error: BaseException | None) -> str | None:
    """The message for an error caused by a full disk, even if a library wrapped it; else None."""
    while error is not None:
        if _no_space(error):
            where = getattr(error, "filename", None) or f"{home()} or {tempfile.gettempdir()}"
            return f"the disk is full ({where}): {MAKE_ROOM}"
        error = error.__cause__ or error.__context__
    return None


def no_room(folder: Path, needed: int = ROOM) -> str | None:
    """The message if a disk has no room for a database; else None."""
    free = shutil.disk_usage(folder).free
    return f"the disk is full ({folder}): {free / 1e6:.1f} MB are left; {MAKE_ROOM}" if free < needed else None


def _no_space(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in NO_SPACE
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", None) in SQLITE_NO_SPACE
    number = RUST_ERRNO.search(str(error))
    return number is not None and int(number[1]) in NO_SPACE


def _refuse_other_layouts(folder: Path) -> None:
    path = folder / "layout.json"
    try:
        text = path.read_bytes() if stat.S_ISREG(path.lstat().st_mode) else b""  # a pipe never ends
    except FileNotFoundError:
        return
    try:
        layout = json.loads(text)["layout"]
        known = type(layout) is int and layout >= 1
    except (ValueError, LookupError, TypeError, RecursionError):
        known = False
    if not known:
        raise UserError(f"{path}: cannot be understood, so this may not be our folder; {ELSEWHERE}, or move this one away")
    if layout > LAYOUT:
        raise UserError(
            f"{path}: written by a newer lagline (layout {layout}, this one knows {LAYOUT}); "
            "update this checkout, or set LAGLINE_HOME to another folder"
        )


def _write_layout(folder: Path) -> None:
    path = folder / "layout.json"
    if path.exists():
        return
    with placed(path) as partial:
        partial.write_text(json.dumps({"layout": LAYOUT}), encoding="utf-8")


def set_environment(folder: Path) -> None:
    """Sets what prefect, mlflow and great_expectations read on import; non-empty user settings win."""
    values = {
        "PREFECT_HOME": str(prefect_home(folder)),
        "PREFECT_LOGGING_SETTINGS_PATH": str(Path(__file__).with_name("logging.yml")),
        "PREFECT_LOGGING_LEVEL": "CRITICAL",  # errors are reported once, by us
        "PREFECT_LOGGING_INTERNAL_LEVEL": "CRITICAL",  # else each missed event fills a screen
        "PREFECT_CLIENT_MAX_RETRIES": "3",  # 5 take a minute per state if the server is gone
        "PREFECT_API_REQUEST_TIMEOUT": "20",
        "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",  # no tracebacks of cancelled writes
        "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",  # pickle would run what is in the folder
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
        "PREFECT_CLIENT_CSRF_SUPPORT_ENABLED": "true",
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        # else a server on an object store redirects us there for each file, and we may not reach it
        "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD": "false",
        "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD": "false",
        "MLFLOW_LOGGING_LEVEL": "WARNING",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # else two lines per run
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_RECORD_ENV_VARS_IN_MODEL_LOGGING": "false",
    }
    for name in [name for name, value in os.environ.items() if not value and name.startswith(READ_BY_OTHERS)]:
        del os.environ[name]  # `NAME=` means "not set"; mlflow and prefect read an address
    for name, value in values.items():
        os.environ.setdefault(name, value)
    be_silent()
    _passwords_out_of_addresses()
    # we report once that a store does not answer; urllib3 would add a line per try
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    logging.raiseExceptions = False  # nor a line for a Prefect server that accepts no logs


def be_silent() -> None:
    """Turns off the telemetry of libraries, in this process and its children."""
    for name, value in SILENT.items():
        os.environ[name] = os.environ.get(name) or value


def _passwords_out_of_addresses() -> None:
    """Moves the password of a server's address into the variables that mlflow and prefect have for it.

    They print addresses, and put them into errors, logs and storage.  A separate registry may have another
    password, for which mlflow has no variable: addresses then stay, and are masked where they are shown.
    """
    address, user, password = _apart(os.environ["MLFLOW_TRACKING_URI"])
    if user and password and not os.environ.get("MLFLOW_REGISTRY_URI"):
        os.environ["MLFLOW_TRACKING_URI"] = address
        os.environ |= {"MLFLOW_TRACKING_USERNAME": user, "MLFLOW_TRACKING_PASSWORD": password}
    address, user, password = _apart(os.environ.get("PREFECT_API_URL", ""))
    if user or password:
        os.environ["PREFECT_API_URL"] = address
        os.environ["PREFECT_API_AUTH_STRING"] = f"{user}:{password}"


def _apart(address: str) -> tuple[str, str, str]:
    """An http address without its credentials, user and password; unchanged with "", "" if it has none."""
    start, separator, rest = address.partition("://")
    place, slash, path = rest.partition("/")
    who, at, host = place.rpartition("@")
    user, _, password = who.partition(":")
    if start.lower() not in ("http", "https") or not at:
        return address, "", ""
    return f"{start}{separator}{host}{slash}{path}", unquote(user), unquote(password)
