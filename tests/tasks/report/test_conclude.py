"""What a verdict rests on: the best variant's skill in every slice, over its seeds, and its gain."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import polars as pl
import pytest

from params.load import load_run
from tasks.compare.compare import Comparison
from tasks.report.conclude import gain_of, slice_name, verdict_of
from tasks.report.verdict import SLICES, Answer, Mark

Made = Callable[[bool], Comparison]


def table(**skills: Mapping[str, Mapping[str, float]]) -> pl.DataFrame:
    rows = [
        {"model": model.replace("_", "-"), "by": by, "value": value, "n": 29 if value == "few" else 30, "skill": skill}
        for model, some in skills.items()
        for by, values in some.items()
        for value, skill in values.items()
    ]
    return pl.DataFrame(rows)


def test_the_slices_of_a_comparison_are_those_of_the_best_variant_over_its_seeds(made: Made) -> None:
    run, found = load_run("params/smoke.yaml"), made(True)
    step = {"step": {"1": 0.2, "2": 0.4}}
    mixed = table(gru={**step, "series": {"few": -1.0, "large": 0.1}}, gru_s1={"step": {"1": -0.1, "2": -0.6}}, theta=step)
    told = verdict_of(replace(found, slices=mixed), run)
    assert told.marks[3] == Mark(SLICES, Answer.NO, "gru is not better than theta in 1 of 3 slices: skill -10.0 % at step 2")
    fifths = table(gru={"fifth": {"1": 0.3, "5": 0.05}, "series": {"large": -0.9}})
    told = verdict_of(replace(found, slices=fifths), run)
    assert told.marks[3].answer is Answer.YES and "+5.0 % in the largest fifth" in told.marks[3].words
    assert told.model == "gru" and told.marks[2].words == "the model to use has no intervals"
    assert told.marks[1].answer is Answer.YES and "p 0.020 after Holm's correction for 2 tests" in told.marks[1].words


def test_the_gain_is_that_of_the_highest_variant_whether_it_won_or_not(made: Made) -> None:
    for won in (True, False):
        found = made(won)
        assert gain_of(found) is found.to_baseline["gru"] and found.board.won is won


@pytest.mark.parametrize(
    ("by", "value", "name"),
    [("hour", "3", "at hour 3 UTC"), ("weekday", "7", "on Sundays"),
     ("step", "12", "at step 12"), ("fifth", "2", "in the second fifth"),
     ("series", "a\nb", r"in series a\nb")],
)  # fmt: skip
def test_a_slice_has_a_name(by: str, value: str, name: str) -> None:
    assert slice_name(by, value) == name
