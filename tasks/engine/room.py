"""Which machines of a pool suit a fit, and how many fits they hold; computed from their description."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch

from models.fit.settings import Resources
from models.remote import Facts, models_digest
from params.errors import UserError
from tasks.engine.contract import Node, Pool


class Needs(NamedTuple):
    """The resources of a fit: cores, GPUs, bytes of memory (0: not given)."""

    cpus: float
    gpus: float
    memory: int


def needs_of(threads: int, device: str, resources: Resources) -> Needs:
    """Defaults: one core per thread, and one GPU on `cuda`, none on the CPU."""
    gpus = (1.0 if resources.gpus is None else resources.gpus) if device.startswith("cuda") else 0.0
    return Needs(resources.cpus or float(threads), gpus, resources.memory or 0)


def slots(nodes: Sequence[Node], needs: Needs) -> int:
    """How many fits with such needs the machines hold at a time."""
    return sum(int(min(_shares(node, needs)) + 1e-9) for node in nodes)


def _shares(node: Node, needs: Needs) -> list[float]:
    """How often each needed resource is available."""
    there = zip((node.cpus, node.gpus, node.memory), needs, strict=True)
    return [has / wanted for has, wanted in there if wanted]


def is_of(node: Node, word: str) -> bool:
    """Whether a machine is of a kind: a CPU fit, too, may ask for the machine with an H200."""
    return any(word.lower() in kind.lower() for kind in node.kinds.values())


def fitting(pool: Pool, device: str, resources: Resources) -> list[Node]:
    """The machines that suit a fit.  Raises UserError if there are none, or they compute differently."""
    name, word, where = device.partition(":")[0], resources.kind, f"ray {pool.address}"
    if name == "cuda" and resources.gpus == 0:
        raise UserError("training.resources.gpus: 0, and fits run on cuda: take it out, or set LAGLINE_DEVICE=cpu")
    nodes = [node for node in pool.nodes if name in node.kinds]
    if word:
        nodes = [node for node in nodes if is_of(node, word)]
    if not nodes:
        what = f"{name} and is of kind {word} (training.resources.kind)" if word else name
        there = sorted({kind for node in pool.nodes for kind in node.kinds.values()})
        raise UserError(f"{where}: no node has {what}; there are: {', '.join(there)}")
    kinds = sorted({node.kinds[name] for node in nodes})
    if len(kinds) > 1:
        raise UserError(
            f"{where}: its nodes compute in different ways ({', '.join(kinds)}), so that equal fits would not be equal; choose "
            f"one with training.resources.kind, such as --set training.resources.kind={kinds[0].split()[-1]}"
        )
    return nodes


def node_of(entry: Mapping[str, Any], machine: Facts, address: str) -> Node:
    """A node of Ray's list with its answer.  Raises UserError for one whose fits would differ."""
    where, has = f"ray {address}: node {entry['NodeManagerAddress']}", entry["Resources"]
    if machine.torch != torch.__version__:
        raise UserError(
            f"{where} has torch {machine.torch}, and this machine {torch.__version__}: install the same there (docs/cluster.md)"
        )
    if machine.code != models_digest():
        raise UserError(f"{where} finds other code than this machine's in models/: take it off the path there")
    return Node(
        name=entry["NodeID"],
        address=entry["NodeManagerAddress"],
        cpus=has.get("CPU", 0.0),
        gpus=has.get("GPU", 0.0),
        memory=int(has.get("memory", 0)),
        kinds=machine.kinds,
        torch=machine.torch,
        python=machine.python,
    )
