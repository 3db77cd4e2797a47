"""The leaderboard: its order and columns, the words around it, and that no name or reason breaks out of its cell."""

import io
import json
from collections.abc import Iterable
from typing import Any

import pytest
from rich.console import Console

from tasks.compare.board import Board, ScoreRow
from tasks.report.leaderboard import NARROW, SCHEMA, frame, remarks, shown, to_html, to_markdown, to_table

EVIL = "<script>alert(1)</script> & [red]x[/red] | `a` \x1b[31m\n$y$"


def a_row(
    name: str, val_mae: float | None, test_mae: float | None = None, kind: str = "variant", **more: Any
) -> dict[str, Any]:
    return {"name": name, "kind": kind, "status": "finished", "val_mae": val_mae, "test_mae": test_mae, **more}


def rows() -> list[dict[str, Any]]:
    return [
        a_row("ridge", 4.5, 4.4, seed=0, test_skill=0.2, num_parameters=1234567, train_seconds=1234.5),
        a_row("cnn", None, status="failed", note="diverged in epoch 3"),
        a_row("lstm", 4.0, 4.2, seed=0, test_interval_score_90=14.5, test_worst_fifth_coverage_90=0.912, test_bias=-0.00012),
        a_row("gru", float("nan"), float("nan")),
        a_row("last_value", 5.0, 5.6, "baseline"),
        a_row("theta", 4.3, 4.5, "baseline", note="on 30 of 108 origins"),
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
    assert table["name"].to_list() == ["lstm", "theta", "ridge", "last_value", "drift", "cnn", "gru"]
    assert table["rank"].to_list() == [1, 2, 3, 4, 5, None, None]
    assert table["test_mae"].null_count() == 2


def in_folds(name: str, values: list[float], kind: str = "variant", **more: Any) -> dict[str, Any]:
    mean, each = sum(values) / len(values), {f"val_mae_fold_{number}": one for number, one in enumerate(values, start=1)}
    return a_row(name, mean, 1.0, kind, **each, val_mae_fold_spread=values[0], val_score=mean, **more)


def test_several_folds_have_a_column_each_and_their_spread() -> None:
    folds = board_of([in_folds("gru", [4.0, 5.0, 9.0], seeds=1), in_folds("drift", [5.0, 6.0, 10.0], "baseline")])
    table = frame(folds.rows)
    assert table.columns[len(SCHEMA) :] == ["val_mae_fold_1", "val_mae_fold_2", "val_mae_fold_3"]
    assert table["val_mae_fold_2"].to_list() == [5.0, 6.0] and table["val_mae_fold_spread"].to_list() == [4.0, 5.0]
    assert ScoreRow.read(table.to_dicts()[0])["val_mae_fold_3"] == 9.0
    assert "± folds" in printed(folds, 160) and " 4.000 " in printed(folds, 160)
    assert max(map(len, printed(folds, 80).split("\n"))) <= 80
    assert any("means over 3 ranges (split.folds)" in line for line in remarks(folds))
    every = to_markdown(folds).split("\n")[0]
    assert "fold 3, MAE" in every and "fold 4" not in every
    assert "folds" not in printed(board(), 200) + to_markdown(board()) and not any(
        "split.folds" in one for one in remarks(board())
    )


def test_the_spread_over_folds_is_that_of_the_score_where_another_than_the_mae_ranks() -> None:
    row = in_folds("gru", [4.0, 6.0], seeds=1) | {"val_score": 0.5, "val_score_fold_spread": 0.25}
    found = board_of([row, in_folds("drift", [5.0, 7.0], "baseline")])
    assert shown(found.rows, ("val_mae", "val_mae_fold_spread", "test_mae")) == [
        "val_score",
        "val_score_fold_spread",
        "test_mae",
    ]
    assert shown(found.rows, ("val_score", "val_mae_fold_spread")) == ["val_score", "val_score_fold_spread"]


def test_no_rows_give_an_empty_board_that_can_be_shown() -> None:
    empty = board_of([])
    assert dict(frame(empty.rows).schema) == SCHEMA
    assert "Leaderboard" in printed(empty, 80) and to_markdown(empty)


def test_a_board_survives_its_json() -> None:
    found = board(a_row("elman", 3.9, 4.3, seeds=3, test_mae_spread=0.02, test_p_best=0.3))
    again = board_of(json.loads(json.dumps(frame(found.rows).to_dicts())))
    assert to_markdown(again) == to_markdown(found) and again.alike == found.alike


@pytest.mark.parametrize("floor", [4.0, 3.5])
def test_where_no_variant_beats_the_best_baseline_that_is_chosen(floor: float) -> None:
    found = board(a_row("auto_ets", floor, 9.0, "baseline"))
    assert found.chosen is not None and found.chosen.name == "auto_ets" and not found.won
    assert remarks(found)[0] == "* chosen on validation: auto_ets, the best baseline: no variant beats it"


def test_the_rows_that_skill_is_measured_on_are_told() -> None:
    found = board_of([
        a_row("lstm", 9.0, 9.5, val_score=0.4, test_score=0.44, test_skill=0.2, test_rows=900, test_skill_naive=0.105),
        a_row("ridge", 8.0, 8.5, val_score=0.5, test_score=0.4, test_skill=0.27, test_rows=880),
        a_row("theta", 7.0, 7.5, "baseline", val_score=0.5, test_score=0.6, test_skill=0.0, test_rows=1000),
        a_row("last_value", 6.0, 6.5, "baseline", val_score=0.9, test_score=1.1),
    ])  # fmt: skip
    assert remarks(found, "owa")[1] == (
        "best baseline: theta; skill is measured against it, by OWA on the rows that both forecast; on test 880 to 1,000"
    )


def test_the_first_rows_of_a_page_are_the_best() -> None:
    text = str(to_html(board(), NARROW, most=2))
    assert "lstm *" in text and "theta" in text and "ridge" not in text
    assert to_html(board(), NARROW).count("<tr") == 1 + 7


@pytest.mark.parametrize("width", [80, 100, 120])
def test_the_table_fits_and_says_everything_that_matters(width: int) -> None:
    found = board(a_row("bidirectional_elman", 4.2, 4.3))
    text = printed(found, width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for told in ("lstm *", "best baseline: theta", "cnn: failed: diverged in epoch 3", "theta: on 30 of 108 origins"):
        assert told in text
    assert "91.2" in text and "14.500" in text
    assert ("1,234.5" in text) == (width > 100)


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
    assert {line.replace("\\|", "").count("|") for line in table} == {len(shown(board().rows, tuple(SCHEMA))) + 1}
    assert "<script" not in text


def test_seeds_and_sizes_are_shown_as_people_read_them() -> None:
    lines = to_markdown(board()).splitlines()
    ridge = next(line for line in lines if "| ridge |" in line)
    assert "| 1,234,567 |" in ridge and "| 20.0 |" in ridge and "| 4.500 |" in ridge
    assert "| -0.000 |" in next(line for line in lines if "lstm" in line)
    tiny = to_markdown(board_of([a_row("lstm", 0.00012345, 0.00023)]))
    assert "0.0001234" in tiny or "0.0001235" in tiny


def test_who_is_not_told_apart_from_the_chosen_is_marked() -> None:
    found = board(
        a_row("elman", 3.9, 4.3, test_p_naive=0.9),
        a_row("tcn", 4.2, 4.1, test_p_best=0.3),
        a_row("dense", 4.35, 5.9, test_p_best=0.05),
    )
    text = printed(found, 80)
    assert "elman *" in text and "tcn ~" in text and "dense ~" not in text and "ridge ~" not in text  # none was said of ridge
    assert "~ not told apart from elman on test" in " ".join(text.split())
    assert "~" not in printed(board(), 80)


def test_the_spread_over_seeds_is_shown_and_unknown_with_one() -> None:
    found = board(
        a_row("elman", 3.9, 4.3, seeds=3, test_mae_spread=0.0213, val_mae_spread=0.1),
        a_row("tcn", 4.2, 4.1, seeds=1),
        a_row("dense", 4.35, 5.9),
    )
    lines = {line.split()[1]: line.split() for line in printed(found, 120).splitlines() if line and line[0].isdigit()}
    assert lines["elman"][5] == "0.021" and lines["tcn"][4] == "?"
    assert "?" not in lines["dense"] and "?" not in lines["theta"]  # nothing that a seed would change
    assert any(line.startswith("±: standard deviation over seeds") for line in remarks(found))
    assert not any(line.startswith("±") for line in remarks(board()))


def test_the_columns_of_intervals_are_explained_where_there_are_some() -> None:
    found = board(a_row("wide", 4.2, 4.3, test_worst_fifth_coverage_90=0.52))
    assert [line for line in remarks(found) if line.startswith("int. 90: interval score")]
    scaled = board_of([a_row("gru", 4.0, 4.2, test_worst_fifth_coverage_90=0.5, test_msis_95=6.0, test_interval_score_90=99.0)])
    assert [line for line in remarks(scaled, "mase") if line.startswith("MSIS 95: mean scaled interval score")]
    for by, there, gone in (
        ("mase", "test_msis_95", "test_interval_score_90"),
        ("mae", "test_interval_score_90", "test_msis_95"),
    ):
        columns = shown(scaled.rows, NARROW, by)  # type: ignore[arg-type]
        assert there in columns and gone not in columns
    assert not [line for line in remarks(board_of([a_row("gru", 4.0, 4.2)])) if line.startswith("int. 90")]


def test_a_baseline_is_no_member_of_the_group_and_the_best_needs_not_be_chosen() -> None:
    rows = [a_row("elman", 4.0, 4.0), a_row("tcn", 4.1, 4.1, test_p_best=0.6)]
    found = board_of([*rows, a_row("last_value", 3.0, 3.0, "baseline", test_p_best=0.9)])
    assert not found.won
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
    assert "  val score  " in printed(found, 80) and "  val score  " not in printed(board(), 80)
    assert "MSE, scaled" in printed(found, 140) and "MSE, scaled" not in printed(board(), 140)
    assert board_of([row | {"val_score": None} for row in rows]).won is False  # by MAE no variant beats the naive


def test_scores_on_common_rows_stand_in_place_of_those_of_all_rows_where_they_are_others() -> None:
    """A sum in another order is no other score; a table that names both shows both."""
    same = board_of([a_row("gru", 0.3, 0.6, val_score=0.1 + 0.2, test_score=0.6), a_row("theta", 0.4, 0.7, "baseline")])
    narrow = ["rank", "name", "val_mae", "test_mae", "test_mae_spread", "test_skill"]
    assert 0.1 + 0.2 != 0.3 and shown(same.rows, NARROW) == narrow  # no folds, no intervals
    covered = board_of([a_row("gru", 0.3, 0.6, test_interval_score_90=2.0)])
    assert shown(covered.rows, NARROW) == [*narrow, "test_interval_score_90"]
    rows = [a_row("gru", 3.0, 6.0, val_score=2.0, test_score=6.0, seeds=2), a_row("theta", 4.0, 7.0, "baseline")]
    other = board_of(rows)
    assert shown(other.rows, NARROW)[2:5] == ["val_score", "test_mae", "test_mae_spread"]
    both = board_of([rows[0] | {"test_score": 5.0, "test_score_spread": 0.5}, rows[1]])
    assert shown(both.rows, NARROW)[2:5] == ["val_score", "test_score", "test_score_spread"]
    named = ("val_score", "val_mae", "test_score", "test_score_spread", "test_mae", "test_mae_spread")
    assert shown(both.rows, named) == list(named) and shown(same.rows, named) == ["val_mae", "test_mae", "test_mae_spread"]


def test_a_row_without_a_score_says_why_under_whatever_heading_ranks() -> None:
    found = board(a_row("elman", 3.9, 4.3, val_score=0.5), a_row("cnn2", None, status="failed"))
    line = next(line for line in printed(found, 80).splitlines() if line.strip().startswith("cnn2"))
    assert "val score" in printed(found, 80) and line.split() == ["cnn2", "failed"]
