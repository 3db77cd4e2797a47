"""Trains a registered version again in a fresh process, from its fingerprint alone, and compares the two.

A baseline is not trained: it forecasts again, from the stored panel.
"""

import math
import shlex
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from models.data.origins import origin_rows
from models.data.panel import content_digest
from models.data.windows import Windows
from models.families import family_of
from models.fit.job import Job, is_baseline, load_model, read_result
from models.fit.settings import Epoch, Result
from models.networks.contract import check_arguments
from models.outside import OutsideError, take_in
from models.worker import forecast
from params.errors import UserError
from tasks.engine.choice import engine
from tasks.engine.contract import Listener
from tasks.files import spread
from tasks.registry.facts import Refitted, Trained
from tasks.registry.load import Version
from tasks.registry.unseen import forecasts, panel_of
from tasks.train.identity import Fingerprint, fingerprint
from tasks.train.outside import located, outside_of
from tasks.train.process import fit_folder, run_fit
from tasks.train.revision import named

TOLERANCE = 1e-2  # relative to the forecasts' spread, across kinds of devices; on the same kind nothing may differ
DECISIVE = ("data", "numbers", "code", "outside")  # if one of them differs, the weights cannot be the same
OF_FORECASTS = ("data", "numbers", "outside")  # the same for a baseline, which other code may reproduce too
FIELDS = (*DECISIVE, "torch", "statsforecast", "device", "python", "lock")  # the others are reported but may not matter
LONGEST = 200  # characters shown of a value
WINDOWS = 256  # windows whose forecasts are compared
Say = Callable[[str], None]


@dataclass(frozen=True)
class Change:
    """How a field differs between two fingerprints: a changed data cell is `data`, another seed `numbers`."""

    field: str
    words: str

    def __str__(self) -> str:
        return f"{self.field} ({self.words})"


@dataclass(frozen=True)
class Proof:
    """`same`: whether the version was reproduced; `exact`: to the bit; `differing`: the changed fields."""

    same: bool
    exact: bool
    differing: tuple[Change, ...]
    words: str


def differing(recorded: Fingerprint, current: Fingerprint) -> tuple[Change, ...]:
    """Each field in which two fingerprints differ; `code` under different rules cannot be compared."""
    then, now = dict(recorded), dict(current)
    apart = {name: _changed(then.get(name), now.get(name)) for name in FIELDS}
    old, new = recorded.get("code_rule", 1), current.get("code_rule", 1)
    if old != new:
        what = "what this field is taken over changed with lagline 0.2.0, so that it cannot be compared"
        apart["code"] = f"{what}: rule {old} then, {new} now"
    return tuple(Change(name, words) for name, words in apart.items() if words)


def _changed(then: object, now: object) -> str:
    """How a field differs; empty if it does not.  A missing number equals None: it was added later."""
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        a, b = _flat(then), _flat(now)
        names = [name for name in sorted({*a, *b}) if a.get(name) != b.get(name)]
        return "; ".join(f"{name}: {_short(a.get(name))} then, {_short(b.get(name))} now" for name in names[:5])
    return f"{_short(then)} then, {_short(now)} now" if then != now else ""


def _flat(tree: Mapping[str, object], above: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for name, value in tree.items():
        flat |= _flat(value, f"{above}{name}.") if isinstance(value, Mapping) else {f"{above}{name}": value}
    return flat


def _short(value: object) -> str:
    text = str(value)
    return text[:12] if len(text) == 64 else text if len(text) <= LONGEST else text[:LONGEST] + "..."


def reproduce(
    version: Version, home: Path, device: str, say: Say = lambda text: None, stop: threading.Event | None = None
) -> Proof:
    """Trains a version again; compares weights to the bit, on another kind of device forecasts by TOLERANCE.

    A baseline forecasts again with the current code and is compared to the bit.  A version with refitted
    weights is trained twice; both must be reproduced.  If data, numbers or (for weights) code differ, nothing
    is trained: the result could not be the same.  Raises Interrupted after `stop`.
    """
    made = version.trained_on
    judged = _again(version, made, home, device, say, stop)
    if made.refit is None:
        return judged
    say("  and once more on all rows ...")
    refitted = _again(version, made.refit, home, device, say, stop)
    words = f"the judged weights: {judged.words}; the refitted weights: {refitted.words}"
    if judged.words == refitted.words:  # the same reason keeps both from being trained
        words = f"neither the judged nor the refitted weights: {judged.words}"
    apart = tuple(dict.fromkeys((*judged.differing, *refitted.differing)))
    return Proof(judged.same and refitted.same, judged.exact and refitted.exact, apart, words)


def _again(version: Version, kept: Trained, home: Path, device: str, say: Say, stop: threading.Event | None) -> Proof:
    """The proof for one set of weights."""
    panel_of(version, home)  # raises if it is gone
    try:
        job = located(kept.job_in(home / "panels", device), version.facts.name, home)
    except UserError as error:
        return Proof(False, False, (), f"cannot be trained again: {error}")
    apart = differing(kept.fingerprint, fingerprint(job, content_digest(job.panel)))
    fields, changes = {change.field for change in apart}, "; ".join(map(str, apart))
    what = "forecasts" if is_baseline(job.family) else "weights"
    if fields & set(OF_FORECASTS if what == "forecasts" else DECISIVE):
        way_back = _way_back(kept.fingerprint) if "code" in fields else ""
        verb = "forecast" if what == "forecasts" else "be trained"
        return Proof(False, False, apart, f"cannot {verb} again as it was: {changes}{way_back}")
    if unknown := _unknown_argument(job):
        return Proof(False, False, apart, f"cannot be trained again: {unknown}")
    with tempfile.TemporaryDirectory(dir=home, prefix=".reproduce-") as scratch:
        job = _stopped(job, kept)
        result = _fitted(job, home, Path(scratch), say, stop)
        if not result.finished:
            return Proof(False, False, apart, f"the training failed this time: {result.reason}")
        if result.weights == kept.weights:
            return Proof(True, True, apart, f"the same {what}, bit for bit (sha256 {result.weights[:12]})")
        if what == "forecasts" or not fields & {"device", "torch"}:
            words = f"other {what} came out ({result.weights[:12]}, not {kept.weights[:12]})"
            way_back = _way_back(kept.fingerprint) if "code" in fields else ""
            return Proof(False, False, apart, f"{words}; differing: {changes}{way_back}" if changes else words)
        gap = _forecast_gap(version, home, job, fit_folder(job, Path(scratch)), isinstance(kept, Refitted))
    words = f"other weights, forecasts {gap:.2g} of their spread apart (allowed {TOLERANCE:g}); differing: {changes}"
    return Proof(gap <= TOLERANCE, False, apart, words)


def _unknown_argument(job: Job) -> str:
    """An argument that one of the job's networks cannot take, in words; empty if there is none.

    Imports its code from outside: the local run file names it, and it is the recorded code."""
    try:
        for code in outside_of(job):
            take_in(code)
    except OutsideError as error:
        return str(error)
    for member in job.members or (job,):
        if is_baseline(member.family):  # the schema has checked its arguments
            continue
        try:
            kind = family_of(member.family)
            if kind is None:
                return f"there is no family {member.family}"
            own = {name: value for name, value in member.network.items() if name not in ("skip", "lookback")}
            check_arguments(kind, member.family, own)
        except ValueError as error:
            return str(error)
    return ""


def _stopped(job: Job, kept: Trained) -> Job:
    """The job, ending at the step where the time of the fit (or of an ensemble's member) ran out."""
    if kept.stop_step is not None:
        job = job.with_training(stop_step=kept.stop_step)
    if not kept.stop_steps:
        return job
    member_steps, others = kept.stop_steps[: len(job.members)], kept.stop_steps[len(job.members) :]
    pairs = zip(job.members, member_steps, strict=True)
    job = replace(
        job, members=tuple(member if step is None else member.with_training(stop_step=step) for member, step in pairs)
    )
    return replace(job, greedy=replace(job.greedy, stops=others)) if job.greedy else job


def _fitted(job: Job, home: Path, scratch: Path, say: Say, stop: threading.Event | None) -> Result:
    with engine().turn(home, job.device, stop):  # waits for a comparison running on the same device
        return run_fit(job, scratch, Listener(lambda row: say(_line(row)), say), stop or threading.Event()).result


def _line(row: Epoch) -> str:
    error = "val_mae" if "val_mae" in row else "train_loss"
    return f"  epoch {int(row['epoch']) + 1}: {error} {row[error]:.6g}"


def _forecast_gap(version: Version, home: Path, job: Job, folder: Path, refit: bool) -> float:
    """The largest difference of forecasts, in standard deviations of the registered ones."""
    panel, params = panel_of(version, home), version.facts.windows
    origins = origin_rows(panel, params, None, "all", 1)
    some = origins[spread(len(origins), WINDOWS)]
    theirs = forecasts(version, panel, some, refit)
    ours = forecast(load_model(job, folder), Windows(panel, params, some), job.resolved(read_result(folder).learnt))
    gap = float(np.abs(ours - theirs).max() / max(float(theirs.std()), 1e-12))
    return gap if math.isfinite(gap) else math.inf


def _way_back(recorded: Fingerprint) -> str:
    """How to get the code of a fit, to reproduce it bit for bit there."""
    revision = recorded.get("revision")
    if not revision:
        return ""
    files = named(recorded.get("changed", ()))
    missing = f"{files} had other content" if files else "its tree had changed or new files"
    dirty = "" if recorded.get("clean") else f" ({missing}, so that this may not be enough)"
    command = shlex.join(["git", "worktree", "add", f"../lagline-{revision[:12]}", revision])
    return f"\nIts code: {command}{dirty}"
