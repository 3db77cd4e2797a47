"""tasks/tune/clock.py: what a preset and a budget of minutes make of a run."""

import math
from pathlib import Path

import pytest

from params.preset import Preset, load_preset
from tasks.tune.clock import (
    RESERVE,
    Clock,
    Decision,
    Pick,
    Tried,
    begins,
    decision_file,
    ranges,
    record_decision,
    recorded_decision,
    repeated,
    searched,
)

PRESET = Preset.model_validate(
    {
        "about": "...",
        "variants": ["own"],
        "seeds": 3,
        "folds": 2,
        "tune": {"variants": 2, "trials": 10},
        "clock": {"variants": 0.5, "tune": 0.5},
    }
)


def _clock(minutes: float | None, used: float = 0.0) -> Clock:
    """One that shows `used` seconds."""
    return Clock(minutes, began=100.0, now=lambda: 100.0 + used)


def _tried(name: str, score: float | None, seconds: float = 10.0, searched: bool = True) -> Tried:
    return Tried(name=name, seconds=seconds, score=score, seeded=True, searched=searched)


def test_what_is_left_is_the_share_less_what_is_kept_for_the_end() -> None:
    assert _clock(10, used=60).left() == pytest.approx(600 * (1 - RESERVE) - 60)
    assert _clock(10, used=60).left(0.5) == pytest.approx(300 * (1 - RESERVE) - 60)
    assert _clock(None, used=1e9).left() == math.inf


@pytest.mark.parametrize(
    ("used", "estimates", "pace", "expected"),
    [
        (0, [100.0], 1.0, True),
        (0, [100.0], 6.0, False),  # it would end too late
        (0, [300.0, 300.0], 1.0, True),  # two at a time
        (0, [300.0, 300.0, 300.0, 300.0], 1.0, False),
        (0, [300.0, 300.0, 10.0], 1.0, True),
        (255, [1.0], 1.0, False),  # half of 510 seconds is used up
        (254, [1.0], 1.0, True),
    ],
)
def test_fits_begin_while_their_share_lasts_and_they_end_in_time(used, estimates, pace, expected) -> None:
    assert begins(_clock(10, used), 0.5, estimates, pace, 2) is expected


def test_without_a_budget_everything_begins_and_is_done_in_full() -> None:
    clock = _clock(None, used=1e9)
    tried = [_tried("a", 2.0), _tried("b", 1.0), _tried("c", 3.0)]
    assert begins(clock, 0.5, [1e9], 5.0, 1)
    assert ranges(PRESET, clock, 1e9, 1) == 2
    assert searched(PRESET, clock, tried, folds=2, owed=1e9, jobs=1) == (("b", "a"), 10, None)
    assert repeated(PRESET, clock, 1e9, 1e9, 1) == 3


def test_the_best_variants_that_can_be_searched_are() -> None:
    tried = [_tried("a", 2.0), _tried("b", 1.0, searched=False), _tried("c", None), _tried("d", 1.5), _tried("e", 9.0)]
    names, trials, minutes = searched(PRESET, _clock(60), tried, folds=1, owed=0, jobs=1)
    assert (names, trials) == (("d", "a"), 10)
    assert minutes == pytest.approx(60 * (1 - RESERVE) / 2)
    assert searched(PRESET, _clock(60), tried, folds=1, owed=1200, jobs=2)[2] == pytest.approx((60 * (1 - RESERVE) - 10) / 2)


def test_a_search_that_is_too_short_has_fewer_variants_or_is_left_out() -> None:
    tried = [_tried("slow", 1.0, seconds=30.0), _tried("slower", 2.0, seconds=60.0)]
    whole = 4 * 90 / 0.5 / (1 - RESERVE) / 60  # minutes in half of which both have four trials

    def chosen(minutes: float, folds: int = 1, jobs: int = 1) -> tuple[str, ...]:
        return searched(PRESET, _clock(minutes), tried, folds, 0, jobs)[0]

    assert chosen(whole * 1.01) == ("slow", "slower")
    assert chosen(whole * 1.01, folds=2) == ("slow",)
    assert chosen(whole * 0.99) == ("slow",)
    assert chosen(whole * 0.99, jobs=2) == ("slow", "slower")
    assert searched(PRESET, _clock(whole * 0.3), tried, 1, 0, 1) == ((), 0, None)
    assert searched(load_preset("fast"), _clock(None), tried, 1, 0, 1) == ((), 0, None)


def test_ranges_and_seeds_are_as_many_as_there_is_time_for() -> None:
    minutes = 1000 / 60 / (1 - RESERVE)  # of which 1000 seconds are to be used
    assert [ranges(PRESET, _clock(minutes), seconds, 1) for seconds in (399, 401)] == [2, 1]
    assert [ranges(PRESET, _clock(minutes), seconds, 2) for seconds in (799, 801)] == [2, 1]
    found = [repeated(PRESET, _clock(minutes), seconds, owed=200, jobs=1) for seconds in (399, 401, 799, 801)]
    assert found == [3, 2, 2, 1]


def test_a_decision_comes_back_as_it_was_recorded(tmp_path: Path) -> None:
    decision = Decision(
        preset="good",
        minutes=2.5,
        variants=("ridge", "gru"),
        left_out=("tcn",),
        tuned=("gru",),
        search="abc",
        picks=(Pick("gru", 3),),
        seeds=2,
    )
    file = decision_file(tmp_path, "good", 2.5, ["b", "a"])
    assert recorded_decision(file) is None
    record_decision(file, decision)
    assert recorded_decision(decision_file(tmp_path, "good", 2.5, ["a", "b"])) == decision
    for preset, minutes, fits in [("best", 2.5, ["a", "b"]), ("good", 3.0, ["a", "b"]), ("good", 2.5, ["a"])]:
        assert recorded_decision(decision_file(tmp_path, preset, minutes, fits)) is None
    assert decision.settings() == ['variants=["ridge", "gru"]', "training.seeds=2", "split.folds=1"]


def test_what_was_cut_is_said() -> None:
    whole = Decision(preset="good", minutes=None, variants=("a", "b"), tuned=("a", "b"), seeds=3, folds=2)
    assert whole.words(PRESET) == ["preset good: 2 variants, 2 of them tuned, 3 seeds, 2 validation ranges"]
    cut = Decision(preset="good", minutes=2.0, variants=("a",), left_out=("b", "c"), seeds=2)
    assert cut.words(PRESET) == [
        "preset good: 1 variant, none of them tuned, 2 seeds, 1 validation range",
        "  cut, since 2 minutes do not hold it: b, c; tuning; 1 of 3 seeds; 1 of 2 validation ranges",
    ]
