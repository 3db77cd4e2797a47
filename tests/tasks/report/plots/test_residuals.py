"""Residuals: autocorrelation by hand and against numpy, thinning, and pictures of little or nothing."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tasks.report.plots.residuals import autocorrelation, residual_plot, thinned
from tasks.report.plots.style import save

HOSTILE = r"$\frac{1}{0}$ & <b> $x^{" + "\n東京\x00"


def some_rows(series: int = 2, origins: int = 30, horizon: int = 3, in_time: bool = True) -> pl.DataFrame:
    """Residuals of steps after the first are 100, so that none of them can be taken for the first."""
    one = pl.DataFrame({"cutoff": np.repeat(np.arange(origins), horizon), "step": np.tile(np.arange(1, horizon + 1), origins)})
    noise = np.random.default_rng(0).normal(size=(series, origins))
    parts = [
        one.with_columns(unique_id=pl.lit(f"s{i}"), residual=np.where(one["step"] == 1, np.repeat(noise[i], horizon), 100.0))
        for i in range(series)
    ]
    rows = pl.concat(parts).with_columns(ds=pl.col("cutoff") + pl.col("step"))
    if in_time:
        rows = rows.with_columns((pl.col("ds", "cutoff") * 3_600_000_000).cast(pl.Datetime("us", "UTC")))
    return rows


def test_autocorrelation_by_hand() -> None:
    # mean 2, apart -1 0 1 0, squares 2: lag 1 is (0 + 0 + 0) / 2, lag 2 is (-1 + 0) / 2, lag 3 is 0
    np.testing.assert_allclose(autocorrelation(np.array([1.0, 2.0, 3.0, 2.0]), 3), [0.0, -0.5, 0.0])
    # apart -1 1 -1 1: -3 / 4, 2 / 4
    np.testing.assert_allclose(autocorrelation(np.array([1.0, 3.0, 1.0, 3.0]), 2), [-0.75, 0.5])


def test_autocorrelation_without_gaps_is_that_of_numpy() -> None:
    values = np.random.default_rng(1).normal(size=(3, 200)).cumsum(1)
    apart = values - values.mean(1, keepdims=True)
    wanted = [np.correlate(row, row, "full")[200:240] / (row @ row) for row in apart]
    np.testing.assert_allclose(autocorrelation(values, 40), wanted, atol=1e-12)


def test_a_missing_value_leaves_its_pairs_out_and_the_rest_counts_for_them() -> None:
    # apart -1 1 _ 1 -1, variance 1; the mean over the known pairs is -1, 1, -1, 1, times (5 - lag) / 5
    values = np.array([1.0, 3.0, np.nan, 3.0, 1.0])
    np.testing.assert_allclose(autocorrelation(values, 4), [-0.8, 0.6, -0.4, 0.2])
    rng = np.random.default_rng(2)
    noise = rng.normal(size=20_001)
    smooth = noise[1:] + noise[:-1]  # autocorrelation 0.5 at lag 1, then 0
    smooth[rng.random(20_000) < 0.3] = np.nan
    np.testing.assert_allclose(autocorrelation(smooth, 3), [0.5, 0, 0], atol=0.03)


@pytest.mark.parametrize("values", [[], [1.0], [np.nan, np.nan, np.nan], [0.1] * 50, [1.0, np.nan, np.nan, np.nan]])
def test_what_does_not_vary_has_no_autocorrelation(values: list[float]) -> None:
    found = autocorrelation(np.array(values), 5)
    assert found.shape == (5,) and np.isnan(found).all()


def test_lags_beyond_the_last_value_are_unknown() -> None:
    assert np.isnan(autocorrelation(np.array([1.0, 2.0, 4.0]), 4)).tolist() == [False, False, True, True]


def test_mean_and_band_over_series_at_each_time() -> None:
    rows = pl.DataFrame({"ds": [2] * 101 + [1], "residual": [float(i) for i in range(101)] + [7.0]})
    assert thinned(rows).rows() == [(1, 7.0, 7.0, 7.0), (2, 50.0, 5.0, 95.0)]


def test_neighbouring_times_are_averaged_down_to_what_can_be_seen() -> None:
    rows = pl.DataFrame({"ds": np.arange(10), "residual": np.arange(10.0)})
    found = thinned(rows, most=5)
    assert found["ds"].to_list() == [0, 2, 4, 6, 8]
    assert found["mean"].to_list() == [0.5, 2.5, 4.5, 6.5, 8.5]
    assert thinned(rows.head(7), most=5).height == 5
    assert thinned(pl.DataFrame({"ds": np.arange(4001), "residual": np.ones(4001)})).height == 1500


@pytest.mark.parametrize("in_time", [True, False])
def test_the_panels_show_what_was_left_over(tmp_path: Path, in_time: bool) -> None:
    rows = some_rows(in_time=in_time)
    figure = residual_plot(rows, HOSTILE, "temp")
    over_time, spread, memory = figure.axes
    assert over_time.get_xlabel() == ("time (UTC)" if in_time else "time step")
    assert len(over_time.lines[1].get_xdata()) == rows["ds"].n_unique()
    assert spread.patches[0].get_data().values.sum() == rows.height
    assert spread.lines[1].get_xdata()[0] == pytest.approx(rows["residual"].mean())
    dots = memory.lines[1]
    first = rows.filter(pl.col("step") == 1).sort("unique_id", "cutoff")["residual"].to_numpy().reshape(2, 30)
    np.testing.assert_allclose(dots.get_ydata(), autocorrelation(first, 29).mean(0))
    assert list(dots.get_xdata()) == list(range(1, 30))
    save(figure, tmp_path / "a.png")


def test_order_of_rows_and_rows_that_are_missing_change_nothing() -> None:
    gone = (pl.col("cutoff").dt.hour() == 3) & (pl.col("unique_id") == "s0")
    rows = some_rows(origins=60).with_columns(residual=pl.when(gone).then(None).otherwise("residual"))
    mixed, fewer = rows.sample(fraction=1, shuffle=True, seed=0), rows.drop_nulls("residual")
    wanted, *found = (residual_plot(frame, "a", "temp").axes[2].lines[1].get_ydata() for frame in (rows, mixed, fewer))
    assert len(wanted) == 40
    for values in found:
        np.testing.assert_array_equal(values, wanted)


def test_the_histogram_says_what_it_leaves_out() -> None:
    rows = some_rows(origins=1000, horizon=1)
    rows = rows.with_columns(residual=pl.when(pl.col("cutoff") == pl.col("cutoff").max()).then(1e6).otherwise("residual"))
    spread = residual_plot(rows, "a", "temp").axes[1]
    assert spread.get_xlim()[1] < 10
    assert "within" in spread.get_xlabel() and "1e+06" in spread.get_xlabel()
    assert residual_plot(rows.head(20), "a", "temp").axes[1].get_xlabel() == "residual (all of them)"


@pytest.mark.parametrize(
    ("series", "origins", "residual", "words"),
    [
        (1, 1, 0.5, ["nothing to correlate"]),
        (2, 40, 0.1, ["nothing to correlate"]),
        (2, 40, None, ["no residuals", "no residuals", "nothing to correlate"]),
    ],
)
def test_little_or_nothing_can_be_drawn(tmp_path: Path, series: int, origins: int, residual: float, words: list[str]) -> None:
    rows = some_rows(series, origins, horizon=1).with_columns(residual=pl.lit(residual))
    figure = residual_plot(rows, "x" * 90, HOSTILE)
    assert [text.get_text() for axes in figure.axes for text in axes.texts] == words
    save(figure, tmp_path / "a.png")
    save(residual_plot(rows.head(0), "a", "temp"), tmp_path / "none.png")
