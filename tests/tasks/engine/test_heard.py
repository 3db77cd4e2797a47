"""What a fit elsewhere says, as it lies in the folder of the fit here."""

import hashlib
import json
from pathlib import Path

import pytest

from models.fit.settings import Epoch
from models.remote import Over, Refused, Row, Saved, Warned
from params.errors import UserError
from tasks.engine.contract import Listener
from tasks.engine.heard import Heard, newest, there


def checkpoint(step: int) -> Saved:
    content = f"state {step}".encode()
    return Saved(f"step-{step:09d}-00000-{hashlib.sha256(content).hexdigest()[:16]}.pt", content)


def test_rows_and_warnings_reach_who_listens_and_a_row_but_once(tmp_path: Path) -> None:
    rows, said = list[Epoch](), list[str]()
    heard = Heard(tmp_path, Listener(rows.append, said.append))
    for one in (Row({"epoch": 0}), Row({"epoch": 1}), Warned("w"), Row({"epoch": 1}), Row({"epoch": 2})):
        heard.hear(one)
    assert [row["epoch"] for row in rows] == [0, 1, 2] and said == ["w"]
    with pytest.raises(UserError, match=r"torch is 0\.1; what trains must be the same everywhere"):
        heard.hear(Refused("torch is 0.1"))


def test_the_two_newest_checkpoints_are_kept_and_the_newest_is_gone_on_from(tmp_path: Path) -> None:
    heard = Heard(tmp_path, Listener())
    assert newest(tmp_path) == "" and there(tmp_path) == {}
    for step in (1, 2, 3):
        heard.hear(checkpoint(step))
    assert sorted(path.name for path in tmp_path.iterdir()) == [checkpoint(2).name, checkpoint(3).name]
    assert newest(tmp_path) == checkpoint(3).name
    assert [*there(tmp_path).items()] == [(one.name, one.content) for one in (checkpoint(3), checkpoint(2))]


@pytest.mark.parametrize("name", ["../step-000000001-00000-0123456789abcdef.pt", "job.json", "step-1-0-beef.pt", "x"])
def test_a_file_that_no_fit_leaves_is_not_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="is not the checkpoint that it is named"):
        Heard(tmp_path, Listener()).hear(Saved(name, b"content"))
    assert not list(tmp_path.iterdir())


def test_a_fit_that_ended_well_has_no_checkpoint_and_no_forecast_of_before(tmp_path: Path) -> None:
    (tmp_path / "test-quantiles.npy").write_bytes(b"of before")
    heard, result = Heard(tmp_path, Listener()), json.dumps({"status": "finished"}).encode()
    for one in (checkpoint(1), Saved("weights.pt", b"w"), Saved("test.npy", b"t"), Saved("result.json", result)):
        heard.hear(one)
    assert newest(tmp_path) == "result.json" and there(tmp_path) == {"weights.pt": b"w", "result.json": result}
    heard.hear(Over(0, "", 1.0))
    assert {path.name for path in tmp_path.iterdir()} == {"weights.pt", "test.npy", "result.json"}
