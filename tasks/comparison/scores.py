"""Scores of forecasts in original units, through utilsforecast where it has them; never fills a missing actual or forecast.

Frames are wide forecast frames: unique_id, ds, cutoff, step, y and a column a model.  A row counts for a model where it has
both an actual and a forecast.  utilsforecast groups by cutoff wherever it sees that column, so none is handed to it.
"""

from collections.abc import Sequence

import polars as pl
from utilsforecast import losses

from tasks.comparison.intervals import COVERAGE, LEVELS, quantile_column

NAIVES = ("last_value", "drift", "seasonal_naive")
Score = float | None


def mae(frame: pl.DataFrame, model: str) -> Score:
    """The mean of |y - forecast| over all rows with both; None where there is none."""
    return _number(losses.mae(_pooled(_scored(frame, model)), [model]), model)


def best_naive(validation: pl.DataFrame, names: Sequence[str]) -> str:
    """The name among last_value, drift, seasonal_naive in `names` with the lowest MAE on validation (the first on a tie).

    Raises ValueError where none of them forecast anything.
    """
    found = {name: mae(validation, name) for name in names if name in NAIVES}
    known = {name: value for name, value in found.items() if value is not None}
    if not known:
        raise ValueError(f"no naive forecast to compare with: have one of {', '.join(NAIVES)} among the baselines")
    return min(known, key=known.__getitem__)


def score(
    test: pl.DataFrame, train_history: pl.DataFrame, model: str, season: int, naive: str, calibration: pl.DataFrame
) -> dict[str, Score]:
    """Every `test_*` score of one model; None where there is nothing to score.

    `train_history`: unique_id, ds, y of the training rows on the regular grid.  `calibration`: `intervals.calibrate` of this
    model on validation.  Coverage and width need the columns of `with_intervals`.  sMAPE is in percent, 0 to 200; bias is
    forecast minus actual; MASE is the mean over series of MAE / in-sample seasonal naive MAE, without series where the latter
    is 0; skill is 1 - MAE / MAE of `naive` on the same rows.  CRPS is twice the mean pinball loss over the levels 0.05 .. 0.95
    of the conformal quantiles: point forecast plus the validation residuals' quantile of its step.
    """
    rows = _scored(test, model)
    all_rows = _pooled(rows)
    smape = _number(losses.smape(all_rows, [model]), model)
    return {
        "test_mae": mae(test, model),
        "test_rmse": _number(losses.rmse(all_rows, [model]), model),
        "test_mase": _mase(rows, train_history, model, season),
        "test_smape": None if smape is None else 200 * smape,  # utilsforecast gives |e| / (|y| + |forecast|), 0 to 1
        "test_bias": _number(losses.bias(all_rows, [model]), model),
        "test_skill": _skill(test, model, naive),
        **_interval_scores(test, model),
        "test_crps": _crps(rows, model, calibration),
    }


def by_series(frame: pl.DataFrame, models: Sequence[str]) -> pl.DataFrame:
    """MAE of each series: unique_id and a column a model; null where a model has no row to score."""
    return losses.mae(_clean(frame, models), list(models))


def by_step(frame: pl.DataFrame, models: Sequence[str], horizon: int) -> pl.DataFrame:
    """MAE by horizon step, 1 to `horizon`: step and a column a model; null where a step has nothing to score."""
    found = losses.mae(_clean(frame, models), list(models), id_col="step")
    steps = pl.DataFrame({"step": pl.int_range(1, horizon + 1, dtype=pl.Int64, eager=True)})
    return steps.join(found, on="step", how="left", maintain_order="left")


def _clean(frame: pl.DataFrame, models: Sequence[str]) -> pl.DataFrame:
    """Rows with an actual; NaN turned to null, which a mean leaves out."""
    numbers = pl.col("y", *dict.fromkeys(models)).cast(pl.Float64).fill_nan(None)
    return frame.select("unique_id", "step", numbers).filter(pl.col("y").is_not_null())


def _scored(frame: pl.DataFrame, *models: str) -> pl.DataFrame:
    return _clean(frame, models).drop_nulls()


def _pooled(rows: pl.DataFrame) -> pl.DataFrame:
    """All rows as one series: a mean over rows, where utilsforecast gives one a series."""
    return rows.with_columns(pl.lit("all").alias("unique_id"))


def _number(result: pl.DataFrame, column: str) -> Score:
    return float(result[column][0]) if result.height and result[column][0] is not None else None


def _mase(rows: pl.DataFrame, train_history: pl.DataFrame, model: str, season: int) -> Score:
    y = pl.col("y").cast(pl.Float64).fill_nan(None)
    train = train_history.select("unique_id", "ds", y).sort("unique_id", "ds")
    scaled = losses.mase(rows, [model], season, train).filter(pl.col(model).is_finite())
    return _number(scaled.select(pl.col(model).mean()), model)


def _skill(test: pl.DataFrame, model: str, naive: str) -> Score:
    rows = _scored(test, model, naive)
    ours, theirs = mae(rows, model), mae(rows, naive)
    return None if ours is None or not theirs else 1 - ours / theirs


def _interval_scores(test: pl.DataFrame, model: str) -> dict[str, Score]:
    low, high = (f"{model}-{side}-{COVERAGE}" for side in ("lo", "hi"))
    names = (f"test_coverage_{COVERAGE}", f"test_width_{COVERAGE}")
    if low not in test.columns:
        return dict.fromkeys(names)
    rows = _pooled(_scored(test, model, low, high))
    covered = _number(losses.coverage(rows, [model], COVERAGE), model)
    return dict(zip(names, (covered, _number(rows.select((pl.col(high) - pl.col(low)).mean()), high)), strict=True))


def _crps(rows: pl.DataFrame, model: str, calibration: pl.DataFrame) -> Score:
    quantiles = _pooled(rows).join(calibration, on="step", how="inner")
    pinball = []
    for level in LEVELS:
        forecast = quantiles.with_columns((pl.col(model) + pl.col(quantile_column(level))).alias("at"))
        pinball.append(_number(losses.quantile_loss(forecast, {model: "at"}, level), model))
    known = [value for value in pinball if value is not None]
    return 2 * sum(known) / len(known) if known else None
