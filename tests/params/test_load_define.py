"""params/load.py: variants that a run file has for itself (`define`), and what is wrong with them, by file, line and key."""

from pathlib import Path

import pytest

from params.errors import UserError
from params.load import load_plan, place_of

SMOKE = Path("params/smoke.yaml").read_text()


def run_file(folder: Path, more: str) -> Path:
    path = folder / "run.yaml"
    path.write_text(SMOKE + more)
    return path


def test_a_variant_of_the_run_is_like_another_but_for_what_it_says(tmp_path: Path) -> None:
    path = run_file(
        tmp_path, "define:\n  short: {like: gru, about: sees less, network: {lookback: 12}, training: {max_epochs: 2}}\n"
    )
    plan = load_plan(path, ["variants=[gru, short]"])
    gru, short = (plan.variants[name] for name in ("gru", "short"))
    assert short.family == gru.family and short.about == "sees less"
    assert short.network == {**gru.network, "lookback": 12}
    assert short.run.training == gru.run.training.model_copy(update={"max_epochs": 2})
    assert short.search == gru.search
    assert place_of("short") == "define in the run file" and place_of("gru") == "params/variants/gru.yaml"


def test_it_may_say_everything_and_be_a_member(tmp_path: Path) -> None:
    mine, both = (
        "mine: {family: dense, about: of its own, network: {hidden_size: 4}}",
        "both: {about: of two, ensemble: [mine, ridge]}",
    )
    more = f"define:\n  {mine}\n  {both}\n"
    plan = load_plan(run_file(tmp_path, more), ["variants=[mine, ridge, both]"])
    assert [one.variant for one in plan.variants["both"].members] == ["mine", "ridge"]
    assert plan.variants["mine"].network["hidden_size"] == 4


def test_one_that_is_not_named_is_not_trained(tmp_path: Path) -> None:
    plan = load_plan(run_file(tmp_path, "define: {mine: {like: gru}}\n"), ["variants=[ridge]"])
    assert list(plan.variants) == ["ridge"]


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("define: 3", r"run.yaml:\d+: define: write a name"),
        ("define: {gru: {like: lstm}}", r"run.yaml:\d+: define: gru has a file in params/variants/"),
        ("define: {Mine: {like: lstm}}", r"run.yaml:\d+: define: Mine: a variant is called by"),
        ("define: {mine: lstm}", r"run.yaml:\d+: define: mine: write what its file would say"),
        ("define: {mine: {like: gur}}", r"run.yaml:\d+: like: 'gur' is no variant with a file; did you mean 'gru'"),
        ("define: {mine: {like: mine}}", r"run.yaml:\d+: like: 'mine' is no variant with a file"),
        ("define: {mine: {like: [gru]}}", r"run.yaml:\d+: like: "),
        ("define: {mine: {like: gru, windows: {horizon: 3}}}", r"run.yaml:\d+: unknown key 'windows'"),
        ("define: {mine: {like: gru, training: {max_epoch: 3}}}", r"run.yaml:\d+: .*did you mean 'max_epochs'"),
        ("define: {mine: {like: gru, search: {hidden_size: {choices: [3, 4]}}}}", r"run.yaml:\d+: .*choices stand alone"),
        ("define: {mine: {about: nothing}}", r"run.yaml:\d+: .*family"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, more: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        load_plan(
            run_file(tmp_path, more + "\n"),
            ["variants=[ridge]" if told.endswith(("name", "by", "say", "/")) else "variants=[mine]"],
        )


def test_a_name_that_forecast_frames_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"run.yaml:\d+: 'drift' is a column"):
        load_plan(run_file(tmp_path, "define: {drift: {like: gru}}\n"), ["variants=[drift]"])
