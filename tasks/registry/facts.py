"""A version's description of itself: model.json in its bundle, read by `models/serving.py` as plain JSON."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from models.baselines import OUTSIDE
from models.data.window import WindowParams
from models.ensemble import Combine
from models.fit.job import Job, is_baseline
from models.forecaster import Level
from models.outside import Outside
from models.serving import OLD_INPUTS, Calibration
from params.schema import RunParams
from tasks.calibrate.calibrate import Calibrated
from tasks.registry.schema import check_told
from tasks.train.identity import Fingerprint
from tasks.train.outside import outside_of

LAYOUT = 1
Border = int | Mapping[str, int]  # a time for all series, or one per series
Json = Mapping[str, Any]
NEEDED = (
    "job",
    "run",
    "weights",
    "fingerprint",
    "unseen_from",
    "naive",
    "newest",
    "newest_time",
)  # to judge it or train it again


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What is needed to train a set of weights again and to compare the result.

    `job`: the caller supplies its panel (`job_in`).  `stop_step`, `stop_steps`: where the time of the fit, or
    of an ensemble's members, ran out.
    """

    job: Job
    weights: str
    fingerprint: Fingerprint
    stop_step: int | None = None
    stop_steps: tuple[int | None, ...] = ()

    def job_in(self, panels: Path, device: str) -> Job:
        """The job to train it again with the data in a folder of panels; a CPU fit stays on the CPU."""
        return _moved(self.job, panels / self.fingerprint["data"], device)


@dataclass(frozen=True, kw_only=True)
class Refitted(Trained):
    """The weights trained on all rows; `seen_until`: per series, the time of the newest training row."""

    identity: str
    seen_until: Border

    def to_dict(self) -> dict[str, object]:
        """A JSON-ready dict."""
        return {
            "job": _stored(self.job),
            "weights": self.weights,
            "fingerprint": self.fingerprint,
            "identity": self.identity,
            "seen_until": self.seen_until,
        }

    @classmethod
    def from_dict(cls, raw: Json) -> "Refitted":
        """The inverse of `to_dict`."""
        return cls(**_known(cls, raw) | {"job": _job(raw["job"])})


@dataclass(frozen=True, kw_only=True)
class TrainedOn(Trained):
    """What a version was trained on and how it was judged: its run's params, scores, first unseen row.

    `newest`: the time of the newest row, also as text.  `naive`, `baseline`: the best naive baseline, and the
    best of all, the bar; `bar_code`: its code, if from outside.  `counts`: each member's weight by its label,
    if learnt.  Fields with a default are missing in some versions; `bar` never is.
    """

    run: RunParams
    naive: str
    unseen_from: Border
    newest: int
    newest_time: str
    scores: Mapping[str, float | None]
    baseline: str = ""
    bar_code: tuple[Outside, ...] = ()
    name: str = ""
    label: str = ""
    seed: int = 0
    checks: str = ""
    refit: Refitted | None = None
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def bar(self) -> str:
        """The baseline it is measured against; an older lagline used the best naive one."""
        return self.baseline or self.naive

    def to_dict(self) -> dict[str, object]:
        """A JSON-ready dict; a score that is not a number is None."""
        content = {
            "name": self.name,
            "label": self.label,
            "seed": self.seed,
            "scores": {name: value if value is None or math.isfinite(value) else None for name, value in self.scores.items()},
            "naive": self.naive,
            "baseline": self.baseline,
            "checks": self.checks,
            "fingerprint": self.fingerprint,
            "job": _stored(self.job),
            "run": self.run.model_dump(mode="json"),
            "weights": self.weights,
            "stop_step": self.stop_step,
            "stop_steps": list(self.stop_steps),
            "unseen_from": self.unseen_from,
            "newest": self.newest,
            "newest_time": self.newest_time,
        }
        content |= {"counts": dict(self.counts)} if self.counts else {}
        content |= {"bar_code": [replace(one, root="").to_dict() for one in self.bar_code]} if self.bar_code else {}
        return content | ({"refit": self.refit.to_dict()} if self.refit else {})

    @classmethod
    def from_dict(cls, raw: Json) -> "TrainedOn":
        """The inverse of `to_dict`."""
        refit = Refitted.from_dict(raw["refit"]) if "refit" in raw else None
        parsed = {"job": _job(raw["job"]), "run": RunParams.stored(raw["run"]), "refit": refit, "scores": raw.get("scores", {})}
        parsed["stop_steps"] = tuple(raw.get("stop_steps", ()))
        parsed["bar_code"] = tuple(replace(Outside(**one), root="") for one in raw.get("bar_code", ()))
        return cls(**_known(cls, raw) | parsed)


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """A baseline by `name`, with its arguments (`models/baselines.py`)."""

    name: str
    arguments: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Fallback(Baseline):
    """A baseline for what the version cannot forecast, and how its intervals are made."""

    calibrated: Calibrated = field(compare=False)


@dataclass(frozen=True, kw_only=True)
class Combined:
    """`how` the `baselines` in an ensemble are combined with the other members, the graph's outputs.

    `counts`: all members' weights in a mean, the graph's outputs first; empty: equal.
    """

    how: Combine
    baselines: tuple[Baseline, ...]
    counts: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class BundleFacts:
    """A forecaster in words and numbers: its inputs, its forecasts, its intervals and its training.

    `trained_on`: None if an older version lacks some of it, which `lacks` names.
    `calibrated`: how its intervals are made; an older version has only those of 90 %.
    `inputs`: the graph's inputs and their types.
    `zone`: of its training times, None if they had none; an older version took all times as UTC.
    `fallbacks`: what forecasts series that it cannot, best on validation first; none in an older version.
    """

    name: str
    variant: str
    family: str
    network: Mapping[str, bool | int | float | str]
    windows: WindowParams
    level: Level
    quantiles: tuple[float, ...]
    ids: tuple[str, ...]
    frequency: str | int
    forward_fill: int
    categories: Mapping[str, Sequence[str]]
    columns: Mapping[str, str | Sequence[str] | None]
    calibrated: Calibrated = field(compare=False)
    inputs: Mapping[str, str] = field(default_factory=lambda: OLD_INPUTS)
    zone: str | None = None
    holidays: tuple[str, ...] = ()
    fallbacks: tuple[Fallback, ...] = ()
    combined: Combined | None = None
    trained_on: TrainedOn | None = None
    lacks: tuple[str, ...] = ()

    @property
    def needed(self) -> frozenset[str]:
        """The names of all baselines it forecasts with: itself, fallbacks, members."""
        return baselines_in(self.to_dict())

    @property
    def code(self) -> tuple[Outside, ...]:
        """The code of those that are from outside this repository."""
        code = outside_of(self.trained_on.job) if self.trained_on else ()
        return tuple(one for one in code if f"{OUTSIDE}{one.target}" in self.needed)

    @property
    def is_bar(self) -> bool:
        """Whether it is the very baseline that it is measured against."""
        return self.trained_on is not None and is_baseline(self.family) and self.variant == self.trained_on.bar

    @classmethod
    def read(cls, content: bytes) -> "BundleFacts":
        """Reads a model.json, checked against the schema first.  Raises ValueError naming the invalid key."""
        check_told("model.json", content)
        raw = json.loads(content)
        bundle = cls.from_dict(raw)
        if [{"name": name, **vars(window)} for name, window in bundle.windows.channels.items()] != raw["channels"]:
            raise ValueError("model.json: channels: they are not those of its windows")
        return bundle

    def to_dict(self) -> dict[str, object]:
        """The content of model.json."""
        return {
            "layout": LAYOUT,
            "name": self.name,
            "variant": self.variant,
            "family": self.family,
            "network": dict(self.network),
            "windows": self.windows.to_dict(),
            "channels": [{"name": name, **vars(window)} for name, window in self.windows.channels.items()],
            "level": self.level,
            "quantiles": list(self.quantiles),
            "ids": list(self.ids),
            "frequency": self.frequency,
            "forward_fill": self.forward_fill,
            "categories": {name: list(texts) for name, texts in self.categories.items()},
            "columns": dict(self.columns),
            "calibration": _calibration(self.calibrated),
            "inputs": dict(self.inputs),
            "zone": self.zone,
            "holidays": list(self.holidays),
            "fallbacks": [
                _baseline(fallback) | {"calibration": _calibration(fallback.calibrated)} for fallback in self.fallbacks
            ],
            **({"combined": _combination(self.combined)} if self.combined else {}),
            "trained_on": self.trained_on.to_dict() if self.trained_on else {},
        }

    @classmethod
    def from_dict(cls, raw: Json) -> "BundleFacts":
        """The inverse of `to_dict`, for any version so far.  Raises KeyError, TypeError or ValueError."""
        lacks = tuple(name for name in NEEDED if name not in raw["trained_on"])
        parsed: dict[str, Any] = {name: tuple(raw[name]) for name in ("quantiles", "ids")}
        parsed |= {"calibrated": _calibrated(raw, len(raw["ids"]))}
        parsed |= {"holidays": tuple(raw.get("holidays", ())), "zone": raw.get("zone", "UTC")}
        parsed["fallbacks"] = tuple(
            Fallback(name=entry["name"], arguments=entry["arguments"], calibrated=_calibrated(entry, len(raw["ids"])))
            for entry in raw.get("fallbacks", ())
        )
        if combined := raw.get("combined"):
            parsed["combined"] = Combined(
                how=combined["how"],
                baselines=tuple(Baseline(**entry) for entry in combined["baselines"]),
                counts=tuple(combined.get("counts", ())),
            )
        trained_on = None if lacks else TrainedOn.from_dict(raw["trained_on"])
        windows = WindowParams.from_dict(raw["windows"])
        return cls(**_known(cls, raw) | parsed | {"windows": windows, "trained_on": trained_on, "lacks": lacks})


def baselines_in(raw: Json) -> frozenset[str]:
    """The names of the baselines that a model.json forecasts with: itself, fallbacks, members."""
    others = (*raw.get("fallbacks", ()), *(raw.get("combined") or {}).get("baselines", ()))
    return frozenset(filter(is_baseline, (raw["family"], *(entry["name"] for entry in others))))


def _baseline(baseline: Baseline) -> dict[str, object]:
    return {"name": baseline.name, "arguments": dict(baseline.arguments)}


def _combination(combined: Combined) -> dict[str, object]:
    content = {"how": combined.how, "baselines": [_baseline(baseline) for baseline in combined.baselines]}
    return content | ({"counts": list(combined.counts)} if combined.counts else {})


def _calibration(calibrated: Calibrated) -> dict[str, object]:
    return {"method": calibrated.method, "scores": dict(calibrated.scores), **calibrated.calibration.told()}


def _calibrated(raw: Json, series: int) -> Calibrated:
    calibration = raw.get("calibration", {})
    return Calibrated(Calibration.of(dict(raw), series), calibration.get("method", "split"), calibration.get("scores", {}))


def _known(kind: type, raw: Json) -> dict[str, Any]:
    """The fields of a class found in a JSON object."""
    names = {field.name for field in fields(kind)}
    return {name: value for name, value in raw.items() if name in names}


def _stored(job: Job) -> dict[str, object]:
    """A job as stored in a version: its panel is found by digest, and code from outside by the local run file."""
    return {name: value for name, value in _nowhere(job).to_dict().items() if name != "panel"}


def _job(raw: Json) -> Job:
    return _nowhere(Job.from_dict({**raw, "panel": ""}))


def _nowhere(job: Job) -> Job:
    """A job that does not say where its code from outside lies: no version makes anybody import it."""
    outside = tuple(replace(one, root="") for one in job.outside)
    return replace(job, outside=outside, members=tuple(map(_nowhere, job.members)))


def _moved(job: Job, panel: Path, device: str) -> Job:
    members = tuple(_moved(member, panel, device) for member in job.members)
    return replace(job, panel=panel, device="cpu" if job.device == "cpu" else device, members=members)
