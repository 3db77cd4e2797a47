"""All variants and baselines on the same origins: one forecast frame, a row of scores each.  The test chooses nothing.

Every figure is computed from the forecast frames on disk, one model's columns at a time, so that memory holds one model's.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from models.data.origins import origin_rows
from models.data.panel import Data, Panel, Split
from models.worker import EVALUATED
from params.errors import UserError
from params.schema import RunParams
from tasks.compare import copycat, scores, seeds, significance
from tasks.compare.board import NAIVES, Board, Difference, Score, ScoreRow, Standing, best_naive
from tasks.evaluate import frames, intervals
from tasks.evaluate.baselines import Baselines
from tasks.evaluate.bounds import bounds_of
from tasks.evaluate.frames import Forecasts
from tasks.grid.frequency import Frequency
from tasks.lags.panel import target_frame
from tasks.train.fits import Fit
from tasks.train.kind import Kind

COPIES = "repeats the last value"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What a comparison found.

    `rows`: one a fit and baseline, with its scores; `board`: one a variant and baseline, over its seeds.  `test`: the wide
    forecast frame of the test origins with intervals.  `baseline`: the best of all baselines, the bar; `naive`: the best of the
    three naive ones.  `chosen_fit`: the label of the best seed of the chosen variant, or the bar where no variant beats it.
    `half_widths`: for each model the half width of its 90 % interval a step (None where too few residuals).  `to_best`,
    `to_baseline`, `to_naive`: how much larger each model's error is than that of the best variant, baseline, naive.
    `slices`: the scores by series, step, hour and weekday (`scores.breakdown`).
    """

    rows: Sequence[ScoreRow]
    board: Board
    test: Forecasts
    baseline: str
    naive: str
    chosen_fit: str
    half_widths: Mapping[str, list[float | None]]
    to_best: Mapping[str, Difference]
    to_baseline: Mapping[str, Difference]
    to_naive: Mapping[str, Difference]
    slices: pl.DataFrame

    @property
    def best(self) -> str | None:
        """The variant that stands highest on validation; None where none finished."""
        return self.board.best.name if self.board.best else None

    @property
    def chosen(self) -> str:
        """The same if it beats the best baseline, else that."""
        return self.board.chosen.name if self.board.chosen else self.baseline

    @property
    def models(self) -> list[str]:
        """Every model that has a column in the forecast frames: fits, then baselines."""
        return [row.name for row in self.rows if row.finished]

    def first_fit(self, name: str) -> str:
        """The label of the first finished fit of a variant (its own name, where its first seed did not fail)."""
        return next(row.name for row in self.rows if row.variant == name and row.finished)

    @property
    def shown(self) -> str:
        """The model whose forecasts are drawn."""
        return self.chosen_fit

    def errors_by_series(self, model: str) -> pl.DataFrame:
        """unique_id and the MAE of one model on test."""
        return scores.wide(self.slices.filter(pl.col("model") == model), "series").rename({"_value": "unique_id"})


@dataclass(frozen=True)
class _Judged:
    """What validation says of every model, and its forecasts on test: `errors` by name, `ranked` the one that chooses,
    `naives` the same of the naive ones on the rows that all of them forecast."""

    test: Forecasts
    calibrations: Mapping[str, pl.DataFrame]
    errors: Mapping[str, Mapping[str, Score]]
    ranked: Mapping[str, Score]
    naives: Mapping[str, Score]
    scale: pl.DataFrame
    units: pl.DataFrame | None


def compare(
    run: RunParams,
    data: Data,
    fits: Sequence[Fit],
    baselines: Baselines,
    folder: Path,
    step: Callable[[str], None] = lambda model: None,
) -> Comparison:
    """Scores every fit and every baseline of a run; a failed fit is a row with its reason and no number.

    The forecast frames are written to `folder`: forecasts.parquet (test) and validation.parquet.  `step` is called with each
    model before it is scored.
    """
    panel, windows = data.panel, data.windows
    judged = _validated(run, data, fits, baselines, folder)
    naive = best_naive(judged.naives)
    origins = origin_rows(panel, windows, data.split, "test", run.evaluation.stride)
    known = {fit.label: _fit_row(fit) for fit in fits}
    rows, tables = [], []
    for model in judged.calibrations:
        step(model)
        row = known.get(model) or _baseline_row(model, baselines.notes.get(model, ""))
        frame = judged.test.read(model, naive, *(f"{model}-{side}-{intervals.COVERAGE}" for side in ("lo", "hi")))
        grid = frame[model].to_numpy().reshape(-1, windows.horizon)
        row = _scored(row, frame, judged, naive, copycat.probe(panel, origins, grid, windows.gap))
        rows.append(row)
        if row.finished:
            tables += [scores.breakdown(frame, model, naive, judged.scale, by) for by in scores.slices(frame)]
    rows += [known[fit.label] for fit in fits if not fit.finished]
    board = Board.of(seeds.merged(rows))
    baseline = board.bar.name if board.bar else naive
    overlap = significance.overlap_of(windows.horizon, windows.gap, run.evaluation.stride)
    groups = {name: [row for row in some if row.finished] for name, some in seeds.by_variant(rows).items()}
    columns = {name: [row.name for row in some] for name, some in groups.items() if some}
    to_best = _differences(judged.test, columns, board.best.name, overlap) if board.best else {}
    to_naive = _differences(judged.test, columns, naive, overlap)
    p_values = {name: {"test_p_best": _p(to_best, name), "test_p_naive": _p(to_naive, name)} for name in groups}
    return Comparison(
        rows=[row.with_numbers(**p_values[row.variant]) for row in rows],
        board=Board.of(row.with_numbers(**p_values[row.name]) for row in board.rows),
        test=judged.test,
        baseline=baseline,
        naive=naive,
        chosen_fit=min(groups[board.chosen.name], key=_score_of).name if board.chosen else baseline,
        half_widths={model: intervals.half_widths(one, windows.horizon) for model, one in judged.calibrations.items()},
        to_best=to_best,
        to_baseline=_differences(judged.test, columns, baseline, overlap),
        to_naive=to_naive,
        slices=pl.concat(tables),
    )


def _scored(row: ScoreRow, frame: pl.DataFrame, judged: _Judged, naive: str, look: copycat.Probe) -> ScoreRow:
    """A row with its scores on validation and test."""
    model, errors = row.name, judged.errors[row.name]
    if look.copies and row.kind is not Kind.BASELINE:
        row = replace(row, note="; ".join(word for word in (row.note, COPIES) if word), copies=True)
    if errors["mae"] is None and row.kind is Kind.BASELINE:
        row = replace(row, status=Standing.LEFT_OUT)
    found = scores.score(frame, model, naive, judged.scale, judged.calibrations[model])
    if judged.units is not None:
        scaled = scores.errors(frame, model, judged.scale, judged.units)
        found |= {f"test_{name}": scaled[name] for name in ("mae_scaled", "mse_scaled")}
    val = {f"val_{name}": value for name, value in errors.items()} | {"val_score": judged.ranked[model]}
    return row.with_numbers(**val, **found, test_lag=look.lag)


def _p(found: Mapping[str, Difference], name: str) -> Score:
    return found[name].p_holm if name in found else None


def _score_of(row: ScoreRow) -> float:
    assert row.score is not None  # it is one of the chosen variant's
    return row.score


def _differences(test: Forecasts, columns: Mapping[str, list[str]], other: str, overlap: int) -> dict[str, Difference]:
    found = {}
    for name in columns:
        if name != other:
            frame = test.read(*columns[name], *columns[other])
            found[name] = significance.judge(significance.differences(frame, columns[name], columns[other]), overlap)
    return significance.corrected({name: one for name, one in found.items() if one is not None})


def _validated(run: RunParams, data: Data, fits: Sequence[Fit], baselines: Baselines, folder: Path) -> _Judged:
    """Writes the frames of validation and test; calibrates and ranks every model by the first."""
    past, horizon = training_history(data.panel, data.split), data.windows.horizon
    units = scores.standard_units(past) if run.evaluation.scaled else None
    scale = scores.scales(past, run.evaluation.season)
    written: dict[str, Forecasts] = {}
    calibrations: dict[str, pl.DataFrame] = {}
    errors: dict[str, dict[str, Score]] = {}
    for name in EVALUATED:
        targets = frames.targets_of(data, name, run.evaluation.stride)
        sources = {fit.label: _forecasts_of(fit, name) for fit in fits if fit.finished}
        sources |= {model: baselines.files[name][model] for model in run.evaluation.baselines}
        path = folder / ("forecasts.parquet" if name == "test" else f"{name}.parquet")
        widths = {model: intervals.half_widths(one, horizon) for model, one in calibrations.items()}
        grid = Frequency.of(data.panel.facts)
        written[name] = frames.write(path, targets, sources, horizon, grid, widths, bounds_of(run.data))
        for model in sources if name == "validation" else ():
            residuals = written[name].read(model)
            calibrations[model] = intervals.calibrate(residuals, model)
            errors[model] = scores.errors(residuals, model, scale, units)
    ranked = scores.ranking(errors, run.evaluation.choose_by)
    able = [name for name in NAIVES if errors.get(name, {}).get("mae") is not None]
    common = written["validation"].read(*able).drop_nulls(able)
    of_naives = {name: scores.errors(common, name, scale, units) for name in able}
    naives = scores.ranking(of_naives, run.evaluation.choose_by) if able and common.height else {n: ranked[n] for n in able}
    return _Judged(written["test"], calibrations, errors, ranked, naives, scale, units)


def _forecasts_of(fit: Fit, split: str) -> Path:
    path = fit.validation if split == "validation" else fit.test
    assert path is not None  # it has finished, and so has forecast
    return path


def naive_error(run: RunParams, data: Data, baselines: Baselines) -> float | None:
    """The MAE of the best naive on validation, which a fit's skill is measured against while it trains; None without one.

    Raises UserError, before anything is trained, where the run chooses by a score that these data do not have.
    """
    if run.evaluation.choose_by in ("mase", "owa"):
        scale = scores.scales(training_history(data.panel, data.split), run.evaluation.season)
        if not scale.filter(pl.col("mae") > 0).height:
            raise UserError(
                f"evaluation.choose_by {run.evaluation.choose_by}: no series has a MASE, since none has two different values "
                f"evaluation.season {run.evaluation.season} rows apart in its training rows: shorten season, or choose by mae"
            )
    targets, errors = frames.targets_of(data, "validation", run.evaluation.stride), []
    for name, file in baselines.files["validation"].items():
        errors.append(scores.mae(targets.with_columns(pl.read_parquet(file, columns=[name])[name]), name))
    return min((error for error in errors if error is not None), default=None)  # None: no window has an observed past


def training_history(panel: Panel, split: Split) -> pl.DataFrame:
    """unique_id, ds, y of the training rows, on the grid."""
    _, stops = split.target_ranges(panel.times, panel.offsets, "train")
    stops = stops - panel.facts.start_padding
    limits = pl.DataFrame({"unique_id": panel.ids, "_stop": stops}, schema={"unique_id": pl.String, "_stop": pl.Int64})
    rows = target_frame(panel).join(limits, on="unique_id", how="left", maintain_order="left")
    inside = pl.int_range(pl.len()).over("unique_id") < pl.col("_stop")
    return rows.filter(inside).drop("_stop")


def _fit_row(fit: Fit) -> ScoreRow:
    result, card = fit.result, fit.evaluated.memory if fit.evaluated else None
    notes = (result.reason, "trained before" if fit.reused else "", card.warning if card else "")
    return ScoreRow(
        name=fit.label,
        kind=Kind.VARIANT,
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


def _baseline_row(name: str, note: str) -> ScoreRow:
    return ScoreRow(name=name, kind=Kind.BASELINE, variant=name, family="baseline", note=note)
