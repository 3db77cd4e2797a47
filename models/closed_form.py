"""The fit of what is solved and not trained: ridge, every penalty a row of the history; never a gradient."""

import time
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor

from models.forecaster import Forecaster
from models.linear import Ridge
from models.step import validate
from models.training import Epoch, FitFailed, FitResult, Training
from models.windows import Windows


def solve(
    forecaster: Forecaster, train: Windows, validation: Windows, training: Training, on_epoch: Callable[[Epoch], None]
) -> FitResult:
    """Solves for each penalty and keeps the best on validation.  Raises FitFailed where none has a finite solution."""
    started = time.perf_counter()

    def scaled() -> Iterator[tuple[Tensor, Tensor]]:
        for inputs, y in train.batches(1024):
            x, level, spread, _ = forecaster.inputs(*inputs)
            yield x.detach(), (forecaster.scale_targets(y, inputs.series_B) - level) / spread

    assert isinstance(forecaster.network, Ridge)
    history: list[Epoch] = []
    best: dict[str, Any] = {"score": float("inf")}
    for epoch, (penalty, weights) in enumerate(forecaster.network.candidates(scaled())):
        forecaster.network.load_state_dict(weights)
        train_loss, _ = validate(forecaster, train, training.loss)
        val_loss, val_mae = validate(forecaster, validation, training.loss)
        row = {"epoch": epoch, "train_loss": train_loss, "val_loss": val_loss, "val_mae": val_mae, "penalty": penalty}
        history.append(row | {"seconds": time.perf_counter() - started})
        on_epoch(history[-1])
        score = val_mae if training.monitor == "mae" else val_loss
        if score < best["score"]:
            best = {"val_mae": val_mae, "score": score, "epoch": epoch, "weights": weights}
    if "weights" not in best:
        raise FitFailed("ridge has no finite solution at any penalty; look at the features' ranges")
    forecaster.network.load_state_dict(best["weights"])
    seconds = time.perf_counter() - started
    return FitResult(best["epoch"], best["val_mae"], history, seconds, len(train) / seconds, "closed form")
