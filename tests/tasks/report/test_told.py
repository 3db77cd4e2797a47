"""What is said of a comparison, and commands that run."""

import json
import shlex
import subprocess
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import yaml

from params.load import load_plan
from tasks.report.told import Reason, Told, lines_of, next_commands
from tasks.report.verdict import Conclusion

THETA, GRU = Conclusion("theta", "Use theta.", ()), Conclusion("gru", "Use gru.", ())
COMMAND = "python -m flows compare params/smoke.yaml --set 'evaluation.baselines=[last_value, theta]'"
FILE = ("params/variants/gru_theta.yaml", "about: the mean of gru and theta\nensemble: [gru, theta]\ncombine: mean\n")
REASONS = (
    Reason("a week is longer than the window", ("windows.features.y.lookback=168",)),
    Reason("their past has little to learn"),
    Reason("gru was cut", ("training.max_epochs=8",)),
    Reason("both err in different ways", ("variants=[gru_theta]",), FILE),
)


def settings_of(command: str) -> list[str]:
    words = shlex.split(command)
    return [text for flag, text in pairwise(words) if flag == "--set"]


def test_one_command_has_every_setting_and_what_needs_a_file_has_its_own(tmp_path: Path) -> None:
    together, apart = next_commands(REASONS, COMMAND)
    assert together.startswith(COMMAND)
    baselines = "evaluation.baselines=[last_value, theta]"
    assert settings_of(together) == [baselines, "windows.features.y.lookback=168", "training.max_epochs=8"]
    written, _, again = apart.partition(" && ")
    (tmp_path / "params" / "variants").mkdir(parents=True)
    subprocess.run(["/bin/sh", "-c", written], cwd=tmp_path, check=True)  # as a person types it
    assert (tmp_path / FILE[0]).read_text() == FILE[1]
    assert yaml.safe_load(FILE[1])["ensemble"] == ["gru", "theta"]
    assert settings_of(again) == [baselines, "variants=[gru_theta]"]


def test_a_setting_takes_the_place_of_the_one_of_the_same_key() -> None:
    ran = "python -m flows compare a.yaml --set training.max_epochs=3 --set 'variants=[gru, ridge]' --set name=b"
    (again,) = next_commands(REASONS[2:3], ran)
    assert again == "python -m flows compare a.yaml --set 'variants=[gru, ridge]' --set name=b --set training.max_epochs=8"
    (apart,) = next_commands(REASONS[3:], ran)
    assert settings_of(apart.partition(" && ")[2]) == ["training.max_epochs=3", "name=b", "variants=[gru_theta]"]


def test_the_command_is_one_that_the_params_take() -> None:
    (together, _) = next_commands(REASONS, COMMAND)
    run = load_plan("params/smoke.yaml", settings_of(together)).run
    assert (run.windows.features["y"].lookback, run.training.max_epochs) == (168, 8)
    assert run.evaluation.baselines == ("last_value", "theta")


def test_reasons_are_told_with_what_to_type_and_without_any_that_is_said_too() -> None:
    lines = lines_of(REASONS, COMMAND)
    assert lines[0] == "Why, as far as it is proven:" and lines[1] == "- a week is longer than the window"
    assert lines[5] == "To try:" and len(lines) == 8
    assert lines_of(REASONS[1:2], COMMAND) == ["Why, as far as it is proven:", "- their past has little to learn"]
    assert len(lines_of((), COMMAND)) == 1 and "not proven" in lines_of((), COMMAND)[0]


def test_what_is_said_survives_its_json_and_an_old_leaderboard_says_less() -> None:
    told = Told(THETA, "mase", "series differ", REASONS, COMMAND)
    facts = {
        "choose_by": "mase",
        "note": told.note,
        "reasons": [asdict(one) for one in REASONS],
        "command": COMMAND,
    }
    assert Told.read(told.verdict, json.loads(json.dumps(facts))) == told
    assert told.lines()[-1] == "Note: series differ"
    won = Told.read(GRU, {"rows": []})  # lagline 0.2
    assert won.reasons is None and won.lines() == [] and won.choose_by == "mae"
    assert Told.read(THETA, {"reasons": []}).lines() == lines_of((), "")


def test_as_markdown_the_reasons_are_a_list_and_the_commands_code() -> None:
    text = Told(THETA, "mae", "series differ", REASONS, COMMAND).markdown()
    parts = text.split("\n\n")
    assert parts[0] == "**Use theta.**" and parts[-1] == "Note: series differ"
    assert parts[2].splitlines() == [f"- {reason.words}" for reason in REASONS]
    assert parts[4].splitlines() == [f"    {command}" for command in next_commands(REASONS, COMMAND)]
    assert Told(GRU).markdown() == "**Use gru.**"
    assert Told(THETA, reasons=()).markdown().split("\n\n") == ["**Use theta.**", *lines_of((), "")]
