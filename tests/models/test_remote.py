"""A fit as a worker of a cluster carries it out: what it says, when it refuses, what it keeps on its node."""

import errno
import fcntl
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models import remote
from models.data.panel import content_digest
from models.fit import checkpoint
from models.fit.job import Job
from models.remote import LEFT, Facts, Files, Order, Over, Refused, Row, Said, Saved, Warned, carry_out, kind_of, models_digest
from models.worker import FULL, STOPPED, work


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That of the node."""
    monkeypatch.setenv("LAGLINE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def kept(stored: Path) -> Path:
    """A panel that is named by its digest."""
    return stored.rename(stored.with_name(content_digest(stored)))


@pytest.fixture
def order(job: Job, kept: Path) -> Callable[..., Order]:
    """An order of a small fit that this machine can carry out, with changes; numbers of its training by their names."""

    def made(files: Mapping[str, bytes] | None = None, **numbers: Any) -> Order:
        ours = replace(job, panel=Path("elsewhere") / kept.name, save_every=0.0).with_training(**numbers)
        return Order(
            job=ours.to_dict(),
            panel=kept.name,
            files=files or {},
            code="abc",
            torch=torch.__version__,
            models=models_digest(),
            kind=kind_of("cpu", 1),
        )

    return made


@pytest.fixture
def fetch(kept: Path) -> Callable[[], Files]:
    """The files of the panel, as they travel."""
    return lambda: {path.name: np.fromfile(path, np.uint8) for path in kept.iterdir()}


Made, Fetch = Callable[..., Order], Callable[[], Files]


def files(said: list[Said]) -> dict[str, bytes]:
    return {one.name: one.content for one in said if isinstance(one, Saved)}


def test_it_says_all_that_a_process_of_this_machine_leaves(
    order: Made, fetch: Fetch, job: Job, kept: Path, cache: Path, tmp_path: Path
) -> None:
    said = list(carry_out(order(), fetch))
    assert [one.row["epoch"] for one in said if isinstance(one, Row)] == [0, 1]
    assert isinstance(said[-1], Over) and (said[-1].status, said[-1].words) == (0, "") and said[-1].seconds > 0
    (tmp_path / "here").mkdir()
    work(replace(job, panel=kept), tmp_path / "here", (), "abc", threading.Event(), lambda _: None)
    for name in LEFT:
        if not name.endswith(".json"):  # those tell seconds
            assert files(said)[name] == (tmp_path / "here" / name).read_bytes()
    assert [one.name for one in said if isinstance(one, Saved)][-2:] == ["result.json", "evaluation.json"]
    assert not list((cache / "work").iterdir())


def test_it_goes_on_from_a_checkpoint_to_the_same_weights(order: Made, fetch: Fetch, cache: Path) -> None:
    whole = list(carry_out(order(max_epochs=6), fetch))
    name, content = next((name, content) for name, content in files(whole).items() if name.startswith("step-"))
    rest = list(carry_out(order({name: content}, max_epochs=6), fetch))
    assert files(rest)["weights.pt"] == files(whole)["weights.pt"] and name not in files(rest)


def test_finished_weights_only_forecast(order: Made, fetch: Fetch, cache: Path) -> None:
    whole = files(list(carry_out(order(), fetch)))
    again = list(carry_out(order({name: whole[name] for name in ("weights.pt", "result.json")}), fetch))
    assert not [one for one in again if isinstance(one, Row)]
    assert files(again)["test.npy"] == whole["test.npy"] and files(again)["result.json"] == whole["result.json"]


def test_a_fit_that_would_be_another_one_here_is_refused_before_anything_is_done(
    order: Made, fetch: Fetch, cache: Path
) -> None:
    changes = {"torch": ("0.1", "torch is"), "models": ("0" * 64, "the code of models/"), "kind": ("cpu 6502", "computes on")}
    for name, (value, told) in changes.items():
        (refused,) = carry_out(replace(order(), **{name: value}), fetch)
        assert isinstance(refused, Refused) and told in refused.words
    assert not cache.exists()


def test_who_is_late_hears_of_the_newest_checkpoint_alone(order: Made, fetch: Fetch, cache: Path) -> None:
    said = carry_out(order(max_epochs=40, patience_epochs=40), fetch)
    early = [next(said)]
    time.sleep(2.0)  # the fit goes on
    rest = list(said)
    saved = [one.name for one in [*early, *rest] if isinstance(one, Saved) and one.name.startswith("step-")]
    assert len(saved) < 40 and saved == sorted(saved)  # a checkpoint was due after every step


def test_it_ends_after_a_step_where_it_is_stopped_or_nobody_listens(
    order: Made, fetch: Fetch, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "LOOK", 0.0)
    long = order(max_epochs=100_000, patience_epochs=100_000)
    said = list(carry_out(long, fetch, lambda: True))
    assert isinstance(said[-1], Over) and said[-1].status == STOPPED and "it goes on from there" in said[-1].words
    assert [name for name in files(said) if name.startswith("step-")] and "weights.pt" not in files(said)
    listening = carry_out(long, fetch)
    next(listening)
    listening.close()  # type: ignore[attr-defined]
    assert not [one for one in threading.enumerate() if one.name == "fit"] and not list((cache / "work").iterdir())


def test_a_panel_is_fetched_once_and_again_where_it_is_damaged(order: Made, fetch: Fetch, cache: Path, kept: Path) -> None:
    fetched = list[int]()

    def counted() -> Files:
        fetched.append(1)
        return fetch()

    for _ in range(2):
        assert isinstance(list(carry_out(order(), counted))[-1], Over)
    assert len(fetched) == 1
    cached = cache / "panels" / kept.name
    (cached / "values.npy").write_bytes(b"cut")
    remote._WHOLE.clear()  # as in the next process
    list(carry_out(order(), counted))
    assert len(fetched) == 2 and content_digest(cached) == kept.name


def test_a_panel_that_came_damaged_is_not_kept(order: Made, fetch: Fetch, cache: Path, kept: Path) -> None:
    def damaged() -> Files:
        found = dict(fetch())
        found["values.npy"] = found["values.npy"].copy()
        found["values.npy"][-1] ^= 1
        return found

    with pytest.raises(ValueError, match="it was damaged where it was kept, or on the way"):
        list(carry_out(order(), damaged))
    assert not [path for path in (cache / "panels").iterdir() if path.is_dir()]


def test_a_node_without_room_says_so(order: Made, fetch: Fetch, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        (over,) = carry_out(order(), fetch)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert isinstance(over, Over) and over.status == FULL and "no room for" in over.words


def test_warnings_are_said_again_by_the_next_fit_of_a_process(order: Made, fetch: Fetch, cache: Path) -> None:
    content = b"not a checkpoint"
    for _ in range(2):
        said = list(carry_out(order({"step-000000003-00000-0123456789abcdef.pt": content}), fetch))
        assert [one.words for one in said if isinstance(one, Warned) and "is damaged and was set aside" in one.words]


def test_what_a_killed_process_left_is_swept_and_what_is_at_work_stays(cache: Path) -> None:
    remote.cache_folder()
    for name in ("dead", "alive"):
        (cache / "work" / name).mkdir()
        (cache / "work" / f"{name}.lock").touch()
        os.utime(cache / "work" / f"{name}.lock", (1, 1))
    with (cache / "work" / "alive.lock").open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        remote.sweep(cache)
    assert {path.name for path in (cache / "work").iterdir()} == {"alive", "alive.lock"}


def test_the_longest_unused_panels_go_where_all_take_too_much(cache: Path) -> None:
    remote.cache_folder()
    for age, name in enumerate(("new", "used", "old", "older")):
        folder = cache / "panels" / name
        folder.mkdir()
        (folder / "values.npy").write_bytes(bytes(100))
        os.utime(folder, (1000 - age, 1000 - age))
    with (cache / "panels" / "older.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_SH)  # a fit reads it
        remote.sweep(cache, most=250)
    assert {path.name for path in (cache / "panels").iterdir() if path.is_dir()} == {"new", "older"}


def test_a_cache_that_is_another_user_s_is_not_used(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    cache.symlink_to(tmp_path / "real")
    with pytest.raises(PermissionError, match="name one of yours with LAGLINE_CACHE"):
        remote.cache_folder()


def test_a_node_says_what_it_is() -> None:
    found = remote.facts(gpus=False)
    kind = f"cpu {os.uname().machine} {torch.backends.cpu.get_cpu_capability()}"
    assert isinstance(found, Facts) and found.kinds == {"cpu": kind} and found.torch == torch.__version__
    assert found.code == models_digest() and len(found.code) == 64 and kind_of("cpu", 3) == f"{kind} 3 threads"


def test_a_full_disk_in_a_fit_is_its_end(order: Made, fetch: Fetch, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise checkpoint.StorageFull(errno.ENOSPC, "no room for it", "folder")

    monkeypatch.setattr(remote, "work", full)
    over = list(carry_out(order(), fetch))[-1]
    assert isinstance(over, Over) and over.status == FULL and over.words.endswith("folder: no room for it")
