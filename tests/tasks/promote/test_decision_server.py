"""tasks/promote/decision.py through a real tracking server, which hangs or is killed on the way and comes back.

The judgement is the bundle gate alone: its process loads the version through the server, too.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from params.errors import Unavailable, UserError
from tasks.promote import alias, ledger
from tasks.promote import decision as promotion
from tasks.registry.versions import CHAMPION, Registered, find, register
from tasks.tracking import connection, runs
from tests.marks import OF_IMPORTS, STORE

NAME = "story"
ROOT = Path(__file__).resolve().parents[3]
pytestmark = [*STORE, OF_IMPORTS]


@pytest.fixture
def home(server: Any, house: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two versions, registered through the server, the second of which is challenger; the first is champion."""
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    monkeypatch.setattr(promotion, "judge", lambda challenger, *_: ((promotion.reloads(challenger),), None))
    folder = tmp_path / "home"
    connection.connect(folder)
    parent, _ = runs.parent_run(runs.experiment(NAME, folder), NAME, "0" * 64)
    house.write(folder / "bundle", house.build())
    for number in "12":
        run = runs.child_run(parent, "lstm", number * 64, {})
        made = register(folder / "bundle", name=NAME, run_id=run, identity=number * 64, tags={}, home=folder)
        assert made == Registered(number, new=True)
        if number == "1":
            found = promotion.promote(NAME, folder, "cpu")
            assert (found.outcome, found.entry, found.gates[0].gate) == ("promoted", 1, "bundle"), found.gates
    return folder


def holder() -> str | None:
    found = find(NAME, CHAMPION)
    return None if found is None else str(found.version)


def before(owner: Any, step: str, event: Callable[[], None], patch: pytest.MonkeyPatch) -> None:
    """`event` happens just before a step, which then goes on as it would."""
    real = getattr(owner, step)

    def stepped(*given: Any, **named: Any) -> Any:
        event()
        return real(*given, **named)

    patch.setattr(owner, step, stepped)


@pytest.mark.fault
def test_a_server_that_hangs_or_is_killed_leaves_the_champion_and_a_later_run_goes_on(
    server: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert holder() == "1" and not (home / "artifacts").exists()  # all went through the server
    family = [psutil.Process(server.process.pid), *psutil.Process(server.process.pid).children(recursive=True)]
    refused = (
        rf"MLFLOW_TRACKING_URI={server.uri}: the tracking server does not answer \({{}}\); {{}}\.  Once it is back, `python"
    )
    nothing = f"nothing was decided, and version 1 stays champion of {NAME}"
    perhaps = f"version 1 stays champion of {NAME}, unless entry 2 of the ledger .promoted version 2. was written, "
    perhaps += "which the next start carries out"
    moves = "entry 2 of the ledger is promoted version 2, and the next start moves the alias, if that was not done yet"

    def hang() -> None:
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
        for one in family:
            one.suspend()

    for owner, step, stands in (
        *((promotion, one, nothing) for one in ("opened", "judge")),
        (subprocess, "run", nothing),  # the fresh process of the bundle gate
        *((ledger, one, nothing) for one in ("open_entry", "read")),
        (ledger, "close_entry", perhaps),
    ):
        with monkeypatch.context() as patch:
            if step == "read":  # the last time of three
                before(alias, "carry_out", lambda: before(ledger, "read", hang, patch), patch)
            else:
                before(owner, step, hang, patch)
            with pytest.raises(Unavailable, match=refused.format("no reply within 1 s", stands)):
                promotion.promote(NAME, home, "cpu")
        for one in family:
            one.resume()
        monkeypatch.delenv("MLFLOW_HTTP_REQUEST_TIMEOUT")
        assert holder() == "1" and len(ledger.entries(NAME)) == 1  # no verdict on a version that nobody could read

    with monkeypatch.context() as patch:
        before(alias, "set_alias", server.kill, patch)
        with pytest.raises(Unavailable, match=refused.format("connection refused", moves)):
            promotion.promote(NAME, home, "cpu")
    server.start()
    assert holder() == "1" and ledger.champion(ledger.entries(NAME)) == "2"  # whoever comes next carries it out
    assert "was 1 and the ledger says 2" in str(alias.repair(NAME, home)) and holder() == "2"
    assert promotion.promote(NAME, home, "cpu").outcome == "unchanged"
    assert alias.roll_back(NAME, home) == ("2", "1") and holder() == "1"
    told = [(one.number, one.decision, one.champion) for one in ledger.entries(NAME)]
    assert told == [(1, "promoted", "1"), (2, "promoted", "2"), (3, "rollback", "1")]


def test_a_worker_that_has_not_been_through_the_command_line_has_bounds_unless_the_user_sets_them() -> None:
    names = ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT")
    script = f"""
from tasks.tracking import connection, runs
connection.client()
from mlflow import environment_variables as known
print(*[getattr(known, name).get() for name in {names}])
"""
    clean = os.environ | {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "PYTHONPATH": str(ROOT), names[0]: "", names[1]: "40"}
    done = subprocess.run([sys.executable, "-c", script], env=clean, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "3 40"


def test_a_store_that_others_reach_without_a_lock_between_them_is_told(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, said = tmp_path / "home", list[str]()
    connection.connect(home)
    with alias.held(NAME, home, said.append):
        pass
    (told,) = said
    assert "use one home for each name, or set LAGLINE_LOCKS=postgresql://" in told
    monkeypatch.setenv("LAGLINE_LOCKS", "mysql://somewhere/x")
    with pytest.raises(UserError, match="LAGLINE_LOCKS=mysql://somewhere/x: write postgresql://"), alias.held(NAME, home):
        pass
