"""The verb engine: where fits run, what there is, what fits there, and whether its nodes can take a fit of this command."""

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


@dataclass(frozen=True)
class Found:
    """What an engine says of itself.  `slots`: fits of one thread at a time.  `seconds`: of 1 MB to each node and back."""

    name: str
    pool: Pool
    device: str
    slots: int
    seconds: Mapping[str, float]

    def differing(self, node: Node) -> list[str]:
        """Why a node takes no fit of this process; empty where it does."""
        ours = {"python": platform.python_version(), "torch": torch.__version__}
        theirs = {"python": node.python, "torch": node.torch}
        return [f"{name} {theirs[name]}, and {version} here" for name, version in ours.items() if theirs[name] != version]

    @property
    def faults(self) -> list[str]:
        """Why fits cannot run as they are asked for, a line each."""
        lines = [f"{node.address}: {'; '.join(found)}" for node in self.pool.nodes if (found := self.differing(node))]
        kinds = self.pool.kinds(self.device)
        mixed = f"{self.device} is of {len(kinds)} kinds ({', '.join(kinds)}): a fit has one; training.resources.kind chooses"
        return [*lines, *([mixed] if len(kinds) > 1 else [])]

    def to_dict(self) -> dict[str, object]:
        """JSON-ready, for scripts."""
        nodes = [
            {
                "address": node.address,
                "cpus": node.cpus,
                "gpus": node.gpus,
                "memory": node.memory,
                "kinds": dict(node.kinds),
                "python": node.python,
                "torch": node.torch,
                "same": not self.differing(node),
                "round_trip_seconds": self.seconds.get(node.address),
            }
            for node in self.pool.nodes
        ]
        return {
            "engine": self.name,
            "address": self.pool.address,
            "version": self.pool.version,
            "device": self.device,
            "slots": self.slots,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "nodes": nodes,
            "faults": self.faults,
        }


def show_engine(as_json: bool) -> bool:
    """Prints what the chosen engine is and has; says whether a fit can run there.  Raises UserError where there is none."""
    chosen = engine()
    pool, device = chosen.pool(), chosen.device()
    found = Found(chosen.name, pool, device, chosen.jobs(1, device), chosen.round_trips())
    if as_json:
        print_json(found.to_dict())
        return not found.faults
    console = Console(highlight=False, soft_wrap=True)
    name = f"{found.name} {pool.version}".strip()
    console.print(
        f"{name} at {visible(pool.address)}: fits run on {device}, {found.slots} of one thread at a time; "
        f"python {platform.python_version()}, torch {torch.__version__} here",
        markup=False,
    )
    console.print(_table(found))
    for line in found.faults:
        console.print(f"no fit runs there: {line}", markup=False)
    return not found.faults


def _table(found: Found) -> Table:
    """A row a node; the round trip where something travels."""
    table = Table(box=None, pad_edge=False)
    for column, side in (("node", "left"), ("cores", "right"), ("GPUs", "right"), ("memory", "right")):
        table.add_column(column, justify=side, no_wrap=True)  # type: ignore[arg-type]
    for column in ("computes on", "python", "torch", *(["1 MB there and back"] if found.seconds else [])):
        table.add_column(column)
    for node in found.pool.nodes:
        seconds = found.seconds.get(node.address)
        trip = ["-" if seconds is None else f"{1000 * seconds:.1f} ms"] if found.seconds else []
        kinds = ", ".join(sorted(set(node.kinds.values())))
        size = size_text(node.memory)
        cells = (node.address, f"{node.cpus:g}", f"{node.gpus:g}", size, kinds, node.python, node.torch, *trip)
        table.add_row(*map(visible, cells))
    return table
