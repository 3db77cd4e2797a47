"""`init` as a person runs it: from a table to a run file that validates, from any folder, and nothing written over."""

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

Flows = Callable[..., Any]


def table(folder: Path) -> Path:
    """Two years of daily sales with a weekly season."""
    file = folder / "daily sales.csv"
    rows = (f"{date(2021, 1, 1) + timedelta(days=i)},{10 + i % 7 + i % 3}\n" for i in range(200))
    file.write_text("day,sold\n" + "".join(rows))
    return file


def test_a_table_becomes_a_run_file_that_validates_from_any_folder(flows: Flows, warm: Flows, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    table(tmp_path)
    made = flows("init", "daily sales.csv", cwd=tmp_path, home=tmp_path / "home")
    assert made.returncode == 0, made.stderr
    assert (tmp_path / "daily sales.yaml").is_file()
    for told in ("1 (no column names a series)", "every 1d", "7 steps", "sold", "validate 'daily sales.yaml'"):
        assert told in made.stdout
    done = warm("validate", str(tmp_path / "daily sales.yaml"), cwd=tmp_path / "elsewhere", home=tmp_path / "home")
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_there_stays_unless_forced(warm: Flows, refused: Callable[..., None], tmp_path: Path) -> None:
    file, out = table(tmp_path), tmp_path / "mine.yaml"
    out.write_text("mine")
    arguments = ("init", str(file), "--out", str(out))
    refused(warm(*arguments, home=tmp_path / "home"), 2, "mine.yaml: this file is there already; --force writes over it")
    assert out.read_text() == "mine"
    assert warm(*arguments, "--force", home=tmp_path / "home").returncode == 0
    assert out.read_text().startswith("# Written by")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["daily sales.csv", "home", "mine.yaml"]


def test_a_place_or_a_table_that_is_none_is_said(warm: Flows, refused: Callable[..., None], tmp_path: Path) -> None:
    file, home = table(tmp_path), tmp_path / "home"
    refused(warm("init", str(tmp_path / "gone.csv"), cwd=tmp_path, home=home), 2, "there is no such file or folder")
    refused(warm("init", str(file), "--out", str(file), "--force", home=home), 2, "a run file ends in .yaml")
    refused(warm("init", str(file), "--out", str(tmp_path / "no" / "x.yaml"), home=home), 2, "there is no folder")
    assert not list(tmp_path.glob("*.yaml"))
