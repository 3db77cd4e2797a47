"""Scores of forecasts in original units; never fills a missing actual or forecast.

Frames are wide forecast frames: unique_id, ds, cutoff, step, y and a column per model; they come in blocks of
whole series.  A row counts for a model if it has both an actual and a forecast.  Everything is a sum over
rows, by series, step, hour and weekday, so memory holds one block.
Our own columns start with an underscore, which no model's name does.
"""

from collections.abc import Iterable, Sequence
from datetime import timedelta

import numpy as np
import polars as pl

from tasks.compare import distribution, measures
from tasks.compare.board import Score
from tasks.compare.measures import Scale
from tasks.compare.sums import merged, summed

SLICES = {"hour": pl.col("ds").dt.hour(), "weekday": pl.col("ds").dt.weekday()}  # UTC; Monday is 1
MONTH = timedelta(days=28)  # the shortest
PLAIN = Scale("mae", 1, pl.DataFrame())


def mae(blocks: Iterable[pl.DataFrame], model: str) -> Score:
    """The mean |y - forecast| over all rows with both; None if there are none."""
    return measures.score(blocks, model, PLAIN)


def skill(blocks: Iterable[pl.DataFrame], model: str, naive: str) -> Score:
    """1 - MAE / MAE of `naive`, on the rows that have both."""
    return measures.skill(blocks, model, naive, PLAIN)


class Errors:
    """The errors of one model: `add` each block, then read `found`."""

    def __init__(self, model: str, scale: Scale, scaled: bool) -> None:
        self.model, self.scale, self.scaled = model, scale, scaled
        self.series: list[pl.DataFrame] = []
        self.measured: list[pl.DataFrame] = []

    def add(self, block: pl.DataFrame) -> None:
        """Adds a block of whole series, or some rows of a series."""
        self.series.append(summed(block.select("unique_id"), _errors(block, self.model)))
        if self.scale.by == "owa":
            self.measured.append(measures.sums_of(block, [self.model], self.scale))

    def found(self) -> dict[str, Score]:
        """`mae`, `smape`, `mase`, `rmsse` on all rows with both.

        `owa` if the run chooses by it (on the rows that Naive2 forecasts too), and on request `mae_scaled`
        and `mse_scaled`, in units of each series' deviation."""
        errors = errors_from(self.by_series(), self.scale, self.scaled)
        if self.scale.by != "owa":
            return errors
        at = list(errors).index("rmsse") + 1
        owa = measures.measured_from(self.measured, [self.model], self.scale).scores[self.model]
        return dict([*list(errors.items())[:at], ("owa", owa), *list(errors.items())[at:]])

    def by_series(self) -> pl.DataFrame:
        """The sums of each series by its `unique_id`."""
        """unique_id, and the sums of each series."""
        return merged(self.series, ["unique_id"])


def errors_from(series: pl.DataFrame, scale: Scale, scaled: bool) -> dict[str, Score]:
    """The same without OWA, from the sums per series."""
    n, size, square, smape = (series[name].to_numpy() for name in ("_n", "_abs", "_square", "_smape"))
    errors = {"mae": _ratio(size.sum(), n.sum()), "smape": _ratio(smape.sum(), n.sum())}
    names = series["unique_id"]
    with np.errstate(invalid="ignore", divide="ignore"):
        errors["mase"] = _mean(size / n / scale.units(names, "mae"))
        errors["rmsse"] = _mean(np.sqrt(square / n / scale.units(names, "mse")))
    if scaled:
        unit = scale.units(names, "deviation")
        some = ~np.isnan(unit) & (n > 0)
        rows = n[some].sum()
        errors["mae_scaled"] = _ratio((size[some] / unit[some]).sum(), rows)
        errors["mse_scaled"] = _ratio((square[some] / unit[some] ** 2).sum(), rows)
    return errors


class Tally(Errors):
    """All test scores of a model, overall and by slice: `add` each block with its `distribution.RowScores`.

    `bar`: the reference of a slice's skill, in the run's measure.  `naive`: another reference.  `groups`:
    unique_id, _fifth.
    """

    def __init__(self, model: str, bar: str, naive: str, scale: Scale, scaled: bool, groups: pl.DataFrame) -> None:
        super().__init__(model, scale, scaled)
        self.bar, self.naive, self.groups = bar, naive, groups
        self.sums: dict[str, list[pl.DataFrame]] = {}
        self.to_bar: dict[str, list[pl.DataFrame]] = {}
        self.cells: dict[str, list[pl.DataFrame]] = {}
        self.to_naive: list[pl.DataFrame] = []

    def add(self, block: pl.DataFrame) -> None:
        """Adds a block of whole series."""
        errors = _errors(block, self.model)
        rows = errors | _scaled(block, errors, self.scale) | distribution.sums_of(block)
        if self.scale.by == "owa":
            self.measured.append(measures.sums_of(block, [self.model], self.scale))
        for by, place in {"series": pl.col("unique_id"), "step": pl.col("step"), **calendar(block)}.items():
            keys = block.select(_value=place)
            self.sums.setdefault(by, []).append(summed(keys, rows))
            self.to_bar.setdefault(by, []).append(measures.sums_of(block, [self.model, self.bar], self.scale, place))
            if by in SLICES:
                both = {name: errors[name] for name in ("_n", "_abs")}
                self.cells.setdefault(by, []).append(summed(block.select("step", _value=place), both))
        self.to_naive.append(measures.sums_of(block, [self.model, self.naive], PLAIN))

    def by_series(self) -> pl.DataFrame:
        """unique_id and the sums per series, including those of the distribution."""
        return merged(self.sums["series"], ["_value"]).rename({"_value": "unique_id"})

    def score(self) -> dict[str, Score]:
        """The `test_*` scores on all rows with both; None if there is nothing to score.

        sMAPE is in percent, 0 to 200; bias is forecast minus actual; MASE and RMSSE are means over series,
        without those whose scale is 0.  `test_score`, `test_rows`, `test_skill`: in the run's measure, on the
        rows that the bar forecasts too.
        """
        series = self.by_series()
        n, square, bias = (series[name].to_numpy().sum() for name in ("_n", "_square", "_bias"))
        root = None if not n else float(np.sqrt(square / n))
        both = [self.model, self.bar]
        common = [part.with_columns(_slice=pl.lit(0)) for part in self.to_bar["series"]]
        measured = measures.measured_from(common, both, self.scale)
        naive = measures.measured_from(self.to_naive, [self.model, self.naive], PLAIN)
        return {
            **{f"test_{name}": value for name, value in self.found().items()},
            "test_rmse": root,
            "test_bias": _ratio(bias, n),
            **{f"test_{name}": value for name, value in distribution.overall(series, self.groups).items()},
            "test_score": measured.scores[self.model],
            "test_rows": measured.rows,
            "test_skill": measured.skill(*both),
            "test_skill_naive": naive.skill(self.model, self.naive),
        }

    def slices(self) -> list[str]:
        """What rows are sliced by: series, size fifth (from ten series on), step; if they vary, hour, weekday."""
        grouped = self.groups.select((pl.col("_fifth") != pl.col("unique_id")).any()).item()
        several = [by for by in SLICES if by in self.sums and merged(self.sums[by], ["_value"]).height > 1]
        return ["series", *(["fifth"] if grouped else []), "step", *several]

    def breakdown(self, by: str) -> pl.DataFrame:
        """One row per slice: model, by, value (text), n (rows), and the scores.

        mae, rmse, mase, rmsse, smape, bias, skill, and the distribution's scores.

        Within a slice MASE and RMSSE are means over its rows, each error divided by its series' scale.
        `skill`: against the bar, in the run's measure, as if the slice were all.  `mae_corrected` of an hour
        or weekday: its MAE without the effect of its steps (`_corrected`).
        """
        sums, to_bar = self.sums["series" if by == "fifth" else by], self.to_bar["series" if by == "fifth" else by]
        if by == "fifth":
            sums = [_regrouped(part, "_value", self.groups) for part in sums]
            to_bar = [_regrouped(part, "_slice", self.groups) for part in to_bar]
        whole = merged(sums, ["_value"]).filter(pl.col("_n") > 0)
        n, scaled = pl.col("_n"), pl.when(pl.col("_scaled") > 0).then("_scaled")
        table = whole.select(
            "_value",
            n.cast(pl.UInt32).alias("n"),
            (pl.col("_abs") / n).alias("mae"),
            (pl.col("_square") / n).sqrt().alias("rmse"),
            (pl.col("_abs_scaled") / scaled).alias("mase"),
            (pl.col("_square_scaled") / scaled).sqrt().alias("rmsse"),
            (pl.col("_smape") / n).alias("smape"),
            (pl.col("_bias") / n).alias("bias"),
        )
        for some in (self._skills(to_bar), self._corrected(by, whole)):
            table = table.join(some, on="_value", how="left", maintain_order="left")
        table = table.hstack(distribution.means_from(whole))
        return table.select(
            pl.lit(self.model).alias("model"),
            pl.lit(by).alias("by"),
            pl.col("_value").cast(pl.String).alias("value"),
            pl.exclude("_value"),
        )

    def _skills(self, sums: Sequence[pl.DataFrame]) -> pl.DataFrame:
        """_value, skill of each slice."""
        by_slice = measures.scores_from(sums, [self.model, self.bar], self.scale)
        share = 1 - pl.col(self.model) / pl.col(self.bar)
        return by_slice.select(pl.col("_slice").alias("_value"), pl.when(pl.col(self.bar) > 0).then(share).alias("skill"))

    def _corrected(self, by: str, whole: pl.DataFrame) -> pl.DataFrame:
        """_value, mae_corrected."""
        if by not in SLICES:
            return whole.select("_value", mae_corrected=pl.lit(None, pl.Float64))
        errors = corrected(merged(self.cells[by], ["step", "_value"]), "_abs")
        return errors.rename({"_corrected": "mae_corrected"})


def calendar(block: pl.DataFrame) -> dict[str, pl.Expr]:
    """The hour and weekday of a row, if its time has them: a month, a quarter or a year has no weekday."""
    if not block.schema["ds"].is_temporal():
        return {}
    apart = block.select(pl.col("ds").diff().filter(pl.col("ds").diff() > timedelta()).min()).item()
    return SLICES if apart is not None and apart < MONTH else {}


def corrected(cells: pl.DataFrame, error: str) -> pl.DataFrame:
    """_value, _corrected: a slice's mean error minus its rows' mean error by step, plus the overall mean.

    `cells`: step, _value, and for the rows of both `_n` and the sum of their `error`.  With origins every six
    hours, an hour is reached by every sixth step alone, so its error mostly shows how far ahead these are.
    With origins at every hour the result is the plain mean.  Null if a step reaches only one slice, so that
    the two cannot be separated.
    """
    cells = cells.filter(pl.col("_n") > 0)
    if cells.is_empty() or cells.group_by("step").agg(pl.len())["len"].min() == 1:
        return cells.select(pl.col("_value").unique().sort(), _corrected=pl.lit(None, pl.Float64))
    steps = merged([cells.drop("_value")], ["step"]).select("step", _usual=pl.col(error) / pl.col("_n"))
    cells = cells.join(steps, on="step", how="left", maintain_order="left")
    all_rows = float(cells[error].to_numpy().sum() / cells["_n"].to_numpy().sum())
    left = cells.select("_value", "_n", _left=pl.col(error) - pl.col("_n") * pl.col("_usual"))
    return merged([left], ["_value"]).select("_value", _corrected=pl.col("_left") / pl.col("_n") + all_rows)


def wide(table: pl.DataFrame, by: str, metric: str = "mae") -> pl.DataFrame:
    """The `breakdown`s of several models as `_value` and a column per model; numbers in numeric order."""
    rows = table.filter(pl.col("by") == by).rename({"value": "_value"}).pivot("model", index="_value", values=metric)
    return (
        rows.sort("_value") if by in ("series", "fifth") else rows.with_columns(pl.col("_value").cast(pl.Int64)).sort("_value")
    )


def _errors(block: pl.DataFrame, model: str) -> dict[str, np.ndarray]:
    """Per row, 0 without an actual or forecast: `_n` 1, the errors, and the sMAPE in percent."""
    y, forecast = (block[name].cast(pl.Float64).fill_null(np.nan).to_numpy() for name in ("y", model))
    known = ~np.isnan(y) & ~np.isnan(forecast)
    y, forecast = np.where(known, y, 0.0), np.where(known, forecast, 0.0)
    error, size = forecast - y, np.abs(y) + np.abs(forecast)
    absolute = np.abs(error)
    smape = 200 * absolute / np.where(size > 0, size, 1.0)
    return {"_n": known.astype(float), "_abs": absolute, "_square": error**2, "_smape": smape, "_bias": error}


def _scaled(block: pl.DataFrame, errors: dict[str, np.ndarray], scale: Scale) -> dict[str, np.ndarray]:
    """The errors in units of their series, where it has one, and the number of such rows."""
    runs = block["unique_id"].rle().struct.unnest()
    mae, mse = (scale.units(runs["value"], kind).repeat(runs["len"].to_numpy()) for kind in ("mae", "mse"))
    there = ~np.isnan(mae)
    return {
        "_scaled": np.where(there, errors["_n"], 0.0),
        "_abs_scaled": np.where(there, errors["_abs"] / mae, 0.0),
        "_square_scaled": np.where(there, errors["_square"] / mse, 0.0),
    }


def _regrouped(sums: pl.DataFrame, key: str, groups: pl.DataFrame) -> pl.DataFrame:
    """Sums per series (`key`) regrouped by the series' group."""
    return distribution.in_groups(sums.rename({key: "unique_id"}), groups).rename({"_fifth": key})


def _ratio(total: float, rows: float) -> Score:
    return float(total / rows) if rows else None


def _mean(values: np.ndarray) -> Score:
    """The mean of the known values."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None
