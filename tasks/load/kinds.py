"""The kinds of table that are read, by the endings of their names."""

from pathlib import Path

from tasks.load.text import SEPARATORS

TEXTS = (*SEPARATORS, *(f"{ending}.gz" for ending in SEPARATORS))
ARROW = (".arrow", ".feather", ".ipc")
SUFFIXES = (*TEXTS, ".parquet", *ARROW)
DELTA_LOG = "_delta_log"  # the folder that makes a folder a Delta table


def suffix_of(file: Path) -> str | None:
    """The ending that says what kind of table a file is, if one does."""
    name = file.name.lower()
    return next((suffix for suffix in SUFFIXES if name.endswith(suffix)), None)


def is_delta(folder: Path) -> bool:
    """Whether a folder is a Delta table."""
    return (folder / DELTA_LOG).is_dir()
