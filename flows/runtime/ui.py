"""The pages of MLflow and Prefect as children on loopback, each behind its own key."""

import errno
import json
import os
import secrets
import sys
import webbrowser
from collections.abc import Callable
from contextlib import ExitStack
from html import escape
from pathlib import Path
from typing import TypeVar

from flows.runtime.child import LOOPBACK, Child, die_with_parent, ended_first, serve, tail
from flows.runtime.door import Door, link
from flows.runtime.garbage import collect_rarely
from flows.runtime.server import SERVED, PrefectServer, start_prefect
from flows.runtime.terminal import guard, hand_over
from params.errors import UserError
from params.shown import visible

UI_PORT, PREFECT_PORT = 5000, 4200  # the tools' defaults
UI_PORTS = 20  # ports tried from a default on
TOLD = 5  # comparisons whose addresses are printed
KEY = "LAGLINE_UI_KEY"  # in the child's environment: anybody may read a command line
OPENED = "ui-open.html"  # in the state folder, while the pages are served
Started = TypeVar("Started")


def ui(home: Path, port: int | None = None, open_browser: bool = False) -> None:
    """Serves the pages until Ctrl-C (KeyboardInterrupt is the caller's), by default on the first free port
    from 5000 on.  Raises UserError if nothing is tracked yet, the port is taken or a server ends by itself.
    """
    store = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{home}/mlflow.db"
    if store.startswith(("http://", "https://")):
        raise UserError(f"MLFLOW_TRACKING_URI={store} is a server with a UI of its own; open that address in a browser")
    if store.startswith("sqlite:///") and not Path(store.removeprefix("sqlite:///")).is_file():
        raise UserError(f"{store.removeprefix('sqlite:///')}: nothing is tracked here yet; run `python -m flows compare` first")
    key = secrets.token_urlsafe(24)
    with ExitStack() as started:
        mlflow = _start_mlflow(home, store, key, port)
        started.callback(mlflow.stop)
        schedule = _schedule(home)
        prefect = _start_prefect(home) if not schedule else PrefectServer(None)
        started.callback(prefect.stop)
        opened = _show_mlflow(mlflow, key, port)
        hand_over("\n".join(schedule or _prefect_pages(prefect)))
        if open_browser:
            started.callback(_open(home, opened).unlink, missing_ok=True)
        child, code = ended_first([mlflow, *([prefect.child] if prefect.child else [])])
        raise UserError(f"{child.url}: the server ended with status {code}; the end of {child.log}:\n{tail(child.log)}")


def _show_mlflow(child: Child, key: str, asked: int | None) -> str:
    """Waits for MLflow's pages and prints their links; returns that of the newest comparison, or of all."""
    from tasks.tracking import runs  # while the servers start
    from tasks.tracking import view as pages

    child.wait()
    moved = "" if asked or child.port == UI_PORT else f"port {UI_PORT} is taken; "
    hand_over(f"MLflow UI: {link(child.url, key)}  ({moved}Ctrl-C ends it)")
    links = []
    for name, experiment, run in runs.newest_comparisons()[:TOLD]:
        links.append(link(pages.experiment_url(child.url, experiment), key))
        report = link(pages.run_url(child.url, experiment, run, "report.html"), key)
        hand_over(f"  {visible(name)}: {links[-1]}\n    its report: {report}")
    return [*links, link(child.url, key)][0]


def _start_prefect(home: Path) -> PrefectServer:
    """Prefect's pages for the state folder; a server that the user named has its own."""
    return _on_a_free_port(PREFECT_PORT, None, lambda port: start_prefect(home, pages=port))


def _prefect_pages(server: PrefectServer) -> list[str]:
    """Waits for Prefect's pages; returns what to print, even if they fail: MLflow's work without."""
    try:
        server.wait()
    except UserError as error:
        server.stop()
        return [f"Prefect UI: not there.  {error}"]
    return server.addresses()


def _open(home: Path, address: str) -> Path:
    """Opens a browser on a link via a file that redirects: anybody may read a browser's command line."""
    page = home / OPENED
    page.touch(mode=0o600)
    page.write_text(f'<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0; url={escape(address)}">\n')
    webbrowser.open(page.as_uri())
    return page


def _schedule(home: Path) -> list[str]:
    """The addresses of a schedule served from this state folder, if any: its pages show the same as ours."""
    import psutil

    try:
        known = json.loads((home / SERVED).read_text())
        return [str(line) for line in known["lines"]] if psutil.pid_exists(int(known["pid"])) else []
    except (OSError, ValueError, LookupError, TypeError):
        return []  # no schedule is served


def _start_mlflow(home: Path, store: str, key: str, port: int | None) -> Child:
    # a store may hold a password, so both are passed in the environment
    environment = {"MLFLOW_TRACKING_URI": store, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", KEY: key}

    def start(port: int) -> Child:
        return Child(home, ["flows.runtime.ui", str(home), str(port)], port, "/health", home / "ui.log", environment)

    return _on_a_free_port(UI_PORT, port, start)


def _on_a_free_port(first: int, named: int | None, start: Callable[[int], Started]) -> Started:
    """Starts a server on the port that the user named, or on the first free one from `first` on."""
    for candidate in range(first, first + UI_PORTS) if named is None else (named,):
        try:
            return start(candidate)
        except (OSError, OverflowError) as error:
            if named is None and getattr(error, "errno", None) == errno.EADDRINUSE:
                continue
            reason = getattr(error, "strerror", None) or "a port is a number from 1 to 65535"
            raise UserError(f"{LOOPBACK}:{candidate}: cannot be served on ({reason}); name another port") from None
    raise UserError(f"{LOOPBACK}: the ports {first} to {first + UI_PORTS - 1} are all in use; name a free one")


def main(descriptor: str, home: str, port: str) -> None:
    """The child itself: serves on the inherited socket until its parent is gone.

    Not `mlflow server`: its uvicorn child would outlive a kill -9 of us, and it takes a port, which somebody
    else could grab meanwhile, instead of our socket.  No artifacts are proxied: runs hold plain paths below
    home, which the server reads itself.
    """
    collect_rarely()
    guard()
    die_with_parent()
    key = os.environ.pop(KEY)
    from tasks.tracking.view import pages

    app = pages(os.environ["MLFLOW_TRACKING_URI"], (Path(home) / "artifacts").as_uri())
    serve(descriptor, Door(app, key, int(port)))


if __name__ == "__main__":
    main(*sys.argv[1:])
