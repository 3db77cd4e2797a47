"""A text table read from end to end once: every row has the fields of the header, and the sha256 of its bytes.

polars pads a short row and renames a repeated header without a word, so both are refused here.
"""

import codecs
import csv
import gzip
import hashlib
import io
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from params.errors import UserError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

BLOCK = 1 << 20  # bytes looked at together
MOST_NAMED = 20


def read_through(file: Path, separator: str) -> str:
    """The sha256 of a CSV file's bytes, compressed as they are.

    Raises UserError, naming the line, for a row with more or fewer fields than the header (blank lines are passed over) and
    for a header that names a column twice; UnicodeDecodeError, csv.Error, zlib.error, EOFError and OSError for a damaged file.
    """
    with file.open("rb", buffering=0) as raw:
        hashed = _Hashed(raw)
        whole = io.BufferedReader(hashed, BLOCK)
        _check_rows(gzip.GzipFile(fileobj=whole) if file.name.lower().endswith(".gz") else whole, file, separator)
        while whole.read(BLOCK):  # what stands behind the end of an archive
            pass
    return hashed.digest.hexdigest()


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


def _check_rows(stream: io.BufferedIOBase, file: Path, separator: str) -> None:
    """Counts the separators of whole lines; from the first quote on, inside which they may stand, it takes a CSV reader."""
    width, line = 0, 1
    for block in _blocks(stream):
        if b'"' in block:
            _check_quoted(chain(io.BytesIO(block), stream), file, separator, width, line)
            return
        text = block.decode()
        if not width:
            width = _header(csv.reader(io.StringIO(text, newline=""), delimiter=separator), file)
        uneven = _first_uneven(block, ord(separator), width)
        if uneven is not None:
            raise _refusal(file, line + uneven, width)
        line += text.count("\n")


def _blocks(stream: io.BufferedIOBase) -> Iterator[bytes]:
    """The bytes in whole lines, without a byte order mark.  Where a block is left half used, the stream goes on after it."""
    rest = stream.read(len(codecs.BOM_UTF8)).removeprefix(codecs.BOM_UTF8)
    while part := stream.read(BLOCK):
        rest += part + stream.readline()
        yield rest
        rest = b""
    if rest:
        yield rest


def _first_uneven(block: bytes, separator: int, width: int) -> int | None:
    """The number, from 0, of the first line that has not `width - 1` separators and is not blank."""
    values = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(values == ord("\n"))
    if not block.endswith(b"\n"):
        ends = np.append(ends, len(block))
    counts = np.diff(np.searchsorted(np.flatnonzero(values == separator), ends), prepend=0)
    for number in np.flatnonzero(counts != width - 1):
        if block[ends[number - 1] + 1 if number else 0 : ends[number]].strip(b"\r"):
            return int(number)
    return None


def _check_quoted(lines: Iterable[bytes], file: Path, separator: str, width: int, line: int) -> None:
    """The rest of a file by a CSV reader, from line number `line` on; with the header, where `width` is not known yet."""
    reader = csv.reader((text.decode() for text in lines), delimiter=separator)
    width = width or _header(reader, file)
    for row in reader:
        if row and len(row) != width:
            raise _refusal(file, line - 1 + reader.line_num, width)


def _header(rows: Iterable[list[str]], file: Path) -> int:
    """How many columns the first row names that is not blank; 0 where there is none."""
    header = next((row for row in rows if row), [])
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        raise UserError(f"{file}: the header names {listed(repeated)} more than once; rename or remove the others")
    return len(header)


def _refusal(file: Path, line: int, width: int) -> UserError:
    return UserError(f"{file}:{line}: this row does not have the {width} fields of the header; mend or remove it")


def listed(names: Sequence[str]) -> str:
    """At most 20 names in a row; nothing in them acts on a terminal."""
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(repr(name)[1:-1] or "(empty)" for name in names[:MOST_NAMED]) + more
