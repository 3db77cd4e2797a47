"""Folds: nothing of a later range is in an earlier training, the frame holds all of them, and a failed one fails its fit."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from models.data.origins import origin_rows
from models.data.panel import Data, Panel, Split
from models.data.scaling import fit_scaling
from models.data.window import FeatureWindow, WindowParams
from models.fit.settings import Result, Status
from params.load import load_plan, load_run
from tasks.evaluate import frames
from tasks.evaluate.baselines import write_baselines
from tasks.evaluate.folds import join_folds
from tasks.evaluate.frames import Outcome, targets_of
from tasks.grid.frequency import Frequency
from tasks.grid.split import folds_of
from tasks.lags.panel import write_panel
from tasks.train.fits import Fit
from tasks.train.job import plan_fits
from tasks.train.kind import Kind

START = datetime(2020, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
SPLITS = {
    "durations": "{validation: 20h, test: 30h, folds: 3}",
    "rows": "{validation: 20, test: 30, folds: 3}",
    "dates": "{validation: '2020-01-04 22:00', test: '2020-01-05 18:00', folds: 3}",
    "embargo": "{validation: 20h, test: 30h, folds: 3, embargo: 3h}",
}


def panel_of(folder: Path, params: WindowParams) -> Panel:
    """Two series of hourly rows; the second begins and ends later than the first."""
    parts = []
    for name, first, rows in (("a", 0, 144), ("b", 30, 114)):
        ds = [START + HOUR * (first + row) for row in range(rows)]
        parts.append(pl.DataFrame({"unique_id": name, "ds": ds, "y": np.arange(rows) + 100.0 * first}))
    frame = pl.concat(parts).with_columns(pl.col("ds").dt.cast_time_unit("us"))
    return Panel.open(write_panel(frame.lazy(), params, Frequency("1h"), 0, folder))


def data_of(folder: Path, split: str, params: WindowParams) -> Data:
    run = load_run("params/nyc_weather.yaml", [f"split={split}"])
    panel = panel_of(folder, params)
    *earlier, last = folds_of(run, panel)
    return Data(panel, params, last, tuple(earlier))


@pytest.mark.parametrize("gap", [0, 2])
@pytest.mark.parametrize("split", SPLITS.values(), ids=SPLITS)
def test_no_row_of_a_later_range_is_in_an_earlier_training(tmp_path: Path, split: str, gap: int) -> None:
    params = WindowParams(4, {"y": FeatureWindow(6)}, gap)
    data = data_of(tmp_path, split, params)
    assert len(data.folds) == 3 and data.folds[-1].split == data.split
    for number in range(2):  # series by series, the ranges follow each other
        ends = [-1]
        for fold in data.folds:
            trained = targets_in(data, fold.split, "train", number)
            scored = targets_in(data, fold.split, "validation", number)
            assert trained and scored and max(trained) < min(scored)
            assert ends[-1] < min(scored)
            ends.append(max(scored))
        tested = targets_in(data, data.split, "test", number)
        assert ends[-1] < min(tested)


def targets_in(data: Data, split: Split, name: str, series: int) -> set[int]:
    """The rows of a series that are a target of a split."""
    rows, params = data.panel.rows(series), data.windows
    origins = origin_rows(data.panel, params, split, name, 1)
    own = origins[(origins >= rows.start) & (origins < rows.stop)]
    return {int(row) + params.gap + step for row in own for step in range(1, params.horizon + 1)}


@pytest.mark.parametrize("split", SPLITS.values(), ids=SPLITS)
def test_what_comes_after_a_fold_changes_nothing_that_it_learns(tmp_path: Path, split: str) -> None:
    params = WindowParams(4, {"y": FeatureWindow(6)})
    data = data_of(tmp_path, split, params)
    for fold in data.folds:
        begin, _ = fold.split.target_ranges(data.panel.times, data.panel.offsets, "validation")
        spoiled = np.array(data.panel.target)
        for number, first in enumerate(begin):
            spoiled[data.panel.offsets[number] + first : data.panel.offsets[number + 1]] = 1e9
        other = replace(data.panel, target=spoiled, values=spoiled[:, None].astype(np.float32))
        before, after = (fit_scaling(panel, params, fold.split, "series") for panel in (data.panel, other))
        assert all(one.equal(two) for one, two in zip(before, after, strict=True))


def test_the_frame_has_the_rows_of_all_folds_one_after_another(tmp_path: Path) -> None:
    params = WindowParams(4, {"y": FeatureWindow(6)})
    data = data_of(tmp_path, SPLITS["durations"], params)
    targets = targets_of(data, "validation", 3)
    found, alone = (
        targets.frame(),
        [targets_of(Data(data.panel, params, fold.split), "validation", 3).frame() for fold in data.folds],
    )
    assert found.drop("_fold").equals(pl.concat(alone))
    assert found["_fold"].to_list() == [number for number, part in enumerate(alone) for _ in range(part.height)]
    test = targets_of(Data(data.panel, params, data.split), "test", 3).frame()
    assert targets_of(data, "test", 3).frame().equals(test)
    sources = frames.write_columns(found.with_columns(gru=pl.col("y") + pl.col("_fold")), ["gru"], tmp_path / "gru.parquet")
    written = frames.write(tmp_path / "v.parquet", targets.blocks(), sources, 4, Frequency("1h"), data.panel.ids)
    assert "_fold" not in pl.read_parquet_schema(written.path)
    assert written.folds == tuple(part.height for part in alone)
    for number, part in enumerate(pl.concat(written.blocks("gru", fold=fold)) for fold in range(len(alone))):
        assert (part["gru"] - part["y"] == number).all() and part["cutoff"].equals(alone[number]["cutoff"])
    assert np.array_equal(Outcome.gathered(written.outcomes("gru", ()), written.rows).fold, found["_fold"].to_numpy())  # type: ignore[arg-type]


@pytest.mark.parametrize("split", [SPLITS["durations"], SPLITS["rows"]])
def test_baselines_forecast_each_fold_as_if_it_were_the_only_one(tmp_path: Path, split: str) -> None:
    params = WindowParams(4, {"y": FeatureWindow(6)})
    data = data_of(tmp_path, split, params)
    names = ("last_value", "drift", "seasonal_naive", "theta")
    settings = [f"split={split}", f"evaluation.baselines=[{', '.join(names)}]", "evaluation.baseline_origins=2"]
    run = load_run("params/nyc_weather.yaml", [*settings, "windows.horizon=4", "evaluation.stride=3"])
    found = write_baselines(run, data, tmp_path).files
    whole = pl.read_parquet(found["validation"]["theta"])
    rows = 0
    for number, fold in enumerate(data.folds):
        folder = tmp_path / str(number)
        folder.mkdir()
        alone = write_baselines(run, Data(data.panel, params, fold.split), folder).files["validation"]["theta"]
        part = pl.read_parquet(alone)
        assert whole.slice(rows, part.height).equals(part) and part["theta"].drop_nulls().len() == 2 * 2 * 4
        rows += part.height
    assert rows == whole.height


def fits_of(folder: Path, failed: str = "") -> list[Fit]:
    """Two folds of ridge and a refit of it, each with a forecast frame that holds its number."""
    plan = load_plan("params/smoke.yaml", ["variants=[ridge]"])
    windows = plan.run.windows.window_params()
    splits = (Split("rows", 9, 9), Split("rows", 9, 6))
    planned = plan_fits(plan.run, plan.variants, Path("panel"), windows, splits, "cpu", (Split("rows", 9, 18),))
    found = []
    for number, one in enumerate(planned):
        result = Result(status=Status.FAILED, reason="it diverged") if one.label == failed else Result(status=Status.FINISHED)
        own = folder / str(number)
        own.mkdir()
        frame = pl.DataFrame({"unique_id": ["a"], "ds": [number], "cutoff": [number], "step": [1], "ridge": [float(number)]})
        frame.with_columns(pl.lit(-1.0, pl.Float32).alias("ridge-q-0.1")).write_parquet(own / "validation.parquet")
        there = None if one.label == failed else own / "validation.parquet"
        found.append(Fit(planned=one, run_id="", folder=own, result=result, validation=there, test=there))
    return found


def test_a_fit_has_the_forecasts_of_its_folds_in_order_of_time_with_all_columns(tmp_path: Path) -> None:
    fits = fits_of(tmp_path)
    assert [(fit.label, fit.planned.kind, fit.planned.fold) for fit in fits] == [
        ("ridge", Kind.VARIANT, 2), ("ridge@2", Kind.REFIT, 2), ("ridge~1", Kind.FOLD, 1),
    ]  # fmt: skip
    last, refit = join_folds(fits)
    assert (last.label, refit.label) == ("ridge", "ridge@2")
    assert last.validation is not None and last.test == fits[0].test and refit.validation == fits[1].validation
    frame = pl.read_parquet(last.validation)
    assert frame["ridge"].to_list() == [2.0, 0.0] and frame["ridge-q-0.1"].to_list() == [-1.0, -1.0]


def test_a_fit_of_which_an_earlier_fold_failed_has_failed(tmp_path: Path) -> None:
    last, _ = join_folds(fits_of(tmp_path, "ridge~1"))
    assert not last.finished and last.result.reason == "ridge~1: it diverged" and last.validation is None
