"""The verbs retrain and serve: what a schedule does, now or when it is due."""

from typing import Annotated

import typer

from flows.runtime import arguments as arg
from flows.runtime.begin import open_home, prefect_api, read_plan
from flows.runtime.terminal import hand_over


def retrain(
    params: arg.Params = arg.DEFAULT,
    settings: arg.Set = None,
    forecasts: arg.Forecasts = None,
    allow_dirty: arg.AllowDirty = False,
    allow_chance: arg.AllowChance = False,
) -> None:
    """Compare, then promote, then forecast: what a schedule runs, now."""
    plan = read_plan(params, settings, forecasts)
    home = open_home(decides=True)
    with prefect_api(home) as server:
        from flows.retrain import retrain as flow
        from flows.runtime.recorded import recorded
        from tasks.train.check import check_plan

        check_plan(plan)
        server.wait()
        out = None if forecasts is None else str(forecasts.absolute())
        outcome = recorded(flow, str(params), settings or [], out, allow_dirty, allow_chance)
    print(outcome.words)


def serve(
    params: arg.Params = arg.DEFAULT,
    settings: arg.Set = None,
    cron: Annotated[str, typer.Option("--cron", metavar="CRON", help="When: minute, hour, day, month, weekday.")] = "0 6 * * *",
    zone: Annotated[str, typer.Option("--timezone", metavar="ZONE", help="Whose clock, such as Europe/Berlin.")] = "UTC",
    forecasts: arg.Forecasts = None,
    allow_dirty: arg.AllowDirty = False,
    allow_chance: arg.AllowChance = False,
) -> None:
    """Retrain, promote and forecast on a schedule, until Ctrl-C."""
    plan = read_plan(params, settings, forecasts, files=False)
    home = open_home()
    from flows.runtime.due import check_cron

    check_cron(cron, zone)
    with prefect_api(home, lasting=True) as server:
        from flows.schedule import serve as serve_runs
        from tasks.train.check import check_plan

        check_plan(plan)
        server.wait()
        for line in server.addresses():
            hand_over(line)
        print(f"{params}: due at {cron} ({zone}); Ctrl-C ends the schedule", flush=True)
        with server.announced(home):
            serve_runs(server, params, settings or [], cron, zone, forecasts, allow_dirty, allow_chance)
