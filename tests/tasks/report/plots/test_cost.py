"""Accuracy against cost: the Pareto front by hand, what is drawn, and names that keep off dots, lines and each other."""

from itertools import combinations
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from matplotlib.text import Text

from tasks.report.plots.cost import pareto_front, pareto_plot
from tasks.report.plots.points import AWAY, beside, box, overlap
from tasks.report.plots.style import BAR, save

HOSTILE = r"$\frac{1}{0}$ & <b> $x^{" + "\n東京\x00"
MANY = [HOSTILE, "x" * 90, *(f"tcn_{i}" for i in range(17)), "last_value"]


@pytest.mark.parametrize(
    ("cost", "error", "front"),
    [
        ([], [], []),
        ([1.0], [5.0], [0]),
        ([3.0, 1.0, 2.0], [1.0, 3.0, 2.0], [1, 2, 0]),  # all of them, cheapest first
        ([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [0]),
        ([1.0, 1.0, 2.0], [2.0, 1.0, 0.5], [1, 2]),  # as cheap: the better one
        ([2.0, 1.0], [1.0, 1.0], [1]),  # as good: the cheaper one
        ([1.0, 1.0], [1.0, 1.0], [0]),  # the same: the first
        ([1.0, None, 0.5, float("nan")], [2.0, 1.0, None, 0.1], [0]),
        ([float("inf"), 1.0, 2.0], [0.1, 2.0, float("nan")], [1]),
    ],
)
def test_the_pareto_front_by_hand(cost: list[float | None], error: list[float | None], front: list[int]) -> None:
    assert pareto_front(cost, error) == front


def a_board(**changes: list[Any]) -> pl.DataFrame:
    rows = {
        "name": ["ridge", "lstm", "gru", "last_value"],
        "kind": ["variant", "variant", "variant", "baseline"],
        "test_score": [2.0, 1.0, 1.5, 3.0],
        "train_seconds": [1.0, 100.0, 200.0, None],
        "forecast_ms_per_series": [0.5, 2.0, 1.0, 0.1],
        "num_parameters": [100, 100_000, 50_000, None],
    }
    return pl.DataFrame(rows | changes, strict=False)


def names(axes: Any, weight: str) -> set[str]:
    return {text.get_text() for text in axes.texts if text.get_fontweight() == weight}


def test_each_panel_has_its_own_front_and_the_line_of_the_best_baseline(tmp_path: Path) -> None:
    figure = pareto_plot(a_board(), "lstm", "last_value", "MAE (temp)")
    training, forecasting = figure.axes
    assert names(training, "bold") == {"ridge", "lstm"} and names(training, "normal") == {"gru"}
    assert names(forecasting, "bold") == {"last_value", "ridge", "gru", "lstm"}
    assert training.get_xscale() == forecasting.get_xscale() == "log"
    for axes in figure.axes:
        (bar,) = (line for line in axes.lines if line.get_linestyle() == "--")
        assert list(bar.get_ydata()) == [3.0, 3.0] and bar.get_color() == BAR
    steps = max(training.lines, key=lambda line: len(line.get_xdata()))
    assert list(steps.get_ydata()) == [2.0, 2.0, 1.0, 1.0] and list(steps.get_xdata())[:3] == [1.0, 100.0, 100.0]
    save(figure, tmp_path / "a.png")


def test_models_without_score_or_cost_are_left_out(tmp_path: Path) -> None:
    board = a_board(test_score=[2.0, None, float("nan"), 3.0], train_seconds=[0.0, 1.0, 1.0, None])
    figure = pareto_plot(board, None, "last_value", "MAE (temp)")
    assert [text.get_text() for text in figure.axes[0].texts] == ["not measured"]
    assert names(figure.axes[1], "bold") == {"last_value", "ridge"}
    save(figure, tmp_path / "a.png")
    save(pareto_plot(board.head(1), "ridge", "last_value", "MAE (temp)"), tmp_path / "one.png")
    save(pareto_plot(board.head(0), None, "last_value", "MAE (temp)"), tmp_path / "none.png")


def test_an_error_far_above_the_rest_is_an_arrow_at_the_top(tmp_path: Path) -> None:
    figure = pareto_plot(a_board(test_score=[2.0, 1.0, 1.5, 50.0]), "lstm", "last_value", "MAE (temp)")
    assert figure.axes[0].get_ylim()[1] < 3
    assert "last_value (50)" in names(figure.axes[1], "bold")
    assert figure.legends[0].get_texts()[-1].get_text() == "best baseline: last_value (50, above the picture)"
    save(figure, tmp_path / "a.png")


def test_twenty_names_keep_off_each_other(tmp_path: Path) -> None:
    count = len(MANY)
    board = pl.DataFrame(
        {
            "name": MANY,
            "kind": ["variant"] * (count - 1) + ["baseline"],
            "test_score": [1 + 0.37 * i % 1 for i in range(count)],
            "train_seconds": [1.5**i for i in range(count)],
            "forecast_ms_per_series": [0.01 * 1.4 ** (7 * i % count) for i in range(count)],
            "num_parameters": [10**6] * count,
        }
    )
    figure = pareto_plot(board, MANY[3], "last_value", HOSTILE)
    save(figure, tmp_path / "a.png")
    figure.draw_without_rendering()  # a saved figure had other dots an inch
    for axes in figure.axes:
        assert len(axes.texts) == count
        boxes = [Text.get_window_extent(text) for text in axes.texts]  # without the leader
        for one, other in combinations(boxes, 2):
            assert not one.overlaps(other)
        dots = [line.get_window_extent() for line in axes.lines if line.get_marker() == "o" and len(line.get_xdata())]
        assert len(dots) == count and not any(name.overlaps(dot) for name in boxes for dot in dots)
        assert all(axes.bbox.x0 - 2 <= found.x0 and found.x1 <= axes.bbox.x1 + 2 for found in boxes)


def test_a_name_goes_to_the_nearest_free_side() -> None:
    frame = (-500.0, -500.0, 500.0, 500.0)
    free, away = beside((0.0, 0.0), 3, 40, 10, [], frame)
    assert free == (3 + AWAY[0] + 20, 0.0) and away == AWAY[0]
    right = box(40, 0, 60, 60)
    left, away = beside((0.0, 0.0), 3, 40, 10, [right], frame)
    assert left[0] < 0 and away == AWAY[0] and overlap(box(*left, 40, 10), right) == 0
    edge, _ = beside((490.0, 0.0), 3, 40, 10, [], frame)
    assert edge[0] + 20 <= 500


def test_the_area_that_two_boxes_share() -> None:
    assert overlap((0, 0, 2, 2), (1, 1, 3, 4)) == 1
    assert overlap((0, 0, 2, 2), (2, 0, 3, 2)) == 0
    assert overlap((0, 0, 1, 1), (5, 5, 6, 6)) == 0  # apart in both directions
