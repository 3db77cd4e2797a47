"""A fit on a worker of a cluster: carried out in a folder of its node, it yields all that comes of it, and keeps nothing.

The worker has torch, numpy and this package, and no more.  It refuses a fit that would not be the same one here: another torch,
other code, another kind of arithmetic.  Panels lie in a cache of the node, found by their digest; LAGLINE_CACHE names its
folder (by default one of the user's below the system's folder for temporary files).
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

TICK, LOOK = 0.2, 1.0  # seconds between two looks for a new checkpoint, and whether to stop
YOUNG = 60.0  # seconds in which a process that has made its lock has it
MOST_PANELS = 50e9  # bytes of panels that a node keeps: the longest unused go first
# what a fit leaves, in the order in which it is told: a result is believed once it is there
LEFT = (
    *("weights.pt", "validation.npy", "test.npy", quantiles_file("validation"), quantiles_file("test")),
    *("result.json", "evaluation.json"),
)
Files = Mapping[str, np.ndarray]  # name -> content, uint8


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a node says of itself.  `kinds`: torch's device -> its arithmetic; `code`: the digest of models/ there."""

    kinds: Mapping[str, str]
    torch: str
    python: str
    code: str


@dataclass(frozen=True, kw_only=True)
class Order:
    """A fit to carry out.  `job`: as `Job.to_dict` gives it.  `panel`: its digest.  `files`: what there is of it already, its
    newest checkpoint, or the weights and result of one that has only to forecast.  `code`: what forecasts, kept in
    `evaluation.json`.  `torch`, `models`, `kind`: what it must find."""

    job: Mapping[str, Any]
    panel: str
    files: Mapping[str, bytes]
    code: str
    torch: str
    models: str
    kind: str


@dataclass(frozen=True)
class Row:
    """An epoch has ended."""

    row: Epoch


@dataclass(frozen=True)
class Warned:
    """A warning, for people."""

    words: str


@dataclass(frozen=True)
class Saved:
    """A file of the fit: a checkpoint, or one of `LEFT`."""

    name: str
    content: bytes


@dataclass(frozen=True)
class Refused:
    """The fit would be another one here; nothing was done."""

    words: str


@dataclass(frozen=True)
class Over:
    """The fit has ended: the exit status that a process would have had, the last words, the seconds that it took here."""

    status: int
    words: str
    seconds: float


Said = Row | Warned | Saved | Refused | Over


def arithmetic(device: str) -> str:
    """What computes on a device here: the accelerator's name, or the processor's instruction set."""
    if device.startswith("cuda"):
        return f"cuda {torch.cuda.get_device_name(torch.device(device))}"
    if device == "mps":
        return f"mps {platform.machine()}"
    return f"cpu {platform.machine()} {torch.backends.cpu.get_cpu_capability()}"


def kind_of(device: str, threads: int) -> str:
    """What arithmetic a fit of so many threads runs on here."""
    return with_threads(arithmetic(device), threads)


def with_threads(kind: str, threads: int) -> str:
    """The same as the identity of a fit says it: on a CPU the number of threads counts."""
    return f"{kind} {threads} threads" if kind.startswith("cpu") else kind


def models_digest() -> str:
    """sha256 over the names and contents of the files of this package."""
    root, digest = Path(__file__).parent, hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root).as_posix()}|{len(content)}|".encode() + content)
    return digest.hexdigest()


def facts(gpus: bool) -> Facts:
    """What this node is; `gpus`: whether it gives some, whose name is then asked in a process that may see them."""
    kinds = {"cpu": arithmetic("cpu")}
    if gpus:
        code = "import torch; print(torch.cuda.get_device_name(0))"
        seeing = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
        asked = subprocess.run([sys.executable, "-c", code], env=seeing, capture_output=True, text=True)
        if asked.returncode == 0:
            kinds["cuda"] = f"cuda {asked.stdout.strip()}"
    return Facts(kinds=kinds, torch=torch.__version__, python=platform.python_version(), code=models_digest())


def unlike(order: Order) -> str:
    """Why the fit would not be the same one here, in words; empty where it would."""
    job = Job.from_dict(order.job)
    if torch.__version__ != order.torch:
        return f"torch is {torch.__version__} on {platform.node()} and {order.torch} where the fit was planned"
    if models_digest() != order.models:
        return (
            f"the code of models/ on {platform.node()} ({Path(__file__).parent}) is not the one that the fit was planned with"
        )
    if (found := kind_of(job.device, job.threads)) != order.kind:
        return f"{platform.node()} computes on {found}, and the fit was planned for {order.kind}"
    return ""


def carry_out(order: Order, fetch: Callable[[], Files], stopped: Callable[[], bool] = lambda: False) -> Iterator[Said]:
    """Carries a fit out and says what comes of it; `fetch` gives the files of its panel, where the node has none.

    While whoever listens is late, the fit goes on, and of its checkpoints the newest alone is said.  Where `stopped`, which is
    asked once a second, says so, or nobody listens any more (the generator is closed), it ends after the step that it is at.
    """
    if why := unlike(order):
        yield Refused(why)
        return
    try:
        yield from _carried_out(order, fetch, stopped)
    except checkpoint.StorageFull as error:  # before the fit has begun: its panel, or what there was of it
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
            for said in _told(fit, heard, folder, known):
                if said is not None:
                    yield said
                if time.monotonic() - looked > LOOK:
                    looked = time.monotonic()
                    if stopped():
                        asked.set()
        finally:
            asked.set()
            fit.join(PATIENCE)
            if fit.is_alive():  # a step that takes too long: the process is the worker's own
                os._exit(STOPPED)
    yield Over(*fit.came_to, time.monotonic() - started)


class Fit(threading.Thread):
    """A fit at work.  `came_to`: its exit status and last words, once it has ended."""

    def __init__(self, work: Callable[[], tuple[int, str]]) -> None:
        super().__init__(name="fit")
        self._work = work
        self.came_to = (1, "the fit said nothing")

    def run(self) -> None:
        """Carries it out."""
        self.came_to = self._work()


def _worked(job: Job, folder: Path, code: str, asked: threading.Event, heard: SimpleQueue[Said]) -> tuple[int, str]:
    """The exit status and last words of a fit; `heard` gets what it says meanwhile."""

    def say(line: Mapping[str, Any]) -> None:
        heard.put(Warned(line["warning"]) if "warning" in line else Row(dict(line)))

    keep_memory()
    with contextlib.suppress(OSError), Path("/proc/self/clear_refs").open("w") as file:
        file.write("5")  # the most memory that this process has held is counted from here on
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # a warning that the fit before gave in this process is given again
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


def _told(fit: Fit, heard: SimpleQueue[Said], folder: Path, known: str) -> Iterator[Said | None]:
    """What a fit says until it has ended, its newest checkpoint where that is not the one `known`, at last its files; now and
    then nothing."""
    over = False
    while not over:
        over = not fit.is_alive() and heard.empty()
        for path in checkpoint.newest_first(folder)[:1]:
            if path.name != known:
                with contextlib.suppress(FileNotFoundError):  # cleared, or not the newest any more
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
    """Where this node keeps panels, and fits work; the user's own.  Raises PermissionError where it is another's."""
    named = os.environ.get("LAGLINE_CACHE", "").strip()
    folder = Path(named) if named else Path(tempfile.gettempdir()) / f"lagline-{os.getuid()}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{folder} on {platform.node()} belongs to another user: name one of yours with LAGLINE_CACHE")
    for name in ("panels", "work"):
        (folder / name).mkdir(mode=0o700, exist_ok=True)
    return folder


def sweep(cache: Path, most: float = MOST_PANELS) -> None:
    """Removes what fits have left whose process is gone, and the longest unused panels where all have more than `most` bytes.

    Where another process does that already, nothing.
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
    """Removes a folder that no process uses, which would hold its lock; whether that is so."""
    with _locked(mark, fcntl.LOCK_EX | fcntl.LOCK_NB) as ours:
        if ours is not None:
            shutil.rmtree(folder, ignore_errors=True)
        return ours is not None


@contextlib.contextmanager
def _locked(path: Path, how: int) -> Iterator[int | None]:
    """Holds a lock of the kernel for a block, which its holder's death frees; None where another has it and `how` is not to
    wait."""
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
    """A folder of its own for a block; what a killed process leaves of it is swept at the next start."""
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
    """The panel of a digest in the cache of this node, for a block in which it is not swept."""
    folder = cache / "panels" / digest
    with _locked(folder.with_suffix(".lock"), fcntl.LOCK_EX) as lock:
        assert lock is not None
        while True:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not _is_whole(folder):
                _written(folder, fetch())
            os.utime(folder)
            fcntl.flock(lock, fcntl.LOCK_SH)  # not at once: another may have swept it in between
            if folder.is_dir():
                break
        yield folder


_WHOLE: dict[Path, int] = {}  # panels that this process has read through, and when they were written


def _is_whole(folder: Path) -> bool:
    """Whether a panel is what it is named by; read once by a process."""
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
    """Puts a panel in place, whole or not at all.  Raises ValueError where it is not what it is named by."""
    partial = folder.with_name(f".{folder.name}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(mode=0o700)
    for name, content in files.items():
        checkpoint.write_bytes(partial / Path(name).name, content.data)
    if (found := content_digest(partial)) != folder.name:
        shutil.rmtree(partial, ignore_errors=True)
        raise ValueError(f"a panel came as {found} and is named {folder.name}: it was damaged where it was kept, or on the way")
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(partial, folder)
