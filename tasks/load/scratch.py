"""Private folders of this process, removed when it ends: what is read from elsewhere lies there."""

import atexit
import shutil
import tempfile
from pathlib import Path


def scratch(what: str) -> Path:
    """A new folder of mode 0700, called `lagline-<what>-...`, that goes with this process."""
    folder = Path(tempfile.mkdtemp(prefix=f"lagline-{what}-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
