"""benchmarks/_m4.py: the scores of M4 against numbers worked out by hand."""

import numpy as np
import polars as pl
import pytest

from benchmarks._m4 import indices, naive2, owa, seasonal, smape

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
