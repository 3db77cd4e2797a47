"""Locks between homes (tasks/locks.py), on a real PostgreSQL: one holds, and the loss of one is told."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from params.errors import Unavailable, UserError
from params.shown import learn
from tasks import locks
from tasks.locks import Held, database, shared, unguarded
from tests.postgresql import Postgres

ROOT = Path(__file__).resolve().parents[2]
HOLD = """
import sys, time
from pathlib import Path
from tasks.locks import shared
with shared(Path(sys.argv[1]), "promote-x"):
    print("held", flush=True)
    time.sleep(120)
"""


@pytest.fixture(params=["LAGLINE_LOCKS", "MLFLOW_TRACKING_URI"])
def named(request: pytest.FixtureRequest, database: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The database named as the locks' own, beside a server of MLflow, or as the store itself."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv(request.param, database)
    learn()
    return database


def test_holds_against_another_home_and_says_who(named: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path / "other")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        with pytest.raises(Held, match=rf"^promote-x: held by another lagline process \({process.pid} \w+@.*wait until"):
            shared(tmp_path / "home", "promote-x", wait=False).__enter__()
        with shared(tmp_path / "home", "promote-y", wait=False):
            pass
        process.kill()  # SIGKILL: the session ends with it, and so does the lock
        with shared(tmp_path / "home", "promote-x"):
            pass


def test_two_homes_take_turns(named: str, tmp_path: Path) -> None:
    inside, most = list[str](), list[int]()

    def one(name: str) -> None:
        with shared(tmp_path / name, "register-x"):
            inside.append(name)
            most.append(len(inside))
            time.sleep(0.05)
            inside.remove(name)

    threads = [threading.Thread(target=one, args=(f"home-{number}",)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 5


def test_one_whose_session_ended_does_not_hold_any_more(named: str, postgres: Postgres, tmp_path: Path) -> None:
    with shared(tmp_path, "promote-x") as still_ours:
        still_ours()
        postgres.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'lagline %'")
        with pytest.raises(Unavailable, match="the lock promote-x is lost, and nothing goes on without it") as caught:
            still_ours()
    assert postgres.password not in str(caught.value)
    with shared(tmp_path, "promote-x", wait=False):
        pass


def test_without_a_database_a_home_guards_itself_and_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    assert database() is None and unguarded() is None
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    told = unguarded()
    assert told is not None and "use one home for each name, or set LAGLINE_LOCKS=postgresql://" in told
    with shared(tmp_path / "a", "promote-x", wait=False) as still_ours, shared(tmp_path / "b", "promote-x", wait=False):
        still_ours()
        with pytest.raises(Held):
            shared(tmp_path / "a", "promote-x", wait=False).__enter__()
    monkeypatch.setenv("LAGLINE_LOCKS", "postgres://me@host/db")
    assert database() == "postgresql://me@host/db" and unguarded() is None
    monkeypatch.setenv("LAGLINE_LOCKS", "")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql+psycopg2://me@host/db")
    assert database() == "postgresql://me@host/db" and unguarded() is None


def test_an_address_that_is_none_is_refused_without_its_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for address in ("mysql://me:s3cr3tword@host/db", "me:s3cr3tword@host/db", "postgresql://"):
        monkeypatch.setenv("LAGLINE_LOCKS", address)
        with pytest.raises(UserError, match=r"LAGLINE_LOCKS=.*: write postgresql://") as caught:
            shared(tmp_path, "promote-x").__enter__()
        assert "s3cr3tword" not in str(caught.value)


def test_a_missing_driver_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAGLINE_LOCKS", "postgresql://me:s3cr3tword@127.0.0.1:9/db")
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    with pytest.raises(UserError, match=r"LAGLINE_LOCKS=postgresql://me:\*\*\*@.*the driver .* is missing.*'.\[postgresql\]'"):
        shared(tmp_path, "promote-x").__enter__()


@pytest.mark.stack
def test_a_database_that_does_not_answer_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("psycopg2")
    monkeypatch.setenv("LAGLINE_LOCKS", "postgresql://me:s3cr3tword@127.0.0.1:9/db")
    with pytest.raises(Unavailable, match=r"LAGLINE_LOCKS=.*me:\*\*\*@.*: the lock promote-x cannot be taken") as caught:
        shared(tmp_path, "promote-x").__enter__()
    assert "s3cr3tword" not in str(caught.value)


def test_the_number_of_a_name_never_changes() -> None:
    """Two laglines of different ages meet at the same lock."""
    assert locks.number("promote-smoke") == 8335028541413650034
