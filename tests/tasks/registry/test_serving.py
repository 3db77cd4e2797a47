"""tasks/registry/versions.py: a version behind `mlflow models serve`, as MLflow's users put one to work, on loopback."""

import gzip
import io
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
from tests.marks import STORE

pytestmark = STORE


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
    environment |= {"LAGLINE_SERVE_MAX_ROWS": "200", "LAGLINE_SERVE_MAX_BYTES": "300000"}
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


def ask(address: str, body: Any, kind: str = "application/json") -> tuple[int, Any]:
    """The status and the answer to a body, which is JSON unless it is text or bytes; the answer is JSON, to the letter."""
    sent = body.encode() if isinstance(body, str) else body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(address, sent, {"Content-Type": kind})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer, parse_constant=pytest.fail)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def split(frame: pd.DataFrame) -> dict[str, Any]:
    return {"dataframe_split": json.loads(frame.to_json(orient="split", index=False, date_format="iso"))}


def csv(frame: pd.DataFrame) -> str:
    return frame.to_csv(index=False)


def same(expected: pd.DataFrame, status: int, found: Any) -> None:
    """An answer that holds the forecasts of a frame."""
    assert status == 200, found
    made = pd.DataFrame(found["predictions"])
    assert list(made.columns) == list(expected.columns)
    np.testing.assert_allclose(made["yhat"].astype(float), expected["yhat"], rtol=1e-5, atol=1e-5)
    assert made["unique_id"].tolist() == expected["unique_id"].tolist()
    assert pd.to_datetime(made["ds"]).tolist() == pd.to_datetime(expected["ds"]).tolist()


@pytest.mark.parametrize("form", ["text/csv", "dataframe_split", "dataframe_records", "inputs", "instances"])
def test_a_served_version_forecasts_as_it_does_when_loaded(model: Any, address: str, form: str) -> None:
    example = model.input_example
    assert {"unique_id", "ds", "y", "x"} == set(example.columns)
    expected = model.predict(example)
    columns = json.loads(example.to_json(orient="split", index=False))
    rows = [dict(zip(columns["columns"], row, strict=True)) for row in columns["data"]]
    bodies = {
        "text/csv": csv(example),
        "dataframe_split": split(example),
        "dataframe_records": {form: rows},
        "instances": {form: rows},
        "inputs": {form: {name: [row[name] for row in rows] for name in columns["columns"]}},
    }
    same(expected, *ask(address, bodies[form], form if form == "text/csv" else "application/json"))


def test_a_csv_may_hold_names_like_numbers_whole_numbers_and_empty_cells(model: Any, address: str) -> None:
    frame = model.input_example.assign(unique_id="007", y=lambda rows: rows["y"].round().astype(int))
    frame["x"] = frame["x"].astype(object).where(frame.index % 5 != 2, None)
    status, found = ask(address, csv(frame), "text/csv; charset=utf-8")
    same(model.predict(frame), status, found)
    assert {row["unique_id"] for row in found["predictions"]} == {"007"}


def test_a_loaded_version_takes_a_csv_as_pandas_reads_it(model: Any) -> None:
    frame = model.input_example.assign(unique_id=7, y=lambda rows: rows["y"].round().astype(int))
    read = pd.read_csv(io.StringIO(csv(frame)))
    assert read["unique_id"].dtype.kind == read["y"].dtype.kind == "i"
    assert model.predict(read)["unique_id"].tolist() == ["7"] * 4


def test_a_request_without_a_column_is_refused_by_its_name(model: Any, address: str) -> None:
    lacking = model.input_example.drop(columns="x")
    for body, kind in ((split(lacking), "application/json"), (csv(lacking), "text/csv")):
        assert ask(address, body, kind) == (400, refusal("column 'x' is missing; needed are unique_id, ds, y, x"))


def refusal(words: str) -> dict[str, str]:
    return {"error_code": "BAD_REQUEST", "message": words}


NO_FORM = "the body is a JSON object with one of dataframe_split, dataframe_records, inputs, instances"


@pytest.mark.parametrize(
    ("body", "kind", "status", "words"),
    [
        ("[" * 200_000, "application/json", 400, "the body is JSON that is nested too deep"),
        ('{"inputs":' * 20_000, "application/json", 400, "the body is JSON that is nested too deep"),
        ("", "application/json", 400, "the body is not JSON (Expecting value: line 1 column 1 (char 0))"),
        ("[]", "application/json", 400, NO_FORM),
        ({"inputs": [], "instances": []}, "application/json", 400, NO_FORM),
        (gzip.compress(b"a,b", mtime=0), "text/csv", 400, "the body is not UTF-8 text (byte 1); send it uncompressed"),
        ("unique_id,ds,y,x", "text/csv", 400, "the frame has no rows: nothing to forecast from"),
        ("unique_id,ds,y,x\na,2024-01-01,1", "text/csv", 400, "row 1 of the CSV has 3 fields, its header 4"),
        ("a=1", "application/x-www-form-urlencoded", 415, "send text/csv or application/json, in UTF-8, as the Content-Type"),
        (b"PAR1", "application/vnd.apache.parquet", 415, "send text/csv or application/json, in UTF-8, as the Content-Type"),
        ({"inputs": {name: [1] * 201 for name in ("unique_id", "ds", "y", "x")}}, "application/json", 413,
         "a request has at most 200 rows (LAGLINE_SERVE_MAX_ROWS); send fewer series, or only the newest rows"),
        ("unique_id,ds,y,x\n" + "a,2024-01-01,1,1\n" * 201, "text/csv", 413,
         "a request has at most 200 rows (LAGLINE_SERVE_MAX_ROWS); send fewer series, or only the newest rows"),
        (b" " * 4_000_000, "text/csv", 413,
         "a request has at most 300,000 bytes (LAGLINE_SERVE_MAX_BYTES); send fewer rows or series"),
    ],
)  # fmt: skip
def test_nonsense_is_answered_in_one_sentence_and_the_server_goes_on(
    model: Any, address: str, body: Any, kind: str, status: int, words: str
) -> None:
    assert ask(address, body, kind) == (status, refusal(words))
    same(model.predict(model.input_example), *ask(address, split(model.input_example)))
