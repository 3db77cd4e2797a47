"""The verb engine: where fits run, what that engine offers, how many fits it holds and how far away it is."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from rich.console import Console
from rich.table import Table

from flows.runtime.terminal import print_json
from params.shown import visible
from tasks.engine.choice import engine
from tasks.engine.contract import Node, Pool
from tasks.lags.sizes import size_text

OURS = {"python": platform.python_version(), "torch": torch.__version__}


@dataclass(frozen=True)
class Found:
    """What an engine reports.  `slots`: one-thread fits at a time.  `seconds`: per node, 1 MB and back."""

    name: str
    pool: Pool
    device: str
    slots: int
    seconds: Mapping[str, float]

    def to_dict(self) -> dict[str, object]:
        """JSON-ready, for scripts."""
        nodes = [
            {
                "address": node.address,
                "cpus": node.cpus,
                "gpus": node.gpus,
                "memory": node.memory,
                "kinds": dict(node.kinds),
                **versions(node),
                "same": versions(node) == OURS,
                "round_trip_seconds": self.seconds.get(node.name),
            }
            for node in self.pool.nodes
        ]
        place = {"engine": self.name, "address": self.pool.address, "version": self.pool.version}
        return {**place, "device": self.device, "slots": self.slots, **OURS, "nodes": nodes}


def versions(node: Node) -> dict[str, str]:
    """The versions of a node that are compared with ours."""
    return {"python": node.python, "torch": node.torch}


def show_engine(as_json: bool) -> None:
    """Prints what the chosen engine is and has.  Raises UserError if it is unavailable or can run no fit."""
    chosen = engine()
    pool, device = chosen.pool(), chosen.device()
    summary = Found(chosen.name, pool, device, chosen.jobs(1, device), chosen.round_trips())
    if as_json:
        print_json(summary.to_dict())
        return
    console = Console(highlight=False, soft_wrap=True)
    name, ours = f"{summary.name} {pool.version}".strip(), ", ".join(f"{name} {version}" for name, version in OURS.items())
    console.print(f"{name} at {visible(pool.address)}, asked from {ours}", markup=False)
    console.print(f"fits run on {device}, {summary.slots} of one thread at a time", markup=False)
    console.print(_table(summary))
    if any(versions(node) != OURS for node in pool.nodes):
        console.print("* another version than here", markup=False)


def _table(summary: Found) -> Table:
    """One row per node; a star marks a version that differs from ours."""
    table = Table(box=None, pad_edge=False)
    for column, side in (("node", "left"), ("cores", "right"), ("GPUs", "right"), ("memory", "right")):
        table.add_column(column, justify=side, no_wrap=True)  # type: ignore[arg-type]
    for column in ("computes on", *OURS, *(["1 MB and back"] if summary.seconds else [])):
        table.add_column(column)
    for node in summary.pool.nodes:
        seconds = summary.seconds.get(node.name)
        trip = ["-" if seconds is None else f"{1000 * seconds:.1f} ms"] if summary.seconds else []
        marked = [text if text == OURS[name] else f"{text} *" for name, text in versions(node).items()]
        kinds = ", ".join(sorted(set(node.kinds.values())))
        cells = (node.address, f"{node.cpus:g}", f"{node.gpus:g}", size_text(node.memory), kinds, *marked, *trip)
        table.add_row(*map(visible, cells))
    return table
