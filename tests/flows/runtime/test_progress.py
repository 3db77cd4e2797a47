"""What a person sees of the fits: a live line each on a terminal, and in a log file no more than a line a minute."""

import io

import pytest
from rich.console import Console

from flows.runtime import progress
from flows.runtime.progress import Board

ROW = {"epoch": 1, "train_loss": 0.5, "val_loss": 0.6, "val_mae": 4.1, "seconds": 20.0, "best": 4.0, "left": 80.0}
DONE = {"label": "gru", "status": "finished", "val_mae": 4.0, "train_seconds": 70.0, "best_epoch": 1, "ended_by": "max_epochs"}


def board_of(terminal: bool) -> tuple[Board, io.StringIO]:
    text = io.StringIO()
    return Board(Console(file=text, force_terminal=terminal, width=140, highlight=False)), text


def test_a_log_file_is_quiet_until_a_fit_is_done() -> None:
    board, text = board_of(False)
    board.fits({"gru": 10}, 5.0)
    for epoch in range(10):
        board.epoch("gru", ROW | {"epoch": epoch})
    assert text.getvalue() == ""
    board.fit_done(DONE)
    assert text.getvalue() == "  gru: val_mae 4.000 (skill +20.0 %) in 70.0 s, best epoch 2, ended by max_epochs\n"


def test_a_long_fit_is_heard_of_in_a_log_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "QUIET", 0.0)
    board, text = board_of(False)
    board.fits({"gru": 10}, 5.0)
    board.epoch("gru", ROW)
    board.epoch("gru", ROW | {"epoch": 2, "val_mae": 6.0, "left": 7000.0})
    assert text.getvalue().splitlines() == [
        "  gru: epoch 2/10  loss 0.500  val_mae 4.000 (skill +20.0 %)  at most 80 s left",
        "  gru: epoch 3/10  loss 0.500  val_mae 4.000 (skill +20.0 %)  at most 1.9 h left",
    ]


def test_a_terminal_shows_every_epoch() -> None:
    board, text = board_of(True)
    board.fits({"gru": 10})
    board.epoch("gru", ROW)
    board.fits_done()
    assert "epoch 2/10  loss 0.500  val_mae 4.000  at most 80 s left" in text.getvalue()


def test_a_failed_fit_says_why() -> None:
    board, text = board_of(False)
    board.fits({"gru": 10})
    board.fit_done({"label": "gru", "status": "failed", "reason": "diverged"})
    assert text.getvalue() == "  gru: failed: diverged\n"


def test_a_refit_has_no_error_of_its_own_and_a_later_round_of_fits_begins_anew() -> None:
    """Nothing was kept back to validate it on."""
    board, text = board_of(False)
    board.fits({"gru": 9}, 8.0)
    board.fit_done(DONE)
    board.fits({"gru-all": 2})
    board._fits["gru-all"]["told"] -= 61
    board.epoch("gru-all", {"epoch": 0, "train_loss": 0.5, "seconds": 20.0, "left": 20.0})
    board.fit_done(DONE | {"label": "gru-all", "val_mae": None, "ended_by": "refit"})
    told = text.getvalue()
    assert "gru-all: epoch 1/2  loss 0.500  at most 20 s left" in told
    assert "gru-all: trained on all rows in 70.0 s, epochs: 2" in told
