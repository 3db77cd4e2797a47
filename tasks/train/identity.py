"""What makes a fit the same fit: data, numbers, the code that trains it, torch and device, as one hash.

No path, date or name is in it.  A fit's folder and its MLflow run are found by it.
"""

import ast
import hashlib
import json
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypedDict

import torch

from models.fit.job import Job
from models.fit.settings import Ended, Result
from params.schema import RunParams
from tasks.files import ROOT
from tasks.train.job import Planned
from tasks.validate.verdict import Verdict

CODE_RULE = 2  # how `code` is taken: 1 (up to lagline 0.1) hashed every file of models, tasks and params
FIT, WORKER = "models/fit/job.py", "models/worker.py"  # where the code that trains, and the code that forecasts, begins
JUDGING = ("tasks/evaluate", "tasks/compare")  # what makes scores of forecasts


class Determinism(TypedDict):
    """What makes equal fits equal: torch's deterministic algorithms (on a GPU), and the number of threads."""

    algorithms: bool
    threads: int


class Fingerprint(TypedDict):
    """The identity of a fit and what stands behind it, JSON-ready, as a version and a run keep it."""

    identity: str
    data: str
    numbers: dict[str, Any]
    code: str
    code_rule: int
    torch: str
    python: str
    device: str
    revision: str | None
    clean: bool
    lock: str | None
    deterministic: Determinism


class Ending(TypedDict):
    """Where a fit ended and by what, the parts of a batch, and the precision."""

    ended_by: Ended | None
    steps: int
    parts: int
    precision: str


@dataclass(frozen=True)
class Provenance:
    """Where a comparison comes from: what the data checks found, the command that does it again, and its fingerprint."""

    verdict: Verdict
    command: str
    fingerprint: Fingerprint


def canonical(value: Any) -> str:
    """JSON that is the same for the same value, whatever the order of keys."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def sha256(text: str) -> str:
    """Hexadecimal sha256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def code_digest(root: Path = ROOT, start: str = FIT) -> str:
    """sha256 over the names and contents of the file `start` below models/ and of every file there that it imports."""
    return _digest(root, imported_by(root, start))


@cache
def judging_digest(root: Path = ROOT) -> str:
    """The same of what judges trained weights: the code that forecasts with them and the code that scores the forecasts."""
    return _digest(root, {*imported_by(root, WORKER), *(path for folder in JUDGING for path in (root / folder).rglob("*.py"))})


def _digest(root: Path, paths: set[Path]) -> str:
    digest = hashlib.sha256()
    for path in sorted(paths):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root).as_posix()}|{len(content)}|".encode() + content)
    return digest.hexdigest()


def imported_by(root: Path, start: str) -> set[Path]:
    """The files below models/ that a file there imports, itself and the packages on the way included, at any depth."""
    found: set[Path] = set()
    todo = [root / start]
    while todo:
        path = todo.pop()
        if path not in found:
            found.add(path)
            todo += [file for name in _modules(path) for file in _files(root, name)]
    return found


def _modules(path: Path) -> Iterator[str]:
    """Every module of models/ that a file may import, imports inside functions included."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "models")
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "models":
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _files(root: Path, module: str) -> Iterator[Path]:
    """The files that importing a dotted name runs: the packages on the way, and the module where there is one."""
    parts = module.split(".")
    for count in range(1, len(parts) + 1):
        base = root.joinpath(*parts[:count])
        yield from (path for path in (base / "__init__.py", base.with_suffix(".py")) if path.is_file())


def device_kind(device: str, threads: int) -> str:
    """What arithmetic a fit runs on: the accelerator's name, or the processor's instruction set, and the thread count."""
    if device.startswith("cuda"):
        return f"cuda {torch.cuda.get_device_name(torch.device(device))}"
    if device == "mps":
        return f"mps {platform.machine()}"
    return f"cpu {platform.machine()} {torch.backends.cpu.get_cpu_capability()} {threads} threads"


def identity(job: Job, panel_digest: str) -> str:
    """The identity of a fit: sha256 of its data, its numbers, the code that trains it, the torch version and device kind."""
    facts = {
        "data": panel_digest,
        "numbers": job.numbers(),
        "code": code_digest(),
        "torch": torch.__version__,
        "device": device_kind(job.device, job.threads),
    }
    return sha256(canonical(facts))


def comparison_identity(run: RunParams, fits: Sequence[Planned]) -> str:
    """The identity of a comparison: that of its fits, what judges them, and on what the chosen one is trained again."""
    facts = {
        "fits": {fit.label: identity(fit.job, fit.job.panel.name) for fit in fits},
        "refit": {fit.label: fit.variant.run.training.refit for fit in fits},
        "evaluation": run.evaluation.model_dump(mode="json"),
        "judged_by": judging_digest(),
        "name": run.name,
    }
    return sha256(canonical(facts))


def fingerprint(job: Job, panel_digest: str) -> Fingerprint:
    """The identity of a fit and what stands behind it, for people who ask why two runs differ."""
    lock = ROOT / "constraints.txt"
    return {
        "identity": identity(job, panel_digest),
        "data": panel_digest,
        "numbers": json.loads(canonical(job.numbers())),
        "code": code_digest(),
        "code_rule": CODE_RULE,
        "torch": torch.__version__,
        "python": sys.version.split()[0],
        "device": device_kind(job.device, job.threads),
        "revision": _git("rev-parse", "HEAD"),
        "clean": _git("status", "--porcelain") == "",
        "lock": hashlib.sha256(lock.read_bytes()).hexdigest() if lock.exists() else None,
        "deterministic": {"algorithms": job.device.startswith("cuda"), "threads": job.threads},
    }


def ending(result: Result) -> Ending:
    """What a fit was like that its numbers alone do not say: where it ended and by what, the parts of a batch, the precision.

    A fit that its `max_seconds` ended is repeated by a job whose training has its `steps` as `stop_step`.
    """
    return {"ended_by": result.ended_by, "steps": result.steps, "parts": result.parts, "precision": result.precision}


@cache
def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
