"""The shelf: panels by their digest where several machines reach them, LAGLINE_SHELF=s3://bucket/folder or file:///folder.

A panel lies there as in LAGLINE_HOME, `panels/<digest>/`; its `panel.json` is written last, so that a panel without one is not
there.  Nothing here removes a panel.
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
    """An opened shelf: `root` is its path in `files`.  `renames`: a file is put in place by its name (a folder), not whole
    by itself (an object store)."""

    address: str
    files: "FileSystem"
    root: str
    renames: bool

    def __str__(self) -> str:
        return f"the shelf {self.address} ({VARIABLE})"

    def path(self, digest: str, name: str = "") -> str:
        """Where a file of a panel lies in `files`, or its folder."""
        return f"{self.root}/panels/{digest}" + (f"/{name}" if name else "")

    def silent(self, error: OSError) -> Unavailable:
        """What to say where the store does not do what it is asked for."""
        if error.errno == errno.ENOSPC:
            return Unavailable(f"{self}: {os.strerror(errno.ENOSPC)}: make room and start the same command again")
        return Unavailable(f"{self}: {reason(error, self.address)}")


def shelf() -> Shelf | None:
    """The shelf that the environment names, not asked yet; None where it names none.

    Raises UserError for what is no address, for one with a secret in it, and for a folder that is not there.
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
    """Puts the panel of a folder on the shelf, where there is a shelf and it does not hold it.

    Each file comes whole, the facts last: who looks meanwhile sees no panel.  Raises Unavailable where the shelf does not take
    it, UserError for a panel that is not what it is named by.
    """
    found = shelf()
    if found is None:
        return
    try:
        if _holds(found, panel):
            return
        if not is_whole(panel):
            raise UserError(f"panel {panel} is damaged and goes on no shelf: run the same command again, which builds it again")
        for name in _files_of(json.loads((panel / FACTS).read_text())):
            _write(found, panel / name, found.path(panel.name, name))
    except OSError as error:
        raise found.silent(error) from None


def get(digest: str, panels: Path) -> bool:
    """Puts the panel of the shelf into a folder of panels, whole and checked by its digest; says whether the shelf had one.

    Raises Unavailable where the shelf does not answer or the disk is full, UserError where what it has is damaged.
    """
    found = shelf()
    if found is None:
        return False
    panels.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=panels, prefix=".partial-", ignore_cleanup_errors=True) as name:
        partial = Path(name) / digest
        partial.mkdir()
        try:
            if not _facts_to(found, digest, partial):
                return False
            for file in _files_of(json.loads((partial / FACTS).read_text())):
                _read(found, found.path(digest, file), partial / file, panels)
        except FileNotFoundError as error:
            raise _damaged(found, digest, str(error)) from None
        except OSError as error:
            raise found.silent(error) from None
        except UNREADABLE as error:
            raise _damaged(found, digest, f"{FACTS} cannot be read: {error}") from None
        if not is_whole(partial):
            raise _damaged(found, digest, "its content is another one")
        size = sum(file.stat().st_size for file in partial.iterdir())
        put_in_place(partial, panels / digest, Path(name) / "old")
    print(shown(f"panel {digest[:12]} ({size_text(size)}) came from {found}"), file=sys.stderr)
    return True


def reader(panel: Path) -> Callable[[], Mapping[str, "np.ndarray"]] | None:
    """What reads the files of a panel (name -> content, uint8) from the shelf, one as it is asked for, on another machine.

    It is sent there whole, needs numpy and pyarrow there, and no code of ours; credentials are those of that machine.  It
    raises PermissionError where that machine cannot read it.  None where there is no shelf, or it does not hold the panel.
    """
    found = shelf()
    if found is None:
        return None
    try:
        if not _holds(found, panel):
            return None
    except OSError as error:
        raise found.silent(error) from None
    opened, where = pickle.dumps(found.files), str(found)
    paths = {name: found.path(panel.name, name) for name in _files_of(json.loads((panel / FACTS).read_text()))}

    def lagline_read() -> Mapping[str, "np.ndarray"]:
        import pickle
        import platform
        from collections.abc import Iterator, Mapping

        import numpy as np

        class Files(Mapping):  # type: ignore[type-arg]
            def __init__(self) -> None:
                import pyarrow.fs  # noqa: F401  # without it a store that comes out of a pickle has not been made ready

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


def _damaged(found: Shelf, digest: str, why: str) -> UserError:
    return UserError(
        f"panel {digest[:12]} on {found} is damaged ({why[:200]}): remove {found.path(digest)} there and run python -m flows "
        "compare with the same params and data, which puts it there again"
    )


def _files_of(facts: dict[str, object]) -> list[str]:
    """The files of a panel, the facts last."""
    return [*(f"{name}.npy" for name in arrays_of(facts)), FACTS]


def _holds(found: Shelf, panel: Path) -> bool:
    """Whether every file of a panel is on the shelf in its size."""
    names = _files_of(json.loads((panel / FACTS).read_text()))
    there = found.files.get_file_info([found.path(panel.name, name) for name in names])
    return all(info.size == (panel / name).stat().st_size for info, name in zip(there, names, strict=True))


def _write(found: Shelf, source: Path, path: str) -> None:
    """A file to the shelf, whole or not at all."""
    partial = f"{path}.{os.urandom(4).hex()}.partial" if found.renames else path
    if found.renames:
        found.files.create_dir(path.rpartition("/")[0], recursive=True)
    try:
        with source.open("rb") as given, found.files.open_output_stream(partial) as taken:
            shutil.copyfileobj(given, taken, BLOCK)
        if found.renames:
            found.files.move(partial, path)
    except BaseException:
        if found.renames:
            with suppress(OSError):
                found.files.delete_file(partial)
        raise


def _facts_to(found: Shelf, digest: str, partial: Path) -> bool:
    """The facts of a panel from the shelf into a folder; False where the shelf, which answers, has none."""
    from pyarrow.fs import FileType

    if found.files.get_file_info(found.path(digest, FACTS)).type is FileType.NotFound:
        bucket = found.root.partition("/")[0]
        if not found.renames and found.files.get_file_info(bucket).type is FileType.NotFound:
            raise UserError(f"{found}: there is no such bucket")
        return False
    with found.files.open_input_stream(found.path(digest, FACTS)) as given:
        (partial / FACTS).write_bytes(given.read())
    return True


def _read(found: Shelf, path: str, target: Path, panels: Path) -> None:
    """A file from the shelf; `panels`: the folder whose disk must have room for it."""
    size = found.files.get_file_info(path).size
    ask_for_room(size or 0, panels)
    with found.files.open_input_stream(path) as given, target.open("wb") as taken:
        shutil.copyfileobj(given, taken, BLOCK)


def put_in_place(partial: Path, final: Path, aside: Path) -> None:
    """Renames a whole panel to where it belongs; what is damaged there goes, one that a quicker process put there stays."""
    try:
        os.replace(partial, final)
    except OSError:
        if not final.exists():
            raise
        if is_whole(final):
            return
        os.replace(final, aside)
        os.replace(partial, final)
