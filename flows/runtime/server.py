"""Our own Prefect API server, a child on loopback, or the server that the user named."""

import asyncio
import http.client
import json
import logging
import os
import secrets
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flows.runtime.child import LOOPBACK, Child, die_with_parent, serve, told_by_status
from flows.runtime.door import Porch, link
from flows.runtime.garbage import collect_rarely
from flows.runtime.state import no_room, prefect_home
from flows.runtime.terminal import guard
from flows.runtime.watch import Watch
from params.errors import Unavailable, UserError
from params.shown import masked
from tasks.locks import lock

ANSWER_LIMIT = 10.0  # seconds for a server that the user named: it is running, or just starting
GATEWAY = (502, 503, 504)  # a proxy answering for a server that does not
# settings below for a single run only: a schedule needs what they turn off, and pages need themselves
ONE_RUN = ("UI_ENABLED", "BLOCKS_ON_START", "AUTO_REGISTRATION", "TRIGGERS_ENABLED", "PERSISTER_ENABLED")
SERVED = "schedule.json"  # in the state folder, while a schedule is served
PAGES_ONLY = ("UI_ENABLED",)
OURS = "LAGLINE_PREFECT"  # set if PREFECT_API_URL names a server of ours, also in the runs of a schedule
DRAIN = 10.0  # seconds for what the client has not sent yet
LASTING, PAGES, ONCE = "lasting", "pages", "once"  # the child serves a schedule, the UI, or one run


class PrefectServer:
    """The server that this process uses: our child, or (None) one that the user named in PREFECT_API_URL."""

    def __init__(self, child: Child | None, kind: str = ONCE) -> None:
        self.child, self.kind = child, kind
        self.watch: Watch | None = None

    def wait(self) -> None:
        """Returns once the server answers.  Raises UserError if ours does not start or the user's is silent.

        From then on, ours is restarted whenever it goes away.
        """
        if self.child is None:
            _wait_for(os.environ["PREFECT_API_URL"])
            return
        self.child.wait()
        if self.kind != PAGES and self.watch is None:
            self.watch = Watch(self.child, lasting=self.kind == LASTING)

    def addresses(self) -> list[str]:
        """What to open: the pages of our server by a link with their key, and the key by itself."""
        if self.child is None:
            return [f"Prefect: {masked(os.environ['PREFECT_API_URL'])}"]
        key = os.environ["PREFECT_API_AUTH_STRING"]
        whose = "the schedule's; " if self.kind == LASTING else ""
        return [f"Prefect UI: {link(self.child.url, key)}  ({whose}its key: {key})"]

    @contextmanager
    def announced(self, home: Path) -> Iterator[None]:
        """Within the block, `python -m flows ui` knows of this server too."""
        note = home / SERVED
        note.touch(mode=0o600)
        note.write_text(json.dumps({"pid": os.getpid(), "lines": self.addresses()}))
        try:
            yield
        finally:
            note.unlink(missing_ok=True)

    def stop(self) -> None:
        """Delivers what the client still holds, then ends our child; may be called twice."""
        child, self.child = self.child, None
        if child:
            if child.process.poll() is None:
                drain()
            if self.watch:
                self.watch.over()
            child.stop()
            for name in ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING", OURS):
                os.environ.pop(name, None)
            refresh()


def start_prefect(home: Path, lasting: bool = False, pages: int | None = None) -> PrefectServer:
    """Starts our Prefect API server and sets PREFECT_API_URL; does nothing if the user has set it.

    `lasting`: with the services and pages of a schedule, as long as this process lives.  `pages`: on this
    port, with pages and no services.  Raises OSError if that port is taken.

    Returns at once, so that other work can go on before `wait()`.  Import prefect only after this.
    """
    if os.environ.get("PREFECT_API_URL"):
        return PrefectServer(None)
    if why := no_room(home):
        raise Unavailable(why)
    key = f"lagline:{secrets.token_urlsafe(24)}"  # other users and web pages reach loopback too
    environment = {
        "PREFECT_API_URL": "",
        "PREFECT_SERVER_API_AUTH_STRING": key,
        "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": f"http://{LOOPBACK}",
        "PREFECT_SERVER_UI_API_URL": "/api",  # the pages' own server; by default the one on port 4200
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "PREFECT_SERVER_DATABASE_MIGRATE_ON_START": "false",  # `_prefect_app` does it, under a lock
        # one transaction a second, not one per event: a burst of short tasks is on disk when we stop
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "10000",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
        # one run needs no web pages, automations or event history, and starts faster without
        "PREFECT_SERVER_UI_ENABLED": "false",
        "PREFECT_SERVER_REGISTER_BLOCKS_ON_START": "false",
        "PREFECT_SERVER_MEMOIZE_BLOCK_AUTO_REGISTRATION": "false",
        "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "false",
        "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_ENABLED": "false",
    }
    kind = LASTING if lasting else ONCE if pages is None else PAGES
    needed = {LASTING: ONE_RUN, PAGES: PAGES_ONLY, ONCE: ()}[kind]
    environment = {name: value for name, value in environment.items() if not name.endswith(needed)}
    log = prefect_home(home) / ("server.log" if pages is None else "ui.log")
    child = Child(home, ["flows.runtime.server", kind, str(home)], pages, "/api/health", log, environment)
    os.environ |= {"PREFECT_API_URL": f"{child.url}/api", "PREFECT_API_AUTH_STRING": key, OURS: "1"}
    _past_proxies()
    refresh()
    return PrefectServer(child, kind)


def silence() -> str:
    """Why the user's server does not answer; "" if it does, and for ours, which is restarted if need be."""
    return "" if os.environ.get(OURS) else _silence(os.environ.get("PREFECT_API_URL", ""))


def _wait_for(address: str) -> None:
    """Returns once the user's Prefect server answers.  Raises UserError after ANSWER_LIMIT seconds."""
    end = time.monotonic() + ANSWER_LIMIT
    while reason := _silence(address):
        if time.monotonic() > end or not address.startswith(("http://", "https://")):
            raise UserError(
                f"PREFECT_API_URL={address}: no Prefect server answers there ({reason}); "
                "start it, or unset PREFECT_API_URL and lagline brings its own"
            )
        time.sleep(0.5)


def _silence(address: str) -> str:
    """Why nobody answers at an address; "" if somebody does, even to refuse (Prefect explains that)."""
    if not address.startswith(("http://", "https://")):
        return "not an http address"
    try:
        urllib.request.urlopen(f"{address.rstrip('/')}/health", timeout=ANSWER_LIMIT / 2).close()
    except urllib.error.HTTPError as error:
        error.close()
        return f"status {error.code}" if error.code in GATEWAY else ""
    except urllib.error.URLError as error:
        return "" if isinstance(error.reason, ssl.SSLError) else str(error.reason)
    except (OSError, ValueError, http.client.HTTPException) as error:  # cut off, no port number, not http
        return str(error) or type(error).__name__
    return ""


def _past_proxies() -> None:
    """Exempts our own machine from a company's HTTP proxy."""
    if any(name.lower() in ("http_proxy", "all_proxy") for name in os.environ):
        value = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
        if LOOPBACK not in value.split(","):
            os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join(filter(None, (value, LOOPBACK)))


def refresh() -> None:
    """Makes an already imported prefect (a test, a second run in one process) read the environment again."""
    if "prefect.context" in sys.modules:
        from prefect.context import refresh_global_settings_context

        refresh_global_settings_context()


def drain() -> bool:
    """Waits until the client has sent its task states and log lines; returns whether it did, in time."""
    if "prefect.events.worker" not in sys.modules:
        return True
    from prefect.events.worker import EventsWorker

    logging.getLogger("EventsWorker").setLevel(logging.ERROR)  # silences "still waiting"
    waited = EventsWorker.drain_all(timeout=DRAIN)  # of every kind
    return not (isinstance(waited, tuple) and waited[1])


def _prefect_app(home: Path, kind: str) -> Any:
    from prefect.server.api.server import create_app
    from prefect.server.database import provide_database_interface

    with lock(home, "prefect-database"):  # two simultaneous first starts would both migrate
        asyncio.run(provide_database_interface().create_db())
    app = create_app(ephemeral=kind == ONCE, webserver_only=kind == PAGES, final=True)
    return Porch(app, os.environ["PREFECT_SERVER_API_AUTH_STRING"])


def main(descriptor: str, kind: str, home: str) -> None:
    """The child itself: serves on the inherited socket until SIGTERM or the end of its parent."""
    collect_rarely()
    guard()
    die_with_parent()
    with told_by_status():
        serve(descriptor, _prefect_app(Path(home), kind))


if __name__ == "__main__":
    main(*sys.argv[1:])
