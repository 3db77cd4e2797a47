"""models/serving.py: levels and quantiles of its forecasts, worked out by hand, of series that training saw or not."""

import json
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from models import serving
from models.data.window import FeatureWindow, WindowParams
from models.serving import Bounds, Calibration, ends_of

PARAMS = WindowParams(2, {"y": FeatureWindow(3)})
LEVELS = [0.05, 0.1, 0.5, 0.9, 0.95]
OFFSETS = [[-2.0, -1.0, 0.0, 1.0, 2.0], [None, -2.0, 0.5, 3.0, None]]  # of both steps
Graph = serving.Graph


def told(**changes: Any) -> dict[str, Any]:
    """A calibration as a bundle has it: series b has twice the unit of a, and a new one 1.5."""
    same = {"levels": LEVELS, "offsets": [OFFSETS], "units": [1.0, 2.0, 1.5], "groups": [0, 0, 0], "own": False}
    return same | {"transform": "none", "season": 2, "ratio": None, "latest": None} | changes


def last_y(past: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
    """The last y at both steps."""
    return past[:, -1:, :1].expand(-1, 2, -1)


def with_own(past: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
    """The same, then quantiles 4 and 3 below, at, 3 and 5 above it."""
    return last_y(past) + torch.tensor([0.0, -4.0, -3.0, 0.0, 3.0, 5.0])


def make_model(graph: Graph = last_y, refitted: Graph | None = None, **facts: Any) -> serving.Model:
    same = {
        "windows": PARAMS.to_dict(),
        "channels": [{"name": "y", "lookback": 3, "sampling_rate": 1, "delay": 0}],
        "ids": ["a", "b"],
        "frequency": 1,
        "forward_fill": 0,
        "categories": {},
        "variant": "net",
        "quantiles": LEVELS if graph is with_own else [],
        "calibration": told(),
    }
    return serving.Model(json.loads(json.dumps(same | facts)), graph, refitted)


def frame_of(**series: Any) -> pd.DataFrame:
    parts = [pd.DataFrame({"unique_id": name, "ds": range(len(y)), "y": np.array(y, float)}) for name, y in series.items()]
    return pd.concat(parts, ignore_index=True)


def rows(found: pd.DataFrame, *columns: str) -> list[list[float]]:
    return [[round(cell, 9) for cell in row] for row in found[[*columns]].to_numpy(float).tolist()]


def test_each_series_has_its_unit_each_step_its_offsets_and_columns_are_called_as_the_field_calls_them() -> None:
    found = make_model().forecast(frame_of(a=[1, 1, 10], b=[1, 1, 20]), levels=(80, 90), quantiles=(0.5, 0.1))
    intervals = ["yhat-lo-80", "yhat-hi-80", "yhat-lo-90", "yhat-hi-90"]
    assert list(found.columns[3:]) == ["yhat", *intervals, "yhat-q-0.5", "yhat-q-0.1", "model"]
    np.testing.assert_array_equal(
        found[[*intervals, "yhat-q-0.5"]],
        [[9, 11, 8, 12, 10], [8, 13, np.nan, np.nan, 10.5], [18, 22, 16, 24, 20], [16, 26, np.nan, np.nan, 21]],
    )
    assert (found["yhat-q-0.1"] == found["yhat-lo-80"]).all()
    assert list(make_model().forecast(frame_of(a=[1, 1, 10])).columns[4:6]) == ["yhat-lo-90", "yhat-hi-90"]
    none = make_model().forecast(frame_of(a=[1, 1, 10]), levels=())
    assert list(none.columns) == ["unique_id", "cutoff", "ds", "yhat", "model"]


def test_between_two_levels_a_quantile_lies_as_of_a_normal_distribution_and_rises() -> None:
    asked = tuple(np.linspace(0.05, 0.95, 31).round(3))
    found = make_model().forecast(frame_of(a=[1, 1, 10]), levels=(87,), quantiles=asked)
    normal = NormalDist().inv_cdf
    share = (normal(0.065) - normal(0.05)) / (normal(0.1) - normal(0.05))
    assert found["yhat-lo-87"][0] == pytest.approx(8 + share) and found["yhat-hi-87"][0] == pytest.approx(12 - share)
    first = found.iloc[0][[f"yhat-q-{level:g}" for level in asked]].to_numpy(float)
    assert (np.diff(first) > 0).all() and first[[0, 15, 30]].tolist() == [8.0, 10.0, 12.0]


def test_an_interval_of_half_of_all_and_more_holds_the_point_whatever_its_quantiles_are() -> None:
    """All quantiles above the point at the first step, all below at the second."""
    high = [[[1.0, 2.0, 3.0, 4.0, 5.0], [-5.0, -4.0, -3.0, -2.0, -1.0]]]
    found = make_model(calibration=told(offsets=high)).forecast(frame_of(a=[1, 1, 10]), levels=(50, 55, 90), quantiles=(0.3,))
    for level in (50, 55, 90):
        assert (found[f"yhat-lo-{level}"] <= 10).all() and (found[f"yhat-hi-{level}"] >= 10).all()
    assert found["yhat-q-0.3"][0] > 10 and found["yhat-q-0.3"][1] < 10  # no end of such an interval


def test_quantiles_rise_also_where_the_outermost_is_not_known() -> None:
    crossed = [[[None, -1.0, -2.0, 3.0, 2.0], [-1.0, -2.0, 0.0, 2.0, 1.0]]]
    found = make_model(calibration=told(offsets=crossed)).forecast(frame_of(a=[1, 1, 10]), levels=(), quantiles=LEVELS)
    assert rows(found[1:], *(f"yhat-q-{level:g}" for level in LEVELS)) == [[8, 9, 10, 11, 12]]
    assert rows(found[:1], *(f"yhat-q-{level:g}" for level in LEVELS[1:])) == [[9, 9, 13, 13]]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"levels": (95,)}, "yhat-lo-95: the quantile 0.025 lies outside .*: levels up to 90, quantiles from 0.05 to 0.95"),
        ({"quantiles": (0.96,)}, "yhat-q-0.96: the quantile 0.96 lies outside"),
        ({"levels": (0,)}, "levels: 0 is no percentage between 0 and 100"),
        ({"levels": (float("nan"),)}, "levels: nan is no percentage"),
        ({"quantiles": (80,)}, "quantiles: 80 does not lie between 0 and 1; write 0.1"),
    ],
)
def test_a_level_outside_those_of_the_version_is_refused_with_those_that_there_are(asked: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make_model().forecast(frame_of(a=[1, 1, 10]), **asked)


def test_an_older_version_answers_the_90_percent_interval_alone_and_says_what_it_lacks() -> None:
    facts = json.loads(json.dumps(make_model().facts))
    del facts["calibration"]
    older = serving.Model(facts | {"half_widths": [1.0, None]}, last_y)
    found = older.forecast(frame_of(a=[1, 1, 10], new=[1, 1, 20]), quantiles=(0.05, 0.95))
    assert rows(found[::2], "yhat-lo-90", "yhat-hi-90") == rows(found[::2], "yhat-q-0.05", "yhat-q-0.95") == [[9, 11], [19, 21]]
    assert found[["yhat-lo-90", "yhat-hi-90"]][1::2].isna().all(axis=None)
    for asked in ({"levels": (90, 80)}, {"quantiles": (0.5,)}):
        with pytest.raises(ValueError, match=r"has the 90 % interval alone: .* a version of a new comparison has them"):
            older.forecast(frame_of(a=[1, 1, 10]), **asked)


def test_a_model_adds_to_its_own_quantiles_of_the_levels_that_its_intervals_are_of() -> None:
    """3 and 2 are the quantiles of 10 and 90 % below and above: the bundle has further ones."""
    three = told(own=True, levels=[0.1, 0.5, 0.9], offsets=[[[-1.0, 0.0, 1.0], [0.0, 0.0, 0.0]]])
    found = make_model(with_own, calibration=three).forecast(frame_of(a=[1, 1, 10], b=[1, 1, 20]), levels=(80,))
    assert rows(found, "yhat", "yhat-lo-80", "yhat-hi-80") == [[10, 6, 14], [10, 7, 13], [20, 15, 25], [20, 17, 23]]
    plain = make_model(with_own, calibration=told()).forecast(frame_of(a=[1, 1, 10]), levels=(80,))
    assert rows(plain, "yhat-lo-80", "yhat-hi-80") == [[9, 11], [8, 13]]  # its own are not used
    with pytest.raises(ValueError, match="made from the model's own quantiles, and there are none"):
        Calibration.of({"calibration": told(own=True)}, 2).quantiles(np.ones(1), np.zeros(1, int), np.zeros(1, int))


def test_an_ensemble_with_baselines_puts_its_networks_quantiles_around_what_both_say() -> None:
    """Networks at 10 and 14 and a last value of 10: the mean is 34 / 3, and the quantiles lie 3 below and above it."""

    def graph(past: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        apart = last_y(past) + torch.tensor([0.0, 4.0])
        return torch.cat([apart, torch.tensor([-3.0, 0.0, 3.0]).expand(len(past), 2, 3)], dim=-1)

    combined = {"how": "mean", "baselines": [{"name": "last_value", "arguments": {"season": 2}}]}
    three = told(own=True, levels=[0.1, 0.5, 0.9], offsets=[[[0.0, 0.0, 0.0]] * 2])
    model = make_model(graph, family="ensemble", combined=combined, quantiles=[0.1, 0.5, 0.9], calibration=three)
    found = model.forecast(frame_of(a=[1, 1, 10]), levels=(80,))
    assert rows(found[:1], "yhat", "yhat-lo-80", "yhat-hi-80") == [[11.333333333, 8.333333333, 14.333333333]]


def test_a_fallback_has_its_own_calibration() -> None:
    last = {"name": "last_value", "arguments": {"season": 2}, "calibration": told(offsets=[[[-9.0, -8.0, 0.0, 8.0, 9.0]] * 2])}
    found = make_model(fallbacks=[last]).forecast(frame_of(a=[1, 1, 10], short=[7]), levels=(80,))
    assert found["model"].tolist() == ["net", "net", "last_value", "last_value"]
    assert rows(found[::2], "yhat-lo-80", "yhat-hi-80") == [[9, 11], [7 - 12, 7 + 12]]


def test_a_series_that_training_did_not_see_has_the_usual_multiple_of_its_own_error_up_to_the_cutoff() -> None:
    """Two steps back it differs by 4 throughout, then by 44 and 80; eight such errors need ten rows."""
    y = np.repeat(4.0 * np.arange(6), 2)[:11]
    model = make_model(calibration=told(ratio=0.5))
    found = model.forecast(frame_of(new=[*y, 60.0, 100.0], a=y), start=8, levels=(80,))
    reach = found["yhat"] - found["yhat-lo-80"]
    new = reach[(found["unique_id"] == "new") & (found["ds"] == found["cutoff"] + 1)].tolist()
    assert new == pytest.approx([1.5, 2.0, 2.0, 0.5 * (4 * 9 + 44) / 10, 0.5 * (4 * 9 + 44 + 80) / 11])
    known = reach[(found["unique_id"] == "a") & (found["ds"] == found["cutoff"] + 1)]
    assert known.tolist() == [1.0] * 3
    pooled = make_model().forecast(frame_of(new=y), levels=(80,))
    assert pooled["yhat"][0] - pooled["yhat-lo-80"][0] == 1.5
    flat = model.forecast(frame_of(new=[3.0] * 20), levels=(80,))
    assert flat["yhat"][0] - flat["yhat-lo-80"][0] == 1.5  # nothing of a series that never moved
    alone = model.forecast(frame_of(new=[*y, 60.0]), levels=(80,))
    beside = model.forecast(frame_of(aa=1e9 * np.arange(30), new=[*y, 60.0]), levels=(80,))
    pd.testing.assert_frame_equal(alone, beside[beside["unique_id"] == "new"].reset_index(drop=True))


def test_missing_rows_and_a_transform_count_in_the_error_of_a_new_series() -> None:
    position, y = np.array([0, 1, 2, 4, 6, 7, 8]), np.expm1([0.0, 5.0, 1.0, 3.0, np.nan, 6.0, 7.0])
    one = Calibration.of({"calibration": told(transform="log1p", season=2, ratio=2.0)}, 2)
    assert one.own_units(position, y, np.array([8])) == [1.5]  # pairs 0-2 and 2-4 are too few
    many = np.expm1(np.cumsum([0.0, 1.0] * 10))
    assert one.own_units(np.arange(20), many, np.array([19, 9, 8, -1])) == pytest.approx([2.0, 2.0, 1.5, 1.5])
    assert one.own_units(np.arange(0), many[:0], np.array([3])) == [1.5]


def test_what_was_trained_on_all_rows_has_the_units_after_them() -> None:
    latest = told(latest=[3.0, 6.0, 4.0])
    model = make_model(last_y, last_y, calibration=latest)
    given = frame_of(a=[1, 1, 10], new=[1, 1, 10])
    assert rows(model.forecast(given, levels=(80,))[::2], "yhat-hi-80") == [[13], [14]]
    assert rows(model.forecast(given, levels=(80,), judged=True)[::2], "yhat-hi-80") == [[11], [11.5]]
    assert rows(make_model(calibration=latest).forecast(given, levels=(80,))[::2], "yhat-hi-80") == [[11], [11.5]]


def test_whole_numbers_and_bounds_hold_between_levels_too() -> None:
    data = {"trained_on": {"run": {"data": {"lowest": 0, "highest": 10.5, "integer": True}}}}
    found = make_model(**data).forecast(frame_of(a=[1, 1, 9.6], b=[0, 0, 1]), levels=(85, 90), quantiles=(0.3,))
    first = found[::2]
    assert first["yhat"].tolist() == [10, 1] and first["yhat-lo-85"].tolist() == [8, 0]
    assert first["yhat-hi-85"].tolist() == [10, 4] and first["yhat-lo-90"].tolist() == [8, 0]
    assert (found["yhat-q-0.3"].dropna() % 1 == 0).all()
    assert Bounds(0.5, 3.5, True).outward(np.array([[0.2, 3.2]]), np.array([0.1, 0.9])).tolist() == [[1.0, 3.0]]


def test_a_calibration_comes_back_from_json_and_ends_of_an_interval_are_exact() -> None:
    one = Calibration.of({"calibration": told(latest=[1.0, 2.0, 3.0])}, 2)
    again = Calibration.of({"calibration": json.loads(json.dumps(one.told()))}, 2)
    for mine, theirs in zip(one, again, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert one.told() == told(latest=[1.0, 2.0, 3.0])
    assert ends_of(90) == (0.05, 0.95) and ends_of(97.5) == (0.0125, 0.9875)
