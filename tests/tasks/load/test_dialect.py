"""Text tables of many forms are recognised, read to the same numbers, and never guessed where two readings are possible."""

import gzip
import io
from csv import QUOTE_ALL, QUOTE_MINIMAL, writer
from pathlib import Path
from random import Random

import polars as pl
import pytest

from params.data import CsvParams, DataParams
from params.errors import UserError
from tasks.load.recognise import open_recognised
from tasks.load.source import look_into, open_source, scan_series

VALUES = (1234.5, -0.25, 987.0, 12345.75, 3.125, 20.0)
PLACES = ("Köln", "Åre", "Nîmes")


def number(value: float, decimal: str, thousands: str) -> str:
    return f"{value:,.3f}".rstrip("0").rstrip(".").translate(str.maketrans({",": thousands, ".": decimal}))


def table(separator: str, decimal: str = ".", thousands: str = "", quoted: bool = False, rows: int = 60) -> str:
    """A table of text, whose values are those above over and over."""
    lines = [separator.join(("zeit", "ort", "menge", "grad"))]
    for i in range(rows):
        cells = [number(VALUES[(i + k) % len(VALUES)], decimal, thousands) for k in (0, 1)]
        cells = [f'"{cell}"' for cell in cells] if quoted else cells
        lines.append(separator.join((f"2024-{1 + i // 28:02}-{1 + i % 28:02}", PLACES[i % 3], *cells)))
    return "\n".join(lines) + "\n"


def params(path: Path, csv: CsvParams | None = None) -> DataParams:
    return DataParams(path=str(path), csv=csv, id="ort", time="zeit", target="menge", frequency="1d")


def check(file: Path, found: CsvParams | None) -> None:
    """The form is found, the numbers are those of the table, and the digest is that of the bytes."""
    seen = look_into(params(file))
    assert seen.data.csv == found
    for source in (seen, open_source(params(file, found))):
        rows = scan_series(source, ["grad"]).collect().with_columns(pl.col("y", "grad").cast(pl.Float64))
        assert rows["y"].to_list()[:6] == list(VALUES)
        assert rows["grad"].to_list()[:5] == list(VALUES[1:])
        assert rows["unique_id"].to_list()[:3] == list(PLACES)
        assert source.digest.bytes == (file.stat().st_size,)


FORMS = [
    (",", ".", "", None),
    (";", ",", "", {"separator": ";", "decimal": ","}),
    (";", ",", ".", {"separator": ";", "decimal": ",", "thousands": "."}),
    (";", ".", "", {"separator": ";"}),
    (";", ".", ",", {"separator": ";", "thousands": ","}),
    ("\t", ",", "", {"separator": "\t", "decimal": ","}),
    ("\t", ",", "\u00a0", {"separator": "\t", "decimal": ",", "thousands": " "}),
    ("|", ".", "'", {"separator": "|", "thousands": "'"}),
    ("|", ".", "\u2019", {"separator": "|", "thousands": "'"}),
    (";", ",", "\u202f", {"separator": ";", "decimal": ",", "thousands": " "}),
]


@pytest.mark.parametrize(("separator", "decimal", "thousands", "found"), FORMS)
def test_separators_and_marks_of_numbers(
    tmp_path: Path, separator: str, decimal: str, thousands: str, found: dict[str, str] | None
) -> None:
    file = tmp_path / "x.csv"
    file.write_text(table(separator, decimal, thousands), encoding="utf-8")
    check(file, CsvParams(**found) if found else None)


@pytest.mark.parametrize(
    ("decimal", "thousands", "found"),
    [
        (",", "", {"decimal": ","}),
        (".", ",", {"thousands": ","}),
        (",", ".", {"decimal": ",", "thousands": "."}),
        (",", " ", {"decimal": ",", "thousands": " "}),
    ],
)
def test_quoted_numbers_among_commas(tmp_path: Path, decimal: str, thousands: str, found: dict[str, str]) -> None:
    file = tmp_path / "x.csv"
    file.write_text(table(",", decimal, thousands, quoted=True), encoding="utf-8")
    check(file, CsvParams(**found))


@pytest.mark.parametrize(
    ("encoding", "name"),
    [
        ("utf-8-sig", "utf-8"), ("cp1252", "cp1252"), ("utf-16", "utf-16"), ("utf-16-le", "utf-16-le"),
        ("utf-16-be", "utf-16-be"), ("utf-32", "utf-32"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("packed", [False, True])
def test_encodings_with_and_without_a_mark(tmp_path: Path, encoding: str, name: str, packed: bool) -> None:
    raw = table(";", ",").replace("\n", "\r\n").encode(encoding)
    file = tmp_path / ("x.csv.gz" if packed else "x.csv")
    file.write_bytes(gzip.compress(raw) if packed else raw)
    check(file, CsvParams(separator=";", decimal=",", encoding=name))


@pytest.mark.parametrize(
    ("lines", "skip"),
    [
        ("sep=;\n", 1),
        ('"sep=;"\r\n', 1),
        ("Bericht über alle Orte\nerstellt am 2024-05-01\n\n", 3),
        ("# a comment, with commas, and; one semicolon\n", 1),
        ("Ort;Einheit;Werk;Netz\nKöln;MW;Nord;Süd\n\n", 3),  # as many cells as the table has
        ("\n\n", 0),
    ],
)
def test_lines_before_the_header(tmp_path: Path, lines: str, skip: int) -> None:
    file = tmp_path / "x.csv"
    file.write_text(lines + table(";", ","), encoding="utf-8")
    check(file, CsvParams(separator=";", decimal=",", skip=skip))


def small(values: str, separator: str = ",") -> str:
    return "".join(f"2024-01-{i + 1:02}{separator}{value}\n" for i, value in enumerate(["", *values.split()]) if i)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('zeit,menge\n' + small('"1,234" "2,345" "19,148"'), r"x\.csv:2: '1,234' in column 'menge' may be 1\.234 or 1234, and "
         r"no other.*csv: \{decimal: \",\"\} in the run file.*or csv: \{thousands: \",\"\}"),
        ("zeit,menge\n" + small("1.234 2.345 19 987"), r"x\.csv:2: '1\.234' in column 'menge' may be 1\.234 or 1234"),
        ("zeit;menge\n" + small("1.234 2.345 19", ";"), r"x\.csv:2: '1\.234' in column 'menge' may be 1\.234 or 1234.*"
         r"\{separator: \";\", decimal: \"\.\"\}.*\{separator: \";\", decimal: \",\", thousands: \"\.\"\}"),
        ("zeit;menge;grad\n" + small("1,5;2.25 2,5;2.5", ";"),
         r"written in two ways: '2\.25' in column 'grad' \(.*x\.csv:2\) has "
         r"a decimal point, '1,5' in column 'menge'"),
    ],
)  # fmt: skip
def test_what_may_be_read_in_two_ways_is_not_guessed(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.csv").write_text(text)
    data = DataParams(path=str(tmp_path / "x.csv"), time="zeit", target="menge", frequency="1d")
    with pytest.raises(UserError, match=message):
        open_recognised(data, tmp_path, [tmp_path / "x.csv"], {})


@pytest.mark.parametrize("values", ["1.234 2.345 19.000 200.125", "1.234 2.345 19 2000", "1.234 2.5 19 200", "1234 2 3"])
def test_decimals_of_a_plain_file_stay_as_they_are(tmp_path: Path, values: str) -> None:
    (tmp_path / "x.csv").write_text("zeit,menge,aktion\n" + small(" ".join(f"{value},1" for value in values.split())))
    data = DataParams(path=str(tmp_path / "x.csv"), time="zeit", target="menge", frequency="1d")
    assert look_into(data).data.csv is None


def test_bytes_of_an_encoding_that_nothing_tells_are_named(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes("zeit;ort\n2024-01-01;Москва\n".encode("cp1251"))
    with pytest.raises(UserError, match=r"x\.csv:2: this file is not UTF-8.*data\.csv: \{encoding: cp1251\}"):
        look_into(params(tmp_path / "x.csv"))


def test_a_number_of_another_form_is_no_number(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(table(";", ",") + "2024-06-01;Köln;1.234;1,5\n")
    source = open_source(params(tmp_path / "x.csv", CsvParams(separator=";", decimal=",")))
    assert scan_series(source, []).collect()["y"].to_list()[-1] == "1.234 (not as data.csv says)"


@pytest.mark.parametrize(
    ("text", "encoding", "hint"),
    [
        (table(";", ","), "utf-8", r'csv: \{separator: ";", decimal: ","\} under data'),
        ("sep=\t\n" + table("\t"), "utf-8", r'csv: \{separator: "\\t", skip: 1\} under data'),
        (table(";", ","), "utf-16", r'csv: \{separator: ";", decimal: ",", encoding: utf-16\} under data'),
        (table(","), "cp1252", r"csv: \{encoding: cp1252\} under data"),
        ("Report\nof today\n" + table(","), "utf-8", r"csv: \{skip: 2\} under data"),
    ],
)
def test_a_run_file_without_the_form_is_told_what_to_write(tmp_path: Path, text: str, encoding: str, hint: str) -> None:
    (tmp_path / "x.csv").write_bytes(text.encode(encoding))
    with pytest.raises(UserError, match=hint):
        scan_series(open_source(params(tmp_path / "x.csv")), [])


@pytest.mark.parametrize(
    ("said", "values"), [({"decimal": ","}, [1.234, 2.345, 19.148]), ({"thousands": ","}, [1234.0, 2345.0, 19148.0])]
)
def test_what_the_caller_says_is_not_asked_again(tmp_path: Path, said: dict[str, str], values: list[float]) -> None:
    (tmp_path / "x.csv").write_text("sep=;\nzeit;menge\n" + small("1,234 2,345 19,148", ";"))
    data = DataParams(path=str(tmp_path / "x.csv"), time="zeit", target="menge", frequency="1d")
    seen = look_into(data, known=said)
    assert seen.data.csv == CsvParams(separator=";", skip=1, **said)
    assert scan_series(seen, []).collect()["y"].cast(pl.Float64).to_list() == values


def test_an_encoding_that_the_caller_says_is_read(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes("zeit;ort;menge\n2024-01-01;Москва;1,5\n2024-01-02;Москва;2,5\n".encode("cp1251"))
    seen = look_into(params(tmp_path / "x.csv"), known={"encoding": "cp1251"})
    assert seen.data.csv == CsvParams(separator=";", decimal=",", encoding="cp1251")
    assert scan_series(seen, []).collect()["unique_id"][0] == "Москва"


def random_table(seed: int) -> tuple[bytes, list[float]]:
    """A table in a random form, with words that hold separators, and the values of its column `menge`."""
    r = Random(seed)
    separator, decimal, encoding = r.choice(",;\t|"), r.choice(".,"), r.choice(["utf-8-sig", "cp1252", "utf-16", "utf-16-le"])
    thousands = r.choice(["", "", "\u00a0", "'", "." if decimal == "," else ","])
    digits, scale, lead = r.choice([0, 1, 2, 3, 6]), r.choice([1, 100, 5000, 1e6]), r.choice([0, 1, 3])
    values = [round(r.gauss(0, 1) * scale, digits) for _ in range(r.choice([12, 60]))]
    text = io.StringIO("".join(r.choice(["Bericht, Stand; heute\n", f"Ort{separator}Köln\n", "\n"]) for _ in range(lead)))
    text.seek(0, io.SEEK_END)
    rows = writer(
        text, delimiter=separator, quoting=r.choice([QUOTE_ALL, QUOTE_MINIMAL]), lineterminator=r.choice(["\n", "\r\n"])
    )
    rows.writerow(["zeit", "ort", "menge", "note"])
    for i, value in enumerate(values):
        cell = f"{value:,.{digits}f}".translate(str.maketrans({",": thousands, ".": decimal}))
        rows.writerow(
            [f"2024-{1 + i // 28:02}-{1 + i % 28:02}", r.choice(["Köln", "A, B", "C;D"]), cell, r.choice(["", "1.2.3", "a, b"])]
        )
    return text.getvalue().encode(encoding), values


@pytest.mark.parametrize("seed", range(40))
def test_a_table_in_a_random_form_is_read_right_or_refused(tmp_path: Path, seed: int) -> None:
    raw, values = random_table(seed)
    (tmp_path / "x.csv").write_bytes(raw)
    try:
        seen = look_into(params(tmp_path / "x.csv"))
    except UserError as error:
        assert "may be" in str(error)
        return
    assert scan_series(seen, []).collect()["y"].cast(pl.Float64).to_list() == pytest.approx(values)
