"""params/preset.py: what a preset tries, and what one that is wrong is told."""

from pathlib import Path

import pytest

import params.preset
from params.errors import UserError
from params.load import load_plan, variant_names
from params.preset import load_preset, preset_names


def test_every_shipped_preset_names_variants_that_there_are() -> None:
    assert preset_names() == ["fast", "good", "best"]
    for name in preset_names():
        assert {*load_preset(name).variants} <= {*variant_names(), "own"}
        assert load_plan("params/smoke.yaml").only(load_preset(name).wanted(("elman",))).variants


def test_the_variants_of_the_run_stand_where_own_does_each_once() -> None:
    good = load_preset("good")
    assert good.wanted(("elman", "ridge")) == (
        "ridge", "segment_gru_skip", "dense_relu", "elman", "cnn", "nlinear", "gru", "ensemble_greedy",
    )  # fmt: skip


def test_each_preset_tries_more_than_the_one_before() -> None:
    fast, good, best = map(load_preset, preset_names())
    for less, more in ((fast, good), (good, best)):
        assert {*less.variants} < {*more.variants}
        assert less.tune.trials < more.tune.trials
        assert less.seeds < more.seeds


def test_a_preset_that_there_is_not_is_told_those_that_there_are() -> None:
    with pytest.raises(UserError, match="--preset quick: there is no such preset; there are: best, fast, good"):
        load_preset("quick")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("seeds: 0", r"params/presets/own.yaml:3: seeds: Input should be greater than or equal to 1"),
        ("clock: {variants: 2}", r"params/presets/own.yaml:3: clock.variants: Input should be less than or equal to 1"),
        ("seeds: 1\nfolds: 1\ntune: {variants: 1, trials: -1}", r"own.yaml:5: tune.trials"),
        ("seeds: 1", r"params/presets/own.yaml: folds: Field required"),
    ],
)
def test_a_preset_that_is_wrong_is_told_where(text: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "presets").mkdir()
    (tmp_path / "presets" / "own.yaml").write_text(f"about: x\nvariants: [ridge]\n{text}\n")
    monkeypatch.setattr(params.preset, "PARAMS", tmp_path)
    with pytest.raises(UserError, match=told):
        load_preset("own")
