"""The deployment that retrains on a schedule, served by this process until it is stopped."""

import os
from pathlib import Path
from typing import Any

from flows.runtime.child import SERVED_BY
from flows.runtime.due import begin_serving
from flows.runtime.state import ready
from params.load import load_run
from tasks.files import ROOT


def serve(params: Path, settings: list[str], cron: str, zone: str, forecast: Path | None, allow_dirty: bool) -> None:
    """Serves `retrain` until Ctrl-C or SIGTERM; each run is a process of its own, one at a time."""
    from prefect.schedules import Cron

    from flows.retrain import retrain

    run = load_run(params, settings)
    begin_serving(ready(), run.name, cron, zone)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))  # for the runs
    os.environ[SERVED_BY] = str(os.getpid())
    parameters: dict[str, Any] = {"params": str(params.absolute()), "settings": settings, "allow_dirty": allow_dirty}
    if forecast is not None:
        parameters["forecast"] = str(forecast.absolute())
    retrain.serve(
        name=run.name,
        schedules=[Cron(cron, timezone=zone)],
        parameters=parameters,
        limit=1,
        description=f"Compare, promote and forecast {run.name}: {cron} ({zone}).",
        tags=["lagline"],
        print_starting_message=False,
    )
