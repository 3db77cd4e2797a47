"""docs/site/pages.py: links lead to the same place from the site as from the repository."""

from pathlib import Path

import pytest

from docs.site.pages import WHOLE, linked_files, outside, pages_from_outside, section

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("link", "folder", "target", "there"),
    [
        ("docs/data.md", "", "index.md", "data.md"),
        ("docs/data.md#numbers", "", "index.md", "data.md#numbers"),
        ("docs/images/report.png", "", "index.md", "images/report.png"),
        ("../deploy/compose.yaml", "docs", "cluster.md", "files/deploy/compose.yaml"),
        ("data.md", "docs", "serving.md", "data.md"),
        ("../README.md#the-code", "docs", "decisions.md", "code.md#the-code"),
        ("LICENSE", "", "course/a.md", "../files/LICENSE"),
        ("../SECURITY.md", "docs", "security.md", "reporting.md"),
        ("no_such.md", "docs", "serving.md", "no_such.md"),  # which the strict build refuses
        ("#here", "docs", "serving.md", "#here"),
        ("https://example.org/docs/data.md", "docs", "serving.md", "https://example.org/docs/data.md"),
    ],
)
def test_a_link_leads_to_the_same_place(link: str, folder: str, target: str, there: str) -> None:
    assert outside(f"see [it]({link}).", folder, target) == f"see [it]({there})."


def test_pages_from_outside_docs_are_whole_and_what_they_link_goes_along() -> None:
    made = pages_from_outside()
    assert set(WHOLE.values()) < set(made)
    assert all(text.startswith("# ") for name, text in made.items()), made
    assert "LICENSE" in linked_files([*made.values()])
    assert all((ROOT / path).is_file() for path in linked_files([*made.values()]))
    assert not any(name in {path.name for path in (ROOT / "docs").glob("*.md")} for name in made)


def test_a_section_that_is_gone_is_an_error() -> None:
    assert section("# a\n## b\nx\n## c\ny\n", "b") == "## b\nx\n"
    with pytest.raises(ValueError):
        section("# a\n## b\n", "c")
