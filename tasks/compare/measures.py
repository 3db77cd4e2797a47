"""The measure of a run (`evaluation.choose_by`): one error by which models are ranked, tested and judged.

Frames are wide forecast frames: unique_id, ds, cutoff, step, y and a column a model.  Whatever compares models does so on the
rows that all of them forecast and that have an actual.  Every measure is the mean of a share of each row:

mae, mae_scaled, mse_scaled    |e|, |e| / d, (e / d)^2                  d: standard deviation of the series' training rows
mase                           |e| / q, series weighing alike           q: error of the seasonal naive in the training rows
rmsse                          the root of the mean of (e / q2)^2 of each series, series weighing alike
owa                            (sMAPE / sMAPE of Naive2 + MASE / MASE of Naive2) / 2, Naive2 on the same rows

MASE and its like: Hyndman & Koehler 2006 (IJF 22); OWA: Makridakis et al. 2020, "The M4 Competition" (IJF 36).
Columns of ours that stand beside those of models begin with an underscore, which no model's name does.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import polars as pl

from models.serving import seasonal
from params.evaluation import EvaluationParams, Measure
from tasks.compare import significance
from tasks.compare.board import Difference, Score
from tasks.lags.past import Past

NAIVE2 = "naive2"  # the baseline that an OWA divides by
AT_A_TIME = 1024  # series whose errors at every origin are in memory together
UNITS = {"mase": "mae", "owa": "mae", "rmsse": "mse", "mae_scaled": "deviation", "mse_scaled": "deviation"}


@dataclass(frozen=True)
class Scale:
    """What a run measures errors `by`, and what those of each series are divided by.

    `series`: unique_id; mae, mse: of the seasonal naive of `season` in the training rows; deviation: the population standard
    deviation of these; size: the mean of |y| in them.  A series without one (null or 0) does not count where it is needed.
    """

    by: Measure
    season: int
    series: pl.DataFrame

    @property
    def besides(self) -> tuple[str, ...]:
        """The columns that a frame needs besides those of the models."""
        return (NAIVE2,) if self.by == "owa" else ()


@dataclass(frozen=True)
class Measured:
    """The score of each model on the `rows` that all of them forecast; None where there is none, or nothing to divide by."""

    rows: int
    scores: Mapping[str, Score]

    def skill(self, model: str, other: str) -> Score:
        """1 - score / score of the other."""
        ours, theirs = self.scores[model], self.scores[other]
        return None if ours is None or not theirs else 1 - ours / theirs

    @classmethod
    def mean(cls, folds: Sequence["Measured"]) -> "Measured":
        """The mean over folds, of those in which every model has a score, and all of their rows."""
        known = [one for one in folds if None not in one.scores.values()]
        if len(folds) == 1 or not known:
            return folds[0]
        means = {model: fmean(one.scores[model] or 0.0 for one in known) for model in folds[0].scores}
        return cls(sum(one.rows for one in known), means)


def scale_of(evaluation: EvaluationParams, training: Iterable[Past]) -> Scale:
    """The scale of a run, by the training rows of all series."""
    return Scale(evaluation.choose_by, evaluation.season, pl.concat(units(past, evaluation.season) for past in training))


def measured(frame: pl.DataFrame, models: Sequence[str], scale: Scale) -> Measured:
    """The scores of some models on the rows that all of them forecast (and Naive2, for an OWA)."""
    models = list(dict.fromkeys(models))
    found = measured_by(frame, models, scale)
    if found.is_empty():
        return Measured(0, dict.fromkeys(models))
    row = found.row(0, named=True)
    return Measured(int(row["_rows"]), {model: row[model] for model in models})


def measured_by(frame: pl.DataFrame, models: Sequence[str], scale: Scale, slices: pl.Expr | None = None) -> pl.DataFrame:
    """The same of every slice by itself: `_slice`, `_rows`, and the score of each model, null where there is none.

    `slices`: an expression over the frame that says which slice a row is of; None: all rows are one.
    """
    models = list(dict.fromkeys(models))
    shares = _shares(_sums(frame, models, scale, ("unique_id",), slices), models, scale)
    scores = (pl.col(model).sum() / pl.col("_n").sum() for model in models)
    found = shares.group_by("_slice").agg(pl.col("_n").sum().cast(pl.Int64).alias("_rows"), *scores).sort("_slice")
    return found.with_columns(pl.when(pl.col(model).is_finite()).then(pl.col(model)) for model in models)


def score(frame: pl.DataFrame, model: str, scale: Scale) -> Score:
    """The error of a model in the measure; None where there is none."""
    return measured(frame, [model], scale).scores[model]


def skill(frame: pl.DataFrame, model: str, other: str, scale: Scale) -> Score:
    """1 - score / score of `other`, on the rows that both forecast; None where the latter is 0 or nothing is there."""
    return measured(frame, [model, other], scale).skill(model, other)


def losses(frame: pl.DataFrame, models: Sequence[str], scale: Scale) -> pl.DataFrame:
    """unique_id, cutoff, step, and for each model the share that a row has in its score: the mean of the column is the score.

    Rows are those that all of the models forecast, of series that have what their errors are divided by.
    """
    models = list(dict.fromkeys(models))
    shares = _shares(_sums(frame, models, scale, ("unique_id", "cutoff", "step")), models, scale)
    return shares.select("unique_id", "cutoff", "step", *models)


def compared(frame: pl.DataFrame, models: Sequence[str], others: Sequence[str], scale: Scale) -> Difference | None:
    """How much larger the score of `models` (the fits of one variant, whose mean counts) is than that of `others`.

    On the rows that all of them forecast; None where there is none, or nothing to divide by.
    """
    both = list(dict.fromkeys((*models, *others)))
    sums = _sums(frame, both, scale, ("cutoff", "unique_id"))
    means = [pl.mean_horizontal(*dict.fromkeys(names)).alias(name) for names, name in ((models, "_ours"), (others, "_theirs"))]
    shares = _shares(sums, both, scale).with_columns(means)
    if shares.is_empty() or shares.select(pl.col("_ours", "_theirs").is_finite().all()).row(0) != (True, True):
        return None
    if scale.by != "rmsse":
        return significance.judged(shares)
    squares = {place: (sums[f"_square{place}"] / sums["_scale"]).to_numpy() for place in range(len(both))}
    sides = [[squares[both.index(name)] for name in dict.fromkeys(names)] for names in (models, others)]
    rows, (origin, series) = sums["_n"].to_numpy(), (sums[key].rank("dense").to_numpy() for key in ("cutoff", "unique_id"))
    at = (origin.astype(np.int64) - 1, series.astype(np.int64) - 1)
    return significance.judged(shares, lambda draws: (_roots(draws, at, rows, sides[0]), _roots(draws, at, rows, sides[1])))


def _roots(draws: np.ndarray, at: tuple[np.ndarray, np.ndarray], rows: np.ndarray, squares: Sequence[np.ndarray]) -> np.ndarray:
    """[draws] the RMSSE of some models, a mean, where each origin counts as often as it was drawn: [draws, origins].

    `at`: the origin and the series of each sum; `rows`, `squares`: how many errors, and the sum of their scaled squares for
    each model.
    """
    origin, series = at
    count, total, known = int(series.max()) + 1, np.zeros(len(draws)), np.zeros(len(draws))
    for first in range(0, count, AT_A_TIME):
        some = np.flatnonzero((series >= first) & (series < first + AT_A_TIME))
        shape, cells = (draws.shape[1], min(AT_A_TIME, count - first)), (origin[some], series[some] - first)
        drawn = draws @ _table(rows[some], cells, shape)
        for one in squares:
            total += np.sqrt(draws @ _table(one[some], cells, shape) / np.maximum(drawn, 1)).sum(axis=1) / len(squares)
        known += (drawn > 0).sum(axis=1)
    return total / known


def _table(values: np.ndarray, at: tuple[np.ndarray, np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    found = np.zeros(shape)
    found[at] = values
    return found


def units(training: Past, season: int) -> pl.DataFrame:
    """The columns of `Scale.series` for some series that have training rows; null where one has none.

    mae, mse: the errors of the seasonal naive (`seasonal`) over all observed rows, which MASE and RMSSE divide by.  An error in
    standard units is the same whatever mean was taken off both sides, so only the deviation is needed; a constant has none.
    """
    y, starts, there = training.y, training.starts, training.counts > 0
    errors = np.abs(y - seasonal(y, np.arange(len(y)) - season, starts, season))
    apart = y - np.repeat(_first(training), training.counts)  # of a constant exactly 0, however its mean is rounded
    deviation = np.sqrt(training.means((apart - np.repeat(training.means(apart), training.counts)) ** 2))
    found = {
        "mae": training.means(errors),
        "mse": training.means(errors**2),
        "deviation": np.where(deviation > 0, deviation, np.nan),
        "size": training.means(np.abs(y)),
    }
    ids = pl.Series("unique_id", training.ids, pl.String)
    return pl.DataFrame([ids, *(pl.Series(name, one).fill_nan(None) for name, one in found.items())]).filter(there)


def _first(past: Past) -> np.ndarray:
    """[S] the first observed value of each series; NaN where there is none."""
    observed = np.append(np.flatnonzero(~np.isnan(past.y)), len(past.y))
    first = observed[np.searchsorted(observed[:-1], past.offsets[:-1])]
    return np.where(first < past.offsets[1:], np.append(past.y, np.nan)[first], np.nan)


def _sums(
    frame: pl.DataFrame, models: Sequence[str], scale: Scale, keys: Sequence[str], slices: pl.Expr | None = None
) -> pl.DataFrame:
    """The keys, in order; `_slice`; `_n` rows; `_last` ds where the cutoff is a key; `_scale` of the series; and for the place
    of each model (Naive2 last, for an OWA) `_abs0`, `_square0`, `_smape0`: sums of its errors, as far as they are needed."""
    columns = [*models, *scale.besides]
    numbers = pl.col("y", *dict.fromkeys(columns)).cast(pl.Float64).fill_nan(None)
    there = [name for name in ("unique_id", "cutoff", "step", "ds") if name in frame.columns]
    of_slice = [] if slices is None else [slices.alias("_slice")]
    rows = frame.select(*there, *of_slice, numbers).drop_nulls(["y", *columns])
    sums = [expr for number, name in enumerate(columns) for expr in _errors(name, number, scale.by)]
    last = [pl.col("ds").max().alias("_last")] if "cutoff" in keys and "ds" in there else []
    keys = [*(["_slice"] if of_slice else []), *keys]
    found = rows.group_by(keys).agg(pl.len().cast(pl.Float64).alias("_n"), *last, *sums).sort(keys)
    if not of_slice:
        found = found.with_columns(_slice=pl.lit(0))
    if scale.by not in UNITS:
        return found
    unit = scale.series.select("unique_id", pl.when(pl.col(UNITS[scale.by]) > 0).then(UNITS[scale.by]).alias("_scale"))
    found = found.join(unit, on="unique_id", how="left", maintain_order="left")
    return found if scale.by == "owa" else found.drop_nulls("_scale")


def _errors(name: str, number: int, by: Measure) -> list[pl.Expr]:
    """The sums of a model's errors that a measure is made of."""
    error, size = (pl.col(name) - pl.col("y")).abs(), pl.col(name).abs() + pl.col("y").abs()
    if by in ("rmsse", "mse_scaled"):
        return [(error**2).sum().alias(f"_square{number}")]
    found = [error.sum().alias(f"_abs{number}")]
    if by == "owa":
        found.append(pl.when(size > 0).then(200 * error / size).otherwise(0.0).sum().alias(f"_smape{number}"))
    return found


def _shares(sums: pl.DataFrame, models: Sequence[str], scale: Scale) -> pl.DataFrame:
    """`_sums` with a column a model: what its rows have together in the score of their slice, so that the sum over the slice
    is score times rows; and `_weight`: the rows, where series weigh alike each as much as its series gives it."""
    n, unit = pl.col("_n"), pl.col("_scale")
    if scale.by == "mae":
        return sums.with_columns(n.alias("_weight"), *(pl.col(f"_abs{k}").alias(name) for k, name in enumerate(models)))
    if scale.by in ("mae_scaled", "mse_scaled"):
        kind, power = ("_abs", 1) if scale.by == "mae_scaled" else ("_square", 2)
        shares = ((pl.col(f"{kind}{k}") / unit**power).alias(name) for k, name in enumerate(models))
        return sums.with_columns(n.alias("_weight"), *shares)
    sums = sums.with_columns(_alike=_alike())
    alike = pl.col("_alike")
    if scale.by == "mase":
        shares = ((alike * pl.col(f"_abs{k}") / unit).alias(name) for k, name in enumerate(models))
        return sums.with_columns((alike * n).alias("_weight"), *shares)
    if scale.by == "rmsse":
        roots = sums.with_columns(
            (pl.col(f"_square{k}").sum().over("_slice", "unique_id") / unit / n.sum().over("_slice", "unique_id"))
            .sqrt()
            .alias(f"_root{k}")
            for k in range(len(models))
        )
        shares = (_share_of_root(k).alias(name) for k, name in enumerate(models))
        return roots.with_columns((alike * n).alias("_weight"), *shares)
    base = len(models)
    smape = pl.col(f"_smape{base}").sum().over("_slice") / n.sum().over("_slice")
    mase = (alike * pl.col(f"_abs{base}") / unit).sum().over("_slice") / n.sum().over("_slice")
    shares = (
        ((pl.col(f"_smape{k}") / smape + (alike * pl.col(f"_abs{k}") / unit).fill_null(0.0) / mase) / 2).alias(name)
        for k, name in enumerate(models)
    )
    return sums.with_columns((n * (1 + alike) / 2).alias("_weight"), *shares)


def _alike() -> pl.Expr:
    """How much a row of a series counts so that series weigh alike: on the average over all rows 1, none without a scale."""
    known = pl.col("_scale").is_not_null()
    series = pl.col("unique_id").filter(known).n_unique().over("_slice")
    alike = pl.col("_n").sum().over("_slice") / (series * pl.col("_n").sum().over("_slice", "unique_id"))
    return pl.when(known).then(alike).otherwise(0.0)


def _share_of_root(number: int) -> pl.Expr:
    """The part of rows in the root of their series' mean square, by its derivative: r / 2 + square / (2 r), whose mean is r."""
    root, square = pl.col(f"_root{number}"), pl.col(f"_square{number}") / pl.col("_scale")
    share = pl.when(root > 0).then((pl.col("_n") * root + square / root) / 2).otherwise(0.0)
    return pl.col("_alike") * share
