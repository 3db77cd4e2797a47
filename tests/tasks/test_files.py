"""Files are put in place whole or not at all."""

from pathlib import Path

import pytest

from tasks.files import placed, spread


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
