"""All variants and baselines on the same origins, one score row each.  The test set chooses nothing.

Figures are sums over blocks of the forecast frames on disk, so memory holds one block of one model.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from models.data.origins import origin_rows
from models.data.panel import Data
from models.serving import Calibration
from models.worker import EVALUATED
from params.schema import RunParams
from tasks.calibrate.calibrate import Calibrated, calibrate
from tasks.calibrate.thinned import calibrating
from tasks.calibrate.yardsticks import Yardsticks
from tasks.compare import copycat, folds, scores, seeds, significance
from tasks.compare.bar import Bar, find_bar
from tasks.compare.board import Board, Difference, Score, ScoreRow, Standing
from tasks.compare.differences import Pair, differences
from tasks.compare.distribution import RowScores, Ruler, Shape
from tasks.compare.measures import Scale
from tasks.compare.own import OwnMeasures
from tasks.evaluate import frames
from tasks.evaluate.baselines import Baselines
from tasks.evaluate.bounds import bounds_of
from tasks.evaluate.frames import Forecasts
from tasks.evaluate.importance import Importance
from tasks.evaluate.packed import is_narrow
from tasks.grid.frequency import Frequency
from tasks.train.fits import Fit
from tasks.train.kind import Kind

COPIES = "repeats the last value"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The result of a comparison.

    `rows`: one per fit and baseline, with its scores; `board`: one per variant and baseline, over seeds.
    `test`: the wide forecast frame of the test origins with intervals.  `baseline`: the best baseline, which
    is the bar; `naive`: the best of the three naive ones.  `chosen_fit`: the label of the chosen variant's
    best seed, or the bar if no variant beats it.  `calibrations`: how each model's intervals are made.
    `to_best`, `to_baseline`, `to_naive`: how much larger each model's error is than that of the best variant,
    baseline, naive.  `slices`: the scores by series, size fifth, step, hour and weekday (`scores.breakdown`).
    `shapes`: where the actuals lie in each model's forecast distributions.  `scales`: the scale of each fold,
    oldest first.  `importance`: what drives the chosen fit, or the best if a baseline was chosen
    (`driving.py`).
    """

    rows: Sequence[ScoreRow]
    board: Board
    test: Forecasts
    validation: Forecasts
    baseline: str
    naive: str
    chosen_fit: str
    calibrations: Mapping[str, Calibrated]
    to_best: Mapping[str, Difference]
    to_baseline: Mapping[str, Difference]
    to_naive: Mapping[str, Difference]
    slices: pl.DataFrame
    shapes: Mapping[str, Shape]
    scales: Sequence[Scale]
    importance: Importance | None = None

    @property
    def best(self) -> str | None:
        """The best variant on validation; None if none finished."""
        return self.board.best.name if self.board.best else None

    @property
    def chosen(self) -> str:
        """The best variant if it beats the best baseline, else that baseline."""
        return self.board.chosen.name if self.board.chosen else self.baseline

    @property
    def models(self) -> list[str]:
        """Every model with a column in the forecast frames: fits, then baselines."""
        return [row.name for row in self.rows if row.finished]

    def first_fit(self, name: str) -> str:
        """The label of a variant's first finished fit (its own name, unless its first seed failed)."""
        return next(row.name for row in self.rows if row.variant == name and row.finished)

    @property
    def shown(self) -> str:
        """The model whose forecasts are plotted."""
        return self.chosen_fit

    def errors_by_series(self, model: str) -> pl.DataFrame:
        """unique_id and the test MAE of one model."""
        return scores.wide(self.slices.filter(pl.col("model") == model), "series").rename({"_value": "unique_id"})


@dataclass(frozen=True)
class _Judged:
    """What validation says of every model (`numbers`: `val_mae` ... by name), the bar, and all forecasts."""

    test: Forecasts
    validation: Forecasts
    calibrations: Mapping[str, Calibrated]
    numbers: Mapping[str, Mapping[str, Score]]
    bar: Bar
    scales: Sequence[Scale]
    scaled: bool

    @property
    def scale(self) -> Scale:
        """The last fold's scale, which also measures the test."""
        return self.scales[-1]


def compare(
    run: RunParams,
    data: Data,
    fits: Sequence[Fit],
    baselines: Baselines,
    folder: Path,
    step: Callable[[str], None] = lambda model: None,
) -> Comparison:
    """Scores every fit and baseline of a run; a failed fit is a row with its reason and no numbers.

    Writes the forecast frames to `folder`: forecasts.parquet (test) and validation.parquet.  `step` is called
    with each model before it is scored.
    """
    panel, windows = data.panel, data.windows
    judged = _validated(run, data, fits, baselines, folder)
    bar, naive = judged.bar.name, judged.bar.naive
    origins = origin_rows(panel, windows, data.split, "test", run.evaluation.stride)
    known = {fit.label: _fit_row(fit) for fit in fits}
    ruler = Ruler.of(run, data, origins, judged.scales[-1].series)
    rows, tables, shapes = [], [], {}
    for model in judged.calibrations:
        step(model)
        row = known.get(model) or _baseline_row(model, baselines.notes.get(model), judged.bar.notes.get(model))
        own = OwnMeasures(model, run.metrics)
        tally, shapes[model], grid = _tallied(judged, model, ruler, run.quantile_levels, own)
        probed = origins[copycat.probed(len(origins))]
        row = _scored(row, tally, judged, copycat.probe(panel, probed, grid, windows.gap)).with_numbers(**own.score())
        rows.append(row)
        if row.finished:
            tables += [tally.breakdown(by) for by in tally.slices()]
    rows += [known[fit.label] for fit in fits if not fit.finished]
    board = Board.of(seeds.merged(rows), bar, naive)
    groups = {name: [row for row in some if row.finished] for name, some in seeds.by_variant(rows).items()}
    columns = {name: tuple(row.name for row in some) for name, some in groups.items() if some}
    others = {"best": board.best.name if board.best else "", "naive": naive, "baseline": bar}
    by_other = _differences(judged, columns, others)
    p_values = {name: {f"test_p_{other}": _p(some, name) for other, some in by_other.items()} for name in groups}
    return Comparison(
        rows=[row.with_numbers(**p_values[row.variant]) for row in rows],
        board=Board.of((row.with_numbers(**p_values[row.name]) for row in board.rows), bar, naive),
        test=judged.test,
        validation=judged.validation,
        baseline=bar,
        naive=naive,
        chosen_fit=min(groups[board.chosen.name], key=_score_of).name if board.chosen else bar,
        calibrations=judged.calibrations,
        to_best=by_other["best"],
        to_baseline=by_other["baseline"],
        to_naive=by_other["naive"],
        slices=pl.concat(tables),
        shapes=shapes,
        scales=judged.scales,
    )


def _tallied(
    judged: _Judged, model: str, ruler: Ruler, levels: Sequence[float], own: OwnMeasures
) -> tuple[scores.Tally, Shape, np.ndarray]:
    """A model's test sums and shape over all blocks, and the probed forecasts [origins, horizon]."""
    bar, scale, horizon = judged.bar, judged.scale, judged.test.horizon
    tally = scores.Tally(model, bar.name, bar.naive, scale, judged.scaled, ruler.groups)
    rows = RowScores(judged.calibrations[model].calibration, ruler.bounds, ruler.levels)
    probed, grid, done = copycat.probed(len(ruler.scale)), [np.empty((0, horizon))], 0
    blocks = judged.test.blocks(model, bar.name, bar.naive, *scale.besides)
    for block, outcome in zip(blocks, judged.test.outcomes(model, levels), strict=True):
        some = slice(done, done + block.height // horizon)
        own.add(block)
        tally.add(block.hstack(rows.of(outcome, ruler.scale[some].repeat(horizon))))
        inside = probed[(probed >= some.start) & (probed < some.stop)] - some.start
        grid.append(outcome.point.reshape(-1, horizon)[inside])
        done = some.stop
    return tally, rows.shape(), np.concatenate(grid)


def _scored(row: ScoreRow, tally: scores.Tally, judged: _Judged, look: copycat.Probe) -> ScoreRow:
    """A row with its validation and test scores."""
    val = judged.numbers[row.name]
    if look.copies and row.kind is not Kind.BASELINE:
        row = replace(row, note="; ".join(word for word in (row.note, COPIES) if word), copies=True)
    if val["val_mae"] is None and row.kind is Kind.BASELINE:
        row = replace(row, status=Standing.LEFT_OUT)
    return row.with_numbers(**val, **tally.score(), test_lag=look.lag)


def _p(by_name: Mapping[str, Difference], name: str) -> Score:
    return by_name[name].p_holm if name in by_name else None


def _score_of(row: ScoreRow) -> float:
    return math.inf if row.score is None else row.score


def _differences(
    judged: _Judged, columns: Mapping[str, tuple[str, ...]], others: Mapping[str, str]
) -> dict[str, dict[str, Difference]]:
    """How much larger each variant's and baseline's test error is than that of `others`, by name."""
    pairs = {
        (word, name): Pair(columns[name], columns[other])
        for word, other in others.items()
        for name in columns
        if other in columns and name != other
    }
    once = list(dict.fromkeys(pairs.values()))
    names = dict.fromkeys(name for pair in once for name in pair.both)
    blocks = judged.test.blocks(*names, *judged.scale.besides)
    by_pair = dict(zip(once, differences(blocks, once, judged.scale), strict=True))
    return {
        word: significance.corrected(
            {name: difference for (of, name), pair in pairs.items() if of == word and (difference := by_pair[pair]) is not None}
        )
        for word in others
    }


def _validated(run: RunParams, data: Data, fits: Sequence[Fit], baselines: Baselines, folder: Path) -> _Judged:
    """Writes the frames of both splits; finds the bar, calibrates and ranks every model on validation."""
    horizon = data.windows.horizon
    sources = {
        split: {fit.label: _forecasts_of(fit, split) for fit in fits if fit.finished}
        | {model: baselines.files[split][model] for model in run.evaluation.baselines}
        for split in EVALUATED
    }

    ids, levels = tuple(data.panel.ids), run.quantile_levels

    def written(split: str, file: str, calibrations: Mapping[str, Calibration], narrow: bool = False) -> Forecasts:
        targets, grid = frames.targets_of(data, split, run.evaluation.stride).blocks(), Frequency.of(data.panel.facts)
        asked, bounds = run.evaluation.levels, bounds_of(run.data)
        return frames.write(folder / file, targets, sources[split], horizon, grid, ids, calibrations, asked, bounds, narrow)

    validation = written("validation", "validation.parquet", {})
    scales = folds.scales_of(run.evaluation, data)
    bar = find_bar(validation, run.evaluation.baselines, scales)
    yardsticks, calibrations = Yardsticks.of(run, data), dict[str, Calibrated]()
    numbers: dict[str, dict[str, Score]] = {}
    for model in sources["validation"]:
        calibrated = calibrations[model] = calibrate(
            calibrating(validation, model, levels), yardsticks, run.evaluation.intervals
        )
        numbers[model] = folds.validated(validation, model, bar.name, scales, run.evaluation.scaled)
        numbers[model]["val_interval_score"] = calibrated.scores.get(calibrated.method)
    naive = dict(scales[-1].series.select("unique_id", "mae").drop_nulls().iter_rows())
    narrow = is_narrow(data.panel, naive, bounds_of(run.data))
    test = written(
        "test", "forecasts.parquet", {model: calibrated.calibration for model, calibrated in calibrations.items()}, narrow
    )
    return _Judged(test, validation, calibrations, numbers, bar, scales, run.evaluation.scaled)


def _forecasts_of(fit: Fit, split: str) -> Path:
    path = fit.validation if split == "validation" else fit.test
    assert path is not None  # a finished fit has forecasts
    return path


def _fit_row(fit: Fit) -> ScoreRow:
    result, card = fit.result, fit.evaluated.memory if fit.evaluated else None
    notes = (result.reason, "trained before" if fit.reused else "", card.warning if card else "")
    return ScoreRow(
        name=fit.label,
        kind=Kind.ENSEMBLE if fit.planned.variant.members else Kind.VARIANT,
        variant=fit.variant,
        family=fit.family,
        seed=fit.job.training.seed,
        seeded=fit.planned.seeded,
        status=Standing.FINISHED if fit.finished else Standing.FAILED,
        note="; ".join(note for note in notes if note),
        numbers={
            "train_seconds": result.train_seconds or None,  # 0: it never trained
            "num_parameters": result.num_parameters or None,
            "weights_mb": fit.evaluated.weights_mb if fit.evaluated else None,
            "windows_per_second": result.windows_per_second or None,
            "forecast_ms_per_series": fit.evaluated.forecast_ms_per_series if fit.evaluated else None,
            "receptive_field": card.receptive_field if card else None,
            "memory_half_life": card.half_life if card else None,
        },
    )


def _baseline_row(name: str, *notes: str | None) -> ScoreRow:
    return ScoreRow(name=name, kind=Kind.BASELINE, variant=name, family="baseline", note="; ".join(filter(None, notes)))
