"""How long one forecast takes: over HTTP, in process, and by the command, against the bare graph and MLflow's empty call.

    python -m benchmarks.serving                        a version of params/smoke.yaml, made for it
    python -m benchmarks.serving --rounds 300 --many 30

One series (24 rows) and 1,000 series (24,000 rows) per request, to the same GRU:

*graph*: the exported graph of the version alone, on inputs in place.  *pyfunc*: `mlflow.pyfunc.load_model(...).predict(frame)`.
*JSON*, *CSV*: `mlflow models serve` on loopback, one worker, one kept connection, from the request's bytes to the parsed
answer's bytes.  *empty*: a model that returns one number, served in the same way and asked with one row.  *command*:
`python -m flows forecast`, a process of its own.  All ways take turns in each round; p50 and p99 over the rounds, after one
that does not count.  One thread each.  Last line: JSON with `ratio` = p50 of JSON over graph plus empty, of one series.
"""

import argparse
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks._turns import Way, in_turn

ROOT = Path(__file__).resolve().parents[1]
ROUNDS, MANY, COMMANDS = 300, 30, 3  # rounds of one series, of 1,000 series, of the command
SERIES, ROWS = 1_000, 24
NAME = "smoke"
EMPTY = """
import mlflow

class Empty(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return [0.0]

mlflow.models.set_model(Empty())
"""


def settings(home: Path) -> dict[str, str]:
    """The environment of everything that runs here: one thread, a state folder of its own."""
    bin_folder = str(Path(sys.executable).parent)
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "PREFECT_"))}
    ours |= {"LAGLINE_HOME": str(home), "MLFLOW_TRACKING_URI": f"sqlite:///{home}/mlflow.db", "OMP_NUM_THREADS": "1"}
    return ours | {"PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}", "PYTHONWARNINGS": "ignore"}


def command(home: Path, *words: str) -> None:
    """Runs `python -m flows`.  Raises RuntimeError where it fails."""
    done = subprocess.run([sys.executable, "-m", "flows", *words], cwd=ROOT, env=settings(home), capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)} ended with {done.returncode}: {done.stdout}{done.stderr}")


def tables() -> dict[int, pd.DataFrame]:
    """A request of one series, and of 1,000, from the end of the shipped data."""
    names = {"origin": "unique_id", "time_hour": "ds", "temp": "y"}
    data = pd.read_parquet(ROOT / "data" / "nyc_weather.parquet").rename(columns=names)
    series = data[data.unique_id == "JFK"].sort_values("ds").tail(ROWS)[["unique_id", "ds", "y", "dewp"]]
    series = series.assign(ds=series.ds.dt.strftime("%Y-%m-%dT%H:%M:%SZ"))
    noise = np.random.default_rng(0).normal(size=(SERIES, ROWS))
    many = [series.assign(unique_id=f"s{number:04}", y=series.y + noise[number].round(2)) for number in range(SERIES)]
    return {1: series, SERIES: pd.concat(many)}


@contextmanager
def served(home: Path, uri: str) -> Iterator[http.client.HTTPConnection]:
    """A connection to `mlflow models serve` of a model, which ends with the block."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    words = ["mlflow", "models", "serve", "--model-uri", uri, "--env-manager", "local", "--port", str(port), "--workers", "1"]
    with (home / f"serve-{port}.log").open("wb") as log:
        server = subprocess.Popen(words, cwd=home, env=settings(home), stdout=log, stderr=log, start_new_session=True)
    try:
        end = time.monotonic() + 300
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            if server.poll() is not None or time.monotonic() > end:
                raise RuntimeError((home / f"serve-{port}.log").read_text())
            time.sleep(0.2)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield connection
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def ask(connection: http.client.HTTPConnection, body: bytes, kind: str) -> bytes:
    """The answer to one request.  Raises RuntimeError for any status but 200."""
    try:
        connection.request("POST", "/invocations", body, {"Content-Type": kind})
        answer = connection.getresponse()
    except (BrokenPipeError, http.client.RemoteDisconnected):  # the server closes what was idle for five seconds
        connection.close()
        return ask(connection, body, kind)
    text = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"{answer.status}: {text[:500]!r}")
    return text


def graph_of(folder: Path, series: int) -> Way:
    """A call of a bundle's exported graph for so many series, on inputs that are in place."""
    import torch

    from models import serving

    model = serving.load(folder)
    if model.graph is None:
        raise RuntimeError("a baseline was registered, which has no graph: nothing to compare with")
    held: list[tuple[serving.Graph, dict[str, torch.Tensor]]] = []
    run = model.run

    def keep(graph: serving.Graph, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        held.append((graph, inputs))
        return run(graph, inputs)

    model.run = keep  # type: ignore[method-assign]
    model.forecast(tables()[series])
    model.run = run  # type: ignore[method-assign]

    @torch.inference_mode()
    def call() -> None:
        for graph, inputs in held:
            run(graph, inputs)

    return call


def ways(folder: Path, bundle: Path, series: int, connections: list[http.client.HTTPConnection]) -> dict[str, Way]:
    """The ways to forecast so many series, by name."""
    import mlflow

    table, (ours, empty) = tables()[series], connections
    loaded = mlflow.pyfunc.load_model(str(folder))
    split = {"columns": list(table.columns), "data": json.loads(table.to_json(orient="values"))}
    body, text = json.dumps({"dataframe_split": split}).encode(), table.to_csv(index=False).encode()
    nothing = json.dumps({"dataframe_split": {"columns": ["y"], "data": [[0.0]]}}).encode()
    return {
        "graph": graph_of(bundle, series),
        "empty": lambda: ask(empty, nothing, "application/json"),
        "pyfunc": lambda: loaded.predict(table),
        "JSON": lambda: ask(ours, body, "application/json"),
        "CSV": lambda: ask(ours, text, "text/csv"),
    }


def show(title: str, seconds: dict[str, list[float]]) -> dict[str, float]:
    """Prints p50 and p99 of each way in milliseconds, and gives the p50."""
    print(f"{title:16}{'p50 ms':>10}{'p99 ms':>10}")
    for name, values in seconds.items():
        print(f"  {name:14}{1000 * np.quantile(values, 0.5):10.2f}{1000 * np.quantile(values, 0.99):10.2f}", flush=True)
    return {name: float(np.median(values)) for name, values in seconds.items()}


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--many", type=int, default=MANY)
    given = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        home = Path(place)
        command(home, "compare", "params/smoke.yaml", "--variants", "gru", "--set", "evaluation.baselines=[seasonal_naive]")
        os.environ |= settings(home)
        import mlflow

        folder = Path(mlflow.artifacts.download_artifacts(f"models:/{NAME}/1", dst_path=str(home / "version")))
        (bundle,) = (path.parent for path in folder.rglob("manifest.json"))
        (home / "empty.py").write_text(EMPTY)
        mlflow.pyfunc.save_model(str(home / "empty"), python_model=str(home / "empty.py"), pip_requirements=[])
        uris = (f"models:/{NAME}/1", str(home / "empty"))
        connections = [stack.enter_context(served(home, uri)) for uri in uris]
        single = show("1 series", in_turn(ways(folder, bundle, 1, connections), given.rounds))
        many = show(f"{SERIES:,} series", in_turn(ways(folder, bundle, SERIES, connections), given.many))
        for series, table in tables().items():
            table.to_parquet(home / f"{series}.parquet")
        out = str(home / "out.parquet")
        verbs = {
            f"{series:,} series": lambda series=series: command(
                home, "forecast", f"{NAME}@1", "--nixtla", "--data", str(home / f"{series}.parquet"), "--out", out
            )
            for series in tables()
        }
        batch = show("command", in_turn(verbs, COMMANDS))
    ratio = single["JSON"] / (single["graph"] + single["empty"])
    seconds = {"one": single, "many": many, "command": batch}
    print(json.dumps({"ratio": ratio, "ratio_csv": single["CSV"] / (single["graph"] + single["empty"]), **seconds}))


if __name__ == "__main__":
    main()
