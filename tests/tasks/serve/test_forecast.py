"""`forecast` and the forecasts of a night on tables that are not as they should be; the version has random weights."""

import errno
import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from flows.verbs import forecast as flow
from params.errors import UserError
from tasks.files import write_parquet
from tasks.registry.load import Version
from tasks.serve import realised
from tasks.serve.forecast import Asked, forecast, long_enough, too_short
from tasks.serve.given import in_columns_of

pytestmark = pytest.mark.filterwarnings("ignore:Series.values returning an ndarray")  # polars, of a frame of pandas


def written(frame: pl.DataFrame, path: Path) -> Path:
    frame.write_csv(path) if path.suffix == ".csv" else frame.write_parquet(path)
    return path


def served(
    version: Version, data: Path, home: Path, monkeypatch: pytest.MonkeyPatch, out: Path | None = None
) -> tuple[str | None, str | None]:
    """The forecasts of a night, with this version as the champion."""
    monkeypatch.setattr(realised, "find", lambda *_: version)
    monkeypatch.setattr(realised, "opened", nullcontext)
    run = version.trained_on.run
    run = run.model_copy(update={"data": run.data.model_copy(update={"path": str(data)})})
    return realised.serve_forecasts.fn(run, home, out)


@pytest.fixture
def show(version: Version, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`show(data, out)`: the verb, with this version in the registry."""
    monkeypatch.setattr(flow, "needed", lambda *_: version)
    monkeypatch.setattr(flow, "opened", nullcontext)
    monkeypatch.setattr(flow.connection, "connect", lambda _: None)
    return lambda data, out: flow.show_forecast(Path(), "own", data, out, Asked())


def text(name: str, value: str, last: int) -> pl.Expr:
    """A column as text, with a value in its last rows."""
    return pl.when(pl.int_range(pl.len()) >= pl.len() - last).then(pl.lit(value)).otherwise(pl.col(name).cast(pl.String))


UNREADABLE: dict[str, tuple[pl.Expr, str]] = {
    "text": (pl.lit("abc").alias("temp"), "series 'JFK', column 'temp': 'abc' is not a number"),
    "a feature": (text("x", "abc", 2).alias("x"), "series 'LGA', column 'x': 'abc' is not a number"),
    "a decimal comma": (text("temp", "12,5", 3).alias("temp"), "series 'LGA', column 'temp': '12,5' is not a number"),
    "a duration": (pl.lit(timedelta(hours=1)).alias("temp"), "series 'JFK', column 'temp': 'PT1H' is not a number"),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_what_is_no_number_is_refused_and_not_taken_as_missing(
    case: str, version: Version, table: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change, message = UNREADABLE[case]
    data = written(table.with_columns(change), tmp_path / "x.parquet")
    with pytest.raises(UserError, match=f"x.parquet: {message}"):
        forecast(version, data)
    with pytest.raises(UserError, match=f"x.parquet: {message}"):
        served(version, data, tmp_path, monkeypatch)


def test_numbers_as_text_are_read_and_empty_cells_stay_missing(version: Version, table: pl.DataFrame, tmp_path: Path) -> None:
    gone = pl.int_range(pl.len()) % 5 == 2
    empty = table.with_columns(pl.when(~gone).then("temp").alias("temp"))
    expected = forecast(version, written(empty, tmp_path / "x.parquet")).made
    for word in ("", "NA", " null "):
        words = table.with_columns(pl.when(gone).then(pl.lit(word)).otherwise(pl.col("temp").cast(pl.String)).alias("temp"))
        assert forecast(version, written(words, tmp_path / "words.parquet")).made.equals(expected)
    assert forecast(version, written(words, tmp_path / "words.csv")).made.equals(expected)


def test_series_that_training_did_not_see_are_told_with_how_they_are_scaled(
    version: Version, table: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert forecast(version, written(table, tmp_path / "x.parquet")).notes == ()
    data = written(table.with_columns(pl.col("series").replace("LGA", "001")), tmp_path / "y.csv")
    told = "1 of 2 series is not among those of training ('001'): scaled as all of those together are"
    assert forecast(version, data).notes == (told,)
    assert served(version, data, tmp_path, monkeypatch)[1] == told
    many = pl.concat(table.filter(series="LGA").with_columns(series=pl.lit(str(name))) for name in range(7))
    (told,) = forecast(version, written(many, data)).notes
    assert told.startswith("7 of 7 series are not among those of training ('0', '1', '2', '3', '4' and 2 more)")


def test_a_series_that_training_left_out_as_too_short_is_left_out_by_name(
    version: Version,
    show: Callable[..., None],
    table: pl.DataFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = "no forecast of tiny: too short a history, 12 rows are needed"
    jfk, lga = table.filter(series="JFK"), table.filter(series="LGA")
    tiny = lga.tail(11).with_columns(series=pl.lit("tiny"))
    data = written(pl.concat([table, tiny]), tmp_path / "x.parquet")
    show(data, tmp_path / "out.parquet")
    assert told in capsys.readouterr().out
    made = pl.read_parquet(tmp_path / "out.parquet")
    whole = forecast(version, written(table, tmp_path / "whole.parquet"))
    assert made.equals(in_columns_of(whole.given, whole.made).rows) and made.columns[:3] == ["series", "hour", "cutoff"]
    assert served(version, data, tmp_path, monkeypatch)[1] == told
    new = lga.tail(12).with_columns(series=pl.lit("new"))  # just enough
    found = forecast(version, written(pl.concat([new, tiny]), data))
    assert set(found.made["unique_id"]) == {"new"} and found.notes[0] == told
    with pytest.raises(UserError, match="series 'LGA': too short a history"):  # the version knows it
        forecast(version, written(pl.concat([jfk, lga.tail(11), tiny]), data))
    with pytest.raises(UserError, match="series 'tiny': too short a history"):
        forecast(version, written(tiny, data))
    with pytest.raises(UserError, match="column 'unique_id' has an empty value"):
        forecast(version, written(pl.concat([lga, tiny, tiny.with_columns(series=pl.lit(None, pl.String))]), data))


def test_with_covariates_known_ahead_the_history_ends_with_the_last_y(version: Version, house: Any) -> None:
    facts = replace(version.facts, windows=replace(version.facts.windows, future=("x",)))
    given = Version("own", "1", "", version.digest, version.folder, facts)
    rows = house.history.filter(unique_id="LGA").head(20)
    for known, names in ((12, []), (11, ["b"]), (0, [])):  # one without any is left out for that
        y = pl.when(pl.int_range(pl.len()) < known).then("y").otherwise(float("nan") if known else None)
        frame = pl.concat([rows, rows.with_columns(y, unique_id=pl.lit("b"))])
        kept, short = long_enough(frame, given)
        assert short == names and kept["unique_id"].n_unique() == 2 - len(names)
        assert long_enough(frame, given, ["b"])[1] == []
    many = pl.concat(rows[:3].with_columns(unique_id=pl.lit(f"s{n:02}")) for n in range(12))
    assert long_enough(many, version) == (many, [])
    words = too_short(long_enough(pl.concat([rows, many]), version)[1], version)
    assert words is not None and words.endswith("s08, s09 and 2 more: too short a history, 12 rows are needed")


def test_levels_and_quantiles_come_in_columns_of_their_own_and_others_are_refused_before_the_table_is_read(
    version: Version, table: pl.DataFrame, tmp_path: Path
) -> None:
    table.write_parquet(tmp_path / "x.parquet")
    asked = Asked(levels=(80, 90, 85), quantiles=(0.5, 0.95))
    found = forecast(version, tmp_path / "x.parquet", asked)
    rows = in_columns_of(found.given, found.made, tmp_path / "out.csv").rows
    ends = [f"yhat-{side}-{level}" for level in (80, 90, 85) for side in ("lo", "hi")]
    assert rows.columns == ["series", "hour", "cutoff", "yhat", *ends, "yhat-q-0.5", "yhat-q-0.95", "model"]
    known = rows.filter(pl.int_range(pl.len()).over("series") != 2)  # too few errors at the third step
    assert known.select(
        (pl.col("yhat-hi-90") == pl.col("yhat-q-0.95")).all(), (pl.col("yhat") == pl.col("yhat-q-0.5")).all()
    ).row(0) == (True, True)
    order = ("yhat-lo-90", "yhat-lo-85", "yhat-lo-80", "yhat", "yhat-hi-80", "yhat-hi-85", "yhat-hi-90")
    assert all((known[low] < known[high]).all() for low, high in pairwise(order))
    plain = forecast(version, tmp_path / "x.parquet").made
    assert plain.equals(found.made.select(plain.columns))
    for wrong, words in (
        (Asked(levels=(99,)), "own version 1: yhat-lo-99: the quantile 0.005 lies outside"),
        (Asked(quantiles=(7,)), "own version 1: quantiles: 7 does not lie between 0 and 1"),
    ):
        with pytest.raises(UserError, match=words):
            forecast(version, tmp_path / "no such table.parquet", wrong)


def test_where_forecasts_cannot_go_is_said_before_any_is_made(
    version: Version, show: Callable[..., None], table: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow, "forecast", lambda *_: pytest.fail("forecasts were made"))
    (tmp_path / "data").mkdir()
    (tmp_path / "folder").mkdir()
    data = written(table, tmp_path / "data" / "x.parquet")
    before = data.read_bytes()
    with pytest.raises(UserError, match=r"folder: that is a folder; name a file in it, such as .*/folder/forecasts.parquet"):
        show(data, tmp_path / "folder")
    with pytest.raises(UserError, match=r"xxx.csv: cannot be written \(File name too long\)"):
        show(data, tmp_path / ("x" * 300 + ".csv"))
    with pytest.raises(UserError, match=r"there is no folder .*none; make it first"):
        show(data, tmp_path / "none" / "x.parquet")
    for source in (data, data.parent, data.with_name("*.parquet")):
        for out in (data, tmp_path / "folder" / ".." / "data" / "x.parquet"):
            with pytest.raises(UserError, match=r"x.parquet: that is the table that the forecasts are made from"):
                show(source, out)
    assert data.read_bytes() == before and [path.name for path in data.parent.iterdir()] == ["x.parquet"]


def test_what_cannot_be_written_is_one_message_and_leaves_nothing_beside(
    show: Callable[..., None], table: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = written(table, tmp_path / "x.parquet")
    with pytest.raises(UserError, match=r"--out /proc/x.parquet: cannot be written \(.*No such file or directory"):
        show(data, Path("/proc/x.parquet"))
    show(data, tmp_path / "out.parquet")
    before = (tmp_path / "out.parquet").read_bytes()
    monkeypatch.setattr("tasks.files.os.replace", lambda *_: full())
    with pytest.raises(UserError, match=r"out.parquet: cannot be written \(No space left on device\)"):
        show(data, tmp_path / "out.parquet")
    with pytest.raises(OSError, match="No space left"):  # who is no person tries again
        write_parquet(table, tmp_path / "out.parquet")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.parquet", "x.parquet"]
    assert (tmp_path / "out.parquet").read_bytes() == before


def full() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_the_forecasts_of_a_night_have_the_columns_of_the_table_and_are_kept_in_ours(
    version: Version, table: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    naive = table.with_columns(pl.col("hour").dt.replace_time_zone(None).dt.cast_time_unit("ms"))
    data, out = written(naive, tmp_path / f"x.{ending}"), tmp_path / f"next.{ending}"
    told, warning = served(version, data, tmp_path, monkeypatch, out)
    assert told is not None and told.startswith("8 rows, 2 forecasts of 2 series by own version 1") and warning is None
    found = pl.read_parquet(out) if ending == "parquet" else pl.read_csv(out)
    assert found.columns == ["series", "hour", "cutoff", "yhat", "yhat-lo-90", "yhat-hi-90", "model"]
    assert found.schema["hour"] == (naive.schema["hour"] if ending == "parquet" else pl.String)
    (kept,) = (tmp_path / "served").rglob("*.parquet")
    ours = pl.read_parquet(kept)
    assert {"unique_id", "ds", "cutoff", "version"} <= {*ours.columns} and ours.schema["ds"] == pl.Datetime("us", "UTC")
    assert found["yhat"].to_list() == pytest.approx(ours.sort("unique_id", "ds")["yhat"].to_list())


def test_a_text_table_of_another_form_is_read_where_it_is_plain(version: Version, table: pl.DataFrame, tmp_path: Path) -> None:
    expected = forecast(version, written(table, tmp_path / "x.csv")).made
    numbers = [name for name, kind in table.schema.items() if kind.is_float()]
    commas = table.with_columns(pl.col(numbers).cast(pl.String).str.replace(".", ",", literal=True))
    for name, separator, encoding in (("semi", ";", "utf-8"), ("tabs", "\t", "utf-16"), ("quoted", ",", "utf-8")):
        text = commas.write_csv(separator=separator)
        (tmp_path / f"{name}.csv").write_bytes(("a line of words\n" * (name == "semi") + text).encode(encoding))
        assert forecast(version, tmp_path / f"{name}.csv").made.equals(expected), name
