"""The pictures: what they show, that hostile names stay text, and that the same figure gives the same file."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tasks.comparison.intervals import with_intervals
from tasks.comparison.plots import accuracy_plot, file_name, forecast_plot, loss_plot, plotted, save, spread, step_plot
from tasks.comparison.report import leaderboard
from tasks.comparison.scores import by_step

HOSTILE = r"$\frac{1}{0}$ & <b> $x^{" + "\n東京\x00"


def a_frame(series: str = "a", horizon: int = 6, origins: int = 60, stride: int = 2) -> pl.DataFrame:
    cutoff = np.repeat(np.arange(origins) * stride, horizon)
    step = np.tile(np.arange(1, horizon + 1), origins)
    y = np.sin((cutoff + step) / 9)
    frame = pl.DataFrame({"unique_id": [series] * len(y), "ds": cutoff + step, "cutoff": cutoff, "step": step, "y": y})
    frame = frame.with_columns(lstm=pl.col("y") + 0.1, last_value=pl.col("y") - 0.3, empty=pl.lit(None, pl.Float64))
    return with_intervals(frame, frame, ["lstm"])


def in_time(frame: pl.DataFrame) -> pl.DataFrame:
    hours = (pl.col("ds", "cutoff") * 3_600_000_000).cast(pl.Datetime("us", "UTC"))
    return frame.with_columns(hours)


def lines(figure: Any, label: str) -> list[Any]:
    return [line for line in figure.axes[0].lines if line.get_label().lstrip("_") == label]


def test_forecasts_of_origins_that_do_not_overlap_stand_beside_the_actuals(tmp_path: Path) -> None:
    frame = a_frame()
    figure = forecast_plot(frame, "a", "lstm", "last_value", "temp")
    drawn = lines(figure, "lstm")
    assert len(drawn) == 20  # about 120 rows of horizon 6
    spans = sorted((line.get_xdata()[0], line.get_xdata()[-1]) for line in drawn)
    assert all(left[1] < right[0] for left, right in pairwise(spans))
    (actual,) = lines(figure, "actual")
    wanted = np.sin(actual.get_xdata() / 9)
    np.testing.assert_allclose(actual.get_ydata(), wanted)
    assert spans[-1][1] == frame["ds"].max() == actual.get_xdata()[-1]
    assert figure.axes[0].get_ylabel() == "temp"
    save(figure, tmp_path / "a.png")


@pytest.mark.parametrize(("horizon", "stride"), [(1, 1), (3, 3), (200, 50)])
def test_any_horizon_can_be_drawn(tmp_path: Path, horizon: int, stride: int) -> None:
    frame = in_time(a_frame(horizon=horizon, stride=stride, origins=40))
    figure = forecast_plot(frame, "a", "lstm", "last_value", "temp")
    assert figure.axes[0].get_xlabel() == "time (UTC)"
    assert save(figure, tmp_path / "a.png").stat().st_size > 10_000


def test_missing_actuals_and_a_single_origin_can_be_drawn(tmp_path: Path) -> None:
    frame = a_frame(origins=1).with_columns(y=pl.when(pl.col("step") > 3).then(None).otherwise("y"))
    save(forecast_plot(frame, "a", "lstm", "last_value", "temp"), tmp_path / "a.png")


def test_hostile_names_are_drawn_as_text_and_give_no_warning(tmp_path: Path) -> None:
    frame = a_frame(HOSTILE)
    figure = forecast_plot(frame, HOSTILE, "lstm", "last_value", "$")
    save(figure, tmp_path / file_name(3, HOSTILE))
    title = figure.axes[0].get_title(loc="left")
    assert r"\$\frac{1}{0}\$ & <b> \$x^{" in title and "\n" not in title


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


def test_at_most_twenty_series_worst_and_best_among_them() -> None:
    errors = pl.DataFrame({"unique_id": [f"s{i:03d}" for i in range(101)], "m": [float(i) for i in range(101)]})
    chosen = plotted(errors, "m")
    assert len(chosen) == len(set(chosen)) == 20
    assert chosen[0] == "s100" and chosen[-1] == "s000"
    steps = -np.diff([int(name[1:]) for name in chosen])
    assert set(steps) <= {5, 6}
    few = pl.DataFrame({"unique_id": ["a", "b", "c"], "m": [1.0, None, 2.0]})
    assert plotted(few, "m") == ["c", "a"]


def test_the_same_figure_gives_the_same_bytes_and_leaves_nothing_beside(tmp_path: Path) -> None:
    for name in ("one.png", "two.png"):
        save(forecast_plot(in_time(a_frame()), "a", "lstm", "last_value", "temp"), tmp_path / "new" / name)
    one, two = sorted((tmp_path / "new").iterdir())
    assert one.read_bytes() == two.read_bytes()


def test_error_by_step_names_every_model_that_has_one(tmp_path: Path) -> None:
    models = ["lstm", "last_value", "empty"]
    figure = step_plot(by_step(a_frame(), models, a_frame()["step"].max()), models, "lstm", "last_value", "temp", "1h")
    assert {text.get_text() for text in figure.axes[0].texts} == {"lstm", "last_value"}
    assert figure.axes[0].get_xlabel() == "horizon step (one step: 1h)"
    save(figure, tmp_path / "a.png")
    save(step_plot(by_step(a_frame(horizon=1), models, 1), models, None, "last_value", "temp", "1"), tmp_path / "b.png")


def test_labels_are_pushed_apart_in_order_and_stay_inside() -> None:
    places = spread([0.0, 0.1, 0.1, 5.0, 9.9, 10.0], 1.0, 0.0, 10.0)
    assert min(np.diff(places)) >= 1 - 1e-9
    assert places[0] >= 0 and places[-1] <= 10
    assert places[3] == 5.0


def test_loss_curves_mark_the_best_epoch(tmp_path: Path) -> None:
    losses = pl.DataFrame({"epoch": [1, 2, 3], "train_loss": [1.0, 0.5, 0.4], "val_mae": [3.0, 2.0, 2.5]})
    figure = loss_plot(losses, "lstm", 2, "temp")
    assert figure.axes[0].get_title(loc="right") == "best epoch 2: val_mae 2"
    save(figure, tmp_path / "a.png")
    save(loss_plot(losses.head(1), "ridge", None, "temp"), tmp_path / "b.png")


def test_accuracy_bars_follow_the_leaderboard_and_leave_failures_out(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"name": "lstm", "kind": "variant", "status": "finished", "val_mae": 2.0, "test_mae": 1.5},
        {"name": "last_value", "kind": "baseline", "status": "finished", "val_mae": 3.0, "test_mae": 3.5},
        {"name": "cnn", "kind": "variant", "status": "failed"},
        {"name": "gru", "kind": "variant", "status": "finished", "val_mae": 1.0, "test_mae": 2.5},
    ]
    figure = accuracy_plot(leaderboard(rows), "gru", "last_value", "temp")
    ax = figure.axes[0]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["gru", "lstm", "last_value"]
    assert [bar.get_width() for bar in ax.containers[0]] == [2.5, 1.5, 3.5]
    save(figure, tmp_path / "a.png")
    save(accuracy_plot(leaderboard(rows[2:3]), None, "last_value", "temp"), tmp_path / "none.png")
