"""Scores of forecasts in original units, through utilsforecast; never fills a missing actual or forecast.

Frames are wide forecast frames: unique_id, ds, cutoff, step, y and a column a model.  A row counts for a model where it has
both an actual and a forecast.  utilsforecast groups by cutoff wherever it sees that column, so none is handed to it.
Columns of ours that stand beside those of models begin with an underscore, which no model's name does.
"""

from collections.abc import Sequence

import polars as pl
from utilsforecast import losses

from tasks.compare import distribution, measures
from tasks.compare.board import Score
from tasks.compare.measures import Scale

SQUARE_AND_ABSOLUTE = {"mae": losses.mae, "mse": losses.mse}
SLICES = {"hour": pl.col("ds").dt.hour(), "weekday": pl.col("ds").dt.weekday()}  # UTC; Monday is 1


def mae(frame: pl.DataFrame, model: str) -> Score:
    """The mean of |y - forecast| over all rows with both; None where there is none."""
    return _number(losses.mae(_pooled(_scored(frame, model)), [model]), model)


def errors(frame: pl.DataFrame, model: str, scale: Scale, scaled: bool) -> dict[str, Score]:
    """`mae`, `smape`, `mase`, `rmsse` on all rows with both; `owa` where the run chooses by it (on those that Naive2 forecasts
    too), and where asked for `mae_scaled` and `mse_scaled`, in units of the deviation of each series."""
    rows = _scored(frame, model)
    pooled = _pooled(rows)
    found = {"mae": _number(losses.mae(pooled, [model]), model), "smape": _percent(losses.smape(pooled, [model]), model)}
    found["mase"] = _scaled(losses.mae(rows, [model]), model, scale.series, "mae")
    found["rmsse"] = _scaled(losses.mse(rows, [model]), model, scale.series, "mse")
    if scale.by == "owa":
        found["owa"] = measures.score(frame, model, scale)
    if not scaled:
        return found
    units = rows.join(scale.series.select("unique_id", _unit="deviation"), on="unique_id", how="left")
    pooled = _pooled(units.with_columns(pl.col("y", model) / pl.col("_unit")).drop_nulls())
    return found | {f"{name}_scaled": _number(loss(pooled, [model]), model) for name, loss in SQUARE_AND_ABSOLUTE.items()}


def score(test: pl.DataFrame, model: str, scale: Scale, scaled: bool) -> dict[str, Score]:
    """The `test_*` scores of one model on all rows with both; None where there is nothing to score.

    sMAPE is in percent, 0 to 200; bias is forecast minus actual; MASE and RMSSE are means over series, without those whose
    scale is 0.  Those of its distribution need the columns of `distribution.score_rows`, and `_fifth`.
    """
    all_rows = _pooled(_scored(test, model))
    return {
        **{f"test_{name}": value for name, value in errors(test, model, scale, scaled).items()},
        "test_rmse": _number(losses.rmse(all_rows, [model]), model),
        "test_bias": _number(losses.bias(all_rows, [model]), model),
        **{f"test_{name}": value for name, value in distribution.overall(test).items()},
    }


def slices(frame: pl.DataFrame) -> list[str]:
    """What a frame is scored by besides all of it: series, fifth of series by size (where these are ten and more), step, and
    the hour and weekday where it has several."""
    grouped = "_fifth" in frame.columns and frame.select((pl.col("_fifth") != pl.col("unique_id")).any()).item()
    found = ["series", *(["fifth"] if grouped else []), "step"]
    if not frame.schema["ds"].is_temporal():
        return found
    several = frame.select(place.n_unique().alias(name) for name, place in SLICES.items()).row(0, named=True)
    return [*found, *(name for name, count in several.items() if count > 1)]


def breakdown(test: pl.DataFrame, model: str, bar: str, scale: Scale, by: str) -> pl.DataFrame:
    """One row a slice: model, by, value (text), n (rows), mae, rmse, mase, rmsse, smape, bias as in `score`, skill, and the
    scores of `distribution.means`.

    Within a slice MASE and RMSSE are means over its rows, each error divided by its series' scale.  `skill`: against the bar,
    in the measure of the run, as if the slice were all.  `mae_corrected` of an hour or weekday: what is left of its MAE when
    that of its steps is taken out (`_corrected`).
    """
    place = {"series": pl.col("unique_id"), "fifth": pl.col("_fifth"), "step": pl.col("step"), **SLICES}[by]
    number = pl.col("y", model).cast(pl.Float64).fill_nan(None)
    rows = test.select("unique_id", place.alias("_value"), "step", number).drop_nulls(["_value", "y", model])
    unit, square = pl.col("_mae"), pl.col("_mse").sqrt()
    scaled = rows.join(scale.series.select("unique_id", _mae="mae", _mse="mse"), on="unique_id", how="left").filter(unit > 0)
    found = rows.group_by("_value").agg(pl.len().alias("n")).sort("_value")
    for name, loss in {
        "mae": losses.mae(rows, [model], id_col="_value"),
        "rmse": losses.rmse(rows, [model], id_col="_value"),
        "mase": losses.mae(scaled.with_columns(pl.col("y", model) / unit), [model], id_col="_value"),
        "rmsse": losses.rmse(scaled.with_columns(pl.col("y", model) / square), [model], id_col="_value"),
        "smape": losses.smape(rows, [model], id_col="_value").with_columns(pl.col(model) * 200),
        "bias": losses.bias(rows, [model], id_col="_value"),
        "skill": _skills(test, model, bar, scale, place),
        "mae_corrected": _corrected(rows, model, by),
    }.items():
        found = found.join(loss.select("_value", pl.col(model).alias(name)), on="_value", how="left", maintain_order="left")
    found = found.join(distribution.means(test, place), on="_value", how="left", maintain_order="left")
    return found.select(
        pl.lit(model).alias("model"),
        pl.lit(by).alias("by"),
        pl.col("_value").cast(pl.String).alias("value"),
        pl.exclude("_value"),
    )


def _skills(test: pl.DataFrame, model: str, bar: str, scale: Scale, place: pl.Expr) -> pl.DataFrame:
    """_value, model: the skill of each slice."""
    found = measures.measured_by(test, [model, bar], scale, place).rename({"_slice": "_value"})
    return found.with_columns(pl.when(pl.col(bar) > 0).then(1 - pl.col(model) / pl.col(bar)).alias(model))


def _corrected(rows: pl.DataFrame, model: str, by: str) -> pl.DataFrame:
    """_value, model: the MAE of a slice less the mean, over its rows, of the MAE of their step, plus the MAE of all rows.

    With origins every six hours an hour is reached by every sixth step alone, and its MAE says how far ahead those are: a saw.
    Where origins are at every hour it is the plain MAE.  Null where a step reaches one slice alone, so that the two cannot be
    told apart, and for slices that are no part of the calendar.
    """
    error = (pl.col("y") - pl.col(model)).abs()
    alone = by not in SLICES or rows.group_by("step").agg(pl.col("_value").n_unique())["_value"].min() == 1
    left = error - error.mean().over("step") + error.mean()
    found = rows.with_columns(left.alias(model)).group_by("_value").agg(pl.col(model).mean())
    return found.with_columns(pl.lit(None, pl.Float64).alias(model)) if alone else found


def wide(table: pl.DataFrame, by: str, metric: str = "mae") -> pl.DataFrame:
    """Of a `breakdown` of several models: `_value` and a column a model; the numbers of steps, hours and weekdays in order."""
    rows = table.filter(pl.col("by") == by).rename({"value": "_value"}).pivot("model", index="_value", values=metric)
    return (
        rows.sort("_value") if by in ("series", "fifth") else rows.with_columns(pl.col("_value").cast(pl.Int64)).sort("_value")
    )


def skill(test: pl.DataFrame, model: str, naive: str) -> Score:
    """1 - MAE / MAE of `naive`, on the rows that have both."""
    return measures.skill(test, model, naive, Scale("mae", 1, pl.DataFrame()))


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


def _percent(result: pl.DataFrame, column: str) -> Score:
    """sMAPE in percent, 0 to 200: utilsforecast gives |e| / (|y| + |forecast|), 0 to 1."""
    share = _number(result, column)
    return None if share is None else 200 * share


def _scaled(errors: pl.DataFrame, model: str, scale: pl.DataFrame, by: str) -> Score:
    """The mean over series of their error / scale; of the root of it where they are squares."""
    ratio = pl.col(model) / pl.col("_scale")
    ratio = ratio.sqrt() if by == "mse" else ratio
    found = errors.join(scale.select("unique_id", _scale=by), on="unique_id", how="left").filter(pl.col("_scale") > 0)
    found = found.sort("unique_id")  # a mean over another order of series may have another last digit
    return _number(found.select(ratio.mean().alias(model)), model)
