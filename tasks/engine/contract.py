"""The interface of an engine: it runs fits somewhere, and describes the machines that it has.

A fit is a folder with a `job.json`.  With any engine, its checkpoints, weights, result and forecasts
(`models/worker.py`) are in that folder when it has ended; only this process writes to MLflow and Prefect.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from models.fit.job import Job
from models.fit.settings import Epoch, Resources
from models.worker import FULL, STOPPED
from params.errors import UserError

# exit status of a fit: stopped on request, no space on a disk, killed by the system
__all__ = ["ANY", "FULL", "KILLED", "STOPPED", "Engine", "Interrupted", "Listener", "Node", "Pool", "Work", "variables"]
KILLED = -9
ANY = Resources()  # as its threads and device imply


def variables(threads: int) -> dict[str, str]:
    """Environment variables of a fit with this many threads, anywhere; cuBLAS is then deterministic."""
    return {"OMP_NUM_THREADS": str(threads), "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}


class Interrupted(UserError):
    """The fit was asked to stop and is not done; the same command resumes from its checkpoint."""

    def __init__(self) -> None:
        super().__init__("a fit was asked to stop; the same command goes on from the step that it was at")


@dataclass(frozen=True)
class Listener:
    """Callbacks for the row of an epoch and for a warning while a fit runs."""

    epoch: Callable[[Epoch], None] = lambda _: None
    warning: Callable[[str], None] = lambda _: None


@dataclass(frozen=True, kw_only=True)
class Node:
    """A machine that runs fits: cores and accelerators, memory in bytes, kinds of arithmetic, versions.

    `name`: the engine's id for it.  `kinds`: torch device -> arithmetic there (`cpu` -> `cpu x86_64 AVX512`,
    `cuda` -> `cuda NVIDIA H200`), as in the identity of a fit.
    """

    name: str = ""
    address: str
    cpus: float
    gpus: float = 0.0
    memory: int = 0
    kinds: Mapping[str, str] = field(default_factory=dict)
    torch: str = ""
    python: str = ""


@dataclass(frozen=True, kw_only=True)
class Pool:
    """All machines of an engine.  `address`: of the cluster; `version`: of the engine, empty if local."""

    address: str
    nodes: tuple[Node, ...]
    version: str = ""

    def kinds(self, device: str) -> tuple[str, ...]:
        """The distinct kinds of arithmetic on a torch device, sorted; empty if no node has one."""
        name = device.partition(":")[0]
        return tuple(sorted({node.kinds[name] for node in self.nodes if name in node.kinds}))


@dataclass(frozen=True)
class Work:
    """A fit to run: its folder, the content of its `job.json`, and the folders of an ensemble's networks.

    `code`: digest of the forecasting code, for `evaluation.json`.
    """

    folder: Path
    job: Job
    code: str
    members: Sequence[Path] = ()


class Engine(Protocol):
    """Where fits run.  All methods but `run` and `turn` raise UserError if it is unavailable."""

    @property
    def name(self) -> str:
        """Its word in LAGLINE_ENGINE."""

    @property
    def here(self) -> bool:
        """Whether its fits run on this machine."""

    def pool(self) -> Pool:
        """The machines, as they describe themselves."""

    def device(self) -> str:
        """LAGLINE_DEVICE, or the best available: cuda, mps, cpu."""

    def jobs(self, threads: int, device: str, resources: Resources = ANY) -> int:
        """How many fits with this many threads run at a time on a device."""

    def kind(self, device: str, threads: int, resources: Resources = ANY) -> str:
        """The arithmetic of a fit: accelerator name, or the CPU's instruction set, and its threads."""

    def summary(self, device: str, resources: Resources = ANY) -> str:
        """What fits run on, in words, for the line that announces them."""

    def round_trips(self) -> Mapping[str, float]:
        """Seconds to send 1 MB there and back, by node name; empty if fits run on this machine."""

    def remark(self) -> str | None:
        """A remark on the fits since the last call, if there is any."""

    def turn(self, home: Path, device: str, stop: threading.Event | None = None) -> AbstractContextManager[tuple[int, ...]]:
        """Our turn on a device that runs one fit at a time, for a block; yields the descriptors of its locks.

        Raises Interrupted if `stop` is set before our turn comes.
        """

    def run(self, work: Work, listener: Listener, stop: threading.Event, locks: tuple[int, ...] = ()) -> tuple[int, str]:
        """Runs a fit; returns the exit status and the end of the error output.

        `locks`: descriptors held while the fit may write.
        """
