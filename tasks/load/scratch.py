"""Private folders of this process for downloads and copies, removed at exit."""

import atexit
import shutil
import tempfile
from pathlib import Path


def scratch(what: str) -> Path:
    """A new folder of mode 0700, named `lagline-<what>-...`, removed at exit."""
    folder = Path(tempfile.mkdtemp(prefix=f"lagline-{what}-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
