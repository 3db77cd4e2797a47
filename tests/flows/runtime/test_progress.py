"""What a person sees: stages and fits that change in place on a terminal, and in a log file a line now and then."""

import io
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from flows.runtime import progress
from flows.runtime.progress import Board
from models.data.panel import Split
from models.fit.settings import Ended, Result, Status
from params.load import load_variant
from tasks.train.fits import Fit
from tasks.train.job import Planned, make_job

ROW = {"epoch": 1, "train_loss": 0.5, "val_loss": 0.6, "val_mae": 4.1, "seconds": 20.0, "best": 4.0, "left": 80.0}
RESULT = Result(status=Status.FINISHED, val_mae=4.0, train_seconds=70.0, best_epoch=1, ended_by=Ended.MAX_EPOCHS)
LONG = "bidirectional_elman-s2"


def done(label: str, result: Result = RESULT) -> Fit:
    variant = load_variant("gru", "params/nyc_weather.yaml")
    job = make_job(variant, 0, Path("panel"), variant.run.windows.window_params(), Split("rows", 9, 9), "cpu")
    return Fit(planned=Planned(label=label, variant=variant, job=job), run_id="run", folder=Path("fit"), result=result)


def board_of(terminal: bool, width: int = 140) -> tuple[Board, io.StringIO]:
    text = io.StringIO()
    return Board(Console(file=text, force_terminal=terminal, width=width, highlight=False)), text


def test_a_log_file_is_quiet_until_a_fit_is_done() -> None:
    board, text = board_of(False)
    board.fits({"gru": 10}, {"gru": 5.0})
    for epoch in range(10):
        board.epoch("gru", ROW | {"epoch": epoch})
    assert text.getvalue() == ""
    board.fit_done(done("gru"))
    assert text.getvalue() == "  gru: val_mae 4.000 (skill +20.0 %) in 70.0 s, best epoch 2, ended by max_epochs\n"


def test_a_closed_form_has_penalties_and_no_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "QUIET", 0.0)
    board, text = board_of(False)
    board.fits({"ridge": 7}, dict.fromkeys(("ridge", "ensemble"), 5.0))
    board.epoch("ridge", ROW | {"penalty": 0.1})
    assert "  ridge: penalty 2/7  loss " in text.getvalue() and "epoch" not in text.getvalue()
    history = [ROW | {"epoch": epoch, "penalty": 10.0**epoch} for epoch in range(3)]
    board.fit_done(done("ridge", replace(RESULT, history=history, ended_by=Ended.CLOSED_FORM)))
    board.fit_done(done("ensemble", replace(RESULT, ended_by=Ended.MEMBERS)))
    board.fit_done(done("again", replace(RESULT, val_mae=None, history=history[1:2], best_epoch=0, ended_by=Ended.REFIT)))
    told = text.getvalue().splitlines()[1:]
    assert told == [
        "  ridge: val_mae 4.000 (skill +20.0 %) in 70.0 s, best penalty 10, in closed form",
        "  ensemble: val_mae 4.000 (skill +20.0 %) in 70.0 s, from its members",
        "  again: trained on all rows in 70.0 s, penalty: 10",
    ]


def test_a_long_fit_is_heard_of_in_a_log_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "QUIET", 0.0)
    board, text = board_of(False)
    board.fits({"gru": 10}, {"gru": 5.0})
    board.epoch("gru", ROW)
    board.epoch("gru", ROW | {"epoch": 2, "val_mae": 6.0, "left": 7000.0})
    assert text.getvalue().splitlines() == [
        "  gru: epoch 2/10  loss 0.500  val_mae 4.000 (skill +20.0 %)  at most 80 s left",
        "  gru: epoch 3/10  loss 0.500  val_mae 4.000 (skill +20.0 %)  at most 1.9 h left",
    ]


def test_an_epoch_that_comes_after_the_run_was_interrupted_is_nothing_to_break_on() -> None:
    board, text = board_of(False)
    board.fits({"gru": 10})
    board.fits_done()
    board.epoch("gru", ROW)  # the fit is at a step still; an error here would cost its checkpoint
    board.fit_done(done("gru"))
    assert "gru: val_mae 4.000" in text.getvalue()


def test_a_failed_fit_says_why() -> None:
    board, text = board_of(False)
    board.fits({"gru": 10})
    board.fit_done(done("gru", replace(RESULT, status=Status.FAILED, reason="diverged")))
    assert text.getvalue() == "  gru: failed: diverged\n"


def test_a_refit_has_no_error_of_its_own_and_a_later_round_of_fits_begins_anew() -> None:
    """Nothing was kept back to validate it on."""
    board, text = board_of(False)
    board.fits({"gru": 9}, {"gru": 8.0})
    board.fit_done(done("gru"))
    board.fits({"gru-all": 2})
    board._fits["gru-all"].told -= 61
    board.epoch("gru-all", {"epoch": 0, "train_loss": 0.5, "seconds": 20.0, "left": 20.0})
    board.fit_done(done("gru-all", replace(RESULT, val_mae=None, ended_by=Ended.REFIT)))
    told = text.getvalue()
    assert "gru-all: epoch 1/2  loss 0.500  at most 20 s left" in told
    assert "gru-all: trained on all rows in 70.0 s, epochs: 2" in told


def test_a_long_stage_says_in_a_log_file_how_far_it_is() -> None:
    board, text = board_of(False)
    with board.stage("forecast and score") as stage:
        stage.advance(1, 4, "gru")
        assert text.getvalue() == "forecast and score ...\n"
        stage.said -= 11
        stage.started -= 30
        stage.advance(3, 4, "theta")
        stage.advance(4, 4)
    lines = text.getvalue().splitlines()
    assert lines[1] == "forecast and score: 3 of 4, theta, about 10 s left"
    assert re.fullmatch(r"forecast and score: done in 0\.\d s", lines[2]) and len(lines) == 3


@pytest.mark.parametrize("terminal", [True, False])
def test_a_log_hears_each_line_once_and_what_a_terminal_shows_in_place(terminal: bool) -> None:
    log: list[str] = []
    board = Board(Console(file=io.StringIO(), force_terminal=terminal, width=140), log.append)
    with board.stage("train") as stage:
        board.fits({"gru": 10}, {"gru": 5.0})
        board._fits["gru"].told -= 61
        board.epoch("gru", ROW)
        board.epoch("gru", ROW | {"epoch": 2})
        stage.said -= 11
        stage.advance(1, 4, "gru")
        board.say("said")
        board.fit_done(done("gru"))
    assert [line.partition(" done in")[0] for line in log] == [
        "train ...",
        "  gru: epoch 2/10  loss 0.500  val_mae 4.000 (skill +20.0 %)  at most 80 s left",
        "train: 1 of 4, gru",
        "said",
        "  gru: val_mae 4.000 (skill +20.0 %) in 70.0 s, best epoch 2, ended by max_epochs",
        "train:",
    ]


@pytest.mark.parametrize("width", [80, 60, 140])
def test_no_name_is_cut_on_a_narrow_terminal(width: int) -> None:
    board, _ = board_of(True, width)
    seen = Console(file=io.StringIO(), width=width)
    with board.stage("train") as stage:
        stage.started -= 100
        stage.advance(12, 1234, "a stage that says much of what it is at work on just now")
        board.fits({LONG: 30, "gru": 30, "waits": 30}, dict.fromkeys((LONG, "gru", "waits"), 5.0))
        board.epoch(LONG, ROW | {"epoch": 11})
        board.epoch("gru", ROW | {"epoch": 29})
        seen.print(board._now())
        shown = seen.file.getvalue()  # type: ignore[attr-defined]
    assert all(len(line) <= width for line in shown.splitlines())
    assert LONG in shown and "gru" in shown and "epoch 12/30" in shown and "epoch 30/30" in shown and "…" not in shown
    assert "waits" not in shown and "0 of 3 fits have ended" in shown
    assert "".join(shown.split()).count("astagethatsaysmuchofwhatitisatworkonjustnow") == 1
    assert ("at most 80 s left" in shown) == (width >= 80)
    assert ("loss" in shown) == (width >= 140) and "━" in shown


def test_what_has_ended_stands_above_what_goes_on() -> None:
    board, text = board_of(True, 80)
    with board.stage("train"):
        board.fits({"gru": 10, "lstm": 10})
        board.epoch("lstm", ROW)
        board.fit_done(done("gru"))
        time.sleep(0.3)  # the terminal is drawn four times a second
        assert "gru: val_mae 4.000 in 70.0 s" in text.getvalue() and "1 of 2 fits have ended" in text.getvalue()
    assert board._live is None
