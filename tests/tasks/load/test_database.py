"""A query on a real SQLite database (database.py, snapshot.py): batches, types, read-only, and no password in any message."""

import hashlib
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import sqlalchemy
from pydantic import ValidationError

from params.data import DataParams
from params.errors import UserError
from params.load import load_run
from params.schema import RunParams
from tasks.load import database, snapshot
from tasks.load.find import find_files
from tasks.load.keys import check_keys
from tasks.load.opening import open_tables
from tasks.load.source import load_series, long_frame, open_source
from tasks.validate.suite import validate
from tests.marks import OF_CHECKS

pytestmark = OF_CHECKS

ROWS = 60
ALL = "SELECT shop, day, sold, price FROM sales"
SECRET = "t0p'$ecr@t/:"
Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """`make(rows)` is a database with a table `sales` of two shops, in the variable SALES_DB."""

    def run(rows: list[tuple[object, ...]] | None = None) -> Path:
        file = tmp_path / "sales.db"
        start = datetime(2024, 1, 1)
        if rows is None:
            rows = [
                (shop, f"{start + timedelta(days=i):%Y-%m-%d}", i % 7 if i % 10 else None, 1.5 if shop == 1 else 2)
                for shop in (1, 2)
                for i in range(ROWS)
            ]
        with sqlite3.connect(file) as connection:
            connection.execute("CREATE TABLE sales (shop, day, sold, price)")
            connection.executemany("INSERT INTO sales VALUES (?, ?, ?, ?)", rows)
        connection.close()
        monkeypatch.setenv("SALES_DB", f"sqlite:///{file}")
        return file

    return run


def data_of(query: str = ALL, uri: str = "env:SALES_DB") -> DataParams:
    return DataParams(query=query, uri=uri, id="shop", time="day", target="sold", frequency="1d")


def run_on(query: str = ALL) -> RunParams:
    windows = "windows={horizon: 2, features: {y: {lookback: 3}, price: {lookback: 2}}, forward_fill: 2}"
    data = "data={query: '%s', uri: env:SALES_DB, id: shop, time: day, target: sold, frequency: 1d}" % query.replace("'", "''")  # noqa: UP031
    return load_run("params/smoke.yaml", [data, windows, "split={validation: 7d, test: 7d}"])


def test_a_query_goes_the_whole_way_of_a_file(make: Make, tmp_path: Path) -> None:
    make()
    run = run_on()
    assert check_keys(open_source(run.data)) == 2 * ROWS
    verdict = validate(run, open_source(run.data))
    assert verdict.passed, verdict.findings
    frame = long_frame(run, open_source(run.data)).collect()
    assert frame.schema == {"unique_id": pl.String, "ds": pl.Datetime("us", "UTC"), "y": pl.Float64, "price": pl.Float64}
    assert frame.row(1) == ("1", datetime(2024, 1, 2, tzinfo=UTC), 1.0, 1.5)
    assert frame["y"].null_count() == 2 * ROWS / 10
    (tmp_path / "same.csv").write_text(open_tables(run.data, tmp_path)[0].rows.collect().write_csv())
    as_file = run.model_copy(update={"data": run.data.model_copy(update={"path": str(tmp_path / "same.csv")})})
    assert long_frame(as_file, open_source(as_file.data)).collect().equals(frame)


def test_the_database_is_read_once_until_the_next_comparison(make: Make) -> None:
    file, run = make(), run_on()
    first = load_series.fn(run)
    with sqlite3.connect(file) as connection:
        connection.execute("DELETE FROM sales WHERE shop = 2")
    connection.close()
    assert check_keys(open_source(run.data)) == 2 * ROWS
    assert open_source(run.data).digest == first.digest
    old = find_files(run.data, Path())[0]
    second = load_series.fn(run)
    assert check_keys(open_source(run.data)) == ROWS
    assert second.digest.sha256 != first.digest.sha256
    assert not old.exists()


def test_the_digest_is_over_the_query_and_the_rows_whatever_the_batches(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    make([(1, "2024-01-01", None, "a"), (1, "2024-01-02", 2.5, "b")])
    one = open_source(data_of()).digest
    text = ALL + "\0['shop', 'day', 'sold', 'price'](1, '2024-01-01', None, 'a')\n(1, '2024-01-02', 2.5, 'b')\n"
    assert one.sha256 == hashlib.sha256(text.encode()).hexdigest()
    assert one.files == ("env:SALES_DB",)
    snapshot.forget(data_of())
    monkeypatch.setattr(database, "BATCH", 1)
    assert open_source(data_of()).digest.sha256 == one.sha256
    assert open_source(data_of(ALL + " WHERE 1")).digest.sha256 != one.sha256


def test_rows_come_in_batches_and_an_empty_answer_has_columns(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    make()
    monkeypatch.setattr(database, "BATCH", 50)
    assert [len(rows) for _, rows in database.read_batches(ALL, "env:SALES_DB")] == [50, 50, 20]
    assert list(database.read_batches(ALL + " LIMIT 0", "env:SALES_DB")) == [(["shop", "day", "sold", "price"], [])]


@pytest.mark.parametrize("batch", [1, 2, 3, 100])
@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([None, None, 1, 2], pl.Int64, [None, None, 1, 2]),
        ([1, 2, 2.5, None], pl.Float64, [1.0, 2.0, 2.5, None]),
        ([None, None, None], pl.Null, [None, None, None]),
        ([None, "a", None, "b"], pl.String, [None, "a", None, "b"]),
        ([2**53 + 1, 1], pl.Int64, [2**53 + 1, 1]),
    ],
)
def test_batches_that_differ_become_the_type_that_holds_all(
    make: Make, monkeypatch: pytest.MonkeyPatch, batch: int, values: list[Any], dtype: Any, expected: list[Any]
) -> None:
    monkeypatch.setattr(database, "BATCH", batch)
    make([(1, "2024-01-01", value, 0) for value in values])
    (table,) = open_tables(data_of(), Path())
    assert table.name == "data.query (env:SALES_DB)"
    assert table.columns["sold"] == dtype
    assert table.rows.collect()["sold"].to_list() == expected


@pytest.mark.parametrize("batch", [1, 100])
def test_a_column_that_mixes_types_is_named(make: Make, monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    monkeypatch.setattr(database, "BATCH", batch)
    make([(1, "2024-01-01", 1, 0), (1, "2024-01-02", "n/a", 0)])
    with pytest.raises(UserError, match=r"column 'sold' mixes (whole numbers and text|text and whole numbers).*with CAST"):
        find_files(data_of(), Path())


def test_values_of_other_databases_have_their_types_too() -> None:
    kind = snapshot._kind
    assert kind("x", [Decimal("1.5"), None, 2]) is snapshot.Kind.NUMBERS
    assert kind("x", [Decimal("10"), 2]) is snapshot.Kind.WHOLE
    assert kind("x", [Decimal("NaN"), Decimal("Infinity")]) is snapshot.Kind.NUMBERS
    assert kind("x", [True, None]) is snapshot.Kind.TRUTHS
    assert kind("x", [True, 2]) is snapshot.Kind.WHOLE
    assert kind("x", [2**63]) is snapshot.Kind.NUMBERS
    assert kind("x", [date(2024, 1, 1)]) is snapshot.Kind.DATES
    assert kind("x", [datetime(2024, 1, 1)]) is snapshot.Kind.TIMES
    assert snapshot._plain([datetime(2024, 1, 1, 2, tzinfo=UTC)], kind("x", [datetime(2024, 1, 1, tzinfo=UTC)]))[0].hour == 2
    with pytest.raises(UserError, match="mixes times"):
        kind("x", [datetime(2024, 1, 1), datetime(2024, 1, 1, tzinfo=UTC)])
    with pytest.raises(UserError, match="column 'x' holds bytes values; cast it"):
        kind("x", [b"raw"])


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (ALL + " WHERE shop = 9", "the query gives no rows"),
        ("SELECT * FROM sails", r"data\.query \(env:SALES_DB\): the database says: no such table: sails"),
        ("SELECT shop, shop FROM sales", "it gives 'shop' more than once"),
        ("WITH x AS (SELECT 1) DELETE FROM sales", "attempt to write a readonly database"),
        ("SELECT shop FROM sales WHERE day LIKE '%:x' AND price > :y", "the database says: "),
    ],
)
def test_what_the_database_refuses_is_said(make: Make, query: str, message: str) -> None:
    make()
    with pytest.raises(UserError, match=message):
        find_files(data_of(query), Path())


def test_percent_and_colon_in_a_query_are_what_they_are(make: Make) -> None:
    make()
    query = "SELECT shop, day || ' 12:30' AS day, ':a%s;' AS note, sold FROM sales WHERE day LIKE '2024-01-0%'; -- a; b"
    assert open_tables(data_of(query), Path())[0].rows.collect().row(0) == (1, "2024-01-01 12:30", ":a%s;", None)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "the environment variable SALES_DB is not set, or empty"),
        ("  ", "the environment variable SALES_DB is not set, or empty"),
        ("sqlite:////nowhere/none.db", "there is no SQLite file /nowhere/none.db"),
        ("sqlite://", "there is no SQLite file"),
        (f"postgresql//u:{SECRET}@host/db", "holds no database URL that can be read here"),
        ("postgresql://u:t0psecret@host:port/db", "holds no database URL that can be read here"),
        ("nodb://u:t0psecret@host/db", "holds no database URL that can be read here"),
        ("oracle://u:t0psecret@host/db", "the driver of oracle is missing"),  # none of our extras brings it
    ],
)
def test_a_url_that_leads_nowhere_is_not_shown(monkeypatch: pytest.MonkeyPatch, value: str | None, message: str) -> None:
    monkeypatch.delenv("SALES_DB", raising=False)
    if value is not None:
        monkeypatch.setenv("SALES_DB", value)
    with pytest.raises(UserError, match=message) as caught:
        find_files(data_of(), Path())
    assert "ecr" not in str(caught.value)


@pytest.mark.parametrize(
    "said",
    [
        "login failed for {url}",
        "FATAL: password authentication failed for user u with {password}",
        "bad: {quoted}  and  {password!r}",
        "could not connect to postgresql://u:{password}@host: refused",
        "option sslpassword={option}",
    ],
)
def test_a_drivers_words_lose_every_secret(said: str) -> None:
    url = sqlalchemy.URL.create("postgresql", "u", SECRET, "host", None, "db", {"sslpassword": "0ption4l", "x": "1"})
    whole = url.render_as_string(hide_password=False)
    quoted = whole.split("u:")[1].split("@host")[0]
    error = RuntimeError(said.format(url=whole, password=SECRET, quoted=quoted, option="0ption4l"))
    text = database._reason(error, url)
    assert "***" in text
    for secret in (SECRET, repr(SECRET)[1:-1], quoted, "0ption4l", "ecr"):
        assert secret not in text


def test_a_driver_that_fails_in_its_own_way_shows_no_secret(monkeypatch: pytest.MonkeyPatch, make: Make) -> None:
    file = make()
    monkeypatch.setenv("SALES_DB", f"sqlite:///file:{file}?uri=true&mode=t0psecret&password=t0psecret")
    with pytest.raises(UserError, match="the database says: ") as caught:  # SQLite itself: no such access mode: t0psecret
        find_files(data_of(), Path())
    assert "ecret" not in str(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"query": ALL}, "uri is missing"),
        ({"uri": "env:X"}, "query is missing"),
        ({}, "'path' is missing"),
        ({"path": "x.csv", "query": ALL, "uri": "env:X"}, "not both"),
        ({"query": "  ", "uri": "env:X"}, "one SQL query that reads"),
        ({"query": "-- nothing", "uri": "env:X"}, "one SQL query that reads"),
        ({"query": "DROP TABLE sales", "uri": "env:X"}, "one SQL query that reads"),
        ({"query": "SELECT 1; SELECT 2", "uri": "env:X"}, "several statements"),
        ({"query": "SELECT ';'' ;' /* ; */; DELETE FROM x", "uri": "env:X"}, "several statements"),
        ({"query": ALL, "uri": "sqlite:////x.db"}, "write env:NAME"),
        ({"query": ALL, "uri": "env:X-Y"}, "write env:NAME"),
        ({"path": "postgresql://host/db"}, "an address is no path"),
    ],
)
def test_params_that_name_no_source_or_two_are_refused(given: dict[str, str], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        DataParams(**given, id="shop", time="day", target="sold", frequency="1d")  # type: ignore[arg-type]


@pytest.mark.parametrize("key", ["uri", "path", "query", "nonsense"])
@pytest.mark.parametrize("form", ["postgresql://me:{}@host/db", "postgresql://me:{}" + "x" * 80 + "@host/db"])
def test_a_password_in_params_is_never_repeated(tmp_path: Path, key: str, form: str) -> None:
    text = Path("params/smoke.yaml").read_text().replace("  path: data/nyc_weather.parquet", "  query: SELECT 1\n  uri: env:X")
    (tmp_path / "bad.yaml").write_text(text)
    url = form.format("t0psecret")
    for settings in ([f"data.{key}={url}"], [f"data={{{key}: '{url}'}}"], [f"{key}{url}"], [f"data.frequency={url}"]):
        with pytest.raises(UserError) as caught:
            load_run(tmp_path / "bad.yaml", settings)
        assert "ecret" not in str(caught.value)
    (tmp_path / "bad.yaml").write_text(text.replace("env:X", f"'{url}'"))
    with pytest.raises(UserError, match=r"bad\.yaml:\d+: data\.uri: write env:NAME") as caught:
        load_run(tmp_path / "bad.yaml")
    assert "ecret" not in str(caught.value)


COUNTED = """
import resource, sys
from pathlib import Path
from params.data import DataParams
from tasks.load.snapshot import snapshot
n = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) SELECT 'a' AS id, i, i * 0.5 AS y FROM n"
data = DataParams(query=n.format(rows=int(sys.argv[1])), uri="env:SALES_DB", id="id", time="i", target="y", frequency=1)
assert snapshot(data).rows == int(sys.argv[1])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, snapshot(data).file.parent)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_rows_and_nothing_is_left_behind(make: Make) -> None:
    make()

    def peak(rows: int) -> float:
        done = subprocess.run([sys.executable, "-c", COUNTED, str(rows)], capture_output=True, text=True, check=True)
        used, folder = done.stdout.split()
        assert not Path(folder).exists()
        return int(used) / 1024

    small, large = peak(100_000), peak(1_000_000)
    assert large < small + 60, f"{small:.0f} MiB, then {large:.0f} MiB"  # as Python objects the rest would take 150 MiB
