"""The leaderboard: its order and columns, the words around it, and that no name or reason breaks out of its cell."""

import io
import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from tasks.compare.board import Board, Difference, ScoreRow
from tasks.report.leaderboard import SCHEMA, frame, remarks, sentence, shown, to_markdown, to_table

EVIL = "<script>alert(1)</script> & [red]x[/red] | `a` \x1b[31m\n$y$"


def a_row(
    name: str, val_mae: float | None, test_mae: float | None = None, kind: str = "variant", **more: Any
) -> dict[str, Any]:
    return {"name": name, "kind": kind, "status": "finished", "val_mae": val_mae, "test_mae": test_mae, **more}


def rows() -> list[dict[str, Any]]:
    return [
        a_row("ridge", 4.5, 4.4, seed=0, test_skill=0.2, num_parameters=1234567, train_seconds=1234.5),
        a_row("cnn", None, status="failed", note="diverged in epoch 3"),
        a_row("lstm", 4.0, 4.2, seed=0, test_coverage_90=0.912, test_bias=-0.00012),
        a_row("gru", float("nan"), float("nan")),
        a_row("last_value", 5.0, 5.6, "baseline"),
        a_row("theta", 3.0, 3.0, "baseline", note="on 30 of 108 origins"),
        a_row("drift", 5.5, 5.7, "baseline"),
    ]


def board_of(rows: Iterable[dict[str, Any]]) -> Board:
    """Rows as `leaderboard.json` holds them."""
    return Board.of(map(ScoreRow.read, rows))


def board(*others: dict[str, Any]) -> Board:
    return board_of([*rows(), *others])


def printed(found: Board, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=False, color_system=None)
    console.print(to_table(found, width))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_sorted_by_validation_with_failures_last_and_unranked() -> None:
    table = frame(board().rows)
    assert dict(table.schema) == SCHEMA
    assert table["name"].to_list() == ["theta", "lstm", "ridge", "last_value", "drift", "cnn", "gru"]
    assert table["rank"].to_list() == [1, 2, 3, 4, 5, None, None]
    assert table["test_mae"].null_count() == 2


def test_no_rows_give_an_empty_board_that_can_be_shown() -> None:
    empty = board_of([])
    assert dict(frame(empty.rows).schema) == SCHEMA
    assert sentence(empty) == "Nothing was scored."
    assert "Leaderboard" in printed(empty, 80) and to_markdown(empty)


def test_a_board_survives_its_json() -> None:
    found = board(a_row("elman", 3.9, 4.3, seeds=3, test_mae_spread=0.02, test_p_best=0.3))
    again = board_of(json.loads(json.dumps(frame(found.rows).to_dicts())))
    assert to_markdown(again) == to_markdown(found) and again.alike == found.alike


@pytest.mark.parametrize("floor", [4.0, 3.5])
def test_nothing_is_chosen_that_does_not_beat_the_best_naive_on_validation(floor: float) -> None:
    found = board(a_row("seasonal_naive", floor, 9.0, "baseline"))
    assert found.chosen is None
    assert remarks(found)[0].startswith("none is chosen")
    words = sentence(found, "temp")
    assert words.startswith("No variant beats the best naive, seasonal_naive") and "lstm comes nearest with 4.000" in words


def test_the_sentence_says_who_won_and_how_it_stands() -> None:
    assert sentence(board(), "temp") == (
        "lstm has the lowest validation MAE (temp) of all variants, 4.000; on test its MAE is 4.200, "
        "25.0 % below the best naive, last_value (5.600) and 4.5 % below ridge (4.400)."
    )


def test_the_sentence_does_not_compare_ridge_with_itself_and_owns_up_to_a_loss() -> None:
    found = board_of([a_row("ridge", 4.0, 6.0), a_row("last_value", 5.0, 5.0, "baseline")])
    assert sentence(found).endswith("on test its MAE is 6.000, 20.0 % above the best naive, last_value (5.000).")


def test_the_sentence_without_test_rows() -> None:
    found = board_of([a_row("lstm", 4.0), a_row("last_value", 5.0, None, "baseline")])
    assert "the test has no row" in sentence(found)


@pytest.mark.parametrize("width", [80, 100, 120])
def test_the_table_fits_and_says_everything_that_matters(width: int) -> None:
    found = board(a_row("bidirectional_elman", 4.2, 4.3))
    text = printed(found, width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for told in ("lstm *", "best naive: last_value", "cnn: failed: diverged in epoch 3", "theta: on 30 of 108 origins"):
        assert told in text
    assert "91.2" in text and "1,234.5" in text


def test_figures_stand_below_each_other() -> None:
    lines = [line for line in printed(board(), 80).splitlines() if "ridge" in line or "lstm " in line or "drift" in line]
    ends = {line.index(value) for line, value in zip(lines[:3], ("4.000", "4.500", "5.500"), strict=True)}
    assert len(ends) == 1


def test_markup_in_names_and_notes_stays_text_in_the_table() -> None:
    text = printed(board(a_row("[red]odd[/red]", None, status="failed", note=EVIL)), 100)
    assert "[red]x[/red]" in text and "\x1b" not in text
    assert any("[red]odd[/red]" in line and line.rstrip().endswith("failed") for line in text.splitlines())


def test_markdown_rows_keep_their_number_of_cells() -> None:
    text = to_markdown(board(a_row("odd" + EVIL, 9.0, 9.0, note=EVIL)))
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len(table) == 2 + 8
    assert {line.replace("\\|", "").count("|") for line in table} == {len(shown(board(), tuple(SCHEMA))) + 1}
    assert "<script" not in text


def test_seeds_and_sizes_are_shown_as_people_read_them() -> None:
    lines = to_markdown(board()).splitlines()
    ridge = next(line for line in lines if "| ridge |" in line)
    assert "| 1,234,567 |" in ridge and "| 20.0 |" in ridge and "| 4.500 |" in ridge
    assert "| -0.000 |" in next(line for line in lines if "lstm" in line)
    tiny = to_markdown(board_of([a_row("lstm", 0.00012345, 0.00023)]))
    assert "0.0001234" in tiny or "0.0001235" in tiny


def test_who_is_not_told_apart_from_the_chosen_is_marked_and_the_sentence_says_if_the_gain_is_real() -> None:
    found = board(
        a_row("elman", 3.9, 4.3, test_p_naive=0.9),
        a_row("tcn", 4.2, 4.1, test_p_best=0.3),
        a_row("dense", 4.3, 5.9, test_p_best=0.05),
    )
    text = printed(found, 80)
    assert "elman *" in text and "tcn ~" in text and "dense ~" not in text and "ridge ~" not in text  # none was said of ridge
    assert "~ not told apart from elman on test" in " ".join(text.split())
    gain = Difference(-0.9, -1.5, -0.25, -4.0, 0.0004, "origins", 50)
    words = sentence(found, "temp", gain)  # its own p, not one raised for the many that are on the board
    assert words.endswith(" Its difference to last_value is more than chance (p <.001 of this one test, 90 % of resampled "
                          "origins between -1.5 and -0.25).")  # fmt: skip
    maybe = sentence(found, "", replace(gain, p=0.2, low=None))
    assert maybe.endswith(" Its difference to last_value may be chance (p 0.200 of this one test).")
    among = sentence(found, "", replace(gain, p=0.2, p_holm=0.9, tested=14, low=None))
    assert among == maybe + (" As one of 14 that are tested against last_value it has p 0.900 after Holm's correction, which "
                             "the winner does not need: it was chosen on validation.")  # fmt: skip
    assert sentence(found, "", replace(gain, p=0.2, p_holm=0.2, tested=1, low=None)) == maybe
    few = sentence(found, "", Difference(-0.9, None, None, None, None, "origins", 3))
    assert few.endswith(" Whether its difference to last_value is real cannot be said from 3 origins.")
    assert "chance" not in sentence(board()) and "~" not in printed(board(), 80)


def test_the_spread_over_seeds_is_shown_and_unknown_with_one() -> None:
    found = board(
        a_row("elman", 3.9, 4.3, seeds=3, test_mae_spread=0.0213, val_mae_spread=0.1),
        a_row("tcn", 4.2, 4.1, seeds=1),
        a_row("dense", 4.3, 5.9),
    )
    lines = {line.split()[1]: line.split() for line in printed(found, 120).splitlines() if line and line[0].isdigit()}
    assert lines["elman"][5] == "0.021" and lines["tcn"][4] == "?"
    assert "?" not in lines["dense"] and "?" not in lines["theta"]  # nothing that a seed would change
    assert any(line.startswith("±: standard deviation over seeds") for line in remarks(found))
    assert not any(line.startswith("±") for line in remarks(board()))


def test_a_baseline_is_no_member_of_the_group_and_the_best_needs_not_be_chosen() -> None:
    rows = [a_row("elman", 4.0, 4.0), a_row("tcn", 4.1, 4.1, test_p_best=0.6)]
    found = board_of([*rows, a_row("last_value", 3.0, 3.0, "baseline", test_p_best=0.9)])
    assert found.chosen is None
    text = printed(found, 80)
    assert "tcn ~" in text and "last_value ~" not in text and "~ not told apart from elman" in " ".join(text.split())


def test_another_validation_error_may_rank_and_choose() -> None:
    """By MAE `big` is ahead; by the scaled MSE, which the run chooses by, `fair` is, and the seasonal naive floor moves too."""
    rows = [
        a_row("big", 1.0, 1.0, val_score=0.9, val_mse_scaled=0.9, test_mse_scaled=0.8),
        a_row("fair", 2.0, 2.0, val_score=0.4, val_mse_scaled=0.4, test_mse_scaled=0.41),
        a_row("last_value", 0.5, 3.0, "baseline", val_score=0.5, val_mse_scaled=0.5, test_mse_scaled=0.5),
    ]
    found = board_of(rows)
    assert [row.name for row in found.rows] == ["fair", "last_value", "big"]
    assert found.chosen is not None and found.chosen.name == "fair"
    told = sentence(found, "temp", choose_by="mse_scaled")
    assert told.startswith("fair has the lowest validation scaled MSE of all variants, 0.400")
    assert "val score" in printed(found, 80) and "val score" not in printed(board(), 80)
    assert "MSE, scaled" in printed(found, 140) and "MSE, scaled" not in printed(board(), 140)
    assert board_of([row | {"val_score": None} for row in rows]).chosen is None  # by MAE no variant beats the naive
