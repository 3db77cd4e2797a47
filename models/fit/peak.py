"""The peak memory of this process."""

import re
import resource
import sys
from pathlib import Path

import torch


def peak_memory(device: str) -> tuple[float, float | None]:
    """The peak memory of this process in MB, and on a GPU the peak that torch held there (else None)."""
    return _peak_bytes() / 1e6, torch.cuda.max_memory_allocated(device) / 1e6 if device.startswith("cuda") else None


def _peak_bytes(status: Path = Path("/proc/self/status")) -> int:
    """Peak by Linux's count for this program; ru_maxrss starts at the parent's, which survives exec."""
    try:
        match = re.search(r"^VmHWM:\s*(\d+) kB$", status.read_text(), re.MULTILINE)
    except OSError:
        match = None
    if match is not None:
        return int(match[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
