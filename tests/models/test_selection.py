"""Forward selection against every multiset of picks, and what it promises on the rows that it learns from."""

from collections import Counter
from dataclasses import replace
from itertools import combinations_with_replacement
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.fit.settings import Measure
from models.selection import ROWS, Range, select

MEASURES = get_args(Measure)


def a_range(seed: int = 0, windows: int = 30, members: int = 4, by: Measure = "mae", noise: float = 1.0) -> Range:
    """Some members that err in different ways; a few actuals are missing."""
    rng = np.random.default_rng(seed)
    y = 5 + rng.normal(size=(windows, 3))
    made = [y + noise * rng.normal(size=y.shape) + rng.normal() for _ in range(members)]
    y = np.where(rng.random(y.shape) < 0.1, np.nan, y)
    series = np.sort(rng.integers(0, 3, windows))
    naive2 = members - 1 if by == "owa" else None
    return Range(by, y, made, series, np.array([0.5, 2.0, 3.0]), naive2=naive2)


def score_of(some: Range, counts: tuple[int, ...]) -> float:
    """The score of a mean, each member as often as it counts."""
    total = sum(count * member for count, member in zip(counts, some.members, strict=True))
    mean = np.asarray(total) / sum(counts)
    whole = replace(some, members=[mean, *some.members], naive2=None if some.naive2 is None else some.naive2 + 1)
    return float(whole.scores(np.zeros(some.y.shape), 1)[0])


def forward(some: Range, picks: int) -> tuple[tuple[int, ...], float]:
    """The same by the book: every multiset that has one pick more than the best of the step before, the first of equals."""
    members, now, best = range(len(some.members)), tuple[int, ...](), (tuple[int, ...](), np.inf)
    for size in range(1, picks + 1):
        every = [tuple(Counter(picked)[at] for at in members) for picked in combinations_with_replacement(members, size)]
        grown = [one for one in every if not now or sorted(np.subtract(one, now)) == [*[0] * (len(members) - 1), 1]]
        scores = {one: score_of(some, one) for one in grown}
        now = min(
            scores, key=lambda one: (scores[one], -next(at for at in members if one[at] > (now or [0] * len(members))[at]))
        )
        if scores[now] < best[1]:
            best = (now, scores[now])
    return best


@pytest.mark.parametrize("by", MEASURES)
@pytest.mark.parametrize("seed", range(4))
def test_it_picks_as_the_book_says(by: Measure, seed: int) -> None:
    some = a_range(seed, by=by)
    found = select([some], picks=6)
    counts, score = forward(some, 6)
    assert found is not None and found.counts == counts and found.score == pytest.approx(score, rel=1e-12)
    np.testing.assert_allclose(found.singles, [score_of(some, tuple(np.eye(4, dtype=int)[at])) for at in range(4)])


@pytest.mark.parametrize("by", ["mae", "mse_scaled"])
@pytest.mark.parametrize("seed", range(6))
def test_it_is_near_the_best_of_all_multisets(by: Measure, seed: int) -> None:
    """Of three members and up to six picks; the path is greedy, so that the best of all may be missed, but never by much."""
    some = a_range(seed, members=3, by=by, windows=80)
    every = {
        tuple(Counter(picked)[at] for at in range(3))
        for size in range(1, 7)
        for picked in combinations_with_replacement(range(3), size)
    }
    least = min(score_of(some, one) for one in every)
    found = select([some], picks=6)
    assert found is not None and found.counts in every
    assert least <= found.score + 1e-12 and found.score <= 1.02 * least


@given(st.integers(0, 10**6), st.sampled_from(MEASURES), st.integers(1, 5), st.integers(1, 8))
def test_on_its_rows_it_is_never_worse_than_its_best_member(seed: int, by: Measure, members: int, picks: int) -> None:
    some = a_range(seed, 12, members, by, noise=0.2)
    found = select([some], picks)
    if found is None:  # nothing to score, or nothing to divide by
        return
    assert found.score <= min(found.singles) and 1 <= sum(found.counts) <= picks
    assert found.score == pytest.approx(score_of(some, found.counts), rel=1e-9, abs=1e-12)


def test_of_equals_the_first_is_taken_and_no_pick_is_made_that_is_no_gain() -> None:
    some = a_range(3, members=2)
    twins = replace(some, members=[some.members[0] + 50, some.members[0], some.members[0].copy()])
    found = select([twins])
    assert found is not None and found.counts == (0, 1, 0)


def test_two_that_err_to_either_side_count_alike() -> None:
    y = np.zeros((10, 2))
    some = Range("mae", y, [y + 5.0, y + 3.0, y - 3.0], np.zeros(10, np.int64), np.ones(1))
    found = select([some])
    assert found is not None and found.score == 0.0 and found.counts == (0, 1, 1)


def test_several_ranges_count_alike_however_many_rows_they_have() -> None:
    y = np.zeros((1, 1))
    few = Range("mae", y, [y + 1.0, y + 4.0], np.zeros(1, np.int64), np.ones(1))
    many = Range("mae", np.zeros((100, 1)), [np.full((100, 1), 3.0), np.ones((100, 1))], np.zeros(100, np.int64), np.ones(1))
    found = select([few, many])
    assert found is not None and found.singles == (2.0, 2.5) and found.counts == (1, 0)
    nothing = replace(few, y=np.full((1, 1), np.nan))
    assert select([nothing]) is None
    assert select([nothing, few]) == select([few])


def test_some_windows_alone_count_and_how_many_are_looked_at_together_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    some = a_range(5, windows=60, by="rmsse")
    at = np.flatnonzero(np.random.default_rng(0).random(60) < 0.5)
    cut = replace(some, y=some.y[at], members=[one[at] for one in some.members], series=some.series[at])
    part = select([replace(some, some=at)])
    whole = select([cut])
    assert part == whole
    assert ROWS > 180
    monkeypatch.setattr("models.selection.ROWS", 21)
    pieces = select([cut])
    assert pieces is not None and whole is not None and pieces.counts == whole.counts
    assert pieces.score == pytest.approx(whole.score, rel=1e-12)


def test_members_may_lie_on_a_disk(tmp_path) -> None:
    some = a_range(6)
    for number, one in enumerate(some.members):
        np.save(tmp_path / f"{number}.npy", one)
    mapped = replace(some, members=[np.load(tmp_path / f"{number}.npy", mmap_mode="r") for number in range(4)])
    assert select([mapped]) == select([some])
