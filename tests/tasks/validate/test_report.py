"""How a verdict reads: figures in full, ten series by name, and nothing from the data that acts on a page or a terminal."""

from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from tasks.validate.report import named, number, report_html, report_lines, report_table
from tasks.validate.verdict import Finding, Verdict

GAPS = Finding("gaps", "fail", False, None, ["a"], 0.25, None, 0.01, "steps are missing", "share")
DROP = Finding("nulls: wind", "drop", False, "wind", [], 0.8, None, 0.2, "wind is empty", "share")
FINE = Finding("train windows", "fail", True, None, [], 21873.0, 1, None, "no window", "count")
FACTS: dict[str, Any] = {
    "rows": 26115, "series": 1200, "first": "2013-01-01 06:00:00+00:00", "last": "2013-12-30 23:00:00+00:00",
}  # fmt: skip


def verdict(*findings: Finding, **changes: Any) -> Verdict:
    return replace(Verdict(False, list(findings), [], [], FACTS, []), **changes)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (21870.0, "count", "21,870"), (0.0, "count", "none"), (0.0103, "share", "1.03 %"), (0.0, "share", "0 %"),
        (1.0, "share", "100 %"), (1042.1, "value", "1,042.1"), (-60.0, "value", "-60"), (1234567.0, "value", "1,234,567"),
        (1e300, "value", "1e+300"), (None, "value", ""),
    ],
)  # fmt: skip
def test_figures_are_written_as_people_read_them(value: float | None, unit: str, text: str) -> None:
    assert number(value, unit) == text


def test_a_line_says_what_is_wrong_how_much_and_where() -> None:
    lines = report_lines(verdict(GAPS, DROP, FINE, dropped_features=["wind"], dropped_series=["b"]))
    assert lines == [
        "fail: gaps: steps are missing (found up to 25 %, allowed at most 1 %); series a",
        "drop: nulls: wind: wind is empty (found 80 %, allowed at most 20 %)",
        "left out: feature wind",
        "left out: series b",
    ]


def test_at_most_ten_series_are_named() -> None:
    names = [f"s{i:03d}" for i in range(500)]
    assert named(names) == ", ".join(names[:10]) + " and 490 more"
    for text in (report_lines(verdict(replace(GAPS, series=names)))[0], report_html(verdict(replace(GAPS, series=names)), "x")):
        assert "s009 and 490 more" in text and "s010" not in text


def test_a_name_from_the_data_is_text_on_the_page_and_on_a_terminal() -> None:
    evil = ["<script>alert(1)</script>", "\x1b[31mred", "it's"]
    bad = verdict(replace(GAPS, series=evil, about="<b>x</b>"), dropped_features=["<i>"], dropped_series=evil)
    page = report_html(bad, "<u>name</u>")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    for tag in ("<script", "<b>x", "<i>", "<u>", "\x1b"):
        assert tag not in page
    console = Console(width=200)
    with console.capture() as captured:
        console.print(report_table(bad))
    assert "\x1b[31mred" not in captured.get() and "<script>alert(1)</script>" in captured.get()


def test_the_page_loads_nothing_and_says_the_answer() -> None:
    page = report_html(verdict(FINE, passed=True), "nyc")
    assert "passed</b>" in page and "21,873" in page and "1,200 series, 2013-01-01 06:00:00 to 2013-12-30 23:00:00 UTC" in page
    for word in ("http:", "https:", "src=", "<link", "url("):
        assert word not in page


def test_the_table_keeps_its_title_on_one_line() -> None:
    console = Console(width=120)
    with console.capture() as captured:
        console.print(report_table(verdict(GAPS, FINE)))
    lines = captured.get().splitlines()
    assert lines[0].startswith("Data checks: 26,115 rows, 1,200 series") and lines[0].rstrip().endswith("UTC")
    assert lines[2].split() == ["gaps", "fail", "25", "%", "at", "most", "1", "%", "a"]
