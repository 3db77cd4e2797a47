"""Runs fits on an existing Ray cluster, with the same bits as on this machine.

Only a job and a panel's digest are sent to a worker; it yields its results, which are stored here as by a
local process.  Retries are ours: a fit whose node died resumes elsewhere from its newest checkpoint.  The
only file that knows Ray, imported only if LAGLINE_ENGINE asks for it.
"""

import logging
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from statistics import median
from typing import Any

import numpy as np
import torch

from models.fit import checkpoint
from models.fit.job import Job
from models.fit.settings import Resources
from models.remote import Facts, Order, Over, models_digest, with_threads
from params.errors import Unavailable, UserError
from tasks import shelf
from tasks.engine.contract import ANY, FULL, KILLED, STOPPED, Listener, Node, Pool, Work, variables
from tasks.engine.heard import Heard, newest, there
from tasks.engine.room import fitting, needs_of, node_of, slots
from tasks.files import ROOT

MOST_FITS = 256  # at a time: each has a thread here, and an MLflow run
TRIES = 3  # of a fit whose nodes die without any progress
WAITING = 4.0  # further seconds before each try
LOOK = 0.2  # seconds between checks for messages and for a stop
KNOCK = 3.0  # seconds for an address to answer
CONNECTING = 45.0  # seconds to connect to a cluster
ASKING = 120.0  # seconds for nodes to describe themselves
STOPPING = 4.0  # seconds for a fit to end after its step
GONE = 20.0  # seconds without a suitable node before giving up
SHIPPED = 2e9  # bytes up to which a panel is sent by this machine even if there is a shelf
UNREAD = 2  # unread messages after which a worker keeps its newest checkpoint to itself
INSTALL = "install it with: .venv/bin/python -m pip install -c constraints.txt -e '.[ray]'"
TOKEN = "where the cluster asks for a token, set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN"


def _ray() -> Any:
    """The library.  Raises UserError if it is not installed."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # silences a deprecation warning
    os.environ.setdefault("RAY_SCHEDULER_EVENTS", "0")  # no autoscaler messages in our output
    try:
        import ray
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise UserError(f"LAGLINE_ENGINE=ray: Ray is not installed here; {INSTALL}") from None
    return ray


class Lost(Exception):
    """A fit's node or process died, and the fit with it."""


class Ray:
    """The engine of a Ray cluster; connects on first use."""

    name, here = "ray", False

    def __init__(self) -> None:
        self.address = ""
        self._lock = threading.RLock()
        self._pool: Pool | None = None
        self._panels: dict[Path, Any] = {}
        self._took: list[tuple[float, float]] = []  # per fit: seconds on its worker, seconds of overhead

    def pool(self) -> Pool:
        """All nodes as they describe themselves.  Raises UserError if the cluster does not answer, or a node
        has another torch or other code."""
        with self._lock:
            if self._pool is None:
                self._connect()
                self._pool = Pool(address=self.address, nodes=tuple(self._nodes()), version=_ray().__version__)
            return self._pool

    def device(self) -> str:
        """LAGLINE_DEVICE, or the best that a node has: cuda, cpu."""
        wanted = os.environ.get("LAGLINE_DEVICE", "").strip()
        kinds = [name for name in ("cuda", "cpu") if self.pool().kinds(name)]
        if wanted and wanted not in kinds:
            raise UserError(f"LAGLINE_DEVICE={wanted}: no node of ray {self.address} has it; found: {', '.join(kinds)}")
        return wanted or kinds[0]

    def jobs(self, threads: int, device: str, resources: Resources = ANY) -> int:
        """As many as the nodes have room for; asks again if nodes have come or gone."""
        with self._lock:
            if self._pool and {node.name for node in self._pool.nodes} != {entry["NodeID"] for entry in self._offering()}:
                self._pool = None
        needs = needs_of(threads, device, resources)
        count = slots(self._fitting(device, resources), needs)
        if not count:
            asked = f"{needs.cpus:g} cores, {needs.gpus:g} GPUs, {needs.memory:,} bytes of memory"
            raise UserError(f"no node of ray {self.address} has room for a fit ({asked}); see training.resources and threads")
        return min(count, MOST_FITS)

    def kind(self, device: str, threads: int, resources: Resources = ANY) -> str:
        """The arithmetic of a fit on the cluster."""
        nodes = self._fitting(device, resources)
        return with_threads(nodes[0].kinds[device.partition(":")[0]], threads)

    def summary(self, device: str, resources: Resources = ANY) -> str:
        """The cluster, and how many of which devices it offers."""
        nodes = self._fitting(device, resources)
        count = sum(node.gpus if device == "cuda" else node.cpus for node in nodes)
        return f"ray {self.address} ({count:g} x {nodes[0].kinds[device]})"

    def round_trips(self) -> dict[str, float]:
        """Seconds to send 1 MB there and back, by node name."""
        ray, seconds, content = _ray(), {}, np.zeros(1_000_000, np.uint8)
        for node in self.pool().nodes:
            there = ray.remote(lambda content: content).options(**self._at(node.name))
            ray.get(there.remote(b""))  # starts a worker
            started = time.perf_counter()
            ray.get(there.remote(content))
            seconds[node.name] = time.perf_counter() - started
        return seconds

    @contextmanager
    def turn(self, home: Path, device: str, stop: threading.Event | None = None) -> Iterator[tuple[int, ...]]:
        """Not needed: the cluster assigns slots."""
        yield ()

    def remark(self) -> str | None:
        """That a cluster does not pay, if the fits so far took less time than their overhead."""
        took, self._took = self._took, []
        if not took:
            return None
        work, way = median(seconds for seconds, _ in took), median(seconds for _, seconds in took)
        if work >= way:
            return None
        return f"a cluster is slower than LAGLINE_JOBS here: the median fit took {work:.1f} s, and {way:.1f} s on its way"

    def run(self, work: Work, listener: Listener, stop: threading.Event, locks: tuple[int, ...] = ()) -> tuple[int, str]:
        """Runs a fit on a worker, and on another if that one dies."""
        folder, job = work.folder, work.job
        started, tries, heard = time.monotonic(), 0, Heard(folder, listener)
        kind = self.kind(job.device, job.threads, job.resources)
        while True:
            before = newest(folder)
            order = Order(
                job=job.to_dict(),
                panel=job.panel.name,
                files=there(folder),
                code=work.code,
                torch=torch.__version__,
                models=models_digest(),
                kind=kind,
            )
            try:
                over = self._try_once(order, job, heard, stop)
            except Lost as error:
                tries = 1 if newest(folder) != before else tries + 1
                if tries > TRIES:
                    return KILLED, f"its worker died {tries} times: {error}"
                listener.warning(f"{error}; it goes on from {newest(folder) or 'its beginning'} elsewhere")
                stop.wait(WAITING * (tries - 1))  # a dead node remains listed for a while
            except checkpoint.StorageFull as error:
                return FULL, f"{error.filename}: {error.strerror}"
            else:
                self._took.append((over.seconds, time.monotonic() - started - over.seconds))
                return over.status, over.words

    def _try_once(self, order: Order, job: Job, heard: Heard, stop: threading.Event) -> Over:
        """One try.  Raises Lost, UserError for a refused fit, Unavailable if no node is left."""
        ray, panel = _ray(), self._panel_ref(job.panel)
        word = f"lagline-stop-{os.urandom(16).hex()}"
        stream = ray.remote(_task()).options(**self._options(job)).remote(vars(order), [panel], word)
        alone, patience, message = time.monotonic(), float("inf"), None
        try:
            while not isinstance(message, Over) and time.monotonic() < patience:
                if stop.is_set() and patience == float("inf"):
                    ray.experimental.internal_kv._internal_kv_put(word, b"1")  # a cancel loses messages
                    patience = time.monotonic() + STOPPING
                ready, _ = ray.wait([stream], timeout=LOOK, fetch_local=False)
                alone = time.monotonic() if ready else self._still_there(job, alone)
                if ready:
                    message = ray.get(next(stream))
                    heard.hear(message)
            return message if isinstance(message, Over) else Over(STOPPED, "", 0.0)
        except StopIteration:
            raise Lost("a worker ended without a word") from None
        except ray.exceptions.RayError as error:
            return Over(STOPPED, "", 0.0) if stop.is_set() else self._broken(error)
        finally:
            if not isinstance(message, Over):
                with suppress(Exception):  # the cluster may be gone
                    ray.cancel(stream, force=True)
            if stop.is_set():
                with suppress(Exception):
                    ray.experimental.internal_kv._internal_kv_del(word)

    def _broken(self, error: Exception) -> Over:
        """What a Ray error means for the fit: its end, or, if raised, another try."""
        words = str(error).strip().splitlines()
        failed = _ray().exceptions
        if isinstance(error, failed.OutOfMemoryError):
            return Over(KILLED, "", 0.0)
        if isinstance(error, PermissionError):
            raise UserError(f"ray {self.address}: {error.args[-1] if error.args else words[-1]}") from None
        if isinstance(error, failed.RuntimeEnvSetupError):
            raise UserError(f"ray {self.address}: a worker cannot be set up: {words[-1]}") from None
        gone = (failed.NodeDiedError, failed.WorkerCrashedError, failed.LocalRayletDiedError, failed.ObjectLostError)
        if isinstance(error, (*gone, failed.TaskCancelledError, failed.TaskUnschedulableError)):
            raise Lost(f"the worker of a fit is gone ({type(error).__name__})") from None
        return Over(1, "\n".join(words[-40:]), 0.0)

    def _still_there(self, job: Job, alone: float) -> float:
        """The time since when no node was suitable; raises Unavailable if that is too long ago."""
        if time.monotonic() - alone < 1.0:
            return alone
        if self._answers() and any(self._can(node, job) for node in _ray().nodes()):
            return time.monotonic()
        if time.monotonic() - alone > GONE:
            raise Unavailable(
                f"ray {self.address}: no node is left that could train; what was saved is kept, and the same command goes on "
                "when the cluster is there again"
            )
        return alone

    def _answers(self) -> bool:
        """Whether the cluster's address accepts a connection."""
        host, _, port = self.address.rpartition(":")
        try:
            socket.create_connection((host, int(port)), KNOCK).close()
        except OSError:
            return False
        return True

    @staticmethod
    def _can(node: Mapping[str, Any], job: Job) -> bool:
        cpus, gpus, memory = needs_of(job.threads, job.device, job.resources)
        has = node["Resources"]
        enough = has.get("CPU", 0) >= cpus and has.get("GPU", 0) >= gpus and has.get("memory", 0) >= memory
        return bool(node["Alive"] and enough)

    def _options(self, job: Job) -> dict[str, Any]:
        """Ray's options for a fit."""
        cpus, gpus, memory = needs_of(job.threads, job.device, job.resources)
        ids = [node.name for node in self._fitting(job.device, job.resources)] if job.resources.kind else []
        return {
            "num_cpus": cpus,
            "num_gpus": gpus,
            "max_retries": 0,
            "num_returns": "streaming",
            "name": f"{job.training.variant}-s{job.training.seed}",
            "_generator_backpressure_num_objects": UNREAD,
            **({"memory": memory} if memory else {}),
            **({"label_selector": {"ray.io/node-id": f"in({','.join(ids)})"}} if ids else {}),
            **({"runtime_env": {"env_vars": variables(job.threads)}} if job.threads != 1 else {}),
        }

    def _panel_ref(self, panel: Path) -> Any:
        """The panel in the object store (the last two stay), or a reader of a large one on a shelf."""
        with self._lock:
            if panel not in self._panels:
                large = sum(path.stat().st_size for path in panel.iterdir()) > SHIPPED
                if large and (read := shelf.reader(panel)) is not None:
                    return read
                files = {path.name: np.asarray(np.memmap(path, np.uint8, "r")) for path in panel.iterdir() if path.is_file()}
                self._panels = dict([*self._panels.items()][-1:]) | {panel: _ray().put(files)}
            return self._panels[panel]

    def _fitting(self, device: str, resources: Resources) -> list[Node]:
        return fitting(self.pool(), device, resources)

    def _connect(self) -> None:
        """Connects.  Raises UserError if no cluster answers."""
        ray = _ray()
        if ray.is_initialized():
            self.address = ray.get_runtime_context().gcs_address
            return
        if hasattr(ray._private.worker, "print_to_stdstream"):  # Ray prints pages about dead nodes to stdout
            ray._private.worker.print_to_stdstream = lambda *_, **__: None
        wanted = os.environ.get("RAY_ADDRESS", "").strip() or "auto"
        self._check_reachable(wanted)
        ended: SimpleQueue[Exception | None] = SimpleQueue()

        def connect() -> None:  # in a thread: in the main one Ray handles SIGTERM and blocks for minutes
            try:
                ray.init(
                    address=wanted,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    runtime_env={"py_modules": [str(ROOT / "models")], "env_vars": variables(1)},
                )
                ended.put(None)
            except Exception as error:
                ended.put(error)

        threading.Thread(target=connect, name="ray-init", daemon=True).start()
        try:
            if (error := ended.get(timeout=CONNECTING)) is not None:
                words = next(iter(str(error).strip().splitlines()), type(error).__name__)
                raise UserError(f"ray {wanted}: {words}; see docs/cluster.md; {TOKEN}") from error
        except Empty:
            raise UserError(f"ray {wanted}: no answer within {CONNECTING:g} s; see docs/cluster.md; {TOKEN}") from None
        self.address = ray.get_runtime_context().gcs_address

    def _check_reachable(self, wanted: str) -> None:
        """Raises UserError if nothing answers at an address."""
        if wanted == "auto":
            return
        host, _, port = wanted.rpartition(":")
        if not re.fullmatch(r"[^/]+", host) or not port.isdecimal():
            raise UserError(f"RAY_ADDRESS={wanted}: write host:port of the cluster's head, such as 10.0.0.5:6379")
        self.address = wanted
        if not self._answers():
            raise UserError(
                f"RAY_ADDRESS={wanted}: nothing answers there; start a cluster (docs/cluster.md), or unset LAGLINE_ENGINE"
            )

    def _nodes(self) -> Iterator[Node]:
        """Every node that offers resources, as described by a task on it."""
        ray = _ray()
        asked, giving = [], self._offering()
        for entry in giving:
            task = ray.remote(_question()).options(**self._at(entry["NodeID"]))
            asked.append(task.remote(bool(entry["Resources"].get("GPU"))))
        if not giving:
            raise UserError(f"ray {self.address}: no node gives fits a core; start one with --num-cpus (docs/cluster.md)")
        for entry, answer in zip(giving, asked, strict=True):
            try:
                machine: Facts = ray.get(answer, timeout=ASKING)
            except (ray.exceptions.TaskUnschedulableError, ray.exceptions.NodeDiedError):
                continue  # it has died in the meantime
            except ray.exceptions.RayError as error:
                words = str(error).strip().splitlines()[-1]
                raise UserError(f"ray {self.address}: node {entry['NodeManagerAddress']} cannot run a fit: {words}") from None
            yield node_of(entry, machine, self.address)

    @staticmethod
    def _offering() -> list[Mapping[str, Any]]:
        """The live nodes that offer resources to fits, as Ray lists them."""
        return [entry for entry in _ray().nodes() if entry["Alive"] and {"CPU", "GPU"} & entry["Resources"].keys()]

    @staticmethod
    def _at(node: str) -> dict[str, Any]:
        """Ray's options for a question to one node, which waits for no slot."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        there = NodeAffinitySchedulingStrategy(node, soft=False)
        return {"num_cpus": 0, "max_retries": 0, "scheduling_strategy": there, "name": "lagline-question"}


def _task() -> Callable[..., Any]:
    """The task of a worker; nested functions are pickled by value, so tasks/ is not needed there."""

    def lagline_fit(order: Mapping[str, Any], panel: Sequence[Any], word: str) -> Iterator[Any]:
        import os
        import sys

        import ray
        from ray.experimental.internal_kv import _internal_kv_exists

        sys.path[:0] = os.environ.get("PYTHONPATH", "").split(os.pathsep)  # shipped code first
        from models import remote

        def fetch() -> Any:
            return panel[0]() if callable(panel[0]) else ray.get(panel[0])

        yield from remote.carry_out(remote.Order(**order), fetch, lambda: _internal_kv_exists(word))

    return lagline_fit


def _question() -> Callable[[bool], Any]:
    """The task by which a node describes itself."""

    def lagline_facts(gpus: bool) -> Any:
        import os
        import sys

        sys.path[:0] = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        from models import remote

        return remote.facts(gpus)

    return lagline_facts
