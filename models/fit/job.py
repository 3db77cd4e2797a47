"""A fit as data and as a function: its job, which holds all it depends on, and how the job runs in a folder.

The folder receives checkpoints while the fit runs, then `weights.pt`, and last `result.json`, which marks it
done.
"""

import hashlib
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from models.baselines import BASELINES, is_outside
from models.data.origins import origin_rows
from models.data.panel import SPLITS, Panel, Split
from models.data.scaling import Method, Scaling, Transform, fit_scaling
from models.data.window import WindowParams
from models.data.windows import Windows, widest
from models.ensemble import Combine, Ensemble, Model
from models.families import build_forecaster, family_of
from models.fit import checkpoint
from models.fit.loop import SAVE_EVERY, OnEpoch, fit
from models.fit.peak import peak_memory
from models.fit.reach import reach_of
from models.fit.settings import (
    Ended,
    FitFailed,
    Greedy,
    Learnt,
    Mix,
    OutOfMemory,
    Resources,
    Result,
    Status,
    Training,
    own_generators,
    stream,
)
from models.fit.step import out_of_memory
from models.forecaster import Forecaster, Level, Point
from models.networks.contract import Network
from models.outside import Outside, take_in

SHARED = ("panel", "threads", "device")  # stored once in an ensemble's job for all members
Forecast = Callable[[Model, Windows], np.ndarray]  # [windows, horizon] in original units


@dataclass(frozen=True)
class Rule:
    """How values are scaled: `per` series or global, by `method`, after a `target` transform, by `window`."""

    per: Literal["series", "global"]
    window: Level
    method: Method = "standard"
    target: Transform = "none"


@dataclass(frozen=True, kw_only=True)
class Job:
    """All that a fit depends on; for an ensemble, `members` are the jobs of the fits that it combines.

    A baseline has its name as family and its arguments as network (`tasks/train/job.py` makes it).  Without a
    `split` (a refit on all rows) every row is a training row.  `point`: how it is derived from the quantiles,
    if it is not a network output.  `greedy`: how the members' weights are learnt; `counts`: the weights, once
    known (`resolved`).  `panel`: the panel's folder.  `save_every`: seconds between checkpoints.
    `resources`: what it needs of a machine.  `outside`: its code, if from outside this repository.
    """

    family: str
    network: Mapping[str, Any]
    windows: WindowParams
    split: Split | None
    scaling: Rule
    training: Training
    evaluation_stride: int
    threads: int
    device: str
    panel: Path
    quantiles: tuple[float, ...] = ()
    point: Point | None = None
    members: tuple["Job", ...] = ()
    combine: Combine = "median"
    greedy: Greedy | None = None
    counts: tuple[int, ...] = ()
    save_every: float = SAVE_EVERY
    resources: Resources = field(default_factory=Resources)
    outside: tuple[Outside, ...] = ()

    @property
    def networks(self) -> tuple["Job", ...]:
        """The members that are trained, in order."""
        return tuple(member for member in self.members if not is_baseline(member.family))

    @property
    def baselines(self) -> tuple["Job", ...]:
        """The members that are baselines, in order: without weights, and not part of a graph."""
        return tuple(member for member in self.members if is_baseline(member.family))

    @property
    def trained(self) -> tuple["Job", ...]:
        """The fits an ensemble needs: its networks, if weights are learnt also in other validation ranges."""
        if self.greedy is None:
            return self.networks
        ranges = [replace(member, split=split) for split in self.greedy.others for member in self.members]
        stopped = zip(ranges, self.greedy.stops or [None] * len(ranges), strict=True)
        others = (part if step is None else part.with_training(stop_step=step) for part, step in stopped)
        return (*self.networks, *(part for part in others if not is_baseline(part.family)))

    def resolved(self, learnt: Learnt | None) -> "Job":
        """A greedy ensemble as the weighted mean it learnt, networks first; any other job is unchanged."""
        if self.greedy is None or learnt is None:
            return self
        kept = self.kept(learnt.mix)
        counts = tuple(learnt.mix.counts[at] for at in kept)
        return replace(self, members=tuple(self.members[at] for at in kept), greedy=None, counts=counts)

    def kept(self, mix: Mix) -> list[int]:
        """The indices of the members in a mix, networks first."""
        return sorted(mix.kept, key=lambda at: is_baseline(self.members[at].family))

    @property
    def on_all_rows(self) -> bool:
        """Whether it trains on every row, so that it cannot be scored."""
        return self.split is None

    def with_training(self, **numbers: Any) -> "Job":
        """The same job with other training numbers."""
        return replace(self, training=replace(self.training, **numbers))

    def numbers(self) -> dict[str, Any]:
        """What determines the weights besides data, code and device, JSON-ready.

        Averages are left out when none are taken, as in an older lagline."""
        training = asdict(self.training)
        if not self.training.average_epochs:
            del training["average_epochs"]
        content: dict[str, Any] = {
            "family": self.family,
            "network": dict(self.network),
            "windows": self.windows.to_dict(),
            "split": asdict(self.split) if self.split else None,
            "scaling": asdict(self.scaling),
            "training": training,
            "evaluation_stride": self.evaluation_stride,
            "quantiles": list(self.quantiles),
            "point": self.point,
        }
        if self.members:
            content |= {"members": [member.numbers() for member in self.members], "combine": self.combine}
        content |= {"greedy": asdict(self.greedy)} if self.greedy else {}
        return content | ({"counts": list(self.counts)} if self.counts else {})

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dict; `from_dict` is the inverse."""
        place = {"threads": self.threads, "device": self.device, "panel": str(self.panel)}
        rest = {} if self.save_every == SAVE_EVERY else {"save_every": self.save_every}
        return self._needing() | place | rest

    def _needing(self) -> dict[str, Any]:
        """The numbers of a job and its members, each with its resources and code from outside, if given."""
        content = self.numbers() | ({"members": [member._needing() for member in self.members]} if self.members else {})
        content |= {"outside": [one.to_dict() for one in self.outside]} if self.outside else {}
        return content if self.resources == Resources() else content | {"resources": asdict(self.resources)}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> "Job":
        """The inverse of `to_dict`.  Raises KeyError, TypeError or ValueError for an invalid job."""
        shared = {name: raw[name] for name in SHARED}
        flat = raw.keys() - {"windows", "split", "scaling", "training", "members"}
        return cls(
            **{
                **{name: raw[name] for name in flat},
                "device": "cpu" if is_closed_form(raw["family"]) or is_baseline(raw["family"]) else raw["device"],
                "windows": WindowParams.from_dict(raw["windows"]),
                "split": Split(**raw["split"]) if raw["split"] else None,
                "scaling": Rule(**raw["scaling"]),
                "training": Training(**raw["training"]),
                "panel": Path(raw["panel"]),
                "quantiles": tuple(raw["quantiles"]),
                "resources": Resources(**raw.get("resources", {})),
                "members": tuple(cls.from_dict({**member, **shared}) for member in raw.get("members", ())),
                "greedy": Greedy.from_dict(raw["greedy"]) if raw.get("greedy") else None,
                "counts": tuple(raw.get("counts", ())),
                "outside": tuple(Outside(**one) for one in raw.get("outside", ())),
            }
        )


def is_baseline(family: str) -> bool:
    """Whether a family is a baseline: no network and no weights."""
    return family in BASELINES or is_outside(family)


def is_closed_form(family: str) -> bool:
    """Whether a family is solved rather than trained: no epochs, no seeds, on the CPU."""
    return (family_of(family) or Network).closed_form


def build(job: Job, panel: Panel, scaling: Scaling) -> Forecaster:
    """The forecaster of a job that is not an ensemble, with initial weights from its seed.  Raises OutsideError."""
    for outside in job.outside:
        take_in(outside)
    with own_generators():
        torch.manual_seed(stream(job.training, "weights"))
        return build_forecaster(
            job.family,
            job.network,
            job.windows,
            level=job.scaling.window,
            transform=job.scaling.target,
            categories={name: len(values) for name, values in panel.categories.items()},
            scaling=scaling,
            quantiles=job.quantiles,
            point=job.point,
        )


def windows_of(job: Job, panel: Panel, splits: Iterable[str] = SPLITS, device: str = "cpu") -> dict[str, Windows]:
    """The windows of each split of a job; without a split (a refit) all are training windows."""
    params, every = job.windows, job.evaluation_stride
    origins = {}
    for name in splits:
        if job.split is None:
            rows = origin_rows(panel, params, None, "all", params.stride)
            origins[name] = rows if name == "train" else rows[:0]
        else:
            origins[name] = origin_rows(panel, params, job.split, name, params.stride if name == "train" else every)
    whole: Windows | None = None
    windows: dict[str, Windows] = {}
    for name, rows in origins.items():
        whole = whole or Windows(panel, params, rows, device)
        windows[name] = whole.at(rows)
    return windows


def prepare(job: Job) -> tuple[Forecaster, dict[str, Windows]]:
    """The scaled forecaster of a job that is no ensemble, and the windows of each split, on its device."""
    panel, rule = Panel.open(job.panel), job.scaling
    scaling = fit_scaling(panel, job.windows, job.split, rule.per, rule.method, rule.target)
    forecaster = build(job, panel, Scaling(*(part.to(widest(job.device)) for part in scaling)))
    windows = windows_of(job, panel, device=job.device)
    train = windows["train"]
    series = torch.unique(train.series(train.origins)).cpu().numpy()
    columns = [place for place, kind in enumerate(job.windows.static.values()) if kind == "categorical"]
    codes = (np.unique(np.asarray(panel.static)[series, column]).astype(np.int64) for column in columns)
    forecaster.keep_categories([torch.from_numpy(code) for code in codes])
    forecaster = forecaster.to(job.device)
    if forecaster.quantiles:
        forecaster.reach_H.copy_(reach_of(forecaster, train))
    return forecaster, windows


def run(job: Job, folder: Path, on_epoch: OnEpoch, stop: Callable[[], bool] = lambda: False) -> Result:
    """Runs a job in this process: writes `weights.pt` and, last, `result.json`; returns the result.

    Raises Stopped if `stop` returned true, StorageFull if the folder is full.
    """
    torch.set_num_threads(job.threads)
    if job.device.startswith("cuda"):
        torch.use_deterministic_algorithms(True, warn_only=True)
    parameters = 0
    try:
        forecaster, windows = prepare(job)
        parameters = sum(p.numel() for p in forecaster.parameters())
        fitted = fit(forecaster, windows["train"], windows["validation"], job.training, folder, on_epoch, stop, job.save_every)
    except FitFailed as error:
        result = Result(
            status=Status.FAILED,
            reason=str(error),
            again=isinstance(error, OutOfMemory),
            step=error.step,
            learning_rate=error.learning_rate,
            history=error.history,
            num_parameters=parameters,
        )
    except (RuntimeError, MemoryError) as error:  # where smaller parts of a batch do not help
        if not out_of_memory(error):
            raise
        result = Result(status=Status.FAILED, reason=f"out of memory: {str(error).splitlines()[0]}", again=True)
    else:
        weights = {name: value.cpu() for name, value in forecaster.state_dict().items()}
        write_weights(weights, folder)
        result = Result(status=Status.FINISHED, num_parameters=parameters, weights=weights_hash(weights), **vars(fitted))
    host, device = peak_memory(job.device)
    result = replace(result, peak_memory_mb=host, peak_gpu_memory_mb=device)
    write_result(result, folder)
    if result.finished:
        checkpoint.clear(folder)  # only now: before, a kill would lose everything
    return result


def assemble(job: Job, fits: Sequence[Path], folder: Path, forecast: Forecast, forecasts: str = "") -> Result:
    """Makes an ensemble of its `networks`' finished fits, in order; writes `weights.pt` and `result.json`.

    `forecast`: how the ensemble forecasts, with its baselines.  `forecasts`: the sha256 of the baselines'
    forecasts.
    """
    ensemble, panel = put_together(job, fits), Panel.open(job.panel)
    validation = windows_of(job, panel, ("validation",))["validation"]
    val_mae = mae(forecast(ensemble, validation), panel, validation)
    results = [read_result(fit) for fit in fits]
    return write_ensemble(ensemble, assembled(job.members, results), folder, val_mae=val_mae, forecasts=forecasts)


def put_together(job: Job, fits: Sequence[Path]) -> Ensemble:
    """The ensemble of the finished fits of its `networks`, in order."""
    torch.set_num_threads(job.threads)
    members = [load_model(member, fit) for member, fit in zip(job.networks, fits, strict=True)]
    return Ensemble(members, job.combine, bool(job.baselines), job.counts).eval()


def assembled(members: Sequence[Job], trained: Sequence[Result]) -> Result:
    """The result of an ensemble; `trained` has the results of its trained members.

    Nothing is trained: `train_seconds` is theirs, and the history is empty.
    """
    seconds = sum(result.train_seconds for result in trained)
    windows = sum(result.windows_per_second * result.train_seconds for result in trained)
    results = iter(map(_for_a_refit, trained))
    return Result(
        status=Status.FINISHED,
        train_seconds=seconds,
        windows_per_second=windows / max(seconds, 1e-9),
        ended_by=Ended.MEMBERS,
        steps=sum(result.steps for result in trained),
        members=[Result(status=Status.FINISHED) if is_baseline(member.family) else next(results) for member in members],
    )


def write_ensemble(ensemble: Ensemble, result: Result, folder: Path, **fields: Any) -> Result:
    """Writes `weights.pt` and, last, `result.json` with `fields`; returns the result."""
    weights, result = dict(ensemble.state_dict()), replace(result, **fields)
    parameters = sum(p.numel() for p in ensemble.parameters())
    result = replace(result, num_parameters=parameters, weights=weights_hash(weights, result.forecasts))
    write_weights(weights, folder)
    write_result(result, folder)
    return result


def _for_a_refit(result: Result) -> Result:
    """What a member's refit needs of its fit: no epochs but the best."""
    return replace(result, history=[row for row in result.history if row["epoch"] == result.best_epoch])


def mae(forecasts: np.ndarray, panel: Panel, windows: Windows) -> float | None:
    """The MAE in raw units; None without a target."""
    rows = windows.origins.cpu().numpy()[:, None] + windows.params.gap + 1 + np.arange(windows.params.horizon)
    errors = np.abs(panel.target[rows] - forecasts)
    return float(np.nanmean(errors)) if np.isfinite(errors).any() else None


def write_weights(weights: Mapping[str, Tensor], folder: Path) -> None:
    """Writes `weights.pt` atomically."""
    buffer = io.BytesIO()
    torch.save(dict(weights), buffer)
    checkpoint.write_bytes(folder / "weights.pt", buffer.getvalue())


def write_result(result: Result, folder: Path) -> None:
    """Writes `result.json` atomically."""
    checkpoint.write_bytes(folder / "result.json", json.dumps(result.to_dict(), indent=1).encode())


def read_result(folder: Path) -> Result:
    """The result of a fit that has ended.  Raises OSError or ValueError if it is missing or damaged."""
    return Result.from_dict(json.loads((folder / "result.json").read_text()))


def weights_hash(weights: Mapping[str, Tensor], forecasts: str = "") -> str:
    """sha256 over names, shapes and bits of all weights and buffers, and over `forecasts` of baselines."""
    digest = hashlib.sha256(forecasts.encode())
    for name, value in sorted(weights.items()):
        digest.update(f"{name}|{value.dtype}|{tuple(value.shape)}|".encode())
        digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()


def load_model(job: Job, folder: Path) -> Model:
    """The trained forecaster of a finished fit, on the CPU.  Raises ValueError for weights of another job."""
    weights = torch.load(folder / "weights.pt", map_location="cpu", weights_only=True)
    result = read_result(folder)
    if weights_hash(weights, result.forecasts) != result.weights:
        raise ValueError(f"{folder}: the weights are not those that the fit wrote; remove the folder to train again")
    model = _empty(job.resolved(result.learnt), Panel.open(job.panel), weights)
    model.load_state_dict(weights)
    return model.eval()


def _empty(job: Job, panel: Panel, weights: Mapping[str, Tensor], prefix: str = "") -> Model:
    """The forecaster of a job, to be filled with `weights`, which include the scaling."""
    if job.members:
        members = [_empty(member, panel, weights, f"{prefix}members.{i}.") for i, member in enumerate(job.networks)]
        return Ensemble(members, job.combine, bool(job.baselines), job.counts)
    return build(job, panel, Scaling(*(weights[prefix + name] for name in Scaling._fields)))
