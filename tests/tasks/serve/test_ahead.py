"""What is known ahead as a table of its own: the same forecasts as with its rows in the table, and clear refusals."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from models.data.window import WindowParams
from params.errors import UserError
from params.load import load_run
from tasks.registry.load import Version
from tasks.serve.ahead import open_ahead, with_ahead
from tasks.serve.forecast import Asked, forecast, read, table_of

pytestmark = pytest.mark.filterwarnings("ignore:Series.values returning an ndarray")  # polars, of a frame of pandas
RUN = ("data.id=series", "data.time=hour", "data.target=temp", "windows.features={y: {lookback: 12}}", "windows.future=[x]")
AHEAD = 5


Joined = tuple[pl.DataFrame, tuple[str, ...]]


@pytest.fixture(scope="module")
def reads_ahead(house: Any) -> Version:
    """What a version says of itself that reads x ahead; nothing here forecasts with it."""
    made = house.made(run=load_run("params/nyc_weather.yaml", RUN))
    windows = WindowParams(4, {"y": house.params.features["y"]}, gap=1, future=("x",))
    return Version("own", "1", "", "", Path(), house.facts(trained_on=made, windows=windows))


@pytest.fixture
def joined(reads_ahead: Version, table: pl.DataFrame, tmp_path: Path) -> Callable[..., Joined]:
    """`joined(future, history)`: the long frame of both; x of the history as it stands, or changed."""

    def run(future: pl.DataFrame, history: pl.DataFrame = table) -> Joined:
        history.write_parquet(tmp_path / "history.parquet")
        future.write_csv(tmp_path / "future.csv")
        source = table_of(reads_ahead, tmp_path / "history.parquet", ahead=True)
        ahead = open_ahead(reads_ahead, tmp_path / "future.csv", source.data)
        return with_ahead(reads_ahead, read(reads_ahead, source, Asked(plot=Path("x.html"))).rows, ahead)

    return run


def after(table: pl.DataFrame, **columns: pl.Expr) -> pl.DataFrame:
    """The AHEAD rows after the last of each series, x being their number."""
    last = table.group_by("series").agg(pl.col("hour").max()).sort("series")
    steps = last.join(pl.DataFrame({"x": [float(step) for step in range(1, AHEAD + 1)]}), how="cross")
    rows = steps.with_columns(pl.col("hour") + pl.col("x") * timedelta(hours=1))
    return rows.with_columns(**columns)


def test_the_rows_after_the_last_target_come_from_the_file(joined: Callable[..., Joined], table: pl.DataFrame) -> None:
    ahead = after(table)
    frame, notes = joined(ahead)
    assert frame.height == table.height + 2 * AHEAD and frame.tail(2 * AHEAD)["x"].to_list() == [1.0, 2.0, 3.0, 4.0, 5.0] * 2
    assert frame.tail(2 * AHEAD)["y"].null_count() == 2 * AHEAD and not notes
    with_past = pl.concat([table.select("series", "hour", "x"), ahead], how="diagonal")
    assert joined(with_past)[0].equals(frame)  # what lies before is passed over
    assert joined(ahead.rename({"series": "unique_id", "hour": "ds"}))[0].equals(frame)
    assert joined(ahead.with_columns(temp=pl.lit(1e9), other=pl.lit("text")))[0].equals(frame)
    assert joined(ahead, table.drop("x"))[0].drop("x").equals(frame.drop("x"))  # nothing else says it


def test_the_file_wins_over_rows_of_the_table_and_it_is_told(joined: Callable[..., Joined], table: pl.DataFrame) -> None:
    ahead = after(table)
    told = "rows of the table after its last targets say otherwise than --future: what --future says is used"
    same = pl.concat([table, ahead], how="diagonal")
    assert not joined(ahead, same)[1]
    frame, notes = joined(ahead.with_columns(x=pl.lit(2.0)), same)
    assert set(frame.tail(2 * AHEAD)["x"]) == {2.0} and notes == (f"8 {told}",)
    unknown = pl.concat([ahead, ahead.filter(series="LGA").with_columns(series=pl.lit("new"))])
    assert joined(unknown)[1] == ("no forecast of new: --future has rows of it and the table none",)


def test_a_series_that_is_too_short_for_what_reads_them_needs_no_rows_ahead(
    reads_ahead: Version, table: pl.DataFrame, tmp_path: Path
) -> None:
    table.write_parquet(tmp_path / "history.parquet")
    after(table).filter(series="JFK").write_csv(tmp_path / "future.csv")
    source = table_of(reads_ahead, tmp_path / "history.parquet", ahead=True)
    history = read(reads_ahead, source, Asked(plot=Path("x.html"))).rows
    ahead = open_ahead(reads_ahead, tmp_path / "future.csv", source.data)
    with pytest.raises(ValueError, match="series 'LGA': 5 of the 5 rows after its last target are missing"):
        with_ahead(reads_ahead, history, ahead)
    frame, notes = with_ahead(reads_ahead, history, ahead, ["LGA"])
    assert frame.height == table.height + AHEAD and notes == ()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda rows: rows.drop("x"), "there is no column x; needed are series, hour, x, and there are series, hour"),
        (lambda rows: rows.drop("series"), "there is no column series; needed are"),
        (lambda rows: rows.filter(pl.col("series") == "LGA"), "series 'JFK': 5 of the 5 rows after its last target are "),
        (lambda rows: rows.filter(pl.col("x") < 4), r"series 'JFK': 2 of the 5 rows .* missing \(and in 1 more series\), "),
        (lambda rows: rows.filter(pl.col("x") != 2), "series 'JFK': 1 of the 5 rows after its last target"),
        (lambda rows: rows.with_columns(x=pl.when(pl.col("x") != 3).then("x")), "series 'JFK', column 'x': empty at"),
        (lambda rows: rows.with_columns(x=pl.lit("many")), "series 'JFK', column 'x': 'many' is not a number"),
        (lambda rows: pl.concat([rows, rows.tail(1)]), "series 'LGA', .*: stands twice"),
    ],
)  # fmt: skip
def test_what_is_missing_is_named(
    joined: Callable[..., Joined], table: pl.DataFrame, change: Callable[[pl.DataFrame], pl.DataFrame], told: str
) -> None:
    with pytest.raises((UserError, ValueError), match=told):
        joined(change(after(table)))


def test_a_version_that_reads_nothing_ahead_says_so(version: Version, table: pl.DataFrame, tmp_path: Path) -> None:
    table.write_parquet(tmp_path / "x.parquet")
    with pytest.raises(UserError, match=r"--future .*: own version 1 reads nothing that is known ahead"):
        forecast(version, tmp_path / "x.parquet", Asked(future=tmp_path / "x.parquet"))
