"""A text table read through once: the same rows are refused as a CSV reader would refuse, wherever the blocks end."""

import csv
import gzip
import hashlib
import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from params.data import CsvParams
from params.errors import UserError
from tasks.load import text
from tasks.load.text import read_through

cells = st.sampled_from(["", "1", "a b", "é", "2020-01-01"])
quoted = st.sampled_from(['"x"', '"a,b"', '"two\nlines"', '"say ""no"""'])
rows = st.lists(st.lists(cells | quoted, min_size=1, max_size=4), max_size=12)


def first_uneven(content: str) -> int | None:
    """The line that the standard library ends the first uneven row at."""
    reader = csv.reader(io.StringIO(content, newline=""))
    width = len(next(row for row in reader if row))
    return next((reader.line_num for row in reader if row and len(row) != width), None)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows, st.sampled_from(["\n", "\r\n"]), st.booleans(), st.booleans(), st.sampled_from([1, 7, 30, 1 << 20]))
def test_what_is_refused_is_what_a_csv_reader_finds_uneven(
    tmp_path: Path, rows: list[list[str]], end: str, ended: bool, zipped: bool, block: int
) -> None:
    content = end.join([f"{end}id,time,temp", *(",".join(row) for row in rows)]) + (end if ended else "")
    raw = gzip.compress(content.encode("utf-8-sig")) if zipped else content.encode("utf-8-sig")
    file = tmp_path / ("x.csv.gz" if zipped else "x.csv")
    file.write_bytes(raw)
    before, text.BLOCK = text.BLOCK, block
    try:
        uneven = first_uneven(content)
        if uneven is None:
            assert read_through(file, CsvParams()).sha256 == hashlib.sha256(raw).hexdigest()
        else:
            with pytest.raises(UserError, match=rf":{uneven}: this row does not have the 3 fields"):
                read_through(file, CsvParams())
    finally:
        text.BLOCK = before


def test_bytes_behind_an_archive_are_hashed_too(tmp_path: Path) -> None:
    raw = gzip.compress(b"id,temp\na,1\n") + gzip.compress(b"b,2\n") + b"\0" * 512
    (tmp_path / "x.csv.gz").write_bytes(raw)
    assert read_through(tmp_path / "x.csv.gz", CsvParams()).sha256 == hashlib.sha256(raw).hexdigest()


def test_a_quoted_header_may_hold_line_ends_and_names_no_column_twice(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_text('"id","the\ntime"\na,1\n')
    read_through(file, CsvParams())
    file.write_text('"id","id"\na,1\n')
    with pytest.raises(UserError, match="the header names id more than once"):
        read_through(file, CsvParams())
