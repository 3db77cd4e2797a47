"""models/serving.py reads times in every form that tables are read in, against the reader of tables on the same cases."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

from models import serving
from tasks.grid.times import parse_time

CASES = [
    *("1990-01", "1990/1", "2000Q1", "2000-Q3", "2000 q4", "2021-W05", "2021W053", "2022-01-01T05", "2022-01-01 05", "202001"),
    *("2020-1-5 3:00", "2020-1-5", "2020.01.05", "2020/1/5 13:30", "20200131", "20200131T180000", "20200131 1800", "1990M02"),
    *(
        "2020-01-31T18:00:00,5",
        "2020-01-05 24:00",
        "2020-1-5 12:30 am",
        "2020-01-05 3:30 PM",
        "2020-1-5 3:00+01:00",
        "2020-W53-7",
    ),
    *("2020-01-31", "2020-01-31T18:00:05Z", "2020-01-31 18:00:05.25-05:30", "20200131T180000-0530"),
    *(
        "2020",
        "2021-W53",
        "20201301",
        "16000101",
        "2020-01 05",
        "2020/1-5",
        "2020-13",
        "31/01/2020",
        "2020-01-05 13:00 PM",
        "1990.1",
    ),
]


@pytest.mark.parametrize("text", CASES)
def test_a_text_is_the_time_that_it_is_in_a_table_or_none_in_both(text: str) -> None:
    expected = pl.Series("t", [text]).to_frame().select(parse_time(pl.col("t"))).item()
    grid, ids = serving._Grid("1h"), np.array(["a"], object)
    if expected is None:
        with pytest.raises(ValueError, match="is not a time"):
            serving._times(pd.Series([text]), ids, grid)
        return
    (found,) = serving._times(pd.Series([text]), ids, grid)
    assert pd.Timestamp(int(found), unit="us", tz="UTC") == expected


def test_numbers_and_formats_of_the_runs_own_table() -> None:
    ids, day = np.array(["a", "a"], object), serving._Grid("1d")
    first = 1_580_428_800_000_000
    assert serving._times(pd.Series([20200131, 20200201]), ids, day).tolist() == [first, first + 86_400_000_000]
    assert serving._times(pd.Series([2020, 2021]), ids, serving._Grid("1y"))[0] == 1_577_836_800_000_000
    seconds = pd.Series([1_580_428_800, 1_580_515_200])
    assert serving._times(seconds, ids, day, {"time_unit": "s"}).tolist() == [first, first + 86_400_000_000]
    texts = pd.Series(["31/01/2020", "1/2/2020"])
    assert serving._times(texts, ids, day, {"time_format": "%d/%m/%Y"}).tolist() == [first, first + 86_400_000_000]
    for wrong in ([20200131, 20200132], [1, 2], [1_580_428_800, 1_580_515_200]):
        with pytest.raises(ValueError, match="is not a time"):
            serving._times(pd.Series(wrong), ids, day)
