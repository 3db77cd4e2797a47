"""The memory that is predicted is the memory that is taken: bytes on disk and on the device, windows by series and split."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from models.data.origins import origin_rows
from models.data.panel import Data, Panel, Split
from models.data.window import FeatureWindow, WindowParams
from models.data.windows import Windows
from params.errors import UserError
from tasks.grid.frequency import Frequency
from tasks.lags import panel as panels
from tasks.lags.panel import write_panel
from tasks.lags.sizes import budget, counts_lines, panel_bytes, size_text, window_counts

PARAMS = WindowParams(
    3, {"y": FeatureWindow(6), "x": FeatureWindow(4)}, 1, 2, ("hour",), ("z",), {"unique_id": "categorical"}
)  # fmt: skip
SPLIT = Split("rows", 20, 20)


def frame() -> pl.LazyFrame:
    ds = (
        pl.Series([datetime(2024, 1, 1) + timedelta(hours=i) for i in range(90)])
        .cast(pl.Datetime("us"))
        .dt.replace_time_zone("UTC")
    )
    parts = [
        pl.DataFrame({"unique_id": [name] * n, "ds": ds[:n], "y": np.arange(float(n))}) for name, n in (("a", 90), ("b", 60))
    ]
    return pl.concat(parts).with_columns(x=pl.col("y") * 2, z=pl.col("y") + 1).lazy()


def test_the_bytes_are_those_of_the_files_and_of_the_tensors(tmp_path: Path) -> None:
    folder = write_panel(frame(), PARAMS, Frequency("1h"), 0, tmp_path)
    panel = Panel.open(folder)
    found = budget(window_counts(Data(panel, PARAMS, SPLIT), 1), PARAMS, 16)
    files = sum((folder / f"{name}.npy").stat().st_size - 128 for name in ("target", "values", "times"))
    assert found.disk_bytes == panel_bytes(150, PARAMS) == files
    windows = {n: Windows(panel, PARAMS, origin_rows(panel, PARAMS, SPLIT, n, 2 if n == "train" else 1)) for n in found.windows}
    assert found.windows == {name: len(own) for name, own in windows.items()}
    origins = sum(own.origins.nbytes for own in windows.values()) + windows["train"].shuffled(0).nbytes
    assert found.device_bytes == panel.target.nbytes + panel.values.nbytes + origins
    inputs, y = windows["train"].batch(torch.arange(16))
    assert found.batch_bytes == sum(part.nbytes for part in (inputs.past_BLF, inputs.ahead_BAK, inputs.static_BC, y))
    for text in ("150 rows x 5 channels", "windows: train "):
        assert text in found.line()


def test_windows_are_counted_by_series_and_split(tmp_path: Path) -> None:
    panel = Panel.open(write_panel(frame(), PARAMS, Frequency("1h"), 0, tmp_path))
    counts = window_counts(Data(panel, PARAMS, SPLIT), 1)
    # a: 50 training rows, reach 5, ahead 4: origins 5, 7 .. 45; validation and test: the first target is the first row
    assert counts.rows() == [("a", 90, 21, 18, 18), ("b", 60, 6, 18, 18)]


def test_a_disk_too_small_is_told_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    used = panels.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(panels.shutil, "disk_usage", lambda _: used._replace(free=1000))
    with pytest.raises(UserError, match=r"the panel takes 5.4 kB and 1 kB are free at .*LAGLINE_HOME"):
        write_panel(frame(), PARAMS, Frequency("1h"), 0, tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_table_of_windows_names_the_first_series_and_sums_up_all() -> None:
    names = {"unique_id": ["a", "long name", "c"], "rows": [1000, 5, 7], "train": [900, 1, 2]}
    counts = pl.DataFrame(names).with_columns(validation=1, test=1)
    assert counts_lines(counts, most=2) == [
        "windows of     rows  train  validation  test",
        "a             1,000    900           1     1",
        "long name         5      1           1     1",
        "... and 1 more (windows.csv of the run)",
        "all 3 series  1,012    903           3     3",
    ]
    assert len(counts_lines(counts.head(1))) == 2


def test_a_split_without_a_window_is_refused(tmp_path: Path) -> None:
    holed = frame().with_columns(x=pl.when(pl.int_range(pl.len()) % 3 != 0).then(pl.col("x")))
    params = replace(PARAMS, max_missing_share=0.05)
    panel = Panel.open(write_panel(holed, params, Frequency("1h"), 0, tmp_path))
    with pytest.raises(UserError, match=r"the train split has no window .* at most 5% .*windows\.max_missing_share"):
        budget(window_counts(Data(panel, params, SPLIT), 1), params, 16)


def test_sizes_read_well() -> None:
    assert [size_text(n) for n in (0, 999, 1000, 12_345, 999_000_000, 3 * 10**9, 7 * 10**15)] == [
        "0 bytes", "999 bytes", "1 kB", "12.3 kB", "999 MB", "3 GB", "7e+03 TB",
    ]  # fmt: skip
