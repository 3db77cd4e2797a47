"""The outer seal of a version: path, size and sha256 of every file in its folder, including MLflow's own.

`seal.json` in the folder lists every other file.  Its own sha256 is the version's tag `seal`: whoever can
write to the artifact store, but not to the registry, cannot forge it.  Sealing opens none of the files as
anything but bytes.
"""

import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

SEAL, TAG = "seal.json", "seal"
ADDED = "registered_model_meta"  # MLflow writes it into folders that it fetches or loads in place; we never read it
LAYOUT = 1
MOST_FILES, MOST_BYTES, LONGEST_LIST, LONGEST_PATH = 1000, 64 * 2**30, 2**20, 512
MOST_FOLDERS = 20  # folders searched for the name of an extra file

Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Broken(ValueError):
    """A folder differs from the sealed one; names the file and the difference."""


@dataclass(frozen=True)
class Entry:
    """What lies at a path: a file of so many bytes, a `folder`, or something else (`bytes` is None)."""

    path: str
    bytes: int | None = None
    folder: bool = False


Listing = Callable[[str], Iterable[Entry]]  # the direct contents of a folder below the sealed one; "" is that itself


class _Listed(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    sha256: Digest
    bytes: int = Field(ge=0, le=MOST_BYTES)


class _List(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    layout: int = Field(ge=LAYOUT, le=LAYOUT)
    files: dict[str, _Listed] = Field(min_length=1, max_length=MOST_FILES)


@dataclass(frozen=True)
class Seal:
    """The content of `seal.json`: path -> (sha256, bytes)."""

    files: Mapping[str, tuple[str, int]]

    @classmethod
    def read(cls, content: bytes, digest: str) -> Self:
        """Parses the bytes of `seal.json`.  Raises Broken if their sha256 or their form is wrong."""
        if hashlib.sha256(content).hexdigest() != digest:
            raise Broken(f"{SEAL} is not the one that was registered (sha256 {digest[:12]}...)")
        try:
            listed = _List.model_validate_json(content)
        except ValidationError:
            raise Broken(f"{SEAL} cannot be read: it is no list of files with their size and sha256") from None
        bad = next((path for path in listed.files if not _plain(path)), None)
        if bad is not None:
            raise Broken(f"{SEAL} lists {_shown(bad)}, which is no path of a file in the folder")
        if len({path.casefold() for path in listed.files}) < len(listed.files):
            raise Broken(f"{SEAL} lists two files that some file systems take for one")
        if sum(file.bytes for file in listed.files.values()) > MOST_BYTES:
            raise Broken(f"{SEAL} lists more than {MOST_BYTES >> 30} GiB")
        return cls({path: (file.sha256, file.bytes) for path, file in listed.files.items()})

    def compare(self, listing: Listing) -> None:
        """Compares the names and sizes in a folder with the list, without opening a file.

        Raises Broken for the first file, by name, that is extra, missing, of another size or not a plain
        file.  In a folder where nothing is listed, only the first file is looked for, so that this ends.
        """
        folders = {str(above) for path in self.files for above in PurePosixPath(path).parents} - {"."}
        todo, seen = [""], set[str]()
        while todo:
            for entry in sorted(listing(todo.pop()), key=lambda entry: entry.path):
                if not entry.folder:
                    self._check_entry(entry, folders)
                    seen.add(entry.path)
                elif entry.path in folders:
                    todo.append(entry.path)
                else:
                    raise _extra(_first_file(entry.path, listing) or f"{entry.path}/")
        if missing := sorted(set(self.files) - seen):
            raise Broken(f"{missing[0]} is missing")

    def _check_entry(self, entry: Entry, folders: set[str]) -> None:
        """Raises Broken if a file, or what is in its place, does not match the list."""
        if entry.path not in {*self.files, *folders, SEAL, ADDED}:
            raise _extra(entry.path)
        if entry.bytes is None:
            raise Broken(f"{entry.path} is not a plain file or folder")
        if entry.path in (SEAL, ADDED):
            changed = entry.bytes > LONGEST_LIST
        else:
            changed = entry.path in folders or entry.bytes != self.files[entry.path][1]
        if changed:
            raise Broken(f"{entry.path} has changed since it was registered")

    def check(self, folder: Path) -> None:
        """Compares a local folder with the list, every byte.  Raises Broken like `compare`."""
        self.compare(lambda below: entries(folder, below))
        for path, (sha256, _) in self.files.items():
            if _sha256(folder / path) != sha256:
                raise Broken(f"{path} has changed since it was registered")


def write(folder: Path) -> str:
    """Seals a complete folder as it is; returns the digest for the version's tag."""
    files = {path: _sha256(folder / path) for path in sorted(_files(folder))}
    listed = {path: {"sha256": sha256, "bytes": (folder / path).stat().st_size} for path, sha256 in files.items()}
    content = json.dumps({"layout": LAYOUT, "files": listed}, indent=1).encode()
    digest = hashlib.sha256(content).hexdigest()
    Seal.read(content, digest)  # never seal what could not be opened
    (folder / SEAL).write_bytes(content)
    return digest


def entries(folder: Path, below: str = "") -> Iterator[Entry]:
    """The direct contents of a local folder; a link counts as neither file nor folder."""
    with os.scandir(folder / below) as scan:
        for entry in scan:
            path, about = f"{below}/{entry.name}" if below else entry.name, entry.stat(follow_symlinks=False)
            plain = stat.S_ISREG(about.st_mode)
            yield Entry(path, about.st_size if plain else None, stat.S_ISDIR(about.st_mode))


def _files(folder: Path, below: str = "") -> Iterator[str]:
    """Every file below a folder.  Raises Broken for anything that is neither file nor folder."""
    for entry in entries(folder, below):
        if entry.folder:
            yield from _files(folder, entry.path)
        elif entry.bytes is None:
            raise Broken(f"{entry.path} is not a plain file")
        elif entry.path not in (SEAL, ADDED):
            yield entry.path


def _plain(path: str) -> bool:
    """Whether a path names a file in the folder, the same on every system."""
    parts = path.split("/")
    return (
        len(path) <= LONGEST_PATH
        and path.isprintable()
        and "\\" not in path
        and not {"", ".", ".."} & set(parts)
        and path.casefold() not in (SEAL, ADDED)
    )


def _first_file(folder: str, listing: Listing) -> str | None:
    """The path of a file at some depth of a folder; None if none is found soon."""
    todo = [folder]
    for _ in range(MOST_FOLDERS):
        if not todo:
            break
        listed = sorted(listing(todo.pop()), key=lambda entry: entry.path)
        for entry in listed:
            if not entry.folder:
                return entry.path
        todo += [entry.path for entry in listed]
    return None


def _extra(path: str) -> Broken:
    return Broken(f"{_shown(path)} is extra: it was not registered; remove it, and ask who put it there")


def _shown(path: str) -> str:
    """A path for a message, with unprintable characters escaped."""
    short = path if len(path) <= LONGEST_PATH else path[:LONGEST_PATH] + "..."
    return short if short.isprintable() else ascii(short)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
