"""Whether intervals hold, in words and numbers: by hand, for fifths and for few series, with ties and without an answer."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from models.data.panel import Panel
from models.data.window import FeatureWindow, WindowParams
from models.serving import Bounds, Calibration
from tasks.compare.compare import Comparison
from tasks.compare.distribution import Shape
from tasks.evaluate.bounds import NO_BOUNDS
from tasks.grid.frequency import Frequency
from tasks.lags.panel import write_panel
from tasks.report.distribution import Held, by_step, fans_of, held, shapes_of, shares_below, shown_level, strip_of

Made = Callable[[bool], Comparison]
WANTED = (0.8, 0.97)
FIFTHS = {"smallest fifth": 0.951, "second fifth": 0.93, "third fifth": 0.905, "fourth fifth": 0.88, "largest fifth": 0.84}


def said(pool: float, groups: dict[str, float], fifths: bool = True) -> str:
    return Held("gru", 90, pool, groups, fifths, WANTED).words()


def test_the_sentence_says_whether_intervals_hold_in_every_fifth() -> None:
    start = "the 90 % intervals of gru hold 90.1 % of the actuals on test"
    within = "84.0 to 95.1 %, within the 80 to 97 % of promotion.coverage"
    assert said(0.901, FIFTHS) == f"{start}, and they hold in every fifth of the series by size: {within}"
    out = {**FIFTHS, "largest fifth": 0.52, "smallest fifth": 1.0}
    assert said(0.901, out) == (
        f"{start}, but they do not hold in every fifth of the series by size: 100.0 % in the smallest fifth, 52.0 % in the "
        "largest fifth (promotion.coverage: 80 to 97 %)"
    )


def test_of_few_series_each_is_named_and_of_one_the_pool_is_all() -> None:
    assert "but they do not hold in every series: 71.0 % in b (promotion" in said(0.85, {"a": 0.9, "b": 0.71}, fifths=False)
    assert r"71.0 % in a\nb (" in said(0.85, {"a": 0.9, "a\nb": 0.71}, fifths=False)  # a name stays on one line
    assert said(0.85, {"a": 0.85}, fifths=False).endswith("test: within the 80 to 97 % of promotion.coverage")
    assert said(0.7, {"a": 0.7}, fifths=False).endswith("test: outside the 80 to 97 % of promotion.coverage")


def test_at_another_level_than_90_there_is_no_range_to_lie_in(made: Made) -> None:
    said = Held("gru", 80, 0.706, {"a": 0.6, "b": 0.8}, False, None).words()
    assert said == "the 80 % intervals of gru hold 70.6 % of the actuals on test; in every series 60.0 to 80.0 %"
    assert Held("gru", 80, 0.706, {"a": 0.706}, False, None).words().endswith("hold 70.6 % of the actuals on test")
    found = judged(made(True), slices("series", {"small": 0.95}).rename({"coverage_90": "coverage_80"}))
    rows = [row.with_numbers(test_coverage_80=0.7) for row in found.rows]
    one = held(replace(found, rows=rows), "gru", (50, 80), WANTED)
    assert one == Held("gru", 80, 0.7, {"small": 0.95}, False, None, fewest=10)


def test_a_group_at_the_border_is_within() -> None:
    assert "they hold in every series: 80.0 to 97.0 %" in said(0.9, {"a": 0.8, "b": 0.97}, fifths=False)


@pytest.mark.parametrize(("levels", "level"), [((80, 90, 95), 90), ((50, 80), 80), ((99,), 99), ((), None)])
def test_the_level_that_is_told_is_90_or_the_nearest(levels: tuple[int, ...], level: int | None) -> None:
    assert shown_level(levels) == level


def slices(of: str, groups: dict[str, float], model: str = "gru") -> pl.DataFrame:
    count = len(groups)
    columns = {"coverage_90": list(groups.values()), "width_90": [2.0] * count, "msis_90": [1.0] * count}
    return pl.DataFrame({"model": [model] * count, "by": [of] * count, "value": list(groups), "n": [10] * count, **columns})


def judged(found: Comparison, *tables: pl.DataFrame) -> Comparison:
    rows = [row.with_numbers(test_coverage_90=0.9 if row.name == "gru" else None) for row in found.rows]
    return replace(found, rows=rows, slices=pl.concat(tables))


def test_groups_are_fifths_where_there_are_some_and_else_the_series(made: Made) -> None:
    few = judged(made(True), slices("series", {"small": 0.95, "large": 0.85}))
    one = held(few, "gru", (80, 90), WANTED)
    assert one == Held("gru", 90, 0.9, {"small": 0.95, "large": 0.85}, False, WANTED, fewest=10)
    names = {f"s{number}": number / 10 for number in range(10)}
    many = judged(made(True), slices("series", names), slices("fifth", {str(k): 0.9 for k in range(1, 6)}))
    one = held(many, "gru", (90,), WANTED)
    assert one is not None and one.fifths and list(one.groups) == list(FIFTHS)
    groups = pl.DataFrame({"unique_id": list(names)[:9], "fifth": [str(1 + k // 2) for k in range(9)]})
    strip = strip_of(many, one, groups)
    assert strip.group.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, -1]  # the last was not there in training
    assert list(strip.groups) == list(FIFTHS) and [strip.ids[place] for place in strip.worst(3)] == ["s0", "s1", "s2"]


def test_a_model_without_intervals_says_nothing(made: Made) -> None:
    found = judged(made(True), slices("series", {"small": 0.95}))
    assert held(found, "theta", (90,), WANTED) is None and held(found, "gru", (), WANTED) is None


def test_steps_come_in_their_order_and_other_models_stay_out(made: Made) -> None:
    steps = {str(step): 1 - step / 100 for step in (10, 2, 1, 9, 3, 4, 5, 6, 7, 8)}
    found = judged(made(True), slices("step", steps), slices("step", steps, "theta"))
    np.testing.assert_allclose(by_step(found, "gru", (80, 90), "coverage")[90], 1 - np.arange(1, 11) / 100)
    assert list(by_step(found, "gru", (80, 90), "width")) == [90]


def test_actuals_that_equal_a_quantile_count_as_far_as_they_make_it_its_level() -> None:
    shape = Shape(np.array([0.1, 0.5, 0.9]), np.array([0.0, 0.6, 0.7]), np.array([0.6, 0.6, 0.8]), np.full(10, 0.1), 10)
    assert shares_below(shape).tolist() == [0.1, 0.6, 0.8]


def test_the_shares_below_are_those_of_each_group_counted_by_hand(made: Made, frame: pl.DataFrame) -> None:
    levels = np.array([0.05, 0.5, 0.95])
    offsets = np.broadcast_to(np.array([-2.0, 0.0, 2.0]), (1, 4, 3))
    calibration = Calibration(levels, offsets, np.array([1.0, 3.0, 1.0]), np.zeros(3, np.int64))
    groups = pl.DataFrame({"unique_id": ["large", "small"], "fifth": ["large", "small"]})
    parts = shapes_of(made(True).test, "gru", calibration, NO_BOUNDS, groups)
    assert [*parts] == ["large", "small"]
    rows = frame.with_columns(e=(pl.col("y") - pl.col("gru")).fill_nan(None)).drop_nulls("e")
    for name, unit in (("small", 1.0), ("large", 3.0)):
        errors = rows.filter(pl.col("unique_id") == name)["e"].to_numpy()
        np.testing.assert_allclose(parts[name].under, [(errors < unit * offset).mean() for offset in (-2, 0, 2)])


def a_panel(frame: pl.DataFrame, folder: Path) -> Panel:
    """Every hour from a day before the first origin on: y is the hour's number, in both series."""
    start, stop = frame["cutoff"].min() - timedelta(days=1), frame["ds"].max()  # type: ignore[operator]
    hours = pl.datetime_range(start, stop, "1h", time_zone="UTC", eager=True)
    rows = pl.concat(
        pl.DataFrame({"unique_id": name, "ds": hours, "y": np.arange(len(hours)) * 1.0}) for name in ("large", "small")
    )
    return Panel.open(write_panel(rows.lazy(), WindowParams(4, {"y": FeatureWindow(4)}), Frequency("1h"), 0, folder))


def test_fans_are_of_the_worst_and_the_best_series_with_every_row_between(
    made: Made, frame: pl.DataFrame, tmp_path: Path
) -> None:
    levels = np.array([0.05, 0.5, 0.95])
    offsets = np.broadcast_to(np.array([-2.0, 0.0, 2.0]), (1, 4, 3))
    calibration = Calibration(levels, offsets, np.array([1.0, 3.0, 1.0]), np.zeros(3, np.int64))  # of small, large
    scored = slices("series", {"small": 0.95, "large": 0.85}).with_columns(pl.Series("msis_90", [9.0, 4.0]))
    found = judged(made(True), scored)
    one = held(found, "gru", (90,), WANTED)
    assert one is not None
    worst, best = fans_of(found, one, calibration, Bounds(lowest=-1.0), a_panel(frame, tmp_path / "panel"))
    assert worst.words == "small: the worst of 2 series by interval score; inside the 90 % interval: 95.0 %"
    assert best.words.startswith("large: the best of 2 series") and best.words.endswith("85.0 %")
    for fan, unit in ((worst, 1.0), (best, 3.0)):
        rows = fan.forecasts
        assert rows["cutoff"].n_unique() == 6 and rows["cutoff"].max() == frame["cutoff"].max()
        assert rows["ds"].is_unique().all()  # none overlaps
        for number, away in enumerate((-2.0, 0.0, 2.0)):
            wanted = np.maximum(rows["point"].to_numpy() + unit * away, -1.0)
            np.testing.assert_allclose(rows[f"q{number}"], wanted)
        hours = fan.actual["ds"].diff().drop_nulls()
        assert (hours == timedelta(hours=1)).all() and fan.actual["ds"].max() == rows["ds"].max()
        assert fan.actual.filter(pl.col("ds") <= rows["cutoff"].min()).height == 8


def test_of_one_series_there_is_one_fan_and_without_a_score_none(made: Made, frame: pl.DataFrame, tmp_path: Path) -> None:
    calibration = Calibration(np.array([0.5]), np.zeros((1, 4, 1)), np.ones(3), np.zeros(3, np.int64))
    panel = a_panel(frame, tmp_path / "panel")
    found = judged(made(True), slices("series", {"small": 0.95}))
    one = held(found, "gru", (90,), WANTED)
    assert one is not None
    assert [fan.words for fan in fans_of(found, one, calibration, NO_BOUNDS, panel)] == [
        "small; inside the 90 % interval: 95.0 %"
    ]
    blank = replace(found, slices=found.slices.with_columns(msis_90=pl.lit(None, pl.Float64), interval_score_90=pl.lit(np.nan)))
    assert fans_of(blank, one, calibration, NO_BOUNDS, panel) == []
