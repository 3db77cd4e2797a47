"""The runner of the lessons: cells, what they show, where a claim that does not hold is reported."""

from pathlib import Path

import polars as pl
import pytest

from docs.course import __main__ as course
from docs.course.__main__ import LESSONS, about, execute
from docs.course.render import cells_of, render, run_cell, table_text

LESSON = '''"""A lesson."""

# %% [markdown]
# # A title
#
# Words.

# %%
from dataclasses import dataclass

@dataclass
class Point:
    x: int

# %% fold
from docs.course.lab import picture

figure, ax = picture(2, 2)
ax.set_title("Two\\nlines")
figure

# %%
print("said")
Point(2)
'''


@pytest.fixture
def lesson(tmp_path: Path) -> Path:
    path = tmp_path / "09_lesson.py"
    path.write_text(LESSON)
    return path


def test_the_cells_of_a_lesson_in_order_with_their_lines() -> None:
    found = list(cells_of(LESSON))
    assert [(cell.markdown, cell.folded) for cell in found] == [(True, False), (False, False), (False, True), (False, False)]
    assert found[0].text == "# A title\n\nWords."
    lines = LESSON.splitlines()
    assert all(lines[cell.line - 1] in (cell.text.splitlines()[0], f"# {cell.text.splitlines()[0]}") for cell in found)


def test_a_page_holds_text_code_output_and_a_picture_twice_the_same(lesson: Path, tmp_path: Path) -> None:
    page = render(lesson, tmp_path)
    first = page.read_bytes(), (tmp_path / "09_lesson-1.png").read_bytes()
    text = page.read_text()
    assert text.startswith("# A title\n\nWords")
    assert "![Two lines](09_lesson-1.png)" in text
    assert "```text\nsaid\n```\n\n```text\nPoint(x=2)\n```" in text
    assert text.count("<details") == text.count("</details>") == 1
    assert "A lesson." not in text
    assert (render(lesson, tmp_path).read_bytes(), (tmp_path / "09_lesson-1.png").read_bytes()) == first


def test_a_claim_that_does_not_hold_fails_with_its_line(lesson: Path, tmp_path: Path) -> None:
    lesson.write_text(LESSON + "\n# %%\nassert 1 + 1 == 3\n")
    done = execute(lesson, tmp_path)
    assert done.returncode == 1
    line = LESSON.count("\n") + 3
    assert f'09_lesson.py", line {line}' in done.stderr and "AssertionError" in done.stderr
    assert not (tmp_path / "09_lesson.md").exists()


def test_a_lesson_that_fails_is_named_and_the_others_are_written(
    lesson: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = tmp_path / "10_wrong.py"
    wrong.write_text('"""Wrong."""\n\n# %%\nassert False\n')
    monkeypatch.setattr(course, "LESSONS", (lesson, wrong))
    assert course.main(tmp_path / "out", []) == 1
    said = capsys.readouterr()
    assert "09_lesson: done" in said.out and "10_wrong: failed" in said.out and "AssertionError" in said.err
    assert (tmp_path / "out/09_lesson.md").exists()
    assert "1. [A lesson.](09_lesson.md)" in (tmp_path / "out/index.md").read_text()
    assert course.main(tmp_path / "out", ["09_lesson"]) == 0


def test_a_picture_without_a_title_is_refused(lesson: Path, tmp_path: Path) -> None:
    lesson.write_text(LESSON.replace('ax.set_title("Two\\nlines")\n', ""))
    with pytest.raises(ValueError, match="needs a title"):
        render(lesson, tmp_path)


def test_a_table_is_markdown_with_empty_cells() -> None:
    table = pl.DataFrame({"name": ["a", None], "value": [1.5, 2e-9]})
    assert table_text(table) == "| name | value |\n| :-- | --: |\n| a | 1.5 |\n|  | 2e-09 |"


def test_the_last_line_is_shown_only_where_it_is_an_expression() -> None:
    (cell,) = cells_of("# %%\nx = 3\n")
    assert run_cell(cell, Path("a.py"), {}) == ("", None)


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_every_lesson_has_a_title_a_question_and_a_line_about_itself(path: Path) -> None:
    first, *_ = cells_of(path.read_text())
    number = int(path.stem[:2])
    assert first.markdown and first.text.startswith(f"# {number}. ")
    assert "question" in first.text
    assert about(path)
    assert "What to keep" in path.read_text() and "Try it yourself" in path.read_text()
    lines = [line for cell in cells_of(path.read_text()) if cell.markdown for line in cell.text.splitlines()]
    assert max(map(len, lines)) <= 108  # and "# " before
    assert not any("$" in line for line in lines)  # the site typesets no formulas: they stand as code
