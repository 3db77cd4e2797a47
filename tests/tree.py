"""Small trees of files that tests write: sources to judge, packages to import, folders to seal."""

from collections.abc import Mapping
from pathlib import Path


def write_tree(folder: Path, texts: Mapping[str, str]) -> None:
    """Writes each text to its path below `folder`, and makes the folders on the way."""
    for name, text in texts.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
