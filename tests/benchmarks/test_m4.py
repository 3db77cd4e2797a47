"""benchmarks/_m4.py: the scores of M4 against numbers worked out by hand."""

import numpy as np
import polars as pl
import pytest

from benchmarks._m4 import OF_INTERVALS, indices, naive2, of_intervals, owa, seasonal, smape

WAVE = np.array([0.5, 1.0, 1.5, 1.0])


def test_smape_is_in_percent_of_the_mean_size() -> None:
    assert smape(np.array([1.0, 2.0]), np.array([3.0, 2.0])) == pytest.approx(50.0)  # 200 * 2 / 4 and 0
    assert smape(np.array([1.0]), np.array([-1.0])) == pytest.approx(200.0)


def test_a_seasonal_series_repeats_its_figure_and_another_its_last_value() -> None:
    y = 10 * np.tile(WAVE, 5)
    assert seasonal(y, 4) and not seasonal(y[:11], 4)  # fewer than three seasons
    np.testing.assert_allclose(indices(y, 4), WAVE)
    np.testing.assert_allclose(naive2(y[:-1], 4, 6), 10 * np.r_[1.0, WAVE, 0.5])
    trend = y * np.repeat(1.1 ** np.arange(5), 4)
    assert naive2(trend, 4, 1)[0] == pytest.approx(trend[-1] / indices(trend, 4)[3] * indices(trend, 4)[0])
    walk = np.random.default_rng(0).normal(size=200)
    assert not seasonal(walk, 4) and naive2(walk, 4, 3).tolist() == [walk[-1]] * 3
    assert naive2(np.array([1.0, 5.0]), 1, 2).tolist() == [5.0, 5.0] and not seasonal(np.ones(40), 4)


def test_owa_is_one_for_naive2_and_a_mean_over_series() -> None:
    history = pl.DataFrame(
        {"unique_id": ["a"] * 5 + ["b"] * 5, "ds": [*range(5)] * 2, "y": [1.0, 2.0, 4.0, 5.0, 7.0, *[2.0, 4.0] * 2, 8.0]}
    )
    frame = pl.DataFrame(
        {"unique_id": ["a", "b"], "cutoff": [3, 3], "ds": [4, 4], "y": [7.0, 8.0], "naive": [5.0, 4.0], "ours": [7.0, 4.0]}
    )
    found = owa(frame, history, ["naive", "ours"], 1)
    assert found["naive"] == pytest.approx(found["naive2"]) and found["naive2"]["owa"] == pytest.approx(1.0)
    # a: 200 * 2 / 12 and 2 / (4 / 3); b: 200 * 4 / 12 and 4 / 2
    assert found["naive2"]["smape"] == pytest.approx((400 / 12 + 800 / 12) / 2)
    assert found["naive2"]["mase"] == pytest.approx((1.5 + 2.0) / 2)
    assert found["ours"]["owa"] == pytest.approx(((800 / 12) / (1200 / 12) + 2.0 / 3.5) / 2)


def test_what_cannot_be_scored_is_left_out_and_never_nan() -> None:
    assert smape(np.array([0.0, 2.0]), np.array([0.0, 1.0])) == pytest.approx(100 / 3)  # 0 and 200 * 1 / 3
    ids, ds = ["a"] * 5 + ["b"] * 5, [*range(5)] * 2
    history = pl.DataFrame({"unique_id": ids, "ds": ds, "y": [1.0, 2.0, 4.0, 5.0, 7.0, *[3.0] * 5]})
    frame = pl.DataFrame(
        {"unique_id": ["a", "a", "b"], "cutoff": [3] * 3, "ds": [4, 5, 4], "y": [7.0, None, 3.0], "ours": [6.0, 0.0, 1.0]}
    )
    found = owa(frame, history, ["ours"], 1)
    assert found["ours"]["smape"] == pytest.approx((200 / 13 + 400 / 4) / 2)
    assert found["ours"]["mase"] == pytest.approx(1 / (4 / 3)), "b was constant and has no scale"
    assert found["naive2"]["owa"] == pytest.approx(1.0)
    constant = owa(frame.filter(pl.col("unique_id") == "b"), history, ["ours"], 1)
    assert constant["ours"] == {"smape": 100.0, "mase": None, "owa": None}
    assert constant["naive2"] == {"smape": 0.0, "mase": None, "owa": None}


def an_interval_frame() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Five series that rise by 1, 2 .. 5 a step; two steps each; the interval of L percent is L / 10 wide."""
    names = [f"s{6 - k}" for k in range(1, 6)]  # the smallest is the last by name
    history = pl.concat(
        pl.DataFrame({"unique_id": n, "ds": range(8), "y": [float(k * t) for t in range(8)]}) for k, n in enumerate(names, 1)
    )
    rows = [(n, 5, 6 + t, float(k * (6 + t))) for k, n in enumerate(names, 1) for t in range(2)]
    frame = pl.DataFrame(rows, schema=["unique_id", "cutoff", "ds", "y"], orient="row")
    point = pl.col("y") + pl.when(pl.col("unique_id") == "s1").then(6.75).otherwise(0.0)  # of the largest
    ends = {
        f"m-{side}-{level}": point + sign * level / 20
        for level in (20, 40, 60, 80, 90, 95)
        for side, sign in (("lo", -1), ("hi", 1))
    }
    return frame.with_columns(m=point, **ends), history


def test_intervals_are_scored_as_in_the_competition_by_hand() -> None:
    frame, history = an_interval_frame()
    found = of_intervals(frame, history, "m", 1)
    assert tuple(found) == OF_INTERVALS
    # widths of 9.5; the largest series lies 6.75 - 4.75 = 2 outside; a step of series k is k
    assert found["msis"] == pytest.approx(np.mean([9.5, 9.5 / 2, 9.5 / 3, 9.5 / 4, (9.5 + 40 * 2) / 5]))
    assert found["acd"] == pytest.approx(0.95 - 0.8) and found["coverage_90"] == pytest.approx(0.8)
    assert [found[f"coverage_90_fifth_{k}"] for k in range(1, 6)] == [1.0, 1.0, 1.0, 1.0, 0.0]
    # quantiles at -4, -3 .. 4 around a point, which in eight of ten rows is the actual: for level q / 10 of them |q - 5| wide
    inside = np.array([2 * min(q, 10 - q) / 10 * abs(q - 5) for q in range(1, 10)])
    above = np.array([2 * (10 - q) / 10 * (6.75 + q - 5) for q in range(1, 10)])  # the actual lies below them all
    assert found["wql"] == pytest.approx(np.mean((8 * inside + 2 * above) / sum(13 * k for k in range(1, 6))))


def test_what_has_no_intervals_has_no_score_and_missing_steps_do_not_count() -> None:
    frame, history = an_interval_frame()
    assert of_intervals(frame.select("unique_id", "cutoff", "ds", "y", "m"), history, "m", 1) == dict.fromkeys(OF_INTERVALS)
    without = of_intervals(frame.drop("m-lo-90", "m-hi-20"), history, "m", 1)
    assert without["wql"] is None and without["coverage_90"] is None and without["msis"] is not None
    gone = frame.with_columns(y=pl.when(pl.col("unique_id") != "s1").then("y"))
    found = of_intervals(gone, history, "m", 1)
    assert found["acd"] == pytest.approx(0.05) and found["coverage_90_fifth_5"] is None and found["coverage_90"] == 1.0
    assert found["msis"] == pytest.approx(np.mean([9.5, 9.5 / 2, 9.5 / 3, 9.5 / 4]))
