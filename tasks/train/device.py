"""Cautions about a run: settings that are slow on its device, and resources that this machine lacks."""

from collections.abc import Sequence

from params.schema import VariantParams
from tasks.engine.choice import engine
from tasks.engine.local import cores
from tasks.engine.room import is_of
from tasks.lags.sizes import size_text

PERSISTENT = 128  # largest hidden size for which cuDNN keeps an LSTM's or GRU's weights on the chip


def cautions(variants: Sequence[VariantParams], jobs: int, device: str) -> list[str]:
    """Settings measured to be slow (more threads than cores, recurrences too wide for a GPU), and requested
    resources that this machine lacks, if fits run on it."""
    notes = _not_here(variants, device) if engine().here else []
    threads = max(variant.run.training.threads for variant in variants)
    if engine().here and device == "cpu" and threads > 1 and jobs * threads > cores():
        notes.append(
            f"{jobs} fits at a time with {threads} threads each on {cores()} cores: small steps become many times slower; "
            "set training.threads to 1, or LAGLINE_JOBS lower"
        )
    if not device.startswith("cuda"):
        return notes
    from models.families import family_of  # with torch
    from models.networks.contract import Network

    for variant in variants:
        size = variant.network.get("hidden_size", 0)
        gated = variant.network.get("cell", (family_of(variant.family) or Network).fixed_cell) in ("lstm", "gru")
        if gated and isinstance(size, int) and size > PERSISTENT:
            notes.append(
                f"{variant.variant}: network.hidden_size {size} is more than {PERSISTENT}: cuDNN leaves its fast path for an "
                "LSTM or GRU of that size, and a step takes several times as long"
            )
    return notes


def _not_here(variants: Sequence[VariantParams], device: str) -> list[str]:
    """One line per resource that variants ask for and this machine lacks: they train all the same."""
    (here,), name = engine().pool().nodes, device.partition(":")[0]
    asked: dict[str, list[str]] = {}
    for variant in variants:
        needs = variant.run.training.resources
        if needs.gpus and name != "cuda":
            asked.setdefault("a GPU", []).append(variant.variant)
        if needs.kind and not is_of(here, needs.kind):
            asked.setdefault(f"the kind {needs.kind}", []).append(variant.variant)
        if needs.memory and needs.memory > here.memory:
            asked.setdefault(f"{size_text(needs.memory)} of memory", []).append(variant.variant)
    return [
        f"training.resources asks for {what} ({', '.join(names)}), and fits run on {here.kinds[name]} with "
        f"{size_text(here.memory)} here: it is not looked at; LAGLINE_ENGINE=ray finds it on a cluster"
        for what, names in asked.items()
    ]
