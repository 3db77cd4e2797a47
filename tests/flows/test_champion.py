"""flows/verbs/champion.py and flows/promote.py: what they are given (a name as in run files, a version, a day)."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from flows import promote
from flows.verbs import champion
from params.errors import UserError
from tasks.promote import ledger
from tasks.promote.chain import Entry, Event
from tasks.promote.decision import Decision, Outcome
from tasks.promote.gates import GateResult
from tasks.promote.options import PromoteOptions
from tasks.tracking import connection

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of mlflow's own imports


@pytest.mark.parametrize("name", ["a/../../x", "../x", "", "n" * 65, "Upper", "x'y", "x\n"])
@pytest.mark.parametrize("verb", ["promote", "rollback", "history"])
def test_what_is_no_name_is_refused_before_anything_is_touched(
    verb: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    monkeypatch.setattr(promote, "ready", lambda: home)
    with pytest.raises(UserError, match=r"use 1 to 64 of a-z 0-9 \. _ - and begin with a letter or digit"):
        if verb == "promote":
            promote.promote.fn(name, PromoteOptions())
        elif verb == "rollback":
            champion.show_rollback(home, name)
        else:
            champion.show_history(home, name, None, False)
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_no_name_is_one_message(flows, refused, tmp_path: Path) -> None:
    refused(flows("rollback", "a/../../x", home=tmp_path / "home"), 2, "begin with a letter or digit")
    assert not list(tmp_path.rglob("*.lock"))


@pytest.mark.parametrize("day", ["2026-11-28", "20261128", "2026-W48-6", "2026W486"])
def test_a_day_is_the_whole_day_however_it_is_written(
    day: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = Entry(1, Event.PROMOTED, "1", "1", None, "", "root@vm", datetime(2026, 11, 28, 19, 30, tzinfo=UTC).isoformat(), "r")
    monkeypatch.setattr(connection, "connect", lambda home: None)
    monkeypatch.setattr(ledger, "read", lambda name: ledger.Ledger(name, (entry,)))
    champion.show_history(tmp_path, "story", day, False)
    assert f"Champion on {day}: version 1" in capsys.readouterr().out
    for early in ("2026-11-28T19:29", "20261128T1929", "20261127", "2026-11-28T20:29+01:00"):
        with pytest.raises(UserError, match="nothing was decided on it up to"):
            champion.show_history(tmp_path, "story", early, False)
    with pytest.raises(UserError, match="write a date or a time"):
        champion.show_history(tmp_path, "story", "2026", False)


def test_a_refusal_says_what_to_type_where_an_option_would_do(capsys: pytest.CaptureFixture[str]) -> None:
    code = GateResult("code", True, "changed (--allow-dirty)", option="--allow-dirty")
    chance = GateResult("chance", False, "may be chance", "--allow-chance takes it", "--allow-chance")
    champion.show_decision(Decision("story", Outcome.REFUSED, "2", None, (code, chance), 1))
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [
        "Refused: there is no champion (entry 1 of the ledger).",
        "To go on (chance): --allow-chance takes it",
        "then: python -m flows promote story --version 2 --allow-dirty --allow-chance   (nothing is trained again for it)",
    ]
    weak = GateResult("slices", False, "weak")
    champion.show_decision(Decision("story", Outcome.REFUSED, "2", None, (chance, weak), 1))
    assert "To look into it (slices): python -m flows leaderboard story" in capsys.readouterr().out
