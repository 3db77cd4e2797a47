"""A fit on a cluster worker: runs in a folder of its node, yields everything it produces, and keeps nothing.

The worker has only torch, numpy and this package.  It refuses a fit that would differ here: another torch
version, other code, another kind of arithmetic.  Panels are cached on the node by digest, in the folder
LAGLINE_CACHE (default: a folder of the user's below the system's folder for temporary files).
"""

import contextlib
import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
import torch

from models.data.panel import content_digest
from models.fit import checkpoint
from models.fit.job import Job
from models.fit.settings import Epoch, Stopped
from models.worker import FULL, PATIENCE, STOPPED, keep_memory, quantiles_file, warned_by, work

TICK, LOOK = 0.2, 1.0  # seconds between checks for a new checkpoint, and for a request to stop
YOUNG = 60.0  # seconds after which a process surely holds the lock file it made
MOST_PANELS = 50e9  # bytes of panels that a node keeps; the least recently used go first
# a fit's files in the order they are sent: the result comes last
LEFT = (
    *("weights.pt", "validation.npy", "test.npy", quantiles_file("validation"), quantiles_file("test")),
    *("result.json", "evaluation.json"),
)
Files = Mapping[str, np.ndarray]  # name -> content, uint8


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a node reports.  `kinds`: torch device -> its arithmetic; `code`: the digest of models/ there."""

    kinds: Mapping[str, str]
    torch: str
    python: str
    code: str


@dataclass(frozen=True, kw_only=True)
class Order:
    """A fit to run, as it is sent to a worker.

    `job`: from `Job.to_dict`.  `panel`: its digest.  `files`: what exists already: the newest checkpoint, or
    weights and result if it only has to forecast.  `code`: the forecasting code's
    digest, stored in `evaluation.json`.  `torch`, `models`, `kind`: what the worker must have."""

    job: Mapping[str, Any]
    panel: str
    files: Mapping[str, bytes]
    code: str
    torch: str
    models: str
    kind: str


@dataclass(frozen=True)
class Row:
    """The end of an epoch."""

    row: Epoch


@dataclass(frozen=True)
class Warned:
    """A warning to show to people."""

    words: str


@dataclass(frozen=True)
class Saved:
    """A file of the fit: a checkpoint, or one of `LEFT`."""

    name: str
    content: bytes


@dataclass(frozen=True)
class Refused:
    """The fit would differ here; nothing was done."""

    words: str


@dataclass(frozen=True)
class Over:
    """The fit has ended: the exit status a process would have had, its last words, and its seconds here."""

    status: int
    words: str
    seconds: float


Said = Row | Warned | Saved | Refused | Over


def arithmetic(device: str) -> str:
    """What computes on a device: the accelerator's name, or the CPU's instruction set."""
    if device.startswith("cuda"):
        return f"cuda {torch.cuda.get_device_name(torch.device(device))}"
    if device == "mps":
        return f"mps {platform.machine()}"
    return f"cpu {platform.machine()} {torch.backends.cpu.get_cpu_capability()}"


def kind_of(device: str, threads: int) -> str:
    """The kind of arithmetic of a fit with this many threads here."""
    return with_threads(arithmetic(device), threads)


def with_threads(kind: str, threads: int) -> str:
    """The kind as used in a fit's identity: on a CPU it includes the number of threads."""
    return f"{kind} {threads} threads" if kind.startswith("cpu") else kind


def models_digest() -> str:
    """sha256 over the names and contents of the files of this package."""
    root, digest = Path(__file__).parent, hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root).as_posix()}|{len(content)}|".encode() + content)
    return digest.hexdigest()


def facts(gpus: bool) -> Facts:
    """This node's facts; `gpus`: whether it offers any, whose name a process that may see them then finds."""
    kinds = {"cpu": arithmetic("cpu")}
    if gpus:
        code = "import torch; print(torch.cuda.get_device_name(0))"
        seeing = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
        asked = subprocess.run([sys.executable, "-c", code], env=seeing, capture_output=True, text=True)
        if asked.returncode == 0:
            kinds["cuda"] = f"cuda {asked.stdout.strip()}"
    return Facts(kinds=kinds, torch=torch.__version__, python=platform.python_version(), code=models_digest())


def unlike(order: Order) -> str:
    """Why the fit would differ here, in words; empty if it would not."""
    job = Job.from_dict(order.job)
    if torch.__version__ != order.torch:
        return f"torch is {torch.__version__} on {platform.node()} and {order.torch} where the fit was planned"
    if models_digest() != order.models:
        return (
            f"the code of models/ on {platform.node()} ({Path(__file__).parent}) is not the one that the fit was planned with"
        )
    if (kind := kind_of(job.device, job.threads)) != order.kind:
        return f"{platform.node()} computes on {kind}, and the fit was planned for {order.kind}"
    return ""


def carry_out(order: Order, fetch: Callable[[], Files], stopped: Callable[[], bool] = lambda: False) -> Iterator[Said]:
    """Runs a fit and yields what it produces; `fetch` returns the panel's files if the node does not have it.

    A slow consumer does not delay the fit: only the newest checkpoint is yielded.  If `stopped` (polled once
    a second) returns true, or the generator is closed, the fit ends after its current step.
    """
    if why := unlike(order):
        yield Refused(why)
        return
    try:
        yield from _carried_out(order, fetch, stopped)
    except checkpoint.StorageFull as error:  # before the fit began: its panel or existing files
        yield Over(FULL, f"{platform.node()}: {error.filename}: {error.strerror}", 0.0)


def _carried_out(order: Order, fetch: Callable[[], Files], stopped: Callable[[], bool]) -> Iterator[Said]:
    started, cache = time.monotonic(), cache_folder()
    sweep(cache)
    with _work_folder(cache) as folder, _panel(cache, order.panel, fetch) as panel:
        for name, content in order.files.items():
            checkpoint.write_bytes(folder / name, content)
        job = replace(Job.from_dict(order.job), panel=panel)
        heard, asked = SimpleQueue[Said](), threading.Event()
        fit = Fit(lambda: _worked(job, folder, order.code, asked, heard))
        fit.start()
        try:
            known, looked = next(iter(order.files), ""), started
            for message in _messages(fit, heard, folder, known):
                if message is not None:
                    yield message
                if time.monotonic() - looked > LOOK:
                    looked = time.monotonic()
                    if stopped():
                        asked.set()
        finally:
            asked.set()
            fit.join(PATIENCE)
            if fit.is_alive():  # a step takes too long: end the worker's own process
                os._exit(STOPPED)
    yield Over(*fit.came_to, time.monotonic() - started)


class Fit(threading.Thread):
    """A running fit.  `came_to`: its exit status and last words, once it has ended."""

    def __init__(self, work: Callable[[], tuple[int, str]]) -> None:
        super().__init__(name="fit")
        self._work = work
        self.came_to = (1, "the fit said nothing")

    def run(self) -> None:
        """Runs the fit."""
        self.came_to = self._work()


def _worked(job: Job, folder: Path, code: str, asked: threading.Event, heard: SimpleQueue[Said]) -> tuple[int, str]:
    """Runs a fit; returns its exit status and last words.  `heard` receives its messages meanwhile."""

    def say(line: Mapping[str, Any]) -> None:
        heard.put(Warned(line["warning"]) if "warning" in line else Row(dict(line)))

    keep_memory()
    with contextlib.suppress(OSError), Path("/proc/self/clear_refs").open("w") as file:
        file.write("5")  # resets the process's peak memory
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # repeat warnings that an earlier fit in this process gave
        warnings.showwarning = warned_by(say)
        try:
            work(job, folder, (), code, asked, say)
            return 0, ""
        except Stopped as stopped:
            return STOPPED, str(stopped)
        except checkpoint.StorageFull as error:
            return FULL, f"{platform.node()}: {error.filename}: {error.strerror}"
        except BaseException:
            return 1, traceback.format_exc()


def _messages(fit: Fit, heard: SimpleQueue[Said], folder: Path, known: str) -> Iterator[Said | None]:
    """What a fit says until it ends: new checkpoints (not `known`), last its files; None now and then."""
    over = False
    while not over:
        over = not fit.is_alive() and heard.empty()
        for path in checkpoint.newest_first(folder)[:1]:
            if path.name != known:
                with contextlib.suppress(FileNotFoundError):  # removed, or no longer the newest
                    content, known = path.read_bytes(), path.name
                    yield Saved(known, content)
        try:
            yield heard.get(timeout=0.0 if over else TICK)
        except Empty:
            yield None
    for name in LEFT:
        if (folder / name).exists():
            yield Saved(name, (folder / name).read_bytes())


def cache_folder() -> Path:
    """The user's folder for cached panels and running fits; PermissionError if another user owns it."""
    named = os.environ.get("LAGLINE_CACHE", "").strip()
    folder = Path(named) if named else Path(tempfile.gettempdir()) / f"lagline-{os.getuid()}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{folder} on {platform.node()} belongs to another user: name one of yours with LAGLINE_CACHE")
    for name in ("panels", "work"):
        (folder / name).mkdir(mode=0o700, exist_ok=True)
    return folder


def sweep(cache: Path, most: float = MOST_PANELS) -> None:
    """Removes what dead processes left, and the least recently used panels above `most` bytes in total.

    Does nothing if another process is sweeping.
    """
    with _locked(cache / "sweep.lock", fcntl.LOCK_EX | fcntl.LOCK_NB) as ours, contextlib.suppress(FileNotFoundError):
        if ours is None:
            return
        for path in (cache / "work").glob("*.lock"):
            if time.time() - path.stat().st_mtime > YOUNG and _removed(path.with_suffix(""), path):
                path.unlink(missing_ok=True)
        panels = [path for path in (cache / "panels").iterdir() if path.is_dir() and not path.name.startswith(".")]
        sizes = {path: sum(file.stat().st_size for file in path.iterdir()) for path in panels}
        for path in sorted(panels, key=lambda path: path.stat().st_mtime):
            if sum(sizes.values()) <= most:
                return
            if _removed(path, path.with_suffix(".lock")):
                del sizes[path]


def _removed(folder: Path, mark: Path) -> bool:
    """Removes a folder unless a process uses it (and so holds its lock); returns whether it did."""
    with _locked(mark, fcntl.LOCK_EX | fcntl.LOCK_NB) as ours:
        if ours is not None:
            shutil.rmtree(folder, ignore_errors=True)
        return ours is not None


@contextlib.contextmanager
def _locked(path: Path, how: int) -> Iterator[int | None]:
    """Holds a kernel lock, freed if its holder dies, for a block; None if taken and `how` does not wait."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(descriptor, how)
        except BlockingIOError:
            yield None
        else:
            yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _work_folder(cache: Path) -> Iterator[Path]:
    """A work folder for a block; what a killed process leaves is swept at the next start."""
    name = f"{os.getpid()}-{os.urandom(4).hex()}"
    folder, mark = cache / "work" / name, cache / "work" / f"{name}.lock"
    with _locked(mark, fcntl.LOCK_EX):
        folder.mkdir(mode=0o700)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            mark.unlink(missing_ok=True)


@contextlib.contextmanager
def _panel(cache: Path, digest: str, fetch: Callable[[], Files]) -> Iterator[Path]:
    """The cached panel of a digest, protected from sweeping for a block."""
    folder = cache / "panels" / digest
    with _locked(folder.with_suffix(".lock"), fcntl.LOCK_EX) as lock:
        assert lock is not None
        while True:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not _is_whole(folder):
                _written(folder, fetch())
            os.utime(folder)
            fcntl.flock(lock, fcntl.LOCK_SH)  # not atomic: another process may have swept it in between
            if folder.is_dir():
                break
        yield folder


_WHOLE: dict[Path, int] = {}  # panels this process has verified, and their modification time


def _is_whole(folder: Path) -> bool:
    """Whether a panel matches the digest it is named by; verified once per process."""
    try:
        written = (folder / "panel.json").stat().st_mtime_ns
        if _WHOLE.get(folder) != written:
            if content_digest(folder) != folder.name:
                return False
            _WHOLE[folder] = written
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return False
    return True


def _written(folder: Path, files: Files) -> None:
    """Puts a panel in place atomically.  Raises ValueError if it does not match its digest."""
    partial = folder.with_name(f".{folder.name}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(mode=0o700)
    for name, content in files.items():
        checkpoint.write_bytes(partial / Path(name).name, content.data)
    if (digest := content_digest(partial)) != folder.name:
        shutil.rmtree(partial, ignore_errors=True)
        raise ValueError(
            f"a panel came as {digest} and is named {folder.name}: it was damaged where it was kept, or on the way"
        )
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(partial, folder)
