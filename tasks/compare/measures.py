"""The measure of a run (`evaluation.choose_by`): the error by which models are ranked, tested and promoted.

Frames are wide forecast frames: unique_id, ds, cutoff, step, y and a column per model; they come in blocks of
whole series, and results are over all blocks.  Models are always compared on the rows that all of them
forecast and that have an actual.  Every measure is the mean of a share of each row:

mae, mae_scaled, mse_scaled    |e|, |e| / d, (e / d)^2                  d: standard deviation of the series'
training rows
mase                           |e| / q, series weighing alike           q: error of the seasonal naive in the training rows
rmsse                          the root of the mean of (e / q2)^2 of each series, series weighing alike
owa                            (sMAPE / sMAPE of Naive2 + MASE / MASE of Naive2) / 2, Naive2 on the same rows

MASE and its like: Hyndman & Koehler 2006 (IJF 22); OWA: Makridakis et al. 2020, "The M4 Competition" (IJF
36). Where series weigh alike, a row counts 1 / (rows of its series), times (all rows) / (series): the first
factor is known within a block, the second at the end.  So a row's share is p times its `_plain` part plus q
times its `_even` part, and only p and q need all blocks.  Our own columns start with an underscore, which no
model's name does.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

import numpy as np
import polars as pl
import polars.selectors as cs

from models.serving import seasonal
from params.evaluation import EvaluationParams, Measure
from tasks.compare.board import Score
from tasks.compare.sums import merged, summed
from tasks.lags.past import Past

NAIVE2 = "naive2"  # the baseline that an OWA divides by
EVEN = ("mase", "rmsse", "owa")  # measures that weigh series alike
UNITS = {"mase": "mae", "owa": "mae", "rmsse": "mse", "mae_scaled": "deviation", "mse_scaled": "deviation"}


@dataclass(frozen=True)
class Scale:
    """What a run measures errors `by`, and the divisors of each series.

    `series`: unique_id; mae, mse: of the seasonal naive of `season` in the training rows; deviation: their
    population standard deviation; size: their mean |y|.  A series without one (null or 0) does not count
    where it is needed.
    """

    by: Measure
    season: int
    series: pl.DataFrame

    @property
    def besides(self) -> tuple[str, ...]:
        """The columns a frame needs besides those of the models."""
        return (NAIVE2,) if self.by == "owa" else ()

    def units(self, names: pl.Series, kind: str) -> np.ndarray:
        """The divisors of some series' errors: `mae`, `mse` or `deviation`; NaN if missing."""
        places, values = self._places, self._values[kind]
        return np.array([values[places[name]] if name in places else np.nan for name in names], np.float64)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.series["unique_id"])}

    @cached_property
    def _values(self) -> dict[str, np.ndarray]:
        kinds = self.series.drop("unique_id").with_columns(pl.all().cast(pl.Float64))
        return {
            name: kinds.select(pl.when(pl.col(name) > 0).then(name)).to_series().fill_null(np.nan).to_numpy()
            for name in kinds.columns
        }


@dataclass(frozen=True)
class Measured:
    """Each model's score on the `rows` that all of them forecast; None without rows or a divisor."""

    rows: int
    scores: Mapping[str, Score]

    def skill(self, model: str, other: str) -> Score:
        """1 - score / score of the other."""
        ours, theirs = self.scores[model], self.scores[other]
        return None if ours is None or not theirs else 1 - ours / theirs

    @classmethod
    def mean(cls, folds: Sequence["Measured"]) -> "Measured":
        """The mean over the folds in which every model has a score, with all their rows."""
        known = [fold for fold in folds if None not in fold.scores.values()]
        if len(folds) == 1 or not known:
            return folds[0]
        means = {model: fmean(fold.scores[model] or 0.0 for fold in known) for model in folds[0].scores}
        return cls(sum(fold.rows for fold in known), means)


def scale_of(evaluation: EvaluationParams, training: Iterable[Past]) -> Scale:
    """The scale of a run, from the training rows of all series."""
    return Scale(evaluation.choose_by, evaluation.season, pl.concat(units(past, evaluation.season) for past in training))


def measured(blocks: Iterable[pl.DataFrame], models: Sequence[str], scale: Scale) -> Measured:
    """The scores of some models on the rows that all of them (and Naive2, for an OWA) forecast."""
    models = list(dict.fromkeys(models))
    return measured_from([sums_of(block, models, scale) for block in blocks], models, scale)


def measured_from(sums: Sequence[pl.DataFrame], models: Sequence[str], scale: Scale) -> Measured:
    """The same from the `sums_of` blocks without slices."""
    scores = scores_from(sums, models, scale)
    if scores.is_empty():
        return Measured(0, dict.fromkeys(models))
    row = scores.row(0, named=True)
    return Measured(int(row["_rows"]), {model: row[model] for model in models})


def measured_by(
    blocks: Iterable[pl.DataFrame], models: Sequence[str], scale: Scale, slices: pl.Expr | None = None
) -> pl.DataFrame:
    """The same per slice: `_slice`, `_rows`, and each model's score, null if there is none.

    `slices`: an expression over a block for a row's slice; None: all rows are one.
    """
    return scores_from([sums_of(block, models, scale, slices) for block in blocks], models, scale)


def sums_of(block: pl.DataFrame, models: Sequence[str], scale: Scale, slices: pl.Expr | None = None) -> pl.DataFrame:
    """The additive sums behind the scores of some models in one block: `_slice` and its sums."""
    models = list(dict.fromkeys(models))
    if scale.by == "mae":  # without units per series
        rows, errors = _rows(block, models, scale, (), slices)
        plain = {f"_plain{k}": errors[f"_abs{k}"] for k in range(len(models))}
        return summed(rows.select("_slice"), {"_n": errors["_n"], "_one": np.zeros(rows.height), **plain})
    return merged([shares_of(block, models, scale, (), slices).drop("unique_id")], ["_slice"])


def scores_from(sums: Sequence[pl.DataFrame], models: Sequence[str], scale: Scale) -> pl.DataFrame:
    """`measured_by` from the `sums_of` all blocks."""
    models = list(dict.fromkeys(models))
    whole = merged(sums, ["_slice"])
    factors = Factors.of(whole, scale.by, len(models))
    scores = [pl.Series(name, factors.share(whole, k) / factors.rows, pl.Float64) for k, name in enumerate(models)]
    by_slice = whole.select("_slice", pl.col("_n").cast(pl.Int64).alias("_rows")).hstack(scores)
    return by_slice.with_columns(pl.when(pl.col(model).is_finite()).then(pl.col(model)) for model in models)


def score(blocks: Iterable[pl.DataFrame], model: str, scale: Scale) -> Score:
    """A model's error in the measure; None if there is none."""
    return measured(blocks, [model], scale).scores[model]


def skill(blocks: Iterable[pl.DataFrame], model: str, other: str, scale: Scale) -> Score:
    """1 - score / score of `other`, on the rows both forecast; None if the latter is 0 or without rows."""
    return measured(blocks, [model, other], scale).skill(model, other)


def shares_by(blocks: Iterable[pl.DataFrame], models: Sequence[str], scale: Scale, keys: Sequence[str]) -> pl.DataFrame:
    """The keys, `_n` rows, and per model their total share in its score; these add up to score times rows.

    Rows that all models forecast, in series that have a divisor.  `keys`: columns of a block, with or without
    unique_id.
    """
    models = list(dict.fromkeys(models))
    row_keys = [name for name in keys if name != "unique_id"]
    sums = cs.starts_with("_n", "_one", "_plain", "_even")
    totals = merged(
        [shares_of(block, models, scale, row_keys).select(*keys, sums - cs.by_name(*keys)) for block in blocks], keys
    )
    whole = merged([totals.select(pl.lit(0).alias("_slice"), pl.exclude(keys))], ["_slice"])
    factors = Factors.of(whole, scale.by, len(models))
    shares = [pl.Series(name, factors.share(totals, k), pl.Float64) for k, name in enumerate(models)]
    return totals.select(*keys, "_n").hstack(shares)


def units(training: Past, season: int) -> pl.DataFrame:
    """The columns of `Scale.series` for some series with training rows; null where unknown.

    mae, mse: errors of the seasonal naive (`seasonal`) over all observed rows, the divisors of MASE and
    RMSSE.  Standardised errors do not depend on the mean, so only the deviation is needed; a constant has
    none.
    """
    y, starts, there = training.y, training.starts, training.counts > 0
    errors = np.abs(y - seasonal(y, np.arange(len(y)) - season, starts, season))
    apart = y - np.repeat(_first(training), training.counts)  # exactly 0 for a constant, however its mean is rounded
    deviation = np.sqrt(training.means((apart - np.repeat(training.means(apart), training.counts)) ** 2))
    columns = {
        "mae": training.means(errors),
        "mse": training.means(errors**2),
        "deviation": np.where(deviation > 0, deviation, np.nan),
        "size": training.means(np.abs(y)),
    }
    ids = pl.Series("unique_id", training.ids, pl.String)
    return pl.DataFrame([ids, *(pl.Series(name, values).fill_nan(None) for name, values in columns.items())]).filter(there)


def _first(past: Past) -> np.ndarray:
    """[S] each series' first observed value; NaN if there is none."""
    observed = np.append(np.flatnonzero(~np.isnan(past.y)), len(past.y))
    first = observed[np.searchsorted(observed[:-1], past.offsets[:-1])]
    return np.where(first < past.offsets[1:], np.append(past.y, np.nan)[first], np.nan)


def errors_of(
    block: pl.DataFrame, models: Sequence[str], scale: Scale, keys: Sequence[str], slices: pl.Expr | None = None
) -> pl.DataFrame:
    """`_slice`, unique_id and the keys, in order; `_n` rows; the series' `_scale`; each model's error sums.

    By the model's position (Naive2 last, for an OWA): `_abs0`, `_square0`, `_smape0`, as far as needed."""
    rows, errors = _rows(block, models, scale, keys, slices)
    sums = summed(rows.select("_slice", "unique_id", *keys), errors)
    if scale.by not in UNITS:
        return sums
    runs = sums["unique_id"].rle().struct.unnest()
    units = scale.units(runs["value"], UNITS[scale.by]).repeat(runs["len"].to_numpy())
    sums = sums.with_columns(pl.Series("_scale", units))
    return sums if scale.by == "owa" else sums.filter(pl.col("_scale").is_not_nan())


def _rows(
    block: pl.DataFrame, models: Sequence[str], scale: Scale, keys: Sequence[str], slices: pl.Expr | None
) -> tuple[pl.DataFrame, dict[str, np.ndarray]]:
    """The rows that all models forecast, with `_slice`, unique_id and the keys; and what `errors_of` sums."""
    columns = [*models, *scale.besides]
    numbers = pl.col("y", *dict.fromkeys(columns)).cast(pl.Float64).fill_nan(None)
    of_slice = (pl.lit(0) if slices is None else slices).alias("_slice")
    rows = block.select("unique_id", *keys, of_slice, numbers).drop_nulls(["y", *columns])
    y = rows["y"].to_numpy()
    errors = {name: sums for k, model in enumerate(columns) for name, sums in _errors(y, rows[model].to_numpy(), k, scale.by)}
    return rows, {"_n": np.ones(rows.height), **errors}


def _errors(y: np.ndarray, forecast: np.ndarray, number: int, by: Measure) -> Iterator[tuple[str, np.ndarray]]:
    """The per-row error terms of a measure for one model."""
    error = np.abs(forecast - y)
    if by in ("rmsse", "mse_scaled"):
        yield f"_square{number}", error**2
        return
    yield f"_abs{number}", error
    if by == "owa":
        size = np.abs(forecast) + np.abs(y)
        yield f"_smape{number}", 200 * error / np.where(size > 0, size, 1.0)


def shares_of(
    block: pl.DataFrame, models: Sequence[str], scale: Scale, keys: Sequence[str] = (), slices: pl.Expr | None = None
) -> pl.DataFrame:
    """`_slice`, unique_id and the keys, in order; `_n` rows; `_one`; and the shares of each model.

    `_one`: the row's part of its series, 1 over the slice if the series has a divisor.  By the model's
    position: `_plain0`, `_even0`, as far as the measure has them."""
    sums = errors_of(block, models, scale, keys, slices)
    n, places = sums["_n"].to_numpy(), range(len(models) + len(scale.besides))
    columns = {"_n": n, "_one": np.zeros(len(n))}
    if scale.by == "mae":
        columns |= {f"_plain{k}": sums[f"_abs{k}"].to_numpy() for k in places}
        return sums.select("_slice", "unique_id", *keys).with_columns(**_columns(columns))
    unit = sums["_scale"].to_numpy()
    if scale.by in ("mae_scaled", "mse_scaled"):
        kind, power = ("_abs", 1) if scale.by == "mae_scaled" else ("_square", 2)
        columns |= {f"_plain{k}": sums[f"{kind}{k}"].to_numpy() / unit**power for k in places}
        return sums.select("_slice", "unique_id", *keys).with_columns(**_columns(columns))
    whole = _Series(sums)
    rows, there = whole.sum(n), ~np.isnan(unit)
    columns["_one"] = np.where(there, n / rows, 0.0)
    for k in places:
        if scale.by == "rmsse":
            square = sums[f"_square{k}"].to_numpy() / unit
            columns[f"_even{k}"] = _share_of_root(square, n, np.sqrt(whole.sum(square) / rows)) / rows
        else:
            columns[f"_even{k}"] = np.where(there, sums[f"_abs{k}"].to_numpy() / np.where(there, unit, 1.0), 0.0) / rows
        if scale.by == "owa":
            columns[f"_plain{k}"] = sums[f"_smape{k}"].to_numpy()
    return sums.select("_slice", "unique_id", *keys).with_columns(**_columns(columns))


def _columns(arrays: Mapping[str, np.ndarray]) -> dict[str, pl.Series]:
    return {name: pl.Series(values, dtype=pl.Float64) for name, values in arrays.items()}


def _share_of_root(square: np.ndarray, n: np.ndarray, root: np.ndarray) -> np.ndarray:
    """The share of rows in the root of their series' mean square, r / 2 + square / (2 r), with mean r."""
    return np.where(root > 0, (n * root + square / np.where(root > 0, root, 1.0)) / 2, 0.0)


class _Series:
    """The rows of each series in each slice, which are contiguous."""

    def __init__(self, sums: pl.DataFrame) -> None:
        ids = sums.select(pl.struct("_slice", "unique_id").rle_id()).to_series().to_numpy().astype(np.int64)
        self.ids, self.count = ids, int(ids.max(initial=-1)) + 1

    def sum(self, values: np.ndarray) -> np.ndarray:
        """Per row, the sum over its series."""
        return np.asarray(np.bincount(self.ids, values, self.count)[self.ids])


@dataclass(frozen=True)
class Factors:
    """The factors of shares in each slice: `plain`, `even`; its `rows`, and its `series` with a scale."""

    by: Measure
    rows: np.ndarray
    series: np.ndarray
    plain: np.ndarray | float
    even: np.ndarray | float

    @classmethod
    def of(cls, whole: pl.DataFrame, by: Measure, base: int) -> "Factors":
        """`whole`: the sums of every slice; `base`: the position of Naive2 in them, for an OWA."""
        rows, series = whole["_n"].to_numpy(), np.rint(whole["_one"].to_numpy())
        with np.errstate(divide="ignore", invalid="ignore"):
            if by == "owa":
                plain, even = (rows / (2 * whole[f"_{part}{base}"].to_numpy()) for part in ("plain", "even"))
                return cls(by, rows, series, plain, even)
            return cls(by, rows, series, 1.0, rows / series)

    def share(self, sums: pl.DataFrame, place: int) -> np.ndarray:
        """The rows' total share in their slice's score: over the slice it adds up to score times rows."""
        parts = (("_plain", self.plain), ("_even", self.even))
        with np.errstate(invalid="ignore", over="ignore"):
            terms = [sums[f"{n}{place}"].to_numpy() * factor for n, factor in parts if f"{n}{place}" in sums.columns]
            return np.asarray(sum(terms[1:], terms[0]))

    def weight(self, sums: pl.DataFrame) -> np.ndarray:
        """The number of rows; where series weigh alike, weighted so that each series counts equally."""
        n, series_share = sums["_n"].to_numpy(), sums["_one"].to_numpy()
        if self.by not in EVEN:
            return n
        with np.errstate(divide="ignore", invalid="ignore"):
            alike = series_share * (self.rows / self.series)
        return np.asarray((n + alike) / 2 if self.by == "owa" else alike)
