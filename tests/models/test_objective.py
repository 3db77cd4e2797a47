"""The measure that weights are learnt by is the one that the board ranks by, whatever is missing."""

from dataclasses import replace
from typing import get_args

import numpy as np
import polars as pl
import pytest

from models import objective
from models.data.panel import Panel, PanelFacts, Split
from models.fit.settings import Measure
from models.selection import Range
from params.evaluation import Measure as Asked
from params.load import load_run
from tasks.compare.measures import NAIVE2, measured, scale_of
from tasks.lags.past import pasts

MEASURES = get_args(Measure)
SEASON, HORIZON = 4, 3


def a_panel(padding: int = 0) -> Panel:
    """Three series of other sizes and lengths, some rows missing, and one that never changes; rows of padding before each."""
    rng, parts = np.random.default_rng(2), []
    for number, rows in enumerate((60, 44, 52, 40)):
        y = 10.0**number * (3 + np.sin(np.arange(rows)) + rng.normal(0, 0.4, rows)) if number < 3 else np.full(rows, 7.0)
        y[rng.random(rows) < 0.1] = np.nan
        parts.append(np.concatenate([np.full(padding, np.nan), y]))
    sizes = [len(part) for part in parts]
    times = np.concatenate([np.arange(-padding, size - padding) for size in sizes]).astype(np.int64)
    target = np.concatenate(parts)
    facts = PanelFacts(start_padding=padding)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    return Panel(target, target[:, None].astype(np.float32), offsets, times, ("a", "b", "c", "d"), ("y",), "digest", facts)


def test_the_measures_are_those_of_a_run_file() -> None:
    assert get_args(Asked) == MEASURES and {*objective.KINDS} == {*MEASURES}


@pytest.mark.parametrize("by", MEASURES)
@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize("split", [Split("time", 30, 38), Split("rows", 12, 8)])
def test_the_units_of_series_are_those_of_the_board(by: Measure, padding: int, split: Split) -> None:
    panel = a_panel(padding)
    run = load_run("params/smoke.yaml", [f"evaluation.season={SEASON}", "evaluation.scaled=true", f"evaluation.choose_by={by}"])
    scale = scale_of(run.evaluation, pasts(panel, split)).series.sort("unique_id")
    column = {"mae_scaled": "deviation", "mse_scaled": "deviation", "rmsse": "mse"}.get(by, "mae")
    known = dict(zip(scale["unique_id"], scale[column], strict=True))
    expected = [1.0 if by == "mae" else known.get(name) or np.nan for name in panel.ids]
    np.testing.assert_allclose(objective.units(panel, split, SEASON, by), expected, rtol=1e-12)


@pytest.mark.parametrize("by", MEASURES)
def test_a_score_is_that_of_the_board(by: Measure) -> None:
    rng, panel, split = np.random.default_rng(1), a_panel(), Split("rows", 12, 8)
    series = np.repeat([0, 1, 2, 3], [9, 5, 7, 6])
    y = 10.0 ** np.minimum(series, 2)[:, None] * (3 + rng.normal(size=(len(series), HORIZON)))
    made = [y * (1 + 0.3 * rng.normal(size=y.shape)) for _ in range(3)]
    y[rng.random(y.shape) < 0.15] = np.nan
    y[4] = 0.0
    made[0][4] = 0.0  # an error of nothing has no sMAPE
    made[2][rng.random(y.shape) < 0.1] = np.nan  # rows that one lacks count for none
    unit = objective.units(panel, split, SEASON, by)
    some = Range(by, y, made, series, unit, naive2=2 if by == "owa" else None)
    found = some.scores(np.zeros(y.shape), 1)

    run = load_run("params/smoke.yaml", [f"evaluation.season={SEASON}", "evaluation.scaled=true", f"evaluation.choose_by={by}"])
    names = ["m", "n", NAIVE2]
    frame = pl.DataFrame(
        {
            "unique_id": np.repeat(np.array(panel.ids)[series], HORIZON),
            "cutoff": np.repeat(np.arange(len(series)), HORIZON),
            "step": np.tile(np.arange(1, HORIZON + 1), len(series)),
            "y": y.ravel(),
            **{name: one.ravel() for name, one in zip(names, made, strict=True)},
        }
    ).with_columns(pl.col("y", *names).fill_nan(None))
    scale = scale_of(run.evaluation, pasts(panel, split))
    expected = measured([frame], names, scale).scores
    np.testing.assert_allclose(found, [expected[name] for name in names], rtol=1e-12)


def test_nothing_to_score_has_no_shares() -> None:
    nothing, some = np.zeros(2), np.array([3.0, 0.0])
    unit = np.array([1.0, 2.0])
    assert objective.shares_of("mae", unit, nothing) is None
    assert objective.shares_of("mase", np.array([np.nan, 2.0]), some) is None  # the only series with rows has no unit
    errors: objective.Sums = {"plain": some, "relative": nothing}
    assert objective.shares_of("owa", unit, some, errors) is None  # Naive2 is right everywhere
    with pytest.raises(ValueError, match="naive2"):
        objective.shares_of("owa", unit, some)


def test_bounds_hold_for_what_is_scored() -> None:
    from models.serving import Bounds

    y = np.array([[0.0, 2.0]])
    one = Range("mae", y, [np.array([[-3.0, 2.4]])], np.array([0]), np.ones(1))
    assert one.scores(np.zeros(y.shape), 1) == pytest.approx([1.7])
    assert replace(one, bounds=Bounds(0.0, None, True)).scores(np.zeros(y.shape), 1) == pytest.approx([0.0])
