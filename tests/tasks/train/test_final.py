"""The job of a refit worked out by hand; what it has seen; a refit that fails registers nothing."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from models.data.panel import Panel, Split
from models.data.window import FeatureWindow, WindowParams
from models.fit.job import Job, prepare
from models.fit.settings import Ended, Result, Status
from params.load import load_run, load_variant
from tasks.grid.frequency import Frequency
from tasks.lags.panel import write_panel
from tasks.registry.register import register_best
from tasks.train.final import job_on_all_rows, planned_on_all_rows, seen_until
from tasks.train.fits import Fit
from tasks.train.job import Planned, make_job

RUN = "params/nyc_weather.yaml"
WINDOWS = WindowParams(4, {"y": FeatureWindow(10)})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One series of 113 steps: 100 windows, of which a split by rows keeps back the last 50."""
    frame = pl.DataFrame({"unique_id": "a", "ds": np.arange(113), "y": np.sin(np.arange(113.0))})
    return write_panel(frame.lazy(), WINDOWS, Frequency(1), 0, tmp_path_factory.mktemp("panels"))


def job_of(folder: Path, variant: str = "gru", **numbers: Any) -> Job:
    """50 windows in batches of 8: 7 steps an epoch; all 100 are 13."""
    settings = [f"training.{name}={value}" for name, value in {"batch_size": 8, **numbers}.items()]
    return make_job(load_variant(variant, RUN, settings), 0, folder, WINDOWS, Split("rows", 25, 25), "cpu")


def result(best: int, steps: int) -> Result:
    rows = [{"epoch": epoch, "val_mae": float(epoch != best)} for epoch in range(best + 2)]
    return Result(status=Status.FINISHED, best_epoch=best, steps=steps, epoch_steps=7, history=rows, ended_by=Ended.MAX_EPOCHS)


@pytest.mark.parametrize(
    ("numbers", "found", "expected"),
    [
        ({"max_epochs": 9}, result(2, 28), {"refit_epochs": 3}),
        ({"max_epochs": 9, "max_seconds": 5.0}, result(2, 28), {"refit_epochs": 3}),
        ({"max_steps": 70}, result(2, 28), {"refit_epochs": 3, "max_steps": 130}),
        ({"max_steps": 24}, result(2, 24), {"refit_epochs": 3, "max_steps": 45}),  # 24 is three steps into the fourth
        ({"max_steps": 17}, result(2, 17), {"refit_epochs": 3, "max_steps": 32, "stop_step": 32}),  # 2 * 13 + 3 / 7 of 13
        ({"max_seconds": 5.0}, result(0, 1), {"refit_epochs": 1, "stop_step": 2}),
    ],
    ids=["epochs", "seconds that were enough", "steps", "steps after the best", "cut short by steps", "cut short by seconds"],
)
def test_the_job_of_a_refit(folder: Path, numbers: dict[str, Any], found: Result, expected: dict[str, Any]) -> None:
    job = job_of(folder, **numbers)
    again = job_on_all_rows(job, found)
    assert again == replace(job, split=None).with_training(**{"max_seconds": None, **expected})
    _, windows = prepare(again)
    assert [len(one) for one in windows.values()] == [100, 0, 0]
    assert len(prepare(job)[1]["train"]) == 50


def test_a_ridge_refit_has_the_penalty_that_was_best(folder: Path) -> None:
    rows = [{"epoch": epoch, "penalty": 10.0**epoch} for epoch in range(3)]
    again = job_on_all_rows(job_of(folder, "ridge"), Result(status=Status.FINISHED, best_epoch=1, history=rows))
    assert again.training.refit_penalty == 10.0 and again.training.refit_epochs is None


def test_the_refit_of_a_network_beside_a_ridge_regression_has_its_penalty_and_its_epochs(folder: Path) -> None:
    again = job_on_all_rows(job_of(folder), replace(result(2, 28), penalty=100.0))
    assert (again.training.refit_penalty, again.training.refit_epochs) == (100.0, 3)


def test_what_a_refit_has_seen_ends_with_the_newest_target_of_each_series() -> None:
    target = np.arange(12, dtype=np.float32)

    def panel(missing: list[int]) -> Panel:
        y = target.copy()
        y[missing] = np.nan
        return Panel(y, y[:, None], np.array([0, 4, 8, 12]), np.tile(np.arange(10, 14), 3), ("a", "b", "c"), ("y",), "")

    assert seen_until(panel([])) == seen_until(panel([0, 5])) == 13
    assert seen_until(panel([3, 6, 7])) == {"a": 12, "b": 11, "c": 13}
    assert seen_until(panel([8, 9, 10, 11])) == {"a": 13, "b": 13}


def test_a_refit_that_failed_registers_nothing(folder: Path, tmp_path: Path) -> None:
    """Nothing is asked of the registry, which is not even there."""
    planned = Planned(label="gru", variant=load_variant("gru", RUN), job=job_of(folder))
    fit = Fit(planned=planned, run_id="", folder=tmp_path, result=result(2, 28))
    refit = replace(fit, planned=planned_on_all_rows(fit)).failed("diverged: the loss is not finite")
    chosen = SimpleNamespace(chosen_fit="gru", board=SimpleNamespace(chosen="gru", won=True))
    found = register_best.fn(load_run(RUN), chosen, [fit], "parent", tmp_path, None, refit)
    assert found.version is None and not found.new
    assert found.why is not None
    assert found.why.startswith("gru-all, the chosen variant trained on all rows (training.refit), failed: diverged: the loss")
