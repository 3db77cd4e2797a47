"""Reads a text table from end to end once: checks that every row has the header's fields, and hashes it.

polars silently pads short rows and renames repeated headers, so both are refused here.  It reads only UTF-8,
so other encodings are converted.
"""

import codecs
import csv
import gzip
import hashlib
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from params.data import CsvParams
from params.errors import UserError
from tasks.load.scratch import scratch

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

BLOCK = 1 << 20  # bytes processed at a time
MOST_NAMED = 20
SEPARATORS = {".csv": ",", ".tsv": "\t", ".psv": "|"}


@dataclass(frozen=True)
class Text:
    """A text table that was read through: the sha256 of its bytes, the file with it as UTF-8, its columns."""

    sha256: str
    utf8: Path
    header: tuple[str, ...]


def separator_of(file: Path, csv: CsvParams) -> str:
    """The separator of cells: as `csv` says, else by the suffix of the file."""
    return csv.separator or SEPARATORS.get(Path(file.name.lower().removesuffix(".gz")).suffix, ",")


def read_through(file: Path, csv: CsvParams) -> Text:
    """The sha256 of a text table's bytes (as compressed), and the file that polars may read.

    Raises UserError, with the line, for a row with more or fewer fields than the header (blank lines are
    skipped), a repeated column, and bytes invalid in the encoding; csv.Error, zlib.error, EOFError and
    OSError for a damaged file.
    """
    with file.open("rb", buffering=0) as raw:
        hashed = _Hashed(raw)
        whole = io.BufferedReader(hashed, BLOCK)
        stream: io.BufferedIOBase = opened(whole, file)
        utf8, mark = file, separator_of(file, csv)
        if csv.is_utf8:
            header = _check_rows(stream, file, mark, csv.skip)
        else:
            utf8 = scratch("text") / "table.csv"
            _write_utf8(stream, utf8, file, csv.encoding)
            with utf8.open("rb") as copy:
                header = _check_rows(copy, file, mark, csv.skip)
        while whole.read(BLOCK):  # bytes after the end of an archive
            pass
    return Text(hashed.digest.hexdigest(), utf8, tuple(header))


def opened(whole: "io.BufferedReader[Any]", file: Path) -> io.BufferedIOBase:
    """The bytes of a text table, decompressed if its name ends in .gz."""
    return gzip.GzipFile(fileobj=whole) if file.name.lower().endswith(".gz") else whole


def _write_utf8(stream: io.BufferedIOBase, utf8: Path, file: Path, encoding: str) -> None:
    decoder, line = codecs.getincrementaldecoder(encoding)(), 1
    with utf8.open("wb") as out:
        block = b"x"
        while block:
            block = stream.read(BLOCK)
            try:
                text = decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                raise _other_encoding(file, line + error.object[: error.start].count(b"\n"), encoding) from None
            line += text.count("\n")
            out.write(text.encode("utf-8", "surrogatepass"))


class UnknownForm(UserError):
    """A text whose format is unclear; its message says what to write in `data.csv`."""


def _other_encoding(file: Path, line: int, encoding: str) -> UnknownForm:
    return UnknownForm(
        f"{file}:{line}: this file cannot be read as {encoding}: name its encoding in data.csv, such as {{encoding: cp1252}}"
    )


class _Hashed(io.RawIOBase):
    """The bytes of a stream, hashed as they are read."""

    def __init__(self, stream: io.RawIOBase | io.FileIO) -> None:
        super().__init__()
        self.stream, self.digest = stream, hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        count = self.stream.readinto(buffer) or 0
        self.digest.update(memoryview(buffer)[:count])
        return count


def _check_rows(stream: io.BufferedIOBase, file: Path, separator: str, skip: int) -> list[str]:
    """Counts the separators of whole lines; from the first quote on, it uses a CSV reader instead.

    Returns the header.
    """
    header: list[str] = []
    line = 1 + skip
    for block in _blocks(stream, skip):
        if b'"' in block:
            return _check_quoted(chain(io.BytesIO(block), stream), file, separator, header, line)
        text = _utf8(block, file, line)
        header = header or _header(csv.reader(io.StringIO(text, newline=""), delimiter=separator), file)
        uneven = _first_uneven(block, ord(separator), len(header))
        if uneven is not None:
            raise _refusal(file, line + uneven, len(header))
        line += text.count("\n")
    return header


def _utf8(block: bytes, file: Path, line: int) -> str:
    try:
        return block.decode()
    except UnicodeDecodeError as error:
        raise _other_encoding(file, line + block[: error.start].count(b"\n"), "UTF-8") from None


def _blocks(stream: io.BufferedIOBase, skip: int) -> Iterator[bytes]:
    """The bytes in whole lines, without a byte order mark and the first `skip` lines.

    If a block is only partly consumed, the stream continues after it.
    """
    rest = stream.read(len(codecs.BOM_UTF8)).removeprefix(codecs.BOM_UTF8)
    for _ in range(skip):
        rest = (rest if b"\n" in rest else rest + stream.readline()).partition(b"\n")[2]
    while part := stream.read(BLOCK):
        rest += part + stream.readline()
        yield rest
        rest = b""
    if rest:
        yield rest


def _first_uneven(block: bytes, separator: int, width: int) -> int | None:
    """The number, from 0, of the first non-blank line without exactly `width - 1` separators."""
    values = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(values == ord("\n"))
    if not block.endswith(b"\n"):
        ends = np.append(ends, len(block))
    counts = np.diff(np.searchsorted(np.flatnonzero(values == separator), ends), prepend=0)
    for number in np.flatnonzero(counts != width - 1):
        if block[ends[number - 1] + 1 if number else 0 : ends[number]].strip(b"\r"):
            return int(number)
    return None


def _check_quoted(lines: Iterable[bytes], file: Path, separator: str, header: list[str], line: int) -> list[str]:
    """Checks the rest of a file, from line `line` on, with a CSV reader; returns the header."""
    reader = csv.reader((_utf8(text, file, line + number) for number, text in enumerate(lines)), delimiter=separator)
    header = header or _header(reader, file)
    for row in reader:
        if row and len(row) != len(header):
            raise _refusal(file, line - 1 + reader.line_num, len(header))
    return header


def _header(rows: Iterable[list[str]], file: Path) -> list[str]:
    """The columns of the first non-blank row; empty if there is none."""
    header = next((row for row in rows if row), [])
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        raise UserError(f"{file}: the header names {listed(repeated)} more than once; rename or remove the others")
    return header


def _refusal(file: Path, line: int, width: int) -> UserError:
    return UserError(f"{file}:{line}: this row does not have the {width} fields of the header; correct or remove it")


def listed(names: Sequence[str]) -> str:
    """At most 20 names, separated by commas; nothing in them affects a terminal."""
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(repr(name)[1:-1] or "(empty)" for name in names[:MOST_NAMED]) + more
