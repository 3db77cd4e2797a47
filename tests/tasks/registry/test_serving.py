"""tasks/registry/versions.py: a version behind `mlflow models serve`, as MLflow's users put one to work, on loopback."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tasks.registry.versions import register
from tasks.tracking import connection, runs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy"),
    pytest.mark.filterwarnings("ignore:Operation with range is deprecated"),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, house: Any) -> Iterator[Any]:
    """A registered version as a pyfunc, its store named by the environment."""
    import mlflow

    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAGLINE_HOME", str(home))
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home}/mlflow.db")
        patch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
        connection.client.cache_clear()
        connection.connect(home)
        run = runs.child_run(runs.parent_run(runs.experiment("served", home), "served", "0" * 64)[0], "lstm", "1", {})
        house.write(home / "bundle", house.build())
        register(home / "bundle", name="served", run_id=run, identity="a" * 64, tags={}, home=home)
        yield mlflow.pyfunc.load_model("models:/served@challenger")
        connection.client.cache_clear()


@pytest.fixture(scope="module")
def address(model: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where `mlflow models serve` answers; its process and all that it started are killed at the end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    folder = tmp_path_factory.mktemp("server")
    command = [sys.executable, "-P", "-m", "mlflow", "models", "serve", "--model-uri", "models:/served@challenger"]
    command += ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), environment["PATH"]))  # it looks for uvicorn there
    log = folder / "log.txt"
    with log.open("wb") as out:
        server = subprocess.Popen(command, cwd=folder, env=environment, stdout=out, stderr=out, start_new_session=True)
    try:
        end = time.monotonic() + 120
        while not answers(f"http://127.0.0.1:{port}/ping"):
            assert server.poll() is None and time.monotonic() < end, log.read_text()
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def ask(address: str, frame: pd.DataFrame) -> tuple[int, Any]:
    """The status and the answer to a frame that is sent as `dataframe_split`."""
    split = json.loads(frame.to_json(orient="split", index=False, date_format="iso"))
    body = json.dumps({"dataframe_split": split}).encode()
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_a_served_version_forecasts_as_it_does_when_loaded(model: Any, address: str) -> None:
    example = model.input_example
    assert {"unique_id", "ds", "y", "x"} == set(example.columns)
    expected = model.predict(example)
    status, found = ask(address, example)
    assert status == 200, found
    made = pd.DataFrame(found["predictions"])
    np.testing.assert_allclose(made["yhat"], expected["yhat"], rtol=1e-5, atol=1e-5)
    assert list(made.columns) == list(expected.columns)
    assert made["unique_id"].tolist() == expected["unique_id"].tolist()
    assert pd.to_datetime(made["ds"]).tolist() == pd.to_datetime(expected["ds"]).tolist()


def test_a_request_without_a_column_is_refused_by_its_name(model: Any, address: str) -> None:
    status, found = ask(address, model.input_example.drop(columns="x"))
    assert status == 400 and "missing inputs ['x']" in json.dumps(found)
