"""What an engine is: it carries fits out somewhere, and says what there is to carry them out with.

A fit is a folder with a `job.json`.  Whatever the engine, its checkpoints, weights, result and forecasts (`models/worker.py`)
lie in that folder when it has ended, and only this process writes to MLflow and Prefect.
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

# how a fit ended, as its exit status says: stopped on request, no room on a disk, killed by the system
__all__ = ["ANY", "FULL", "KILLED", "STOPPED", "Engine", "Interrupted", "Listener", "Node", "Pool", "variables"]
KILLED = -9
ANY = Resources()  # by its threads and its device


def variables(threads: int) -> dict[str, str]:
    """Those of the environment that a fit of so many threads finds, wherever it runs; cuBLAS repeats itself to the bit."""
    return {"OMP_NUM_THREADS": str(threads), "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}


class Interrupted(UserError):
    """The fit was asked to stop and is not done; the same command goes on from its checkpoint."""

    def __init__(self) -> None:
        super().__init__("a fit was asked to stop; the same command goes on from the step that it was at")


@dataclass(frozen=True)
class Listener:
    """Who hears of an epoch's row and of a warning while a fit runs."""

    epoch: Callable[[Epoch], None] = lambda _: None
    warning: Callable[[str], None] = lambda _: None


@dataclass(frozen=True, kw_only=True)
class Node:
    """A machine that fits run on: its cores and accelerators for them, its memory in bytes, its arithmetic, its versions.

    `name`: the engine's own for it.  `kinds`: torch's device -> the arithmetic there (`cpu` -> `cpu x86_64 AVX512`, `cuda` ->
    `cuda NVIDIA H200`), as the identity of a fit says it.
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
    """All machines of an engine.  `address`: of the cluster; `version`: of the engine, empty for this machine's own."""

    address: str
    nodes: tuple[Node, ...]
    version: str = ""

    def kinds(self, device: str) -> tuple[str, ...]:
        """The different kinds of arithmetic on a device of torch, sorted; none where no node has one."""
        name = device.partition(":")[0]
        return tuple(sorted({node.kinds[name] for node in self.nodes if name in node.kinds}))


class Engine(Protocol):
    """Where fits run.  Every method but `run` and `turn` raises UserError where the engine cannot be had as it is asked for."""

    @property
    def name(self) -> str:
        """The word that LAGLINE_ENGINE chooses it by."""

    @property
    def here(self) -> bool:
        """Whether its fits run on this machine."""

    def pool(self) -> Pool:
        """What there is to run on, asked of the machines themselves."""

    def device(self) -> str:
        """LAGLINE_DEVICE, or the best there is: cuda, mps, cpu."""

    def jobs(self, threads: int, device: str, resources: Resources = ANY) -> int:
        """How many fits of so many threads run at a time on a device."""

    def kind(self, device: str, threads: int, resources: Resources = ANY) -> str:
        """What arithmetic a fit runs on: the accelerator's name, or the processor's instruction set, and the thread count."""

    def summary(self, device: str, resources: Resources = ANY) -> str:
        """What fits run on, in words, as the line says that announces them."""

    def round_trips(self) -> Mapping[str, float]:
        """By the name of each node the seconds that 1 MB takes there and back; none where fits run on this machine."""

    def remark(self) -> str | None:
        """What is worth saying of the fits since it was last asked, where there is something."""

    def turn(self, home: Path, device: str, stop: threading.Event | None = None) -> AbstractContextManager[tuple[int, ...]]:
        """Our turn on a device that carries one fit at a time, for a block; gives the descriptors of its locks.

        Raises Interrupted where `stop` is set before our turn comes.
        """

    def run(
        self,
        folder: Path,
        job: Job,
        code: str,
        members: Sequence[Path],
        listener: Listener,
        stop: threading.Event,
        locks: tuple[int, ...] = (),
    ) -> tuple[int, str]:
        """Carries the `job.json` of a folder out; returns the exit status and the end of what was said of errors.

        `job`: what `job.json` says.  `code`: of what forecasts, kept in `evaluation.json`.  `members`: the folders of the fits
        of an ensemble's networks.  `locks`: descriptors that are held for as long as the fit can write to the folder.
        """
