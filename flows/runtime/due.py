"""When a schedule is due, and which runs were missed, according to Prefect's own schedule."""

import asyncio
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import available_timezones

from params.errors import UserError
from tasks.locks import Held, shared
from tasks.serve.notify import notify
from tasks.serve.schedule import Memory, missed, recall, remember

FIELDS = 5
HOW = "write minute, hour, day, month and weekday, such as '0 6 * * *'"


def check_cron(cron: str, zone: str) -> None:
    """Raises UserError for an invalid cron expression, one that is never due, or an unknown zone."""
    shown = repr(cron if len(cron) <= 100 else f"{cron[:100]}...")
    if not cron.startswith("@") and len(cron.split()) != FIELDS:  # a sixth would be seconds
        raise UserError(f"--cron {shown}: not {FIELDS} fields; {HOW}")
    if zone not in available_timezones():
        raise UserError(f"--timezone {zone!r}: there is no such zone; write one such as Europe/Berlin")
    from prefect.server.schemas.schedules import CronSchedule

    try:
        schedule = CronSchedule(cron=cron, timezone=zone)
    except ValueError:
        raise UserError(f"--cron {shown}: not a cron expression; {HOW}") from None
    try:
        asyncio.run(schedule.get_dates(1))
    except ValueError:
        raise UserError(f"--cron {shown}: is never due, since there is no such day; {HOW}") from None


def due_times(cron: str, zone: str | None, after: datetime, until: datetime) -> list[datetime]:
    """The due times in (after, until]; at most the first thousand."""
    from prefect.server.schemas.schedules import CronSchedule

    first = after + timedelta(microseconds=1)
    return [*asyncio.run(CronSchedule(cron=cron, timezone=zone).get_dates(start=first, end=until))]


def begin_serving(home: Path, name: str, cron: str, zone: str) -> None:
    """A schedule of a name is served from now on; reports runs missed before."""
    now = datetime.now(UTC)
    try:
        with shared(home, f"retrain-{name}", wait=False):
            known = account(home, name, now)
    except Held:  # a run is in progress
        known = account(home, name, now, at_work=True)
    remember(home, name, replace(known, cron=cron, zone=zone, accounted=now))


def begin_run(home: Path, name: str, due: datetime | None) -> None:
    """A run begins, holding the lock of its name; `due` is None by hand.  Reports missed runs."""
    now = datetime.now(UTC)
    if due is None:
        remember(home, name, replace(recall(home, name), began=now))
        return
    known = account(home, name, now, due)
    remember(home, name, replace(known, began=now, open=now, accounted=now if known.cron else None))


def end_run(home: Path, name: str) -> None:
    """A run has ended, in success or failure; not called if it was killed."""
    remember(home, name, replace(recall(home, name), open=None))


def account(home: Path, name: str, now: datetime, starting: datetime | None = None, at_work: bool = False) -> Memory:
    """Reports the due runs that did not happen; returns what is known of the runs of a name.

    `starting`: the due time of the run that begins now.  `at_work`: a run is in progress, not cut off.
    Times in the future, left by a clock that was ahead, are reported and dropped.
    """
    known = recall(home, name)
    ahead = known.ahead(now)
    if ahead is not None:
        why = f"the clock was ahead: the last run is noted for {ahead:%Y-%m-%d %H:%M} UTC, and it is {now:%Y-%m-%d %H:%M} now; "
        _report("warning", name, f"{why}that is forgotten, and the schedule goes on")
        known = known.without(now)
    due = due_times(known.cron, known.zone, known.accounted, now) if known.cron and known.accounted else []
    cut_off = None if at_work else known.open
    missed_runs = missed(due, starting, cut_off)
    if missed_runs is not None:
        _report("missed", name, missed_runs.words, runs=missed_runs.runs, since=missed_runs.since.isoformat())
    return known if at_work else replace(known, open=None)


def _report(event: str, name: str, why: str, **details: object) -> None:
    print(f"{name}: {why}", file=sys.stderr, flush=True)
    notify(event, name, why=why, **details)
