"""The shelf: panels by digest, shared by machines; LAGLINE_SHELF=s3://bucket/folder or file:///folder.

A panel is stored as in LAGLINE_HOME, under `panels/<digest>/`; its `panel.json` is written last, so a panel
without one does not exist.  Nothing here deletes a panel.
"""

import errno
import json
import os
import pickle
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from models.data.panel import UNREADABLE, arrays_of
from params.errors import Unavailable, UserError
from params.shown import masked, shown
from tasks.lags.panel import ask_for_room, is_whole
from tasks.lags.sizes import size_text
from tasks.load.stores import KINDS, reason, store

if TYPE_CHECKING:
    import numpy as np
    from pyarrow.fs import FileSystem

VARIABLE, FACTS, BLOCK = "LAGLINE_SHELF", "panel.json", 1 << 23
FORM = "write s3://bucket/folder, gs://bucket/folder, az://container/folder or file:///folder"


@dataclass(frozen=True)
class Shelf:
    """An open shelf: `root` is its path in `files`.  `renames`: files are written under another name and
    renamed (a folder), not put whole (an object store)."""

    address: str
    files: "FileSystem"
    root: str
    renames: bool

    def __str__(self) -> str:
        return f"the shelf {self.address} ({VARIABLE})"

    def path(self, digest: str, name: str = "") -> str:
        """The path in `files` of a panel's file, or of its folder."""
        return f"{self.root}/panels/{digest}" + (f"/{name}" if name else "")

    def silent(self, error: OSError) -> Unavailable:
        """The error to raise if the store fails."""
        if error.errno == errno.ENOSPC:
            return Unavailable(f"{self}: {os.strerror(errno.ENOSPC)}: make room and start the same command again")
        return Unavailable(f"{self}: {reason(error, self.address)}")


def shelf() -> Shelf | None:
    """The shelf that the environment names, not contacted yet; None if it names none.

    Raises UserError for an invalid address, one that contains a secret, and a missing folder.
    """
    address = os.environ.get(VARIABLE, "").strip()
    if not address:
        return None
    parts = urlsplit(address, allow_fragments=False)
    if masked(address) != address or parts.username or parts.password:
        raise UserError(
            f"{VARIABLE}: there is a password or a key in this address: leave it out, and set AWS_ACCESS_KEY_ID ..."
        )
    if parts.query:
        raise UserError(f"{VARIABLE}={address}: {FORM}; what follows the ? is said by the environment (AWS_ENDPOINT_URL)")
    if parts.scheme.lower() in KINDS:
        try:
            files, root = store(address)
        except UserError as error:
            raise UserError(f"{VARIABLE}={address}: {error}") from None
        return Shelf(address, files, root, renames=False)
    folder = Path(unquote(parts.path))
    if parts.scheme.lower() != "file" or parts.netloc not in ("", "localhost") or not folder.is_absolute():
        raise UserError(f"{VARIABLE}={address}: that is no address of a shelf: {FORM}")
    if not folder.is_dir():
        raise UserError(f"{VARIABLE}={address}: there is no folder {folder}: make it, or mount what it lies on")
    from pyarrow.fs import LocalFileSystem

    return Shelf(address, LocalFileSystem(), str(folder).rstrip("/"), renames=True)


def put(panel: Path) -> None:
    """Puts a panel's folder on the shelf, if there is one and it does not hold the panel yet.

    Each file appears whole, the facts last: until then readers see no panel.  Raises Unavailable if the shelf
    fails, UserError for a panel that does not match its digest.
    """
    remote = shelf()
    if remote is None:
        return
    try:
        if _holds(remote, panel):
            return
        if not is_whole(panel):
            raise UserError(f"panel {panel} is damaged and goes on no shelf: run the same command again, which builds it again")
        for name in _files_of(json.loads((panel / FACTS).read_text())):
            _write(remote, panel / name, remote.path(panel.name, name))
    except OSError as error:
        raise remote.silent(error) from None


def get(digest: str, panels: Path) -> bool:
    """Fetches a panel from the shelf into a folder of panels, verified by its digest; False if it has none.

    Raises Unavailable if the shelf does not answer or the disk is full, UserError if its panel is damaged.
    """
    remote = shelf()
    if remote is None:
        return False
    panels.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=panels, prefix=".partial-", ignore_cleanup_errors=True) as name:
        partial = Path(name) / digest
        partial.mkdir()
        try:
            if not _facts_to(remote, digest, partial):
                return False
            for file in _files_of(json.loads((partial / FACTS).read_text())):
                _read(remote, remote.path(digest, file), partial / file, panels)
        except FileNotFoundError as error:
            raise _damaged(remote, digest, str(error)) from None
        except OSError as error:
            raise remote.silent(error) from None
        except UNREADABLE as error:
            raise _damaged(remote, digest, f"{FACTS} cannot be read: {error}") from None
        if not is_whole(partial):
            raise _damaged(remote, digest, "its content is another one")
        size = sum(file.stat().st_size for file in partial.iterdir())
        put_in_place(partial, panels / digest, Path(name) / "old")
    print(shown(f"panel {digest[:12]} ({size_text(size)}) came from {remote}"), file=sys.stderr)
    return True


def reader(panel: Path) -> Callable[[], Mapping[str, "np.ndarray"]] | None:
    """A function that reads a panel's files (name -> content, uint8) lazily from the shelf elsewhere.

    It is pickled with everything it needs except numpy and pyarrow, and uses that machine's credentials.  It
    raises PermissionError if that machine cannot read.  None without a shelf, or if it lacks the panel.
    """
    remote = shelf()
    if remote is None:
        return None
    try:
        if not _holds(remote, panel):
            return None
    except OSError as error:
        raise remote.silent(error) from None
    opened, where = pickle.dumps(remote.files), str(remote)
    paths = {name: remote.path(panel.name, name) for name in _files_of(json.loads((panel / FACTS).read_text()))}

    def lagline_read() -> Mapping[str, "np.ndarray"]:
        import pickle
        import platform
        from collections.abc import Iterator, Mapping

        import numpy as np

        class Files(Mapping):  # type: ignore[type-arg]
            def __init__(self) -> None:
                import pyarrow.fs  # noqa: F401  # unpickling a store needs this first

                self.store = pickle.loads(opened)

            def __getitem__(self, name: str) -> np.ndarray:
                with self.store.open_input_stream(paths[name]) as given:
                    return np.frombuffer(given.read(), np.uint8)

            def __iter__(self) -> Iterator[str]:
                return iter(paths)

            def __len__(self) -> int:
                return len(paths)

        try:
            files = Files()
            files["panel.json"]
        except (ImportError, OSError) as error:
            raise PermissionError(f"{platform.node()} cannot read {where}: {error}") from None
        return files

    return lagline_read


def _damaged(remote: Shelf, digest: str, why: str) -> UserError:
    return UserError(
        f"panel {digest[:12]} on {remote} is damaged ({why[:200]}): remove {remote.path(digest)} there and run python -m flows "
        "compare with the same params and data, which puts it there again"
    )


def _files_of(panel_facts: dict[str, object]) -> list[str]:
    """The files of a panel, facts last."""
    return [*(f"{name}.npy" for name in arrays_of(panel_facts)), FACTS]


def _holds(remote: Shelf, panel: Path) -> bool:
    """Whether every file of a panel is on the shelf with the right size."""
    names = _files_of(json.loads((panel / FACTS).read_text()))
    there = remote.files.get_file_info([remote.path(panel.name, name) for name in names])
    return all(info.size == (panel / name).stat().st_size for info, name in zip(there, names, strict=True))


def _write(remote: Shelf, source: Path, path: str) -> None:
    """Writes a file to the shelf, whole or not at all."""
    partial = f"{path}.{os.urandom(4).hex()}.partial" if remote.renames else path
    if remote.renames:
        remote.files.create_dir(path.rpartition("/")[0], recursive=True)
    try:
        with source.open("rb") as given, remote.files.open_output_stream(partial) as taken:
            shutil.copyfileobj(given, taken, BLOCK)
        if remote.renames:
            remote.files.move(partial, path)
    except BaseException:
        if remote.renames:
            with suppress(OSError):
                remote.files.delete_file(partial)
        raise


def _facts_to(remote: Shelf, digest: str, partial: Path) -> bool:
    """Copies a panel's facts from the shelf into a folder; False if the shelf answers but has none."""
    from pyarrow.fs import FileType

    if remote.files.get_file_info(remote.path(digest, FACTS)).type is FileType.NotFound:
        bucket = remote.root.partition("/")[0]
        if not remote.renames and remote.files.get_file_info(bucket).type is FileType.NotFound:
            raise UserError(f"{remote}: there is no such bucket")
        return False
    with remote.files.open_input_stream(remote.path(digest, FACTS)) as given:
        (partial / FACTS).write_bytes(given.read())
    return True


def _read(remote: Shelf, path: str, target: Path, panels: Path) -> None:
    """Copies a file from the shelf; `panels`: the folder whose disk needs room for it."""
    size = remote.files.get_file_info(path).size
    ask_for_room(size or 0, panels)
    with remote.files.open_input_stream(path) as given, target.open("wb") as taken:
        shutil.copyfileobj(given, taken, BLOCK)


def put_in_place(partial: Path, final: Path, aside: Path) -> None:
    """Renames a whole panel into place; replaces a damaged one, keeps one that another process put there."""
    try:
        os.replace(partial, final)
    except OSError:
        if not final.exists():
            raise
        if is_whole(final):
            return
        os.replace(final, aside)
        os.replace(partial, final)
