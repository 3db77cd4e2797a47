"""The requests of docs/serving.md to a served version, word for word: every block is run as it stands."""

import ast
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import polars as pl
import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "serving.md"
PORT = 5001  # the one of the pages
pytestmark = pytest.mark.story


def blocks(language: str, word: str) -> list[str]:
    """The blocks of code of the page in a language that hold a word."""
    found = re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return [text for text in found if word in text]


def block(language: str, word: str) -> str:
    (text,) = blocks(language, word)
    return text


@pytest.fixture(scope="module")
def place(warm, new_home, tmp_path_factory) -> Path:
    """A checkout as the pages see it, after a run of the shipped example with one of its variants."""
    folder = tmp_path_factory.mktemp("checkout")
    home = new_home(folder / ".lagline")
    few = ("--variants", "ridge", "--set", "evaluation.baselines=[last_value, drift, seasonal_naive]")
    done = warm("compare", "params/nyc_weather.yaml", *few, home=home)
    assert done.returncode == 0 and "Registered as nyc-weather version 1" in done.stdout, done.stdout + done.stderr
    (folder / ".venv").symlink_to(sys.prefix)
    for name in ("docs", "data"):
        (folder / name).symlink_to(ROOT / name)
    return folder


def run(text: str, place: Path, port: int) -> str:
    """What a block of a page says, its port replaced by one that is free."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "PYTHONPATH"))}
    text = text.replace(f":{PORT}/", f":{port}/")
    done = subprocess.run(["bash", "-ec", text], cwd=place, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def python(text: str) -> str:
    """A block of Python with the variables of the page."""
    (exports,) = re.findall(r"^export .*$", block("bash", "models serve"), re.MULTILINE)
    return f"{exports}\npython - <<'END'\n{text}END\n"


@pytest.fixture(scope="module")
def served(place: Path) -> Iterator[int]:
    """The port of a server that the page's own block started."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = ["bash", "-ec", block("bash", "models serve").replace(f"--port {PORT}", f"--port {port}")]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "PYTHONPATH"))}
    log = place / "serve.log"
    with log.open("wb") as out:
        server = subprocess.Popen(command, cwd=place, env=environment, stdout=out, stderr=out, start_new_session=True)
    try:
        end = time.monotonic() + 180
        while True:
            with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5):
                break
            assert server.poll() is None and time.monotonic() < end, log.read_text()
            time.sleep(0.3)
        yield port
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def test_the_request_of_the_page_is_answered_as_it_says(served: int, place: Path) -> None:
    (request,) = [line for line in PAGE.read_text().splitlines() if line.startswith("curl ")]
    found = json.loads(run(request, place, served))["predictions"]
    shown = json.loads(block("json", "yhat"))
    assert len(found) == 24 and list(found[0]) == list(shown)
    for name, value in shown.items():
        assert found[0][name] == (value if isinstance(value, str) else pytest.approx(value, rel=0.01)), name
    told = run(python("".join(blocks("python", "urllib"))), place, served).splitlines()
    plain, asked = map(ast.literal_eval, told)
    assert plain == found[0] and asked["yhat"] == plain["yhat"]
    order = ("yhat-lo-95", "yhat-lo-80", "yhat-q-0.5", "yhat-hi-80", "yhat-hi-95")
    assert {*asked} - {*plain} == {*order} and [asked[name] for name in order] == sorted(asked[name] for name in order)


def test_a_version_is_loaded_as_the_page_says(place: Path) -> None:
    told = run(python("".join(blocks("python", "model.predict"))), place, 0)
    *lines, columns, polars, _, own, _, _ = told.splitlines()
    assert [line.split()[1:4] for line in lines[1:]] == [["JFK", "2013-12-31", f"0{n}:00:00+00:00"] for n in range(3)]
    (value,) = re.findall(r'"yhat": ([\d.]+)', block("json", "yhat"))
    assert float(lines[1].split()[4]) == pytest.approx(float(value), rel=0.01)
    assert ast.literal_eval(columns)[4:8] == ["yhat-lo-80", "yhat-hi-80", "yhat-lo-95", "yhat-hi-95"]
    assert polars.startswith("[('JFK', datetime.datetime(2013, 12, 31, 0, 0")
    assert float(re.findall(r", ([\d.]+)\)", polars)[0]) == pytest.approx(float(lines[1].split()[4]), rel=1e-4)
    assert own.split()[1:3] == ["EWR", "2013-12-31"]


def test_a_batch_is_forecast_as_the_page_says(warm, place: Path) -> None:
    words = shlex.split(block("bash", "flows forecast"))[3:]
    done = warm(*words, home=place / ".lagline", cwd=place)
    assert done.returncode == 0, done.stdout + done.stderr
    assert pl.read_csv(place / "next.csv").group_by("origin").len().sort("origin").rows() == [
        ("EWR", 24),
        ("JFK", 24),
        ("LGA", 24),
    ]


def test_the_request_is_the_end_of_the_shipped_data() -> None:
    names = {"origin": "unique_id", "time_hour": "ds", "temp": "y"}
    data = pl.read_parquet(ROOT / "data" / "nyc_weather.parquet").rename(names).filter(pl.col("unique_id") == "JFK")
    sent = pl.read_csv(ROOT / "docs" / "jfk.csv", try_parse_dates=True)
    last = data.sort("ds").tail(72).select(sent.columns)
    assert sent.drop("ds").equals(last.drop("ds"))
    assert sent["ds"].to_list() == last["ds"].to_list()
