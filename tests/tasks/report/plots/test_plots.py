"""tasks/report/plots/style.py and training.py: names and numbers stay what they are; the same figure gives the same file."""

from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from tasks.report.plots.style import ceiling, file_name, label, new_figure, png, save, time_axis
from tasks.report.plots.training import loss_plot

HOSTILE = r"$\frac{1}{0}$ & <b> $x^{" + "\n東京\x00"
LOSSES = pl.DataFrame({"epoch": [1, 2, 3], "train_loss": [1.0, 0.5, 0.4], "val_mae": [3.0, 2.0, 2.5]})


@pytest.mark.parametrize(
    ("series", "wanted"),
    [
        ("EWR", "series-00-ewr.png"),
        ("../../etc/passwd", "series-00-etc-passwd.png"),
        ("Zürich/Süd", "series-00-zurich-sud.png"),
        ("東京", "series-00-unnamed.png"),
        ("", "series-00-unnamed.png"),
        ("x" * 300, f"series-00-{'x' * 40}.png"),
    ],
)
def test_file_names_are_safe(series: str, wanted: str) -> None:
    assert file_name(0, series) == wanted


def test_the_same_figure_gives_the_same_bytes_and_leaves_nothing_beside(tmp_path: Path) -> None:
    for name in ("one.png", "two.png"):
        save(loss_plot(LOSSES, "lstm", 2, "temp"), tmp_path / "new" / name)
    one, two = sorted((tmp_path / "new").iterdir())
    assert one.read_bytes() == two.read_bytes()


def test_labels_are_plain_text_without_line_breaks_and_end() -> None:
    assert label(HOSTILE) == r"\$\frac{1}{0}\$ & <b> \$x^{" + 4 * "\N{WHITE SQUARE}"
    assert label("x" * 61) == "x" * 59 + "…" and label("x" * 60) == "x" * 60
    assert label("abcdef", 4) == "abc…"


@pytest.mark.parametrize(
    ("values", "wanted"),
    [([], 0.0), ([3.0], 3.0), ([1.0, 2.0, 3.0, 8.0], 8.0), ([1.0, 2.0, 3.0, 80.0], 3.0), ([0.0, 0.0], 0.0)],
)
def test_a_picture_reaches_to_the_largest_value_that_is_not_far_out(values: list[float], wanted: float) -> None:
    assert ceiling(values) == wanted


def test_loss_curves_mark_the_best_epoch(tmp_path: Path) -> None:
    figure = loss_plot(LOSSES, "lstm", 2, "temp")
    assert figure.axes[0].get_title(loc="right") == "best epoch 2: val_mae 2"
    save(figure, tmp_path / "a.png")
    save(loss_plot(LOSSES.head(1), "ridge", None, "temp"), tmp_path / "b.png")


def test_the_losses_of_a_closed_form_go_along_its_penalties(tmp_path: Path) -> None:
    losses = pl.DataFrame({"penalty": [0.1, 1.0, 10.0], "train_loss": [0.1, 0.2, 0.3], "val_mae": [3.0, 2.0, 2.5]})
    figure = loss_plot(losses, "ridge", 1.0, "temp")
    upper, lower = figure.axes
    assert upper.get_title(loc="right") == "best penalty 1: val_mae 2"
    assert lower.get_xlabel() == "penalty" and lower.get_xscale() == "log"
    save(figure, tmp_path / "losses.png")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("hours", [3, 84, 20_000])
def test_a_time_axis_has_few_ticks_for_any_span(hours: int) -> None:
    figure, ax = new_figure(4, 2)
    times = pl.DataFrame({"ds": [datetime(2013, 12, 1), datetime(2013, 12, 1) + timedelta(hours=hours)]})
    time_axis(ax, times, ticks=5)
    ax.plot(times["ds"], [0, 1])
    assert png(figure, 50) and 2 <= len(ax.get_xticks()) <= 6
