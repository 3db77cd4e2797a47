"""Validation scores of a model: the mean over folds, each in units of its own training rows."""

import statistics
from collections.abc import Sequence

import polars as pl

from models.data.panel import Data
from params.errors import UserError
from params.evaluation import EvaluationParams
from params.schema import RunParams
from tasks.compare import measures, scores
from tasks.compare.board import Score
from tasks.compare.measures import Measured, Scale, scale_of
from tasks.evaluate.baselines import Baselines
from tasks.evaluate.frames import Forecasts
from tasks.lags.past import pasts


def scales_of(evaluation: EvaluationParams, data: Data) -> list[Scale]:
    """The scale of each fold, oldest first, from its own training rows."""
    return [scale_of(evaluation, pasts(data.panel, fold.split)) for fold in data.folds]


def validated(forecasts: Forecasts, model: str, bar: str, scales: Sequence[Scale], scaled: bool) -> dict[str, Score]:
    """The `val_*` numbers of a model: its errors, and its score and skill on the rows the bar forecasts too.

    With several folds: the means over those that have the number, the skill that of the mean scores;
    `val_mae_fold_1`, `val_score_fold_1` ... per fold, oldest first, and `..._fold_spread`, their standard
    deviation (n - 1).
    """
    errors, common, both = [], [], [model, bar]
    for fold, scale in enumerate(scales):
        model_errors, sums = scores.Errors(model, scale, scaled), []
        for block in forecasts.blocks(*both, *scale.besides, fold=fold):
            model_errors.add(block)
            sums.append(measures.sums_of(block, both, scale))
        errors.append(model_errors.found())
        common.append(measures.measured_from(sums, both, scale))
    numbers: dict[str, Score] = {f"val_{name}": _mean([in_fold[name] for in_fold in errors]) for name in errors[0]}
    mean = Measured.mean(common)
    numbers |= {"val_score": mean.scores[model], "val_rows": mean.rows, "val_skill": mean.skill(model, bar)}
    if len(scales) > 1:
        numbers |= _each("val_mae", [in_fold["mae"] for in_fold in errors]) | _each(
            "val_score", [in_fold.scores[model] for in_fold in common]
        )
    return numbers


def naive_errors(run: RunParams, data: Data, baselines: Baselines) -> list[Score]:
    """The MAE of the best of some baselines per fold, oldest first: the reference for skill in training.

    None if no window has an observed past.  Theta and AutoETS, which may become the bar, are still
    forecasting then.

    Raises UserError, before any training, if the run chooses by a score that these data do not have.
    """
    if run.evaluation.choose_by in ("mase", "owa", "rmsse"):
        _check_scales(run, scales_of(run.evaluation, data))
    each = zip(*baselines.errors.values(), strict=True)
    return [min((error for error in errors if error is not None), default=None) for errors in each] or [None] * len(data.folds)


def _check_scales(run: RunParams, scales: Sequence[Scale]) -> None:
    for number, scale in enumerate(scales, start=1):
        if not scale.series.filter(pl.col("mae") > 0).height:
            where, how = "", "shorten season, or choose by mae"
            if number < len(scales):
                where, how = f" before validation range {number} of {len(scales)}", f"{how}, or lower split.folds"
            raise UserError(
                f"evaluation.choose_by {run.evaluation.choose_by}: no series has a MASE, since none has two different values "
                f"evaluation.season {run.evaluation.season} rows apart in its training rows{where}: {how}"
            )


def _each(name: str, values: Sequence[Score]) -> dict[str, Score]:
    known = [value for value in values if value is not None]
    spread = statistics.stdev(known) if len(known) > 1 else None
    return {f"{name}_fold_{number}": value for number, value in enumerate(values, start=1)} | {f"{name}_fold_spread": spread}


def _mean(values: Sequence[Score]) -> Score:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None
