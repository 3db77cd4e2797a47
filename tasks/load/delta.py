"""A Delta table in a folder: the files of its newest version, read by polars via the package `deltalake`."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

import polars as pl

from params.errors import UserError
from tasks.load.files import Table

if TYPE_CHECKING:
    from deltalake import DeltaTable


def open_delta(folder: Path, name: str) -> Table:
    """The newest version of a Delta table; the digest covers its version number and its files' contents.

    Raises UserError if the package is missing or the table cannot be read.
    """
    try:
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError
    except ImportError:
        raise UserError(
            f"{name}: this folder is a Delta table, which is read through the package deltalake: pip install 'lagline[delta]'"
        ) from None
    try:
        table = DeltaTable(folder)
        _stays_inside(folder, table, name)
        rows = pl.scan_delta(table)
        called, size = f"{name} (version {table.version()})", sum(size for _, size in _paths(table))
        return Table(called, folder, rows, rows.collect_schema(), size, _digest(folder, table))
    except DeltaError as error:
        raise UserError(f"{name}: this Delta table cannot be read ({str(error).splitlines()[0][:200]})") from None


def _paths(table: "DeltaTable") -> list[tuple[str, int]]:
    actions = pl.DataFrame(table.get_add_actions(flatten=True))
    return sorted(zip(map(unquote, actions["path"]), actions["size_bytes"], strict=True))


def _stays_inside(folder: Path, table: "DeltaTable", name: str) -> None:
    """Raises UserError if the log names a file outside the folder."""
    whole = folder.resolve()
    for path, _ in _paths(table):
        if "://" in path or not (whole / path).resolve().is_relative_to(whole):
            raise UserError(f"{name}: the log of this Delta table names a file outside of its folder, {path!r}: it is not read")


def _digest(folder: Path, table: "DeltaTable") -> str:
    whole = hashlib.sha256(f"{table.version()}\n".encode())
    for path, _ in _paths(table):
        with (folder / path).open("rb") as stream:
            whole.update(f"{path}\0{hashlib.file_digest(stream, 'sha256').hexdigest()}\n".encode())
    return whole.hexdigest()
