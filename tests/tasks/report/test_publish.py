"""The words of the report: against whom, over how many origins and rows, and what to type where no variant won."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tasks.compare.board import Board
from tasks.compare.compare import Comparison
from tasks.report.publish import _common, _how_real, _range, _why
from tasks.report.told import Reason, Told
from tasks.report.verdict import Conclusion

THETA = Conclusion("theta", "Use theta.", ())
Made = Callable[[bool], Comparison]


@pytest.mark.parametrize(("counts", "words"), [([7], "7"), ([30, 1085, 85], "30 to 1,085"), ([30, 30], "30")])
def test_a_range_is_one_number_where_all_are_the_same(counts: list[int], words: str) -> None:
    assert _range(counts) == words


def test_the_report_says_against_whom_and_over_what(made: Made) -> None:
    found = made(True)
    text = _how_real(found, "owa")
    assert text.startswith(
        "Each model's OWA on test against that of theta, the best baseline, over 40 origins that both forecast;"
    )
    assert "then against that of gru, the best variant on validation." in text and "too few" not in text
    few = replace(found, to_best={"theta": replace(found.to_baseline["gru"], p=None, over="series", count=5)})
    assert "over 5 series that both forecast" in _how_real(few, "mae") and "too few to say anything" in _how_real(few, "mae")


def test_the_rows_are_those_of_the_board(made: Made) -> None:
    found = made(True)
    assert _common(found) == "on the rows that theta forecasts too"
    rows = [row.with_numbers(test_rows=count) for row, count in zip(found.board.rows, (1500, 1500, 300), strict=True)]
    counted = replace(found, board=Board.of(rows, "theta", "last_value"))
    assert _common(counted) == "on the rows that theta forecasts too (300 to 1,500 of the test)"


def test_reasons_are_a_list_and_each_command_a_box_of_its_own_all_escaped() -> None:
    reasons = (Reason("<b>few</b>", ("windows.stride=1",)), Reason("both", ("variants=[a_b]",), ("p/a_b.yaml", "x\n")))
    html = _why(Told(THETA, "mae", "", reasons, "python -m flows compare a.yaml"))
    assert html.count("<pre>") == 2 and "<li>&lt;b&gt;few&lt;/b&gt;</li>" in html and "<b>" not in html
    assert _why(Told(THETA)) == ""
    assert "not proven" in _why(Told(THETA, reasons=()))
