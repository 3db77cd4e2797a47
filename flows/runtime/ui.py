"""The MLflow UI as a child on loopback."""

import errno
import json
import os
import sys
import webbrowser
from pathlib import Path

from flows.runtime.child import LOOPBACK, Child, die_with_parent, serve, tail
from flows.runtime.server import SERVED
from params.errors import UserError

UI_PORT = 5000
UI_PORTS = 20  # how far the default port falls forward
TOLD = 5  # comparisons whose addresses are printed


def ui(home: Path, port: int | None = None, open_browser: bool = False) -> None:
    """Serves the MLflow UI until Ctrl-C (KeyboardInterrupt is the caller's); without a `port` the first free one from 5000 on.

    Raises UserError where nothing was tracked yet, the named port is taken or the server ends by itself.
    """
    store = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{home}/mlflow.db"
    if store.startswith(("http://", "https://")):
        raise UserError(f"MLFLOW_TRACKING_URI={store} is a server with a UI of its own; open that address in a browser")
    if store.startswith("sqlite:///") and not Path(store.removeprefix("sqlite:///")).is_file():
        raise UserError(f"{store.removeprefix('sqlite:///')}: nothing is tracked here yet; run `python -m flows compare` first")
    child = _start_ui(home, store, port)
    try:
        from tasks.tracking import runs  # while the server starts
        from tasks.tracking import view as pages

        child.wait()
        print(f"MLflow UI: {child.url}  (Ctrl-C ends it)", flush=True)
        comparisons = runs.newest_comparisons()[:TOLD]
        addresses = [pages.experiment_url(child.url, experiment) for _, experiment, _ in comparisons]
        for address, (name, experiment, run) in zip(addresses, comparisons, strict=True):
            report = pages.run_url(child.url, experiment, run, "report.html")
            print(f"  {name}: {address}\n    its report: {report}", flush=True)
        _say_schedule(home)
        if open_browser:
            webbrowser.open([*addresses, child.url][0])
        code = child.process.wait()
        raise UserError(f"{child.url}: the MLflow UI ended with status {code}; the end of {child.log}:\n{tail(child.log)}")
    finally:
        child.stop()


def _say_schedule(home: Path) -> None:
    """Prints where the pages of a schedule are, if one is served from this state folder."""
    import psutil

    try:
        known = json.loads((home / SERVED).read_text())
        if psutil.pid_exists(int(known["pid"])):
            print("\n".join(known["lines"]), flush=True)
    except (OSError, ValueError, LookupError, TypeError):
        return  # none is


def _start_ui(home: Path, store: str, port: int | None) -> Child:
    environment = {"MLFLOW_TRACKING_URI": store, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # a store may hold a password
    for candidate in range(UI_PORT, UI_PORT + UI_PORTS) if port is None else (port,):
        try:
            return Child(home, ["flows.runtime.ui", str(home)], candidate, "/health", home / "ui.log", environment)
        except (OSError, OverflowError) as error:
            if port is None and getattr(error, "errno", None) == errno.EADDRINUSE:
                continue
            reason = getattr(error, "strerror", None) or "a port is a number from 1 to 65535"
            raise UserError(f"{LOOPBACK}:{candidate}: cannot be served on ({reason}); name another port") from None
    raise UserError(f"{LOOPBACK}: the ports {UI_PORT} to {UI_PORT + UI_PORTS - 1} are all in use; name a free one")


def main(descriptor: str, home: str) -> None:
    """The child itself: serves on the inherited socket until SIGTERM or the end of its parent.

    Not by `mlflow server`, which starts uvicorn as a child of its own: that one would outlive a kill -9 of us, and could be
    handed a port, which somebody else may take meanwhile, but not our socket.  No artifacts are handed out: runs hold plain
    paths below home, which the server reads by itself.
    """
    die_with_parent()
    from tasks.tracking.view import server_settings

    os.environ |= server_settings(os.environ["MLFLOW_TRACKING_URI"], (Path(home) / "artifacts").as_uri())
    serve(descriptor, "mlflow.server.fastapi_app:app")


if __name__ == "__main__":
    main(*sys.argv[1:])
