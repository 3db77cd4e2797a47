"""The MLflow server that we talk to: one client, and how long a server that is away is waited for.

Within `patience` a server that is away for a while is waited for (`LAGLINE_PATIENCE` seconds, 900 by default), call by call.
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
from tasks.locks import lock

if TYPE_CHECKING:
    from mlflow import MlflowClient

PATIENCE = 900  # seconds
AGAIN = 5.0  # seconds between two tries
BOUNDS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3", "MLFLOW_HTTP_REQUEST_TIMEOUT": "15"}  # MLflow's own: 7 and 120 s, 20 minutes
log = logging.getLogger("lagline.tracking")
_patient = threading.Event()  # whether a server that is away is waited for


@cache
def client() -> "MlflowClient":
    """The client of MLFLOW_TRACKING_URI, which `flows/runtime/state.py` has set.

    Caps the timeout and the retries of MLflow's HTTP calls, here and in child processes, unless the user has set them.
    """
    import mlflow

    os.environ.update({name: value for name, value in BOUNDS.items() if not os.environ.get(name)})
    uri = os.environ["MLFLOW_TRACKING_URI"]
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(os.environ.get("MLFLOW_REGISTRY_URI", uri))
    direct = mlflow.MlflowClient(uri)
    return cast("MlflowClient", _Patient(direct)) if uri.startswith("http") else direct


class _Patient:
    """A client every call of which waits for a server that is away, within `patience`."""

    def __init__(self, direct: Any) -> None:
        self._direct = direct

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._direct, name)
        return partial(patiently, found) if callable(found) else found


def patiently(call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """The result of a call, tried again while the server is away.  Raises Unavailable after `LAGLINE_PATIENCE` seconds."""
    started, told = time.monotonic(), False
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
        if not told:
            print(f"the tracking server at {where} does not answer; it is waited for, and nothing is lost", file=sys.stderr)
            told = True
        again = time.monotonic() + AGAIN
        while _patient.is_set() and time.monotonic() < again:
            time.sleep(0.1)


def _longest() -> float:
    """The seconds to wait.  Raises UserError for what is no number of them."""
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
    """While there is something to lose a server that is away is waited for; `give_up` or the end of the block ends that."""
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
    """All that a search finds, page by page; `ask` takes the token of a page."""
    token: str | None = None
    while True:
        page = ask(token)
        yield from page
        token = page.token
        if not token:
            return


def _away(error: BaseException) -> bool:
    """Whether an error says that the server did not answer, rather than what it answered."""
    import requests
    from mlflow.exceptions import MlflowException

    if isinstance(error, requests.ConnectionError | requests.Timeout):
        return True
    if not isinstance(error, MlflowException):
        return False
    return _unreachable(str(error)) or error.get_http_status_code() in (429, 502, 503, 504)


def _unreachable(text: str) -> bool:
    return "API request to" in text and re.search(r"failed with( timeout)? exception", text) is not None


def raise_if_away(error: BaseException) -> None:
    """Raises an error again where it says that the server did not answer."""
    if _away(error):
        raise error


@contextlib.contextmanager
def answered(so_far: str) -> Iterator[None]:
    """Raises Unavailable, with what stands `so_far`, where the server does not answer in the block."""
    try:
        yield
    except Exception as error:
        if not _away(error):
            raise
        where = os.environ["MLFLOW_TRACKING_URI"]
        raise Unavailable(f"MLFLOW_TRACKING_URI={where}: the tracking server does not answer; {so_far} ({error})") from error


def connect(home: Path) -> None:
    """Makes the store where it is missing, under a lock: MLflow's migrations break when two processes run them at once.

    Raises Unavailable where it does not answer, UserError where its driver is missing.
    """
    from mlflow.exceptions import MlflowException

    with lock(home, "mlflow"):
        try:
            client().search_experiments(max_results=1)
        except (MlflowException, ModuleNotFoundError) as error:
            where = f"MLFLOW_TRACKING_URI={os.environ['MLFLOW_TRACKING_URI']}"
            if isinstance(error, ModuleNotFoundError):
                why = f"the driver of this database is missing ({error.name}); install it beside lagline"
                raise UserError(f"{where}: {why}") from None
            raise Unavailable(f"{where}: MLflow does not answer ({error})") from None
