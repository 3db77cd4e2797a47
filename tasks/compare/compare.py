"""All variants and baselines on the same origins: one forecast frame, a row of scores each; never chooses by the test.

Every figure is computed from the forecast frames on disk, one model's columns at a time, so that memory holds one model's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from models.data.origins import origin_rows
from models.data.panel import Data, Panel, Split
from models.data.window import WindowParams
from models.data.windows import Windows
from models.memory_card import MemoryCard
from models.worker import EVALUATED
from params.errors import UserError
from params.schema import RunParams
from tasks.compare import copycat, scores, seeds, significance
from tasks.compare.significance import Difference
from tasks.evaluate import frames, intervals
from tasks.evaluate.baselines import forecast_baselines, only_naive
from tasks.evaluate.forecasts import forecast_frame
from tasks.evaluate.frames import Forecasts
from tasks.lags.panel import target_frame
from tasks.report import leaderboard as report

Fit = Mapping[str, Any]
COPIES = "repeats the last value"
LEFT_OUT = "left out"  # the status of a baseline without a forecast


@dataclass(frozen=True)
class Comparison:
    """What a comparison found.

    `rows`: one a fit and baseline, with its scores; `board`: one a variant and baseline, over its seeds.  `test`: the wide
    forecast frame of the test origins with intervals, `validation` that of validation without.  `naive`: the best naive on
    validation.  `best`: the variant that stands highest on validation (None where none finished); `chosen`: the same, if it
    beats the best naive there; `chosen_fit`: the label of its best seed.  `half_widths`: for each model the half width of its
    90 % interval a step (None where too few residuals).  `to_best`, `to_naive`: how much larger each model's error is.
    `slices`: the scores by series, step, hour and weekday (`scores.breakdown`).
    """

    rows: list[dict[str, Any]]
    board: list[dict[str, Any]]
    test: Forecasts
    validation: Forecasts
    naive: str
    best: str | None
    chosen: str | None
    chosen_fit: str | None
    half_widths: dict[str, list[float | None]]
    to_best: dict[str, Difference]
    to_naive: dict[str, Difference]
    slices: pl.DataFrame

    @property
    def models(self) -> list[str]:
        """Every model that has a column in the forecast frames: fits, then baselines."""
        return [row["name"] for row in self.rows if row["status"] == "finished"]

    def first_fit(self, name: str) -> str:
        """The label of the first finished fit of a variant (its own name, where its first seed did not fail)."""
        return next(row["name"] for row in self.rows if row["variant"] == name and row["status"] == "finished")

    @property
    def shown(self) -> str:
        """The model whose forecasts are drawn: the chosen fit, else the first of the best variant, else the best naive."""
        return self.chosen_fit or (self.first_fit(self.best) if self.best else self.naive)

    def errors_by_series(self, model: str) -> pl.DataFrame:
        """unique_id and the MAE of one model on test."""
        return scores.wide(self.slices.filter(pl.col("model") == model), "series").rename({"value": "unique_id"})


def compare(run: RunParams, data: Data, fits: Sequence[Fit], folder: Path) -> Comparison:
    """Scores every fit and every baseline of a run; a failed fit is a row with its reason and no number.

    The forecast frames are written to `folder`: forecasts.parquet (test) and validation.parquet.
    """
    panel, windows, split = data.panel, data.windows, data.split
    past = training_history(panel, split)
    units = scores.standard_units(past) if run.evaluation.scaled else None
    scale = scores.scales(past, run.evaluation.season)
    validation, test, calibrations, errors, notes = _forecasts(run, panel, split, windows, fits, folder, scale, units)
    ranked = scores.ranking(errors, run.evaluation.choose_by)
    naive = scores.best_naive({name: ranked[name] for name in run.evaluation.baselines})
    origins = origin_rows(panel, windows, split, "test", run.evaluation.stride)
    facts = {fit["label"]: _fit_row(fit) for fit in fits}
    rows, tables = [], []
    for model, calibration in calibrations.items():
        frame = test.read(model, naive, *(f"{model}-{side}-{intervals.COVERAGE}" for side in ("lo", "hi")))
        found = scores.score(frame, model, naive, scale, calibration)
        grid = frame[model].to_numpy().reshape(-1, windows.horizon)
        look = copycat.probe(panel, origins, grid, windows.gap)
        about = facts.get(model) or _baseline_row(model, notes)
        if look.copies and model in facts:
            about = about | {"note": "; ".join(word for word in (about["note"], COPIES) if word), "copies": True}
        status = LEFT_OUT if errors[model]["mae"] is None and model not in facts else about["status"]
        val = {f"val_{name}": value for name, value in errors[model].items()} | {"val_score": ranked[model]}
        if units is not None:
            scaled = scores.errors(frame, model, scale, units)
            found |= {f"test_{name}": scaled[name] for name in ("mae_scaled", "mse_scaled")}
        rows.append({"name": model, **val, **found, "test_lag": look.lag, **about, "status": status})
        if status == "finished":
            tables += [scores.breakdown(frame, model, naive, scale, by) for by in scores.slices(frame)]
    rows += [{"name": fit["label"], **facts[fit["label"]]} for fit in fits if fit["status"] != "finished"]
    half_widths = {model: intervals.half_widths(one, windows.horizon) for model, one in calibrations.items()}
    return _judged(run, windows, rows, test, validation, naive, half_widths, pl.concat(tables))


def _judged(
    run: RunParams,
    windows: WindowParams,
    rows: list[dict[str, Any]],
    test: Forecasts,
    validation: Forecasts,
    naive: str,
    half_widths: dict[str, list[float | None]],
    slices: pl.DataFrame,
) -> Comparison:
    """What is best on validation, and on test how far every other is from it and from the best naive."""
    groups = {name: [row for row in some if row["status"] == "finished"] for name, some in seeds.by_variant(rows).items()}
    groups = {name: some for name, some in groups.items() if some}
    board = report.leaderboard(seeds.merged(rows))
    highest, chosen = report.best_variant(board), report.chosen(board)
    best = highest["name"] if highest else None
    fit = min(groups[chosen["name"]], key=lambda row: row["val_score"])["name"] if chosen else None
    columns = {name: [row["name"] for row in some] for name, some in groups.items()}
    overlap = significance.overlap_of(windows.horizon, windows.gap, run.evaluation.stride)
    to_best = _differences(test, columns, best, overlap) if best else {}
    to_naive = _differences(test, columns, naive, overlap)
    for column, found in (("test_p_best", to_best), ("test_p_naive", to_naive)):
        p_values = {name: one.p_holm for name, one in found.items()}
        rows = [row | {column: p_values.get(row["variant"])} for row in rows]
    merged = seeds.merged(rows)
    name = chosen["name"] if chosen else None
    return Comparison(rows, merged, test, validation, naive, best, name, fit, half_widths, to_best, to_naive, slices)


def _differences(test: Forecasts, columns: Mapping[str, list[str]], other: str, overlap: int) -> dict[str, Difference]:
    found = {}
    for name in columns:
        if name != other:
            frame = test.read(*columns[name], *columns[other])
            found[name] = significance.judge(significance.differences(frame, columns[name], columns[other]), overlap)
    return significance.corrected({name: one for name, one in found.items() if one is not None})


def _forecasts(
    run: RunParams,
    panel: Panel,
    split: Split,
    windows: WindowParams,
    fits: Sequence[Fit],
    folder: Path,
    scale: pl.DataFrame,
    units: pl.DataFrame | None,
) -> tuple[Forecasts, Forecasts, dict[str, pl.DataFrame], dict[str, dict[str, float | None]], dict[str, str]]:
    """The frames of validation and test, each model's calibration and errors on validation, and notes on the baselines."""
    finished, history = [fit for fit in fits if fit["status"] == "finished"], target_frame(panel)
    written: dict[str, Forecasts] = {}
    calibrations: dict[str, pl.DataFrame] = {}
    errors: dict[str, dict[str, float | None]] = {}
    notes: dict[str, str] = {}
    for name in EVALUATED:
        frame = targets(panel, windows, split, name, run.evaluation.stride)
        baselines, notes = _baselines(frame, history, run)
        sources = {fit["label"]: Path(fit.get(name) or Path(fit["folder"]) / f"{name}.parquet") for fit in finished}
        sources |= frames.write_columns(baselines, run.evaluation.baselines, folder / f"baselines-{name}.parquet")
        path = folder / ("forecasts.parquet" if name == "test" else f"{name}.parquet")
        widths = {model: intervals.half_widths(one, windows.horizon) for model, one in calibrations.items()}
        written[name] = frames.write(path, frame, sources, windows.horizon, widths)
        for model in sources if name == "validation" else ():
            residuals = written[name].read(model)
            calibrations[model], errors[model] = (
                intervals.calibrate(residuals, model),
                scores.errors(residuals, model, scale, units),
            )
    return written["validation"], written["test"], calibrations, errors, notes


def naive_error(run: RunParams, data: Data) -> float | None:
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
    frame = targets(data.panel, data.windows, data.split, "validation", run.evaluation.stride)
    naives = only_naive(run)
    frame, _ = _baselines(frame, target_frame(data.panel), naives)
    known = [error for error in (scores.mae(frame, name) for name in naives.evaluation.baselines) if error is not None]
    return min(known, default=None)  # None: no window of validation has an observed past


def targets(panel: Panel, windows: WindowParams, split: Split, name: str, stride: int) -> pl.DataFrame:
    """The forecast frame of a split without a model: unique_id, ds, cutoff, step, y."""
    origins = origin_rows(panel, windows, split, name, stride)
    empty = np.zeros((len(origins), windows.horizon))
    return forecast_frame(panel, Windows(panel, windows, origins), empty, "_none").drop("_none")


def _baselines(frame: pl.DataFrame, history: pl.DataFrame, run: RunParams) -> tuple[pl.DataFrame, dict[str, str]]:
    """A forecast frame with the run's baselines on its origins, and their notes."""
    origins = frame.select("unique_id", "cutoff").unique(maintain_order=True)
    baselines, notes = forecast_baselines(history, origins, run)
    keys = ["unique_id", "cutoff", "step"]
    return frame.join(baselines.drop("ds"), on=keys, how="left", maintain_order="left"), notes


def training_history(panel: Panel, split: Split) -> pl.DataFrame:
    """unique_id, ds, y of the training rows, on the grid."""
    _, stops = split.target_ranges(panel.times, panel.offsets, "train")
    stops = stops - panel.facts.start_padding
    limits = pl.DataFrame({"unique_id": panel.ids, "_stop": stops}, schema={"unique_id": pl.String, "_stop": pl.Int64})
    rows = target_frame(panel).join(limits, on="unique_id", how="left", maintain_order="left")
    inside = pl.int_range(pl.len()).over("unique_id") < pl.col("_stop")
    return rows.filter(inside).drop("_stop")


def _fit_row(fit: Fit) -> dict[str, Any]:
    facts = ("variant", "family", "seed", "seeded", "status", "run_id")
    cost = (
        "train_seconds",
        "num_parameters",
        "weights_mb",
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
    about = {"kind": "baseline", "variant": name, "family": "baseline", "seed": None, "status": "finished"}
    return about | {"note": notes.get(name, "")}
