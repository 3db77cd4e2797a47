"""The deployment that retrains on a schedule, served by this process until it is stopped."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from prefect.client.orchestration import get_client
from prefect.runner import Runner
from prefect.schedules import Cron

from flows.retrain import retrain
from flows.runtime.child import SERVED_BY, end_runs
from flows.runtime.due import begin_serving
from flows.runtime.server import PrefectServer
from flows.runtime.state import ready
from params.load import load_run
from tasks import interrupt
from tasks.files import ROOT


def serve(
    server: PrefectServer,
    params: Path,
    settings: list[str],
    cron: str,
    zone: str,
    forecast: Path | None,
    allow_dirty: bool,
    allow_chance: bool,
) -> None:
    """Serves `retrain` until Ctrl-C, SIGTERM or SIGHUP; each run has its own process, one at a time.

    Raises KeyboardInterrupt at the end.
    """
    run = load_run(params, settings)
    begin_serving(ready(), run.name, cron, zone)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    os.environ[SERVED_BY] = str(os.getpid())
    sys.warnoptions.append("ignore::UserWarning:multiprocessing.resource_tracker")  # of ended runs
    parameters: dict[str, Any] = {"params": str(params.absolute()), "settings": settings}
    parameters |= {"allow_dirty": allow_dirty, "allow_chance": allow_chance}
    if forecast is not None:
        parameters["forecast"] = str(forecast.absolute())
    runner = _Runner(name=run.name, limit=1)
    runner.add_flow(
        retrain,
        name=run.name,
        schedules=[Cron(cron, timezone=zone)],
        parameters=parameters,
        description=f"Compare, promote and forecast {run.name}: {cron} ({zone}).",
    )
    if server.watch:
        server.watch.set_back = partial(_due_anew, run.name)
    asyncio.run(_until_asked_to_end(runner))


def _due_anew(name: str) -> None:
    """Makes Prefect recompute the due times of the deployment after the clock was ahead."""
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name(f"{retrain.name}/{name}").id
        client.pause_deployment(deployment)
        client.resume_deployment(deployment)


async def _until_asked_to_end(runner: "_Runner") -> None:
    """Serves until Ctrl-C, SIGTERM or SIGHUP, which also end the current run: Prefect itself would wait.

    Raises KeyboardInterrupt.  A second signal during shutdown changes nothing.
    """
    serving = asyncio.current_task()
    assert serving is not None

    def end(number: int) -> None:
        if interrupt.again():
            return
        interrupt.note(number)
        end_runs()
        serving.cancel()

    runner.end = end
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, runner.handle_sigterm)  # not via the loop
    try:
        await runner.start()
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


class _Runner(Runner):
    """Prefect's runner, shut down cleanly by a signal: its own handler leaves the event loop midway."""

    end: Callable[[int], None]

    def handle_sigterm(self, number: int = signal.SIGTERM, *_: Any, **__: Any) -> None:
        """Called by the signal in the loop's thread.  Once the loop is over, only a first signal raises."""
        try:
            asyncio.get_running_loop().call_soon_threadsafe(self.end, number)
        except RuntimeError:
            if not interrupt.again():
                interrupt.note(number)
                raise KeyboardInterrupt from None
