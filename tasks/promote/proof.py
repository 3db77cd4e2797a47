"""Training a registered version again from its fingerprint alone, in a fresh process, and holding the two together."""

import math
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from models.data.origins import origin_rows
from models.data.windows import Windows
from models.fit.job import Job, load_model
from models.fit.settings import Epoch
from models.worker import forecast
from params.errors import UserError
from tasks.files import spread
from tasks.lags.panel import content_digest
from tasks.registry.load import Version
from tasks.registry.unseen import forecasts, panel_of, windows_of
from tasks.train.identity import Fingerprint, fingerprint
from tasks.train.process import Listener, device_lock, fit_folder, run_fit

TOLERANCE = 1e-2  # of the forecasts' own spread, across kinds of devices; on the same kind nothing may differ
FIELDS = ("data", "numbers", "code", "torch", "device")  # what decides the weights: other fields are told and do not
TOLD = ("python", "lock")
WINDOWS = 256  # on which forecasts are compared


@dataclass(frozen=True)
class Proof:
    """`same`: whether the version came out again; `exact`: to the bit; `differing`: fields of the fingerprint that differ."""

    same: bool
    exact: bool
    differing: tuple[str, ...]
    words: str


def now(version: Version, home: Path, device: str, refit: bool = False) -> tuple[Job, Fingerprint]:
    """(the job, the fingerprint) that training a version, or its refit, again here has: the kept data by their content, the
    code as it is."""
    panel_of(version, home)  # says so where it is gone
    folder = home / "panels" / version.trained_on["fingerprint"]["data"]
    recorded = (version.trained_on["refit"] if refit else version.trained_on)["job"]
    job = Job.from_dict({**recorded, "panel": str(folder), "device": "cpu" if recorded["device"] == "cpu" else device})
    return job, fingerprint(job, content_digest(folder))


def differing(recorded: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """Each field in which two fingerprints differ, in words: one changed cell of data is `data`, another seed `numbers`."""
    told = []
    for name in (*FIELDS, *TOLD):
        ours, theirs = recorded.get(name), found.get(name)
        if ours != theirs:
            told.append(f"{name} ({_changed(ours, theirs)})")
    return told


def _changed(ours: Any, theirs: Any) -> str:
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        a, b = _flat(ours), _flat(theirs)
        names = [name for name in sorted({*a, *b}) if a.get(name) != b.get(name)]
        return "; ".join(f"{name}: {a.get(name)} then, {b.get(name)} now" for name in names[:5])
    return f"{_short(ours)} then, {_short(theirs)} now"


def _flat(tree: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in tree.items():
        found |= _flat(value, f"{above}{name}.") if isinstance(value, Mapping) else {f"{above}{name}": value}
    return found


def _short(value: Any) -> str:
    text = str(value)
    return text[:12] if len(text) == 64 else text


def reproduce(
    version: Version,
    home: Path,
    device: str,
    say: Callable[[str], None] = lambda text: None,
    stop: threading.Event | None = None,
) -> Proof:
    """Trains a version again and compares: weights to the bit, or, on another kind of device, forecasts within TOLERANCE.

    A version with refitted weights is trained twice, and holds where both come out again.
    Where data, numbers or code differ nothing is trained: it cannot come out the same.  Raises Interrupted after `stop`.
    """
    judged = _again(version, home, device, say, stop)
    if "refit" not in version.trained_on:
        return judged
    say("  and once more on all rows ...")
    refitted = _again(version, home, device, say, stop, refit=True)
    words = f"the judged weights: {judged.words}; the refitted weights: {refitted.words}"
    if judged.words == refitted.words:  # what keeps both from being trained again
        words = f"neither the judged nor the refitted weights: {judged.words}"
    apart = tuple(dict.fromkeys((*judged.differing, *refitted.differing)))
    return Proof(judged.same and refitted.same, judged.exact and refitted.exact, apart, words)


def _again(
    version: Version,
    home: Path,
    device: str,
    say: Callable[[str], None],
    stop: threading.Event | None,
    refit: bool = False,
) -> Proof:
    """The proof of one set of weights."""
    kept = version.trained_on["refit"] if refit else version.trained_on
    recorded = kept["fingerprint"]
    job, found = now(version, home, device, refit)
    apart = differing(recorded, found)
    names = {text.split(" ")[0] for text in apart}
    if names & {"data", "numbers", "code"}:
        return Proof(
            False, False, tuple(apart), f"cannot be trained again as it was: {'; '.join(apart)}{_way_back(recorded, names)}"
        )
    with tempfile.TemporaryDirectory(dir=home, prefix=".reproduce-") as scratch:
        stop_step = kept.get("stop_step")
        if stop_step is not None:  # where its max_seconds were over
            job = job.with_training(stop_step=stop_step)
        if kept.get("stop_steps"):  # the same for the members of an ensemble
            job = replace(job, members=_stopped(job.members, kept["stop_steps"]))
        with device_lock(home, job.device, stop):  # a comparison at work on the same device goes first
            listener = Listener(lambda row: say(_line(row)), say)
            result = run_fit(job, Path(scratch), listener, stop or threading.Event()).result
        if not result.finished:
            return Proof(False, False, tuple(apart), f"the training failed this time: {result.reason}")
        if result.weights == kept["weights"]:
            return Proof(True, True, tuple(apart), f"the same weights, bit for bit (sha256 {result.weights[:12]})")
        if "device" not in names and "torch" not in names:
            words = f"other weights came out ({result.weights[:12]}, not {kept['weights'][:12]})"
            return Proof(False, False, tuple(apart), words)
        gap = _forecast_gap(version, home, job, fit_folder(job, Path(scratch)), refit)
    words = f"other weights, forecasts {gap:.2g} of their spread apart (allowed {TOLERANCE:g}); differing: {'; '.join(apart)}"
    return Proof(gap <= TOLERANCE, False, tuple(apart), words)


def _stopped(members: Sequence[Job], stop_steps: Sequence[int | None]) -> tuple[Job, ...]:
    pairs = zip(members, stop_steps, strict=True)
    return tuple(one if step is None else one.with_training(stop_step=step) for one, step in pairs)


def _line(row: Epoch) -> str:
    error = "val_mae" if "val_mae" in row else "train_loss"
    return f"  epoch {int(row['epoch']) + 1}: {error} {row[error]:.6g}"


def _forecast_gap(version: Version, home: Path, job: Job, folder: Path, refit: bool) -> float:
    """The largest difference of forecasts, in standard deviations of the registered ones."""
    panel, params = panel_of(version, home), windows_of(version)
    origins = origin_rows(panel, params, None, "all", 1)
    some = origins[spread(len(origins), WINDOWS)]
    theirs = forecasts(version, panel, some, refit)
    ours = forecast(load_model(job, folder), Windows(panel, params, some))
    gap = float(np.abs(ours - theirs).max() / max(float(theirs.std()), 1e-12))
    return gap if math.isfinite(gap) else math.inf


def _way_back(recorded: Mapping[str, Any], names: set[str]) -> str:
    revision = recorded.get("revision")
    if "code" not in names or not revision:
        return ""
    dirty = "" if recorded.get("clean") else " (its tree was changed since, so that this may not be enough)"
    return f"\nIts code: git worktree add ../lagline-{revision[:12]} {revision}{dirty}"


def check_whole(version: Version) -> None:
    """Raises UserError where a version does not say what it takes to train it again."""
    missing = [name for name in ("job", "run", "weights", "fingerprint", "unseen_from") if name not in version.trained_on]
    if missing:
        raise UserError(f"{version} was registered by an older lagline and lacks {', '.join(missing)}: compare again")
