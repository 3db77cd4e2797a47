"""The device that fits run on, how many of them at a time, and what is known to be slow there."""

import os
from collections.abc import Sequence

from params.errors import UserError
from params.schema import VariantParams

PERSISTENT = 128  # the hidden size up to which cuDNN keeps an LSTM's or GRU's weights on the chip


def choose_device() -> str:
    """LAGLINE_DEVICE, or the best there is: cuda, mps, cpu.  Raises UserError for a device that is not here."""
    import torch  # a second or two, which not every verb needs

    wanted = os.environ.get("LAGLINE_DEVICE", "").strip()
    here = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if not wanted:
        return next(name for name, available in here.items() if available)
    kind, _, number = wanted.partition(":")
    known = kind in here and (not number or (kind == "cuda" and number.isdecimal()))
    if not known or not here[kind] or (number and int(number) >= torch.cuda.device_count()):
        found = ", ".join(name for name, available in here.items() if available)
        raise UserError(f"LAGLINE_DEVICE={wanted}: there is no such device here; found: {found}")
    return wanted


def concurrent_fits(threads: int, device: str) -> int:
    """LAGLINE_JOBS, or as many fits as the cores carry at once, on an accelerator one.  Raises UserError for a bad number."""
    text = os.environ.get("LAGLINE_JOBS", "").strip()
    if text:
        if not (text.isascii() and text.isdigit() and len(text) <= 4 and int(text) >= 1):
            raise UserError(f"LAGLINE_JOBS={text}: write a whole number of at least 1, and of four digits at most")
        return int(text)
    return max(1, min(cores() // threads, 16)) if device == "cpu" else 1


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cautions(variants: Sequence[VariantParams], jobs: int, device: str) -> list[str]:
    """What was measured to be slow in what a run is about to do: more threads than cores, recurrences too wide for a GPU."""
    found = []
    threads = max(variant.run.training.threads for variant in variants)
    if device == "cpu" and threads > 1 and jobs * threads > cores():
        found.append(
            f"{jobs} fits at a time with {threads} threads each on {cores()} cores: small steps become many times slower; "
            "set training.threads to 1, or LAGLINE_JOBS lower"
        )
    if not device.startswith("cuda"):
        return found
    from models.families import FAMILIES  # with torch
    from models.networks.contract import Network

    for variant in variants:
        size = variant.network.get("hidden_size", 0)
        gated = variant.network.get("cell", FAMILIES.get(variant.family, Network).fixed_cell) in ("lstm", "gru")
        if gated and isinstance(size, int) and size > PERSISTENT:
            found.append(
                f"{variant.variant}: network.hidden_size {size} is more than {PERSISTENT}: cuDNN leaves its fast path for an "
                "LSTM or GRU of that size, and a step takes several times as long"
            )
    return found
