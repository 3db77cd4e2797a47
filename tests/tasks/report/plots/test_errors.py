"""Pictures of errors, of accuracy and of differences: who is in them, in which order, and how far they reach."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tasks.report.plots.differences import Distance, difference_plot
from tasks.report.plots.errors import accuracy_plot, slice_plot, step_plot
from tasks.report.plots.names import looks_of, spread
from tasks.report.plots.style import ACTUAL, CHOSEN, QUIET, save
from tasks.train.kind import Kind

HOSTILE = r"$\frac{1}{0}$ & <b> $x^{" + "\n東京\x00"
MANY = [HOSTILE, "x" * 90, *(f"tcn_{i}" for i in range(17)), "last_value"]


def errors(along: str, first: int, count: int, models: list[str]) -> pl.DataFrame:
    values = {name: np.linspace(1, 2, count) + 0.1 * i for i, name in enumerate(models)}
    return pl.DataFrame({along: np.arange(first, first + count), **values})


def named(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def test_error_by_step_names_every_model_that_has_one(tmp_path: Path) -> None:
    models = ["lstm", "last_value", "empty"]
    table = errors("step", 1, 6, models).with_columns(empty=pl.lit(None, pl.Float64))
    figure = step_plot(table, models, "lstm", "last_value", "temp", "1h")
    assert set(named(figure)) == {"lstm", "last_value"}
    assert figure.axes[0].get_xlabel() == "horizon step (one step: 1h)"
    save(figure, tmp_path / "a.png")
    save(step_plot(table.head(1), models, None, "last_value", "temp", "1"), tmp_path / "b.png")


def test_labels_are_pushed_apart_in_order_and_stay_inside() -> None:
    places = spread([0.0, 0.1, 0.1, 5.0, 9.9, 10.0], 1.0, 0.0, 10.0)
    assert min(np.diff(places)) >= 1 - 1e-9
    assert places[0] >= 0 and places[-1] <= 10
    assert places[3] == 5.0


def test_twenty_models_look_different() -> None:
    looks = looks_of(MANY, "tcn_3", "last_value")
    assert len(set(looks.values())) == 20


@pytest.mark.parametrize(("by", "first", "count"), [("hour", 0, 24), ("weekday", 1, 7), ("hour", 6, 1)])
@pytest.mark.parametrize("models", [["lstm"], MANY])
def test_error_by_slice_names_its_models_in_order(tmp_path: Path, by: str, first: int, count: int, models: list[str]) -> None:
    figure = slice_plot(errors("_value", first, count, models), by, models, models[0], "last_value", HOSTILE)
    names = named(figure)
    assert len(names) == len(models) and names[-1] == {"lstm": "lstm"}.get(models[-1], "last_value")
    low, high = figure.axes[0].get_xlim()
    assert low < first and first + count - 1 < high
    save(figure, tmp_path / "a.png")


def test_weekdays_have_names_and_the_slices_may_come_in_any_order() -> None:
    table = errors("_value", 1, 7, ["lstm"]).reverse()
    axes = slice_plot(table, "weekday", ["lstm"], None, "last_value", "temp").axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
    np.testing.assert_allclose(axes.lines[0].get_xdata(), np.arange(1, 8))
    np.testing.assert_allclose(axes.lines[0].get_ydata(), np.linspace(1, 2, 7))


def test_a_slice_without_a_score_is_a_gap_and_its_neighbours_are_dots() -> None:
    table = errors("_value", 0, 24, ["lstm"]).with_columns(lstm=pl.when(pl.col("_value") == 5).then(None).otherwise("lstm"))
    line = slice_plot(table, "hour", ["lstm"], None, "last_value", "temp").axes[0].lines[0]
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(line.get_ydata())), [5])
    assert line.get_marker() == "o"
    whole = slice_plot(errors("_value", 0, 24, ["lstm"]), "hour", ["lstm"], None, "last_value", "temp").axes[0].lines[0]
    assert whole.get_marker() == "None"


def test_a_model_far_above_the_rest_is_named_at_the_top_with_its_error(tmp_path: Path) -> None:
    table = errors("_value", 0, 24, ["lstm", "gru", "drift"]).with_columns(pl.col("drift") * 50)
    figure = slice_plot(table, "hour", ["lstm", "gru", "drift"], "lstm", "last_value", "temp")
    assert named(figure) == ["lstm", "gru", "drift  ↑ 110"]
    assert 2.1 < figure.axes[0].get_ylim()[1] < 3
    save(figure, tmp_path / "a.png")


def test_without_any_score_the_picture_says_so() -> None:
    table = errors("_value", 0, 24, ["lstm"]).with_columns(lstm=pl.lit(None))
    assert named(slice_plot(table, "hour", ["lstm"], None, "last_value", "temp")) == ["nothing to score"]


BOARD = {
    "name": ["gru", "lstm", "last_value", "cnn"],
    "kind": ["variant", "variant", "baseline", "variant"],
    "val_score": [1.0, 2.0, 3.0, None],
    "test_score": [2.5, 1.5, 3.5, None],
}


def test_accuracy_bars_follow_the_leaderboard_and_leave_failures_out(tmp_path: Path) -> None:
    board = pl.DataFrame(BOARD)
    figure = accuracy_plot(board, "gru", "last_value", "temp")
    ax = figure.axes[0]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["gru", "lstm", "last_value"]
    assert [bar.get_width() for bar in ax.containers[0]] == [2.5, 1.5, 3.5]
    save(figure, tmp_path / "a.png")
    save(accuracy_plot(board.tail(1), None, "last_value", "temp"), tmp_path / "none.png")


def a_difference(name: str, mean: float, half: float | None, alike: bool, kind: Kind = Kind.VARIANT) -> Distance:
    low, high = (None, None) if half is None else (mean - half, mean + half)
    return Distance(name, kind, alike, mean, low, high)


def dots(figure: Any) -> list[tuple[float, int, str]]:
    """(mean, row, colour) of every dot, in the order drawn."""
    found = []
    for line in figure.axes[0].lines:
        if line.get_marker() in ("o", "<", ">") and len(line.get_xdata()):
            found.append((float(line.get_xdata()[0]), int(line.get_ydata()[0]), str(line.get_color())))
    return found


def test_differences_keep_their_order_and_their_group(tmp_path: Path) -> None:
    rows = [
        a_difference("gru", 0.1, 0.2, True),
        a_difference("ridge", 0.4, 0.1, False),
        a_difference("last_value", 0.3, None, False, Kind.BASELINE),
    ]
    figure = difference_plot(rows, "lstm", "How far", "MAE (temp)")
    ax = figure.axes[0]
    assert dots(figure) == [(0.1, 0, CHOSEN), (0.4, 1, ACTUAL), (0.3, 2, QUIET)]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["gru", "ridge", "last_value"]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the first on top
    bars = [line.get_xdata() for line in ax.lines if line.get_solid_capstyle() == "butt"]
    np.testing.assert_allclose(bars, [[-0.1, 0.3], [0.3, 0.5]])
    assert named(figure) == ["not told apart", "lstm"]
    band = ax.patches[0].get_extents().transformed(ax.transData.inverted())
    assert sorted((band.y0, band.y1)) == pytest.approx([-0.4, 0.4])
    left, right = ax.get_xlim()
    assert left < -0.1 and right > 0.5
    save(figure, tmp_path / "a.png")


def test_each_run_of_models_like_the_best_has_its_band() -> None:
    alike = [True, True, False, True]
    figure = difference_plot([a_difference(f"m{i}", 0.1, 0.1, same) for i, same in enumerate(alike)], "lstm", "How far", "MAE")
    assert len(figure.axes[0].patches) == 2 and named(figure).count("not told apart") == 2


def test_a_difference_out_of_reach_is_an_arrow_with_its_number(tmp_path: Path) -> None:
    rows = [a_difference(name, 0.1 * i, 0.05, False) for i, name in enumerate(MANY, 1)]
    rows[3] = a_difference("drift", 90.0, 0.1, False)
    figure = difference_plot(rows, HOSTILE, "How far", HOSTILE)
    left, right = figure.axes[0].get_xlim()
    assert right < 3 and all(left <= mean <= right for mean, _, _ in dots(figure))
    assert "+90" in named(figure)
    save(figure, tmp_path / "a.png")


@pytest.mark.parametrize("rows", [[], [a_difference("lstm", 0.0, None, True)], [a_difference("gru", -0.4, None, False)]])
def test_few_differences_can_be_drawn(tmp_path: Path, rows: list[Distance]) -> None:
    figure = difference_plot(rows, "lstm", "How far", "MAE (temp)")
    left, right = figure.axes[0].get_xlim()
    assert left < min((row.mean for row in rows), default=0.0) and right > 0
    save(figure, tmp_path / "a.png")
