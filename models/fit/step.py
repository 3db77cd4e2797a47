"""One optimizer step: forward, loss, backward, clip, update.

A batch can be split into parts whose gradients add up: mathematically the same step, but a part fits the
cache (or a device that the whole batch does not fit).
Shapes: B batch, H horizon, T targets (of every sample when a dense network trains).
"""

import math
import warnings
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from models.data.windows import Batch, Inputs, Windows
from models.fit.losses import absolute_errors, masked_loss, pinball_loss
from models.fit.settings import Diverged, OutOfMemory, Training, generators, set_generators
from models.forecaster import Forecaster

HALVINGS = 2  # how often a batch that does not fit in memory is halved
EVAL_BATCH = {"cpu": 64}  # windows per forecast: on a CPU as many as fit the cache
EVAL_BATCH_DEVICE = 1024


class Counts(NamedTuple):
    """The number of observed targets for the point, and for its quantiles."""

    point: Tensor
    quantiles: Tensor


def batch_loss(forecaster: Forecaster, inputs: Inputs, y_BT: Tensor, loss: str, counts: Counts | None = None) -> Tensor:
    """The loss of the point, unless derived from the quantiles, plus that of the quantiles, in scaled units.

    `y_BT`: raw targets, of every sample when a dense network trains.  `counts`: of the whole batch, if this
    is a part.
    """
    scaled_BT = forecaster.scale_targets(y_BT, inputs.series_B)
    point, quantiles, level_B1 = forecaster.above_level(inputs, scaled_BT)
    above_BT = (scaled_BT - level_B1).float()  # errors do not depend on the level subtracted from both sides
    of_point, of_quantiles = forecaster.targets(above_BT)
    whole = pinball_loss(quantiles.float(), of_quantiles, forecaster.level_Q, counts and counts.quantiles)
    if forecaster.point is None:
        whole = masked_loss(loss, point.float(), of_point, counts and counts.point) + whole
    return whole


class Step:
    """Takes optimizer steps; `parts`: how many parts a batch is trained in."""

    def __init__(self, forecaster: Forecaster, training: Training, device: torch.device, half: bool = False) -> None:
        """`half`: multiply in bfloat16 (`models/fit/precision.py` says whether that works)."""
        self.forecaster, self.training, self.half, self.device = forecaster, training, half, device
        self.parts = training.micro_batches
        self.parameters = [p for p in forecaster.parameters() if p.requires_grad]
        of_quantiles = {*forecaster.beside()}
        both = [p for p in self.parameters if p not in of_quantiles], [p for p in self.parameters if p in of_quantiles]
        self.clipped = [group for group in both if group]  # clipped separately, so that the point trains as without quantiles
        self.optimizer = torch.optim.AdamW(
            self.parameters,
            lr=training.learning_rate,
            weight_decay=training.weight_decay,
            fused=True if device.type == "cpu" else None,  # one kernel per weight instead of eight
        )

    def __call__(self, batch: Batch, learning_rate: float) -> Tensor:
        """Trains on a batch; returns its loss, on the device.

        On a CPU, where checking is free, raises FitFailed before the update if loss or gradients are not
        finite; on other devices whoever reads the losses notices.  Out of memory: halves the batch, twice,
        then raises FitFailed.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        drawn = generators(self.device)
        while (loss := self._gradients(batch)) is None:
            set_generators(drawn, self.device)  # the smaller parts draw the same random numbers
            self._halve()
        norm = sum(torch.nn.utils.clip_grad_norm_(group, self.training.clip_norm) for group in self.clipped)
        if self.device.type == "cpu" and not math.isfinite(float(loss + norm)):
            set_generators(drawn, self.device)
            what = "loss is" if not math.isfinite(float(loss)) else "gradients are"
            raise Diverged(f"diverged: the {what} not finite")
        self.optimizer.step()
        return loss

    def _gradients(self, batch: Batch) -> Tensor | None:
        """The gradients of a batch, part by part, and its loss; None if memory ran out."""
        self.optimizer.zero_grad(set_to_none=True)
        loss = torch.zeros((), device=self.device)
        try:
            for part, counts in self._split(batch):
                with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
                    share = batch_loss(self.forecaster, *part, self.training.loss, counts)
                share.backward()
                loss += share.detach()
            return loss
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            return None  # frees what the error's frames hold

    def _halve(self) -> None:
        """Uses smaller parts from now on.  Raises FitFailed after `HALVINGS` times."""
        self.optimizer.zero_grad(set_to_none=True)
        rows, self.parts = self.rows, 2 * self.parts
        if self.parts > self.training.micro_batches * 2**HALVINGS or self.parts > self.training.batch_size:
            self.parts = self.training.micro_batches  # a later continuation may have more memory
            raise OutOfMemory(
                f"out of memory, also with batches in parts of {rows} windows: make training.batch_size or the network smaller"
            )
        warnings.warn(f"out of memory: each batch is now trained in parts of {self.rows} windows", stacklevel=3)

    @property
    def rows(self) -> int:
        """The most windows in a part."""
        return -(-self.training.batch_size // self.parts)

    def _split(self, batch: Batch) -> Iterator[tuple[Batch, Counts | None]]:
        """A batch in parts, each with the whole batch's counts; an unsplit batch without."""
        if len(batch.y_BH) <= self.rows:
            yield batch, None
            return
        counts = self._counts(batch)
        inputs = zip(*(part.split(self.rows) for part in batch.inputs), strict=True)
        for some, y_BT in zip(inputs, batch.y_BH.split(self.rows), strict=True):
            yield Batch(Inputs(*some), y_BT), counts

    def _counts(self, batch: Batch) -> Counts:
        scaled_BT = self.forecaster.scale_targets(batch.y_BH, batch.inputs.series_B)
        return Counts(*((~targets.isnan()).sum() for targets in self.forecaster.targets(scaled_BT)))


class Validated(NamedTuple):
    """The loss in scaled units, the MAE in raw units, and the part of the loss that can pick an epoch.

    That is the point's, or all of it if the point is derived from the quantiles.
    """

    loss: float
    mae: float
    chooses: float


@torch.no_grad()
def validate(forecaster: Forecaster, windows: Windows, loss: str) -> Validated:
    """Validates over all windows of a split; reads the device once."""
    forecaster.eval()
    size, sums = EVAL_BATCH.get(windows.origins.device.type, EVAL_BATCH_DEVICE), []
    for inputs, y_BH in windows.batches(size):
        scaled_BHQ = forecaster.scaled(*inputs)
        targets_BH = forecaster.scale_targets(y_BH, inputs.series_B)
        errors, seen = absolute_errors(forecaster.raw(scaled_BHQ, inputs.series_B)[..., 0], y_BH)
        whole = chooses = pinball_loss(scaled_BHQ[..., 1:], targets_BH, forecaster.level_Q)
        if forecaster.point is None:
            chooses = masked_loss(loss, scaled_BHQ[..., 0], targets_BH)
            whole = chooses + whole
        sums.append(torch.stack((errors, seen.to(errors.dtype), whole, chooses)))
    errors_N, seen_N, *parts = torch.stack(sums).cpu().double().unbind(1)  # some devices lack float64
    count = float(seen_N.sum())
    if not count:
        return Validated(math.nan, math.nan, math.nan)
    scaled = [float((part_N * seen_N).sum()) / count for part_N in parts]
    return Validated(scaled[0], float(errors_N.sum()) / count, scaled[1])


def out_of_memory(error: BaseException) -> bool:
    """Whether an error means that a device or the machine is out of memory."""
    text = str(error)
    known = ("DefaultCPUAllocator", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(words in text for words in known)
