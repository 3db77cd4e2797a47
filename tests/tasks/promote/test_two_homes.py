"""Promotions from two homes of one store on PostgreSQL (tasks/promote/alias.py): one decides at a time, wherever it is."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from params.errors import Unavailable
from tasks.promote import alias, ledger
from tasks.promote import decision as promotion
from tasks.promote.gates import GateResult
from tasks.tracking import connection
from tests.marks import OF_IMPORTS, STORE
from tests.postgresql import Postgres
from tests.tasks.promote.test_decision import _logged, a_version, challenge, holder

ROOT = Path(__file__).resolve().parents[3]
pytestmark = [*STORE, OF_IMPORTS]
# one process imports everything and forks eight, which start at once: four of each home
EIGHT = """
import os, sys, time
from pathlib import Path
from tasks.tracking import connection
from tasks.promote import decision as promotion
from tasks.promote.gates import GateResult
import mlflow.artifacts, mlflow.pyfunc, psycopg2

def judge(*_):
    time.sleep(0.5)  # as long as it takes for the others to come
    return (GateResult("skill", True, "fixed"),), None

promotion.judge = judge
homes, start = [Path(text) for text in sys.argv[2:]], time.time() + 3
for number in range(8):
    if os.fork():
        continue
    home = homes[number % 2]
    connection.connect(home)
    time.sleep(max(0, start - time.time()))
    try:
        found = promotion.promote(sys.argv[1], home, "cpu")
        text = f"{found.outcome} {found.version} {found.entry}"
    except Exception as error:
        text = f"{type(error).__name__} {error}"
    (home / f"said-{number}.txt").write_text(text)
    os._exit(0)
for number in range(8):
    os.wait()
"""


@pytest.fixture
def homes(database: str, house: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, Path]]:
    """Two homes of one store with a name `two` of three versions, the last of which is challenger; every gate says yes."""
    one, other = tmp_path / "one", tmp_path / "other"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", database)
    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    monkeypatch.setattr(promotion, "judge", lambda *_: ((GateResult("skill", True, "fixed"),), None))
    connection.client.cache_clear()
    connection.connect(one)
    house.write(one / "bundle", house.build())
    other.mkdir()
    connection.client().create_registered_model("two")
    _logged.cache_clear()
    for _ in range(3):
        a_version("two", one, *_logged(one))
    challenge("two", "3")
    yield one, other
    _logged.cache_clear()
    connection.client.cache_clear()


def test_of_eight_from_two_homes_one_wins_and_the_others_are_told(homes: tuple[Path, Path]) -> None:
    command = [sys.executable, "-c", EIGHT, "two", *map(str, homes)]
    subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONWARNINGS": "ignore"}, check=True, timeout=300)
    answers = [file.read_text() for home in homes for file in home.glob("said-*.txt")]
    assert len(answers) == 8
    assert sum(answer.startswith("promoted 3 1") for answer in answers) == 1, answers
    assert all(answer.startswith(("promoted", "unchanged 3", "Held")) for answer in answers), answers
    assert any(answer.startswith("Held") for answer in answers), answers
    assert [entry.number for entry in ledger.entries("two")] == [1] and holder("two") == "3"


def test_one_home_goes_on_from_where_the_other_was(homes: tuple[Path, Path]) -> None:
    one, other = homes
    assert promotion.promote("two", one, "cpu").promoted
    challenge("two", "2")
    assert promotion.promote("two", other, "cpu").promoted and holder("two") == "2"
    assert alias.roll_back("two", one) == ("2", "3") and holder("two") == "3"
    assert [entry.champion for entry in ledger.entries("two")] == ["3", "2", "3"]


def test_nothing_is_decided_once_the_lock_is_lost(
    homes: tuple[Path, Path], postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by a restart of the database, or a firewall that forgets a quiet connection, while the gates are at work."""
    one, other = homes
    ended: list[Any] = []

    def judge(*_: Any) -> Any:
        query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'lagline %'"
        ended.extend(postgres.sql(query))
        return (GateResult("skill", True, "fixed"),), None

    with monkeypatch.context() as patch, pytest.raises(Unavailable, match="the lock promote-two is lost") as caught:
        patch.setattr(promotion, "judge", judge)
        promotion.promote("two", one, "cpu")
    assert ended == [(True,)] and postgres.password not in str(caught.value)
    assert holder("two") is None and ledger.entries("two") == []
    assert promotion.promote("two", other, "cpu").entry == 1 and holder("two") == "3"
