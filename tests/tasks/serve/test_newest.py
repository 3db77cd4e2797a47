"""tasks/serve/newest.py: the rows that are kept give the forecasts and the refusals of the whole table."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from params.errors import UserError
from params.load import load_run
from tasks.registry.facts import Fallback
from tasks.registry.load import Version
from tasks.serve import forecast as room
from tasks.serve import newest as own
from tasks.serve.forecast import Asked, Forecasts, forecast
from tasks.serve.newest import Newest

pytestmark = pytest.mark.filterwarnings("ignore:Series.values returning an ndarray")  # polars, of a frame of pandas
RUN = ("data.id=series", "data.time=hour", "data.target=temp", "windows.features={y: {lookback: 12}, x: {lookback: 4}}")
ASKED: dict[str, dict[str, Any]] = {
    "the next": {},
    "levels": {"levels": (80, 90), "quantiles": (0.1,)},
    "from": {"start": "2024-01-05 03:00", "stride": 7},
    "from every row": {"start": "2024-01-07"},
    "strict": {"strict": True},
}
Way = Callable[..., tuple[Forecasts, Newest]]


@pytest.fixture(scope="module")
def version(house: Any, tmp_path_factory: pytest.TempPathFactory) -> Version:
    """A network that reads 12 rows, with Theta and the last value to fall back on."""
    folder, trained = tmp_path_factory.mktemp("bundle") / "bundle", house.made(run=load_run("params/nyc_weather.yaml", RUN))
    theta = Fallback(name="theta", arguments={"season": 4, "rows": 500}, calibrated=house.calibrated([1.0, 2.0, 3.0, 4.0]))
    last = Fallback(name="last_value", arguments={"season": 4}, calibrated=house.calibrated([0.25] * 4))
    facts = {"trained_on": trained, "fallbacks": (theta, last)}
    return Version("own", "1", "", house.write(folder, house.build(), **facts), folder, house.facts(**facts))


@pytest.fixture
def made(version: Version, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Way:
    """`made(table, whole=False, **asked)`: the forecasts, and what was kept of the table for them."""
    plainly = own.newest

    def call(table: pl.DataFrame, whole: bool = False, **asked: Any) -> tuple[Forecasts, Newest]:
        kept: list[Newest] = []

        def spied(model: Any, frame: pl.LazyFrame, *rest: Any) -> Newest:
            kept.append(Newest(frame.collect(), False) if whole else plainly(model, frame, *rest))
            return kept[0]

        monkeypatch.setattr(room, "newest", spied)
        monkeypatch.setattr(own, "CHUNK", 37)  # no series within one chunk
        table.write_parquet(tmp_path / "x.parquet", row_group_size=101)
        return forecast(version, tmp_path / "x.parquet", Asked(**asked)), kept[0]

    return call


@pytest.fixture
def odd(house: Any) -> pl.DataFrame:
    """Both series in no order, rows missing within and targets missing at the end; one that is new, one too short, one without
    any target, one whose rows lie far apart."""
    table = house.history.rename({"unique_id": "series", "ds": "hour", "y": "temp"})
    jfk, lga = table.filter(series="JFK"), table.filter(series="LGA")
    late = pl.when(pl.int_range(pl.len()) < pl.len() - 3).then("temp").alias("temp")
    others = {"new": lga, "tiny": lga.tail(5), "blank": lga.with_columns(temp=pl.lit(None, pl.Float64))}
    others["apart"] = pl.concat([lga.head(2), lga.tail(3)])
    parts = [jfk.with_columns(late), lga, *(one.with_columns(series=pl.lit(name)) for name, one in others.items())]
    return pl.concat(parts).sample(fraction=1.0, shuffle=True, seed=3)


@pytest.mark.parametrize("case", ASKED)
def test_forecasts_are_those_of_the_whole_table(case: str, made: Way, odd: pl.DataFrame, house: Any) -> None:
    asked = ASKED[case]
    plain = house.history.rename({"unique_id": "series", "ds": "hour", "y": "temp"})
    for table in (odd, plain):
        found, kept = made(table, **asked)
        whole, all_rows = made(table, whole=True, **asked)
        assert found.made.equals(whole.made) and found.notes == whole.notes
        assert len(all_rows.rows) == len(table)
        known = kept.rows.filter(unique_id="LGA").height
        assert known < len(plain) / 8 if "start" not in asked else known < len(plain) / 2
        assert kept.clean is (table is plain)
    assert odd.filter(series="new").height == made(odd, **asked)[1].rows.filter(unique_id="new").height


def spoilt(table: pl.DataFrame, row: int, **cells: Any) -> pl.DataFrame:
    at = pl.int_range(pl.len()) == row
    return table.with_columns(
        pl.when(at).then(pl.lit(value)).otherwise(pl.col(name)).alias(name) for name, value in cells.items()
    )


AMISS: dict[str, Callable[[pl.DataFrame], pl.DataFrame]] = {
    "a row twice": lambda table: pl.concat([table, table[40:41]]),
    "a row off the grid": lambda table: table.with_columns(
        pl.when(pl.int_range(pl.len()) == 50).then(pl.col("hour").dt.offset_by("17m")).otherwise("hour").alias("hour")
    ),
    "an infinite number": lambda table: spoilt(spoilt(table, 20, temp=np.inf), 10, x=np.inf),
    "a number too large": lambda table: spoilt(table, 20, x=-1e31),
    "a row without a series": lambda table: spoilt(table, 20, series=None),
}


@pytest.mark.parametrize("case", AMISS)
def test_what_is_amiss_anywhere_is_refused_in_the_same_words(case: str, made: Way, odd: pl.DataFrame, house: Any) -> None:
    for table in (odd, house.history.rename({"unique_id": "series", "ds": "hour", "y": "temp"})):
        bad = AMISS[case](table)
        told = []
        for whole in (True, False):
            with pytest.raises(UserError) as refused:
                made(bad, whole=whole)
            told.append(str(refused.value))
        assert told[0] == told[1]


def test_parts_have_the_batches_of_the_whole(version: Version, house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 25 series in parts of 4 forecasts: every part but the last has 4 of the version's own, whatever stands between."""
    monkeypatch.setattr(room, "BATCH", 4)
    monkeypatch.setattr(room, "ROWS", 1)
    lga = house.history.filter(unique_id="LGA").tail(20)
    short = {3, 4, 11, 24}
    rows = [lga.tail(6 if n in short else 20).with_columns(unique_id=pl.lit(f"s{n:02}")) for n in range(25)]
    frame = pl.concat(rows[::-1])
    parts = list(room._some_series(version, frame))
    names = [sorted(set(part["unique_id"])) for part in parts]
    assert [name for part in names for name in part] == [f"s{n:02}" for n in range(25)]
    own_ones = [len([name for name in part if int(name[1:]) not in short]) for part in names]
    assert own_ones[:-1] == [4] * (len(own_ones) - 1) and 4 <= own_ones[-1] < 8
    whole, notes = room.forecast_frame(version, frame)
    found, told = room.forecast_frame(version, frame, clean=True)
    assert found.equals(whole) and told == notes
