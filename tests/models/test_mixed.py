"""Ensembles of networks and baselines: what each forecasts, how both are combined, trained, kept and trained again."""

import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import models.mixed
from models.data.panel import Panel, Split
from models.data.window import FeatureWindow, WindowParams
from models.data.windows import Windows
from models.fit.job import Job, load_model, read_result, windows_of
from models.mixed import baseline_forecasts, combined, digest
from models.worker import Evaluated
from params.errors import UserError
from params.load import load_plan, load_run, load_variant
from params.schema import VariantParams
from tasks.engine.contract import Listener
from tasks.evaluate.baselines import forecast_baselines
from tasks.grid.frequency import Frequency
from tasks.lags.panel import write_panel
from tasks.lags.past import target_frame
from tasks.train.check import check_plan, check_variant, seeds_of, sizes
from tasks.train.final import job_on_all_rows
from tasks.train.identity import identity
from tasks.train.job import baseline_job, make_job
from tasks.train.process import fit_folder, run_fit

RUN = "params/nyc_weather.yaml"
WINDOWS = WindowParams(4, {"y": FeatureWindow(24)}, start_padding=8)
SPLIT = Split("rows", 60, 60)
SETTINGS = ("training.max_epochs=1", "training.seeds=2", "evaluation.stride=7")
NEVER = threading.Event()
NAMES = ("seasonal_naive", "theta", "drift")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two series of another length and size, a daily wave with noise; one has a gap, one a target that begins late."""
    rng, parts = np.random.default_rng(3), []
    for name, rows, size in (("a", 400, 1.0), ("b", 300, 1000.0)):
        y = size * (5 + np.sin(np.arange(rows) * np.pi / 12) + rng.normal(0, 0.2, rows))
        if name == "a":
            y[310:345] = np.nan  # more than a day: its seasonal naive goes two days back
        parts.append(pl.DataFrame({"unique_id": name, "ds": np.arange(rows), "y": y}).with_columns(pl.col("y").fill_nan(None)))
    home = tmp_path_factory.mktemp("panels")
    return write_panel(pl.concat(parts).lazy(), WINDOWS, Frequency(1), 0, home)


def a_variant(*settings: str, combine: Any = "median", baselines: tuple[str, ...] = NAMES) -> VariantParams:
    """An ensemble of nlinear, in two seeds, and some baselines, as a variant file would say it."""
    nlinear = load_variant("nlinear", RUN, [*SETTINGS, *settings])
    about = nlinear.model_copy(update={"network": {}, "shared": frozenset()})
    others = [about.model_copy(update={"variant": name, "family": name}) for name in baselines]
    own = {"variant": "both", "family": "ensemble", "members": (nlinear, *others), "combine": combine}
    return about.model_copy(update=own)


def a_job(folder: Path, *settings: str, combine: Any = "median", baselines: tuple[str, ...] = NAMES) -> Job:
    return make_job(a_variant(*settings, combine=combine, baselines=baselines), 0, folder, WINDOWS, SPLIT, "cpu")


def evaluated_windows(job: Job) -> dict[str, Windows]:
    return windows_of(job, Panel.open(job.panel), ("validation", "test"))


@pytest.fixture(scope="module")
def trained(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder in which the ensemble was trained."""
    home = tmp_path_factory.mktemp("trained")
    assert run_fit(a_job(folder), home, Listener(), NEVER).result.finished
    return home


def test_its_baselines_forecast_as_those_of_a_comparison_do(folder: Path) -> None:
    job, panel = a_job(folder, baselines=("last_value", *NAMES, "naive2")), Panel.open(folder)
    windows = windows_of(job, panel, ("test",))["test"]
    rows = windows.origins.numpy()
    found = baseline_forecasts(job, panel, rows)
    assert found.shape == (len(rows), 4, 5) and len(rows) > 10
    run = load_run(RUN, [*SETTINGS, "evaluation.baselines=[last_value, seasonal_naive, theta, drift, naive2]"])
    run = run.model_copy(update={"windows": run.windows.model_copy(update={"horizon": 4})})
    run = run.model_copy(update={"evaluation": run.evaluation.model_copy(update={"baseline_origins": 1000})})
    ids = [panel.ids[number] for number in np.searchsorted(panel.offsets, rows, side="right") - 1]
    origins = pl.DataFrame({"unique_id": ids, "cutoff": panel.times[rows]})
    frame, _ = forecast_baselines(target_frame(panel, panel.ids), origins, run, None, Frequency(1))
    for number, one in enumerate(job.baselines):
        np.testing.assert_array_equal(frame[one.family].to_numpy().reshape(len(rows), 4), found[..., number], one.family)


def test_they_see_nothing_after_their_cutoff(folder: Path) -> None:
    job, panel = a_job(folder), Panel.open(folder)
    rows = windows_of(job, panel, ("test",))["test"].origins.numpy()
    before = baseline_forecasts(job, panel, rows)
    for number in (0, len(rows) // 2, len(rows) - 1):
        row = int(rows[number])
        target = np.array(panel.target)
        target[row + 1 :] = 12345.0
        after = baseline_forecasts(job, replace(panel, target=target), rows[number : number + 1])
        np.testing.assert_array_equal(after[0], before[number])


@pytest.mark.parametrize(("how", "of"), [("median", np.nanmedian), ("mean", np.nanmean)])
def test_a_baseline_without_a_forecast_is_left_out_and_a_network_without_one_is_not(how: str, of: Any) -> None:
    rng = np.random.default_rng(0)
    networks, baselines = rng.normal(size=(6, 3, 2)), rng.normal(size=(6, 3, 3))
    baselines[1, 2, 0] = baselines[2, :, 1:] = baselines[3] = np.nan
    found = combined(networks, baselines, how)
    np.testing.assert_allclose(found, of(np.concatenate([networks, baselines], -1), axis=-1), rtol=1e-14)
    assert np.isfinite(found).all()
    networks[4, 1, 0], networks[5, 0, 1] = np.nan, np.inf
    broken = combined(networks, baselines, how)
    assert np.isnan(broken[4, 1]) and np.isnan(broken[5, 0]) and np.isnan(broken).sum() == 2


def test_with_counts_it_is_a_weighted_mean_of_what_is_there() -> None:
    rng = np.random.default_rng(0)
    networks, baselines = rng.normal(size=(4, 3, 2)), rng.normal(size=(4, 3, 2))
    baselines[1, :, 0] = baselines[2] = np.nan
    both = np.concatenate([networks, baselines], -1)
    weights = np.where(np.isnan(both), 0, [3, 0, 1, 4])
    np.testing.assert_allclose(
        combined(networks, baselines, "mean", (3, 0, 1, 4)), np.nansum(weights * both, -1) / weights.sum(-1), rtol=1e-14
    )
    alone = combined(networks, baselines, "mean", (0, 0, 1, 4))
    np.testing.assert_allclose(alone[2], networks[2].mean(-1), rtol=1e-14)  # nobody is there who counts: all who are, alike


def test_a_digest_of_forecasts_is_that_of_their_bits() -> None:
    one = {"test": np.array([[[1.0, np.nan]]]), "validation": np.array([[[2.0, 3.0]]])}
    same = {"validation": one["validation"].copy(), "test": np.array([[[1.0, -np.nan]]])}
    assert digest(one) == digest(same)
    for other in (
        {**one, "test": np.nextafter(one["test"], 2)},
        {"test": one["validation"], "validation": one["test"]},
        {**one, "test": one["test"].reshape(1, 2, 1)},
    ):
        assert digest(other) != digest(one)


@pytest.mark.slow
def test_it_is_trained_and_forecasts_as_its_members_do(folder: Path, trained: Path) -> None:
    job, panel = a_job(folder), Panel.open(folder)
    assert [one.training.variant for one in job.members] == ["nlinear", "nlinear", *NAMES]
    assert [one.training.seed for one in job.networks] == [0, 1] and [one.family for one in job.baselines] == [*NAMES]
    at, windows = fit_folder(job, trained), windows_of(job, panel)
    found = read_result(at)
    for split in ("validation", "test"):
        inputs, y = next(windows[split].batches(1000))
        networks = [load_model(one, fit_folder(one, trained))(*inputs)[..., 0].detach().numpy() for one in job.networks]
        rows = windows[split].origins.numpy()
        both = np.concatenate([np.stack(networks, -1), baseline_forecasts(job, panel, rows)], -1)
        made = np.load(at / f"{split}.npy")
        np.testing.assert_allclose(made, np.nanmedian(both, -1), rtol=1e-6)
        if split == "validation":
            assert found.val_mae == pytest.approx(float(np.nanmean(np.abs(made - y.numpy()))), rel=1e-6)
    graph = load_model(job, at)(*inputs)
    np.testing.assert_allclose(graph[..., :2].detach().numpy(), np.stack(networks, -1), rtol=1e-6)
    assert graph.shape[-1] == 2 + len(job.networks[0].quantiles)
    evaluated = Evaluated.read(at)
    assert evaluated is not None and evaluated.not_finite == () and evaluated.memory is not None
    assert evaluated.quantiles == job.networks[0].quantiles != ()
    assert len(evaluated.memory.sensitivity) == WINDOWS.reach + 1  # of its networks: a baseline has no window
    assert found.num_parameters == 2 * read_result(fit_folder(job.networks[0], trained)).num_parameters


@pytest.mark.slow
def test_the_same_job_gives_the_same_weights_elsewhere_and_is_taken_as_it_is(
    folder: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, found = a_job(folder), read_result(fit_folder(a_job(folder), trained))
    assert Job.from_dict(json.loads(json.dumps(job.to_dict()))) == job
    assert run_fit(job, trained, Listener(), NEVER).reused
    said = list[str]()
    again = run_fit(job, tmp_path, Listener(warning=said.append), NEVER)
    assert said == [f"fits theta at {sum(map(len, evaluated_windows(job).values())):,} origins, one after another"]
    assert not again.reused and again.result.weights == found.weights and again.result.forecasts == found.forecasts != ""
    files = [(fit_folder(job, home) / "test.npy").read_bytes() for home in (trained, tmp_path)]
    assert files[0] == files[1]
    other = a_job(folder, baselines=("seasonal_naive", "theta"))
    assert run_fit(other, tmp_path, Listener(), NEVER).result.weights != found.weights  # though its networks are the same


@pytest.mark.slow
def test_its_refit_trains_the_networks_on_all_rows_and_leaves_the_baselines(folder: Path, trained: Path) -> None:
    job = a_job(folder)
    again = job_on_all_rows(job, read_result(fit_folder(job, trained)))
    assert all(one.split is None for one in again.members) and [one.family for one in again.baselines] == [*NAMES]
    assert [one.network for one in again.baselines] == [one.network for one in job.baselines]
    result = run_fit(again, trained, Listener(), NEVER).result
    assert result.finished and result.val_mae is None and result.forecasts == ""
    assert result.weights != read_result(fit_folder(job, trained)).weights
    evaluated = Evaluated.read(fit_folder(again, trained))
    assert evaluated is not None and evaluated.not_finite == ()


@pytest.mark.slow
def test_a_stop_while_its_baselines_forecast_keeps_what_is_trained(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from models import worker
    from models.fit.settings import Stopped

    job, asked = a_job(folder), threading.Event()
    real = models.mixed.baseline_forecasts

    def stopped_in_between(job: Job, panel: Panel, origins: np.ndarray, told: Any) -> np.ndarray:
        def then() -> None:
            asked.set()
            told()

        return real(job, panel, origins, then)

    monkeypatch.setattr(models.mixed, "baseline_forecasts", stopped_in_between)
    with pytest.raises(Stopped, match="its members are done"):
        worker.work(job, tmp_path, (), "code", asked)
    assert not list(tmp_path.iterdir())


def test_what_a_baseline_member_is_asked(folder: Path) -> None:
    variant = a_variant()
    theta = next(one for one in variant.members if one.family == "theta")
    assert seeds_of(theta) == 1 and check_variant(theta, WINDOWS) == 0
    assert check_variant(variant, WINDOWS) == 2 * check_variant(variant.members[0], WINDOWS)
    both = sizes({"both": variant}, WINDOWS)["both"]
    alone = sizes({"nlinear": variant.members[0]}, WINDOWS)["nlinear"]
    assert both == (2 * alone.parameters, alone.field)
    job = next(one for one in a_job(folder).baselines if one.family == "theta")
    assert dict(job.network) == {"season": 24, "rows": 500}
    own = baseline_job("theta", 24, WINDOWS, SPLIT, 7, folder)
    assert replace(job, threads=own.threads) == own  # what a version of it alone would be
    digests = {identity(a_job(folder, *some), "d") for some in ((), ("evaluation.season=12",))}
    assert len(digests) == 2


def test_a_season_that_a_baseline_does_not_take_is_said_before_any_data_is_read() -> None:
    check_variant(a_variant("evaluation.season=168", baselines=("auto_ets",)), WINDOWS)
    with pytest.raises(UserError, match=r"variant both .*auto_ets takes a season of 168 rows at most, and .* is 169"):
        check_variant(a_variant("evaluation.season=169", baselines=("auto_ets",)), WINDOWS)


def test_a_variant_file_names_baselines_beside_variants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import params.load

    (tmp_path / "variants").mkdir()
    for name in ("nlinear", "gru"):
        (tmp_path / "variants" / f"{name}.yaml").write_text(Path(f"params/variants/{name}.yaml").read_text())
    (tmp_path / "base.yaml").write_text(Path("params/base.yaml").read_text())
    monkeypatch.setattr(params.load, "PARAMS", tmp_path)

    def written(members: str) -> VariantParams:
        text = f"about: a median of both kinds\nensemble: {members}\ncombine: mean\n"
        (tmp_path / "variants" / "both.yaml").write_text(text)
        plan = load_plan(Path(RUN).absolute(), ["variants=[both]", "evaluation.season=12"])
        check_plan(plan)
        return plan.variants["both"]

    found = written("[theta, gru, seasonal_naive]")
    assert [(one.variant, one.family) for one in found.members] == [
        ("theta", "theta"),
        ("gru", "recurrent"),
        ("seasonal_naive", "seasonal_naive"),
    ]
    job = make_job(found, 0, tmp_path, WINDOWS, SPLIT, "cpu")
    assert [dict(one.network) for one in job.baselines] == [{"season": 12, "rows": 500}, {"season": 12}]
    for members, words in (
        ("[theta, drift]", "all of theta, drift are baselines; name a variant beside them"),
        ("[gru, theta, theta]", "each once"),
        ("[gru, thetta]", "unknown variant 'thetta'; did you mean 'theta'"),
    ):
        with pytest.raises(UserError, match=words):
            written(members)
