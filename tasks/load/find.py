"""Finds the files of a table: a file, the tables in a folder (also `store=A/part.parquet`), or a glob."""

import glob
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from params.data import ADDRESS, DataParams, in_environment, no_table
from params.errors import UserError
from params.shown import shown
from tasks.load.kinds import SUFFIXES, is_delta, suffix_of
from tasks.load.remote import address_of, mirror
from tasks.load.snapshot import snapshot
from tasks.load.text import listed

NO_VALUE = "__HIVE_DEFAULT_PARTITION__"  # an empty cell in a folder name, as written by Hive and Spark


def find_files(data: DataParams, root: Path) -> list[Path]:
    """The files that `data.path` names, sorted: itself, the tables in a folder, or the matches of a glob.

    Relative paths start at `root`, or at the working folder if they exist only there.  An address gives the
    files of its mirror, a query that of its snapshot, a Delta table its folder.  Raises UserError.
    """
    if data.path is None:
        return [snapshot(data).file]
    if address_of(data.path) is not None:
        there = mirror(data.path)
        return _of_known_kinds(_files_below(there.folder, there.path))
    try:
        files = _files_below(root, data.path) or _files_below(Path.cwd(), data.path)
    except OSError as error:
        raise UserError(f"data.path {data.path[:200]}: cannot be looked up ({error.strerror}); correct it") from None
    if not files:
        what = "no file matches this pattern" if glob.has_magic(data.path) else "there is no such file or folder"
        raise UserError(f"data.path {data.path}: {what}; a relative path counts from {root}")
    return _of_known_kinds(files)


def whole_path(path: str | Path) -> str:
    """A path or address from a caller, made absolute.  Raises UserError if it can be neither."""
    text = str(path)
    if (why := no_table(text)) is not None:
        raise UserError(f"{shown(text)}: {why}")
    return text if ADDRESS.match(text) or in_environment(text) else str(Path(text).absolute())


def _of_known_kinds(files: list[Path]) -> list[Path]:
    for file in files:
        if not (suffix_of(file) or is_delta(file)):
            raise UserError(f"{file}: cannot tell what kind of table this is; it must end in one of {listed(SUFFIXES)}")
    return files


def _files_below(base: Path, name: str) -> list[Path]:
    path = base / name
    if path.is_file():
        return [path]
    if not path.is_dir():
        paths = (base / match for match in glob.glob(name, root_dir=base, recursive=True))  # noqa: PTH207
        return sorted(file for file in paths if file.is_file())
    if is_delta(path):
        return [path]
    files = sorted(_tables_in(path))
    if not files:
        deeper = next((p for p in path.glob("*/*") if p.is_file() and suffix_of(p)), None)
        hint = (
            f"; to read the tables of its folders write {Path(name) / '**' / ('*' + (suffix_of(deeper) or ''))}"
            if deeper
            else ""
        )
        raise UserError(f"data.path {name}: the folder holds no table; it needs files ending in {listed(SUFFIXES)}{hint}")
    return files


def _tables_in(folder: Path) -> Iterator[Path]:
    """The tables in a folder and its `column=value` subfolders; links to folders are not followed."""
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith((".", "_")):
            continue
        if entry.is_file() and suffix_of(entry):
            yield entry
        elif "=" in entry.name.lstrip("=") and entry.is_dir() and not entry.is_symlink():
            yield from _tables_in(entry)


def partition_of(file: Path) -> dict[str, str | None]:
    """The columns in a file's folder names, `store=A/year=2020/`, outermost first; None for empty cells."""
    pairs: list[tuple[str, str | None]] = []
    for folder in file.parents:
        name, mark, value = folder.name.partition("=")
        if not (name and mark):
            break
        pairs.append((unquote(name), None if value in ("", NO_VALUE) else unquote(value)))
    return dict(reversed(pairs))
