"""Small tables, a panel with a forecaster of random weights, and a real tracking server, shared by the rooms."""

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pytest
import torch

from models.data.panel import Panel, Split
from models.data.scaling import fit_scaling
from models.data.window import FeatureWindow, WindowParams
from models.families import build_forecaster
from models.forecaster import Forecaster
from models.serving import Calibration
from params.load import load_run, load_variant
from tasks.calibrate.calibrate import Calibrated
from tasks.engine.choice import engine
from tasks.grid.frequency import Frequency
from tasks.lags.panel import write_panel
from tasks.registry.bundle import write_bundle
from tasks.registry.facts import BundleFacts, TrainedOn
from tasks.registry.register import border, facts_of
from tasks.tracking import connection
from tasks.train.identity import fingerprint
from tasks.train.job import make_job

START = datetime(2020, 1, 1)


@pytest.fixture(scope="session")
def frame_of() -> Callable[..., pl.LazyFrame]:
    """`frame_of({"a": [1.0, None]}, x=[...])`: hourly rows of each series from START; other columns are given for all rows."""

    def make(series: dict[str, list[float | None]], **columns: list[float | None] | pl.Series) -> pl.LazyFrame:
        rows = [(name, START + timedelta(hours=i), y) for name, values in series.items() for i, y in enumerate(values)]
        keys = pl.DataFrame(rows, schema={"unique_id": pl.String, "ds": pl.Datetime("us"), "y": pl.Float64}, orient="row")
        others = {k: v if isinstance(v, pl.Series) else pl.Series(v, dtype=pl.Float64) for k, v in columns.items()}
        return keys.with_columns(pl.col("ds").dt.replace_time_zone("UTC"), **others).lazy()

    return make


class Server:
    """An MLflow server on a port of its own, whose store and artifacts outlive it."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.uri, self.folder = f"http://127.0.0.1:{self.port}", folder
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        store = ("--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db")
        store += ("--artifacts-destination", str(self.folder / "artifacts"))  # the server hands them out
        where = ("--host", "127.0.0.1", "--port", str(self.port), "--workers", "1")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *store, *where],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},  # nothing of ours needs it, and it costs seconds
            start_new_session=True,
        )
        until = time.monotonic() + 120
        while time.monotonic() < until:
            try:
                with urllib.request.urlopen(f"{self.uri}/health", timeout=1):
                    return
            except OSError:
                time.sleep(0.2)
        raise TimeoutError("the MLflow server did not come up")

    def kill(self) -> None:
        import psutil

        if self.process is not None:
            family = [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]
            for member in family:
                member.kill()
            self.process.wait()
            psutil.wait_procs(family[1:], timeout=10)
            self.process = None


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server that is up; lagline's client speaks to it, and waits briefly."""
    found = Server(tmp_path)
    found.start()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", found.uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(connection, "AGAIN", 0.1)
    connection.client.cache_clear()
    try:
        yield found
    finally:
        found.kill()
        connection.client.cache_clear()


class Nodes:
    """A Ray cluster on this machine's loopback: a head that carries no fit, and two nodes with caches of their own.

    Ray takes 127.0.0.1 for the machine's own address, on which nobody listens; 127.0.0.2 it leaves as it is.
    """

    HOST = "127.0.0.2"

    def __init__(self, folder: Path) -> None:
        from ray.cluster_utils import Cluster

        self.folder, self.count, self.nodes = folder, 0, list[Any]()
        common = {"node_ip_address": self.HOST, "include_dashboard": False, "object_store_memory": 100 * 2**20}
        self.cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **common})
        self.common, self.address = common, self.cluster.address
        self.fill()

    def add(self, **environment: str) -> Any:
        """A node more, with variables of its own."""
        self.count += 1
        cache = self.folder / f"node{self.count}"
        variables = {"LAGLINE_CACHE": str(cache)} | environment
        self.nodes.append(self.cluster.add_node(num_cpus=1, env_vars=variables, **self.common))
        return self.nodes[-1]

    def fill(self) -> None:
        """Two nodes without variables of their own, whatever there was."""
        for node in [one for one in self.nodes if len(one._ray_params.env_vars) > 1]:
            self.kill(node)
        for node in self.nodes[2:]:
            self.kill(node)
        while len(self.nodes) < 2:
            self.add()
        until = time.monotonic() + 60
        while self._listed() != {one.node_id for one in self.nodes} and time.monotonic() < until:
            time.sleep(0.2)  # one that was killed is listed as alive until its head misses it

    def _listed(self) -> set[str]:
        """The nodes that the head takes for alive, itself left out."""
        table = self.cluster.global_state.node_table()
        return {one["NodeID"] for one in table if one["Alive"] and one["NodeID"] != self.cluster.head_node.node_id}

    def kill(self, node: Any) -> None:
        """A node goes away, as a machine whose power does."""
        self.nodes.remove(node)
        self.cluster.remove_node(node, allow_graceful=False)

    def caches(self) -> list[Path]:
        """Where the nodes keep panels."""
        return sorted(self.folder.glob("node*"))


@pytest.fixture(scope="session")
def nodes() -> Iterator[Nodes]:
    """Two nodes; a test that kills one, or adds others, fills up again."""
    with (
        tempfile.TemporaryDirectory(prefix="lagray-") as name,
        pytest.MonkeyPatch.context() as patch,
    ):  # a socket's path is short
        patch.setenv("RAY_TMPDIR", name)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        found = Nodes(Path(name))
        try:
            yield found
        finally:
            import ray

            ray.shutdown()
            found.cluster.shutdown()


@pytest.fixture(params=["local", pytest.param("ray", marks=pytest.mark.engine)])
def carried_out(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A test for both engines; its fits run on the one that it is named."""
    if request.param == "ray":
        monkeypatch.setenv("RAY_ADDRESS", request.getfixturevalue("nodes").address)
    monkeypatch.setenv("LAGLINE_ENGINE", request.param)
    engine().jobs(1, "cpu")  # asks the nodes that are there now
    return str(request.param)


@pytest.fixture(scope="module")
def module_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state folder with a store in it, to which lagline's client speaks throughout a file of tests."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        patch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
        patch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        connection.client.cache_clear()
        connection.connect(folder)
        yield folder
        connection.client.cache_clear()


PARAMS = WindowParams(4, {"y": FeatureWindow(12), "x": FeatureWindow(4, 2, 1)}, gap=1, calendar=("hour",))
LSTM = ("recurrent", {"cell": "lstm", "hidden_size": 8})


def calibrated_by(widths: Sequence[float | None], series: int = 2, method: str = "split") -> Calibrated:
    """Intervals that reach a width above and half of it below, at 90 %, and half as far at 80 %; twice so for each series after
    the first, and for one that training did not see; None: too few errors."""
    wide = np.array([np.nan if width is None else width for width in widths])
    offsets = np.stack([-wide / 2, -wide / 4, 0 * wide, wide / 2, wide], -1)[None]
    units, groups = np.where(np.arange(series + 1) > 0, 2.0, 1.0), np.zeros(series + 1, np.int64)
    levels = np.array([0.05, 0.1, 0.5, 0.9, 0.95])
    return Calibrated(Calibration(levels, offsets, units, groups), method, {"split": 2.5, "naive": 3.0})


class House(NamedTuple):
    """What a bundle is made of."""

    frame: pl.DataFrame
    history: pl.DataFrame  # up to the last cutoff that has all its targets in the frame
    panel: Panel
    params: WindowParams
    build: Callable[..., Forecaster]
    made: Callable[..., TrainedOn]  # what a version of random weights was trained on, with changes
    facts: Callable[..., BundleFacts]  # what its bundle says, with changes
    write: Callable[..., str]  # the bundle of a forecaster, with changes of its facts
    calibrated: Callable[..., Calibrated]  # how its intervals are made, from the width of each step


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    """Two series of hourly rows, one with missing steps and values; x counts whole numbers."""
    rng = np.random.default_rng(5)
    times = pl.datetime_range(datetime(2024, 1, 1), datetime(2024, 1, 9), "1h", time_unit="us", time_zone="UTC", eager=True)
    parts = []
    for name, level in (("JFK", 10.0), ("LGA", 60.0)):
        y = level + 5 * np.sin(np.arange(len(times)) * 2 * np.pi / 24) + rng.normal(0, 0.5, len(times))
        parts.append(pl.DataFrame({"unique_id": name, "ds": times, "y": y, "x": rng.integers(0, 9, len(times)).astype(float)}))
    holes = pl.when(pl.int_range(pl.len()) % 17 != 3).then(pl.col("y")).alias("y")
    parts[0] = parts[0].with_columns(holes).filter(pl.int_range(pl.len()) % 23 != 7)
    frame = pl.concat(parts)
    folder = write_panel(frame.lazy(), PARAMS, Frequency("1h"), 3, tmp_path_factory.mktemp("panels"))
    panel = Panel.open(folder)
    split = Split("rows", 30, 30)
    run = load_run("params/nyc_weather.yaml")

    def build(family: str = LSTM[0], network: dict[str, Any] = LSTM[1], level: Any = "last") -> Forecaster:
        torch.manual_seed(3)
        scaling = fit_scaling(panel, PARAMS, split, "series")
        return build_forecaster(family, network, PARAMS, level=level, scaling=scaling)

    def made(**changes: Any) -> TrainedOn:
        job = make_job(load_variant("gru", "params/nyc_weather.yaml"), 0, folder, PARAMS, split, "cpu")
        facts = {
            "job": job,
            "weights": "0" * 64,
            "fingerprint": fingerprint(job, panel.digest),
            "run": run,
            "naive": "last_value",
            "unseen_from": border(panel, split),
            "newest": int(panel.times.max()),
            "newest_time": "2024-01-09",
            "scores": {},
        }
        return TrainedOn(**facts | changes)

    def facts(**changes: Any) -> BundleFacts:
        found = facts_of(made().job, panel, made(), (), calibrated_by([1.0, 2.0, None, 4.0]))
        return replace(found, **{"variant": "lstm", "family": LSTM[0], "network": LSTM[1], "level": "last"} | changes)

    def write(path: Path, forecaster: Forecaster, refitted: Forecaster | None = None, **changes: Any) -> str:
        return write_bundle(path, facts(**changes), panel, forecaster, refitted)

    cutoff = int(panel.times[panel.offsets[1] - 1 - PARAMS.ahead])
    return House(
        frame, frame.filter(pl.col("ds").to_physical() <= cutoff), panel, PARAMS, build, made, facts, write, calibrated_by
    )
