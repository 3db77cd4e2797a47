"""What a comparison found of each fit and baseline, in the MLflow run of each: scores, pictures; computes no score."""

import json
from collections.abc import Mapping, Sequence
from colorsys import hls_to_rgb
from pathlib import Path
from typing import Any

import polars as pl

from models.memory_card import MemoryCard
from params.schema import RunParams
from tasks.compare import scores
from tasks.compare.compare import Comparison
from tasks.evaluate.intervals import COVERAGE
from tasks.report import memory_card, plots
from tasks.tracking import logs, runs
from tasks.train.identity import sha256

Fit = Mapping[str, Any]
MEASURED = ("forecast_ms_per_series", "weights_mb", "receptive_field", "memory_half_life")
DRAWN = 4  # series in the picture of a fit's forecasts


def publish_fits(found: Comparison, run: RunParams, parent: str, fits: Sequence[Fit], folder: Path) -> None:
    """Logs what belongs to each fit and baseline, and ends their runs."""
    run_ids = {fit["label"]: fit["run_id"] for fit in fits}
    run_ids |= {name: _baseline_run(name, run, parent) for name in found.models if name not in run_ids}
    logs.share_datasets(parent, list(run_ids.values()))
    steps, colored = found.slices.filter(pl.col("by") == "step"), list[str]()
    for row in found.rows:
        if row["status"] != "finished":
            continue
        name, run_id = row["name"], run_ids[row["name"]]
        logs.log_metrics(run_id, metrics_of(row))
        curve = scores.wide(steps.filter(pl.col("model") == name), "step")
        logs.log_history(run_id, [{"epoch": step - 1, "test_mae_by_step": error} for step, error in curve.iter_rows()])
        logs.describe(run_id, _words(row, run.data.target))
        logs.tag(run_id, {"mlflow.runColor": color(len(colored))})
        colored.append(name)
        if row["kind"] == "variant":
            _pictures(found, name, run, run_id, folder)
            logs.tag(run_id, {"copycat": str(bool(row.get("copies"))).lower()})
        if row["kind"] == "baseline":
            runs.finish(run_id)
    for fit in fits:
        if fit["status"] == "finished":
            _log_losses(fit, run, folder)
            _log_memory(fit, folder)
    cards = memory_card.cards_of(fits)
    if cards:
        memory_card.card_table(cards).write_csv(folder / "memory.csv")
        logs.log_file(parent, folder / "memory.csv")


def metrics_of(row: Mapping[str, Any]) -> dict[str, float | None]:
    """The numbers of a row, under MLflow's names for them; `best_val_score` where another error than the MAE ranks."""
    measured = {name: row.get(name) for name in MEASURED}
    found = {f"best_{name}": row.get(name) for name in ("val_mae", "val_mae_scaled", "val_mse_scaled")}
    ranked = {"best_val_score": row["val_score"]} if row.get("val_score") not in (None, row["val_mae"]) else {}
    return {name: row[name] for name in row if name.startswith("test_")} | measured | found | ranked


def color(number: int) -> str:
    """A colour for MLflow's charts, which has only some and repeats them: hues a golden angle apart."""
    red, green, blue = hls_to_rgb(0.58 + number * 0.381966 % 1, (0.42, 0.55, 0.35)[number // 3 % 3], 0.62)
    return f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}"


def _words(row: Mapping[str, Any], unit: str) -> str:
    """One line on a fit, for its page."""
    parts = [f"MAE ({unit}) on validation {row['val_mae']:.4g}" if row["val_mae"] is not None else ""]
    parts += [f"on test {row['test_mae']:.4g}" if row["test_mae"] is not None else "no row of the test to score"]
    if row["test_skill"] is not None:
        parts.append(f"skill against the best naive {100 * row['test_skill']:.1f} %")
    if row["test_coverage_90"] is not None:
        parts.append(f"its 90 % interval covers {100 * row['test_coverage_90']:.1f} %")
    return ", ".join(part for part in (*parts, row["note"]) if part)


def _baseline_run(name: str, run: RunParams, parent: str) -> str:
    run_id = runs.child_run(parent, name, sha256(f"{parent}|{name}"), {"kind": "baseline", "variant": name})
    logs.log_params(run_id, {"variant": name, "family": "baseline", "season": run.evaluation.season})
    return run_id


def _pictures(found: Comparison, name: str, run: RunParams, run_id: str, folder: Path) -> None:
    """Forecasts of its worst and best series, and its residuals."""
    frame = found.test.read(name, found.naive, f"{name}-lo-{COVERAGE}", f"{name}-hi-{COVERAGE}")
    figure = plots.variant_forecast_plot(
        frame, plots.plotted(found.errors_by_series(name), name, DRAWN), name, found.naive, run.data.target
    )
    logs.log_file(run_id, plots.save(figure, folder / "forecasts.png"))
    residual = (pl.col("y") - pl.col(name)).alias("residual")
    rows = frame.select("unique_id", "ds", "cutoff", "step", residual)
    logs.log_file(run_id, plots.save(plots.residual_plot(rows, name, run.data.target), folder / "residuals.png"))


def _log_losses(fit: Fit, run: RunParams, folder: Path) -> None:
    """The loss curves of a fit as a picture; an ensemble has none."""
    path = Path(fit["folder"]) / "result.json"
    rows = json.loads(path.read_text())["history"] if path.exists() else []
    if not rows:
        return
    losses = pl.DataFrame(
        [{"epoch": int(row["epoch"]) + 1, "train_loss": row["train_loss"], "val_mae": row["val_mae"]} for row in rows]
    )
    figure = plots.loss_plot(losses, fit["label"], fit["best_epoch"] + 1, run.data.target)
    logs.log_file(fit["run_id"], plots.save(figure, folder / "losses.png"))


def _log_memory(fit: Fit, folder: Path) -> None:
    """The memory card of a fit: whole, as a picture, and its attention where it has any."""
    if "memory" not in fit:
        return
    card = MemoryCard.from_dict(fit["memory"])
    logs.log_text(fit["run_id"], json.dumps(fit["memory"], indent=1), "memory.json")
    logs.log_file(fit["run_id"], plots.save(memory_card.card_figure({fit["label"]: card}), folder / "memory_card.png"))
    if card.attention is not None:
        figure = memory_card.attention_figure(card, fit["label"])
        logs.log_file(fit["run_id"], plots.save(figure, folder / "attention.png"))
