"""Reliability and PIT: what is drawn is what was counted, on a desk and in a hand, with nothing known too."""

from pathlib import Path

import numpy as np
import pytest

from tasks.report.plots.reliability import pit_plot, reliability_plot
from tasks.report.plots.style import save

LEVELS = (0.05, 0.5, 0.95)
HOSTILE = r"$\frac{1}{0}$ & <b> $x^{" + "\n東京\x00"


@pytest.mark.parametrize("narrow", [False, True])
def test_the_lines_are_the_shares_below_in_percent(tmp_path: Path, narrow: bool) -> None:
    pool, groups = np.array([0.1, 0.5, 0.9]), {"small": np.array([0.05, 0.4, 0.95]), HOSTILE: np.array([0.2, np.nan, 0.8])}
    figure = reliability_plot(LEVELS, pool, groups, HOSTILE, narrow)
    diagonal, small, other, every = figure.axes[0].lines
    np.testing.assert_array_equal(diagonal.get_xdata(), diagonal.get_ydata())
    for line, shares in ((small, groups["small"]), (other, groups[HOSTILE]), (every, pool)):
        np.testing.assert_allclose(line.get_xdata(), [5, 50, 95])
        np.testing.assert_allclose(line.get_ydata(), 100 * shares)
    assert len(figure.legends[0].get_texts()) == 4 and small.get_color() != other.get_color()
    assert figure.get_figwidth() == (4.2 if narrow else 9)
    save(figure, tmp_path / "a.png")


def test_without_a_share_the_picture_says_so(tmp_path: Path) -> None:
    figure = reliability_plot(LEVELS, np.full(3, np.nan), {}, "gru")
    assert [text.get_text() for text in figure.axes[0].texts] == ["no quantiles to judge"]
    save(figure, tmp_path / "a.png")


@pytest.mark.parametrize("narrow", [False, True])
def test_the_bars_of_a_pit_are_its_shares_and_the_line_is_a_tenth(tmp_path: Path, narrow: bool) -> None:
    shares = np.array([0.3, *np.full(8, 0.05), 0.3])
    figure = pit_plot(shares, 1234, HOSTILE, narrow)
    ax = figure.axes[0]
    np.testing.assert_allclose([bar.get_height() for bar in ax.patches], 100 * shares)
    assert [bar.get_x() for bar in ax.patches] == list(range(0, 100, 10))
    assert ax.lines[0].get_ydata()[0] == 10 and ax.get_ylim()[1] > 30 and "1,234 actuals" in ax.get_title(loc="left")
    save(figure, tmp_path / "a.png")


def test_a_pit_of_nothing_has_no_bar(tmp_path: Path) -> None:
    figure = pit_plot(np.full(10, np.nan), 0, "gru")
    assert not figure.axes[0].patches and figure.axes[0].texts[0].get_text() == "no quantiles to judge"
    save(figure, tmp_path / "a.png")
