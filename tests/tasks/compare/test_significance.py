"""Differences between models: by an independent computation, with as few false alarms as promised, and found where planted."""

import math
import random

import numpy as np
import polars as pl
import pytest
from scipy import stats

from tasks.compare.board import LEVEL
from tasks.compare.significance import (
    FEWEST,
    corrected,
    diebold_mariano,
    differences,
    holm,
    judge,
    mean_interval,
    overlap_of,
)


def by_hand(d: np.ndarray, h: int) -> tuple[float, float]:
    """Harvey, Leybourne & Newbold 1997, equations 8 and 9, term by term."""
    n, mean = len(d), sum(d) / len(d)
    gamma = [sum((d[t] - mean) * (d[t - k] - mean) for t in range(k, n)) / n for k in range(h)]
    v = (gamma[0] + 2 * sum(gamma[1:])) / n
    s1 = mean / math.sqrt(v)
    s = s1 * math.sqrt((n + 1 - 2 * h + h * (h - 1) / n) / n)
    return s, 2 * (1 - stats.t.cdf(abs(s), n - 1))


@pytest.mark.parametrize("overlap", [1, 2, 4])
def test_the_statistic_equals_the_paper_s_formula(overlap: int) -> None:
    d = np.random.default_rng(overlap).normal(0.2, 1, 60)
    found = diebold_mariano(d, overlap)
    assert found is not None
    assert found == pytest.approx(by_hand(d, overlap), rel=1e-9)


def shuffled_as_python_2_did(random: random.Random) -> np.ndarray:
    """`random.sample(range(100), 100)` of Python 2, in which the published example was made."""
    pool, drawn = list(range(100)), []
    for taken in range(100):
        place = int(random.random() * (100 - taken))
        drawn.append(pool[place])
        pool[place] = pool[99 - taken]
    return np.array(drawn, float)


def test_a_published_example() -> None:
    """The README of github.com/johntwk/Diebold-Mariano-Test (J. Tsang, 2017), one step ahead, seed 123."""
    source = random.Random(123)
    actual, one, two = (shuffled_as_python_2_did(source) for _ in range(3))
    published = {1: (1.3275742446369585, 0.18737195617455585), 2: (1.2112523589452902, 0.22868210381769466)}
    for power, expected in published.items():
        assert diebold_mariano(abs(actual - one) ** power - abs(actual - two) ** power, 1) == pytest.approx(expected, rel=1e-12)


def test_one_step_ahead_it_is_nearly_the_t_test_of_the_mean() -> None:
    """With overlap 1 only the divisor differs: n of the variance, and the correction puts n - 1 back."""
    d = np.random.default_rng(3).normal(0.1, 1, 50)
    found, expected = diebold_mariano(d, 1), stats.ttest_1samp(d, 0)
    assert found is not None
    assert found == pytest.approx((expected.statistic, expected.pvalue), rel=1e-9)


def frame_of(errors: dict[str, np.ndarray]) -> pl.DataFrame:
    """Two series whose actual is 0; errors [origins, 2 series, 3 steps]."""
    count = len(next(iter(errors.values())))
    keys = [(s, c, k) for c in range(count) for s in ("a", "b") for k in (1, 2, 3)]
    frame = pl.DataFrame(keys, schema=["unique_id", "cutoff", "step"], orient="row").with_columns(y=pl.lit(0.0))
    return frame.with_columns(**{name: pl.Series(values.ravel()) for name, values in errors.items()})


def test_an_origin_s_difference_is_the_mean_over_its_series_and_steps_where_both_forecast() -> None:
    rng = np.random.default_rng(0)
    one, two = rng.normal(size=(4, 2, 3)), rng.normal(size=(4, 2, 3))
    one[1, 0, 2] = np.nan
    two[2] = np.nan
    gaps = differences(frame_of({"one": one, "two": two}).sample(fraction=1, shuffle=True, seed=1), ["one"], ["two"])
    both = np.nanmean((np.abs(one) - np.abs(two))[[0, 1, 3]], axis=2)
    assert gaps["cutoff"].to_list() == [0, 0, 1, 1, 3, 3] and gaps["unique_id"].to_list() == ["a", "b"] * 3
    np.testing.assert_allclose(gaps["gap"], both.ravel())


def test_the_seeds_of_a_variant_count_as_their_mean() -> None:
    rng = np.random.default_rng(1)
    errors = {name: rng.normal(size=(12, 2, 3)) for name in ("m", "m-s1", "other")}
    gaps = differences(frame_of(errors), ["m", "m-s1"], ["other"])
    expected = (np.abs(errors["m"]) + np.abs(errors["m-s1"])) / 2 - np.abs(errors["other"])
    np.testing.assert_allclose(gaps["gap"], expected.mean(2).ravel())
    found = judge(gaps, 1)
    assert found is not None and (found.over, found.count) == ("origins", 12)
    assert found.mean == pytest.approx(expected.mean())


def test_with_one_origin_the_series_are_counted() -> None:
    """As on M4: the t test of the series' means, and an interval of theirs."""
    gaps = np.random.default_rng(3).normal(-0.3, 1, 80)
    frame = pl.DataFrame({"unique_id": [f"s{i:02d}" for i in range(80)], "cutoff": [0] * 80, "gap": gaps})
    found = judge(frame, 4)
    assert found is not None and (found.over, found.count) == ("series", 80)
    assert found.p == pytest.approx(stats.ttest_1samp(gaps, 0).pvalue)
    assert found.low is not None and found.high is not None
    half = stats.t.ppf(0.95, 79) * gaps.std(ddof=1) / math.sqrt(80)
    assert (found.low, found.high) == pytest.approx((gaps.mean() - half, gaps.mean() + half), abs=0.05)
    alone = judge(frame.head(FEWEST - 1), 4)
    assert alone is not None and (alone.p, alone.low) == (None, None) and alone.mean == pytest.approx(gaps[: FEWEST - 1].mean())
    assert judge(frame.clear(), 1) is None


def test_what_overlaps() -> None:
    assert [overlap_of(24, 0, 6), overlap_of(24, 1, 6), overlap_of(24, 0, 24), overlap_of(1, 0, 5)] == [4, 5, 1, 1]


def alike(rng: np.random.Generator, origins: int, overlap: int) -> np.ndarray:
    """Differences of two equally good forecasts whose neighbours share `overlap` - 1 of `overlap` targets."""
    shocks = rng.normal(size=origins + overlap - 1)
    return np.convolve(shocks, np.ones(overlap) / overlap, "valid")


@pytest.mark.slow
@pytest.mark.parametrize("overlap", [1, 4])
def test_equal_forecasts_raise_no_more_false_alarms_than_promised(overlap: int) -> None:
    """200 pairs at 5 %: at most the 99.9 % point of the binomial."""
    rng = np.random.default_rng(11)
    alarms = intervals = 0
    for number in range(200):
        d = alike(rng, 120, overlap)
        found, interval = diebold_mariano(d, overlap), mean_interval(d, overlap, 0.95, seed=number)
        assert found is not None and interval is not None
        alarms += found[1] <= 0.05
        intervals += not interval[0] <= 0 <= interval[1]
    assert alarms <= stats.binom.ppf(0.999, 200, 0.05)
    assert intervals <= stats.binom.ppf(0.999, 200, 0.08)  # the bootstrap's blocks are few: a little too narrow, known of it


def test_a_gain_of_five_percent_is_found() -> None:
    """Errors of size 1 on 200 origins, of which another forecast, alike but for noise, saves a twentieth."""
    rng = np.random.default_rng(5)
    base = rng.normal(1, 0.3, (200, 2, 3))
    one, two = rng.normal(0, 0.1, (2, *base.shape))
    models = {"base": base, "better": 0.95 * base + one, "same": base + two}
    judged = {name: judge(differences(frame_of(models), [name], ["base"]), 2) for name in ("better", "same")}
    found = corrected({name: one for name, one in judged.items() if one is not None})
    better, same = found["better"], found["same"]
    assert better.p_holm is not None and same.p_holm is not None and better.low is not None and better.high is not None
    assert better.p_holm <= LEVEL < same.p_holm and better.p_holm == 2 * better.p  # type: ignore[operator]
    assert better.tested == same.tested == 2
    assert better.low < -0.05 < better.high < 0


def test_holm_by_hand() -> None:
    """0.01 x 3, then the largest of 0.03 and 0.02 x 2, then of 0.04 and 0.03 x 1."""
    assert holm({"a": 0.03, "b": 0.01, "c": 0.02}) == pytest.approx({"b": 0.03, "c": 0.04, "a": 0.04})
    assert holm({"a": 0.9, "b": 0.8}) == {"b": 1.0, "a": 1.0}
    assert holm({}) == {}


def test_too_little_says_nothing() -> None:
    assert diebold_mariano(np.ones(FEWEST - 1), 1) is None and mean_interval(np.ones(FEWEST - 1), 1) is None
    assert diebold_mariano(np.random.default_rng(0).normal(size=19), 10) is None
    assert diebold_mariano(np.zeros(50), 1) is None  # the same forecasts
    assert diebold_mariano(np.full(50, -0.5), 2) == (-math.inf, 0.0)
    flips = np.tile([1.0, -1.0], 30) + 0.01  # lag 1 takes away more than there is
    found = diebold_mariano(flips, 2)
    assert found is not None and math.isfinite(found[0])
