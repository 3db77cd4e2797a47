"""tasks/lags/panel.py: a kept panel that was damaged is built again where its data are at hand, else named in one line."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from models.data.panel import ARRAYS, DamagedPanel, Panel, content_digest
from models.data.window import FeatureWindow, WindowParams
from params.errors import UserError
from tasks.grid.frequency import Frequency
from tasks.lags.panel import write_panel
from tasks.registry.load import Version
from tasks.registry.unseen import panel_of

FrameOf = Callable[..., pl.LazyFrame]


@pytest.fixture
def kept(frame_of: FrameOf, tmp_path: Path) -> Callable[[], Path]:
    """`kept()` writes the same panel each time, below <home>/panels, and returns its folder."""
    frame = frame_of({"a": [1.0, 2.0, 3.0], "b": [4.0, 5.0]})
    return lambda: write_panel(frame, WindowParams(1, {"y": FeatureWindow(1)}), Frequency("1h"), 0, tmp_path / "panels")


def change_a_cell(folder: Path) -> None:
    np.load(folder / "target.npy", mmap_mode="r+")[1] = 7.0


def cut_off(folder: Path) -> None:
    os.truncate(folder / "target.npy", 100)


def empty(folder: Path) -> None:
    os.truncate(folder / "times.npy", 0)


def remove(folder: Path) -> None:
    (folder / "values.npy").unlink()


def remove_the_facts(folder: Path) -> None:
    (folder / "panel.json").unlink()


def no_facts(folder: Path) -> None:
    (folder / "panel.json").write_text("{}")


def a_list_of_facts(folder: Path) -> None:
    (folder / "panel.json").write_text("[]")


def half_of_the_facts(folder: Path) -> None:
    path = folder / "panel.json"
    path.write_bytes(path.read_bytes()[:40])


def another_digest(folder: Path) -> None:
    facts = json.loads((folder / "panel.json").read_text())
    (folder / "panel.json").write_text(json.dumps(facts | {"digest": "0" * 64}))


def open_a_bracket(folder: Path) -> None:
    """In the header of an array, where numpy parses it."""
    path = folder / "values.npy"
    path.write_bytes(path.read_bytes().replace(b"}", b"(", 1))


def another_kind(folder: Path) -> None:
    path = folder / "target.npy"
    path.write_bytes(path.read_bytes().replace(b"<f8", b"<i8", 1))


def out_of_order(folder: Path) -> None:
    np.save(folder / "offsets.npy", np.array([0, 9, 5]))


SEEN = [cut_off, empty, remove, no_facts, a_list_of_facts, half_of_the_facts, open_a_bracket, another_kind, out_of_order]


@pytest.mark.parametrize("damage", [*SEEN, change_a_cell, another_digest, remove_the_facts], ids=lambda one: one.__name__)
def test_a_damaged_panel_is_built_again_in_its_place(
    kept: Callable[[], Path], damage: Callable[[Path], None], capfd: pytest.CaptureFixture[str]
) -> None:
    folder = kept()
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    damage(folder)
    assert kept() == folder
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    told = capfd.readouterr().err
    assert told.count("\n") == 1 and f"{folder} was damaged" in told
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_a_panel_that_is_whole_is_kept(kept: Callable[[], Path], capfd: pytest.CaptureFixture[str]) -> None:
    folder = kept()
    before = [(folder / f"{name}.npy").stat().st_ino for name in ARRAYS]
    assert kept() == folder and content_digest(folder) == folder.name
    assert [(folder / f"{name}.npy").stat().st_ino for name in ARRAYS] == before
    assert capfd.readouterr().err == ""


def test_who_reads_a_panel_while_it_is_built_again_keeps_what_it_has(kept: Callable[[], Path]) -> None:
    folder = kept()
    change_a_cell(folder)
    opened = Panel.open(folder)
    kept()
    assert opened.target.tolist() == [1, 7, 3, 4, 5] and Panel.open(folder).target.tolist() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("damage", SEEN, ids=lambda one: one.__name__)
def test_a_damaged_file_is_one_message_that_says_what_to_do(
    kept: Callable[[], Path], damage: Callable[[Path], None], tmp_path: Path, house: Any
) -> None:
    folder = kept()
    damage(folder)
    with pytest.raises(DamagedPanel, match=rf"panel {folder} is damaged \(\w+\.\w+ [^\n]+\)$"):
        Panel.open(folder)
    with pytest.raises(UserError, match=rf"story.* panel {folder} is damaged \(.*\): .*python -m flows compare"):
        panel_of(version(house, folder.name), tmp_path)


def test_a_panel_that_is_gone_says_what_to_do(tmp_path: Path, house: Any) -> None:
    with pytest.raises(
        UserError, match=r"story.*not in .*panels: .*python -m flows compare.*set LAGLINE_SHELF.*still forecasts"
    ):
        panel_of(version(house, "0" * 64), tmp_path)


def version(house: Any, digest: str) -> Version:
    """One that was trained on a panel; nothing of it is run."""
    facts = house.facts(trained_on=house.made(fingerprint={"data": digest}))
    return Version("story", "1", "run", "digest", Path("nowhere"), facts)
