"""data/windows.py, window.py, origins.py, panel.py, gather.py against a loop over rows; borders of series and splits."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import models.data.origins
from models.data.origins import origin_rows
from models.data.panel import Panel, Split
from models.data.window import FeatureWindow, WindowParams
from models.data.windows import Windows


def make_panel(sizes: list[int], params: WindowParams, seed: int = 0) -> Panel:
    """A panel of random values, a tenth of them missing, with times 0, 1, 2 ... in each series; two numbers a series."""
    rng, rows = np.random.default_rng(seed), sum(sizes)
    target = rng.normal(size=rows).astype(np.float32)
    values = rng.normal(size=(rows, len(params.panel_channels))).astype(np.float32)
    values[rng.random(values.shape) < 0.1] = np.nan
    times = np.concatenate([np.arange(n) for n in sizes]).astype(np.int64)
    offsets = np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
    ids = tuple(f"s{i}" for i in range(len(sizes)))
    static = rng.normal(size=(len(sizes), len(params.static))).astype(np.float32)
    return Panel(target, values, offsets, times, ids, params.panel_channels, "digest", static=static)


def params_of(windows: list[FeatureWindow], horizon: int = 1, **others: Any) -> WindowParams:
    """Features f0, f1 ..."""
    return WindowParams(horizon, {f"f{i}": window for i, window in enumerate(windows)}, **others)


def expected_of(panel: Panel, params: WindowParams, stride: int) -> list[tuple[np.ndarray, np.ndarray, np.ndarray, int]]:
    """Past, ahead, targets and series of every window, by a loop over rows and samples."""
    found = []
    features = list(params.features.values())
    longest = max(f.lookback for f in features)
    first_longest = next(f for f in features if f.lookback == longest)
    channels = [*features, *(FeatureWindow(longest, first_longest.sampling_rate) for _ in range(2 * len(params.calendar)))]
    reach = max(f.delay + f.sampling_rate * (f.lookback - 1) for f in features)
    known = 2 * len(params.calendar) + len(params.future)
    for number in range(len(panel.ids)):
        start, end = int(panel.offsets[number]), int(panel.offsets[number + 1])
        for t in range(start + reach, end - params.gap - params.horizon, stride):
            past = np.full((longest, len(channels)), np.nan, np.float32)
            for column, f in enumerate(channels):
                for j in range(f.lookback):
                    past[longest - f.lookback + j, column] = panel.values[
                        t - f.delay - f.sampling_rate * (f.lookback - 1 - j), column
                    ]
            ahead = np.empty((params.gap + params.horizon, known), np.float32)
            for k in range(params.gap + params.horizon):
                for column in range(known):
                    ahead[k, column] = panel.values[t + 1 + k, len(features) + column]
            y = np.array([panel.target[t + params.gap + k] for k in range(1, params.horizon + 1)])
            found.append((past, ahead, y, number))
    return found


window = st.builds(FeatureWindow, st.integers(1, 6), st.integers(1, 3), st.integers(0, 3))


@settings(max_examples=300)
@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=4),
    features=st.lists(window, min_size=1, max_size=4),
    horizon=st.integers(1, 4),
    gap=st.integers(0, 3),
    stride=st.integers(1, 4),
    calendar=st.sampled_from([(), ("hour",), ("hour", "month")]),
    future=st.sampled_from([(), ("promo",), ("promo", "f0")]),
    seed=st.integers(0, 9),
)
def test_every_window_equals_a_loop_over_rows(
    sizes: list[int], features: list[FeatureWindow], horizon: int, gap: int, stride: int, calendar: Any, future: Any, seed: int
) -> None:
    statics: Any = {"area": "numeric", "kind": "categorical"} if seed % 2 else {}
    params = params_of(features, horizon, gap=gap, stride=stride, calendar=calendar, future=future, static=statics)
    panel = make_panel(sizes, params, seed)
    expected = expected_of(panel, params, stride)
    windows = Windows(panel, params, origin_rows(panel, params, None, "", stride))
    reach = params.reach
    assert len(windows) == len(expected) == sum(max(0, -(-(n - reach - gap - horizon) // stride)) for n in sizes)
    if expected:
        (past, ahead, static, series, *_), y = windows.batch(torch.arange(len(windows)))
        np.testing.assert_array_equal(past.numpy(), np.stack([e[0] for e in expected]))
        np.testing.assert_array_equal(ahead.numpy(), np.stack([e[1] for e in expected]))
        np.testing.assert_array_equal(y.numpy(), np.stack([e[2] for e in expected]))
        assert series.tolist() == [e[3] for e in expected]
        np.testing.assert_array_equal(static.numpy(), panel.static[[e[3] for e in expected]])


@settings(max_examples=100)
@given(
    features=st.lists(window, min_size=1, max_size=3),
    size=st.integers(1, 40),
    share=st.floats(0, 1),
    seed=st.integers(0, 99),
)
def test_windows_with_too_many_missing_samples_are_left_out(
    features: list[FeatureWindow], size: int, share: float, seed: int
) -> None:
    params = params_of(features)
    panel = make_panel([size, 7], params, seed)
    expected = []
    for number in (0, 1):
        start, end = int(panel.offsets[number]), int(panel.offsets[number + 1])
        for t in range(start + params.reach, end - 1):
            cells = [
                np.isnan(panel.values[t - f.delay - f.sampling_rate * j, c])
                for c, f in enumerate(features)
                for j in range(f.lookback)
            ]
            if sum(cells) / len(cells) <= share:
                expected.append(t)
    assert origin_rows(panel, replace(params, max_missing_share=share), None, "", 1).tolist() == expected


@settings(max_examples=100)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=5),
    features=st.lists(window, min_size=1, max_size=3),
    stride=st.integers(1, 9),
    piece=st.integers(1, 60),
    seed=st.integers(0, 9),
)
def test_origins_do_not_depend_on_how_many_rows_are_looked_at_together(
    sizes: list[int], features: list[FeatureWindow], stride: int, piece: int, seed: int
) -> None:
    params = params_of(features, 2, max_missing_share=0.3)
    panel = make_panel(sizes, params, seed)
    panel.target[:: seed + 2] = np.nan
    whole = origin_rows(panel, params, None, "", stride)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models.data.origins, "CHUNK", piece)
        np.testing.assert_array_equal(origin_rows(panel, params, None, "", stride), whole)


@pytest.mark.parametrize("embargo", [0, 2])
@pytest.mark.parametrize("gap", [0, 3])
def test_no_target_crosses_a_split(embargo: int, gap: int) -> None:
    params = WindowParams(5, {"y": FeatureWindow(4)}, gap)
    panel = make_panel([100, 80], params)
    split = Split("time", 40, 60, embargo)
    for name, low, high in (("train", 0, 40 - embargo), ("validation", 40, 60 - embargo), ("test", 60, 100)):
        windows = Windows(panel, params, origin_rows(panel, params, split, name, 1))
        for i in range(len(windows)):
            where = windows.where(i)
            end = min(high, 100 if where.unique_id == "s0" else 80)
            assert low <= where.ds[0] and where.ds[-1] < end
            assert where.ds[0] == where.cutoff + gap + 1
        cutoffs = [windows.where(i).cutoff for i in range(len(windows))]
        before = 4 + gap if low == 0 else 0  # the rows that the first window of a series needs before its first target
        assert len(windows) == sum(max(0, min(high, size) - low - before - (5 - 1)) for size in (100, 80))
        assert name == "train" or min(cutoffs) == low - 1 - gap


def test_row_counts_split_each_series_at_its_own_end() -> None:
    split = Split("rows", 10, 5)
    assert split.target_rows(np.arange(50), "test") == (45, 50)
    assert split.target_rows(np.arange(50), "validation") == (35, 45)
    assert split.target_rows(np.arange(20), "train") == (0, 5)


def test_evaluation_origins_share_their_cutoffs_across_series() -> None:
    params = WindowParams(6, {"y": FeatureWindow(30)})
    panel = make_panel([200, 200], params)
    rows = origin_rows(panel, params, Split("time", 100, 150), "test", 6)
    assert rows[rows < 200].tolist() == [149, 155, 161, 167, 173, 179, 185, 191]
    assert (rows[rows >= 200] - 200).tolist() == rows[rows < 200].tolist()


def test_a_window_without_an_observed_target_is_left_out() -> None:
    params = WindowParams(3, {"y": FeatureWindow(2)})
    panel = make_panel([30], params)
    panel.target[10:13] = np.nan
    assert 9 not in origin_rows(panel, params, None, "", 1)
    assert {8, 10} <= set(origin_rows(panel, params, None, "", 1).tolist())


@pytest.mark.parametrize("bad", [0, -1, 1.5, True, "3"])
def test_numbers_out_of_range_are_refused(bad: object) -> None:
    with pytest.raises(ValueError, match="lookback"):
        FeatureWindow(bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="horizon"):
        WindowParams(bad, {"y": FeatureWindow(1)})  # type: ignore[arg-type]


def test_params_survive_json() -> None:
    features = {"y": FeatureWindow(4, 2, 1), "x": FeatureWindow(2)}
    params = WindowParams(3, features, 1, 2, ("hour",), ("x",), {"kind": "categorical"}, 0.5, 2, 40)
    again = WindowParams.from_dict(params.to_dict())
    assert again == params
    assert list(again.channels) == ["y", "x", "hour_sin", "hour_cos"]
    assert again.panel_channels == ("y", "x", "hour_sin", "hour_cos", "x (ahead)")
    with pytest.raises(ValueError, match="feature"):
        params.without(["y", "x"])


def test_windows_at_other_origins_share_the_panel() -> None:
    params = params_of([FeatureWindow(3), FeatureWindow(2, 2)], 2)
    panel = make_panel([40, 30], params)
    rows = origin_rows(panel, params, None, "", 1)
    first = Windows(panel, params, rows[:5])
    other = first.at(rows[20:27])
    alone = Windows(panel, params, rows[20:27])
    assert len(first) == 5 and len(other) == 7
    for ours, wanted in zip(other.batch(torch.arange(7)).inputs, alone.batch(torch.arange(7)).inputs, strict=True):
        torch.testing.assert_close(ours, wanted, rtol=0, atol=0, equal_nan=True)
    assert other._past is first._past and other._targets is first._targets


def test_padding_shrinks_with_the_longest_feature_where_that_is_dropped() -> None:
    params = WindowParams(1, {"y": FeatureWindow(5), "x": FeatureWindow(20)}, start_padding=19)
    assert (params.behind, params.without(["x"]).start_padding, params.without(["x"]).behind) == (0, 4, 0)
    assert params.without([]) == params
