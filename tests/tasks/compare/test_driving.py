"""What drives a comparison's choice: measured on the chosen fit, with its baselines, and without a trace in any score."""

import threading
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pytest
import torch

from models.data.panel import Data, Panel, Split
from models.data.window import FeatureWindow, WindowParams
from models.fit.job import load_model, read_result, windows_of
from models.worker import Evaluated, forecast, work
from params.load import load_plan
from params.schema import RunParams
from tasks.compare.board import Board
from tasks.compare.compare import Comparison, compare
from tasks.compare.driving import _beside, _ruler, explained, importance_of
from tasks.compare.measures import Scale
from tasks.evaluate.baselines import write_baselines
from tasks.evaluate.forecasts import evaluate_variant
from tasks.evaluate.importance import sampled
from tasks.grid.frequency import Frequency
from tasks.lags.panel import write_panel
from tasks.train.fits import Fit
from tasks.train.job import plan_fits

WINDOWS = WindowParams(3, {"y": FeatureWindow(4), "x": FeatureWindow(4)})
ROWS, DELAY = 240, 3
RUN = """
name: driven
data: {path: none.parquet, id: unique_id, time: ds, target: y, frequency: 1}
windows: {horizon: 3, calendar: [], features: {y: {lookback: 4}, x: {lookback: 4}}}
split: {validation: 60, test: 60}
variants: [ridge, mixed]
define:
  mixed: {like: ensemble_theta, ensemble: [ridge, last_value], combine: mean}
scaling: {window: none}
evaluation: {stride: 1, season: 6, baselines: [last_value, drift, seasonal_naive]}
"""


class House(NamedTuple):
    """A comparison of a ridge regression and of its mean with the last value, in a folder."""

    run: RunParams
    data: Data
    fits: list[Fit]
    found: Comparison
    folder: Path

    def again(self, folder: Path) -> Comparison:
        return compare(self.run, self.data, self.fits, write_baselines(self.run, self.data, folder), folder)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    rng, parts, folder = np.random.default_rng(3), [], tmp_path_factory.mktemp("compared")
    for name, level in (("a", 5.0), ("b", 9.0)):
        x = rng.normal(size=ROWS)
        y = level + 2 * np.concatenate((np.zeros(DELAY), x[:-DELAY])) + 0.5 * rng.normal(size=ROWS)
        parts.append(pl.DataFrame({"unique_id": name, "ds": range(ROWS), "y": y, "x": x}))
    panel = Panel.open(write_panel(pl.concat(parts).lazy(), WINDOWS, Frequency(1), 0, folder / "panels"))
    (folder / "run.yaml").write_text(RUN)
    data, plan = Data(panel, WINDOWS, Split("rows", 60, 60)), load_plan(str(folder / "run.yaml"), [])
    planned = plan_fits(plan.run, plan.variants, panel.folder, WINDOWS, (data.split,), "cpu")
    fits = []
    for one in planned:
        own = folder / one.label
        own.mkdir()
        work(one.job, own, [folder / "ridge"], "code", threading.Event())
        fit = Fit(planned=one, run_id="", folder=own, result=read_result(own), evaluated=Evaluated.read(own))
        fits.append(evaluate_variant.fn(fit, panel))
    baselines = write_baselines(plan.run, data, folder)
    return House(plan.run, data, fits, compare(plan.run, data, fits, baselines, folder), folder)


def test_the_chosen_fit_is_explained_and_no_score_or_choice_changes(house: House, tmp_path: Path) -> None:
    (tmp_path / "before").mkdir()
    (tmp_path / "after").mkdir()
    before, state = house.again(tmp_path / "before"), torch.get_rng_state()
    found = explained(before, house.run, house.data, house.fits)
    after = house.again(tmp_path / "after")
    assert found.importance is not None and found.importance.model == found.chosen_fit == "ridge"
    first, second = found.importance.drivers
    assert (first.name, second.name) == ("x", "y") and first.effect.share > 1 > 5 * second.effect.share
    assert replace(found, importance=None) == before and torch.equal(torch.get_rng_state(), state)
    assert after.rows == before.rows and after.board == before.board and after.chosen_fit == before.chosen_fit
    one, other = (folder.joinpath("forecasts.parquet").read_bytes() for folder in (tmp_path / "before", tmp_path / "after"))
    assert one == other
    assert explained(before, house.run, house.data, house.fits).importance == found.importance


def test_the_best_variant_is_explained_where_a_baseline_was_chosen(house: House) -> None:
    bar, worse = house.found.baseline, {"ridge": 9.0, "mixed": 8.0}
    rows = [row.with_numbers(val_score=worse.get(row.name, 1.0), val_skill=None) for row in house.found.rows]
    lost = replace(house.found, board=Board.of(rows, bar, house.found.naive), chosen_fit=bar)
    assert not lost.board.won and lost.best == "mixed"
    found = explained(lost, house.run, house.data, house.fits).importance
    assert found is not None and found.model == "mixed"
    none = replace(lost, board=replace(lost.board, best=None))
    assert explained(none, house.run, house.data, house.fits) is none


def test_an_ensemble_forecasts_with_its_baselines_as_it_was_scored(house: House) -> None:
    fit = next(fit for fit in house.fits if fit.label == "mixed")
    model, windows = load_model(fit.job, fit.folder), windows_of(fit.job, house.data.panel, ("test",))["test"]
    some = sampled(model, windows, 6).windows.at(windows.origins.numpy()[3::5])
    made = forecast(model, some, fit.job, _beside(house.found, fit.job, windows, some))
    (column,) = (block["mixed"].to_numpy().reshape(-1, 3) for block in house.found.test.blocks("mixed"))
    np.testing.assert_allclose(made, column[3::5], rtol=1e-6)
    found = importance_of(fit, house.found, house.run, house.data)
    assert found is not None and found.drivers[0].name == "x" and found.windows == len(windows) and found.slot == 6


def test_a_baseline_that_is_only_a_member_forecasts_as_one_that_was_compared(house: House, tmp_path: Path) -> None:
    fit = next(fit for fit in house.fits if fit.label == "mixed")
    windows = windows_of(fit.job, house.data.panel, ("test",))["test"]
    some = windows.at(windows.origins.numpy()[2::7])
    pl.read_parquet(house.found.test.path).drop("last_value").write_parquet(tmp_path / "without.parquet")
    without = replace(house.found, test=replace(house.found.test, path=tmp_path / "without.parquet"))
    stored, made = (_beside(found, fit.job, windows, some) for found in (house.found, without))
    assert stored.shape == (len(some), 3, 1) and np.ptp(stored) > 1
    np.testing.assert_allclose(made, stored, rtol=1e-6)


@pytest.mark.parametrize(("by", "power"), [("mase", 1), ("rmsse", 2), ("mse_scaled", 2), ("mae", 1), ("owa", 1)])
def test_errors_are_in_the_measure_that_ranks(house: House, by: str, power: int) -> None:
    windows = windows_of(house.fits[0].job, house.data.panel, ("test",))["test"]
    units = {"mae": [2.0, 4.0], "mse": [4.0, 16.0], "deviation": [2.0, 4.0]}
    series = pl.DataFrame({"unique_id": ["a", "b"], **units, "size": 1.0})
    ruler = _ruler(Scale(by, 6, series), windows)  # type: ignore[arg-type]
    plain = _ruler(Scale("mae", 6, series), windows).errors(windows, np.zeros((len(windows), 3)))
    unit = np.where(np.arange(len(windows)) < len(windows) / 2, 2.0, 4.0)[:, None] if by != "mae" else 1.0
    np.testing.assert_allclose(ruler.errors(windows, np.zeros((len(windows), 3))), (plain / unit) ** power)
