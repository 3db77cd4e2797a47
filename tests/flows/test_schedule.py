"""What a schedule is told is checked before anything is served: one message, and no server that stays."""

import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from flows.runtime.due import begin_run, begin_serving, check_cron, due_times, end_run
from params.errors import UserError
from tasks.locks import lock
from tasks.serve.schedule import Memory, recall, remember, superseded

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("zone", ["Foo/Bar", "", "europe/berlin", "../UTC"])
def test_a_zone_that_there_is_not_is_refused(zone: str) -> None:
    check_cron("0 6 * * *", "UTC")
    check_cron("0 6 * * *", "Europe/Berlin")
    with pytest.raises(UserError, match=f"--timezone '{zone}': there is no such zone; write one such as Europe/Berlin"):
        check_cron("0 6 * * *", zone)


@pytest.mark.parametrize(
    ("cron", "words"),
    [
        *((cron, "5 fields") for cron in ("", "daily", "0 6 * *", "* * * * * *", "0 6 * * * 0 2099", "* " * 5000)),
        *((cron, "not a cron expression") for cron in ("@reboot", "H * * * *", "0 24 * * *", "a b c d e", "\x1b[31m * * * *")),
        *((cron, "is never due") for cron in ("0 0 30 2 *", "0 0 31 4 *", "0 0 31 2,4,6,9,11 *")),
    ],
)
def test_what_is_no_cron_expression_or_never_due_is_refused(cron: str, words: str) -> None:
    with pytest.raises(UserError, match="write minute, hour, day, month and weekday") as told:
        check_cron(cron, "UTC")
    assert words in str(told.value) and len(str(told.value)) < 300


@pytest.mark.parametrize("cron", ["0 0 29 2 *", "@daily", "0 6 * * mon#2", "*/5 6-8 L * *", ",".join("0" * 4000) + " * * * *"])
def test_what_is_due_some_day_is_served(cron: str) -> None:
    check_cron(cron, "Europe/Berlin")


def test_due_times_are_those_of_the_zone_and_each_is_there_once_when_the_clock_changes() -> None:
    spring, autumn = datetime(2026, 3, 29, tzinfo=UTC), datetime(2026, 10, 24, 12, tzinfo=UTC)
    for cron, day in (("30 6 * * *", spring), ("30 6 * * *", autumn), ("30 2 * * *", autumn)):
        assert len(due_times(cron, "Europe/Berlin", day, day + timedelta(days=3))) == 3
    first, *_ = due_times("0 6 * * *", "Europe/Berlin", datetime(2026, 3, 28, 6, tzinfo=UTC), datetime(2026, 4, 2, tzinfo=UTC))
    assert first == datetime(2026, 3, 29, 4, tzinfo=UTC)
    assert due_times("0 6 * * *", "UTC", first, first) == [] and first not in due_times(
        "0 6 * * *", "Europe/Berlin", first, first + timedelta(days=1)
    )


def test_a_run_that_did_not_happen_is_told_once_at_the_next_start(tmp_path: Path, told) -> None:
    begin_serving(tmp_path, "story", "0 * * * *", "UTC")
    assert told() == []  # a first start has missed nothing
    now = datetime.now(UTC)
    then = now.replace(minute=30) - timedelta(days=1)
    remember(tmp_path, "story", replace(recall(tmp_path, "story"), accounted=then))
    begin_serving(tmp_path, "story", "0 6 * * *", "UTC")
    (missed,) = told()
    assert (missed["event"], missed["name"]) == ("missed", "story") and missed["runs"] in (23, 24)
    assert datetime.fromisoformat(missed["since"]) == then.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    begin_serving(tmp_path, "story", "0 6 * * *", "UTC")
    assert told() == []
    known = recall(tmp_path, "story")
    assert (known.cron, known.zone) == ("0 6 * * *", "UTC") and known.accounted is not None and known.accounted >= now


def test_a_run_that_was_cut_off_is_told_and_one_that_failed_is_not(tmp_path: Path, told) -> None:
    begin_serving(tmp_path, "story", "0 6 1 1 *", "UTC")
    begin_run(tmp_path, "story", datetime.now(UTC))
    begin_serving(tmp_path, "story", "0 6 1 1 *", "UTC")
    (missed,) = told()
    assert missed["runs"] == 1 and "was cut off" in missed["why"]
    begin_run(tmp_path, "story", datetime.now(UTC))
    end_run(tmp_path, "story")
    begin_serving(tmp_path, "story", "0 6 1 1 *", "UTC")
    begin_run(tmp_path, "story", None)  # by hand: who ended it knows
    begin_serving(tmp_path, "story", "0 6 1 1 *", "UTC")
    assert told() == []


def test_a_run_that_is_at_work_has_not_been_cut_off(tmp_path: Path, told) -> None:
    begin_serving(tmp_path, "story", "0 6 1 1 *", "UTC")
    with lock(tmp_path, "retrain-story"):
        begin_run(tmp_path, "story", datetime.now(UTC))
        begin_serving(tmp_path, "story", "0 6 1 1 *", "UTC")
    assert told() == []


def test_runs_that_one_before_them_kept_from_happening_are_told_by_the_next(tmp_path: Path, told) -> None:
    begin_serving(tmp_path, "story", "* * * * *", "UTC")
    due = datetime.now(UTC).replace(second=0, microsecond=0)
    remember(tmp_path, "story", replace(recall(tmp_path, "story"), accounted=due - timedelta(minutes=3, seconds=1)))
    begin_run(tmp_path, "story", due - timedelta(minutes=3))
    (missed,) = told()
    assert missed["runs"] in (3, 4)  # a minute may have passed
    end_run(tmp_path, "story")
    begin_run(tmp_path, "story", datetime.now(UTC).replace(second=0, microsecond=0))
    assert told() == []


def test_a_clock_that_was_ahead_is_told_once_and_nothing_is_skipped(tmp_path: Path, told) -> None:
    year = datetime.now(UTC) + timedelta(days=365)
    remember(tmp_path, "story", Memory(began=year, open=year, accounted=year, cron="0 * * * *", zone="UTC"))
    begin_serving(tmp_path, "story", "0 * * * *", "UTC")
    (warning,) = told()
    assert warning["event"] == "warning" and f"{year:%Y-%m-%d %H:%M} UTC" in warning["why"]
    assert not superseded(tmp_path, "story", datetime.now(UTC))
    begin_run(tmp_path, "story", datetime.now(UTC))
    assert told() == []
    remember(tmp_path, "story", Memory(began=year))  # of an earlier lagline, and a run without a new start of `serve`
    begin_run(tmp_path, "story", datetime.now(UTC))
    assert [one["event"] for one in told()] == ["warning"] and recall(tmp_path, "story").ahead(datetime.now(UTC)) is None


def test_a_wrong_zone_ends_serve_before_anything_is_due(warm, refused, tmp_path) -> None:
    done = warm("serve", "params/smoke.yaml", "--timezone", "Foo/Bar", home=tmp_path / "home")
    refused(done, 2, "--timezone 'Foo/Bar': there is no such zone")
    assert "due at" not in done.stdout


@pytest.mark.parametrize("where", ["none/next.parquet", "file/next.parquet", ".", "fifo"])
@pytest.mark.parametrize("verb", ["serve", "retrain"])
def test_a_forecast_that_cannot_be_written_is_found_before_the_server_starts(
    warm, refused, tmp_path: Path, where: str, verb: str
) -> None:
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "fifo")
    refused(warm(verb, "params/smoke.yaml", "--forecast", str(tmp_path / where), home=tmp_path / "home"), 2, "--forecast ")
    assert not (tmp_path / "home").exists()


def test_a_cron_that_is_never_due_ends_serve_before_the_server_starts(warm, refused, tmp_path: Path) -> None:
    done = warm("serve", "params/smoke.yaml", "--cron", "0 0 30 2 *", home=tmp_path / "home")
    refused(done, 2, "--cron '0 0 30 2 *': is never due")
    assert not list((tmp_path / "home").rglob("server.log")) and "due at" not in done.stdout


ANEW = """
import sqlite3, time
from flows.runtime.server import start_prefect
from flows.runtime.state import prefect_home, ready
home = ready()
server = start_prefect(home, lasting=True)
def ask(query):
    with sqlite3.connect(prefect_home(home) / "prefect.db", timeout=60) as database:
        return {time for (time,) in database.execute(query)}
def until(found):
    while not found():
        time.sleep(0.5)
try:
    server.wait()
    from flows.retrain import retrain
    from flows.schedule import _due_anew, _Runner
    from prefect.schedules import Cron
    _Runner(name="story", limit=1).add_flow(retrain, name="story", schedules=[Cron("0 6 * * *", timezone="UTC")])
    due = "select next_scheduled_start_time from flow_run"
    until(lambda: len(ask(due)) >= 3)
    before = ask(due)
    ask("update flow_run set next_scheduled_start_time = '9' || substr(next_scheduled_start_time, 2) returning 1")
    assert not before & ask(due)
    _due_anew("story")
    until(lambda: ask(due) == before)
    print("due as before")
finally:
    server.stop()
"""


@pytest.mark.fault
@pytest.mark.slow
def test_due_times_of_a_clock_that_was_ahead_are_made_anew(home: Path) -> None:
    """Prefect's scheduler is content with any three runs that are still to come, be they in a thousand years."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
    settings = ours | {"LAGLINE_HOME": str(home), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "ignore", "-c", ANEW]
    done = subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True, timeout=240, check=False)
    assert "due as before" in done.stdout, done.stdout + done.stderr
