"""Files are put in place whole or not at all."""

import os
import re
import socket
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from params.errors import UserError
from tasks.files import TABLES, placed, require_writable, spread, unwritable, write_table


def test_a_file_is_there_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    with placed(path, durable=True) as partial:
        assert partial.suffix == ".csv"
        partial.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_what_was_there_stays_where_writing_fails_and_nothing_lies_beside(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "table.csv"
    path.write_text("before")
    with pytest.raises(error), placed(path) as partial:
        partial.write_text("half")
        raise error
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_placed_and_a_half_written_one_removed(tmp_path: Path) -> None:
    with placed(tmp_path / "bundle") as partial:
        partial.mkdir()
        (partial / "file").write_text("x")
    assert (tmp_path / "bundle" / "file").read_text() == "x"
    with pytest.raises(ValueError, match="broke"), placed(tmp_path / "other") as partial:
        partial.mkdir()
        raise ValueError("broke")
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


@pytest.mark.parametrize(
    ("count", "most", "expected"),
    [(0, 3, []), (1, 3, [0]), (3, 5, [0, 1, 2]), (5, 3, [0, 2, 4]), (10, 4, [0, 3, 6, 9]), (9, 1, [0]), (4, 3, [0, 2, 3])],
)
def test_numbers_are_spread_from_the_first_to_the_last(count: int, most: int, expected: list[int]) -> None:
    assert spread(count, most) == expected


@pytest.mark.parametrize("name", ["device", "pipe.csv", "socket.parquet", "to-device.csv", "to-pipe.csv", "loop.csv"])
def test_what_is_no_ordinary_file_is_refused_and_stays_what_it_is(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "to-device.csv").symlink_to("/dev/null")
    (tmp_path / "to-pipe.csv").symlink_to("pipe.csv")
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    with socket.socket(socket.AF_UNIX) as open_socket:
        open_socket.bind(str(tmp_path / "socket.parquet"))
        path = Path("/dev/null") if name == "device" else tmp_path / name
        before, there = path.lstat(), sorted(tmp_path.iterdir())
        assert unwritable(path, TABLES) is not None
        with pytest.raises(UserError, match=r"--out .*: "):
            require_writable("--out", path, TABLES)
        with pytest.raises(OSError), placed(path) as partial:
            partial.write_text("x")
        assert path.lstat().st_mode == before.st_mode and path.lstat().st_ino == before.st_ino
        assert sorted(tmp_path.iterdir()) == there


def test_a_link_stays_and_what_it_names_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    real = tmp_path / "below" / "real.data"
    for before in ("old", None):
        link = tmp_path / f"link-{before}.csv"
        link.symlink_to(real)
        real.write_text(before) if before else real.unlink()
        assert unwritable(link, TABLES) is None
        write_table(pl.DataFrame({"a": [1]}), link)
        assert link.is_symlink() and real.read_text() == "a\n1\n"
    assert [path.name for path in (tmp_path / "below").iterdir()] == ["real.data"]
    (tmp_path / "away.csv").symlink_to(tmp_path / "none" / "x.csv")
    assert "there is no folder" in str(unwritable(tmp_path / "away.csv", TABLES))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("x.csv", None),
        ("x.PARQUET", None),
        ("x.xlsx", "it must end in .csv or .parquet"),
        ("x", "it must end in"),
        ("x.csv.gz", "it must end in"),
        (".csv", "it must end in"),
        ("none/x.csv", "there is no folder"),
        (".", "that is a folder; name a file in it, such as .*forecasts.parquet"),
    ],
)
def test_the_ending_says_how_a_table_is_written(tmp_path: Path, name: str, words: str | None) -> None:
    found = unwritable(tmp_path / name, TABLES)
    assert found is None if words is None else found is not None and re.search(words, found)
    assert not list(tmp_path.iterdir())


def test_times_in_a_csv_are_read_back_as_they_were(tmp_path: Path) -> None:
    naive = pl.Series([datetime(2024, 1, 31, 5), datetime(2024, 7, 31, 5, 0, 0, 250000)], dtype=pl.Datetime("us"))
    frame = pl.DataFrame({"naive": naive, "zone": naive.dt.replace_time_zone("Europe/Berlin"), "day": naive.dt.date()})
    write_table(frame, tmp_path / "x.csv")
    assert (tmp_path / "x.csv").read_text().splitlines()[1] == "2024-01-31 05:00:00,2024-01-31 05:00:00+01:00,2024-01-31"
    found = pl.read_csv(tmp_path / "x.csv", try_parse_dates=True)
    assert found["naive"].equals(frame["naive"]) and found["day"].equals(frame["day"])
    assert found["zone"].equals(frame["zone"].dt.convert_time_zone("UTC"))


def test_times_under_a_name_that_is_a_pattern_to_polars_are_written(tmp_path: Path) -> None:
    frame = pl.DataFrame({"time": [datetime(2024, 1, 31, 5)], "n": [1]}).rename({"time": "^n.*$"})
    write_table(frame, tmp_path / "x.csv")
    assert (tmp_path / "x.csv").read_text().splitlines()[0] == "^n.*$,n"
    assert (tmp_path / "x.csv").read_text().splitlines()[1].startswith("2024-01-31 05:00:00")
