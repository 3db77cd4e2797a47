"""The training loop: epochs, learning rate, early stopping, checkpoints; a callback receives each epoch.

A fit is a function of its job: the panel, the windows, the variant, its numbers and the seed.  Each random
number comes from a stream named by variant, seed, epoch and purpose, so that a killed fit resumes as if never
interrupted.
"""

import math
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from models.data.windows import Windows
from models.fit import checkpoint
from models.fit.average import Average
from models.fit.checkpoint import Best, State
from models.fit.closed_form import solve, solve_skip
from models.fit.precision import no_bfloat16
from models.fit.settings import (
    Diverged,
    Ended,
    Epoch,
    FitFailed,
    FitResult,
    Stopped,
    Training,
    generators,
    own_generators,
    set_generators,
    stream,
)
from models.fit.step import Step, validate
from models.forecaster import Forecaster

WARMUP = 0.05  # share of the steps with a rising learning rate; then a cosine decay
SAVE_EVERY = 5.0  # seconds between checkpoints: the most a kill can cost
HINT = "lower training.learning_rate or training.clip_norm, or look at the ranges of the features"

OnEpoch = Callable[[Epoch], None]


def fit(
    forecaster: Forecaster,
    train: Windows,
    validation: Windows,
    training: Training,
    folder: Path,
    on_epoch: OnEpoch = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
    save_every: float = SAVE_EVERY,
) -> FitResult:
    """Trains in place and ends with the best weights on validation (by `training.monitor`), not the last.

    A refit (`training.refit`) ends with the last; its `validation` may be empty and is ignored.

    Resumes from the newest checkpoint in `folder`; one is written every `save_every` seconds, and
    `checkpoint.clear` removes them once the result is safe.  `on_epoch` receives each epoch's row, with the
    most seconds `left` and the `best` error so far.  `stop` is polled after every step.  Torch's own
    generators are left unchanged.
    Raises FitFailed if loss or gradients are not finite or memory runs out (the last finite state stays as a
    checkpoint), Stopped after `stop` returned true, StorageFull if a checkpoint does not fit (earlier ones
    stay), ValueError if a split has no window.
    """
    for name, windows in (("training", train), ("validation", validation)):
        if not len(windows) and not (training.refit and windows is validation):
            raise ValueError(f"the {name} split has no complete window: shorten lookback, horizon or the splits")
    with own_generators(train.origins.device):
        if forecaster.network.closed_form:
            return solve(forecaster, train, validation, training, on_epoch)
        penalty = solve_skip(forecaster, train, validation, training) if forecaster.solves_skip else None
        loop = TrainingLoop(forecaster, train, validation, training, folder, save_every)
        loop.go_on()
        return replace(loop.run(on_epoch, stop), penalty=penalty)


class TrainingLoop:
    """A running fit, at `steps` optimizer steps and with its history; a checkpoint holds all of it."""

    def __init__(
        self,
        forecaster: Forecaster,
        train: Windows,
        validation: Windows,
        training: Training,
        folder: Path,
        save_every: float,
    ) -> None:
        self.forecaster, self.training, self.folder, self.save_every = forecaster, training, folder, save_every
        self.train, self.validation = train.dense() if forecaster.dense else train, validation
        self.device = train.origins.device
        self.steps_per_epoch = math.ceil(len(train) / training.batch_size)
        self.planned = min(training.max_epochs * self.steps_per_epoch, training.max_steps or 2**62)
        self.last = self.planned
        if training.refit_epochs:
            self.last = training.stop_step or training.refit_epochs * self.steps_per_epoch
        self.steps, self.spent, self.losses = 0, 0.0, torch.zeros((), device=self.device)
        self.history: list[Epoch] = []
        self.best = Best(epoch=-1, val_mae=math.inf, score=math.inf, weights=None)
        self.step = Step(forecaster, training, self.device, self._half())  # importing torch's optimizers takes a second
        self.average = Average(self.step.parameters, training.average_epochs * self.steps_per_epoch)
        self.started = self.saved = time.perf_counter()

    def _half(self) -> bool:
        """Whether to multiply in bfloat16: if the run asks for it and it works."""
        if self.training.precision == "float32":
            return False
        batch = next(self.train.batches(self.training.batch_size))
        why = no_bfloat16(self.forecaster, batch, self.training.loss)
        if why:
            warnings.warn(f"{self.training.variant} is trained in float32, not bfloat16: {why}", stacklevel=2)
        return not why

    @property
    def seconds(self) -> float:
        """The seconds this fit has taken so far, including those before a kill."""
        return self.spent + time.perf_counter() - self.started

    @property
    def position(self) -> int:
        """Steps taken in the current epoch, which is not yet validated."""
        return self.steps - len(self.history) * self.steps_per_epoch

    def run(self, on_epoch: OnEpoch, stop: Callable[[], bool]) -> FitResult:
        """Runs epochs until something ends the fit; the best weights are then in the forecaster."""
        while (ended := self._ended()) is None:
            try:
                self._epoch(stop)
            except FitFailed as error:
                raise self._failed(error, self.steps + 1) from error
            try:
                with self.average.in_place():
                    row = self._validated()
            except FitFailed as error:
                raise self._failed(error, self.steps) from error
            if self._due():
                self.save()
            best = self.best["val_mae"]
            on_epoch(row | {"left": self._left()} | ({} if best is None else {"best": best}))
        if self.best["weights"] is not None:
            self.forecaster.load_state_dict(self.best["weights"])
        else:  # a refit ends with its last weights
            self.average.put()
        seconds = self.history[-1]["seconds"]
        windows = self.steps * len(self.train) / self.steps_per_epoch
        return FitResult(
            self.best["epoch"],
            self.best["val_mae"],
            self.history,
            seconds,
            windows / max(seconds, 1e-9),
            ended,
            self.steps,
            self.step.parts,
            "bfloat16" if self.step.half else "float32",
            self.steps_per_epoch,
        )

    def _ended(self) -> Ended | None:
        """What ends the fit before the next epoch; an epoch once begun is always validated first."""
        training = self.training
        if self.position > 0 or not self.history:
            return None
        if training.refit_epochs is not None:
            return Ended.REFIT if len(self.history) >= training.refit_epochs else None
        budget = self._spent()
        if budget is not None:
            return budget
        if len(self.history) - 1 - self.best["epoch"] >= training.patience_epochs:
            return Ended.PATIENCE
        return Ended.MAX_EPOCHS if len(self.history) >= training.max_epochs else None

    def _spent(self) -> Ended | None:
        """The budget of steps or seconds that is used up, if any."""
        training = self.training
        if training.stop_step is not None:
            return Ended.STOP_STEP if self.steps >= training.stop_step else None
        if training.refit:
            return None
        if training.max_steps is not None and self.steps >= training.max_steps:
            return Ended.MAX_STEPS
        return Ended.MAX_SECONDS if training.max_seconds is not None and self.seconds >= training.max_seconds else None

    def _epoch(self, stop: Callable[[], bool]) -> None:
        """The rest of this epoch's pass over the training windows, as far as the budgets allow."""
        epoch = len(self.history)
        if self.position == 0:
            torch.manual_seed(stream(self.training, "dropout", epoch))
            self.losses.zero_()
        elif self._spent():
            return
        order = self.train.shuffled(stream(self.training, "order", epoch))[self.position * self.training.batch_size :]
        self.forecaster.train()
        for batch in self.train.batches(self.training.batch_size, order):
            self.losses += self.step(batch, self._rate(self.steps))
            self.steps += 1
            self.average.take(self.steps)
            if self._spent():
                break
            if stop():
                self.save()
                raise Stopped(f"stopped after step {self.steps}; it goes on from there")
            if self._due():
                self.save()

    def _validated(self) -> Epoch:
        """The epoch's history row; keeps the best weights, of a refit only checks them."""
        epoch, taken = len(self.history), self.position
        train_loss = float(self.losses) / taken
        if not math.isfinite(train_loss):
            raise Diverged("diverged: the training loss is not finite")
        validation: Epoch = {}
        if self.training.refit:
            if not all(bool(value.isfinite().all()) for value in self.forecaster.parameters()):
                raise Diverged("diverged: the weights are not finite")
            self.best = Best(epoch=epoch, val_mae=None, score=math.inf, weights=None)
        else:
            validation = self._best_so_far(epoch)
        row = {"epoch": epoch, "train_loss": train_loss, **validation, "seconds": self.seconds}
        self.history.append(row)
        return row

    def _best_so_far(self, epoch: int) -> Epoch:
        """The errors on validation; keeps the weights if they are the best."""
        val_loss, val_mae, chooses = validate(self.forecaster, self.validation, self.training.loss)
        score = val_mae if self.training.monitor == "mae" else chooses
        if not math.isfinite(val_mae) or not math.isfinite(score):
            raise Diverged("diverged: the validation error is not finite")
        if score < self.best["score"]:
            self.best = Best(epoch=epoch, val_mae=val_mae, score=score, weights=_copy(self.forecaster))
        return {"val_loss": val_loss, "val_mae": val_mae}

    def _failed(self, error: FitFailed, step: int) -> FitFailed:
        """The same failure with its place and advice; on a CPU the last finite state is saved first."""
        rate = self._rate(step - 1)
        if self.device.type == "cpu":
            self.save()
        where = f"epoch {len(self.history) + 1}, step {step}, learning rate {rate:.3g}"
        advice = f"; {HINT}" if isinstance(error, Diverged) else ""
        return type(error)(f"{error} ({where}){advice}", step, rate, self.history)

    def _rate(self, steps: int) -> float:
        """The learning rate of the step after `steps`."""
        return self.training.learning_rate * schedule(steps, self.planned)

    def _left(self) -> float:
        """The most seconds that the rest can take, at the pace so far."""
        left = self.seconds / self.steps * max(self.last - self.steps, 0)
        most = None if self.training.refit else self.training.max_seconds
        return left if most is None else max(min(left, most - self.seconds), 0.0)

    def _due(self) -> bool:
        return time.perf_counter() - self.saved >= self.save_every

    def save(self) -> None:
        """Writes all state that the rest of the fit depends on.  Raises FitFailed if it is not finite."""
        if self.device.type != "cpu" and not math.isfinite(float(self.losses)):  # on a CPU every step has checked
            raise Diverged("diverged: the training loss is not finite")
        state: State = {
            "steps": self.steps,
            "weights": self.forecaster.state_dict(),
            "average": self.average.values,
            "optimizer": self.step.optimizer.state_dict(),
            "generators": generators(self.device),
            "losses": self.losses,
            "history": self.history,
            "best": self.best,
            "seconds": self.seconds,
            "parts": self.step.parts,
        }
        checkpoint.save(self.folder, self.steps, len(self.history), state)
        self.saved = time.perf_counter()

    def go_on(self) -> None:
        """Restores the newest checkpoint, if there is one."""
        state = checkpoint.load_newest(self.folder)
        if state is None:
            return
        self.forecaster.load_state_dict(state["weights"])
        self.average.load(state["average"])
        self.step.optimizer.load_state_dict(state["optimizer"])
        set_generators(state["generators"], self.device)
        self.steps, self.losses, self.spent = state["steps"], state["losses"].to(self.device), state["seconds"]
        self.history, self.best, self.step.parts = state["history"], state["best"], state["parts"]


def schedule(step: int, steps: int) -> float:
    """The learning rate's factor: a linear rise, then a cosine to zero (Loshchilov & Hutter 2017)."""
    rise = max(1, round(WARMUP * steps))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


def _copy(forecaster: Forecaster) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in forecaster.state_dict().items()}
