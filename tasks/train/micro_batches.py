"""The number of parts of a batch on a CPU, by `params/rules/micro_batches.yaml`: fits stay reproducible."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from models.families import family_of
from models.networks.contract import Network
from params.load import PARAMS
from params.schema import VariantParams
from params.strict_yaml import read_yaml


@cache
def _micro_batch_rule() -> dict[str, dict[str, int]]:
    """Cell -> `values` and `rows`."""
    return read_yaml(PARAMS / "rules" / "micro_batches.yaml", "params/rules/micro_batches.yaml")[0]


def parts_by_rule(family: str, network: Mapping[str, Any], lookback: int, batch_size: int) -> int:
    """The parts of a batch by `params/rules/micro_batches.yaml`: by cell, sizes and lookback."""
    kind = family_of(family) or Network
    rule = _micro_batch_rule().get(str(network.get("cell", kind.fixed_cell)))
    if rule is None or not kind.micro_batched:
        return 1
    most = max(1, rule["values"] // (lookback * int(network.get("hidden_size", 32))))
    return max(1, min(-(-batch_size // most), batch_size // rule["rows"]))


def micro_batches(variant: VariantParams, lookback: int) -> int:
    """The parts of a variant's batch on a CPU: as set in `training.micro_batches`, or by the rule."""
    training = variant.run.training
    if training.micro_batches != "auto":
        return min(training.micro_batches, training.batch_size)
    return parts_by_rule(variant.family, variant.network, lookback, training.batch_size)
