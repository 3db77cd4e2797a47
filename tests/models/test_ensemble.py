"""Ensembles and the linear skip: forecasts combined as numpy does it, weights that come out of their members, bundles."""

import json
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models import build_forecaster, serving
from models.data.origins import origin_rows
from models.data.panel import Panel, Split
from models.data.scaling import fit_scaling
from models.data.window import FeatureWindow, WindowParams
from models.data.windows import Inputs, Windows
from models.ensemble import Ensemble
from models.exported import export
from models.fit.job import Job, load_model, read_result, weights_hash, windows_of
from models.fit.step import batch_loss
from models.forecaster import Forecaster
from models.networks.linear import Linear
from params.errors import UserError
from params.load import load_variant
from tasks.engine.contract import Listener
from tasks.grid.frequency import Frequency
from tasks.lags.panel import write_panel
from tasks.registry.bundle import check_parity
from tasks.train.check import check_shared, check_variant
from tasks.train.final import job_on_all_rows
from tasks.train.job import labels_of, make_job
from tasks.train.process import fit_folder, run_fit

RUN = "params/nyc_weather.yaml"


def random_forecasters(
    params: WindowParams, panel: Panel, split: Split, count: int, levels: Sequence[tuple[float, ...]] = ()
) -> list[Forecaster]:
    """Some small networks with weights of their own, with the quantiles `levels` of each, or all with those of 0.1 and 0.9."""
    scaling, found = fit_scaling(panel, params, split, "series"), []
    for seed in range(count):
        torch.manual_seed(seed)
        own = levels[seed] if levels else (0.1, 0.9)
        made = build_forecaster("dense", {"hidden_size": 4}, params, level="last", scaling=scaling, quantiles=own)
        found.append(made.eval())
    return found


def some_inputs(panel: Panel, params: WindowParams, split: Split) -> Inputs:
    windows = Windows(panel, params, origin_rows(panel, params, split, "test", 1))
    return next(windows.batches(64)).inputs


def of_each(members: Sequence[Forecaster], inputs: Inputs) -> list[np.ndarray]:
    return [member(*inputs).detach().numpy() for member in members]


@pytest.mark.parametrize("combine", ["median", "mean"])
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_members_are_combined_as_numpy_does_it(
    combine: Any, count: int, panel: Panel, params: WindowParams, split: Split
) -> None:
    members, inputs = random_forecasters(params, panel, split, count), some_inputs(panel, params, split)
    each = of_each(members, inputs)
    points = np.stack([one[..., 0] for one in each])
    expected = np.median(points, 0) if combine == "median" else points.mean(0)
    ensemble = Ensemble(members, combine).eval()
    found = ensemble(*inputs).detach().numpy()
    assert ensemble.quantiles == (0.1, 0.9) and found.shape == (*expected.shape, 3)
    np.testing.assert_allclose(found[..., 0], expected, rtol=1e-6)
    np.testing.assert_allclose(found[..., 1:], np.mean([one[..., 1:] for one in each], 0), rtol=1e-12)
    if count == 1:
        np.testing.assert_array_equal(found, each[0])  # one member is itself


def test_a_member_without_quantiles_has_the_mean_offsets_of_the_others_and_levels_are_those_that_all_share(
    panel: Panel, params: WindowParams, split: Split
) -> None:
    levels = [(0.1, 0.5, 0.9), (), (0.05, 0.1, 0.9)]
    members, inputs = random_forecasters(params, panel, split, 3, levels), some_inputs(panel, params, split)
    a, b, c = of_each(members, inputs)
    ensemble = Ensemble(members, "mean").eval()
    assert ensemble.quantiles == (0.1, 0.9)
    found = ensemble(*inputs).detach().numpy()
    for place, (in_a, in_c) in enumerate(((1, 2), (3, 3)), start=1):
        offset = (a[..., in_a] - a[..., 0] + c[..., in_c] - c[..., 0]) / 2
        expected = (a[..., in_a] + (b[..., 0] + offset) + c[..., in_c]) / 3
        np.testing.assert_allclose(found[..., place], expected, rtol=1e-12)
    bare = Ensemble(members[1:2]).eval()
    assert bare.quantiles == () and bare(*inputs).shape[-1] == 1
    apart = Ensemble([members[0], build_like(members[0], (0.25,))]).eval()
    assert apart.quantiles == () and apart(*inputs).shape[-1] == 1  # no level in common


def build_like(one: Forecaster, levels: tuple[float, ...]) -> Forecaster:
    """A forecaster of the same inputs with other quantiles."""
    params = WindowParams(one.horizon, {"y": FeatureWindow(24), "x": FeatureWindow(6, 2)})
    return build_forecaster("dense", {"hidden_size": 4}, params, level="last", quantiles=levels).eval()


@pytest.mark.parametrize("combine", ["median", "mean"])
def test_beside_baselines_its_points_are_left_apart_and_its_quantiles_stand_around_the_combined_one(
    combine: Any, panel: Panel, params: WindowParams, split: Split
) -> None:
    members, inputs = random_forecasters(params, panel, split, 3), some_inputs(panel, params, split)
    found = Ensemble(members, combine, apart=True).eval()(*inputs).detach().numpy()
    assert found.shape == (len(inputs.past_BLF), params.horizon, 3 + 2)
    each = of_each(members, inputs)
    for number, one in enumerate(each):
        np.testing.assert_array_equal(found[..., number], one[..., 0])
    together = Ensemble(members, combine).eval()(*inputs).detach().numpy()
    np.testing.assert_allclose(found[..., 3:], together[..., 1:] - together[..., :1], rtol=1e-12)
    assert (np.diff(found[..., 3:]) >= 0).all()


@pytest.mark.parametrize(("counts", "shares"), [((3, 0, 1), (0.75, 0, 0.25)), ((0, 0, 0, 9), (1 / 3,) * 3), ((2,), (1.0,))])
def test_with_counts_points_and_quantiles_are_weighted_means(
    counts: tuple[int, ...], shares: tuple[float, ...], panel: Panel, params: WindowParams, split: Split
) -> None:
    """Where no network counts (a baseline behind them does) they count alike."""
    levels = [(0.1, 0.9), (), (0.1, 0.9)][: len(shares)]
    members, inputs = random_forecasters(params, panel, split, len(shares), levels), some_inputs(panel, params, split)
    each = of_each(members, inputs)
    ensemble = Ensemble(members, "mean", counts=counts).eval()
    found = ensemble(*inputs).detach().numpy()
    point = sum(share * one[..., :1] for share, one in zip(shares, each, strict=True))
    having = [number for number, own in enumerate(levels) if own]
    whole = sum(shares[number] for number in having)
    offset = sum(shares[number] * (each[number][..., 1:] - each[number][..., :1]) for number in having) / whole
    np.testing.assert_allclose(found[..., :1], point, rtol=1e-6)
    np.testing.assert_allclose(found[..., 1:], point + offset, rtol=1e-6)
    apart = Ensemble(members, "mean", True, counts).eval()(*inputs).detach().numpy()
    np.testing.assert_allclose(apart[..., len(members) :], offset, rtol=1e-4, atol=1e-5)
    assert ensemble.state_dict()["counts"].tolist() == list(counts)  # so that its sha256 is over them too
    other = Ensemble(members, "mean", counts=[count + 1 for count in counts])
    assert weights_hash(dict(other.state_dict())) != weights_hash(dict(ensemble.state_dict()))


def test_an_ensemble_of_none_or_of_another_rule_is_refused(panel: Panel, params: WindowParams, split: Split) -> None:
    one, two = random_forecasters(params, panel, split, 2)
    with pytest.raises(ValueError, match="needs a member"):
        Ensemble([])
    with pytest.raises(ValueError, match="'mode' is not one of median, mean"):
        Ensemble([one, two], "mode")  # type: ignore[arg-type]


@pytest.mark.slow
def test_its_exported_graph_forecasts_the_same(panel: Panel, params: WindowParams, split: Split) -> None:
    for count, apart, levels in ((2, False, ()), (3, False, [(0.1,), (), (0.1, 0.9)]), (1, True, ()), (3, True, [()] * 3)):
        counts = range(1, 1 + count) if len(levels) else ()
        ensemble = Ensemble(random_forecasters(params, panel, split, count, levels), "median", apart, counts).eval()
        graph = serving.open_graph(export(ensemble, params))
        assert check_parity(graph, ensemble, params, panel) < 1e-4
        outputs = graph(*some_inputs(panel, params, split)).shape[-1]
        assert outputs == (count if apart else 1) + len(ensemble.quantiles)


WINDOWS = WindowParams(4, {"y": FeatureWindow(24)})
NEVER = threading.Event()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One series of 600 steps, a wave with noise."""
    import polars as pl

    y = np.sin(np.arange(600) / 4) + np.random.default_rng(0).normal(0, 0.1, 600)
    frame = pl.DataFrame({"unique_id": "a", "ds": np.arange(600), "y": y.astype(np.float32)})
    return write_panel(frame.lazy(), WINDOWS, Frequency(1), 0, tmp_path_factory.mktemp("panels"))


def a_job(folder: Path, *settings: str) -> Job:
    variant = load_variant("ensemble", RUN, ["training.max_epochs=1", *settings])
    few = variant.model_copy(update={"members": tuple(one for one in variant.members if one.variant in ("gru", "nlinear"))})
    return make_job(few, 0, folder, WINDOWS, Split("rows", 100, 100), "cpu")


@pytest.fixture(scope="module")
def trained(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder in which a gru was trained by itself, and then the ensemble that has it for a member."""
    home = tmp_path_factory.mktemp("trained")
    alone = make_job(load_variant("gru", RUN, ["training.max_epochs=1"]), 0, folder, WINDOWS, Split("rows", 100, 100), "cpu")
    before = run_fit(alone, home, Listener(), NEVER).result
    outcome = run_fit(a_job(folder), home, Listener(), NEVER)
    assert outcome.result.finished and not outcome.reused
    (member,) = (member for member in a_job(folder).members if member.training.variant == "gru")
    assert member == alone  # the very fit that a run makes of it, taken as it is
    assert json.loads((fit_folder(alone, home) / "result.json").read_text())["weights"] == before.weights
    return home


@pytest.mark.slow
def test_a_job_of_an_ensemble_trains_what_it_lacks_and_takes_the_rest_as_it_is(
    folder: Path, trained: Path, tmp_path: Path
) -> None:
    job = a_job(folder)
    found = read_result(fit_folder(job, trained))
    assert run_fit(job, trained, Listener(), NEVER).reused
    assert run_fit(a_job(folder), tmp_path / "elsewhere", Listener(), NEVER).result.weights == found.weights
    ensemble, windows = load_model(job, fit_folder(job, trained)), windows_of(job, Panel.open(folder))
    inputs, y = next(windows["validation"].batches(1000))
    points = np.stack([load_model(one, fit_folder(one, trained))(*inputs)[..., 0].detach().numpy() for one in job.members])
    np.testing.assert_allclose(ensemble(*inputs)[..., 0].detach().numpy(), np.median(points, 0), rtol=1e-6)
    assert found.val_mae == pytest.approx(float(np.abs(np.median(points, 0) - y.numpy()).mean()), rel=1e-5)


@pytest.mark.slow
def test_the_refit_of_an_ensemble_is_that_of_each_member(folder: Path, trained: Path) -> None:
    job = a_job(folder)
    found = read_result(fit_folder(job, trained))
    again = job_on_all_rows(job, found)
    own = [read_result(fit_folder(one, trained)) for one in job.members]
    assert again.members == tuple(job_on_all_rows(one, result) for one, result in zip(job.members, own, strict=True))
    refitted = run_fit(again, trained, Listener(), NEVER).result
    assert refitted.finished and refitted.val_mae is None and refitted.weights != found.weights
    ensemble, windows = load_model(again, fit_folder(again, trained)), windows_of(again, Panel.open(folder))
    assert len(windows["train"]) == 600 - 24 - 4 + 1 and not len(windows["test"])
    inputs, _ = next(windows["train"].batches(8))
    points = np.stack([load_model(one, fit_folder(one, trained))(*inputs)[..., 0].detach().numpy() for one in again.members])
    np.testing.assert_allclose(ensemble(*inputs)[..., 0].detach().numpy(), np.median(points, 0), rtol=1e-6)


@pytest.mark.slow
def test_a_member_that_fails_fails_the_ensemble_by_name(folder: Path, tmp_path: Path) -> None:
    found = run_fit(a_job(folder, "training.learning_rate=1e30"), tmp_path, Listener(), NEVER).result
    assert not found.finished and "its member gru (seed 0) failed: diverged" in str(found.reason)
    assert not (fit_folder(a_job(folder, "training.learning_rate=1e30"), tmp_path) / "result.json").exists()


def test_it_combines_every_seed_of_its_members_and_has_none_itself(folder: Path) -> None:
    names = [member.training for member in a_job(folder, "training.seeds=2").members]
    assert [(one.variant, one.seed) for one in names] == [("gru", 0), ("gru", 1), ("nlinear", 0), ("nlinear", 1)]
    settings = ["training.seeds=2", "variants=[ensemble, gru]"]
    variants = {name: load_variant(name, RUN, settings) for name in ("ensemble", "gru")}
    labels = [label for label, _, _ in labels_of(variants["gru"].run, variants)]
    assert labels == ["gru", "gru-s1", "ensemble"]  # last: what it combines comes first


@pytest.mark.parametrize("family", ["recurrent", "dense", "seq2seq", "vec2seq", "encoder_decoder", "tcn", "attention"])
def test_a_skip_adds_one_linear_map_of_all_that_the_network_sees(
    family: str, panel: Panel, params: WindowParams, split: Split
) -> None:
    torch.manual_seed(0)
    own: dict[str, Any] = {"channels": 4} if family == "tcn" else {"hidden_size": 4}
    own |= {"cell": "gru"} if family in ("recurrent", "seq2seq", "vec2seq", "encoder_decoder") else {}
    quantiles = (0.1, 0.5, 0.9)
    scaling = fit_scaling(panel, params, split, "series")
    made = [
        build_forecaster(family, own | extra, params, level="last", scaling=scaling, quantiles=quantiles).eval()
        for extra in ({}, {"skip": "linear"})
    ]
    bare, with_skip = made
    with_skip.network.load_state_dict(bare.network.state_dict())
    assert isinstance(with_skip.skip, Linear) and bare.skip is None
    inputs, y = next(Windows(panel, params, origin_rows(panel, params, split, "train", 1)).batches(32))
    torch.testing.assert_close(with_skip(*inputs), bare(*inputs))  # the map begins at zero
    torch.nn.init.normal_(with_skip.skip.map.weight, std=0.1)
    seen = bare.inputs(*inputs)
    added = (seen.x_BLN.flatten(1) @ with_skip.skip.map.weight.T + with_skip.skip.map.bias) * seen.spread_B1
    torch.testing.assert_close(with_skip.scaled(*inputs), bare.scaled(*inputs) + added.unsqueeze(-1), rtol=1e-5, atol=1e-6)
    batch_loss(with_skip.train(), inputs, y, "mae").backward()  # type: ignore[no-untyped-call]
    gradient = with_skip.skip.map.weight.grad
    assert gradient is not None and gradient.abs().sum() > 0


def test_a_skip_beside_what_is_linear_or_of_another_kind_is_refused(params: WindowParams) -> None:
    for family in ("ridge", "linear"):
        with pytest.raises(ValueError, match=r"network\.skip: family"):
            build_forecaster(family, {"skip": "linear"}, params)
    with pytest.raises(ValueError, match=r"network\.skip: 'cubic' is not one of none, linear"):
        build_forecaster("dense", {"hidden_size": 4, "skip": "cubic"}, params)
    shared = load_variant("ridge", RUN, ["network.skip=linear"])
    assert check_variant(shared, params) == check_variant(load_variant("ridge", RUN), params)  # a run's skip is not for it


def test_the_card_of_a_skip_sees_the_whole_window(params: WindowParams) -> None:
    from models.memory_card import memory_card

    torch.manual_seed(1)
    forecaster = build_forecaster("convolutional", {"channels": 2, "kernel_size": 2, "num_layers": 1, "skip": "linear"}, params)
    assert forecaster.skip is not None
    torch.nn.init.normal_(forecaster.skip.map.weight)  # type: ignore[union-attr]
    zeros = Inputs.zeros(params, 8)
    card = memory_card(forecaster, params, zeros._replace(past_BLF=torch.randn(zeros.past_BLF.shape)))
    assert card.receptive_field == 24


def test_what_a_run_gives_to_all_may_be_for_the_members_of_an_ensemble_alone() -> None:
    check_shared([load_variant("ensemble", RUN, ["network.hidden_size=16"])])
    with pytest.raises(UserError, match=r"network\.skip: 'linaer' is not one of none, linear"):
        check_shared([load_variant("ridge", RUN, ["network.skip=linaer"])])


@pytest.mark.slow
def test_an_ensemble_that_is_done_needs_its_members_no_more_and_a_fresh_one_trains_them(
    folder: Path, trained: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    job, rows = a_job(folder), list[Any]()
    found = read_result(fit_folder(job, tmp_path))
    for member in job.members:
        shutil.rmtree(fit_folder(member, tmp_path))
    assert run_fit(job, tmp_path, Listener(rows.append), NEVER).reused and not rows
    again = run_fit(job, tmp_path, Listener(rows.append), NEVER, fresh=True)
    assert not again.reused and again.result.weights == found.weights and len(rows) == 2
