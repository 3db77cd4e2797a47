"""Pictures of a search: what each shows, by hand; names of any kind; nothing to see."""

from pathlib import Path

import pytest

from tasks.report.plots.style import BAR, CHOSEN, save
from tasks.report.plots.tuning import FEW, Axis, Curve, history_plot, importance_plot, parallel_plot

HOSTILE = r"$\frac{1}{0}$ & <b> $x^{" + "\n東京\x00"
TRIALS = [(0, 3.0, "finished"), (1, None, "failed"), (2, 2.0, "finished"), (3, None, "pruned"), (4, 2.5, "finished")]


def test_the_history_has_the_trials_the_best_so_far_and_the_variant_as_it_is() -> None:
    figure = history_plot([Curve("gru", TRIALS, 3.0), Curve("tcn", TRIALS[1:2], None)], "MAE (temp)")
    first, second = figure.axes
    lines = {line.get_label(): line for line in first.lines}
    assert list(lines["finished"].get_xydata()[:, 1]) == [3.0, 2.0, 2.5] and lines["finished"].get_linestyle() == "None"
    assert list(lines["best so far"].get_ydata()) == [3.0, 2.0, 2.0]
    assert set(lines["as it is (3)"].get_ydata()) == {3.0} and lines["as it is (3)"].get_color() == BAR
    assert list(lines["pruned"].get_xdata()) == [3] and list(lines["failed"].get_xdata()) == [1]
    low, high = first.get_ylim()
    assert low < lines["pruned"].get_ydata()[0] < 2.0 and high > 3.0
    assert [text.get_text() for text in second.texts] == [FEW]


def test_importance_is_a_bar_a_key_the_largest_on_top() -> None:
    figure = importance_plot({"gru": {"training.learning_rate": 0.75, "hidden_size": 0.25}, "tcn": {}})
    first, second = figure.axes
    assert [bar.get_width() for bar in first.patches] == [75.0, 25.0] and first.yaxis_inverted()
    assert [text.get_text() for text in first.get_yticklabels()] == ["learning_rate", "hidden_size"]
    assert [text.get_text() for text in second.texts] == [FEW]


@pytest.mark.parametrize(
    ("axis", "value", "place"),
    [
        (Axis("x", [], (0.0, 10.0), False, ()), 2.5, 0.25),
        (Axis("x", [], (1e-4, 1.0), True, ()), 1e-2, 0.5),
        (Axis("x", [], None, False, ("a", "b", "c")), "b", 0.5),
        (Axis("x", [], (3.0, 3.0), False, ()), 3.0, 0.0),
    ],
)
def test_where_a_value_lies_on_its_axis(axis: Axis, value, place: float) -> None:
    assert axis.place(value) == pytest.approx(place)


def test_parallel_coordinates_are_a_line_a_trial_the_best_in_blue_and_on_top() -> None:
    keys = [Axis("size", [1, 9, 5], (1.0, 9.0), False, ()), Axis("how", ["a", "b", "b"], None, False, ("a", "b"))]
    figure = parallel_plot({"gru": keys, "tcn": keys}, {"gru": [3.0, 1.0, 2.0], "tcn": []}, "MAE (temp)")
    first, second = figure.axes
    lines = [line for line in first.lines if len(line.get_xdata()) == 3]
    assert [list(line.get_ydata()) for line in lines] == [[1.0, 0.0, 0.0], [0.5, 0.5, 1.0], [0.0, 1.0, 1.0]]
    assert [line.get_color() == CHOSEN for line in lines] == [False, False, True]
    assert lines[-1].get_zorder() > lines[0].get_zorder()
    assert [text.get_text() for text in first.get_xticklabels()] == ["MAE (temp)", "size", "how"]
    assert {"1", "9", "a", "b", "3"} <= {text.get_text() for text in first.texts}
    assert [text.get_text() for text in second.texts] == [FEW]


def test_one_key_one_trial_and_names_of_any_kind_are_drawn(tmp_path: Path) -> None:
    key = Axis(HOSTILE, [2], (1.0, 3.0), False, ())
    for name, figure in (
        ("history", history_plot([Curve(HOSTILE, TRIALS[:1], None)], HOSTILE)),
        ("importance", importance_plot({HOSTILE: {HOSTILE: 1.0}})),
        ("parallel", parallel_plot({HOSTILE: [key]}, {HOSTILE: [0.0]}, HOSTILE)),
    ):
        assert save(figure, tmp_path / f"{name}.png").stat().st_size > 3000
