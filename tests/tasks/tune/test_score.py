"""The score of a trial by hand: a mean over folds, in the measure of the run, from the forecasts of validation alone."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from models.data.origins import origin_rows
from models.data.panel import Data, Panel, Split
from models.data.window import FeatureWindow, WindowParams
from models.fit.settings import Result, Status
from params.load import Plan, load_plan
from tasks.evaluate.baselines import with_baselines, write_baselines
from tasks.grid.frequency import Frequency
from tasks.lags.panel import write_panel
from tasks.train.fits import Fit
from tasks.tune.score import Ruler
from tasks.tune.study import planned
from tasks.tune.trial import Trial

WINDOWS = WindowParams(2, {"y": FeatureWindow(3)})
Y = [float(10 + row % 4 + (row % 3) ** 2) for row in range(60)]
OWN = (
    *("data.frequency=1", "windows.calendar=[]", "split={validation: 8, test: 8, folds: 3}", "windows.horizon=2"),
    *("windows.features={y: {lookback: 3}}", "evaluation.stride=1", "evaluation.season=4", "variants=[gru]"),
)


def a_plan(*settings: str) -> Plan:
    return load_plan("params/smoke.yaml", [*OWN, "evaluation.baselines=[last_value]", *settings])


def data_of(folder: Path) -> Data:
    frame = pl.DataFrame({"unique_id": ["a"] * len(Y), "ds": range(len(Y)), "y": Y})
    panel = Panel.open(write_panel(frame.lazy(), WINDOWS, Frequency(1), 0, folder))
    return Data(panel, WINDOWS, Split("rows", 8, 8), (Split("rows", 8, 24), Split("rows", 8, 16)))


def fits_of(plan: Plan, data: Data, folder: Path) -> list[Fit]:
    """The fits of a trial, the oldest fold first, each in a folder of its own."""
    found = []
    for one in sorted(
        planned(Trial(variant="gru", number=3, values={}), plan.variants["gru"], data, "cpu"), key=lambda p: p.fold
    ):
        (folder / f"fit{one.fold}").mkdir()
        done = Result(status=Status.FINISHED)
        found.append(Fit(planned=one, run_id="", folder=folder / f"fit{one.fold}", result=done))
    return found


def actuals(fit: Fit, data: Data) -> np.ndarray:
    """[origins, 2] the two rows after each origin of a fit's validation range."""
    origins = origin_rows(data.panel, fit.job.windows, fit.job.split, "validation", 1)
    return np.asarray(Y)[np.asarray(origins)[:, None] + np.arange(1, 3)]


def test_the_fits_of_a_trial_are_those_of_the_newest_range_and_of_each_before_it(tmp_path: Path) -> None:
    data = data_of(tmp_path)
    found = planned(Trial(variant="gru", number=3, values={}), a_plan().variants["gru"], data, "cpu")
    assert [(one.label, one.fold, one.job.split) for one in found] == [
        ("gru-t3", 3, data.split),
        ("gru-t3~2", 2, data.earlier[1]),
        ("gru-t3~1", 1, data.earlier[0]),
    ]
    assert {one.job.training.seed for one in found} == {0}


def test_it_is_the_mean_over_folds_of_the_mean_absolute_error(tmp_path: Path) -> None:
    plan, data = a_plan(), data_of(tmp_path)
    ruler, fits = Ruler.of(plan.run, data, tmp_path), fits_of(plan, data, tmp_path)
    for off, fit in zip((1.0, -2.0, 6.0), fits, strict=True):
        np.save(fit.folder / "validation.npy", actuals(fit, data) + off)
    assert ruler.score(fits) == pytest.approx(3.0)
    shifted = actuals(fits[0], data)
    shifted[0, 1] += 5
    np.save(fits[0].folder / "validation.npy", shifted)
    assert ruler.score(fits) == pytest.approx((5 / shifted.size + 8.0) / 3)


def test_an_owa_of_naive2_itself_is_one(tmp_path: Path) -> None:
    plan, data = a_plan("evaluation.choose_by=owa"), data_of(tmp_path)
    ruler, fits = Ruler.of(plan.run, data, tmp_path), fits_of(plan, data, tmp_path)
    files = write_baselines(with_baselines(plan.run, ("naive2",)), data, tmp_path).files["validation"]
    forecasts = pl.read_parquet(files["naive2"])["naive2"].to_numpy()
    parts = np.split(forecasts, np.cumsum([actuals(fit, data).size for fit in fits])[:-1])
    for part, fit in zip(parts, fits, strict=True):
        np.save(fit.folder / "validation.npy", part.reshape(-1, 2))
    assert ruler.score(fits) == pytest.approx(1.0)
    for fit in fits:
        np.save(fit.folder / "validation.npy", actuals(fit, data))
    assert ruler.score(fits) == pytest.approx(0.0)
