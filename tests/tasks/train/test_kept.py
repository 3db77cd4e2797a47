"""What a fit left is held against what it wrote: what is damaged or foreign is put aside; a link is never followed."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from models.fit.checkpoint import write_bytes
from models.fit.job import read_result, weights_hash, write_result, write_weights
from models.fit.settings import Result, Status
from models.worker import Evaluated
from tasks.train.kept import own_folder, put_damaged_aside

FILES = {"job.json", "result.json", "weights.pt", "evaluation.json", "validation.npy"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a fit that ended well and was evaluated."""
    made = tmp_path / ("f" * 64)
    made.mkdir()
    weights = {"a": torch.arange(4000.0)}
    write_weights(weights, made)
    write_result(Result(status=Status.FINISHED, weights=weights_hash(weights), history=[{"epoch": 0}]), made)
    write_bytes(made / "job.json", b"{}")
    write_bytes(made / "validation.npy", b"forecasts")
    write_bytes(made / "evaluation.json", json.dumps({"code": "c", "not_finite": [], "memory": None, "files": {}}).encode())
    return made


def truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def emptied(path: Path) -> None:
    os.truncate(path, 0)


def nested(path: Path) -> None:
    path.write_text("[" * 100_000)


def listed(path: Path) -> None:
    path.write_text("[1]")


def typed(path: Path) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), "history": [1], "status": "finished"}))


@pytest.mark.parametrize(
    ("name", "damage", "aside"),
    [
        *(("weights.pt", damage, {"weights.pt", "result.json"}) for damage in (truncated, flipped, emptied)),
        *(("result.json", damage, {"result.json"}) for damage in (truncated, emptied, nested, listed, typed)),
        *(("job.json", damage, {"job.json"}) for damage in (truncated, emptied, nested, listed)),
        *(("evaluation.json", damage, {"evaluation.json"}) for damage in (truncated, emptied, nested, listed)),
    ],
)
def test_a_damaged_file_is_put_aside_and_named(
    folder: Path, name: str, damage: Callable[[Path], None], aside: set[str]
) -> None:
    assert own_folder(folder) == [] and put_damaged_aside(folder) == []
    damage(folder / name)
    assert set(put_damaged_aside(folder)) == aside
    assert {path.name for path in folder.iterdir()} == (FILES - aside) | {f"{one}.damaged" for one in aside}
    assert own_folder(folder) == [] and put_damaged_aside(folder) == []  # told once


def test_forecasts_that_are_others_are_made_again(folder: Path) -> None:
    path = folder / "evaluation.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "files": {"validation.npy": "0" * 64}}))
    assert Evaluated.read(folder) is None
    assert put_damaged_aside(folder) == ["evaluation.json"]
    assert read_result(folder).finished  # the weights stay


@pytest.mark.parametrize("name", ["weights.pt", "result.json", "job.json", "test.npy", "step-000000001-00000-0.pt"])
def test_a_link_or_a_pipe_or_a_folder_is_no_file_of_a_fit(folder: Path, name: str) -> None:
    target = folder.parent / "somebody's"
    target.write_text("theirs")
    for make in (
        lambda path: path.symlink_to(target),
        lambda path: path.symlink_to(path.name),
        lambda path: path.symlink_to("/dev/zero"),
        os.mkfifo,
        lambda path: (path.mkdir(), (path / "x").write_text("x")),
    ):
        (folder / name).unlink(missing_ok=True)
        make(folder / name)
        assert own_folder(folder) == [name]
        assert not os.path.lexists(folder / name)
    assert target.read_text() == "theirs"


def test_a_fit_whose_folder_is_a_link_gets_one_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "kept").write_text("kept")
    ways = (lambda path: path.symlink_to(tmp_path / "theirs"), lambda path: path.write_text("x"), os.mkfifo)
    for number, make in enumerate(ways):
        folder = tmp_path / f"{number}"
        make(folder)
        assert own_folder(folder) == [folder.name]
        assert folder.is_dir() and not folder.is_symlink() and not list(folder.iterdir())
    assert (tmp_path / "theirs" / "kept").read_text() == "kept"
