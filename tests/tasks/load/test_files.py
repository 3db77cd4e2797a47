"""Which files are found and opened, and the one message for each that cannot be."""

import gzip
import hashlib
from pathlib import Path

import polars as pl
import pytest

from params.data import DataParams
from params.errors import UserError
from tasks.load.files import Digest, collect, did_you_mean, require_column, source_digest
from tasks.load.find import find_files
from tasks.load.opening import open_tables

CSV = "id,time,temp\na,2020-01-01 00:00,1\na,2020-01-01 01:00,2\n"


def data_at(path: str | Path) -> DataParams:
    return DataParams(path=str(path), id="id", time="time", target="temp", frequency="1h")


def write(file: Path, content: str | bytes = CSV) -> Path:
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def digest_of(path: str, root: Path) -> Digest:
    return source_digest(data_at(path), open_tables(data_at(path), root))


def rows_of(file: Path) -> list[tuple[object, ...]]:
    return open_tables(data_at(file), file.parent)[0].rows.collect().rows()


ROWS = [("a", "2020-01-01 00:00", "1"), ("a", "2020-01-01 01:00", "2")]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("plain.csv", CSV),
        ("bom.csv", "\ufeff" + CSV),
        ("windows.csv", CSV.replace("\n", "\r\n")),
        ("both.csv", '\ufeff"id","time","temp"\r\n"a","2020-01-01 00:00","1"\r\n"a","2020-01-01 01:00","2"\r\n'),
        ("no_last_line_end.csv", CSV.rstrip()),
        ("blank_lines.csv", CSV.replace("1\n", "1\n\n") + "\n\r\n"),
        ("blank_first.csv", "\n" + CSV),
        ("tabs.tsv", CSV.replace(",", "\t")),
        ("zipped.csv.gz", gzip.compress(CSV.encode(), mtime=0)),
        ("UPPER.CSV", CSV),
    ],
)
def test_text_files_of_every_make_give_the_same_rows(tmp_path: Path, name: str, content: str | bytes) -> None:
    assert rows_of(write(tmp_path / name, content)) == ROWS


def test_quoted_fields_may_hold_separators_and_line_ends(tmp_path: Path) -> None:
    file = write(tmp_path / "x.csv", CSV + '"b, ""the\nsecond""",2020-01-01 00:00,3\n')
    assert rows_of(file)[2] == ('b, "the\nsecond"', "2020-01-01 00:00", "3")


PARQUET_START = b"PAR1 and then nothing that a reader knows"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.csv", "", r"empty\.csv: the file is empty \(0 bytes\); give a table"),
        ("empty.parquet", "", r"empty\.parquet: the file is empty \(0 bytes\)"),
        ("blank.csv", "\n\n", r"blank\.csv: this file cannot be read"),
        ("text.parquet", CSV, r"text\.parquet: this file cannot be read .*is it complete"),
        ("cut.parquet", PARQUET_START, r"cut\.parquet: this file cannot be read"),
        ("notzip.csv.gz", CSV, r"notzip\.csv\.gz: this file cannot be read"),
        ("cut.csv.gz", gzip.compress(CSV.encode() * 99, mtime=0)[:-9], r"cut\.csv\.gz: this file cannot be read"),
        ("bent.csv.gz", gzip.compress(CSV.encode(), mtime=0)[:12] + b"\xff" * 30, r"bent\.csv\.gz: this file cannot be read"),
        (
            "latin.csv",
            CSV.replace("a,", "é,").encode("latin-1"),
            r"latin\.csv:2: this file cannot be read as UTF-8: name its encoding in data.csv",
        ),
        ("utf16.csv", CSV.encode("utf-16"), r"utf16\.csv:1: this file cannot be read as UTF-8"),
        ("twice.csv", "id,time,temp,temp\n", r"twice\.csv: the header names temp more than once; rename"),
        ("trailing.csv", "id,time,temp,,\n", r"the header names \(empty\) more than once"),
        ("short.csv", CSV + "a,2020-01-01 02:00\n", r"short\.csv:4: this row does not have the 3 fields of the header"),
        ("long.csv", CSV + "a,2020-01-01 02:00,1,2\n", r"long\.csv:4: this row does not have the 3 fields"),
        ("quoted.csv", CSV + '"a",2020-01-01 02:00\n', r"quoted\.csv:4: this row does not have the 3 fields"),
        ("open.csv", CSV + '"a,2020-01-01 02:00,1\n', r"open\.csv:4: this row does not have the 3 fields"),
        ("table.xlsx", CSV, r"table\.xlsx: cannot tell what kind of table this is; it must end in one of \.csv"),
    ],
)
def test_a_file_that_is_no_table_is_named_with_the_reason(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    write(tmp_path / name, content)
    with pytest.raises(UserError, match=message):
        open_tables(data_at(name), tmp_path)


def test_a_parquet_file_that_lost_its_end_is_refused(tmp_path: Path) -> None:
    pl.DataFrame({"id": ["a"] * 500}).write_parquet(tmp_path / "x.parquet")
    whole = (tmp_path / "x.parquet").read_bytes()
    write(tmp_path / "x.parquet", whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"x\.parquet: this file cannot be read"):
        open_tables(data_at("x.parquet"), tmp_path)


def test_a_parquet_file_that_is_damaged_inside_is_refused_when_it_is_read(tmp_path: Path) -> None:
    file = tmp_path / "x.parquet"
    pl.DataFrame({"v": pl.Series(range(20_000))}).write_parquet(file)
    damaged = bytearray(file.read_bytes())
    damaged[4 : len(damaged) // 2] = b"\xaa" * (len(damaged) // 2 - 4)  # the heads of the pages too; the footer is whole
    write(file, bytes(damaged))
    table = open_tables(data_at(file), tmp_path)[0]
    with pytest.raises(UserError, match=r"x\.parquet: this table cannot be read to its end .*is it complete"):
        collect(table.rows, table.name)


def test_a_folder_and_a_pattern_give_their_tables_in_order(tmp_path: Path) -> None:
    folder = tmp_path / "a [1] folder"  # a name that is a pattern itself
    (folder / "deep").mkdir(parents=True)
    for name in ("b.csv", "a.csv", ".hidden.csv", "_SUCCESS.csv", "notes.txt", "deep/c.csv"):
        write(folder / name)
    assert [f.name for f in find_files(data_at("a [1] folder"), tmp_path)] == ["a.csv", "b.csv"]
    assert [f.name for f in find_files(data_at("?.csv"), folder)] == ["a.csv", "b.csv"]
    assert [f.name for f in find_files(data_at("**/c.csv"), folder)] == ["c.csv"]
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match=r"data\.path none: the folder holds no table"):
        find_files(data_at("none"), tmp_path)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("gone.csv", "data.path gone.csv: there is no such file or folder; a relative path counts from"),
        ("gone-*.csv", r"data.path gone-\*.csv: no file matches this pattern"),
        ("x" * 300 + ".csv", r"data.path x+: cannot be looked up \(File name too long\)"),
    ],
)
def test_a_path_that_leads_nowhere(tmp_path: Path, path: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        find_files(data_at(path), tmp_path)


def test_files_with_other_columns_are_refused_and_another_order_is_not(tmp_path: Path) -> None:
    write(tmp_path / "a.csv")
    write(tmp_path / "b.csv", "temp,id,time\n3,b,2020-01-01 00:00\n")
    assert len(open_tables(data_at("*.csv"), tmp_path)) == 2
    write(tmp_path / "b.csv", "id,time,dewp\na,2020-01-01 00:00,1\n")
    with pytest.raises(UserError, match=r"b\.csv: its columns are not those of .*a\.csv \(only one of them has dewp, temp\)"):
        open_tables(data_at("*.csv"), tmp_path)


def test_a_missing_column_comes_with_the_nearest_one(tmp_path: Path) -> None:
    (table,) = open_tables(data_at(write(tmp_path / "x.csv")), tmp_path)
    with pytest.raises(
        UserError, match=r"no column 'Temp_' \(data.target\); columns found: id, time, temp; did you mean 'temp'\?"
    ):
        require_column(table, "Temp_", "data.target")
    (table,) = open_tables(data_at(write(tmp_path / "s.csv", CSV.replace(",", ";"))), tmp_path)
    with pytest.raises(UserError, match="the header is one field: separate the columns by commas"):
        require_column(table, "temp", "data.target")
    assert did_you_mean("zzz", ["temp"]) == ""


def test_a_column_name_cannot_act_on_a_terminal(tmp_path: Path) -> None:
    (table,) = open_tables(data_at(write(tmp_path / "x.csv", "id,ti\x1b[31mme,temp\n")), tmp_path)
    with pytest.raises(UserError) as caught:
        require_column(table, "time", "data.time")
    assert "\x1b" not in str(caught.value).split("; did you mean")[0]


def test_the_digest_tells_contents_and_names_apart(tmp_path: Path) -> None:
    write(tmp_path / "a.csv")
    first = digest_of("*.csv", tmp_path)
    inner = hashlib.sha256(CSV.encode()).hexdigest()
    assert first.sha256 == hashlib.sha256(f"a.csv\0{inner}\n".encode()).hexdigest()
    assert (first.files, first.bytes) == (("a.csv",), (len(CSV),))
    (tmp_path / "a.csv").rename(tmp_path / "b.csv")
    renamed = digest_of("*.csv", tmp_path)
    write(tmp_path / "b.csv", CSV.replace("1\n", "3\n"))
    changed = digest_of("*.csv", tmp_path)
    assert len({d.sha256 for d in (first, renamed, changed)}) == 3
