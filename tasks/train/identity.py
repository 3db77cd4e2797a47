"""What makes a fit the same fit: data, numbers, code, torch and device as one hash; never a path, a date or a name.

The identity is also what a fit's folder and its MLflow run are found by.
"""

import hashlib
import json
import platform
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypedDict

import torch

from tasks.validate.verdict import Verdict

ROOT = Path(__file__).resolve().parents[2]
CODE = ("models", "tasks", "params")


class Fingerprint(TypedDict):
    """The identity of a fit and what stands behind it, JSON-ready, as a version and a run keep it."""

    identity: str
    data: str
    numbers: dict[str, Any]
    code: str
    torch: str
    python: str
    device: str
    revision: str | None
    clean: bool
    lock: str | None
    deterministic: dict[str, Any]


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
def code_digest(root: Path = ROOT) -> str:
    """sha256 over the names and contents of every .py file below models, tasks and params."""
    digest = hashlib.sha256()
    for path in sorted(path for folder in CODE for path in (root / folder).rglob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root).as_posix()}|{len(content)}|".encode() + content)
    return digest.hexdigest()


def device_kind(device: str, threads: int) -> str:
    """What arithmetic a fit runs on: the accelerator's name, or the processor's instruction set, and the thread count."""
    if device.startswith("cuda"):
        return f"cuda {torch.cuda.get_device_name(torch.device(device))}"
    if device == "mps":
        return f"mps {platform.machine()}"
    return f"cpu {platform.machine()} {torch.backends.cpu.get_cpu_capability()} {threads} threads"


def numbers(job: Mapping[str, Any]) -> dict[str, Any]:
    """What of a job decides its weights beside data, code and device, JSON-ready."""
    kept = {key: value for key, value in job.items() if key not in ("panel", "device", "threads")}
    result: dict[str, Any] = json.loads(canonical(kept))
    return result


def identity(job: Mapping[str, Any], panel_digest: str) -> str:
    """The identity of a fit: sha256 of its data, its numbers, the code, the torch version and the device kind."""
    facts = {
        "data": panel_digest,
        "numbers": numbers(job),
        "code": code_digest(),
        "torch": torch.__version__,
        "device": device_kind(job["device"], job["threads"]),
    }
    return sha256(canonical(facts))


def fingerprint(job: Mapping[str, Any], panel_digest: str) -> dict[str, Any]:
    """The identity of a fit and what stands behind it, for people who ask why two runs differ."""
    lock = ROOT / "constraints.txt"
    return {
        "identity": identity(job, panel_digest),
        "data": panel_digest,
        "numbers": numbers(job),
        "code": code_digest(),
        "torch": torch.__version__,
        "python": sys.version.split()[0],
        "device": device_kind(job["device"], job["threads"]),
        "revision": _git("rev-parse", "HEAD"),
        "clean": _git("status", "--porcelain") == "",
        "lock": hashlib.sha256(lock.read_bytes()).hexdigest() if lock.exists() else None,
        "deterministic": {"algorithms": job["device"].startswith("cuda"), "threads": job["threads"]},
    }


def course(result: Mapping[str, Any]) -> dict[str, Any]:
    """What a fit was like that its numbers alone do not say: where it ended and by what, the parts of a batch, the precision.

    A fit that its `max_seconds` ended is repeated by a job whose training has its `steps` as `stop_step`.
    """
    return {name: result[name] for name in ("ended_by", "steps", "parts", "precision") if name in result}


@cache
def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
