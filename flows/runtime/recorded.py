"""Flows recorded by Prefect: if its server goes away midway, the record has a gap but the run goes on."""

import copy
import functools
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, ParamSpec, TypeVar

import httpx
from prefect import Flow
from prefect.context import FlowRunContext
from prefect.exceptions import PrefectHTTPStatusError, TerminationSignal

from flows.runtime.server import silence
from params.errors import Unavailable
from tasks import interrupt

P = ParamSpec("P")
R = TypeVar("R")
AGAIN = 60.0  # seconds before an unreachable server is asked again
_away_since: list[float] = []  # when this process found the server unreachable


@dataclass
class _Kept(Generic[R]):
    """The state of a flow and its outcome (one result or an error), whatever Prefect makes of it."""

    began: bool = False
    results: list[R] = field(default_factory=list)
    error: BaseException | None = None


def recorded(flow: Flow[P, R], *arguments: P.args, **named: P.kwargs) -> R:
    """Calls a flow; returns its result or raises its error.

    Raises Unavailable if Prefect does not answer before the flow has begun.
    """
    kept = _Kept[R]()

    @functools.wraps(flow.fn)
    def body(*arguments: P.args, **named: P.kwargs) -> R:
        kept.began = True
        try:
            kept.results.append(flow.fn(*arguments, **named))
            return kept.results[0]
        except BaseException as error:
            kept.error = error
            raise
        finally:
            if FlowRunContext.get() is not None and (why := silence()):
                _report_outage(why)

    watched = copy.copy(flow)
    watched.fn = body
    try:
        return watched(*arguments, **named)
    except BaseException as error:
        if not isinstance(error, Exception):
            raise
        if isinstance(kept.error, TerminationSignal):
            interrupt.ended_by(kept.error.signal, None)
        if kept.error is not None:
            raise kept.error from kept.error.__cause__
        if kept.results:
            _report_outage(_words(error))
            return kept.results[0]
        if kept.began or not _is_away(error):
            raise
        if FlowRunContext.get() is None:
            raise Unavailable(
                f"Prefect does not answer ({_words(error)}); start the same command again once it does"
            ) from error
        _report_outage(_words(error))
        return flow.fn(*arguments, **named)


def displayed(call: Callable[..., R], *arguments: Any, **named: Any) -> R | None:
    """The result of a call that only displays something in Prefect; None if Prefect is unreachable."""
    if _away_since and time.monotonic() - _away_since[-1] < AGAIN:
        return None
    why = silence()
    if not why:
        try:
            return call(*arguments, **named)
        except Exception as error:
            if not _is_away(error):
                raise
            why = _words(error)
    _report_outage(why)
    return None


def _is_away(error: BaseException | None) -> bool:
    """Whether an error, or its cause, means that the server does not or cannot answer."""
    while error is not None:
        if isinstance(error, httpx.TransportError):
            return True
        if isinstance(error, PrefectHTTPStatusError):
            return error.response.status_code >= 500 or error.response.status_code in (408, 429)
        error = error.__cause__ or error.__context__
    return False


def _words(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[0] or type(error).__name__


def _report_outage(why: str) -> None:
    """Reports once per outage that the server is unreachable."""
    if not _away_since or time.monotonic() - _away_since[-1] > 10 * AGAIN:
        print(f"lagline: Prefect does not answer ({why}); the run goes on, and is not shown there meanwhile", file=sys.stderr)
    _away_since.append(time.monotonic())
