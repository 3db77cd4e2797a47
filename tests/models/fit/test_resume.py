"""models/fit/checkpoint.py: a fit cut off anywhere ends with the same bits, as processes and within one."""

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from models import worker
from models.data.panel import Split
from models.data.window import WindowParams
from models.fit import checkpoint, job
from models.fit import loop as fit
from models.fit.job import Job, Rule
from models.fit.settings import FitResult, Stopped, Training
from tasks.engine.local import started
from tasks.files import ROOT

NETWORK = {"cell": "gru", "hidden_size": 8, "num_layers": 2, "dropout": 0.2}  # with draws of its own in every step
TRAINING = Training(6, 6, 32, 1e-2, 1e-4, 1.0, "mae", "v", 0)
Make = Callable[..., Job]


@pytest.fixture
def make(stored: Path, params: WindowParams, split: Split) -> Make:
    """A job on a panel on disk; arguments replace numbers of its training."""

    def made(**numbers: Any) -> Job:
        return Job(
            family="recurrent",
            network=NETWORK,
            windows=params,
            split=split,
            device="cpu",
            threads=1,
            scaling=Rule("series", "last"),
            quantiles=(0.1, 0.9),
            evaluation_stride=1,
            panel=stored,
            training=replace(TRAINING, **numbers),
            save_every=0.0,  # after every step
        )

    return made


def start(folder: Path, given: Job, *flags: str) -> "subprocess.Popen[str]":
    """A fit in a process of its own."""
    folder.mkdir(exist_ok=True)
    (folder / "job.json").write_text(json.dumps(given.to_dict()))
    command = [sys.executable, "-m", "models.worker", str(folder), *flags]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def result_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return found


def saved(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*.pt"))


def in_here(given: Job, folder: Path, **kwargs: Any) -> tuple[str, FitResult]:
    """The weights' hash and the result of a fit in this process."""
    folder.mkdir(exist_ok=True)
    forecaster, windows = job.prepare(given)
    found = fit.fit(forecaster, windows["train"], windows["validation"], given.training, folder, **kwargs)
    checkpoint.clear(folder)
    return job.weights_hash(forecaster.state_dict()), found


def without_clock(history: list[dict[str, float]]) -> list[dict[str, float]]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in history]


@pytest.mark.fault
@pytest.mark.slow
def test_kill_at_random_points_and_resume_to_the_same_bits(make: Make, tmp_path: Path) -> None:
    """SIGKILL twelve times, each once the fit has gone on from where the one before fell, at any moment from then on.

    The processes are forked from one that has imported torch already, so that a dozen of them take seconds.
    """
    given, folder = make(max_epochs=30, patience_epochs=30), tmp_path / "killed"
    expected, undisturbed = in_here(given, tmp_path / "whole", save_every=3600.0)
    folder.mkdir()
    (folder / "job.json").write_text(json.dumps(given.to_dict()))
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["models.worker"])
    draw = random.Random(7)
    for _ in range(12):
        before = saved(folder)
        child = processes.Process(target=worker.main, args=([str(folder)],))
        child.start()
        while child.is_alive() and saved(folder) == before:
            time.sleep(0.002)
        time.sleep(draw.uniform(0, 0.03))
        child.kill()
        child.join()
        assert child.exitcode == -signal.SIGKILL, "the fit was over before it could be killed a dozen times"
        assert not (folder / "result.json").exists()
    last = processes.Process(target=worker.main, args=([str(folder)],))
    last.start()
    last.join()
    found = json.loads((folder / "result.json").read_text())
    assert found["weights"] == expected
    assert without_clock(found["history"]) == without_clock(undisturbed.history)
    assert (found["best_epoch"], found["steps"]) == (undisturbed.best_epoch, undisturbed.steps)
    assert {p.name for p in folder.iterdir()} == {
        *("job.json", "weights.pt", "result.json"),
        *("validation.npy", "test.npy", "validation-quantiles.npy", "test-quantiles.npy", "evaluation.json"),
    }


@pytest.mark.slow
@pytest.mark.parametrize("how", ["SIGINT", "parent"])
def test_a_fit_asked_to_stop_saves_after_its_step_and_can_resume(make: Make, tmp_path: Path, how: str) -> None:
    given, folder = replace(make(max_epochs=12, patience_epochs=12), save_every=3600.0), tmp_path / "asked"
    expected, undisturbed = in_here(given, tmp_path / "whole")
    child = start(folder, given, *(["--with-parent"] if how == "parent" else []))
    assert child.stdout is not None and child.stdin is not None
    child.stdout.readline()
    if how == "parent":
        child.stdin.close()  # what happens when the parent ends, however it ends
        child.stdin = None
    else:
        child.send_signal(getattr(signal, how))
    _, said = child.communicate(timeout=60)
    assert child.returncode == worker.STOPPED
    assert len(saved(folder)) == 1 and "it goes on from there" in said
    rows: list[float] = []
    found, resumed = in_here(given, folder, on_epoch=lambda row: rows.append(row["epoch"]))
    assert rows[0] > 0 and rows == list(range(int(rows[0]), 12))
    assert found == expected and without_clock(resumed.history) == without_clock(undisturbed.history)


@pytest.mark.slow
def test_with_a_parent_ctrl_c_is_for_the_parent_alone(make: Make, tmp_path: Path) -> None:
    given = make(max_epochs=4)
    with start(tmp_path / "a", given, "--with-parent") as child:
        assert child.stdout is not None
        child.stdout.readline()
        child.send_signal(signal.SIGINT)
        child.wait(timeout=60)
    assert child.returncode == 0 and result_of(tmp_path / "a")["status"] == "finished"


def cut(given: Job, folder: Path, steps: int) -> None:
    """A fit that is asked to stop after so many steps."""
    asked = iter([False] * (steps - 1) + [True])
    with pytest.raises(Stopped):
        in_here(given, folder, stop=lambda: next(asked), save_every=0.0)


@pytest.mark.slow
@pytest.mark.parametrize("steps", [1, 9, 10, 11, 30])
def test_resume_within_an_epoch_at_its_end_and_at_its_beginning(make: Make, tmp_path: Path, steps: int) -> None:
    """10 steps are an epoch."""
    given = make()
    expected, undisturbed = in_here(given, tmp_path / "whole")
    cut(given, tmp_path / "cut", steps)
    found, resumed = in_here(given, tmp_path / "cut")
    assert found == expected
    assert without_clock(resumed.history) == without_clock(undisturbed.history)


@pytest.mark.parametrize("steps", [3, 18, 25, 28])
def test_a_refit_on_all_rows_goes_on_from_where_it_was_cut_off(make: Make, tmp_path: Path, steps: int) -> None:
    """18 steps are an epoch, and the second ends after ten of them; the last cut is after the last step."""
    given = replace(make(refit_epochs=2, stop_step=28), split=None)
    expected, undisturbed = in_here(given, tmp_path / "whole")
    assert (undisturbed.epoch_steps, undisturbed.steps, undisturbed.ended_by) == (18, 28, "refit")
    if steps < 28:
        cut(given, tmp_path / "cut", steps)
    else:  # killed as its last epoch was done, with a checkpoint
        forecaster, windows = job.prepare(given)
        (tmp_path / "cut").mkdir()
        fit.fit(forecaster, windows["train"], windows["validation"], given.training, tmp_path / "cut", save_every=0.0)
    found, resumed = in_here(given, tmp_path / "cut")
    assert found == expected
    assert without_clock(resumed.history) == without_clock(undisturbed.history)


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["bits", "cut short", "empty", "both"])
def test_resume_from_the_checkpoint_before_a_damaged_one(make: Make, tmp_path: Path, damage: str) -> None:
    given, folder = make(), tmp_path / "cut"
    expected, _ = in_here(given, tmp_path / "whole")
    cut(given, folder, 20)
    older, newest = saved(folder)
    for path in (older, newest) if damage == "both" else (newest,):
        content = path.read_bytes()
        path.write_bytes({"cut short": content[:-100], "empty": b""}.get(damage, content[:-100] + bytes(100)))
    with pytest.warns(UserWarning, match="is damaged and was set aside as .*damaged"):
        state = checkpoint.load_newest(folder)
    assert state is None if damage == "both" else state is not None and state["steps"] == 19
    assert len(list(folder.glob("*.damaged"))) == (2 if damage == "both" else 1)
    assert in_here(given, folder)[0] == expected
    assert not list(folder.iterdir())  # the fit is done, and cleans up after itself


@pytest.mark.slow
def test_reproducibility_alone_after_others_and_in_another_process(make: Make, tmp_path: Path) -> None:
    """Whatever was drawn, trained or set before must not matter; the seed must."""
    given = make(max_epochs=2)
    alone, _ = in_here(given, tmp_path / "alone")
    torch.manual_seed(99)
    torch.rand(1000)
    other, _ = in_here(make(max_epochs=2, seed=1), tmp_path / "other")
    after, _ = in_here(given, tmp_path / "after")
    named, _ = in_here(make(max_epochs=2, variant="w"), tmp_path / "named")
    with start(tmp_path / "elsewhere", given) as child:
        child.communicate()
    assert alone == after == result_of(tmp_path / "elsewhere")["weights"]
    assert len({alone, other, named}) == 3


def test_reproducibility_of_fits_in_threads_of_one_process(make: Make, tmp_path: Path) -> None:
    """torch has one generator a process: fits in it take turns rather than share its stream."""
    from concurrent.futures import ThreadPoolExecutor

    jobs = [make(max_epochs=2, seed=seed) for seed in (0, 1, 0)]
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda pair: in_here(pair[1], tmp_path / str(pair[0]))[0], enumerate(jobs)))
    assert found[0] == found[2] != found[1]
    assert found[0] == in_here(jobs[0], tmp_path / "alone")[0]


@pytest.mark.fault
@pytest.mark.slow
def test_a_full_disk_fails_clearly_and_keeps_the_last_checkpoint(make: Make, tmp_path: Path) -> None:
    """A limit on the size of files, which the kernel enforces as it does a full disk; without it the fit goes on to its end."""
    given, folder = make(), tmp_path / "full"
    expected, _ = in_here(given, tmp_path / "whole")
    cut(given, folder, 5)
    kept = [path.name for path in saved(folder)]
    size = saved(folder)[-1].stat().st_size
    (folder / "job.json").write_text(json.dumps(given.to_dict()))
    code = (
        f"import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({size - 100}, {size - 100}))\n"
        "from pathlib import Path; import models.worker as worker; sys.exit(worker.main(sys.argv[1:]))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True)
    assert done.returncode == worker.FULL, done.stderr
    assert f"{folder}: no room for step-000000006-" in json.loads(done.stdout.splitlines()[-1])["full"]
    assert [path.name for path in saved(folder)] == kept and not list(folder.glob(".*.partial"))
    assert in_here(given, folder)[0] == expected


def test_a_fit_that_is_done_is_not_lost_when_the_disk_is_full_at_its_last_moment(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checkpoints stay until the result is safe."""
    given, folder, write = make(), tmp_path / "last", checkpoint.write_bytes
    folder.mkdir()

    def full(path: Path, content: bytes) -> None:
        if path.name == "weights.pt":
            raise checkpoint.StorageFull(28, "no room", str(folder))
        write(path, content)

    monkeypatch.setattr(checkpoint, "write_bytes", full)
    with pytest.raises(checkpoint.StorageFull):
        job.run(given, folder, lambda _: None)
    monkeypatch.setattr(checkpoint, "write_bytes", write)
    assert saved(folder)
    rows: list[float] = []
    found = job.run(given, folder, lambda row: rows.append(row["epoch"]))
    assert found.weights == in_here(given, tmp_path / "whole")[0]
    assert rows == [] and not saved(folder)


def test_another_error_of_the_disk_is_not_called_full(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        checkpoint.write_bytes(tmp_path / "gone" / "x", b"")


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [(), ("--with-parent",), ("{0}/none",), ("{0}",), ("{0}", "{0}")])
def test_a_call_without_a_job_is_one_line_with_status_2(arguments: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text("{")
    given = [text.format(tmp_path) for text in arguments]
    if arguments:
        with started(given, os.environ | {"PYTHONPATH": str(ROOT)}, (), forks=True) as child:
            assert child.stdout and child.stderr
            status, out, error = child.wait(), child.stdout.read(), child.stderr.read()
    else:
        done = subprocess.run([sys.executable, "-m", "models.worker"], capture_output=True, text=True)
        status, out, error = done.returncode, done.stdout, done.stderr
    assert (status, out, error.count("\n")) == (worker.USAGE, "", 1), error
    assert ("job.json cannot be read" if len(arguments) == 1 and "0" in arguments[0] else "usage: ") in error
