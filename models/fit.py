"""The training loop; knows no tracker, only a callback, and no file but its checkpoints.

A fit is a function of its job: the panel, the windows, the variant, the numbers below and the seed.  Every random number
comes from a stream of its own, named by variant, seed, epoch and purpose, so that a fit that was killed goes on as if it had
not been.
Shapes: B batch, L lookback, F channels, H horizon.
"""

import hashlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models import checkpoint
from models.forecaster import Forecaster
from models.linear import Ridge
from models.losses import absolute_errors, forecast_loss
from models.windows import Inputs, Windows

WARMUP = 0.05  # the share of the steps over which the learning rate rises; then it falls by a cosine
VALIDATION_BATCH = 256

Epoch = dict[str, float]
OnEpoch = Callable[[Epoch], None]


class FitFailed(Exception):
    """The fit gave no model, and that is its result: it diverged or ran out of memory."""


@dataclass(frozen=True)
class Training:
    """The numbers of a fit; `params/schema.py` says what they mean."""

    max_epochs: int
    patience_epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    clip_norm: float
    loss: str
    variant: str
    seed: int


@dataclass(frozen=True)
class FitResult:
    """What a fit found: the best weights are in the forecaster; the history has one row an epoch."""

    best_epoch: int
    val_mae: float
    history: list[Epoch]
    train_seconds: float
    windows_per_second: float


def stream(training: Training, purpose: str, epoch: int = 0) -> int:
    """The seed of one stream of random numbers (63 bits)."""
    name = f"{training.variant}|{training.seed}|{purpose}|{epoch}"
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 1


def batch_loss(forecaster: Forecaster, inputs: Inputs, y_BT: Tensor, loss: str) -> Tensor:
    """The loss of a batch in scaled units; `y_BT` in raw units, of every sample where a dense network is trained."""
    scaled_BT = forecaster.scale_targets(y_BT, inputs.series_B)
    forecasts = forecaster.scaled(*inputs, scaled_BT)
    targets = forecaster.every_target(scaled_BT) if forecasts.dim() == 4 else scaled_BT
    return forecast_loss(loss, forecasts, targets, forecaster.quantiles)


@torch.no_grad()
def validate(forecaster: Forecaster, windows: Windows, loss: str) -> tuple[float, float]:
    """(loss in scaled units, mean absolute error in raw units) over all windows of a split."""
    forecaster.eval()
    total, count, losses, weight = 0.0, 0, 0.0, 0
    for inputs, y in windows.batches(VALIDATION_BATCH):
        errors, seen = absolute_errors(forecaster(*inputs)[..., 0], y)
        part = batch_loss(forecaster, inputs, y, loss)
        total, count = total + errors, count + seen
        losses, weight = losses + float(part) * seen, weight + seen
    return (losses / weight, total / count) if count else (math.nan, math.nan)


def fit(
    forecaster: Forecaster,
    train: Windows,
    validation: Windows,
    training: Training,
    folder: Path,
    on_epoch: OnEpoch = lambda _: None,
) -> FitResult:
    """Trains in place and hands back the best weights by validation MAE, not the last.

    Goes on from the newest checkpoint in `folder`.  Raises FitFailed where the loss is no longer finite or memory runs out,
    ValueError where a split has no window.
    """
    for name, windows in (("training", train), ("validation", validation)):
        if not len(windows):
            raise ValueError(f"the {name} split has no complete window: shorten lookback, horizon or the splits")
    started = time.perf_counter()
    loop = _closed_form if isinstance(forecaster.network, Ridge) else _descend
    try:
        result = loop(forecaster, train, validation, training, folder, on_epoch, started)
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise FitFailed(f"out of memory: make training.batch_size or the network smaller ({error})") from error
    checkpoint.clear(folder)
    return result


def _descend(
    forecaster: Forecaster,
    train: Windows,
    validation: Windows,
    training: Training,
    folder: Path,
    on_epoch: OnEpoch,
    started: float,
) -> FitResult:
    train = train.dense() if forecaster.dense else train
    parameters = [p for p in forecaster.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=training.learning_rate, weight_decay=training.weight_decay)
    steps = math.ceil(len(train) / training.batch_size)
    state = checkpoint.load_newest(folder, train.origins.device)
    history: list[Epoch] = []
    best: dict[str, Any] = {"epoch": -1, "val_mae": math.inf, "weights": None}
    spent = 0.0
    if state is not None:
        forecaster.load_state_dict(state["weights"])
        optimizer.load_state_dict(state["optimizer"])
        history, best, spent = state["history"], state["best"], state["seconds"]
    for epoch in range(len(history), training.max_epochs):
        if epoch - best["epoch"] > training.patience_epochs:
            break
        train_loss = _epoch(forecaster, train, training, optimizer, parameters, epoch, steps)
        val_loss, val_mae = validate(forecaster, validation, training.loss)
        if not math.isfinite(val_mae):
            raise FitFailed(f"diverged: the validation error of epoch {epoch + 1} is not finite; lower training.learning_rate")
        if val_mae < best["val_mae"]:
            best = {"epoch": epoch, "val_mae": val_mae, "weights": _copy(forecaster)}
        seconds = spent + time.perf_counter() - started
        row = {"epoch": epoch, "train_loss": train_loss, "val_loss": val_loss, "val_mae": val_mae, "seconds": seconds}
        history.append(row)
        state = {"weights": _copy(forecaster), "optimizer": optimizer.state_dict(), "history": history, "best": best}
        checkpoint.save(folder, epoch, state | {"seconds": seconds})
        on_epoch(row)
    forecaster.load_state_dict(best["weights"])
    total = history[-1]["seconds"]
    return FitResult(best["epoch"], best["val_mae"], history, total, len(history) * len(train) / max(total, 1e-9))


def _epoch(
    forecaster: Forecaster,
    train: Windows,
    training: Training,
    optimizer: torch.optim.Optimizer,
    parameters: list[torch.nn.Parameter],
    epoch: int,
    steps: int,
) -> float:
    """One pass over the training windows in this epoch's own order; returns the mean loss in scaled units."""
    torch.manual_seed(stream(training, "dropout", epoch))
    order = train.shuffled(stream(training, "order", epoch))
    forecaster.train()
    losses = torch.zeros((), device=train.origins.device)
    for step, (inputs, y) in enumerate(train.batches(training.batch_size, order)):
        for group in optimizer.param_groups:
            group["lr"] = training.learning_rate * schedule(epoch * steps + step, training.max_epochs * steps)
        optimizer.zero_grad(set_to_none=True)
        loss = batch_loss(forecaster, inputs, y, training.loss)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, training.clip_norm)
        optimizer.step()
        losses += loss.detach()
    mean = float(losses) / steps
    if not math.isfinite(mean):
        raise FitFailed(f"diverged: the training loss of epoch {epoch + 1} is not finite; lower training.learning_rate")
    return mean


def schedule(step: int, steps: int) -> float:
    """The share of the learning rate at a step: a linear rise, then a cosine to zero (Loshchilov & Hutter 2017)."""
    rise = max(1, round(WARMUP * steps))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


def _copy(forecaster: Forecaster) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in forecaster.state_dict().items()}


def _closed_form(
    forecaster: Forecaster,
    train: Windows,
    validation: Windows,
    training: Training,
    folder: Path,
    on_epoch: OnEpoch,
    started: float,
) -> FitResult:
    """Ridge: every penalty is one row of the history, the best on validation is kept."""

    def scaled() -> Iterator[tuple[Tensor, Tensor]]:
        for inputs, y in train.batches(1024):
            x, level, spread, _ = forecaster.inputs(*inputs)
            yield x.detach(), (forecaster.scale_targets(y, inputs.series_B) - level) / spread

    assert isinstance(forecaster.network, Ridge)
    history: list[Epoch] = []
    best: dict[str, Any] = {"val_mae": math.inf}
    for epoch, (penalty, weights) in enumerate(forecaster.network.candidates(scaled())):
        forecaster.network.load_state_dict(weights)
        train_loss, _ = validate(forecaster, train, training.loss)
        val_loss, val_mae = validate(forecaster, validation, training.loss)
        row = {"epoch": epoch, "train_loss": train_loss, "val_loss": val_loss, "val_mae": val_mae, "penalty": penalty}
        history.append(row | {"seconds": time.perf_counter() - started})
        on_epoch(history[-1])
        if val_mae < best["val_mae"]:
            best = {"val_mae": val_mae, "epoch": epoch, "weights": weights}
    if "weights" not in best:
        raise FitFailed("ridge has no finite solution at any penalty; look at the features' ranges")
    forecaster.network.load_state_dict(best["weights"])
    seconds = time.perf_counter() - started
    return FitResult(best["epoch"], best["val_mae"], history, seconds, len(train) / seconds)
