"""Fits on a Ray cluster: the bits of this machine, nodes and drivers that die, nodes that would train something else."""

import fcntl
import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import psutil
import pytest

from models.data.panel import Split
from models.data.window import FeatureWindow, WindowParams
from models.fit.job import Job
from models.fit.settings import Epoch, Resources
from params.errors import Unavailable, UserError
from params.load import load_plan, load_variant
from tasks.engine.choice import engine
from tasks.engine.contract import Interrupted, Listener
from tasks.files import ROOT
from tasks.grid.frequency import Frequency
from tasks.lags.panel import write_panel
from tasks.train.check import check_plan
from tasks.train.final import job_on_all_rows
from tasks.train.job import make_job
from tasks.train.process import fit_folder, run_fit

pytestmark = [pytest.mark.slow, pytest.mark.engine]
RUN, NEVER = "params/nyc_weather.yaml", threading.Event()
WINDOWS = WindowParams(4, {"y": FeatureWindow(24)})
LONG, BITS = {"max_epochs": 60, "patience_epochs": 60}, ("weights.pt", ".npy")


@pytest.fixture(scope="module")
def panel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two series of 600 steps, waves with noise."""
    rng = np.random.default_rng(0)
    y = np.concatenate([level + np.sin(np.arange(600) / 4) + rng.normal(0, 0.1, 600) for level in (0, 5)])
    ids = np.repeat(["a", "b"], 600)
    frame = pl.DataFrame({"unique_id": ids, "ds": np.tile(np.arange(600), 2), "y": y.astype(np.float32)})
    return write_panel(frame.lazy(), WINDOWS, Frequency(1), 0, tmp_path_factory.mktemp("panels"))


Make = Callable[..., Job]


@pytest.fixture
def make(panel: Path) -> Make:
    """A job of a variant as a run makes it; arguments replace numbers of its training."""

    def made(name: str = "gru", **numbers: Any) -> Job:
        variant = load_variant(name, RUN, [f"training.{key}={value}" for key, value in numbers.items()])
        return make_job(variant, 0, panel, WINDOWS, Split("rows", 100, 100), "cpu")

    return made


@pytest.fixture
def on_ray(nodes: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Fits run on the two nodes, again two after the test."""
    monkeypatch.setenv("LAGLINE_ENGINE", "ray")
    monkeypatch.setenv("RAY_ADDRESS", nodes.address)
    engine().jobs(1, "cpu")  # asks the nodes that are there now
    yield nodes
    nodes.fill()
    engine().jobs(1, "cpu")


def locally(job: Job, home: Path) -> Path:
    """The folder of a fit that this machine has carried out, in an environment of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAGLINE_ENGINE", "local")
        run_fit(job, home, Listener(), NEVER)
        return fit_folder(job, home)


def left(folder: Path) -> dict[str, str]:
    """What a fit has left: weights and forecasts by their content, the others by name."""
    names = {path.name: "" for path in folder.iterdir()}
    return names | {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names if name.endswith(BITS)}


def test_where_fits_are_shorter_than_their_way_that_is_said_once(on_ray: Any, make: Make, tmp_path: Path) -> None:
    engine().remark()
    assert run_fit(make("ridge"), tmp_path, Listener(), NEVER).result.finished
    ((work, way),) = engine()._took  # type: ignore[attr-defined]
    assert 0 < work < 60 and 0 < way < 60
    engine()._took.append((work / 10, way + 10 * work))  # type: ignore[attr-defined]
    engine()._took.append((work / 10, way + 10 * work))  # type: ignore[attr-defined]
    said = engine().remark()
    assert said and said.startswith(f"a cluster is slower than LAGLINE_JOBS here: the median fit took {work / 10:.1f} s, and ")
    assert engine().remark() is None


@pytest.mark.parametrize("name", ["gru", "ridge", "cnn", "nlinear"])
def test_every_bit_is_that_of_this_machine(on_ray: Any, make: Make, tmp_path: Path, name: str) -> None:
    job = make(name, max_epochs=2)
    assert run_fit(job, tmp_path / "there", Listener(), NEVER).result.finished
    assert left(fit_folder(job, tmp_path / "there")) == left(locally(job, tmp_path / "here"))


def test_an_ensemble_s_networks_are_trained_there_and_put_together_here(on_ray: Any, make: Make, tmp_path: Path) -> None:
    job = make("gru", max_epochs=1)
    both = replace(job, family="ensemble", network={}, members=(job, replace(make("ridge"))), quantiles=(), point=None)
    assert run_fit(both, tmp_path / "there", Listener(), NEVER).result.finished
    assert left(fit_folder(both, tmp_path / "there")) == left(locally(both, tmp_path / "here"))


def test_a_fit_on_all_rows_is_the_same(on_ray: Any, make: Make, tmp_path: Path) -> None:
    job = make(max_epochs=1)
    again = job_on_all_rows(job, run_fit(job, tmp_path / "there", Listener(), NEVER).result)
    assert run_fit(again, tmp_path / "there", Listener(), NEVER).result.finished
    assert left(fit_folder(again, tmp_path / "there")) == left(locally(again, tmp_path / "here"))


def test_a_panel_goes_to_a_node_once(on_ray: Any, make: Make, panel: Path, tmp_path: Path) -> None:
    run_fit(make(max_epochs=1), tmp_path, Listener(), NEVER)
    there = [cache / "panels" / panel.name for cache in on_ray.caches() if (cache / "panels" / panel.name).is_dir()]
    before = [folder.stat().st_ino for folder in there]
    run_fit(make(max_epochs=1), tmp_path, Listener(), NEVER, fresh=True)
    assert there and [folder.stat().st_ino for folder in there] == before
    assert not [path for cache in on_ray.caches() for path in (cache / "work").iterdir()]  # no fit leaves anything


def working(nodes: Any) -> Any:
    """The node that a fit is at work on."""
    (busy,) = [path.parent for cache in nodes.caches() for path in (cache / "work").glob("*.lock") if _held(path)]
    (node,) = [one for one in nodes.nodes if one._ray_params.env_vars["LAGLINE_CACHE"] == str(busy.parent)]
    return node


def _held(path: Path) -> bool:
    with path.open("r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_a_node_that_dies_in_an_epoch_costs_seconds_and_no_bit(on_ray: Any, make: Make, tmp_path: Path) -> None:
    """Killed once a checkpoint has come, which is every tenth of a second here."""
    job, rows, said = replace(make(**LONG), save_every=0.1), list[Epoch](), list[str]()
    folder = fit_folder(job, tmp_path / "there")

    def heard(row: Epoch) -> None:
        rows.append(row)
        if len(on_ray.nodes) == 2 and list(folder.glob("step-*.pt")):
            on_ray.kill(working(on_ray))

    found = run_fit(job, tmp_path / "there", Listener(heard, said.append), NEVER)
    assert found.result.finished and len(on_ray.nodes) == 1
    assert [text for text in said if "it goes on from step-" in text] and len(said) == 1
    assert [row["epoch"] for row in rows] == list(range(len(rows)))  # no row is heard twice
    assert left(folder) == left(locally(job, tmp_path / "here"))


def test_where_every_node_is_gone_the_same_command_goes_on_later(
    on_ray: Any, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.engine.ray.GONE", 5.0)
    job = replace(make(**LONG), save_every=0.1)
    folder = fit_folder(job, tmp_path / "there")

    def heard(row: Epoch) -> None:
        if list(folder.glob("step-*.pt")):
            for node in list(on_ray.nodes):
                on_ray.kill(node)

    with pytest.raises(Unavailable, match="no node is left that could train; what was saved is kept"):
        run_fit(job, tmp_path / "there", Listener(heard), NEVER)
    kept = list(folder.glob("step-*.pt"))
    on_ray.fill()
    rows = list[Epoch]()
    assert kept and run_fit(job, tmp_path / "there", Listener(rows.append), NEVER).result.finished
    assert rows[0]["epoch"] > 0 and left(folder) == left(locally(job, tmp_path / "here"))


def test_ctrl_c_is_heard_within_seconds(on_ray: Any, make: Make, tmp_path: Path) -> None:
    job, stop, stopped = make(max_epochs=100_000, patience_epochs=100_000), threading.Event(), list[float]()

    def heard(row: Epoch) -> None:
        if not stop.is_set():
            stopped.append(time.monotonic())
            stop.set()

    with pytest.raises(Interrupted):
        run_fit(job, tmp_path, Listener(heard), stop)
    assert time.monotonic() - stopped[0] < 5 and list(fit_folder(job, tmp_path).glob("step-*.pt"))


def test_a_worker_that_is_killed_costs_no_bit_either(on_ray: Any, make: Make, tmp_path: Path) -> None:
    job, said, killed = replace(make(**LONG), save_every=0.1), list[str](), list[int]()
    folder = fit_folder(job, tmp_path / "there")

    def heard(row: Epoch) -> None:
        if not killed and list(folder.glob("step-*.pt")):
            killed.extend(_pids(on_ray))
            psutil.Process(killed[0]).kill()

    assert run_fit(job, tmp_path / "there", Listener(heard, said.append), NEVER).result.finished
    assert [text for text in said if "it goes on from step-" in text]
    assert left(folder) == left(locally(job, tmp_path / "here"))


def _pids(nodes: Any) -> list[int]:
    """The processes of fits at work, which name their folders by themselves."""
    held = [path for cache in nodes.caches() for path in (cache / "work").glob("*.lock") if _held(path)]
    return [int(path.name.partition("-")[0]) for path in held]


DRIVER = """
import json, sys, threading
from pathlib import Path
from models.fit.job import Job
from tasks.engine.contract import Listener
from tasks.train.process import run_fit
job = Job.from_dict(json.loads(Path(sys.argv[1]).read_text()))
run_fit(job, Path(sys.argv[2]), Listener(lambda row: print(row["epoch"], flush=True)), threading.Event())
"""


def test_where_the_driver_is_killed_nothing_trains_on(on_ray: Any, make: Make, tmp_path: Path) -> None:
    job = replace(make(max_epochs=100_000, patience_epochs=100_000), save_every=0.1)
    (tmp_path / "job.json").write_text(json.dumps(job.to_dict()))
    command = [sys.executable, "-c", DRIVER, str(tmp_path / "job.json"), str(tmp_path / "there")]
    with subprocess.Popen(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE) as driver:
        assert driver.stdout is not None
        while not list((tmp_path / "there").glob("checkpoints/*/step-*.pt")):
            assert driver.stdout.readline()
        (worker,) = _pids(on_ray)
        driver.kill()
    until = time.monotonic() + 20
    while psutil.pid_exists(worker) and time.monotonic() < until:
        time.sleep(0.2)
    assert not _pids(on_ray) and not psutil.pid_exists(worker)


def test_a_node_that_would_train_something_else_is_told_before_a_fit(on_ray: Any, tmp_path: Path) -> None:
    plan = load_plan("params/smoke.yaml", [])
    check_plan(plan)
    (tmp_path / "sitecustomize.py").write_text(OTHER_TORCH)
    node = on_ray.add(PYTHONPATH=str(tmp_path))
    with pytest.raises(UserError, match=r"has torch 9\.9\.9, and this machine 2\."):
        check_plan(plan)
    on_ray.kill(node)
    check_plan(plan)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tasks.engine.room.models_digest", lambda: "0" * 64)
        on_ray.add()
        with pytest.raises(UserError, match="finds other code than this machine's in models/"):
            check_plan(plan)


OTHER_TORCH = """
import importlib.machinery, sys

class Other:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name != "torch.version":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        real = spec.loader.exec_module
        def exec_module(module):
            real(module)
            module.__version__ = "9.9.9"
        spec.loader.exec_module = exec_module
        return spec

sys.meta_path.insert(0, Other)
"""


def test_models_that_a_node_has_of_its_own_are_not_what_trains(on_ray: Any, tmp_path: Path, make: Make) -> None:
    """A checkout of another revision, on the path of a node."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "__init__.py").write_text("raise RuntimeError('not shipped')")
    on_ray.add(PYTHONPATH=str(tmp_path))
    check_plan(load_plan("params/smoke.yaml", []))


def test_nodes_of_two_kinds_share_no_comparison_unless_one_is_chosen(on_ray: Any, make: Make, tmp_path: Path) -> None:
    """torch takes the plain instructions on one of them, as on an older processor."""
    on_ray.add(ATEN_CPU_CAPABILITY="default")
    with pytest.raises(UserError, match=r"its nodes compute in different ways \(cpu .* DEFAULT.*choose one with"):
        check_plan(load_plan("params/smoke.yaml", []))
    plan = load_plan("params/smoke.yaml", ["training.resources.kind=DEFAULT"])
    check_plan(plan)
    job = replace(make(max_epochs=1), resources=Resources(kind="default"))
    assert engine().jobs(1, "cpu", job.resources) == 1 and " DEFAULT " in engine().kind("cpu", 1, job.resources)
    assert run_fit(job, tmp_path, Listener(), NEVER).result.finished


def test_a_whole_comparison_is_the_same(nodes: Any, tmp_path: Path) -> None:
    """Each with a state folder of its own: weights, forecasts and scores."""
    nodes.fill()
    found = {}
    for name in ("local", "ray"):
        state = {"LAGLINE_HOME": str(tmp_path / name), "LAGLINE_ENGINE": name, "RAY_ADDRESS": nodes.address}
        names, seeds = "ridge,elman,gru,ensemble_networks", "training.seeds=2"
        given = ("compare", "params/smoke.yaml", "--variants", names, "--set", seeds), ("leaderboard", "smoke", "--json")
        said = [
            subprocess.run(
                [sys.executable, "-m", "flows", *words], cwd=ROOT, env=os.environ | state, capture_output=True, text=True
            )
            for words in given
        ]
        assert [one.returncode for one in said] == [0, 0], said[0].stderr
        folders = sorted((tmp_path / name / "checkpoints").iterdir())
        rows = json.loads(said[1].stdout)["rows"]
        found[name] = {folder.name: left(folder) for folder in folders}, [(row["name"], row["val_score"]) for row in rows]
        place = f"ray {nodes.address} (2 x cpu" if name == "ray" else "cpu, "
        assert f"fits on {place}" in said[0].stderr
    assert found["ray"] == found["local"] and len(found["ray"][0]) >= 6


def test_every_node_says_how_far_away_it_is(on_ray: Any) -> None:
    trips, nodes = engine().round_trips(), engine().pool().nodes
    assert set(trips) == {node.name for node in nodes} and len(trips) == 2
    assert all(0 < seconds < 60 for seconds in trips.values())
