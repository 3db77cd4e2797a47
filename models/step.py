"""One optimizer step: forward, loss, backward, clip, update; never an epoch, a file or a clock.

A batch may be taken in parts whose gradients add up: mathematically the same step, but what a part needs stays in the cache
(or fits a device that the whole batch does not).
Shapes: B batch, H horizon, T targets (of every sample where a dense network is trained).
"""

import math
import warnings
from collections.abc import Iterator

import torch
from torch import Tensor

from models.forecaster import Forecaster
from models.losses import absolute_errors, forecast_loss
from models.training import FitFailed, Training
from models.windows import Batch, Inputs, Windows

HALVINGS = 2  # times that a batch which does not fit the memory is halved
LOOK = {"cpu": 64}  # windows that are forecast at a time: on a CPU so many as stay in the cache
LOOK_DEVICE = 1024


def batch_loss(forecaster: Forecaster, inputs: Inputs, y_BT: Tensor, loss: str, count: Tensor | None = None) -> Tensor:
    """The loss of a batch in scaled units; `y_BT` in raw units, of every sample where a dense network is trained.

    `count`: the observed targets of the whole batch, where this is a part of it.
    """
    scaled_BT = forecaster.scale_targets(y_BT, inputs.series_B)
    forecasts = forecaster.scaled(*inputs, scaled_BT).float()
    targets = forecaster.every_target(scaled_BT) if forecasts.dim() == 4 else scaled_BT
    return forecast_loss(loss, forecasts, targets, forecaster.quantiles, count)


class Step:
    """Takes optimizer steps; `halvings` says how often a batch had to be halved for want of memory."""

    def __init__(self, forecaster: Forecaster, training: Training, device: torch.device, half: bool = False) -> None:
        """`half`: products in bfloat16 (`models/precision.py` says whether they may be)."""
        self.forecaster, self.training, self.half, self.device = forecaster, training, half, device
        self.parameters = [p for p in forecaster.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.parameters,
            lr=training.learning_rate,
            weight_decay=training.weight_decay,
            fused=True if device.type == "cpu" else None,  # one kernel a weight in place of eight
        )
        self.halvings = 0

    def __call__(self, batch: Batch, learning_rate: float) -> Tensor:
        """Trains on a batch; returns its loss, on the device.

        On a CPU, where looking costs nothing, raises FitFailed before the update where loss or gradients are not finite; on
        another device whoever reads the losses finds out.  Out of memory: the batch is halved, twice, then FitFailed.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        while True:
            loss = self._gradients(batch)
            if loss is not None:
                break
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.training.clip_norm)
        if self.device.type == "cpu" and not math.isfinite(float(loss + norm)):
            what = "loss is" if not math.isfinite(float(loss)) else "gradients are"
            raise FitFailed(f"diverged: the {what} not finite")
        self.optimizer.step()
        return loss

    def _gradients(self, batch: Batch) -> Tensor | None:
        """The gradients of a batch, part by part, and its loss; None where the memory gave out, and smaller parts may do."""
        self.optimizer.zero_grad(set_to_none=True)
        loss = torch.zeros((), device=self.device)
        try:
            for part, count in self._parts(batch):
                with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
                    share = batch_loss(self.forecaster, *part, self.training.loss, count)
                share.backward()
                loss += share.detach()
            return loss
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            message = str(error).split("\n")[0]
        self.optimizer.zero_grad(set_to_none=True)  # outside: while an error is handled, it holds what its frames hold
        self.halvings += 1
        rows = self._rows(1)
        if self.halvings > HALVINGS or rows < 1:
            smallest, self.halvings = self._rows(0), 0  # whoever goes on later may find more memory
            raise FitFailed(
                f"out of memory, also with batches in parts of {smallest} windows: make training.batch_size or the network "
                f"smaller ({message})"
            )
        warnings.warn(f"out of memory: each batch is now trained in parts of {rows} windows", stacklevel=2)
        return None

    def _rows(self, fewer: int) -> int:
        """Windows of a part; `fewer` 0: before the last halving."""
        parts = self.training.micro_batches * 2 ** (self.halvings - 1 + fewer)
        return -(-self.training.batch_size // parts) if parts <= self.training.batch_size else 0

    def _parts(self, batch: Batch) -> Iterator[tuple[Batch, Tensor | None]]:
        """A batch in parts, each with the number of observed targets of the whole batch; a whole one without."""
        rows = self._rows(1)
        if len(batch.y_BH) <= rows:
            yield batch, None
            return
        count = self._observed(batch)
        inputs = zip(*(part.split(rows) for part in batch.inputs), strict=True)
        for some, y_BT in zip(inputs, batch.y_BH.split(rows), strict=True):
            yield Batch(Inputs(*some), y_BT), count

    def _observed(self, batch: Batch) -> Tensor:
        """The targets that count in the loss of a batch."""
        scaled_BT = self.forecaster.scale_targets(batch.y_BH, batch.inputs.series_B)
        dense = self.forecaster.dense and self.forecaster.training
        return (~(self.forecaster.every_target(scaled_BT) if dense else scaled_BT).isnan()).sum()


@torch.no_grad()
def validate(forecaster: Forecaster, windows: Windows, loss: str) -> tuple[float, float]:
    """(loss in scaled units, mean absolute error in raw units) over all windows of a split; reads the device once."""
    forecaster.eval()
    size, found = LOOK.get(windows.origins.device.type, LOOK_DEVICE), []
    for inputs, y_BH in windows.batches(size):
        scaled_BHQ = forecaster.scaled(*inputs)
        targets_BH = forecaster.scale_targets(y_BH, inputs.series_B)
        errors, seen = absolute_errors(forecaster.raw(scaled_BHQ, inputs.series_B)[..., 0], y_BH)
        part = forecast_loss(loss, scaled_BHQ, targets_BH, forecaster.quantiles)
        found.append(torch.stack((errors, seen.to(errors.dtype), part)))
    errors_N, seen_N, part_N = torch.stack(found).cpu().double().unbind(1)  # not every device has float64
    count = float(seen_N.sum())
    return (float((part_N * seen_N).sum()) / count, float(errors_N.sum()) / count) if count else (math.nan, math.nan)


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device, or the machine, has no more memory to give."""
    text = str(error)
    known = ("DefaultCPUAllocator", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(words in text for words in known)
