"""What the process of a fit leaves for its parent: forecasts of every window, their cost, the memory card."""

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models import worker
from models.fit.checkpoint import StorageFull
from models.fit.job import Job, load_model, prepare, read_result
from models.fit.settings import Stopped
from models.memory_card import MemoryCard
from models.worker import Evaluated, work

NEVER = threading.Event()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a fit is carried out."""
    (tmp_path / "fit").mkdir()
    return tmp_path / "fit"


def test_every_window_is_forecast_once_and_the_rest_is_measured(job: Job, folder: Path) -> None:
    """Held against the forecaster called window by window."""
    work(job, folder, (), "abc", NEVER)
    model, (_, windows) = load_model(job, folder), prepare(job)
    for split in ("validation", "test"):
        found = np.load(folder / f"{split}.npy")
        assert found.dtype == np.float64 and found.shape == (len(windows[split]), job.windows.horizon)
        with torch.inference_mode():
            alone = [model(*windows[split].inputs(origin[None]))[0].numpy() for origin in windows[split].origins]
        np.testing.assert_allclose(found, np.stack([one[:, 0] for one in alone]), rtol=1e-5, atol=1e-5)
        quantiles = np.load(folder / f"{split}-quantiles.npy")
        assert quantiles.dtype == np.float32 and quantiles.shape == (*found.shape, 2)
        np.testing.assert_allclose(quantiles, np.stack([one[:, 1:] - one[:, :1] for one in alone]), rtol=1e-4, atol=1e-5)
    evaluated = Evaluated.read(folder)
    assert evaluated is not None and evaluated.code == "abc" and evaluated.not_finite == ()
    assert evaluated.quantiles == (0.1, 0.9) and len(evaluated.files) == 4
    assert isinstance(evaluated.memory, MemoryCard) and len(evaluated.memory.sensitivity) == job.windows.reach + 1
    size = sum(value.numel() * value.element_size() for value in model.state_dict().values())
    assert evaluated.weights_mb == pytest.approx(size / 1e6) and evaluated.forecast_ms_per_series > 0


def test_finished_weights_are_forecast_with_again_and_not_trained_again(job: Job, folder: Path) -> None:
    work(job, folder, (), "old", NEVER)
    before = (folder / "weights.pt").stat().st_mtime_ns, np.load(folder / "test.npy")
    (folder / "test.npy").unlink()
    work(job, folder, (), "new", NEVER)
    assert ((folder / "weights.pt").stat().st_mtime_ns, np.load(folder / "test.npy").tobytes()) == (
        before[0],
        before[1].tobytes(),
    )
    evaluated = Evaluated.read(folder)
    assert evaluated is not None and evaluated.code == "new"


def test_a_fit_on_all_rows_is_looked_at_and_not_scored(job: Job, folder: Path) -> None:
    work(replace(job, split=None).with_training(refit_epochs=1), folder, (), "abc", NEVER)
    evaluated = Evaluated.read(folder)
    assert evaluated == Evaluated(code="abc", not_finite=())
    assert not list(folder.glob("*.npy"))


def test_forecasts_that_are_no_numbers_are_named_by_split(job: Job, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = worker.forecast_all

    def broken(*given: Any) -> worker.Forecasts:
        found = real(*given)
        found.points[-1, -1] = np.inf
        return found

    monkeypatch.setattr(worker, "forecast_all", broken)
    work(job, folder, (), "abc", NEVER)
    evaluated = Evaluated.read(folder)
    assert evaluated is not None and evaluated.not_finite == ("validation", "test") and evaluated.memory is None


def test_a_network_without_quantiles_leaves_none(job: Job, folder: Path) -> None:
    work(replace(job, quantiles=()), folder, (), "abc", NEVER)
    evaluated = Evaluated.read(folder)
    assert evaluated is not None and evaluated.quantiles == () and {*evaluated.files} == {"validation.npy", "test.npy"}
    assert {path.name for path in folder.glob("*.npy")} == {*evaluated.files}


def test_where_a_quantile_is_no_number_none_is_left_and_the_points_are(
    job: Job, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its upper quantile, taken through exp, may be beyond what a number holds."""
    work(job, folder, (), "old", NEVER)
    points, real = np.load(folder / "test.npy"), worker.forecast_all

    def broken(forecaster: Any, windows: Any, *others: Any) -> worker.Forecasts:
        found = real(forecaster, windows, *others)
        found.quantiles[0, 0, 1] = np.inf
        return found

    monkeypatch.setattr(worker, "forecast_all", broken)
    work(job, folder, (), "abc", NEVER)
    evaluated = Evaluated.read(folder)
    assert evaluated is not None and evaluated.not_finite == () and evaluated.quantiles == () and evaluated.memory is not None
    assert {*evaluated.files} == {"validation.npy", "test.npy"} and "a quantile is no number" in capsys.readouterr().out
    np.testing.assert_array_equal(np.load(folder / "test.npy"), points)


def test_a_fit_that_failed_forecasts_nothing(job: Job, folder: Path) -> None:
    work(job.with_training(learning_rate=1e30, clip_norm=1e30, weight_decay=1e30), folder, (), "abc", NEVER)
    assert not read_result(folder).finished and Evaluated.read(folder) is None and not list(folder.glob("*.npy"))


def test_one_that_is_asked_to_stop_keeps_its_weights_for_the_next_try(job: Job, folder: Path) -> None:
    work(job, folder, (), "old", NEVER)
    asked = threading.Event()
    asked.set()
    with pytest.raises(Stopped):
        work(job, folder, (), "new", asked)
    assert read_result(folder).finished


@pytest.mark.parametrize("content", ["", "{", "[]", '{"code": 1}', "null"])
def test_a_damaged_evaluation_counts_as_none(folder: Path, content: str) -> None:
    (folder / "evaluation.json").write_text(content)
    assert Evaluated.read(folder) is None


def test_forecasts_that_do_not_fit_on_the_disk_are_a_full_disk(job: Job, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit on the size of files that the weights keep and the forecasts do not."""
    import resource

    work(job, folder, (), "old", NEVER)
    (folder / "evaluation.json").unlink()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, hard))
    try:
        with pytest.raises(StorageFull, match=r"no room for validation\.npy"):
            work(job, folder, (), "new", NEVER)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert read_result(folder).finished and not list(folder.glob(".*.partial"))
