"""The identity of a fit: data, numbers, code, torch and device as one hash.

It contains no path, date or name.  The folder of a fit and its MLflow run are found by it.
"""

import hashlib
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version as installed
from typing import Any, NotRequired, TypedDict

import torch

from models.baselines import FITTED_ROWS
from models.fit.job import Job, is_baseline
from models.fit.settings import Ended, Result
from params.errors import UserError
from params.schema import RunParams
from tasks.engine.choice import engine
from tasks.files import ROOT
from tasks.train.code import CODE_RULE, FIT, GREEDY, SERVING, WORKER, code_digest, imported_by, judging_digest
from tasks.train.job import Planned
from tasks.train.outside import code_of, outside_facts
from tasks.train.revision import Revision, revision_of
from tasks.validate.verdict import Verdict


class Determinism(TypedDict):
    """What makes equal fits equal: torch's deterministic algorithms (on a GPU), and the number of threads."""

    algorithms: bool
    threads: int


class Fingerprint(TypedDict):
    """The identity of a fit and its parts, JSON-ready, as stored with a version and a run.

    `changed`: code files that the `revision` does not hold as they ran, with git's id of their content.
    `statsforecast`: its version, if a baseline of the fit uses it.  `outside`: its code from outside
    (`Outside.facts`), if any.
    """

    identity: str
    data: str
    numbers: dict[str, Any]
    code: str
    code_rule: int
    torch: str
    statsforecast: NotRequired[str]
    outside: NotRequired[Mapping[str, object]]
    python: str
    device: str
    revision: str | None
    clean: bool
    changed: NotRequired[dict[str, str]]
    lock: str | None
    deterministic: Determinism


class Ending(TypedDict):
    """Where a fit ended and why, the parts of a batch, and the precision."""

    ended_by: Ended | None
    steps: int
    parts: int
    precision: str


@dataclass(frozen=True)
class Provenance:
    """The origin of a comparison: the verdict on its data, the command to repeat it, and its fingerprint."""

    verdict: Verdict
    command: str
    fingerprint: Fingerprint


def canonical(value: Any) -> str:
    """Canonical JSON: equal for equal values, whatever the order of keys."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def sha256(text: str) -> str:
    """The hexadecimal sha256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def revision() -> Revision:
    """The revision of this checkout, and the code running, training or forecasting that it does not hold."""
    return revision_of(imported_by(ROOT, FIT) | imported_by(ROOT, WORKER))


def identity(job: Job, panel_digest: str) -> str:
    """The identity of a fit: sha256 of its data, numbers, training code, torch version and device kind.

    For a baseline, without torch: data, numbers, code, and statsforecast's version if it uses that.
    """
    inputs: dict[str, Any] = {"data": panel_digest, "numbers": job.numbers(), "code": _code_of(job)}
    inputs |= {**statsforecast(_baselines(job)), **_outside(job)}
    if not is_baseline(job.family):
        inputs |= {"torch": torch.__version__, "device": engine().kind(job.device, job.threads, job.resources)}
    return sha256(canonical(inputs))


def _baselines(job: Job) -> set[str]:
    """The baselines of a job: itself, or its members."""
    return {member.family for member in (job, *job.members) if is_baseline(member.family)}


def _outside(job: Job) -> dict[str, Mapping[str, object]]:
    """The code from outside of a job, if it has any."""
    code = outside_facts(job)
    return {"outside": code} if code else {}


def _code_of(job: Job) -> str:
    """The digest of the code that runs a job."""
    if is_baseline(job.family):
        return code_digest(start=SERVING)
    if job.greedy is not None:
        return code_digest(start=GREEDY)
    return sha256(canonical([code_digest(), code_digest(start=SERVING)])) if _baselines(job) else code_digest()


def statsforecast(baselines: Iterable[str]) -> dict[str, str]:
    """statsforecast's version, if one of these baselines uses it."""
    return {"statsforecast": installed("statsforecast")} if {*baselines} & {*FITTED_ROWS} else {}


def comparison_identity(run: RunParams, fits: Sequence[Planned]) -> str:
    """The identity of a comparison: its fits, what judges them, and the data for the final refit.

    Raises UserError if two of its fits are identical: they would write to one folder.
    """
    identities = {fit.label: identity(fit.job, fit.job.panel.name) for fit in fits}
    same = {digest: label for label, digest in identities.items()}
    for label, digest in identities.items():
        if same[digest] != label:
            raise UserError(
                f"variants: {label} and {same[digest]} are one and the same fit (draws_as in a variant's file): leave one out"
            )
    inputs = {
        "fits": identities,
        "refit": {fit.label: fit.variant.run.training.refit for fit in fits},
        "evaluation": run.evaluation.model_dump(mode="json"),
        "judged_by": judging_digest(),
        "name": run.name,
        **_named(run),
        **statsforecast(run.evaluation.baselines),
    }
    return sha256(canonical(inputs))


def _named(run: RunParams) -> dict[str, object]:
    """The code of a run's measures and baselines from outside, if it has any."""
    sections = {"metrics": run.metrics, "baselines": run.baselines}
    by_section = {
        section: {name: code.facts() for name, target in named.items() for code in code_of(target)}
        for section, named in sections.items()
    }
    return {section: by_name for section, by_name in by_section.items() if by_name}


def fingerprint(job: Job, panel_digest: str) -> Fingerprint:
    """The identity of a fit and its parts, to explain why two runs differ."""
    lock, stands = ROOT / "constraints.txt", revision()
    return {
        "identity": identity(job, panel_digest),
        "data": panel_digest,
        "numbers": json.loads(canonical(job.numbers())),
        "code": _code_of(job),
        "code_rule": CODE_RULE,
        "torch": torch.__version__,
        **statsforecast(_baselines(job)),  # type: ignore[typeddict-item]
        **_outside(job),
        "python": sys.version.split()[0],
        "device": engine().kind(job.device, job.threads, job.resources),
        "revision": stands.commit,
        "clean": stands.commit is not None and not stands.changed,
        "changed": dict(stands.changed),
        "lock": hashlib.sha256(lock.read_bytes()).hexdigest() if lock.exists() else None,
        "deterministic": {"algorithms": job.device.startswith("cuda"), "threads": job.threads},
    }


def ending(result: Result) -> Ending:
    """What the numbers of a fit do not say: where it ended and why, the parts of a batch, the precision.

    A fit ended by `max_seconds` is repeated by a job whose training has its `steps` as `stop_step`.
    """
    return {"ended_by": result.ended_by, "steps": result.steps, "parts": result.parts, "precision": result.precision}
