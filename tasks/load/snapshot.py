"""The result of a database query, kept as this process's Parquet file, so that the query runs once.

All steps of a command see the same rows.  Batches may disagree about a column (only nulls, then numbers):
each keeps its own dtypes, and a common dtype is chosen at the end.
"""

import hashlib
import shutil
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any
from uuid import UUID

import polars as pl
from polars.exceptions import PolarsError

from params.data import DataParams
from params.errors import UserError
from tasks.load.database import Batch, read_batches, url_text
from tasks.load.scratch import scratch
from tasks.names import column


class Kind(Enum):
    """What a column holds, in words and as a polars dtype."""

    NOTHING = "nothing", pl.Null()
    TRUTHS = "true or false", pl.Boolean()
    WHOLE = "whole numbers", pl.Int64()
    NUMBERS = "numbers", pl.Float64()
    TEXT = "text", pl.String()
    DATES = "dates", pl.Date()
    TIMES = "times", pl.Datetime("us")
    ZONED = "times with an offset", pl.Datetime("us", "UTC")

    def __init__(self, words: str, dtype: pl.DataType) -> None:
        self.words, self.dtype = words, dtype


WIDER = (Kind.TRUTHS, Kind.WHOLE, Kind.NUMBERS)  # each includes those before it
_here = threading.Lock()
_taken: dict[tuple[str, str, str], "Snapshot"] = {}


@dataclass(frozen=True)
class Snapshot:
    """The rows of a query in `file`; `sha256` covers the query's text and the rows in order."""

    file: Path
    rows: int
    sha256: str


def snapshot(data: DataParams) -> Snapshot:
    """The rows of `data.query`, read once per process.  Raises UserError if that fails."""
    assert data.query is not None and data.uri is not None, "the schema lets no run without them come here"
    key = (data.query, data.uri, url_text(data.uri))
    with _here:
        if key not in _taken:
            _taken[key] = _read(data.query, data.uri)
        return _taken[key]


def forget(data: DataParams) -> None:
    """Makes the next snapshot query the database again, for a process with several comparisons."""
    with _here:
        for key in [key for key in _taken if key[:2] == (data.query, data.uri)]:
            shutil.rmtree(_taken.pop(key).file.parent, ignore_errors=True)


def _read(query: str, uri: str) -> Snapshot:
    folder = scratch("query")
    try:
        return _write(read_batches(query, uri), query, folder)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, (OSError, PolarsError)):
            raise UserError(f"data.query ({uri}): its rows cannot be kept in {folder.parent} ({error}); set TMPDIR") from None
        raise


def _write(batches: Iterator[Batch], query: str, folder: Path) -> Snapshot:
    """Writes a part per batch with its own dtypes, then one file with common dtypes."""
    digest = hashlib.sha256(query.encode() + b"\0")
    kinds: dict[str, Kind] = {}
    count = 0
    parts: list[Path] = []
    for names, rows in batches:
        _refuse_names(names)
        digest.update(repr(names).encode() if not parts else b"")
        digest.update("".join(f"{tuple(row)!r}\n" for row in rows).encode("utf-8", "surrogatepass"))
        columns = dict(zip(names, zip(*rows, strict=True) if rows else ([] for _ in names), strict=True))
        batch_kinds = {name: _kind(name, values) for name, values in columns.items()}
        kinds = {name: _wider(name, kinds.get(name, Kind.NOTHING), kind) for name, kind in batch_kinds.items()}
        series = [
            pl.Series(name, _plain(values, batch_kinds[name]), batch_kinds[name].dtype) for name, values in columns.items()
        ]
        parts.append(folder / f"part-{len(parts):06}.parquet")
        pl.DataFrame(series).write_parquet(parts[-1], compression="lz4")
        count += len(rows)
    if not count:
        raise UserError("data.query: the query gives no rows; correct it, or look whether the table is filled")
    casts = [column(name).cast(kind.dtype) for name, kind in kinds.items()]
    pl.concat([pl.scan_parquet(part, glob=False).select(casts) for part in parts]).sink_parquet(folder / "rows.parquet")
    for part in parts:
        part.unlink()
    return Snapshot(folder / "rows.parquet", count, digest.hexdigest())


def _refuse_names(names: list[str]) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise UserError(f"data.query: it gives {', '.join(map(repr, repeated))} more than once; name each column once, with AS")


def _kind(name: str, values: Sequence[Any]) -> Kind:
    """What a batch's column holds.  Raises UserError for mixed or unsupported values."""
    kind = Kind.NOTHING
    examples = {(type(value), getattr(value, "tzinfo", None) is None): value for value in values}
    for example in examples.values():
        kind = _wider(name, kind, _kind_of(name, example), example)
    if kind is Kind.WHOLE and any(
        isinstance(v, Decimal) and not (v.is_finite() and v == v.to_integral_value()) for v in values
    ):
        return Kind.NUMBERS
    big = kind is Kind.WHOLE and any(value is not None and not -(2**63) <= value < 2**63 for value in values)
    return Kind.NUMBERS if big else kind


def _kind_of(name: str, value: Any) -> Kind:
    if value is None:
        return Kind.NOTHING
    if isinstance(value, datetime):
        return Kind.TIMES if value.tzinfo is None else Kind.ZONED
    for types, kind in (
        (bool, Kind.TRUTHS), ((int, Decimal), Kind.WHOLE), (float, Kind.NUMBERS), ((str, UUID), Kind.TEXT), (date, Kind.DATES),
    ):  # fmt: skip
        if isinstance(value, types):
            return kind
    raise UserError(
        f"data.query: column {name!r} holds {type(value).__name__} values; cast it in the query to a number, text or a time, "
        "or leave it out"
    )


def _wider(name: str, kind: Kind, other: Kind, example: object = None) -> Kind:
    """The kind that includes both.  Raises UserError if there is none."""
    if kind is other or other is Kind.NOTHING:
        return kind
    if kind is Kind.NOTHING:
        return other
    if kind in WIDER and other in WIDER:
        return max(kind, other, key=WIDER.index)
    such = f" (such as {str(example)[:40]!r})" if example is not None else ""
    raise UserError(
        f"data.query: column {name!r} mixes {kind.words} and {other.words}{such}; make it one type in the query, with CAST"
    )


def _plain(values: Sequence[Any], kind: Kind) -> list[Any]:
    """The values converted for the polars dtype of their kind."""
    if kind is Kind.TEXT:
        return [value if value is None else str(value) for value in values]
    if kind is Kind.WHOLE:
        return [value if value is None else int(value) for value in values]
    if kind is Kind.NUMBERS:
        return [value if value is None else float(value) for value in values]
    if kind is Kind.ZONED:
        return [value if value is None else value.astimezone(UTC) for value in values]
    return list(values)
