"""`serve` (flows/schedule.py) for a due minute: it trains, promotes and forecasts; Ctrl-C leaves nothing running."""

import json
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import polars as pl
import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow
PATIENCE = 300  # seconds: at most a minute to the first due time, then one small run on a busy machine


@pytest.fixture(scope="module")
def served(start, new_home, tmp_path_factory) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A schedule that is due every minute, started before the first test: (process, folder of its files)."""
    folder = tmp_path_factory.mktemp("served")
    rows = pl.read_parquet(ROOT / "data" / "nyc_weather.parquet")  # up to October: one epoch beats the naive there
    rows.filter(pl.col("time_hour") < datetime(2013, 10, 1, tzinfo=UTC)).write_parquet(folder / "early.parquet")
    settings = (
        "name=due",
        "windows.horizon=12",
        "windows.stride=6",
        "evaluation.stride=6",
        "variants=[gru]",
        "training.max_epochs=1",
        f"data.path={folder}/early.parquet",
    )
    options = (*(part for one in settings for part in ("--set", one)), "--cron", "* * * * *", "--forecast")
    home, log = new_home(folder / "home"), folder / "serve.log"
    process = start(
        "serve", "params/smoke.yaml", *options, str(folder / "next.parquet"), "--allow-dirty", home=home, output=log
    )
    yield process, folder
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.fixture
def at_work(start, home: Path, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A schedule whose run trains: (process, its log)."""
    log = tmp_path / "serve.log"
    settings = ("variants=[gru, elman]", "training.max_epochs=3000", "training.patience_epochs=3000")
    options = (*(part for one in settings for part in ("--set", one)), "--cron", "* * * * *", "--allow-dirty")
    process = start("serve", "params/smoke.yaml", *options, home=home, output=log)
    try:
        until = time.monotonic() + PATIENCE
        while "train ..." not in log.read_text():
            assert process.poll() is None and time.monotonic() < until, log.read_text()[-3000:]
            time.sleep(0.5)
        yield process, log
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def statuses(home: Path) -> dict[str, str]:
    """Name -> status of all runs in MLflow, read without it."""
    database = sqlite3.connect(f"file:{home}/mlflow.db?mode=ro", uri=True)
    try:
        return dict(database.execute("select name, status from runs"))
    finally:
        database.close()


@pytest.mark.fault
def test_the_run_of_a_schedule_that_was_killed_ends_too(at_work, home: Path) -> None:
    process, log = at_work
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) > 1  # the Prefect server and the run
    process.kill()
    assert not psutil.wait_procs(family, timeout=30)[1], log.read_text()[-3000:]
    assert set(statuses(home).values()) == {"KILLED"}, (statuses(home), log.read_text()[-3000:])


@pytest.mark.fault
@pytest.mark.parametrize(
    ("number", "whole", "status"),
    [
        (signal.SIGTERM, False, 143),
        (signal.SIGTERM, True, 143),  # as a service manager does, all at once
        (signal.SIGHUP, False, 129),
        (signal.SIGINT, False, 130),
    ],
)
def test_a_signal_ends_the_schedule_and_the_run_that_is_at_work_in_order(
    at_work, home: Path, number: signal.Signals, whole: bool, status: int
) -> None:
    process, log = at_work
    family = psutil.Process(process.pid).children(recursive=True)
    for one in [psutil.Process(process.pid), *(family if whole else [])]:
        with suppress(psutil.Error):
            one.send_signal(number)
    for _ in range(50):  # somebody is impatient, up to the last moment
        time.sleep(0.2)
        with suppress(ProcessLookupError):
            process.send_signal(number)
    assert process.wait(timeout=120) == status, log.read_text()[-3000:]
    assert not psutil.wait_procs(family, timeout=20)[1]
    printed = log.read_text()
    assert "Traceback" not in printed and "started again" not in printed, printed[-3000:]
    assert printed.rstrip().endswith("interrupted" if number == signal.SIGINT else f"ended by {number.name}")
    assert set(statuses(home).values()) == {"KILLED"}, (statuses(home), log.read_text()[-3000:])


@pytest.mark.fault
def test_a_run_at_work_goes_on_when_the_server_of_its_schedule_is_killed(at_work, home: Path) -> None:
    process, log = at_work
    (record,) = (home / "locks").glob("server-*.json")
    psutil.Process(json.loads(record.read_text())["pid"]).kill()
    until = time.monotonic() + PATIENCE
    while not (there := [*(home / "locks").glob("server-*.json")]) or there == [record]:
        assert process.poll() is None and time.monotonic() < until, log.read_text()[-3000:]
        time.sleep(0.5)
    time.sleep(20)  # the runner asks every ten seconds for what is due
    assert process.poll() is None and set(statuses(home).values()) == {"RUNNING"}
    process.terminate()
    assert process.wait(timeout=60) == 143, log.read_text()[-3000:]
    printed = log.read_text()
    assert "our Prefect server has ended (signal 9); it is started again" in printed and "Traceback" not in printed, printed


@pytest.mark.story
def test_a_due_run_retrains_promotes_and_forecasts_and_ctrl_c_ends_all(served, warm, prefect_rows) -> None:
    def begun() -> list[tuple[str, str, str | None]]:
        """State, start and end of the scheduled runs that have begun; none while the database or its tables are being made."""
        of_the_schedule = "start_time is not null and deployment_id is not null"
        with suppress(sqlite3.OperationalError):
            return prefect_rows(
                home, f"select state_type, start_time, end_time from flow_run where {of_the_schedule} order by 2"
            )
        return []

    process, folder = served
    home, out, log = folder / "home", folder / "next.parquet", folder / "serve.log"
    until = time.monotonic() + PATIENCE
    while not any(state == "COMPLETED" for state, _, _ in begun()):
        assert process.poll() is None and time.monotonic() < until, log.read_text()[-3000:]
        assert "FAILED" not in [state for state, _, _ in begun()], log.read_text()[-3000:]
        time.sleep(0.5)
    while ("due: promoted",) not in prefect_rows(home, "select message from log"):  # which comes in batches
        assert time.monotonic() < until, log.read_text()[-3000:]
        time.sleep(0.5)
    family = psutil.Process(process.pid).children(recursive=True)
    assert family  # the Prefect server at least
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(timeout=60) == 130
    assert not psutil.wait_procs(family, timeout=20)[1]
    printed = log.read_text()
    assert "due at * * * * * (UTC)" in printed and "Traceback" not in printed, printed[-3000:]
    (entry, *_) = json.loads(warm("history", "due", "--json", home=home).stdout)["entries"]
    assert (entry["decision"], entry["champion"]) == ("promoted", "1")
    assert pl.read_parquet(out).height == 3 * 12
    told = prefect_rows(home, "select f.name, l.message from log l join flow_run f on f.id = l.flow_run_id")
    assert {"retrain due", "compare due", "promote due"} <= {name for name, _ in told} and not [n for n, _ in told if "/" in n]
    assert all(last and last <= first for (_, _, last), (_, first, _) in pairwise(begun()))  # never two at once
