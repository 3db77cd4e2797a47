"""The results of a comparison in each fit's and baseline's MLflow run: scores and pictures."""

import json
from collections.abc import Callable, Mapping, Sequence
from colorsys import hls_to_rgb
from dataclasses import asdict, dataclass, field
from pathlib import Path

import polars as pl

from models.fit.job import is_closed_form
from params.schema import RunParams
from tasks.compare import scores
from tasks.compare.board import ScoreRow
from tasks.compare.compare import Comparison
from tasks.files import spread
from tasks.report import leaderboard as report
from tasks.report import memory_card
from tasks.report.plots.forecasts import interval_columns, plotted, variant_forecast_plot
from tasks.report.plots.residuals import residual_plot
from tasks.report.plots.style import save
from tasks.report.plots.training import loss_plot
from tasks.tracking import logs, runs
from tasks.train import fits as training
from tasks.train.fits import Fit
from tasks.train.identity import Provenance, sha256
from tasks.train.kind import Kind

DRAWN = 4  # series in a fit's forecast picture
RESIDUALS = 5000  # series in its residual picture, evenly spread


@dataclass(frozen=True)
class Publication:
    """Where a comparison is published: params and provenance, MLflow run, state folder; a progress callback.

    `times`: when work on each baseline began and ended.
    """

    run: RunParams
    parent: str
    about: Provenance
    home: Path
    step: Callable[[str], None] = lambda model: None
    times: Mapping[str, tuple[int, int]] = field(default_factory=dict)


def publish_fits(comparison: Comparison, where: Publication, fits: Sequence[Fit], folder: Path) -> None:
    """Logs each fit's and baseline's results, ends the runs of baselines; calls `step` before each."""
    run, run_ids = where.run, {fit.label: fit.run_id for fit in fits}
    run_ids |= {name: _baseline_run(name, where) for name in comparison.models if name not in run_ids}
    logs.share_datasets(where.parent, [*run_ids.values(), *(fold_fit.run_id for fit in fits for fold_fit in fit.earlier)])
    steps = comparison.slices.filter(pl.col("by") == "step")
    for number, row in enumerate(row for row in comparison.rows if row.finished):
        where.step(row.name)
        run_id = run_ids[row.name]
        if row.kind is Kind.BASELINE and row["val_mae"] is not None:  # what MLflow's comparison pages show first
            logs.log_history(run_id, [{"epoch": 0, "val_mae": row["val_mae"]}])
        logs.log_metrics(run_id, metrics_of(row))
        curve = scores.wide(steps.filter(pl.col("model") == row.name), "step")
        logs.log_history(run_id, [{"epoch": step - 1, "test_mae_by_step": error} for step, error in curve.iter_rows()])
        logs.describe(run_id, _words(row, run.data.target, comparison.baseline))
        logs.tag(run_id, {"mlflow.runColor": color(number)})
        if row.kind is not Kind.BASELINE:
            _pictures(comparison, row.name, run, run_id, folder)
            logs.tag(run_id, {"copycat": str(row.copies).lower()})
        if row.kind is Kind.BASELINE:
            runs.finish(run_id, ended=where.times.get(row.name, (0, None))[1])
    by_name = {row.name: row for row in comparison.rows}
    for fit in fits:
        if fit.finished:
            _log_losses(fit, run, folder)
            _log_memory(fit, folder)
        for fold_fit in fit.earlier:
            fold = {name: by_name[fit.label][f"{name}_fold_{fold_fit.planned.fold}"] for name in ("val_mae", "val_score")}
            logs.log_metrics(fold_fit.run_id, {f"best_{name}": value for name, value in fold.items()})
            logs.describe(fold_fit.run_id, f"{fit.label} on validation range {fold_fit.planned.fold} of {fit.planned.fold}")
    cards = memory_card.cards_of(fits)
    if cards:
        memory_card.card_table(cards).write_csv(folder / "memory.csv")
        logs.log_file(where.parent, folder / "memory.csv")


def metrics_of(row: ScoreRow) -> dict[str, float | None]:
    """A row's numbers by MLflow name, except those its training logged; `best_val_score` unless MAE ranks."""
    columns = (column for column in report.columns_of([row]) if column.metric and column.name not in training.COST)
    metrics = {column.metric: row[column.name] for column in columns}
    if "val_score" not in report.shown([row], ("val_mae",)):
        del metrics["best_val_score"]
    return metrics


def color(number: int) -> str:
    """A colour for MLflow's charts, whose palette is small and repeats: hues a golden angle apart."""
    red, green, blue = hls_to_rgb(0.58 + number * 0.381966 % 1, (0.42, 0.55, 0.35)[number // 3 % 3], 0.62)
    return f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}"


def _words(row: ScoreRow, unit: str, bar: str) -> str:
    """One line on a fit, for its page."""
    validation, test, skill, coverage = (row[name] for name in ("val_mae", "test_mae", "test_skill", "test_coverage_90"))
    worst = row["test_worst_fifth_coverage_90"]
    parts = [
        f"MAE ({unit}) on validation {validation:.4g}" if validation is not None else "",
        f"on test {test:.4g}" if test is not None else "no row of the test to score",
        f"skill against {bar}, the best baseline, {100 * skill:.1f} %" if skill is not None else "",
        f"its 90 % interval covers {100 * coverage:.1f} %" if coverage is not None else "",
        f"{100 * worst:.1f} % in the fifth of the series where that is least" if worst is not None else "",
        row.note,
    ]
    return ", ".join(part for part in parts if part)


def _baseline_run(name: str, where: Publication) -> str:
    about = {"kind": "baseline", "variant": name}
    began = where.times.get(name, (None, 0))[0]
    run_id = runs.child_run(where.parent, name, sha256(f"{where.parent}|{name}"), about, began)
    logs.log_params(run_id, {"variant": name, "family": "baseline", "season": where.run.evaluation.season})
    return run_id


def _pictures(comparison: Comparison, name: str, run: RunParams, run_id: str, folder: Path) -> None:
    """A fit's forecasts of its worst and best series, and its residuals."""
    some = plotted(comparison.errors_by_series(name), name, DRAWN)
    frame = comparison.test.read(name, comparison.baseline, *interval_columns(name, run.evaluation.levels), series=some)
    figure = variant_forecast_plot(frame, some, name, comparison.baseline, run.data.target)
    logs.log_file(run_id, save(figure, folder / "forecasts.png"))
    few = [comparison.test.ids[place] for place in spread(len(comparison.test.ids), RESIDUALS)]
    frame = comparison.test.read(name, series=few)
    rows = frame.select("unique_id", "ds", "cutoff", "step", (pl.col("y") - pl.col(name)).alias("residual"))
    of = "" if len(few) == len(comparison.test.ids) else f", of {len(few):,} of {len(comparison.test.ids):,} series"
    logs.log_file(run_id, save(residual_plot(rows, name, run.data.target, of), folder / "residuals.png"))


def _log_losses(fit: Fit, run: RunParams, folder: Path) -> None:
    """A picture of a fit's losses by epoch, or by penalty; an ensemble has none."""
    rows = fit.result.history
    if not rows:
        return
    along = "penalty" if is_closed_form(fit.family) else "epoch"
    places = [row["penalty"] if along == "penalty" else int(row["epoch"]) + 1 for row in rows]
    losses = pl.DataFrame({along: places, **{name: [row[name] for row in rows] for name in ("train_loss", "val_mae")}})
    best = next(place for place, row in zip(places, rows, strict=True) if row["epoch"] == fit.result.best_epoch)
    figure = loss_plot(losses, fit.label, best, run.data.target)
    logs.log_file(fit.run_id, save(figure, folder / "losses.png"))


def _log_memory(fit: Fit, folder: Path) -> None:
    """A fit's memory card: as data, as a picture, and its attention if it has any."""
    card = fit.evaluated.memory if fit.evaluated else None
    if card is None:
        return
    logs.log_text(fit.run_id, json.dumps(asdict(card), indent=1), "memory.json")
    logs.log_file(fit.run_id, save(memory_card.card_figure({fit.label: card}), folder / "memory_card.png"))
    if card.attention is not None:
        figure = memory_card.attention_figure(card, fit.label)
        logs.log_file(fit.run_id, save(figure, folder / "attention.png"))
