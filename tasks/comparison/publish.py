"""What a comparison found, put where people look: tables, pictures and the forecast frame in MLflow; computes no score."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from prefect import task
from prefect.cache_policies import NO_CACHE

from models.memory import MemoryCard
from models.panel import Panel, Split
from models.windows import WindowParams
from params.schema import RunParams
from tasks import tracking
from tasks.comparison import memory_card, plots, report, scores
from tasks.comparison.compare import Comparison, compare
from tasks.evaluate import write_parquet
from tasks.fingerprint import sha256

Fit = Mapping[str, Any]


def forecasts(found: Comparison) -> pl.DataFrame:
    """The frame that is kept: unique_id, ds, cutoff, y, a column a model, and its interval."""
    return found.test.drop("step")


def publish(found: Comparison, run: RunParams, parent: str, fits: Sequence[Fit], folder: Path) -> pl.DataFrame:
    """Logs everything to the comparison's run and the runs below it; returns the leaderboard."""
    board = report.leaderboard(found.rows)
    sentence = report.sentence(board, run.data.target, found.gain)
    write_parquet(forecasts(found), folder / "forecasts.parquet")
    board.write_csv(folder / "leaderboard.csv")
    facts = {
        "name": run.name,
        "chosen": found.chosen,
        "naive": found.naive,
        "sentence": sentence,
        "gain": found.gain,
        "unit": run.data.target,
        "rows": board.to_dicts(),
    }
    (folder / "leaderboard.json").write_text(json.dumps(facts, indent=1))
    meta = {
        "name": run.name,
        "horizon": f"{run.windows.horizon} x {run.data.frequency}",
        "best naive": found.naive,
        "run": parent,
    }
    (folder / "leaderboard.html").write_text(report.to_html(board, f"{run.name}: comparison", meta, sentence))
    (folder / "leaderboard.md").write_text(report.to_markdown(board))
    for file in ("forecasts.parquet", *(f"leaderboard.{kind}" for kind in ("csv", "json", "html", "md"))):
        tracking.log_file(parent, folder / file)
    _pictures(found, board, run, parent, folder)
    runs = {fit["label"]: fit["run_id"] for fit in fits} | _baseline_runs(found, run, parent)
    by_step = scores.by_step(found.test, run_models(found), run.windows.horizon)
    for row in found.rows:
        if row["status"] == "finished":
            tracking.log_metrics(runs[row["name"]], _metrics(row))
            tracking.log_curve(runs[row["name"]], "test_mae_by_step", by_step[row["name"]].to_list())
            tracking.finish(runs[row["name"]])
    _conclude(found, parent, sentence)
    return board


def run_models(found: Comparison) -> list[str]:
    """Every model that has a column in the forecast frame."""
    return [row["name"] for row in found.rows if row["status"] == "finished"]


def _metrics(row: Mapping[str, Any]) -> dict[str, float | None]:
    measured = {name: row.get(name) for name in ("forecast_ms_per_series", "receptive_field", "memory_half_life")}
    return {name: row[name] for name in row if name.startswith("test_")} | measured | {"best_val_mae": row["val_mae"]}


def _baseline_runs(found: Comparison, run: RunParams, parent: str) -> dict[str, str]:
    runs: dict[str, str] = {}
    for name in run.evaluation.baselines:
        runs[name] = tracking.child_run(parent, name, sha256(f"{parent}|{name}"), {"kind": "baseline", "variant": name})
        tracking.log_params(runs[name], {"variant": name, "family": "baseline", "season": run.evaluation.season})
    return runs


def _pictures(found: Comparison, board: pl.DataFrame, run: RunParams, parent: str, folder: Path) -> None:
    shown, unit, models = found.chosen or _best(found), run.data.target, run_models(found)
    by_series, by_step = scores.by_series(found.test, models), scores.by_step(found.test, models, run.windows.horizon)
    figures = {
        "accuracy.png": plots.accuracy_plot(board, found.chosen, found.naive, unit),
        "error_by_step.png": plots.step_plot(
            by_step.filter(pl.any_horizontal(pl.exclude("step").is_not_null())),
            models,
            found.chosen,
            found.naive,
            unit,
            str(run.data.frequency),
        ),
    }
    for number, series in enumerate(plots.plotted(by_series, shown)):
        name = f"forecasts/{plots.file_name(number, series)}"
        figures[name] = plots.forecast_plot(found.test, series, shown, found.naive, unit)
    for name, figure in figures.items():
        (folder / name).parent.mkdir(exist_ok=True)
        plots.save(figure, folder / name)
        tracking.log_file(parent, folder / name, str(Path(name).parent) if "/" in name else None)


def _best(found: Comparison) -> str:
    return min((row for row in found.rows if row.get("val_mae") is not None), key=lambda row: row["val_mae"])["name"]


def log_curves(fits: Sequence[Fit], run: RunParams, folder: Path) -> None:
    """The loss curves of each fit as a picture in its own run."""
    for fit in fits:
        path = Path(fit["folder"]) / "result.json"
        if fit["status"] == "finished" and path.exists():
            rows = json.loads(path.read_text())["history"]
            losses = pl.DataFrame(
                [{"epoch": int(r["epoch"]) + 1, "train_loss": r["train_loss"], "val_mae": r["val_mae"]} for r in rows]
            )
            picture = plots.save(
                plots.loss_plot(losses, fit["label"], fit["best_epoch"] + 1, run.data.target), folder / "losses.png"
            )
            tracking.log_file(fit["run_id"], picture)


def log_memory(fits: Sequence[Fit], parent: str, folder: Path) -> None:
    """The memory cards side by side in the comparison's run, each whole (and its attention as a picture) in its own."""
    cards = {fit["label"]: MemoryCard.from_dict(fit["memory"]) for fit in fits if "memory" in fit}
    if not cards:
        return
    memory_card.card_table(cards).write_csv(folder / "memory.csv")
    tracking.log_file(parent, folder / "memory.csv")
    tracking.log_file(parent, plots.save(memory_card.card_figure(cards), folder / "memory.png"))
    for fit in fits:
        if "memory" not in fit:
            continue
        tracking.log_text(fit["run_id"], json.dumps(fit["memory"], indent=1), "memory.json")
        if cards[fit["label"]].attention is not None:
            figure = memory_card.attention_figure(cards[fit["label"]], fit["label"])
            tracking.log_file(fit["run_id"], plots.save(figure, folder / "attention.png"))


def _conclude(found: Comparison, parent: str, sentence: str) -> None:
    tracking.tag(parent, {"chosen": found.chosen or "", "best_naive": found.naive, "mlflow.note.content": sentence})
    row = next((row for row in found.rows if row["name"] == found.chosen), None)
    if row is not None:
        tracking.log_metrics(parent, _metrics(row))


@task(cache_policy=NO_CACHE)
def compare_variants(
    run: RunParams, panel: str, split: Split, windows: WindowParams, fits: list[dict[str, Any]], parent: str
) -> dict[str, Any]:
    """Compares all fits and baselines and publishes what came out; returns the choice, the rows and the half widths."""
    found = compare(run, Panel.open(panel), split, windows, fits)
    with tempfile.TemporaryDirectory() as folder:
        publish(found, run, parent, fits, Path(folder))
        log_curves(fits, run, Path(folder))
        log_memory(fits, parent, Path(folder))
    return {"chosen": found.chosen, "naive": found.naive, "rows": found.rows, "half_widths": found.half_widths}
