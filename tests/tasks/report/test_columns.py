"""The table of score columns: every place that shows scores takes them from it, docs/comparison.md too."""

from pathlib import Path

import pytest

from tasks.report import columns
from tasks.report.columns import BY_NAME, COLUMNS, Form

DOCS = Path(__file__).parents[3] / "docs" / "comparison.md"
VIEWS = ("NARROW", "WIDE", "ACCURACY", "MORE", "COST", "CARD", "IN_MLFLOW")
NUMBERS = [column for column in COLUMNS if column.name.startswith(("val_", "test_"))]


def in_docs() -> str:
    """The table of docs/comparison.md."""
    rows = [
        f"| `{column.name}` | {column.heading} | {': '.join(filter(None, (column.words, column.meaning)))} |"
        for column in COLUMNS
        if column.form is not Form.TEXT
    ]
    return "\n".join(["| name | heading | meaning |", "|---|---|---|", *rows]) + "\n"


def test_the_docs_have_the_table() -> None:
    assert in_docs() in DOCS.read_text(encoding="utf-8"), in_docs()


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_shows_known_columns_once(view: str) -> None:
    shown = getattr(columns, view)
    assert set(shown) <= set(BY_NAME) and len(set(shown)) == len(shown)


def test_no_two_columns_have_a_name_or_a_heading_or_a_metric_in_common() -> None:
    for one in ("name", "heading", "metric"):
        values = [value for value in (getattr(column, one) for column in COLUMNS) if value]
        assert len(set(values)) == len(values)


def test_every_score_says_what_it_means_and_takes_its_decimals_from_a_score() -> None:
    assert all(column.words and column.meaning for column in NUMBERS)
    assert all(BY_NAME[column.like].form is column.form for column in COLUMNS if column.like)


def test_what_mlflow_shows_has_a_width_and_a_metric() -> None:
    assert {column.name for column in COLUMNS if column.pixels} == set(columns.IN_MLFLOW)
    assert all(BY_NAME[name].metric for name in columns.IN_MLFLOW)
