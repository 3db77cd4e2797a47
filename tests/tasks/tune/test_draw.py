"""Draws are a function of space, seed, number and what is known: the same at any pace; TPE finds a bowl's bottom."""

import math
from dataclasses import replace

import pytest

from params.search import Dimension
from tasks.tune.draw import distribution, draw
from tasks.tune.space import Space
from tasks.tune.trial import State, Trial, known_to, ranked

BOWL = Space(
    "v",
    {"x": Dimension(low=-5.0, high=5.0), "n": Dimension(low=1, high=64, log=True), "how": Dimension(choices=("a", "b"))},
    {"x": 4.0, "n": 60, "how": "b"},
)


def score(values) -> float:
    return values["x"] ** 2 + math.log2(values["n"] / 8) ** 2 + (values["how"] == "b")


def grown(count: int, seed: int = 0, ahead: int = 4, space: Space = BOWL) -> list[Trial]:
    """The first trials of a search, one after the other; every fifth fails, every seventh is pruned."""
    trials: list[Trial] = []
    for number in range(count):
        trial = Trial(variant="v", number=number, values=draw(space, trials, seed, number, ahead))
        trial = replace(trial, state=State.FINISHED, score=score(trial.values))
        if number % 5 == 4:
            trial = replace(trial, state=State.FAILED, score=None)
        elif number % 7 == 6:
            trial = replace(trial, state=State.PRUNED, score=None, rungs={1: 9.0})
        trials.append(trial)
    return trials


def test_the_first_trial_is_the_variant_as_it_is_or_a_draw_where_it_lies_outside() -> None:
    assert draw(BOWL, [], 0, 0, 4) == {"x": 4.0, "n": 60, "how": "b"}
    free = replace(BOWL, start=None)
    assert draw(free, [], 0, 0, 4) != BOWL.start and free.dimensions["x"].holds(draw(free, [], 0, 0, 4)["x"])


def test_the_same_seed_gives_the_same_draws_and_another_others() -> None:
    once, again, other = grown(25), grown(25), grown(25, seed=1)
    assert once == again
    assert [one.values for one in once[1:]] != [one.values for one in other[1:]]
    assert len({str(one.values) for one in once}) == 25


def test_a_draw_does_not_depend_on_what_of_the_trials_under_way_has_ended_yet() -> None:
    trials = grown(25)
    for number in (1, 12, 24):
        slow = [
            Trial(variant="v", number=one.number, values=one.values) if one.number > number - 4 else one
            for one in trials[:number]
        ]
        assert draw(BOWL, slow, 0, number, 4) == draw(BOWL, trials[:number], 0, number, 4) == trials[number].values
        known = [one for one in trials[:number] if one.number <= number - 4]
        assert known_to(number, trials[:number], 4) == known


def test_what_failed_and_what_was_pruned_teaches() -> None:
    """Where all that is positive fails, hardly any later draw is."""
    trials: list[Trial] = []
    for number in range(40):
        trial = Trial(variant="v", number=number, values=draw(replace(BOWL, start=None), trials, 0, number, 4))
        failed = trial.values["x"] > 0
        trials.append(
            replace(trial, state=State.FAILED) if failed else replace(trial, state=State.FINISHED, score=score(trial.values))
        )
    assert sum(one.state is State.FAILED for one in trials[20:]) < 5


@pytest.mark.parametrize("seed", range(3))
def test_the_later_half_is_better_than_chance(seed: int) -> None:
    trials = grown(60, seed)
    early, late = ([one.score for one in some if one.score is not None] for some in (trials[1:12], trials[40:]))
    assert sorted(late)[len(late) // 2] < sorted(early)[len(early) // 2] / 2
    best = ranked(trials)[0]
    assert best.score == min(one.score for one in trials if one.score is not None) < 1.5


def test_values_have_few_digits_and_lie_within() -> None:
    for trial in grown(20)[1:]:
        for key, value in trial.values.items():
            assert BOWL.dimensions[key].holds(value)
            assert BOWL.dimensions[key].rounded(value) == value


def test_a_dimension_is_the_distribution_that_it_says() -> None:
    assert str(distribution(Dimension(low=2, high=8, step=2))) == "IntDistribution(high=8, log=False, low=2, step=2)"
    assert str(distribution(Dimension(low=1, high=64, log=True))) == "IntDistribution(high=64, log=True, low=1, step=1)"
    half = "FloatDistribution(high=0.5, log=False, low=0.0, step=0.1)"
    assert str(distribution(Dimension(low=0, high=0.5, step=0.1))) == half
    assert str(distribution(Dimension(choices=("a", "b")))) == "CategoricalDistribution(choices=('a', 'b'))"
