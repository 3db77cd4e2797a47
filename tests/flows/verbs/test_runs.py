"""What a leaderboard says when it is read again: as it was, also where lagline 0.2 wrote it."""

from typing import Any

import pytest

from flows.verbs.runs import print_leaderboard

ROWS = [
    {"name": "theta", "kind": "baseline", "status": "finished", "val_mae": 2.0, "test_mae": 2.1},
    {"name": "gru", "kind": "variant", "status": "finished", "val_mae": 2.5, "test_mae": 2.6, "test_skill": 0.35},
    {"name": "last_value", "kind": "baseline", "status": "finished", "val_mae": 4.0, "test_mae": 4.0, "test_skill": 0.0},
]
OLD: dict[str, Any] = {
    "name": "shop", "chosen": "gru", "naive": "last_value", "unit": "sales", "choose_by": "mae", "rows": ROWS,
    "gain": {"mean": -1.4, "low": -1.6, "high": -1.2, "statistic": -9.0, "p": 0.0001, "over": "origins", "count": 40},
}  # fmt: skip
REASON = {"words": "there are only 84 windows to train on", "settings": ["windows.stride=1"], "file": ["", ""]}


def test_a_leaderboard_of_lagline_0_2_keeps_its_choice_and_the_bar_that_it_had(capsys: pytest.CaptureFixture[str]) -> None:
    print_leaderboard(OLD)
    text = capsys.readouterr().out
    assert "* chosen on validation: gru" in text and "best baseline: last_value" in text
    told = " ".join(text.split())
    assert "Use gru: its validation MAE (sales) of 2.500 is 37.5 % below that of last_value, the best baseline (4.000)" in told
    assert "yes beats the best baseline: on test the MAE of gru is 2.600, 35.0 % below that of last_value (4.000)" in told
    assert "Why" not in text and "between -1.6 and -1.2" in told and told.count("cannot be said") == 2
    assert max(map(len, text.splitlines())) <= 80


def test_where_no_variant_won_the_reasons_and_what_to_type_are_printed_again(capsys: pytest.CaptureFixture[str]) -> None:
    facts = OLD | {"baseline": "theta", "chosen": "theta", "gain": None, "note": "series differ in size [10]"}
    print_leaderboard(facts | {"reasons": [REASON], "command": "python -m flows compare shop.yaml"})
    text = capsys.readouterr().out
    assert "Use theta, the best baseline: no variant beats" in text and "- there are only 84 windows to train on" in text
    assert "  python -m flows compare shop.yaml --set windows.stride=1" in text.splitlines()
    assert "Note: series differ in size [10]" in text
