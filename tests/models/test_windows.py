"""Windows against a brute-force loop over rows; borders of series and splits; a missing target."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.windows import FeatureWindow, Panel, Split, WindowParams, Windows, origin_rows


def make_panel(sizes: list[int], names: list[str], seed: int = 0) -> Panel:
    """A panel of random values with times 0, 1, 2 ... in each series; channel `target` first."""
    rows = sum(sizes)
    values = np.random.default_rng(seed).normal(size=(rows, 1 + len(names))).astype(np.float32)
    times = np.concatenate([np.arange(n) for n in sizes]).astype(np.int64)
    offsets = np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
    ids = tuple(f"s{i}" for i in range(len(sizes)))
    return Panel(values, offsets, times, ids, ("target", *names), "digest")


window = st.builds(FeatureWindow, st.integers(1, 6), st.integers(1, 3), st.integers(0, 3))


@settings(max_examples=150)
@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=4),
    features=st.lists(window, min_size=1, max_size=4),
    horizon=st.integers(1, 4),
    gap=st.integers(0, 3),
    stride=st.integers(1, 4),
)
def test_every_window_equals_a_loop_over_rows(
    sizes: list[int], features: list[FeatureWindow], horizon: int, gap: int, stride: int
) -> None:
    names = [f"f{i}" for i in range(len(features))]
    panel = make_panel(sizes, names)
    params = WindowParams(horizon, dict(zip(names, features, strict=True)), gap, stride)
    reach = max(f.delay + f.sampling_rate * (f.lookback - 1) for f in features)
    longest = max(f.lookback for f in features)
    expected = []
    start = 0
    for number, size in enumerate(sizes):
        for t in range(reach, size - gap - horizon, stride):
            past = np.full((longest, len(features)), np.nan, np.float32)
            for column, f in enumerate(features):
                for j in range(f.lookback):
                    row = start + t - f.delay - f.sampling_rate * (f.lookback - 1 - j)
                    past[longest - f.lookback + j, column] = panel.values[row, 1 + column]
            y = panel.values[start + t + gap + 1 : start + t + gap + horizon + 1, 0]
            expected.append((past, y, number))
        start += size
    windows = Windows(panel, params, origin_rows(panel, params, None, "", stride))
    assert len(windows) == len(expected) == sum(max(0, -(-(n - reach - gap - horizon) // stride)) for n in sizes)
    if expected:
        past, y, series = windows.batch(torch.arange(len(windows)))
        np.testing.assert_array_equal(past.numpy(), np.stack([e[0] for e in expected]))
        np.testing.assert_array_equal(y.numpy(), np.stack([e[1] for e in expected]))
        assert series.tolist() == [e[2] for e in expected]


@pytest.mark.parametrize("embargo", [0, 2])
@pytest.mark.parametrize("gap", [0, 3])
def test_no_target_crosses_a_split(embargo: int, gap: int) -> None:
    panel = make_panel([100, 80], ["y"])
    params = WindowParams(5, {"y": FeatureWindow(4)}, gap)
    split = Split("time", 40, 60, embargo)
    for name, low, high in (("train", 0, 40 - embargo), ("validation", 40, 60 - embargo), ("test", 60, 100)):
        windows = Windows(panel, params, origin_rows(panel, params, split, name, 1))
        for i in range(len(windows)):
            where = windows.where(i)
            end = min(high, 100 if where["unique_id"] == "s0" else 80)
            assert low <= where["ds"][0] and where["ds"][-1] < end
            assert where["ds"][0] == where["cutoff"] + gap + 1
        cutoffs = [windows.where(i)["cutoff"] for i in range(len(windows))]
        before = 4 + gap if low == 0 else 0  # the rows that the first window of a series needs before its first target
        assert len(windows) == sum(max(0, min(high, size) - low - before - (5 - 1)) for size in (100, 80))
        assert name == "train" or min(cutoffs) == low - 1 - gap


def test_row_counts_split_each_series_at_its_own_end() -> None:
    split = Split("rows", 10, 5)
    assert split.target_rows(np.arange(50), "test") == (45, 50)
    assert split.target_rows(np.arange(50), "validation") == (35, 45)
    assert split.target_rows(np.arange(20), "train") == (0, 5)


def test_evaluation_origins_share_their_cutoffs_across_series() -> None:
    panel = make_panel([200, 200], ["y"])
    params = WindowParams(6, {"y": FeatureWindow(30)})
    rows = origin_rows(panel, params, Split("time", 100, 150), "test", 6)
    assert rows[rows < 200].tolist() == [149, 155, 161, 167, 173, 179, 185, 191]
    assert (rows[rows >= 200] - 200).tolist() == rows[rows < 200].tolist()


def test_a_window_without_an_observed_target_is_left_out() -> None:
    panel = make_panel([30], ["y"])
    panel.values[10:13, 0] = np.nan
    params = WindowParams(3, {"y": FeatureWindow(2)})
    assert 9 not in origin_rows(panel, params, None, "", 1)
    assert {8, 10} <= set(origin_rows(panel, params, None, "", 1).tolist())


@pytest.mark.parametrize("bad", [0, -1, 1.5, True, "3"])
def test_numbers_out_of_range_are_refused(bad: object) -> None:
    with pytest.raises(ValueError, match="lookback"):
        FeatureWindow(bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="horizon"):
        WindowParams(bad, {"y": FeatureWindow(1)})  # type: ignore[arg-type]


def test_params_survive_json() -> None:
    params = WindowParams(3, {"y": FeatureWindow(4, 2, 1), "x": FeatureWindow(2)}, 1, 2, ("hour",))
    again = WindowParams.from_dict(params.to_dict())
    assert again == params
    assert list(again.channels) == ["y", "x", "hour_sin", "hour_cos"]
    with pytest.raises(ValueError, match="feature"):
        params.without(["y", "x"])
