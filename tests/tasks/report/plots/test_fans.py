"""Fan charts: bands of the widest pair first, actuals outside all of them marked; one step, integer times, no fan."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tasks.report.plots.fans import Fan, fan_plot, pairs_of
from tasks.report.plots.style import save

LEVELS = (0.05, 0.2, 0.5, 0.8, 0.95)
AWAY = (-3.0, -1.0, 0.0, 1.0, 3.0)
HOSTILE = r"$\frac{1}{0}$ & <b> $x^{" + "\n東京\x00"


def a_fan(horizon: int = 5, origins: int = 2, in_time: bool = True, before: int = 8) -> Fan:
    """The point is 10; what came lies at 10, but 4 above it at the first step of all."""
    step = np.tile(np.arange(1, horizon + 1), origins)
    cutoff = np.repeat(np.arange(origins) * horizon, horizon)
    y = np.where(cutoff + step == 1, 14.0, 10.0)
    rows = {"ds": cutoff + step, "cutoff": cutoff, "step": step, "y": y, "point": np.full(len(y), 10.0)}
    frame = pl.DataFrame(rows).with_columns(pl.lit(10.0 + away).alias(f"q{at}") for at, away in enumerate(AWAY))
    actual = {"ds": np.arange(1 - before, len(y) + 1), "y": np.concatenate([np.full(before, 9.0), y])}
    known = pl.DataFrame(actual)
    if in_time:
        known, frame = (
            part.with_columns((pl.col(*some) * 3_600_000_000).cast(pl.Datetime("us", "UTC")))
            for part, some in ((known, ["ds"]), (frame, ["ds", "cutoff"]))
        )
    return Fan(HOSTILE, known, frame)


def test_a_band_lies_between_levels_that_add_up_to_one() -> None:
    assert pairs_of(LEVELS) == [(0, 4), (1, 3)]
    assert pairs_of((0.1, 0.25, 0.5, 0.9)) == [(0, 3)] and pairs_of((0.5,)) == [] and pairs_of(()) == []


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("in_time", [False, True])
def test_bands_points_and_what_came(tmp_path: Path, narrow: bool, in_time: bool) -> None:
    figure = fan_plot([a_fan(in_time=in_time), a_fan(in_time=in_time)], LEVELS, HOSTILE, HOSTILE, narrow)
    assert len(figure.axes) == 2
    wide, small = figure.axes[0].collections[:2]
    for band, reach in ((wide, 3.0), (small, 1.0)):
        heights = np.concatenate([path.vertices[:, 1] for path in band.get_paths()])
        assert (heights.min(), heights.max()) == (10 - reach, 10 + reach)
    drawn = {line.get_label(): line for line in figure.axes[0].lines}
    assert len(drawn["actual"].get_xdata()) == 18  # 8 before, 10 that came
    assert drawn["outside all"].get_ydata().tolist() == [14.0]
    known = np.isfinite(drawn["forecast"].get_ydata())
    assert known.sum() == 10 and (~known).sum() == 2  # a gap behind each forecast
    save(figure, tmp_path / "a.png")


def test_a_forecast_of_one_step_has_a_bar_a_row(tmp_path: Path) -> None:
    figure = fan_plot([a_fan(horizon=1, origins=6)], LEVELS, "temp", "gru")
    bars = figure.axes[0].collections[0].get_segments()
    assert [tuple(bar[:, 1]) for bar in bars if len(bar)] == [(7.0, 13.0)] * 6
    save(figure, tmp_path / "a.png")


def test_unknown_quantiles_nothing_known_and_no_fan_can_be_drawn(tmp_path: Path) -> None:
    fan = a_fan(before=0)
    blank = fan.forecasts.with_columns(pl.lit(np.nan).alias(f"q{at}") for at in range(5))
    save(fan_plot([Fan("a", fan.actual, blank)], LEVELS, "temp", "gru"), tmp_path / "a.png")
    figure = fan_plot([], LEVELS, "temp", "gru", narrow=True)
    assert figure.axes[0].texts[0].get_text() == "no forecasts with quantiles"
    save(figure, tmp_path / "b.png")
