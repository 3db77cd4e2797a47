"""The verdict on a comparison: which model to use, why, and what four marks say of it; quick to import."""

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from params.evaluation import Measure
from tasks.compare.board import LEVEL, Board, Difference, ScoreRow
from tasks.pages import Html, marks
from tasks.report import leaderboard as report

if TYPE_CHECKING:
    from tasks.report.distribution import Held  # imports torch, which a leaderboard does not need

FEWEST = 30  # rows: a slice or a group of series with fewer is not judged by itself
NO_BREAK = "\N{NO-BREAK SPACE}"
NAMED = 3  # slices named in a mark
BEATS, CHANCE, INTERVALS, SLICES = "beats the best baseline", "more than chance", "intervals hold", "every slice gains"


class Answer(StrEnum):
    """What a mark says."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "cannot be said"


LOOKS = {Answer.YES: "ok", Answer.NO: "fail", Answer.UNKNOWN: "warn"}  # the CSS class of an answer


@dataclass(frozen=True)
class Mark:
    """One question about a comparison, its answer, and the numbers behind it."""

    name: str
    answer: Answer
    words: str


@dataclass(frozen=True)
class Conclusion:
    """The `model` to use (empty if none was chosen), a sentence that says why, and four marks."""

    model: str
    sentence: str
    marks: tuple[Mark, ...]

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> "Conclusion":
        """The inverse of `dataclasses.asdict`, from JSON.  Raises LookupError, TypeError or ValueError."""
        given = tuple(Mark(str(one["name"]), Answer(one["answer"]), str(one["words"])) for one in raw["marks"])
        return cls(str(raw["model"]), str(raw["sentence"]), given)

    def lines(self, width: int) -> list[str]:
        """The sentence, and a paragraph per mark, in lines of at most `width` columns."""
        lines = _wrapped(self.sentence, width)
        for mark in self.marks:
            sign = "?" if mark.answer is Answer.UNKNOWN else str(mark.answer)
            name = f"{mark.name} cannot be said" if mark.answer is Answer.UNKNOWN else mark.name
            lines += _wrapped(f"  {sign:<3}  {name}: {mark.words}", width, " " * 7)
        return lines

    def markdown(self) -> str:
        """The sentence in bold and the marks as a list; nothing of the data is markup."""
        listed = (f"- {report.escaped(mark.name)}: **{mark.answer}**; {report.escaped(mark.words)}" for mark in self.marks)
        return "\n\n".join(part for part in (f"**{report.escaped(self.sentence)}**", "\n".join(listed)) if part)


def _wrapped(text: str, width: int, indent: str = "") -> list[str]:
    """A text in lines; a number and its % stay together."""
    whole = text.replace(" %", f"{NO_BREAK}%")
    return [line.replace(NO_BREAK, " ") for line in textwrap.wrap(whole, width, subsequent_indent=indent)]


def marks_of(conclusion: Conclusion) -> Html:
    """The marks as HTML: each with a sign and a word for its answer."""
    return marks([(LOOKS[mark.answer], mark.name, str(mark.answer), mark.words) for mark in conclusion.marks])


def verdict_on(
    board: Board,
    gain: Difference | None = None,
    choose_by: Measure = "mae",
    target: str = "",
    intervals: "Held | None" = None,
    slices: Mapping[str, float] | None = None,
) -> Conclusion:
    """The verdict on a board.

    `gain`: the best variant's score minus the best baseline's (None: unknown).  `intervals`: those of the
    model to use.  `slices`: the best variant's skill against the best baseline by the name of a slice.  What
    is None cannot be said, as of a leaderboard without a verdict, which an earlier lagline wrote.
    """
    answers = (
        _beats(board, choose_by),
        _more_than_chance(board, gain),
        _hold(intervals),
        _every_slice(board, slices),
    )
    return Conclusion(board.chosen.name if board.chosen else "", _sentence(board, choose_by, target), answers)


def _sentence(board: Board, choose_by: Measure, target: str) -> str:
    """Which model to use and why; validation chose it."""
    best, bar, chosen, score = board.best, board.bar, board.chosen, report.error_name(choose_by, target)
    if chosen is None or bar is None:
        why = "nothing was scored on validation" if best is None else f"{best.name} has no baseline to beat"
        return f"No model is chosen: {why}."
    if best is None:
        return f"Use {bar.name}, the best baseline: no variant finished."
    theirs = report.of_the_same_rows(best, bar, "val_score", "val_skill") or bar.score
    if not board.won:
        words = f"Use {bar.name}, the best baseline: no variant beats its validation {score} of {_number(theirs)}"
        return f"{words}; {best.name} comes nearest with {_number(best.score)}."
    words = f"Use {best.name}: its validation {score} of {_number(best.score)} is "
    words += f"{_against(best.score, theirs)} that of {bar.name}, the best baseline ({_number(theirs)})"
    return f"{words}{_then(best, bar)}."


def _then(best: ScoreRow, bar: ScoreRow) -> str:
    """How the chosen variant stands on test."""
    column = report.tested(best)
    ours, theirs = best[column], report.of_the_same_rows(best, bar, column)
    if ours is None or theirs is None:
        return "; the test has no row to score both on"
    return f"{', but' if ours > theirs else ', and'} on test {_against(ours, theirs)} it"


def _beats(board: Board, choose_by: Measure) -> Mark:
    best, bar = board.best, board.bar
    if best is None or bar is None:
        return Mark(BEATS, Answer.UNKNOWN, "no variant finished" if best is None else "there is no baseline")
    column = report.tested(best)
    ours, theirs = best[column], report.of_the_same_rows(best, bar, column)
    if ours is None or theirs is None:
        return Mark(BEATS, Answer.UNKNOWN, f"the test has no row that both {best.name} and {bar.name} forecast")
    score = report.SCORES["mae" if column == "test_mae" else choose_by]
    words = f"on test the {score} of {best.name} is {report.figure(ours)}, {_against(ours, theirs)} that of {bar.name} "
    words += f"({report.figure(theirs)})" + (
        f", on the {int(rows):,} rows that both forecast" if (rows := best["test_rows"]) else ""
    )
    return Mark(BEATS, Answer.YES if ours < theirs else Answer.NO, words)


def _more_than_chance(board: Board, gain: Difference | None) -> Mark:
    """By the p value after Holm's correction for all that are tested against the best baseline."""
    best, bar = board.best, board.bar
    if best is None or bar is None or gain is None:
        return Mark(CHANCE, Answer.UNKNOWN, "there is no difference to a best baseline on record")
    between = f"the difference of {best.name} to {bar.name}"
    p = gain.p if gain.p_holm is None else gain.p_holm
    if p is None:
        return Mark(CHANCE, Answer.UNKNOWN, f"{between} is known over {gain.count:,} {gain.over} only, which are too few")
    among = (
        f" after Holm's correction for {gain.tested} tests"
        if gain.tested and gain.tested > 1 and gain.p_holm is not None
        else ""
    )
    words = f"{between} has p {report.chance(p)}{among}, over {gain.count:,} {gain.over}{_span(gain)}"
    if gain.mean >= 0:
        return Mark(CHANCE, Answer.NO, f"{best.name} is not better on test; {words}")
    return Mark(CHANCE, Answer.YES if p <= LEVEL else Answer.NO, words)


def _span(gain: Difference) -> str:
    """The 90 % interval of the skill, else of the difference; empty without one."""
    if gain.skill_low is not None and gain.skill_high is not None:
        return f"; 90 % of resamples give a skill between {100 * gain.skill_low:+.1f} and {100 * gain.skill_high:+.1f} %"
    if gain.low is not None and gain.high is not None:
        return f"; 90 % of resamples lie between {gain.low:+.3g} and {gain.high:+.3g}"
    return ""


def _hold(held: "Held | None") -> Mark:
    name = f"{INTERVALS} in every {'series' if held and not held.fifths else 'fifth of the series'}"
    if held is None:
        return Mark(name, Answer.UNKNOWN, "the model to use has no intervals")
    if held.holds is None:
        return Mark(name, Answer.UNKNOWN, f"promotion.coverage is about 90 %, and {held.words()}")
    if held.fewest < FEWEST:
        return Mark(name, Answer.UNKNOWN, f"{held.fewest} rows of a group are too few, {FEWEST} are needed; {held.words()}")
    return Mark(name, Answer.YES if held.holds else Answer.NO, held.words())


def _every_slice(board: Board, skills: Mapping[str, float] | None) -> Mark:
    best, bar = board.best, board.bar
    if best is None or bar is None or skills is None:
        return Mark(SLICES, Answer.UNKNOWN, "there is no skill by slice against a best baseline on record")
    if not skills:
        return Mark(SLICES, Answer.UNKNOWN, f"no slice has {FEWEST} rows")
    ranked = sorted(skills, key=lambda name: skills[name])
    lost = [name for name in ranked if skills[name] <= 0]
    if not lost:
        least = f"{100 * skills[ranked[0]]:+.1f} % {ranked[0]}"
        words = f"{best.name} is better than {bar.name} in each of {len(ranked)} slices; least: skill {least}"
        return Mark(SLICES, Answer.YES, words)
    some = ", ".join(f"{100 * skills[name]:+.1f} % {name}" for name in lost[:NAMED])
    more = f" and {len(lost) - NAMED} more" if len(lost) > NAMED else ""
    words = f"{best.name} is not better than {bar.name} in {len(lost)} of {len(ranked)} slices: skill {some}{more}"
    return Mark(SLICES, Answer.NO, words)


def _number(value: float | None) -> str:
    return "" if value is None else report.figure(value)


def _against(ours: float | None, theirs: float | None) -> str:
    return "" if ours is None or theirs is None else report.against(ours, theirs)
