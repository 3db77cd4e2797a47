"""The verb ui: serves the pages of MLflow and Prefect until Ctrl-C."""

import sys
from pathlib import Path

from flows.runtime.ui import ui


def show_pages(home: Path, port: int | None, open_browser: bool) -> None:
    """Serves the pages; Ctrl-C is the normal way to end."""
    try:
        ui(home, port, open_browser)
    except KeyboardInterrupt:
        print("\nlagline: the UI has ended", file=sys.stderr)
