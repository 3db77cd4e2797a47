"""The deployment that retrains on a schedule, served by this process until it is stopped."""

import os
from pathlib import Path
from typing import Any
from zoneinfo import available_timezones

from flows.runtime.child import SERVED_BY
from params.errors import UserError
from params.load import load_run
from tasks.files import ROOT


def check_cron(cron: str, zone: str) -> None:
    """Raises UserError for what is no cron expression, or no zone."""
    from prefect.schedules import Cron

    try:
        Cron(cron)
    except ValueError as error:
        raise UserError(f"--cron {cron!r}: {error}; write minute, hour, day, month and weekday, such as '0 6 * * *'") from None
    if zone not in available_timezones():
        raise UserError(f"--timezone {zone!r}: there is no such zone; write one such as Europe/Berlin")


def serve(params: Path, settings: list[str], cron: str, zone: str, forecast: Path | None, allow_dirty: bool) -> None:
    """Serves `retrain` until Ctrl-C or SIGTERM; each run is a process of its own, one at a time."""
    from prefect.schedules import Cron

    from flows.retrain import retrain

    run = load_run(params, settings)
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
