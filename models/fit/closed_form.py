"""The fit of a network that is solved rather than trained: a history row per penalty, the best is kept.

It also solves the ridge regression next to a trained network (`network.skip: ridge`), before the first epoch.
"""

import time
from collections.abc import Callable, Iterator

from torch import Tensor

from models.data.windows import Windows
from models.fit.checkpoint import Best
from models.fit.reach import reach_of
from models.fit.settings import Ended, Epoch, FitFailed, FitResult, Training
from models.fit.step import validate
from models.forecaster import Forecaster
from models.networks.contract import ClosedForm


def solve(
    forecaster: Forecaster,
    train: Windows,
    validation: Windows,
    training: Training,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> FitResult:
    """Solves for each penalty and keeps the best on validation; a refit solves for its own, unvalidated.

    Without `on_epoch`, which receives each penalty's row, the training loss is not computed either.

    Raises FitFailed if no penalty has a finite solution.
    """
    started = time.perf_counter()

    def scaled() -> Iterator[tuple[Tensor, Tensor]]:
        for inputs, y in train.batches(1024):
            x, level, spread, _ = forecaster.inputs(*inputs)
            yield _wide(x.detach()), _wide((forecaster.scale_targets(y, inputs.series_B) - level) / spread)

    assert isinstance(forecaster.network, ClosedForm)
    history: list[Epoch] = []
    best = Best(epoch=-1, val_mae=None, score=float("inf"), weights=None)
    penalties = forecaster.network.penalties if training.refit_penalty is None else (training.refit_penalty,)
    for epoch, (penalty, weights) in enumerate(forecaster.network.candidates(scaled(), penalties)):
        forecaster.network.load_state_dict(weights)
        losses, error = dict[str, float](), 0.0
        if on_epoch is not None:
            losses["train_loss"] = error = validate(forecaster, train, training.loss).loss
        if not training.refit:
            val_loss, error, _ = validate(forecaster, validation, training.loss)
            losses |= {"val_loss": val_loss, "val_mae": error}
        history.append({"epoch": epoch, **losses, "penalty": penalty, "seconds": time.perf_counter() - started})
        if on_epoch is not None:
            on_epoch(history[-1])
        score = error if training.refit or training.monitor == "mae" else losses["val_loss"]
        if score < best["score"]:
            best = Best(epoch=epoch, val_mae=None if training.refit else error, score=score, weights=weights)
    if best["weights"] is None:
        raise FitFailed("ridge has no finite solution at any penalty; look at the features' ranges")
    forecaster.network.load_state_dict(best["weights"])
    seconds = time.perf_counter() - started
    ended = Ended.REFIT if training.refit else Ended.CLOSED_FORM
    penalty = history[best["epoch"]]["penalty"]
    return FitResult(best["epoch"], best["val_mae"], history, seconds, len(train) / seconds, ended, penalty=penalty)


def solve_skip(forecaster: Forecaster, train: Windows, validation: Windows, training: Training) -> float:
    """Solves the skip ridge and measures the reach of the quantiles around it; returns the penalty.

    Raises FitFailed like `solve`.
    """
    result = solve(forecaster.skip_alone(), train, validation, training)
    forecaster.reach_H.copy_(reach_of(forecaster, train))
    assert result.penalty is not None
    return result.penalty


def _wide(values: Tensor) -> Tensor:
    """Moves values to where 64 bits are available: the GPU of a Mac has none."""
    return values.cpu() if values.device.type == "mps" else values
