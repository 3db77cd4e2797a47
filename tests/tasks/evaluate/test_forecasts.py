"""The file of a fit's forecasts: what its worker left, the point and the quantiles less it, row by row."""

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from models.data.panel import Panel, Split
from models.data.window import FeatureWindow, WindowParams
from models.fit.job import Job, load_model, read_result, windows_of
from models.worker import Evaluated, work
from params.load import load_variant
from tasks.evaluate import forecasts
from tasks.evaluate.forecasts import evaluate_variant, own_column, own_columns
from tasks.evaluate.frames import Forecasts, Outcome
from tasks.grid.frequency import Frequency
from tasks.lags.panel import write_panel
from tasks.train.fits import Fit
from tasks.train.job import Planned, make_job

RUN = "params/smoke.yaml"
WINDOWS = WindowParams(3, {"y": FeatureWindow(12)}, gap=1)
LEVELS = (0.1, 0.5, 0.9)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two series of another length; the target of the shorter is not always known."""
    rng, parts = np.random.default_rng(5), []
    for name, rows in (("a", 160), ("b", 110)):
        y = 20 + np.sin(np.arange(rows) / 3) + rng.normal(0, 0.3, rows)
        y[95:97] = np.nan if name == "b" else y[95:97]
        parts.append(pl.DataFrame({"unique_id": name, "ds": np.arange(rows), "y": y}).with_columns(pl.col("y").fill_nan(None)))
    return write_panel(pl.concat(parts).lazy(), WINDOWS, Frequency(1), 0, tmp_path_factory.mktemp("panels"))


def a_fit(panel: Path, folder: Path, *settings: str, variant: str = "nlinear", **planned: Any) -> Fit:
    """A variant that its worker trained and forecast with."""
    own = load_variant(variant, RUN, ["training.max_epochs=1", f"training.quantiles={[*LEVELS]}", *settings])
    job: Job = make_job(own, 0, panel, WINDOWS, Split("rows", 20, 20), "cpu")
    folder.mkdir()
    work(job, folder, (), "code", threading.Event())
    about = Planned(label=own.variant, variant=own, job=job, **planned)
    return Fit(planned=about, run_id="", folder=folder, result=read_result(folder), evaluated=Evaluated.read(folder))


@pytest.mark.parametrize("rows", [1, 50, 1 << 17])
def test_a_row_has_its_point_and_how_far_each_quantile_lies_from_it(
    folder: Path, tmp_path: Path, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many are written at a time."""
    monkeypatch.setattr(forecasts, "ROWS", rows)
    fit, panel = a_fit(folder, tmp_path / "fit"), Panel.open(folder)
    done = evaluate_variant.fn(fit, panel)
    model, windows = load_model(fit.job, fit.folder), windows_of(fit.job, panel)
    for split, path in (("validation", done.validation), ("test", done.test)):
        assert path is not None
        frame = pl.read_parquet(path)
        names = [own_column("nlinear", level) for level in LEVELS]
        assert frame.columns == ["unique_id", "ds", "cutoff", "step", "y", "nlinear", *names]
        assert own_columns(frame.columns, "nlinear") == names and {frame[name].dtype for name in names} == {pl.Float32}
        inputs, y = next(windows[split].batches(1000))
        outputs = model(*inputs).detach().numpy().reshape(-1, 1 + len(LEVELS))
        np.testing.assert_allclose(frame["nlinear"], outputs[:, 0], rtol=1e-6)
        np.testing.assert_allclose(frame.select(names).to_numpy(), outputs[:, 1:] - outputs[:, :1], rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(frame["y"].fill_null(np.nan), y.reshape(-1))
        shown = Forecasts(path, 3, Frequency(1), {"nlinear": path}, panel.ids)
        own = Outcome.gathered(shown.outcomes("nlinear", LEVELS), shown.rows).own
        assert own is not None
        np.testing.assert_allclose(own, outputs[:, 1:], rtol=1e-5)
        assert Outcome.gathered(shown.outcomes("nlinear", (0.1, 0.7)), shown.rows).own is None  # it has no such level


def test_a_refit_carries_the_name_of_the_fit_that_it_repeats(folder: Path, tmp_path: Path) -> None:
    done = evaluate_variant.fn(a_fit(folder, tmp_path / "fit", first="gru"), Panel.open(folder))
    assert done.test is not None
    assert own_columns(pl.read_parquet_schema(done.test), "gru") == [own_column("gru", level) for level in LEVELS]


@pytest.mark.parametrize(("variant", "settings"), [("nlinear", ["training.quantiles=[]"]), ("ridge", [])])
def test_without_quantiles_there_are_no_such_columns(folder: Path, tmp_path: Path, variant: str, settings: list[str]) -> None:
    done = evaluate_variant.fn(a_fit(folder, tmp_path / "fit", *settings, variant=variant), Panel.open(folder))
    assert done.validation is not None
    assert pl.read_parquet(done.validation).columns == ["unique_id", "ds", "cutoff", "step", "y", variant]


def test_what_is_not_finite_fails_the_fit(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = list[tuple[str, str]]()
    monkeypatch.setattr(forecasts, "runs", SimpleNamespace(finish=lambda *given: told.append(given)))
    fit = a_fit(folder, tmp_path / "fit")
    broken = Fit(
        planned=fit.planned,
        run_id="r",
        folder=fit.folder,
        result=fit.result,
        evaluated=Evaluated(code="", not_finite=("test",)),
    )
    done = evaluate_variant.fn(broken, Panel.open(folder))
    assert not done.finished and done.result.reason == "forecasts on test are not finite" and told == [("r", "FAILED")]
