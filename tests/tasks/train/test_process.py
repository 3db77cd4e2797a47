"""A fit in its folder, by either engine: done once, stopped, failed, out of room, put together; the same weights from both."""

import fcntl
import json
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from models.data.panel import Split
from models.data.window import FeatureWindow, WindowParams
from models.fit.job import Job
from models.fit.settings import Ended, Epoch
from models.worker import STOPPED, USAGE
from params.errors import UserError
from params.load import load_variant
from tasks.engine import forked
from tasks.engine.contract import Interrupted, Listener, variables
from tasks.files import ROOT
from tasks.grid.frequency import Frequency
from tasks.lags.panel import write_panel
from tasks.train.job import make_job
from tasks.train.process import finished_result, fit_folder, run_fit
from tests.tasks.engine.running import running_fits

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("carried_out")]
RUN = "params/nyc_weather.yaml"
WINDOWS = WindowParams(4, {"y": FeatureWindow(24)})
NEVER = threading.Event()
Make = Callable[..., Job]


@pytest.fixture(scope="module")
def panel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One series of 600 steps, a wave with noise."""
    y = np.sin(np.arange(600) / 4) + np.random.default_rng(0).normal(0, 0.1, 600)
    frame = pl.DataFrame({"unique_id": "a", "ds": np.arange(600), "y": y.astype(np.float32)})
    return write_panel(frame.lazy(), WINDOWS, Frequency(1), 0, tmp_path_factory.mktemp("panels"))


@pytest.fixture
def make(panel: Path) -> Make:
    """A job of the variant gru as a run makes it; arguments replace numbers of its training."""

    def made(**numbers: Any) -> Job:
        variant = load_variant("gru", RUN, [f"training.{name}={value}" for name, value in numbers.items()])
        return make_job(variant, 0, panel, WINDOWS, Split("rows", 100, 100), "cpu")

    return made


def test_a_fit_is_done_once_and_a_fresh_one_gives_the_same_weights(make: Make, tmp_path: Path) -> None:
    rows: list[Epoch] = []
    found = run_fit(make(max_epochs=2), tmp_path, Listener(rows.append), NEVER)
    assert found.result.finished and not found.reused and [row["epoch"] for row in rows] == [0, 1]
    assert found.result.ended_by is Ended.MAX_EPOCHS and (found.result.peak_memory_mb or 0) > 50
    assert run_fit(make(max_epochs=2), tmp_path, Listener(rows.append), NEVER) == replace(found, reused=True)
    again = run_fit(make(max_epochs=2), tmp_path, Listener(rows.append), NEVER, fresh=True)
    assert not again.reused and again.result.weights == found.result.weights and len(rows) == 4


def test_a_fit_that_is_stopped_can_resume(make: Make, tmp_path: Path) -> None:
    job, stop, rows = make(max_epochs=400, patience_epochs=400), threading.Event(), list[Epoch]()

    def heard(row: Epoch) -> None:
        rows.append(row)
        stop.set()

    with pytest.raises(Interrupted):
        run_fit(job, tmp_path, Listener(heard), stop)
    assert len(list(fit_folder(job, tmp_path).glob("step-*.pt"))) == 1 and finished_result(fit_folder(job, tmp_path)) is None
    with pytest.raises(Interrupted):  # still asked to stop: nothing is begun
        run_fit(job, tmp_path, Listener(heard), stop)
    resumed: list[Epoch] = []
    stop = threading.Event()
    with pytest.raises(Interrupted):
        run_fit(job, tmp_path, Listener(lambda row: (resumed.append(row), stop.set())[0]), stop)
    assert resumed[0]["epoch"] > rows[0]["epoch"]


@pytest.mark.fault
@pytest.mark.parametrize("carried_out", ["local"], indirect=True)
def test_whoever_listens_may_break_and_the_fit_still_leaves_a_checkpoint(make: Make, tmp_path: Path) -> None:
    def heard(row: Epoch) -> None:
        raise KeyError("a listener's own mistake")

    job = make(max_epochs=10_000, patience_epochs=10_000)
    with pytest.raises(KeyError, match="own mistake"):
        run_fit(job, tmp_path, Listener(heard), NEVER)
    assert len(list(fit_folder(job, tmp_path).glob("step-*.pt"))) == 1


@pytest.mark.fault
@pytest.mark.parametrize("carried_out", ["local"], indirect=True)
def test_a_fit_that_the_system_kills_is_a_failed_one_and_can_resume(make: Make, tmp_path: Path) -> None:
    """Killed from outside, as the kernel does where memory runs out."""

    def kill(row: Epoch) -> None:
        for fit in running_fits():
            fit.kill()

    job = make(max_epochs=400, patience_epochs=400)
    found = run_fit(job, tmp_path, Listener(kill), NEVER).result
    assert not found.finished and found.again and "signal 9" in str(found.reason)


def test_a_repeated_fit_ends_at_the_step_where_the_first_one_s_seconds_were_over(make: Make, tmp_path: Path) -> None:
    job = make(max_epochs=10_000, patience_epochs=10_000, max_seconds=0.4)
    first = run_fit(job, tmp_path, Listener(), NEVER).result
    assert first.ended_by is Ended.MAX_SECONDS
    stop = threading.Event()
    with pytest.raises(Interrupted):  # a repetition that is cut off, or killed, does not forget where it is to end
        run_fit(job, tmp_path, Listener(lambda _: stop.set()), stop, fresh=True)
    again = run_fit(job, tmp_path, Listener(), NEVER).result
    assert (again.ended_by, again.steps, again.weights) == (Ended.STOP_STEP, first.steps, first.weights)


def test_a_fit_that_diverges_says_where(make: Make, tmp_path: Path) -> None:
    found = run_fit(make(learning_rate=1e29, clip_norm=1e29), tmp_path, Listener(), NEVER).result
    assert not found.finished and (found.learning_rate or 0) > 1e20 and (found.step or 0) >= 1
    assert "not finite (epoch 1, step" in str(found.reason) and "lower training.learning_rate" in str(found.reason)


def test_a_warning_of_a_fit_is_heard(make: Make, tmp_path: Path) -> None:
    """A damaged checkpoint, which the fit sets aside."""
    job, said = make(max_epochs=1), list[str]()
    folder = fit_folder(job, tmp_path)
    folder.mkdir(parents=True)
    (folder / "step-000000003-0123456789abcdef.pt").write_bytes(b"not a checkpoint")
    assert run_fit(job, tmp_path, Listener(warning=said.append), NEVER).result.finished
    assert len(said) == 1 and "is damaged and was set aside" in said[0]


@pytest.mark.fault
def test_a_full_disk_is_one_message_and_keeps_what_was_saved(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files of at most 16 KiB: the limit of the kernel is inherited by the process of the fit."""
    import resource

    job, stop = make(max_epochs=400, patience_epochs=400), threading.Event()
    with pytest.raises(Interrupted):
        run_fit(job, tmp_path, Listener(lambda _: stop.set()), stop)
    folder = fit_folder(job, tmp_path)
    kept = sorted(path.name for path in folder.glob("step-*.pt"))
    assert kept
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    short = replace(make(max_epochs=400, patience_epochs=400), save_every=0.0)
    monkeypatch.setattr("tasks.train.identity.identity", lambda *_: folder.name)
    monkeypatch.setattr("tasks.engine.forked._SERVERS", {})  # whose forks have the limits that it had at its start
    resource.setrlimit(resource.RLIMIT_FSIZE, (16_384, hard))
    try:
        with pytest.raises(UserError, match=r"no room for step-.*: make room and start the same command again"):
            run_fit(short, tmp_path, Listener(), NEVER)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert sorted(path.name for path in folder.glob("step-*.pt")) == kept


def test_weights_that_a_disk_has_cut_short_are_told_and_trained_again(make: Make, tmp_path: Path) -> None:
    job, told = make(max_epochs=1), list[str]()
    first = run_fit(job, tmp_path, Listener(warning=told.append), NEVER)
    folder = fit_folder(job, tmp_path)
    os.truncate(folder / "weights.pt", 100)
    again = run_fit(job, tmp_path, Listener(warning=told.append), NEVER)
    assert told == ["weights.pt, result.json of a kept fit is damaged, or not its own, and is put aside: it is trained again"]
    assert not again.reused and again.result.weights == first.result.weights
    before = (folder / "test.npy").read_bytes()
    os.truncate(folder / "test.npy", 100)
    third = run_fit(job, tmp_path, Listener(warning=told.append), NEVER)
    assert told[1:] == ["evaluation.json of a kept fit is damaged, or not its own, and is put aside: it forecasts again"]
    assert third.reused and (folder / "test.npy").read_bytes() == before


FORKS = pytest.mark.skipif(not forked.POSSIBLE, reason="fits are forks on Linux alone")
ENVIRONMENT = os.environ | variables(1) | {"PYTHONPATH": str(ROOT)}


@FORKS
@pytest.mark.parametrize("carried_out", ["local"], indirect=True)
def test_a_fork_gives_the_weights_that_a_process_gives(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fork = run_fit(make(max_epochs=2), tmp_path / "fork", Listener(), NEVER)
    monkeypatch.setattr(forked, "POSSIBLE", False)
    process = run_fit(make(max_epochs=2), tmp_path / "process", Listener(), NEVER)
    assert process.result.weights == fork.result.weights and process.evaluated and fork.evaluated
    assert process.evaluated.files == fork.evaluated.files


@FORKS
@pytest.mark.parametrize("carried_out", ["local"], indirect=True)
def test_a_fork_that_is_refused_or_killed_has_the_status_of_a_process(make: Make, tmp_path: Path) -> None:
    with forked.fork([str(tmp_path)], ENVIRONMENT) as fork:
        assert "job.json cannot be read" in fork.stderr.read() and fork.wait() == fork.poll() == USAGE
    with forked.fork(["--no-such-option"], ENVIRONMENT) as fork:
        assert fork.stderr.read().startswith("usage: ") and fork.wait() == USAGE
    with forked.fork(training(make, tmp_path), ENVIRONMENT) as fork:
        assert json.loads(fork.stdout.readline())["epoch"] == 0 and fork.poll() is None
        fork.kill()
        assert fork.wait(30) == -signal.SIGKILL
        fork.terminate()  # nobody is there any more


@FORKS
@pytest.mark.parametrize("carried_out", ["local"], indirect=True)
def test_a_fork_holds_its_locks_and_stops_at_the_end_of_its_input(make: Make, tmp_path: Path) -> None:
    """As it does when this process ends, however that may be."""
    path = tmp_path / "fit.lock"
    with path.open("w") as ours, path.open("w") as theirs:
        fcntl.flock(ours, fcntl.LOCK_EX)
        fork = forked.fork([*training(make, tmp_path), "--with-parent"], ENVIRONMENT, [ours.fileno()])
        fork.stdout.readline()
        ours.close()
        with pytest.raises(BlockingIOError):
            fcntl.flock(theirs, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fork.stdin.close()
        with fork:
            assert fork.wait(60) == STOPPED
        fcntl.flock(theirs, fcntl.LOCK_EX | fcntl.LOCK_NB)


@FORKS
def test_one_server_forks_all_fits_whose_libraries_read_the_same() -> None:
    server = forked.warm_up(ENVIRONMENT)
    for name in ("LAGLINE_HOME", "PREFECT_API_URL", "PYTHON_COLORS", "TORCHINDUCTOR_CACHE_DIR"):  # torch sets the last
        assert forked.warm_up(ENVIRONMENT | {name: "another"}) is server, name
    other = forked.warm_up(ENVIRONMENT | {"OMP_NUM_THREADS": "2"})
    assert other is not server
    other.close()


@FORKS
@pytest.mark.fault
@pytest.mark.parametrize("carried_out", ["local"], indirect=True)
def test_a_fork_server_that_is_killed_is_followed_by_another(make: Make, tmp_path: Path) -> None:
    job = make(max_epochs=30, patience_epochs=30)

    def kill(row: Epoch) -> None:
        for server in forked._SERVERS.values():
            server.process.kill()

    assert not run_fit(job, tmp_path, Listener(kill), NEVER).result.finished  # how it ended is not known
    assert not running_fits()
    assert run_fit(job, tmp_path, Listener(), NEVER).reused  # it ended well
    assert run_fit(make(max_epochs=1), tmp_path, Listener(), NEVER).result.finished  # as a process
    assert run_fit(make(max_epochs=2), tmp_path, Listener(), NEVER).result.finished
    assert all(server.process.poll() is None for server in forked._SERVERS.values()) and forked._SERVERS


def training(make: Make, folder: Path) -> list[str]:
    """The arguments of a worker that trains for a long time."""
    (folder / "job.json").write_text(json.dumps(make(max_epochs=10**6, patience_epochs=10**6).to_dict()))
    return [str(folder)]
