"""The verdict on a comparison: which model to use, why, and four marks, each by hand from tables made for it."""

import json
from dataclasses import asdict, replace
from typing import Any

import pytest

from tasks.compare.board import Board, Difference, ScoreRow
from tasks.report.distribution import Held
from tasks.report.verdict import BEATS, CHANCE, SLICES, Answer, Conclusion, Mark, verdict_on

HOLD = "intervals hold in every fifth of the series"
GAIN = Difference(-0.9, -1.5, -0.25, -4.0, 0.0004, "origins", 50, 0.002, 4, 900, 0.2, 0.051, 0.33)


def board(*rows: tuple[str, float | None, float | None], **of_gru: Any) -> Board:
    """(name, error on validation, error on test); those named gru and ridge are variants."""
    return Board.of(
        ScoreRow.read(
            {"name": name, "kind": "variant" if name in ("gru", "ridge") else "baseline", "status": "finished",
             "val_mae": val, "test_mae": test, "val_score": val, "test_score": test, **(of_gru if name == "gru" else {})}
        )
        for name, val, test in rows
    )  # fmt: skip


WON = board(("gru", 4.0, 4.2), ("ridge", 4.5, 4.4), ("theta", 5.0, 5.25), ("drift", 6.0, 9.0), test_rows=900, test_skill=0.2)
LOST = board(("gru", 4.0, 4.2), ("theta", 3.5, 5.25))


def mark(found: Board, name: str, **given: Any) -> Mark:
    (one,) = (one for one in verdict_on(found, **given).marks if one.name.startswith(name[:10]))
    return one


@pytest.mark.parametrize(
    ("found", "model", "sentence"),
    [
        (WON, "gru", "Use gru: its validation MAE (temp) of 4.000 is 20.0 % below that of theta, the best baseline (5.000), "
                     "and on test 20.0 % below it."),
        (board(("gru", 4.0, 6.0), ("theta", 5.0, 5.0)), "gru",
         "Use gru: its validation MAE (temp) of 4.000 is 20.0 % below that of theta, the best baseline (5.000), but on test "
         "20.0 % above it."),
        (board(("gru", 4.0, None), ("theta", 5.0, 5.0)), "gru",
         "Use gru: its validation MAE (temp) of 4.000 is 20.0 % below that of theta, the best baseline (5.000); the test has "
         "no row to score both on."),
        (LOST, "theta", "Use theta, the best baseline: no variant beats its validation MAE (temp) of 3.500; gru comes nearest "
                        "with 4.000."),
        (board(("theta", 3.5, 5.25)), "theta", "Use theta, the best baseline: no variant finished."),
        (board(("gru", 4.0, 4.2)), "", "No model is chosen: gru has no baseline to beat."),
        (board(), "", "No model is chosen: nothing was scored on validation."),
    ],
)  # fmt: skip
def test_the_sentence_names_the_model_to_use_and_why(found: Board, model: str, sentence: str) -> None:
    told = verdict_on(found, None, "mae", "temp")
    assert (told.model, told.sentence) == (model, sentence)
    assert len(told.marks) == 4


def test_both_scores_are_those_of_the_same_rows() -> None:
    """Of the harder rows that both forecast theta's error is 0.5, over all of its own 0.45."""
    rows = [
        {"name": "gru", "kind": "variant", "status": "finished", "val_score": 0.6, "val_skill": -0.2, "val_rows": 90},
        {"name": "theta", "kind": "baseline", "status": "finished", "val_score": 0.45, "val_skill": 0.0, "val_rows": 100},
    ]
    told = verdict_on(Board.of(map(ScoreRow.read, rows)), None, "mase")
    assert "no variant beats its validation MASE of 0.500; gru comes nearest with 0.600" in told.sentence


def test_it_beats_the_best_baseline_by_the_error_on_rows_of_both() -> None:
    """4.2 at a skill of 0.2 is 5.25 of theta on the same 900 rows, whatever its own row says."""
    other = board(("gru", 4.0, 4.2), ("theta", 5.0, 99.0), test_skill=0.2, test_rows=900)
    one = mark(other, BEATS, choose_by="owa")
    words = "on test the OWA of gru is 4.200, 20.0 % below that of theta (5.250), on the 900 rows that both forecast"
    assert one == Mark(BEATS, Answer.YES, words)
    worse = mark(board(("gru", 4.0, 6.0), ("theta", 5.0, 5.0)), BEATS)
    assert worse == Mark(BEATS, Answer.NO, "on test the MAE of gru is 6.000, 20.0 % above that of theta (5.000)")
    level = mark(board(("gru", 4.0, 5.0), ("theta", 5.0, 5.0)), BEATS)
    assert level.answer is Answer.NO and "5.000, level with that of theta" in level.words
    assert mark(LOST, BEATS).answer is Answer.YES  # the best variant, also where a baseline was chosen on validation
    for found, words in (
        (board(("gru", 4.0, None), ("theta", 5.0, 5.0)), "the test has no row that both gru and theta forecast"),
        (board(("gru", 4.0, 4.2)), "there is no baseline"),
        (board(("theta", 5.0, 5.0)), "no variant finished"),
    ):
        assert mark(found, BEATS) == Mark(BEATS, Answer.UNKNOWN, words)


def test_it_is_more_than_chance_by_the_corrected_p() -> None:
    one = mark(WON, CHANCE, gain=GAIN)
    words = "the difference of gru to theta has p 0.002 after Holm's correction for 4 tests, over 50 origins"
    assert one == Mark(CHANCE, Answer.YES, f"{words}; 90 % of resamples give a skill between +5.1 and +33.0 %")
    assert mark(WON, CHANCE, gain=replace(GAIN, p_holm=0.0501)).answer is Answer.NO  # though its own p is 0.0004
    old = mark(WON, CHANCE, gain=replace(GAIN, p_holm=None, tested=None, skill_low=None))
    assert old.answer is Answer.YES and "p <.001, over 50 origins; 90 % of resamples lie between -1.5 and -0.25" in old.words
    worse = mark(WON, CHANCE, gain=replace(GAIN, mean=0.9, low=None, skill_low=None))
    assert worse.answer is Answer.NO and worse.words.startswith(
        "gru is not better on test; the difference of gru to theta has p"
    )
    few = mark(WON, CHANCE, gain=Difference(-0.9, None, None, None, None, "origins", 3))
    assert few == Mark(CHANCE, Answer.UNKNOWN, "the difference of gru to theta is known over 3 origins only, which are too few")
    assert mark(WON, CHANCE).answer is Answer.UNKNOWN


def test_intervals_hold_where_every_group_with_rows_enough_lies_within() -> None:
    groups = {"smallest fifth": 0.95, "largest fifth": 0.81}
    one = Held("gru", 90, 0.9, groups, True, (0.8, 0.97), fewest=30)
    assert mark(WON, HOLD, intervals=one) == Mark(HOLD, Answer.YES, one.words())
    out = replace(one, groups={**groups, "second fifth": 0.79})
    assert mark(WON, HOLD, intervals=out) == Mark(HOLD, Answer.NO, out.words()) and "79.0 % in the second fifth" in out.words()
    pooled = mark(WON, HOLD, intervals=replace(one, pool=0.98))
    assert pooled.answer is Answer.NO
    few = mark(WON, HOLD, intervals=replace(one, fewest=29))
    assert few.answer is Answer.UNKNOWN and few.words.startswith("29 rows of a group are too few, 30 are needed; the 90 %")
    other = mark(WON, HOLD, intervals=replace(one, level=80, wanted=None))
    assert other.answer is Answer.UNKNOWN and other.words.startswith("promotion.coverage is about 90 %, and the 80 %")
    assert mark(WON, HOLD).answer is Answer.UNKNOWN
    series = mark(WON, HOLD, intervals=replace(one, fifths=False))
    assert series.name == "intervals hold in every series"


def test_every_slice_gains_or_the_worst_are_named() -> None:
    skills = {"at step 1": 0.3, "at step 2": 0.011, "on Mondays": 0.2}
    yes = mark(WON, SLICES, slices=skills)
    assert yes == Mark(SLICES, Answer.YES, "gru is better than theta in each of 3 slices; least: skill +1.1 % at step 2")
    no = mark(WON, SLICES, slices={**skills, "at hour 3 UTC": 0.0, "at step 9": -0.1, "at step 8": -0.2, "on Sundays": -0.05})
    assert no == Mark(SLICES, Answer.NO, "gru is not better than theta in 4 of 7 slices: skill -20.0 % at step 8, -10.0 % at "
                                         "step 9, -5.0 % on Sundays and 1 more")  # fmt: skip
    assert mark(WON, SLICES, slices={}) == Mark(SLICES, Answer.UNKNOWN, "no slice has 30 rows")
    assert mark(WON, SLICES).answer is Answer.UNKNOWN


def test_a_verdict_survives_its_json() -> None:
    told = verdict_on(WON, GAIN, slices={"step 1": -0.1})
    assert Conclusion.read(json.loads(json.dumps(asdict(told)))) == told
    with pytest.raises(ValueError, match="maybe"):
        Conclusion.read({"model": "a", "sentence": "b", "marks": [{"name": "a", "answer": "maybe", "words": ""}]})


@pytest.mark.parametrize("width", [36, 40, 53, 80])
def test_in_a_terminal_no_line_is_wider_and_every_mark_begins_with_its_answer(width: int) -> None:
    lines = verdict_on(WON, GAIN, slices={"step 1": -0.1}).lines(width)
    assert max(map(len, lines)) <= width
    first = [line for line in lines if line.startswith("  ") and line[2] != " "]
    assert [line.split()[0] for line in first] == ["yes", "yes", "?", "no"]
    assert " ".join(lines).split()[:2] == ["Use", "gru:"]
    assert not any(line.lstrip().startswith("%") for line in lines) and "20.0 % below" in " ".join(" ".join(lines).split())


def test_as_markdown_nothing_of_the_data_is_markup() -> None:
    text = Conclusion("a_b", "Use a_b.", (Mark("x", Answer.NO, "<script> in *s*"),)).markdown()
    assert text.splitlines() == [r"**Use a\_b.**", "", r"- x: **no**; &lt;script> in \*s\*"]
