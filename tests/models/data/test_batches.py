"""Our windows against the real TimeseriesGenerator of Keras 3 (torch backend), bit for bit; shuffling differs on purpose."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.data.batches import TimeseriesBatches
from models.data.origins import origin_rows
from models.data.panel import Panel
from models.data.window import WindowParams
from models.data.windows import Windows

Pair = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def keras_generator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Keras's class; it takes seconds to import, and Keras writes a settings file of its own where KERAS_HOME says."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_BACKEND", "torch")
        patch.setenv("KERAS_HOME", str(tmp_path_factory.mktemp("keras")))
        from keras.src.legacy.preprocessing.sequence import TimeseriesGenerator

        yield TimeseriesGenerator


@dataclass(frozen=True)
class Setting:
    """Some data and the arguments of a generator over them."""

    rows: int
    width: int | None
    seed: int
    windows: dict[str, Any]
    reverse: bool
    batch_size: int

    def arrays(self, dtype: str = "float32") -> Pair:
        rng = np.random.default_rng(self.seed)
        shape = (self.rows,) if self.width is None else (self.rows, self.width)
        return (100 * rng.normal(size=shape)).astype(dtype), (100 * rng.normal(size=self.rows)).astype(dtype)

    def theirs(self, generator: Any, dtype: str = "float32") -> list[Pair]:
        found = generator(*self.arrays(dtype), **self.windows, reverse=self.reverse, batch_size=self.batch_size)
        return [found[number] for number in range(len(found))]

    def ours(self) -> list[Pair]:
        """By `from_keras`, `origin_rows` and `Windows.batches`."""
        data, targets = self.arrays()
        names = tuple(f"x{number}" for number in range(self.width or 1))
        params = WindowParams.from_keras(**self.windows, features=names)
        values, times = data.reshape(self.rows, -1), np.arange(self.rows, dtype=np.int64)
        panel = Panel(targets, values, np.array([0, self.rows]), times, ("a",), names, "digest")
        windows = Windows(panel, params, origin_rows(panel, params, None, "", params.stride))
        batches = windows.batches(self.batch_size, reverse=self.reverse)
        one = self.width is None
        return [
            (b.inputs.past_BLF[..., 0].numpy() if one else b.inputs.past_BLF.numpy(), b.y_BH[:, 0].float().numpy())
            for b in batches
        ]

    def ours_in_one_call(self, dtype: str = "float32") -> list[Pair]:
        pairs = TimeseriesBatches(*self.arrays(dtype), **self.windows, reverse=self.reverse, batch_size=self.batch_size)
        return [(x.numpy(), y.numpy()) for x, y in pairs]


@st.composite
def valid_settings(draw: st.DrawFn) -> Setting:
    """Settings in which at least one window fits."""
    length, start_index = draw(st.integers(1, 14)), draw(st.integers(0, 8))
    rows = start_index + length + draw(st.integers(1, 40))
    end_index = draw(st.none() | st.integers(start_index + length, rows - 1))
    windows: dict[str, Any] = {"length": length, "sampling_rate": draw(st.integers(1, 6)), "stride": draw(st.integers(1, 6))}
    windows |= {"start_index": start_index, "end_index": end_index}
    width, batch_size = draw(st.none() | st.integers(1, 4)), draw(st.integers(1, 12))
    return Setting(rows, width, draw(st.integers(0, 999)), windows, draw(st.booleans()), batch_size)


def assert_same(found: list[Pair], expected: list[Pair]) -> None:
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        for mine, other in zip(ours, theirs, strict=True):
            assert (mine.shape, mine.dtype) == (other.shape, other.dtype)
            assert mine.tobytes() == other.tobytes()


@settings(max_examples=400)
@given(setting=valid_settings())
def test_windows_order_and_batches_are_those_of_keras(keras_generator: Any, setting: Setting) -> None:
    expected = setting.theirs(keras_generator)
    assert sum(len(y) for _, y in expected) > 0
    assert_same(setting.ours(), expected)
    assert_same(setting.ours_in_one_call(), expected)


def test_the_cases_that_are_easily_got_wrong(keras_generator: Any) -> None:
    """By hand, on both: a length that is no multiple of the rate, an inclusive end, a small last batch."""
    data = np.arange(20, dtype=np.float32)
    arguments: dict[str, Any] = {"length": 5, "sampling_rate": 2, "stride": 3, "start_index": 1, "end_index": 15}
    generator = keras_generator(data, data, **arguments, batch_size=3)
    theirs = [generator[number] for number in range(len(generator))]
    for pairs in (theirs, [(x.numpy(), y.numpy()) for x, y in TimeseriesBatches(data, data, **arguments, batch_size=3)]):
        assert [y.tolist() for _, y in pairs] == [[6, 9, 12], [15]]
        assert pairs[0][0].tolist() == [[1, 3, 5], [4, 6, 8], [7, 9, 11]]  # length 5, rate 2: the row before the target
        assert pairs[1][0].tolist() == [[10, 12, 14]]
    arguments["length"] = 4  # rows 4 and 2 before the target, not 3 and 1
    assert next(iter(TimeseriesBatches(data, data, **arguments)))[0][0].tolist() == [1, 3]
    assert keras_generator(data, data, **arguments)[0][0][0].tolist() == [1, 3]


@settings(max_examples=100)
@given(
    rows=st.integers(1, 20),
    length=st.integers(1, 12),
    start_index=st.integers(0, 12),
    end_index=st.none() | st.integers(0, 19),
    rate=st.integers(1, 3),
)
def test_what_keras_refuses(
    keras_generator: Any, rows: int, length: int, start_index: int, end_index: int | None, rate: int
) -> None:
    """Where no window fits Keras raises; ours raises in one call, and a panel's iteration is empty (another series may fit)."""
    end_index = None if end_index is None else min(end_index, rows - 1)
    windows = {"length": length, "sampling_rate": rate, "stride": 1, "start_index": start_index, "end_index": end_index}
    setting = Setting(rows, 2, 0, windows, False, 4)
    if start_index + length <= (rows - 1 if end_index is None else end_index):
        assert_same(setting.ours_in_one_call(), setting.theirs(keras_generator))
        return
    with pytest.raises(ValueError, match="start_index"):
        setting.theirs(keras_generator)
    with pytest.raises(ValueError, match=f"no window fits: the first target would be row {start_index + length}"):
        setting.ours_in_one_call()
    assert setting.ours() == []


@pytest.mark.parametrize("dtype", ["float64", "int64", "int16"])
def test_dtypes_stay_as_in_keras(keras_generator: Any, dtype: str) -> None:
    setting = Setting(40, 3, 1, {"length": 7, "sampling_rate": 2}, True, 8)
    assert_same(setting.ours_in_one_call(dtype), setting.theirs(keras_generator, dtype))


def test_steps_and_targets_of_any_shape_and_nan_are_as_in_keras(keras_generator: Any) -> None:
    rng = np.random.default_rng(0)
    data, targets = rng.normal(size=(30, 3, 2)), rng.normal(size=(30, 4))
    data[5, 1], targets[10:12] = np.nan, np.nan
    generator = keras_generator(data, targets, 6, stride=2, batch_size=5)
    pairs = [(x.numpy(), y.numpy()) for x, y in TimeseriesBatches(data, targets, 6, stride=2, batch_size=5)]
    assert pairs[0][0].shape == (5, 6, 3, 2)
    assert_same(pairs, [generator[number] for number in range(len(generator))])


@pytest.mark.parametrize("rate", [1, 3])
def test_shuffled_windows_come_once_each_by_the_seed(rate: int) -> None:
    data = np.arange(500, dtype=np.float32)

    def order(seed: int | None) -> list[float]:
        found = []
        shuffle: dict[str, Any] = {} if seed is None else {"shuffle": True, "seed": seed}
        for x, y in TimeseriesBatches(data, data, 7, rate, batch_size=64, **shuffle):
            assert torch.equal(x, y[:, None] - 7 + rate * torch.arange(x.shape[1]))  # each window with its own target
            found += y.tolist()
        return found

    assert order(None) == list(range(7, 500))
    assert sorted(order(1)) == list(range(7, 500))
    assert order(1) == order(1)
    assert order(1) != order(2) != order(None) != order(1)


@pytest.mark.parametrize(
    ("told", "changed"),
    [
        ("one row per step", {"targets": np.zeros(9)}),
        ("one row per step", {"data": np.float32(1)}),
        ("end_index", {"end_index": 10}),
        ("end_index", {"end_index": -1}),
        ("start_index", {"start_index": -1}),
        ("batch_size", {"batch_size": 0}),
        ("length", {"length": 0}),
        ("sampling_rate", {"sampling_rate": 1.5}),
        ("stride", {"stride": 0}),
    ],
)
def test_arguments_out_of_range_are_refused_at_the_call(told: str, changed: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=told):
        TimeseriesBatches(**{"data": np.zeros(10), "targets": np.zeros(10), "length": 3, **changed})
