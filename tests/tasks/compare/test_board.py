"""Who leads, who is chosen and who may be as good: decided by validation, from the rows alone."""

import pytest

from tasks.compare.board import Board, ScoreRow, Standing, best_naive
from tasks.train.kind import Kind


def a_row(name: str, val_mae: float | None, kind: Kind = Kind.VARIANT, **numbers: float | None) -> ScoreRow:
    standing = Standing.FAILED if val_mae is None else Standing.FINISHED
    return ScoreRow(name=name, kind=kind, variant=name, status=standing, numbers={"val_mae": val_mae, **numbers})


def baselines() -> list[ScoreRow]:
    return [a_row("last_value", 5.0, Kind.BASELINE), a_row("theta", 3.0, Kind.BASELINE), a_row("drift", 5.5, Kind.BASELINE)]


def test_the_test_never_chooses_and_theta_is_the_bar_though_no_naive() -> None:
    board = Board.of([a_row("lstm", 2.9, test_mae=4.2), a_row("elman", 3.1, test_mae=0.1), *baselines()])
    assert board.chosen is board.best is board.row("lstm") and board.won
    assert (board.bar, board.naive) == (board.row("theta"), board.row("last_value"))
    assert [row.name for row in board.rows] == ["lstm", "theta", "elman", "last_value", "drift"]


@pytest.mark.parametrize("error", [3.0, 3.1, 5.0])
def test_what_does_not_beat_the_bar_leads_and_the_bar_is_chosen(error: float) -> None:
    board = Board.of([a_row("lstm", error), a_row("gru", None), *baselines()])
    assert board.best is board.row("lstm") and not board.won  # a tie is no win
    assert board.chosen is board.bar is board.row("theta")
    assert board.rows[-1].name == "gru" and board.rows[-1].score is None


def test_the_bar_and_the_naive_are_those_of_the_comparison() -> None:
    """On common rows drift is the best naive and last value the best of all, whatever their scores on their own rows."""
    board = Board.of([a_row("lstm", 4.9), *baselines()], bar="last_value", naive="drift")
    assert (board.bar, board.naive, board.chosen) == (board.row("last_value"), board.row("drift"), board.row("lstm"))
    without = Board.of([a_row("lstm", 4.9)])
    assert (without.bar, without.naive, without.chosen) == (None, None, None) and without.best is without.row("lstm")


def test_a_score_of_other_rows_stands_where_its_skill_on_common_rows_puts_it() -> None:
    """Easier rows: 2.0 where the bar has 1.6 there and 3.0 on all of its own; harder ones: 4.0 where the bar has 5.0."""
    bar = a_row("theta", 3.0, Kind.BASELINE, val_rows=100, val_skill=0.0)
    easy = a_row("easy", 2.0, val_rows=60, val_skill=1 - 2.0 / 1.6)
    hard = a_row("hard", 4.0, val_rows=60, val_skill=1 - 4.0 / 5.0)
    same = a_row("same", 2.8, val_rows=100, val_skill=1 - 2.8 / 3.0)
    board = Board.of([easy, hard, same, bar])
    assert [row.name for row in board.rows] == ["hard", "same", "theta", "easy"]
    assert board.chosen is hard and not Board.of([easy, bar]).won


def test_another_validation_error_may_rank() -> None:
    rows = [a_row("big", 1.0, val_score=0.9), a_row("fair", 2.0, val_score=0.4)]
    board = Board.of([*rows, a_row("last_value", 0.5, Kind.BASELINE, val_score=0.5)])
    assert [row.name for row in board.rows] == ["fair", "last_value", "big"]
    assert board.chosen is board.row("fair")


def test_a_row_that_has_no_row_in_common_with_the_bar_is_not_ranked_by_an_error_in_other_units() -> None:
    apart = a_row("apart", 0.01, val_score=None)
    board = Board.of([apart, a_row("fair", 2.0, val_score=0.6), a_row("theta", 3.0, Kind.BASELINE, val_score=0.5)])
    assert (board.best, board.chosen, board.rows[-1]) == (board.row("fair"), board.row("theta"), apart)
    raw = {"name": "apart", "kind": "variant", "status": "finished", "val_mae": 0.01, "val_score": None}
    assert ScoreRow.read(raw).score is None and ScoreRow.read(raw | {"val_score": 0.7}).score == 0.7
    del raw["val_score"]  # a leaderboard of before
    assert ScoreRow.read(raw).score == 0.01


def test_alike_are_variants_whose_difference_chance_explains() -> None:
    some = [a_row("gru", 4.1, test_p_best=0.3), a_row("tcn", 4.2, test_p_best=0.05), a_row("cnn", 4.3)]
    naive = a_row("last_value", 5.0, Kind.BASELINE, test_p_best=0.9)
    assert Board.of([a_row("lstm", 4.0), *some, naive]).alike == {"gru"}


def test_a_number_that_is_none_or_nan_is_unknown() -> None:
    row = a_row("lstm", float("nan"), test_mae=None)
    assert (row["val_mae"], row["test_mae"], row["nothing"], row.score) == (None, None, None, None)


def test_a_row_is_read_as_the_leaderboard_s_json_holds_it() -> None:
    raw = {"rank": 1, "name": "gru", "kind": "variant", "family": None, "seeds": 3, "status": "finished", "val_mae": 4.0}
    row = ScoreRow.read(raw | {"note": "trained before", "test_mae": None, "num_parameters": 7})
    assert (row.name, row.kind, row.variant, row.seeds, row.note) == ("gru", Kind.VARIANT, "gru", 3, "trained before")
    assert (row["val_mae"], row["test_mae"], row["num_parameters"]) == (4.0, None, 7)


def test_the_best_naive_is_the_first_with_the_lowest_error() -> None:
    assert best_naive({"last_value": 1.5, "drift": 0.5, "theta": 0.0, "seasonal_naive": None}) == "drift"
    assert best_naive({"last_value": 1.5, "drift": 1.5}) == "last_value"
    with pytest.raises(ValueError, match="no naive forecast"):
        best_naive({"theta": 0.0, "seasonal_naive": None})
