"""The supported kinds of tables, by file name suffix."""

from pathlib import Path

from tasks.load.text import SEPARATORS

TEXTS = (*SEPARATORS, *(f"{ending}.gz" for ending in SEPARATORS))
ARROW = (".arrow", ".feather", ".ipc")
SUFFIXES = (*TEXTS, ".parquet", *ARROW)
DELTA_LOG = "_delta_log"  # a folder that contains this is a Delta table


def suffix_of(file: Path) -> str | None:
    """The suffix that tells the kind of a table, if it has one."""
    name = file.name.lower()
    return next((suffix for suffix in SUFFIXES if name.endswith(suffix)), None)


def is_delta(folder: Path) -> bool:
    """Whether a folder is a Delta table."""
    return (folder / DELTA_LOG).is_dir()
