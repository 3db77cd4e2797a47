"""Notifications: runs LAGLINE_NOTIFY_COMMAND with a JSON of what happened; never stops what it reports."""

import json
import logging
import os
import shlex
import signal
import subprocess
import tempfile
from contextlib import suppress
from typing import IO, Any

from params.shown import shown_tree

LIMIT = 60.0  # seconds the command may take
ARGUMENT = 100_000  # bytes of one argument: Linux allows 131,072, whatever ARG_MAX is
CUT = 2_000  # characters kept of a text if the whole does not fit
log = logging.getLogger("lagline.notify")


def notify(event: str, name: str, **details: Any) -> bool:
    """Runs the command with the JSON as last argument and on standard input; returns whether it succeeded.

    What is too long for an argument is cut there (`cut`: true) but complete on standard input.  `event`:
    failure, refusal, promotion, warning, watch, rollback or missed.
    """
    command = os.environ.get("LAGLINE_NOTIFY_COMMAND", "").strip()
    if not command:
        return False
    whole = shown_tree({"event": event, "name": name, **details})
    text = json.dumps(whole, default=str)
    try:
        with _file(text) as payload:
            status = _run([*shlex.split(command), text if len(text) <= ARGUMENT else _short(whole)], payload)
    except subprocess.TimeoutExpired:
        log.warning("LAGLINE_NOTIFY_COMMAND did not end within %.0f s and was stopped", LIMIT)
    except (OSError, ValueError) as error:  # an error's text may contain the command, and that a secret
        log.warning("LAGLINE_NOTIFY_COMMAND did not work: %s", getattr(error, "strerror", None) or error)
    else:
        if status == 0:
            return True
        log.warning("LAGLINE_NOTIFY_COMMAND ended with status %d", status)
    return False


def _run(command: list[str], payload: IO[bytes]) -> int:
    """A command's exit status; its output is discarded.  After a timeout it is killed with its children."""
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, stdin=payload, stdout=quiet, stderr=quiet, start_new_session=True)
    try:
        return process.wait(LIMIT)
    except BaseException:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise


def _file(text: str) -> IO[bytes]:
    """A text as an open file, in memory if possible, since the disk may be full."""
    in_memory = hasattr(os, "memfd_create")
    file = os.fdopen(os.memfd_create("lagline"), "w+b") if in_memory else tempfile.TemporaryFile()  # noqa: SIM115
    file.write(text.encode())
    file.seek(0)
    return file


def _short(whole: dict[str, Any]) -> str:
    """The JSON with long texts cut, without what is still too long."""
    some: dict[str, Any] = {"cut": True}
    for key, value in whole.items():
        kept = f"{value[:CUT]} ... (cut; whole on standard input)" if isinstance(value, str) and len(value) > CUT else value
        if len(json.dumps({**some, key: kept}, default=str)) <= ARGUMENT:
            some[key] = kept
    return json.dumps(some, default=str)
