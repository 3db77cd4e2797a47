"""What a fit is asked for and what it gives, and its random numbers; never the loop."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch

Epoch = dict[str, float]
Ended = Literal["max_epochs", "max_steps", "max_seconds", "patience_epochs", "stop_step", "closed form", "refit"]


class FitFailed(Exception):
    """The fit gave no model, and that is its result: it diverged or ran out of memory.

    `step` (counted from 1) and `learning_rate` say where, None where that has no meaning; `history` has the epochs before it.
    """

    def __init__(
        self, reason: str, step: int | None = None, learning_rate: float | None = None, history: list[Epoch] | None = None
    ) -> None:
        super().__init__(reason)
        self.step, self.learning_rate, self.history = step, learning_rate, history or []


class OutOfMemory(FitFailed):
    """The fit gave no model for want of memory: on another day, or with less beside it, it may."""


class Stopped(Exception):
    """The fit was asked to stop and did, after a step, with a checkpoint: it goes on from there."""


@dataclass(frozen=True)
class Training:
    """The numbers of a fit; `params/schema.py` says what they mean.

    `micro_batches`: the parts that a batch is trained in.  `monitor`: what of validation decides which epoch is the best, the
    MAE in raw units (mae) or the loss in scaled ones (loss).  `stop_step`: where an equal fit was stopped by its `max_seconds`,
    which is then not looked at.

    A refit has what another fit's validation chose, the number of its epochs (`refit_epochs`) or its penalty
    (`refit_penalty`): it validates nothing and ends there, or in its last epoch at `stop_step`.
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
    refit_epochs: int | None = None
    refit_penalty: float | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.micro_batches <= self.batch_size:
            raise ValueError(f"micro_batches must lie between 1 and batch_size {self.batch_size}, not {self.micro_batches}")

    @property
    def refit(self) -> bool:
        """Whether this trains for as long as another fit's validation chose, and has none of its own."""
        return self.refit_epochs is not None or self.refit_penalty is not None


@dataclass(frozen=True)
class FitResult:
    """What a fit found: the best weights are in the forecaster; the history has one row an epoch.

    `ended_by` says what ended it, `steps` after how many optimizer steps (`epoch_steps` are an epoch), `parts` in how many
    parts a batch was trained.  A refit has no `val_mae`, its best epoch is its last.
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


def stream(training: Training, purpose: str, epoch: int = 0) -> int:
    """The seed of one stream of random numbers (63 bits)."""
    name = f"{training.variant}|{training.seed}|{purpose}|{epoch}"
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 1


_TURN = threading.RLock()


@contextmanager
def own_generators(device: torch.device | None = None) -> Iterator[None]:
    """What is drawn within leaves torch's generators as they were.

    torch has one for weights and dropout in each process (and one on each GPU), so threads that come here take turns.
    """
    with _TURN, torch.random.fork_rng([device] if device is not None and device.type == "cuda" else []):
        yield


def generators(device: torch.device) -> dict[str, torch.Tensor]:
    """The state of every generator that a step on this device draws from; `set_generators` puts it back."""
    found = {"cpu": torch.get_rng_state()}
    return found | {"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else found


def set_generators(states: dict[str, torch.Tensor], device: torch.device) -> None:
    """The inverse of `generators`."""
    torch.set_rng_state(states["cpu"])
    if "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
