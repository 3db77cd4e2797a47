"""What calibrations share: how many rows are known when, the groups of series, and units that are found once."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.data.panel import Data, Panel, Split
from models.data.window import FeatureWindow, WindowParams
from params.load import load_run
from tasks.calibrate import yardsticks as module
from tasks.calibrate.yardsticks import LATEST, NOW, Yardsticks

Made = Callable[..., Yardsticks]


def test_each_fold_knows_the_rows_before_its_validation_less_gap_and_embargo(tmp_path: Path) -> None:
    y = np.arange(100.0)
    panel = Panel(y, y[:, None], np.array([0, 60, 100]), np.append(np.arange(60), np.arange(40)), ("a", "b"), ("y",), "")
    split, earlier = Split("rows", 10, 10, embargo=1), Split("rows", 10, 20, embargo=1)
    data = Data(panel, WindowParams(2, {"y": FeatureWindow(4)}, gap=3), split, (earlier,))
    run = load_run(Path("params/smoke.yaml"), ["evaluation.stride=5", "evaluation.season=7", "scaling.target=log1p"])
    found = Yardsticks.of(run, data)
    np.testing.assert_array_equal(found.before, [[60 - 30 - 4, 40 - 30 - 4], [60 - 20 - 4, 40 - 20 - 4]])
    np.testing.assert_array_equal(found.now, [60 - 10 - 4, 40 - 10 - 4])
    np.testing.assert_array_equal(found.all_rows, [60, 40])
    assert (found.stride, found.season, found.transform, found.horizon, found.series) == (5, 7, "log1p", 2, 2)
    assert tuple(found.levels) == run.quantile_levels


def test_units_are_found_once_for_each_fold_for_the_test_and_for_the_end(
    yardsticks_of: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    shared = yardsticks_of(rng.normal(size=(3, 200)).cumsum(axis=1), horizon=4)
    shared = replace(shared, before=[np.full(3, 80), np.full(3, 120)], now=np.full(3, 160))
    calls = list[np.ndarray]()
    units_of = module.units_of

    def counted(panel: Panel, stops: np.ndarray, *more: object) -> np.ndarray:
        calls.append(stops)
        return units_of(panel, stops, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "units_of", counted)
    found = shared.units("naive", "none")
    assert found.shape == (4, 4) and len(calls) == 4
    for at, stop in ((0, 80), (1, 120), (NOW, 160), (LATEST, 200)):
        np.testing.assert_array_equal(found[at], units_of(shared.panel, np.full(3, stop), "naive", "none", 1, 4))
    shared.units("naive", "none")
    assert len(calls) == 4


def test_groups_by_size_are_thirds_and_the_last_is_of_all(yardsticks_of: Made) -> None:
    size = np.random.default_rng(1).permutation(60)
    shared = yardsticks_of(np.repeat(size[:, None] * -1.0, 20, axis=1), horizon=2)
    assert shared.groupings() == ["size"]
    np.testing.assert_array_equal(shared.groups("size"), np.append(size // 20, 3))
    np.testing.assert_array_equal(shared.groups(""), np.zeros(61))


def test_groups_by_a_static_column_need_enough_series_each(yardsticks_of: Made) -> None:
    codes = np.array([1] * 15 + [2] * 10)
    shared = yardsticks_of(np.ones((25, 20)), horizon=2, statics=codes)
    assert shared.groupings() == ["region"]
    np.testing.assert_array_equal(shared.groups("region"), np.append(codes - 1, 2))
    few = yardsticks_of(np.ones((24, 20)), horizon=2, statics=codes[:-1])
    assert few.groupings() == []
    alike = yardsticks_of(np.ones((25, 20)), horizon=2, statics=np.ones(25))
    assert alike.groupings() == []
    taken = yardsticks_of(np.ones((25, 20)), horizon=2, statics=codes, column="size")
    assert taken.groupings() == []
