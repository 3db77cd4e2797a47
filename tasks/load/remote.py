"""Remote tables (s3://, gs://, az://, abfss://, https://): downloaded once per command to a private mirror.

Only the mirror is opened, so nothing changes between two reads and the digest covers the bytes themselves.
"""

import fnmatch
import glob
import os
import re
import shutil
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from params.data import ADDRESS, in_environment
from params.errors import UserError
from params.shown import shown
from tasks.load.kinds import DELTA_LOG, suffix_of
from tasks.load.scratch import scratch
from tasks.load.stores import reason, store
from tasks.load.web import fetch

if TYPE_CHECKING:
    from pyarrow.fs import FileInfo, FileSystem

BLOCK = 1 << 20
_here = threading.Lock()
_taken: dict[tuple[str, str], "Mirror"] = {}


@dataclass(frozen=True)
class Mirror:
    """The download of an address.  `path`: its counterpart in `folder`, a file, a folder or a pattern.

    `name`: what messages call `folder`.
    """

    folder: Path
    path: str
    name: str


def address_of(path: str) -> str | None:
    """The address in `data.path`, or in the variable of `env:NAME`; None for a path.  Raises UserError."""
    name = in_environment(path)
    if name is None:
        return path if ADDRESS.match(path) else None
    text = os.environ.get(name, "").strip()
    if not ADDRESS.match(text):
        raise UserError(
            f"data.path {path}: the environment variable {name} holds no address (its value is not shown); set it to one, such "
            "as https://host/table.csv or s3://bucket/folder"
        )
    return text


def mirror(path: str) -> Mirror:
    """The files of an address, downloaded once per process.  Raises UserError without secrets."""
    address = address_of(path)
    assert address is not None, "a path is read where it is"
    with _here:
        if (path, address) not in _taken:
            try:
                _taken[path, address] = _read(address, path)
            except (OSError, ValueError) as error:
                raise UserError(f"data.path {path}: {reason(error, address)}") from None
        return _taken[path, address]


def is_here(path: str | None) -> bool:
    """Whether this path needs no further download."""
    return path is None or address_of(path) is None or any(key[0] == path for key in _taken)


def forget(path: str) -> None:
    """Makes the next `mirror` of this path download again, for a process with several comparisons."""
    with _here:
        for key in [key for key in _taken if key[0] == path]:
            shutil.rmtree(_taken.pop(key).folder, ignore_errors=True)


def named(text: str) -> str:
    """A text with the mirrors' folders replaced by their addresses."""
    for mirrored in list(_taken.values()):
        text = text.replace(f"{mirrored.folder}/", mirrored.name).replace(str(mirrored.folder), mirrored.name)
    return text


def _read(address: str, path: str) -> Mirror:
    folder = scratch("mirror")
    try:
        if urlsplit(address).scheme.lower() in ("http", "https"):
            file = fetch(address, folder)
            return Mirror(folder, file.name, path.rpartition("/")[0] + "/" if path == address else f"{path} ")
        return _read_store(address, path, folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _read_store(address: str, path: str, folder: Path) -> Mirror:
    system, inside = store(address)
    files = list(_files(system, inside))
    if not files:
        magic = glob.has_magic(inside)
        what = "no object matches this pattern" if magic else "there is no such object, nor tables below it"
        raise UserError(f"data.path {path}: {what} (is the bucket right, and may these credentials list it?)")
    size, count = sum(file.size or 0 for file in files), "1 file" if len(files) == 1 else f"{len(files):,} files"
    print(shown(f"reading {path}: {count}, {size / 1e6:,.1f} MB"), file=sys.stderr, flush=True)
    for file in files:
        _copy(system, file, _inside(folder, file.path))
    return Mirror(folder, inside, address[: address.index("://") + 3] if path == address else f"{path} ")


def _inside(folder: Path, name: str) -> Path:
    """The path of a key in a folder.  Raises UserError for one that leads out of it."""
    if any(part in ("", ".", "..") or "\0" in part for part in name.split("/")):
        raise UserError(f"the object {name!r} has a name that can be no file: name others, or rename it")
    return folder / name


def _copy(system: "FileSystem", file: "FileInfo", target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with system.open_input_stream(file.path) as stream, target.open("wb") as out:
        while block := stream.read(BLOCK):
            out.write(block)
    if file.size is not None and target.stat().st_size != file.size:
        raise OSError(f"{file.path} ended after {target.stat().st_size:,} of {file.size:,} bytes")


def _files(system: "FileSystem", inside: str) -> Iterator["FileInfo"]:
    """The objects that a path in a store names, as `find_files` would find them on disk."""
    from pyarrow.fs import FileType

    if glob.has_magic(inside):
        for file in _below(system, re.split(r"[^/]*[*?\[]", inside)[0].rstrip("/"), everywhere=True):
            if _matches(file.path.split("/"), inside.split("/")):
                yield file
        return
    (info,) = system.get_file_info([inside])
    if info.type == FileType.File:
        yield info
    elif info.type == FileType.Directory:
        yield from (f for f in _below(system, inside) if suffix_of(Path(f.path)) or f"/{DELTA_LOG}/" in f.path)


def _below(system: "FileSystem", folder: str, everywhere: bool = False) -> Iterator["FileInfo"]:
    """The objects below a prefix: in it, in `column=value` folders and, for a Delta table, everywhere."""
    from pyarrow.fs import FileSelector, FileType

    listing = system.get_file_info(FileSelector(folder, allow_not_found=True))
    entries = sorted(listing, key=lambda entry: str(entry.path))
    everywhere = everywhere or any(entry.base_name == DELTA_LOG for entry in entries)
    for entry in entries:
        if entry.type == FileType.Directory and (everywhere or "=" in entry.base_name):
            yield from _below(system, entry.path, everywhere)
        elif entry.type == FileType.File:
            yield entry


def _matches(parts: list[str], pattern: list[str]) -> bool:
    """Whether the parts of a path match a pattern's; `**` matches any number of folders."""
    if not parts or not pattern:
        return not parts and not pattern
    if pattern[0] == "**":
        return _matches(parts, pattern[1:]) or _matches(parts[1:], pattern)
    return fnmatch.fnmatchcase(parts[0], pattern[0]) and _matches(parts[1:], pattern[1:])
