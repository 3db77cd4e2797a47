"""params/load.py: a greedy ensemble has all of the run, and says where there is nothing for it to combine."""

from pathlib import Path

import pytest

import params.load
from params.errors import UserError
from params.load import load_plan

SMOKE = params.load.PARAMS / "smoke.yaml"


def test_its_members_are_the_run_s_other_variants_and_its_baselines() -> None:
    settings = ["variants=[ensemble_greedy, gru, ensemble, ridge]", "evaluation.choose_by=owa", "network.hidden_size=8"]
    plan = load_plan(SMOKE, settings)
    greedy = plan.variants["ensemble_greedy"]
    assert greedy.greedy and greedy.combine == "mean" and not plan.variants["ensemble"].greedy
    names = [one.variant for one in greedy.members]
    assert names == ["gru", "ridge", "last_value", "drift", "seasonal_naive", "naive2"]  # and no other ensemble
    assert greedy.members[0] == plan.variants["gru"]  # the same fits, and not others for it
    fewer = plan.only(["ridge", "ensemble_greedy"]).variants["ensemble_greedy"]
    assert [one.variant for one in fewer.members][:2] == ["ridge", "last_value"]


@pytest.mark.parametrize("names", ["ensemble_greedy", "ensemble_greedy, ensemble"])
def test_one_that_has_nothing_to_combine_is_refused_where_the_variants_are_named(names: str, tmp_path: Path) -> None:
    words = "ensemble_greedy combines the run's other variants; name one beside it that is no ensemble"
    with pytest.raises(UserError, match=rf"^--set variants=\[{names}\]: variants: {words}$"):
        load_plan(SMOKE, [f"variants=[{names}]"])
    file = tmp_path / "run.yaml"
    file.write_text(SMOKE.read_text().replace("variants: [ridge, elman, cnn]", f"variants: [{names}]"))
    with pytest.raises(UserError, match=rf"run.yaml:\d+: variants: {words}"):
        load_plan(file)


def test_it_has_no_rule_of_its_own_and_is_no_member_of_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "variants").mkdir()
    for name in ("base.yaml", "variants/gru.yaml", "variants/ensemble_greedy.yaml"):
        (tmp_path / name).write_text((params.load.PARAMS / name).read_text())
    monkeypatch.setattr(params.load, "PARAMS", tmp_path)
    for text, words in (
        (
            "ensemble: greedy\ncombine: median\n",
            r"both.yaml:3: combine: a greedy ensemble is a weighted mean",
        ),
        ("ensemble: [gru, ensemble_greedy]\n", "'ensemble_greedy' is an ensemble itself"),
        ("ensemble: greedily\n", "write what it combines, each once, such as"),
    ):
        (tmp_path / "variants" / "both.yaml").write_text(f"about: x\n{text}")
        with pytest.raises(UserError, match=words):
            load_plan(SMOKE, ["variants=[gru, both]"])
