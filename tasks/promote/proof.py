"""Training a registered version again from its fingerprint alone, in a fresh process, and holding the two together.

A baseline is not trained: it forecasts again, from the kept panel.
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
from models.families import FAMILIES
from models.fit.job import Job, is_baseline, load_model, read_result
from models.fit.settings import Epoch, Result
from models.networks.contract import check_arguments
from models.worker import forecast
from tasks.engine.choice import engine
from tasks.engine.contract import Listener
from tasks.files import spread
from tasks.registry.facts import Refitted, Trained
from tasks.registry.load import Version
from tasks.registry.unseen import forecasts, panel_of
from tasks.train.identity import Fingerprint, fingerprint
from tasks.train.process import fit_folder, run_fit
from tasks.train.revision import named

TOLERANCE = 1e-2  # of the forecasts' own spread, across kinds of devices; on the same kind nothing may differ
DECISIVE = ("data", "numbers", "code")  # where one of them differs, the same weights cannot come out
OF_FORECASTS = ("data", "numbers")  # the same of a baseline, which forecasts by other code too: what comes out is the answer
FIELDS = (*DECISIVE, "torch", "statsforecast", "device", "python", "lock")  # the others are said and may not matter
LONGEST = 200  # characters of a value that is shown
WINDOWS = 256  # on which forecasts are compared
Say = Callable[[str], None]


@dataclass(frozen=True)
class Change:
    """A field in which two fingerprints differ, and how: one changed cell of data is `data`, another seed `numbers`."""

    field: str
    words: str

    def __str__(self) -> str:
        return f"{self.field} ({self.words})"


@dataclass(frozen=True)
class Proof:
    """`same`: whether the version came out again; `exact`: to the bit; `differing`: what differs between the fingerprints."""

    same: bool
    exact: bool
    differing: tuple[Change, ...]
    words: str


def differing(recorded: Fingerprint, found: Fingerprint) -> tuple[Change, ...]:
    """Each field in which two fingerprints differ; where their `code` is taken by different rules it cannot be compared."""
    then, now = dict(recorded), dict(found)
    apart = {name: _changed(then.get(name), now.get(name)) for name in FIELDS}
    old, new = recorded.get("code_rule", 1), found.get("code_rule", 1)
    if old != new:
        what = "what this field is taken over changed with lagline 0.2.0, so that it cannot be compared"
        apart["code"] = f"{what}: rule {old} then, {new} now"
    return tuple(Change(name, words) for name, words in apart.items() if words)


def _changed(then: object, now: object) -> str:
    """How a field differs; empty where it does not.  A number that is missing is one that is None: it is younger."""
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        a, b = _flat(then), _flat(now)
        names = [name for name in sorted({*a, *b}) if a.get(name) != b.get(name)]
        return "; ".join(f"{name}: {_short(a.get(name))} then, {_short(b.get(name))} now" for name in names[:5])
    return f"{_short(then)} then, {_short(now)} now" if then != now else ""


def _flat(tree: Mapping[str, object], above: str = "") -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in tree.items():
        found |= _flat(value, f"{above}{name}.") if isinstance(value, Mapping) else {f"{above}{name}": value}
    return found


def _short(value: object) -> str:
    text = str(value)
    return text[:12] if len(text) == 64 else text if len(text) <= LONGEST else text[:LONGEST] + "..."


def reproduce(
    version: Version, home: Path, device: str, say: Say = lambda text: None, stop: threading.Event | None = None
) -> Proof:
    """Trains a version again and compares: weights to the bit, or, on another kind of device, forecasts within TOLERANCE.

    A baseline forecasts again, by the code of now, and is compared to the bit.  A version with refitted weights is trained
    twice, and holds where both come out again.  Where data, numbers or (of weights) code differ nothing is trained: it cannot
    come out the same.  Raises Interrupted after `stop`.
    """
    made = version.trained_on
    judged = _again(version, made, home, device, say, stop)
    if made.refit is None:
        return judged
    say("  and once more on all rows ...")
    refitted = _again(version, made.refit, home, device, say, stop)
    words = f"the judged weights: {judged.words}; the refitted weights: {refitted.words}"
    if judged.words == refitted.words:  # what keeps both from being trained again
        words = f"neither the judged nor the refitted weights: {judged.words}"
    apart = tuple(dict.fromkeys((*judged.differing, *refitted.differing)))
    return Proof(judged.same and refitted.same, judged.exact and refitted.exact, apart, words)


def _again(version: Version, kept: Trained, home: Path, device: str, say: Say, stop: threading.Event | None) -> Proof:
    """The proof of one set of weights."""
    panel_of(version, home)  # says so where it is gone
    job = kept.job_in(home / "panels", device)
    apart = differing(kept.fingerprint, fingerprint(job, content_digest(job.panel)))
    fields, told = {change.field for change in apart}, "; ".join(map(str, apart))
    what = "forecasts" if is_baseline(job.family) else "weights"
    if fields & set(OF_FORECASTS if what == "forecasts" else DECISIVE):
        way_back = _way_back(kept.fingerprint) if "code" in fields else ""
        verb = "forecast" if what == "forecasts" else "be trained"
        return Proof(False, False, apart, f"cannot {verb} again as it was: {told}{way_back}")
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
            return Proof(False, False, apart, f"{words}; differing: {told}{way_back}" if told else words)
        gap = _forecast_gap(version, home, job, fit_folder(job, Path(scratch)), isinstance(kept, Refitted))
    words = f"other weights, forecasts {gap:.2g} of their spread apart (allowed {TOLERANCE:g}); differing: {told}"
    return Proof(gap <= TOLERANCE, False, apart, words)


def _unknown_argument(job: Job) -> str:
    """What a network of the job is given and cannot take, in words; empty where there is nothing."""
    for one in job.members or (job,):
        if is_baseline(one.family):  # its arguments are those that the schema knows
            continue
        try:
            check_arguments(FAMILIES[one.family], one.family, {name: v for name, v in one.network.items() if name != "skip"})
        except ValueError as error:
            return str(error)
    return ""


def _stopped(job: Job, kept: Trained) -> Job:
    """The job that ends at the step at which the seconds of the fit, or of a member of the ensemble, were over."""
    if kept.stop_step is not None:
        job = job.with_training(stop_step=kept.stop_step)
    if not kept.stop_steps:
        return job
    own, others = kept.stop_steps[: len(job.members)], kept.stop_steps[len(job.members) :]
    pairs = zip(job.members, own, strict=True)
    job = replace(job, members=tuple(one if step is None else one.with_training(stop_step=step) for one, step in pairs))
    return replace(job, greedy=replace(job.greedy, stops=others)) if job.greedy else job


def _fitted(job: Job, home: Path, scratch: Path, say: Say, stop: threading.Event | None) -> Result:
    with engine().turn(home, job.device, stop):  # a comparison at work on the same device goes first
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
    """How to come by the code of a fit, to train it again bit for bit there."""
    revision = recorded.get("revision")
    if not revision:
        return ""
    files = named(recorded.get("changed", ()))
    missing = f"{files} had other content" if files else "its tree had changed or new files"
    dirty = "" if recorded.get("clean") else f" ({missing}, so that this may not be enough)"
    command = shlex.join(["git", "worktree", "add", f"../lagline-{revision[:12]}", revision])
    return f"\nIts code: {command}{dirty}"
