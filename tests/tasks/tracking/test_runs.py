"""Experiments of several homes in one store, and where their files go."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Timer
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from params.errors import UserError
from tasks.tracking import connection, logs, runs

ROOT = Path(__file__).resolve().parents[3]
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning")]  # of mlflow's own imports
BOTH = """
import sys
from pathlib import Path
from tasks.tracking import connection, logs, runs
home = Path(sys.argv[1])
connection.connect(home)
experiment = runs.experiment("smoke", home)
run, _ = runs.parent_run(experiment, "smoke", sys.argv[2])
logs.log_text(run, "from " + home.name, "said.txt")
print(experiment, run, connection.client().get_run(run).info.artifact_uri)
"""


def environment(address: str, **more: str) -> dict[str, str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    return plain | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore", "MLFLOW_TRACKING_URI": address} | more


def test_homes_that_begin_at_once_share_a_store_and_leave_the_working_folder_clean(database: str, tmp_path: Path) -> None:
    """The store is new, so that all of them make its tables and the experiment."""
    here = tmp_path / "checkout"
    here.mkdir()
    started = [
        subprocess.Popen(
            [sys.executable, "-c", BOTH, str(tmp_path / f"home-{number}"), f"{number}" * 64],
            cwd=here, env=environment(database), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for number in range(4)
    ]  # fmt: skip
    ends = [(*process.communicate(timeout=300), process.returncode) for process in started]
    assert [status for *_, status in ends] == [0] * 4, ends
    found = [out.split() for out, *_ in ends]
    assert len({experiment for experiment, *_ in found}) == 1 and len({run for _, run, _ in found}) == 4
    assert list(here.iterdir()) == []
    (first,) = {address.split("/artifacts/")[0] for *_, address in found}  # whoever made the experiment said where
    assert first.startswith(f"file://{tmp_path}/home-")


@pytest.fixture
def other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Another home of a store, to which our client speaks."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    connection.client.cache_clear()
    connection.connect(tmp_path / "one")
    yield tmp_path / "other"
    connection.client.cache_clear()


def test_an_experiment_that_another_home_makes_meanwhile_is_taken(
    other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, asked = connection.client(), list[str]()
    look = client.get_experiment_by_name

    def late(name: str) -> Any:
        asked.append(name)
        if len(asked) > 1:
            return look(name)
        client.create_experiment(name, (tmp_path / "one" / "artifacts" / name).as_uri())  # between our look and our making
        return None

    monkeypatch.setattr(client, "get_experiment_by_name", late)
    assert runs.experiment("smoke", other) == look("smoke").experiment_id
    assert look("smoke").artifact_location == (tmp_path / "one" / "artifacts" / "smoke").as_uri()


def test_files_go_below_the_home_or_where_they_are_told_to(
    other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = {"a": "", "b": f"{tmp_path}/the place/x", "c": f"file://{tmp_path}/c/"}
    for name, place in places.items():
        monkeypatch.setenv("LAGLINE_ARTIFACTS", place)
        run, _ = runs.parent_run(runs.experiment(name, other), name, "0" * 64)
        logs.log_text(run, "here", "said.txt")
    for file in ("other/artifacts/a", "the place/x/b", "c/c"):
        (found,) = (tmp_path / file).glob("*/artifacts/said.txt")
        assert found.read_text() == "here"


@pytest.mark.parametrize("store", ["mysql://h/d", "mssql://h/d", "postgresql://h/d", "sqlite:////x.db", "http://h"])
def test_a_server_keeps_files_as_it_likes_and_a_database_below_the_home(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    assert runs.artifacts(Path("/h")) == (None if store.startswith("http") else "file:///h/artifacts")
    monkeypatch.setenv("LAGLINE_ARTIFACTS", "s3://bucket/lagline/")
    assert runs.artifacts(Path("/h")) == "s3://bucket/lagline"


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("gs://bucket/x", "write a folder, or s3://bucket/folder"),
        ("s3://", "write a folder, or s3://bucket/folder"),
        ("s3://bucket/x?region=y", "write a folder, or s3://bucket/folder"),
        ("file://x/y", "write a folder, or s3://bucket/folder"),
        ("s3://key:s3cr3tword@bucket/x", "there is a password or a key in this address"),
    ],
)
def test_what_is_no_place_for_files_is_refused(place: str, told: str, other: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAGLINE_ARTIFACTS", place)
    with pytest.raises(UserError, match=f"^LAGLINE_ARTIFACTS.*{told}") as caught:
        runs.experiment("smoke", other)
    assert "s3cr3tword" not in str(caught.value) and connection.client().get_experiment_by_name("smoke") is None


def test_without_boto3_a_store_is_refused_before_anything_is_made(other: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAGLINE_ARTIFACTS", "s3://bucket/lagline")
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(UserError, match=r"MLflow needs boto3 for it: python -m pip install .*'.\[s3\]'"):
        runs.experiment("smoke", other)
    assert connection.client().get_experiment_by_name("smoke") is None


def test_files_in_a_store_that_speaks_s3_come_to_another_home(tmp_path: Path) -> None:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "a-test", "AWS_DEFAULT_REGION": "us-east-1"}
        keys |= {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "LAGLINE_ARTIFACTS": "s3://files/lagline"}
        settings = environment(f"sqlite:///{tmp_path}/mlflow.db", **keys)
        client = boto3.client(
            "s3",
            endpoint_url=f"http://{host}:{port}",
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="a-test",
        )
        client.create_bucket(Bucket="files")
        command = [sys.executable, "-c", BOTH, str(tmp_path / "one"), "1" * 64]
        done = subprocess.run(command, cwd=tmp_path, env=settings, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        experiment, run, address = done.stdout.split()
        assert address == f"s3://files/lagline/smoke/{run}/artifacts"
        (key,) = [found["Key"] for found in client.list_objects_v2(Bucket="files")["Contents"]]
        assert key == f"lagline/smoke/{run}/artifacts/said.txt"
        read = "import sys; from tasks.tracking import logs; print(logs.artifact(sys.argv[1], 'said.txt').read_text())"
        done = subprocess.run([sys.executable, "-c", read, run], cwd=tmp_path, env=settings, capture_output=True, text=True)
        assert done.stdout == "from one\n" and experiment, done.stderr
        client.close()
    finally:
        server.stop()


def test_a_run_ends_though_its_store_is_busy_and_a_second_ctrl_c_comes(other: Path, tmp_path: Path) -> None:
    run, _ = runs.parent_run(runs.experiment("smoke", other), "smoke", "1")
    writer = sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None, check_same_thread=False)
    writer.execute("begin immediate")
    timers = [
        Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)),
        Timer(8.0, writer.execute, ("rollback",)),
    ]  # sqlite waits for 5 s
    for timer in timers:
        timer.start()
    runs.abandon(run, "KILLED")
    assert connection.client().get_run(run).info.status == "KILLED"
    timers[1].join()
    writer.close()
