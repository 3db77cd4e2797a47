"""Variants are checked before any data is read: network arguments for all, and those of one."""

import shutil
from pathlib import Path

import pytest

import params.load
from params.errors import UserError
from params.load import load_plan, load_run, load_variant
from tasks.train.check import check_levels, check_shared, check_variant, only_those_that_fit, own_network

RUN = SMOKE = "params/smoke.yaml"
ROOT = Path(__file__).resolve().parents[3]


def test_a_network_argument_for_all_goes_to_those_that_take_it() -> None:
    settings = ["network.hidden_size=8"]
    ridge, gru = (load_variant(name, RUN, settings) for name in ("ridge", "gru"))
    assert own_network(ridge) == {}
    assert own_network(gru) == {"cell": "gru", "hidden_size": 8}
    windows = load_run(RUN).windows.window_params()
    assert check_variant(gru, windows) < check_variant(load_variant("gru", RUN), windows)
    check_shared([ridge, gru])
    with pytest.raises(UserError, match="no variant of this run takes it"):
        check_shared([ridge])


def test_a_season_that_no_variant_names_is_that_of_the_evaluation() -> None:
    assert own_network(load_variant("sparse_tsf", RUN, ["evaluation.season=6"]))["season"] == 6
    assert own_network(load_variant("sparse_tsf", RUN, ["evaluation.season=6", "network.season=8"]))["season"] == 8
    assert "season" not in own_network(load_variant("gru", RUN, ["evaluation.season=6", "network.season=8"]))


def test_an_interval_that_ends_outside_the_quantiles_is_refused_before_anything_is_trained() -> None:
    check_levels(load_run("params/smoke.yaml"))
    check_levels(load_run("params/smoke.yaml", ["training.quantiles=[]", "evaluation.levels=[80, 95]"]))
    check_levels(load_run("params/smoke.yaml", ["training.quantiles=[0.1, 0.9]", "evaluation.levels=[50, 80]"]))
    for settings, words in (
        (
            ["training.quantiles=[0.05, 0.5, 0.95]"],
            r"95 % ends at the quantiles 0.025 and 0.975, and training.quantiles go from",
        ),
        (["evaluation.levels=[99]"], r"99 % ends at the quantiles 0.005 and 0.995, .*: add those two, or leave 99 out"),
    ):
        with pytest.raises(UserError, match=words):
            check_levels(load_run("params/smoke.yaml", settings))


def test_what_a_variant_itself_says_must_fit() -> None:
    gru = load_variant("gru", RUN)
    wrong = gru.model_copy(update={"network": {"cell": "gru", "hidden": 3}})
    with pytest.raises(UserError, match=r"params/variants/gru.yaml.*network.hidden: family recurrent has no such argument"):
        check_variant(wrong, load_run(RUN).windows.window_params())


def test_of_all_variants_those_that_do_not_fit_the_windows_are_left_out_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(ROOT / "params", tmp_path / "params")
    text = "family: modern_tcn\nabout: a kernel without a middle\nnetwork: {channels: 8, kernel_size: 4}\n"
    (tmp_path / "params" / "variants" / "even_tcn.yaml").write_text(text)
    monkeypatch.setattr(params.load, "PARAMS", tmp_path / "params")
    said: list[str] = []
    every = 'variants=["even_tcn", "ridge", "elman"]'
    plan = only_those_that_fit(load_plan(SMOKE, [every]), said.append)
    assert plan.settings == (every, 'variants=["ridge", "elman"]')
    assert list(plan.variants) == ["ridge", "elman"]
    assert len(said) == 1 and "left out: variant even_tcn" in said[0] and "odd" in said[0]
    both = only_those_that_fit(load_plan(SMOKE, ['variants=["ensemble_greedy", "even_tcn", "ridge"]']), said.append)
    assert list(both.variants) == ["ensemble_greedy", "ridge"]  # whose members are those that fit
    assert [one.variant for one in both.variants["ensemble_greedy"].members][:2] == ["ridge", "last_value"]
    with pytest.raises(UserError, match="odd"):  # what it would combine is gone
        only_those_that_fit(load_plan(SMOKE, ['variants=["ensemble_greedy", "even_tcn"]']), said.append)
    with pytest.raises(UserError, match="odd"):
        only_those_that_fit(load_plan(SMOKE, ['variants=["even_tcn"]']), said.append)
