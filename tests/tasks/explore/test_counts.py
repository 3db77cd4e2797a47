"""Columns that count the rows are left out by init, whatever they are called; a time that counts is a time."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from tasks.explore.asked import Asked
from tasks.explore.look import Found, look_at

pytestmark = pytest.mark.slow

SERIES, ROWS = 3, 80
NOISE = np.random.default_rng(3).normal(size=SERIES * ROWS)


def table(ids: bool = True) -> pl.DataFrame:
    """A table of three series (or one) with a target and a feature, series after series."""
    frames = []
    for k in range(SERIES if ids else 1):
        times = [datetime(2024, 1, 1) + timedelta(days=i) for i in range(ROWS)]
        noise = NOISE[k * ROWS : (k + 1) * ROWS]
        frames.append(pl.DataFrame({"shop": [f"s{k}"] * ROWS, "day": times, "sales": 50 + 9 * noise, "temp": noise[::-1]}))
    found = pl.concat(frames)
    return found if ids else found.drop("shop")


def look(path: Path, **asked: Any) -> Found:
    return look_at(str(path), path.parent / "run.yaml", False, Asked(**asked))


def numbered(frame: pl.DataFrame, name: str, numbers: Any) -> pl.DataFrame:
    return frame.with_columns(pl.Series(name, numbers, dtype=pl.Int64))


COUNTS = {
    "instant": list(range(1, SERIES * ROWS + 1)),
    "index": list(range(SERIES * ROWS)),
    "anything": [(7 * i) % (SERIES * ROWS) for i in range(SERIES * ROWS)],  # shuffled
    "time_idx": [i for _ in range(SERIES) for i in range(ROWS)],  # of each series
    "day_number": [i + 1 for _ in range(SERIES) for i in range(ROWS)],
    "Unnamed: 0.1": [2 * i for i in range(SERIES * ROWS)],  # rows were taken out since
    "rownames": [2 * i for i in range(SERIES * ROWS)],
    "__index_level_0__": [5 * i for i in range(SERIES * ROWS)],
    "": list(range(SERIES * ROWS)),
}


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_row_numbers_are_no_features_and_no_ids(tmp_path: Path, name: str, ending: str) -> None:
    frame = numbered(table(), name, COUNTS[name]).select(name, "day", "shop", "temp", "sales")
    file = tmp_path / f"x.{ending}"
    frame.write_csv(file) if ending == "csv" else frame.write_parquet(file)
    found = look(file)
    assert found.counted == (name,)
    assert (found.draft.roles.ids, found.draft.roles.target, found.draft.features) == (("shop",), "sales", ("temp",))
    assert "row numbers, not used" in found.text


def test_numbers_of_each_file_and_an_index_of_pandas(tmp_path: Path) -> None:
    frame = table().to_pandas()
    for k in range(SERIES):
        frame[frame.shop == f"s{k}"].reset_index().rename(columns={"index": "no"}).assign(no=range(ROWS)).to_csv(
            tmp_path / f"{k}.csv"
        )
    assert set(look(tmp_path).counted) == {"", "no"}
    shuffled = frame.sample(frac=0.9, random_state=1)
    shuffled.to_parquet(tmp_path / "one.parquet")
    assert look(tmp_path / "one.parquet").counted == ("__index_level_0__",)


def test_a_time_that_counts_or_stands_in_an_unnamed_column_is_a_time(tmp_path: Path) -> None:
    frame = table(ids=False)
    numbered(frame.drop("day"), "step", list(range(ROWS))).write_csv(tmp_path / "step.csv")
    found = look(tmp_path / "step.csv")
    assert (found.draft.roles.times, found.counted) == (("step",), ())
    frame.to_pandas().set_index("day")[["sales"]].rename_axis(None).to_csv(tmp_path / "unnamed.csv")
    assert pd.read_csv(tmp_path / "unnamed.csv").columns[0] == "Unnamed: 0"
    found = look(tmp_path / "unnamed.csv")
    assert (found.draft.roles.times, found.draft.roles.target, found.counted) == (("",), "sales", ())


def test_what_else_counts_stays(tmp_path: Path) -> None:
    frame = table(ids=False)
    line = numbered(frame.drop("sales", "temp"), "y", list(range(ROWS)))
    line.write_csv(tmp_path / "line.csv")
    assert (look(tmp_path / "line.csv").draft.roles.target, look(tmp_path / "line.csv").counted) == ("y", ())
    meter = numbered(frame, "meter", list(np.cumsum(range(ROWS))))
    meter.write_csv(tmp_path / "meter.csv")
    assert "meter" in look(tmp_path / "meter.csv").draft.features
    numbered(frame, "rank", list(range(ROWS))).write_csv(tmp_path / "asked.csv")
    assert look(tmp_path / "asked.csv", target="rank").counted == ()
