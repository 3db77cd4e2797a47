"""Coverage as a strip and by step: each series once, the worst named first; few series, none, and steps without an interval."""

from pathlib import Path

import numpy as np
import pytest

from tasks.report.plots.coverage import Strip, coverage_strip, stacked, step_intervals_plot
from tasks.report.plots.style import save

HOSTILE = r"$\frac{1}{0}$ & <b> $x^{" + "\n東京\x00"
FIFTHS = ("smallest fifth", "second fifth", "third fifth", "fourth fifth", "largest fifth")


def a_strip(coverage: np.ndarray, groups: tuple[str, ...] = FIFTHS, name: str = "s") -> Strip:
    count = len(coverage)
    group = np.arange(count) * len(groups) // max(count, 1)
    parts = {name: coverage[group == place] for place, name in enumerate(groups)}
    whole = {name: float(part.mean()) if len(part) else np.nan for name, part in parts.items()}
    return Strip(90, [f"{name}{k:03d}" for k in range(count)], coverage, np.full(count, 48), group, whole, (0.8, 0.97))


def test_values_in_the_same_place_are_stacked_around_the_middle() -> None:
    x, up = stacked(np.array([90.0, 50.0, 90.2, 90.4, 100.0]))
    assert x.tolist() == [50.0, 90.0, 90.2, 90.4, 100.0] and up.tolist() == [0.0, -1.0, 0.0, 1.0, 0.0]
    assert [len(part) for part in stacked(np.empty(0))] == [0, 0]


def test_the_worst_are_those_below_the_level_least_first_and_of_equals_those_with_more_rows() -> None:
    coverage, rows = np.array([0.5, 0.95, 0.5, 0.7, 0.9]), np.array([10, 9, 20, 9, 9], np.uint32)
    strip = Strip(90, list("abcde"), coverage, rows, np.zeros(5), {}, (0.8, 1.0))
    assert [strip.ids[one] for one in strip.worst()] == ["c", "a", "d"] and strip.worst(1) == [2]


@pytest.mark.parametrize("narrow", [False, True])
def test_every_series_is_a_dot_in_the_row_of_its_fifth_and_the_worst_ten_are_named(tmp_path: Path, narrow: bool) -> None:
    coverage = np.random.default_rng(0).binomial(48, 0.9, 103) / 48
    strip = a_strip(coverage)
    figure = coverage_strip(strip, HOSTILE, narrow)
    upper, lower = figure.axes
    dots = [line for line in upper.lines if line.get_marker() == "o" and len(line.get_xdata())]
    np.testing.assert_allclose(np.sort(np.concatenate([line.get_xdata() for line in dots])), np.sort(100 * coverage))
    for place, line in enumerate(dots):
        assert np.abs(line.get_ydata() - place).max() < 0.5
    assert [text.get_text() for text in upper.get_yticklabels()] == list(FIFTHS)
    assert [text.get_text() for text in lower.get_yticklabels()] == [strip.ids[one] for one in strip.worst(10)]
    words = [text.get_text() for text in lower.texts]
    assert words[0] == f"{100 * coverage.min():.0f} %, 48 rows" and len(words) == 10
    save(figure, tmp_path / "a.png")


def test_of_few_series_all_are_named_in_one_panel(tmp_path: Path) -> None:
    figure = coverage_strip(a_strip(np.array([0.95, 0.4, 0.9]), ("x", "y", "z"), HOSTILE), "gru")
    (ax,) = figure.axes
    assert [text.get_text().partition(" %")[0] for text in ax.texts] == ["95", "40", "90"] and ax.get_xlim()[0] < 40
    save(figure, tmp_path / "a.png")


@pytest.mark.parametrize("count", [0, 12, 10_000])
def test_none_none_worse_and_very_many_can_be_drawn(tmp_path: Path, count: int) -> None:
    figure = coverage_strip(a_strip(np.full(count, 0.95)), "gru", narrow=True)
    assert figure.axes[1].texts[0].get_text() == "no series is covered less than 90 %"
    save(figure, tmp_path / "a.png")


@pytest.mark.parametrize("narrow", [False, True])
def test_coverage_and_width_go_along_the_steps_a_colour_a_level(tmp_path: Path, narrow: bool) -> None:
    coverage = {90.0: np.array([0.9, np.nan, 0.5]), 80.0: np.array([0.8, 0.8, 0.7])}
    width = {level: 2 * share for level, share in coverage.items()}
    figure = step_intervals_plot(coverage, width, HOSTILE, HOSTILE, "1h", narrow)
    upper, lower = figure.axes
    drawn = {line.get_label(): line for line in upper.lines if not str(line.get_label()).startswith("_")}
    assert [*drawn] == ["80 %", "90 %"]
    np.testing.assert_allclose(drawn["90 %"].get_ydata(), [90, np.nan, 50])
    np.testing.assert_allclose([line.get_ydata() for line in lower.lines], [[1.6, 1.6, 1.4], [1.8, np.nan, 1.0]])
    assert upper.get_ylim()[0] == 45 and lower.get_ylim()[0] == 0
    save(figure, tmp_path / "a.png")


def test_without_a_level_the_steps_say_so(tmp_path: Path) -> None:
    figure = step_intervals_plot({}, {}, "temp", "gru", "1h")
    assert figure.axes[0].texts[0].get_text() == "no intervals to judge"
    save(figure, tmp_path / "a.png")
