"""All variants and baselines on the same origins: one forecast frame, a row of scores each; never chooses by the test."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from models.memory import MemoryCard
from models.origins import origin_rows
from models.panel import Panel, Split
from models.windows import WindowParams, Windows
from params.schema import RunParams
from tasks.comparison import intervals, report, scores, significance
from tasks.comparison.baselines import forecast_baselines
from tasks.evaluate import EVALUATED, KEYS, forecast_frame
from tasks.panel import target_frame

Fit = Mapping[str, Any]


@dataclass(frozen=True)
class Comparison:
    """What a comparison found.

    `rows`: one a model, with its scores.  `test`: the wide forecast frame of the test origins with intervals.  `naive`: the
    best naive on validation.  `chosen`: the label that won, or None where no variant beats the best naive on validation.
    `half_widths`: for each model the half width of its 90 % interval a step (None where too few residuals).
    `gain`: the 90 % interval of the winner's test MAE less the best naive's, origin by origin (None where too few).
    """

    rows: list[dict[str, Any]]
    test: pl.DataFrame
    validation: pl.DataFrame
    naive: str
    chosen: str | None
    half_widths: dict[str, list[float | None]]
    gain: tuple[float, float] | None = None


def compare(run: RunParams, panel: Panel, split: Split, windows: WindowParams, fits: Sequence[Fit]) -> Comparison:
    """Scores every fit and every baseline of a run; a failed fit is a row with its reason and no number."""
    finished = [fit for fit in fits if fit["status"] == "finished"]
    history = target_frame(panel)
    frames: dict[str, pl.DataFrame] = {}
    notes: dict[str, str] = {}
    for name in EVALUATED:
        frame = targets(panel, windows, split, name, run.evaluation.stride)
        for fit in finished:
            frame = _join(frame, pl.read_parquet(Path(fit["folder"]) / f"{name}.parquet"), [fit["label"]])
        frames[name], notes = _with_baselines(frame, history, run)
    models = [fit["label"] for fit in finished] + list(run.evaluation.baselines)
    naive = scores.best_naive(frames["validation"], run.evaluation.baselines)
    test = intervals.with_intervals(frames["test"], frames["validation"], models)
    train = training_history(panel, split)
    rows, half_widths = [], {}
    for model in models:
        calibration = intervals.calibrate(frames["validation"], model)
        half_widths[model] = _half_widths(calibration, windows.horizon)
        found = scores.score(test, train, model, run.evaluation.season, naive, calibration)
        rows.append({"name": model, "val_mae": scores.mae(frames["validation"], model), **found})
    facts = {fit["label"]: _fit_row(fit) for fit in fits}
    rows = [{**row, **facts.get(row["name"], _baseline_row(row["name"], notes))} for row in rows]
    rows += [{"name": fit["label"], **_fit_row(fit)} for fit in fits if fit["status"] != "finished"]
    winner = report.chosen(report.leaderboard(rows))
    chosen = winner["name"] if winner else None
    overlap = significance.overlap_of(windows.horizon, windows.gap, run.evaluation.stride)
    for column, other in (("test_p_chosen", chosen), ("test_p_naive", naive)):
        p_values = significance.against(test, models, other, overlap) if other else {}
        rows = [row | {column: p_values.get(row["name"])} for row in rows]
    interval = significance.mean_interval(significance.differences(test, chosen, naive), overlap) if chosen else None
    return Comparison(rows, test, frames["validation"], naive, chosen, half_widths, interval)


def naive_error(run: RunParams, panel: Panel, split: Split, windows: WindowParams) -> float | None:
    """The MAE of the best naive on validation, which a fit's skill is measured against while it trains; None without one."""
    frame = targets(panel, windows, split, "validation", run.evaluation.stride)
    names = tuple(name for name in run.evaluation.baselines if name in scores.NAIVES)
    naives = run.model_copy(update={"evaluation": run.evaluation.model_copy(update={"baselines": names})})
    frame, _ = _with_baselines(frame, target_frame(panel), naives)
    try:
        return scores.mae(frame, scores.best_naive(frame, names))
    except ValueError:  # no window of validation has an observed past
        return None


def targets(panel: Panel, windows: WindowParams, split: Split, name: str, stride: int) -> pl.DataFrame:
    """The forecast frame of a split without a model: unique_id, ds, cutoff, step, y."""
    origins = origin_rows(panel, windows, split, name, stride)
    empty = np.zeros((len(origins), windows.horizon))
    return forecast_frame(panel, Windows(panel, windows, origins), empty, "_none").drop("_none")


def _with_baselines(frame: pl.DataFrame, history: pl.DataFrame, run: RunParams) -> tuple[pl.DataFrame, dict[str, str]]:
    """A forecast frame with the run's baselines on its origins, and their notes."""
    origins = frame.select("unique_id", "cutoff").unique(maintain_order=True)
    baselines, notes = forecast_baselines(history, origins, run)
    return _join(frame, baselines, list(run.evaluation.baselines)), notes


def _join(frame: pl.DataFrame, more: pl.DataFrame, models: list[str]) -> pl.DataFrame:
    return frame.join(more.select(*KEYS, *models), on=KEYS, how="left", maintain_order="left")


def training_history(panel: Panel, split: Split) -> pl.DataFrame:
    """unique_id, ds, y of the training rows, on the grid."""
    _, stops = split.target_ranges(panel.times, panel.offsets, "train")
    limits = pl.DataFrame({"unique_id": panel.ids, "_stop": stops}, schema={"unique_id": pl.String, "_stop": pl.Int64})
    rows = target_frame(panel).join(limits, on="unique_id", how="left", maintain_order="left")
    inside = pl.int_range(pl.len()).over("unique_id") < pl.col("_stop")
    return rows.filter(inside).drop("_stop")


def _half_widths(calibration: pl.DataFrame, horizon: int) -> list[float | None]:
    known = dict(zip(calibration["step"], calibration["half_width_90"], strict=True))
    return [known.get(step) for step in range(1, horizon + 1)]


def _fit_row(fit: Fit) -> dict[str, Any]:
    facts = ("family", "seed", "status", "run_id")
    cost = (
        "train_seconds",
        "num_parameters",
        "windows_per_second",
        "forecast_ms_per_series",
        "receptive_field",
        "memory_half_life",
    )
    unused = MemoryCard.from_dict(fit["memory"]).warning if "memory" in fit else ""
    notes = (fit.get("reason"), "trained before" if fit.get("reused") else "", unused)
    return {
        "kind": "variant",
        "note": "; ".join(note for note in notes if note),
        **{name: fit.get(name) for name in (*facts, *cost)},
    }


def _baseline_row(name: str, notes: Mapping[str, str]) -> dict[str, Any]:
    return {"kind": "baseline", "family": "baseline", "seed": None, "status": "finished", "note": notes.get(name, "")}
