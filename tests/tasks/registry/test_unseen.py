"""The origins on which two versions may be compared, counted by hand."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from models.data.panel import Panel, Split
from models.data.window import FeatureWindow, WindowParams
from tasks.grid.frequency import Frequency
from tasks.lags.panel import write_panel
from tasks.registry.load import Version
from tasks.registry.unseen import common_origins


def version(house: Any, params: WindowParams, unseen_from: int) -> Version:
    """One that has seen what lies before a time; nothing of it is run."""
    facts = house.facts(windows=params, trained_on=house.made(unseen_from=unseen_from))
    return Version("story", "1", "run", "digest", Path("nowhere"), facts)


def test_a_version_without_padding_is_not_judged_on_windows_that_reach_into_the_other_one_s(house: Any, tmp_path: Path) -> None:
    """Eight rows behind three of padding: a window of five that ends on row 6 begins on row 2, which is padding."""
    padded = WindowParams(1, {"y": FeatureWindow(5)}, start_padding=3)
    plain = replace(padded, start_padding=0)
    frame = pl.LazyFrame({"unique_id": ["a"] * 8, "ds": range(8), "y": [float(i) for i in range(8)]})
    panel = Panel.open(write_panel(frame, padded, Frequency(1), 2, tmp_path))
    split = Split("rows", 1, 4)
    assert common_origins(panel, split, 1, [version(house, padded, 0)]).tolist() == [6, 7, 8, 9]
    assert common_origins(panel, split, 1, [version(house, padded, 0), version(house, plain, 0)]).tolist() == [7, 8, 9]
    assert common_origins(panel, split, 1, [version(house, padded, 6), version(house, plain, 0)]).tolist() == [
        8,
        9,
    ]  # row 9 is time 6
