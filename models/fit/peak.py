"""The most memory that this process has held."""

import re
import resource
import sys
from pathlib import Path

import torch


def peak_memory(device: str) -> tuple[float, float | None]:
    """The most memory that this process has held, and on a GPU what torch held there (else None), in megabytes."""
    return _peak_bytes() / 1e6, torch.cuda.max_memory_allocated(device) / 1e6 if device.startswith("cuda") else None


def _peak_bytes(status: Path = Path("/proc/self/status")) -> int:
    """By Linux's own count of this program; ru_maxrss begins at what its parent held, which it keeps across exec."""
    try:
        found = re.search(r"^VmHWM:\s*(\d+) kB$", status.read_text(), re.MULTILINE)
    except OSError:
        found = None
    if found is not None:
        return int(found[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
