"""The MLflow client, and how long calls wait for a server that does not answer.

Within `patience` each call waits for an unreachable server (`LAGLINE_PATIENCE` seconds, default 900).
"""

import contextlib
import logging
import math
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from params.errors import Unavailable, UserError
from tasks.locks import shared
from tasks.tracking.waiting import TIMEOUT, Silent, Waiting, one_try_a_call, set_bounds

if TYPE_CHECKING:
    from mlflow import MlflowClient

PATIENCE = 900  # seconds
AGAIN = 5.0  # seconds between two tries
AGAIN_LATER = "start the same command again once it is back"
log = logging.getLogger("lagline.tracking")
_patient = threading.Event()  # set while calls wait for an unreachable server
_waiting: list[Waiting] = []  # time limits of the enclosing blocks, for all their calls together


@cache
def client() -> "MlflowClient":
    """The client for MLFLOW_TRACKING_URI, which `flows/runtime/state.py` has set.

    Caps timeout and retries of MLflow's HTTP calls, here and in child processes, unless the user set them.
    """
    import mlflow

    set_bounds()
    uri = os.environ["MLFLOW_TRACKING_URI"]
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(os.environ.get("MLFLOW_REGISTRY_URI", uri))
    direct = mlflow.MlflowClient(uri)
    return cast("MlflowClient", _Patient(direct)) if uri.startswith("http") else direct


class _Patient:
    """A client whose calls all wait for an unreachable server, within `patience`."""

    def __init__(self, direct: Any) -> None:
        self._direct = direct

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._direct, name)
        return partial(patiently, attribute) if callable(attribute) else attribute


def patiently(call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """The result of a call, retried while the server is away.  Raises Unavailable after LAGLINE_PATIENCE s.

    Within `answered` and outside `patience`, it is retried as long as that block may wait.
    """
    if _waiting and not _patient.is_set():
        return _waiting[-1].ask(partial(call, *arguments, **named), _away)
    started, warned = time.monotonic(), False
    while True:
        try:
            return call(*arguments, **named)
        except Exception as error:
            if not _patient.is_set() or not _away(error):
                raise
            waited = time.monotonic() - started
        where = os.environ["MLFLOW_TRACKING_URI"]
        if waited > _longest():
            raise Unavailable(
                f"MLFLOW_TRACKING_URI={where}: the tracking server has not answered for {waited:.0f} s.  No fit is lost: start "
                "the same command again once it is back (LAGLINE_PATIENCE sets how many seconds to wait)"
            )
        if not warned:
            print(f"the tracking server at {where} does not answer; it is waited for, and nothing is lost", file=sys.stderr)
            warned = True
        again = time.monotonic() + AGAIN
        while _patient.is_set() and time.monotonic() < again:
            time.sleep(0.1)


def _longest() -> float:
    """The seconds to wait.  Raises UserError for an invalid number."""
    text = os.environ.get("LAGLINE_PATIENCE", "").strip() or str(PATIENCE)
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < math.inf:
        raise UserError(f"LAGLINE_PATIENCE={text}: write how many seconds to wait for a tracking server, such as 900")
    return seconds


@contextlib.contextmanager
def patience() -> Iterator[None]:
    """Within the block, calls wait for an unreachable server, until `give_up` or the end."""
    _longest()
    _patient.set()
    try:
        yield
    finally:
        _patient.clear()


def give_up() -> None:
    """The run is ending: no call waits any more."""
    _patient.clear()


def direct() -> "MlflowClient":
    """The client that does not wait."""
    return cast("MlflowClient", getattr(client(), "_direct", client()))


def every(ask: Callable[[str | None], Any]) -> Iterator[Any]:
    """All results of a search, page by page; `ask` takes a page token."""
    token: str | None = None
    while True:
        page = ask(token)
        yield from page
        token = page.token
        if not token:
            return


def _away(error: BaseException) -> bool:
    """Whether an error means that the server did not answer, as opposed to an error in its answer."""
    import requests
    from mlflow.exceptions import MlflowException

    if isinstance(error, requests.ConnectionError | requests.Timeout | Silent):
        return True
    if not isinstance(error, MlflowException):
        return False
    return _unreachable(str(error)) or error.get_http_status_code() in (429, 502, 503, 504)


def _unreachable(text: str) -> bool:
    return "API request to" in text and re.search(r"failed with( timeout)? exception", text) is not None


def raise_if_away(error: BaseException) -> None:
    """Re-raises an error that means that the server did not answer."""
    if _away(error):
        raise error


def fetched(call: Callable[[], Any], folder: Path) -> Any:
    """The result of a call that fetches files into a folder; time does not count while they arrive."""
    if not _waiting or _patient.is_set() or not _served():
        return call()
    return _waiting[-1].ask(call, _away, partial(_bytes_in, folder))


def _bytes_in(folder: Path) -> int:
    """The bytes in a folder that somebody is writing to."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            total += path.lstat().st_size
    return total


def _served() -> bool:
    return os.environ["MLFLOW_TRACKING_URI"].startswith("http")


@contextlib.contextmanager
def answered(so_far: str | Callable[[], str] = AGAIN_LATER) -> Iterator[None]:
    """Limits the time that the block waits for the server, over all its calls.

    Raises Unavailable, with the cause and what is done `so_far`, if it does not answer.
    """
    try:
        with _bounded():
            yield
    except Exception as error:
        if not _away(error):
            raise
        where, stands = os.environ["MLFLOW_TRACKING_URI"], so_far if isinstance(so_far, str) else so_far()
        raise Unavailable(
            f"MLFLOW_TRACKING_URI={where}: the tracking server does not answer ({_cause(error)}); {stands}"
        ) from error


def lost(error: BaseException) -> str | None:
    """The message for an error by which the server did not answer; None for any other."""
    if not _away(error):
        return None
    return f"MLFLOW_TRACKING_URI={os.environ['MLFLOW_TRACKING_URI']}: the tracking server does not answer ({_cause(error)})"


@contextlib.contextmanager
def _bounded() -> Iterator[None]:
    set_bounds()
    waiting = _waiting[-1] if _waiting else Waiting()
    _waiting.append(waiting)
    try:
        with one_try_a_call(waiting):
            yield
    finally:
        _waiting.pop()


def _cause(error: BaseException) -> str:
    """Why the server did not answer, in words."""
    import requests
    from mlflow.exceptions import MlflowException

    if isinstance(error, Silent):
        return f"no reply for {Waiting().longest:.0f} s"
    status = error.get_http_status_code() if isinstance(error, MlflowException) and not _unreachable(str(error)) else None
    if status is not None:
        return f"it says {status}"
    below: BaseException | None = error
    while below is not None:
        if isinstance(below, OSError) and below.strerror:
            return below.strerror.lower()
        below = below.__cause__ or below.__context__
    if isinstance(error, requests.Timeout) or "timeout exception" in str(error) or "timed out" in str(error):
        return f"no reply within {os.environ[TIMEOUT]} s"
    return "the connection broke"


def connect(home: Path) -> None:
    """Creates the store if missing, under a lock: MLflow's migrations break if run twice at once.

    Raises Unavailable if it does not answer, UserError if its driver is missing.
    """
    from mlflow.exceptions import MlflowException

    made_here = contextlib.nullcontext() if _served() else shared(home, "mlflow")  # a server needs none
    with made_here, _bounded():
        try:
            client().search_experiments(max_results=1)
        except (MlflowException, ModuleNotFoundError, Silent) as error:
            where = f"MLFLOW_TRACKING_URI={os.environ['MLFLOW_TRACKING_URI']}"
            if isinstance(error, ModuleNotFoundError):
                why = f"the driver of this database is missing ({error.name}); install it"
                raise UserError(f"{where}: {why}") from None
            raise Unavailable(f"{where}: MLflow does not answer ({_cause(error) if _away(error) else error})") from None


@contextlib.contextmanager
def borrowed() -> Iterator[None]:
    """For a block in somebody else's process: a client of its own, and mlflow's store afterwards as before."""
    given = None
    if "mlflow" in sys.modules:
        import mlflow

        given = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None
    client.cache_clear()  # the state folder may be another one
    try:
        yield
    finally:
        client.cache_clear()
        if "mlflow" in sys.modules:
            import mlflow

            mlflow.set_tracking_uri(cast("str", given))  # None: not set
            mlflow.set_registry_uri("")
