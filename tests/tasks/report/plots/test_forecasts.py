"""Pictures of forecasts: which series and origins they show, and that any horizon, name and gap can be drawn."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tasks.report.plots.forecasts import forecast_plot, interval_columns, plotted, variant_forecast_plot
from tasks.report.plots.style import file_name, save

HOSTILE = r"$\frac{1}{0}$ & <b> $x^{" + "\n東京\x00"


def a_frame(series: str = "a", horizon: int = 6, origins: int = 60, stride: int = 2) -> pl.DataFrame:
    cutoff = np.repeat(np.arange(origins) * stride, horizon)
    step = np.tile(np.arange(1, horizon + 1), origins)
    y = np.sin((cutoff + step) / 9)
    frame = pl.DataFrame({"unique_id": [series] * len(y), "ds": cutoff + step, "cutoff": cutoff, "step": step, "y": y})
    frame = frame.with_columns(lstm=pl.col("y") + 0.1, last_value=pl.col("y") - 0.3)
    return frame.with_columns((pl.col("lstm") - 0.2).alias("lstm-lo-90"), (pl.col("lstm") + 0.2).alias("lstm-hi-90"))


def in_time(frame: pl.DataFrame) -> pl.DataFrame:
    hours = (pl.col("ds", "cutoff") * 3_600_000_000).cast(pl.Datetime("us", "UTC"))
    return frame.with_columns(hours)


def line(axes: Any, label: str) -> tuple[np.ndarray, np.ndarray]:
    (found,) = (line for line in axes.lines if line.get_label() == label)
    return found.get_xdata(), found.get_ydata()


def pieces(axes: Any, label: str) -> list[np.ndarray]:
    """The x of each stretch of a line between two gaps."""
    x, y = line(axes, label)
    parts = np.split(np.arange(len(y)), np.flatnonzero(np.isnan(y)))
    return [x[part[np.isfinite(y[part])]] for part in parts if np.isfinite(y[part]).any()]


def test_forecasts_of_origins_that_do_not_overlap_stand_beside_the_actuals(tmp_path: Path) -> None:
    frame = a_frame()
    figure = forecast_plot(frame, "a", "lstm", "last_value", "temp")
    drawn = pieces(figure.axes[0], "lstm")
    assert [len(part) for part in drawn] == [6] * 20  # about 120 rows of horizon 6
    assert all(left[-1] < right[0] for left, right in pairwise(drawn))
    x, y = line(figure.axes[0], "actual")
    np.testing.assert_allclose(y, np.sin(x / 9))
    assert drawn[-1][-1] == frame["ds"].max() == x[-1]
    x, y = line(figure.axes[0], "lstm")
    known = np.isfinite(y)
    np.testing.assert_allclose(y[known], np.sin(x[known] / 9) + 0.1)
    assert figure.axes[0].get_ylabel() == "temp"
    begins = [part for part in figure.axes[0].collections if part.get_label() == "a new forecast begins"]
    assert [segment[0][0] for segment in begins[0].get_segments()] == [part[0] for part in drawn]
    save(figure, tmp_path / "a.png")


@pytest.mark.parametrize(("horizon", "stride"), [(1, 1), (3, 3), (200, 50)])
def test_any_horizon_can_be_drawn(tmp_path: Path, horizon: int, stride: int) -> None:
    frame = in_time(a_frame(horizon=horizon, stride=stride, origins=40))
    figure = forecast_plot(frame, "a", "lstm", "last_value", "temp")
    assert figure.axes[0].get_xlabel() == "time (UTC)"
    assert len(pieces(figure.axes[0], "lstm")) == 1  # joined where short, a single origin where long
    assert save(figure, tmp_path / "a.png").stat().st_size > 10_000


def test_missing_actuals_and_a_single_origin_can_be_drawn(tmp_path: Path) -> None:
    frame = a_frame(origins=1).with_columns(y=pl.when(pl.col("step") > 3).then(None).otherwise("y"))
    figure = forecast_plot(frame, "a", "lstm", "last_value", "temp")
    assert len(pieces(figure.axes[0], "lstm")) == 1
    assert save(figure, tmp_path / "a.png").stat().st_size > 10_000


def test_a_forecast_of_one_row_is_a_dot() -> None:
    frame = a_frame(origins=4, stride=6).filter((pl.col("cutoff") != 6) | (pl.col("step") == 2))
    figure = forecast_plot(frame, "a", "lstm", "last_value", "temp")
    assert [len(part) for part in pieces(figure.axes[0], "lstm")] == [6, 1, 6, 6]
    (drawn,) = (line for line in figure.axes[0].lines if line.get_label() == "lstm")
    assert drawn.get_marker() == "o"


def test_the_best_naive_on_a_page_of_its_own_is_drawn_once() -> None:
    figure = forecast_plot(a_frame(), "a", "last_value", "last_value", "temp")
    assert [line.get_label() for line in figure.axes[0].lines] == ["actual", "last_value"]


def test_hostile_names_are_drawn_as_text_and_give_no_warning(tmp_path: Path) -> None:
    frame = a_frame(HOSTILE)
    figure = forecast_plot(frame, HOSTILE, "lstm", "last_value", "$")
    save(figure, tmp_path / file_name(3, HOSTILE))
    title = figure.axes[0].get_title(loc="left")
    assert r"\$\frac{1}{0}\$ & <b> \$x^{" in title and "\n" not in title


def test_a_page_of_a_variant_stacks_up_to_four_series_with_one_legend(tmp_path: Path) -> None:
    names = ["a", HOSTILE, "c", "d", "e"]
    frame = in_time(pl.concat([a_frame(name) for name in names]))
    figure = variant_forecast_plot(frame, names, "lstm", "last_value", "temp")
    assert len(figure.axes) == 4
    assert figure.axes[0].get_title(loc="left") == "a" and figure.axes[3].get_title(loc="left") == "d"
    assert [axes.get_legend() is not None for axes in figure.axes] == [True, False, False, False]
    assert [len(pieces(axes, "lstm")) for axes in figure.axes] == [20] * 4
    save(figure, tmp_path / "a.png")


@pytest.mark.parametrize("count", [0, 1])
def test_a_page_of_few_series_can_be_drawn(tmp_path: Path, count: int) -> None:
    figure = variant_forecast_plot(a_frame(horizon=3, origins=1), ["a"] * count, "lstm", "last_value", HOSTILE)
    assert [text.get_text() for text in figure.axes[0].texts] == ["no forecasts"] * (1 - count)
    save(figure, tmp_path / "a.png")


def test_at_most_twenty_series_worst_and_best_among_them() -> None:
    errors = pl.DataFrame({"unique_id": [f"s{i:03d}" for i in range(101)], "m": [float(i) for i in range(101)]})
    chosen = plotted(errors, "m")
    assert len(chosen) == len(set(chosen)) == 20
    assert chosen[0] == "s100" and chosen[-1] == "s000"
    steps = -np.diff([int(name[1:]) for name in chosen])
    assert set(steps) <= {5, 6}
    few = pl.DataFrame({"unique_id": ["a", "b", "c"], "m": [1.0, None, 2.0]})
    assert plotted(few, "m") == ["c", "a"]


def test_for_a_phone_it_is_as_wide_as_one_and_keeps_its_legend_out_of_the_way(tmp_path: Path) -> None:
    figure = forecast_plot(in_time(a_frame(HOSTILE)), HOSTILE, "lstm", "last_value", "temp", narrow=True)
    assert figure.get_figwidth() == 4.2 and figure.axes[0].get_legend() is None
    assert [text.get_text() for text in figure.legends[0].get_texts()][:2] == ["actual", "90 % interval"]
    save(figure, tmp_path / "a.png")


def test_there_is_a_band_for_every_level_the_widest_first_and_one_name_for_all(tmp_path: Path) -> None:
    frame = a_frame().with_columns((pl.col("lstm") - 0.05).alias("lstm-lo-50"), (pl.col("lstm") + 0.05).alias("lstm-hi-50"))
    ax = forecast_plot(frame, "a", "lstm", "last_value", "temp").axes[0]
    bands = ax.collections[:2]
    assert bands[0].get_label() == "50, 90 % interval" and str(bands[1].get_label()).startswith("_")
    spans = [np.ptp(np.concatenate([path.vertices[:, 1] for path in band.get_paths()])) for band in bands]
    assert spans[0] > spans[1]
    assert interval_columns("a", (80, 95)) == ["a-lo-80", "a-hi-80", "a-lo-95", "a-hi-95"]
