"""Settings, result and random streams of one fit."""

import hashlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from typing import Any, Literal

import torch

from models.data.panel import Split

Epoch = dict[str, float]
Measure = Literal["mae", "mase", "owa", "rmsse", "mae_scaled", "mse_scaled"]
By = Literal["folds", "origins", "series"]


class Status(StrEnum):
    """Whether a fit produced a model."""

    FINISHED = "finished"
    FAILED = "failed"


class Ended(StrEnum):
    """What ended a fit."""

    MAX_EPOCHS = "max_epochs"
    MAX_STEPS = "max_steps"
    MAX_SECONDS = "max_seconds"
    PATIENCE = "patience_epochs"
    STOP_STEP = "stop_step"
    CLOSED_FORM = "closed form"
    REFIT = "refit"
    MEMBERS = "its members"


class FitFailed(Exception):
    """The fit produced no model, which is its result: it diverged or ran out of memory.

    `step` (counted from 1) and `learning_rate` say where, if that applies; `history` has the epochs before
    it.
    """

    def __init__(
        self, reason: str, step: int | None = None, learning_rate: float | None = None, history: list[Epoch] | None = None
    ) -> None:
        super().__init__(reason)
        self.step, self.learning_rate, self.history = step, learning_rate, history or []


class Diverged(FitFailed):
    """Loss, gradients or weights are no longer finite."""


class OutOfMemory(FitFailed):
    """The fit ran out of memory; it may succeed later, or with less running next to it."""


class Stopped(Exception):
    """The fit stopped on request, after a step and with a checkpoint, from which it resumes."""


@dataclass(frozen=True)
class Training:
    """The numbers of a fit; `params/schema.py` explains them.

    `micro_batches`: the parts a batch is trained in.  `monitor`: what picks the best epoch on validation, the
    MAE in raw units (mae) or the loss in scaled ones (loss).  `average_epochs`: over how many epochs the
    validated and kept weights are averaged; 0: those of the last step.  `stop_step`: where an equal fit was
    stopped by its `max_seconds`, which is then ignored.

    A refit has what another fit's validation chose, the number of epochs (`refit_epochs`) or the penalty
    (`refit_penalty`), or both with a skip ridge: it validates nothing and ends there, or in its last epoch at
    `stop_step`.
    """

    max_epochs: int
    patience_epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    clip_norm: float
    loss: str
    variant: str
    seed: int
    micro_batches: int = 1
    max_steps: int | None = None
    max_seconds: float | None = None
    stop_step: int | None = None
    precision: str = "float32"
    monitor: str = "mae"
    average_epochs: float = 0.0
    refit_epochs: int | None = None
    refit_penalty: float | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.micro_batches <= self.batch_size:
            raise ValueError(f"micro_batches must lie between 1 and batch_size {self.batch_size}, not {self.micro_batches}")

    @property
    def refit(self) -> bool:
        """Whether this trains for as long as another fit's validation chose, without validation."""
        return self.refit_epochs is not None or self.refit_penalty is not None


@dataclass(frozen=True)
class Resources:
    """What a fit needs from a machine, for engines with several: where a fit runs, not part of its identity.

    `cpus`: cores (None: as many as threads); `gpus`: GPUs, below 1 a share of one (None: one if the fit's
    device is a GPU, else none); `memory`: main memory in bytes; `kind`: a word for the processor (H100,
    AVX512).
    """

    cpus: float | None = None
    gpus: float | None = None
    memory: int | None = None
    kind: str | None = None


@dataclass(frozen=True)
class Greedy:
    """What a greedy ensemble's weights are learnt by.

    The run's measure, its season, the bounds of a forecast (`lowest`, `highest`, `integer`), and the borders
    of its `others`, the further validation ranges.  `stops`: per member in each of these, the step at which
    an equal fit was stopped by its `max_seconds`.
    """

    measure: Measure
    season: int
    lowest: float | None = None
    highest: float | None = None
    integer: bool = False
    others: tuple[Split, ...] = ()
    stops: tuple[int | None, ...] = ()

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> "Greedy":
        """The inverse of `asdict`."""
        return cls(**{**raw, "others": tuple(Split(**other) for other in raw["others"]), "stops": tuple(raw["stops"])})


@dataclass(frozen=True)
class Mix:
    """How often each member of an ensemble counts.

    `network`: if no network counts, the best single one, kept so that the ensemble has a graph; its quantiles
    are placed around the others' forecast.
    """

    counts: tuple[int, ...]
    network: int | None = None

    @property
    def kept(self) -> tuple[int, ...]:
        """The indices of the members in the mix, in order."""
        return tuple(at for at, count in enumerate(self.counts) if count or at == self.network)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> "Mix":
        """The inverse of `asdict`."""
        return cls(tuple(raw["counts"]), raw["network"])


@dataclass(frozen=True)
class Learnt:
    """The weights of a greedy ensemble, learnt on all of validation, and those behind its validation scores.

    `held_out`: for each part of validation, the mix learnt without it.  Parts are blocks of `origins` or, if
    too few, groups of `series`; with several validation ranges (`folds`) each range is a part.  `score`: the
    mix's on the rows it was learnt on; `singles`: each member's own, None if it was left out.
    """

    mix: Mix
    by: By
    held_out: tuple[Mix, ...]
    score: float
    singles: tuple[float | None, ...]

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> "Learnt":
        """The inverse of `asdict`."""
        mixes = {"mix": Mix.from_dict(raw["mix"]), "held_out": tuple(map(Mix.from_dict, raw["held_out"]))}
        return cls(**{**raw, **mixes, "singles": tuple(raw["singles"])})


@dataclass(frozen=True)
class FitResult:
    """What the loop produced: the best weights are in the forecaster; the history has one row per epoch.

    `ended_by`: why it ended; `steps`: optimizer steps taken (`epoch_steps` per epoch); `parts`: how many
    parts a batch was trained in; `penalty`: of a closed form or a skip ridge.  A refit has no `val_mae`; its
    best epoch is its last.
    """

    best_epoch: int
    val_mae: float | None
    history: list[Epoch]
    train_seconds: float
    windows_per_second: float
    ended_by: Ended
    steps: int = 0
    parts: int = 1
    precision: str = "float32"
    epoch_steps: int = 0
    penalty: float | None = None


@dataclass(frozen=True, kw_only=True)
class Result:
    """The outcome of a fit, as in `result.json`: what the loop produced, or the `reason` for no model.

    `again`: another try may succeed, since memory ran out.  `step`, `learning_rate`: where it failed.
    `weights`: the sha256 of weights and buffers.  `members`: of an ensemble, what a refit of each needs; a
    greedy one's are followed by those in its other validation ranges.  `forecasts`: of an ensemble with
    baselines, the sha256 of their forecasts, which is part of `weights`.  `learnt`: the weights of a greedy
    ensemble.
    """

    status: Status
    reason: str | None = None
    again: bool = False
    step: int | None = None
    learning_rate: float | None = None
    history: list[Epoch] = field(default_factory=list)
    best_epoch: int = 0
    val_mae: float | None = None
    train_seconds: float = 0.0
    windows_per_second: float = 0.0
    ended_by: Ended | None = None
    steps: int = 0
    parts: int = 1
    precision: str = "float32"
    epoch_steps: int = 0
    penalty: float | None = None
    num_parameters: int = 0
    weights: str = ""
    peak_memory_mb: float | None = None
    peak_gpu_memory_mb: float | None = None
    members: Sequence["Result"] = ()
    forecasts: str = ""
    learnt: Learnt | None = None

    @property
    def finished(self) -> bool:
        """Whether there is a model."""
        return self.status is Status.FINISHED

    def failed(self, reason: str) -> "Result":
        """The same result, marked as failed."""
        return replace(self, status=Status.FAILED, reason=reason)

    def to_dict(self) -> dict[str, object]:
        """A JSON-ready dict; `from_dict` is the inverse."""
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> "Result":
        """The inverse of `to_dict`; a member's record may lack what its refit does not need."""
        parsed = {name: value for name, value in raw.items() if name in {attribute.name for attribute in fields(cls)}}
        parsed["status"] = Status(parsed.get("status", "finished"))
        parsed["ended_by"] = Ended(parsed["ended_by"]) if parsed.get("ended_by") else None
        parsed["learnt"] = Learnt.from_dict(parsed["learnt"]) if parsed.get("learnt") else None
        return cls(**{**parsed, "members": tuple(cls.from_dict(member) for member in parsed.get("members", ()))})


def stream(training: Training, purpose: str, epoch: int = 0) -> int:
    """The seed of one random stream (63 bits)."""
    name = f"{training.variant}|{training.seed}|{purpose}|{epoch}"
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 1


_TURN = threading.RLock()


@contextmanager
def own_generators(device: torch.device | None = None) -> Iterator[None]:
    """Restores torch's generators after a block.

    torch has one per process for weights and dropout (and one per GPU), so threads take turns here.
    """
    with _TURN, torch.random.fork_rng([device] if device is not None and device.type == "cuda" else []):
        yield


def generators(device: torch.device) -> dict[str, torch.Tensor]:
    """The state of every generator that a step on this device draws from; `set_generators` restores it."""
    states = {"cpu": torch.get_rng_state()}
    return states | {"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else states


def set_generators(states: dict[str, torch.Tensor], device: torch.device) -> None:
    """The inverse of `generators`."""
    torch.set_rng_state(states["cpu"])
    if "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
