"""An exported network against the network itself, in batches of several sizes."""

import operator
from collections.abc import Callable

import torch
from torch import nn

Inputs = tuple[torch.Tensor, ...]


def check_export(network: nn.Module, inputs: Callable[[int], Inputs], tolerance: float | None = None) -> None:
    """Fails unless the graph of a network has torch's own operators alone and gives its forecasts for any batch size.

    `inputs`: the batch size -> what the network is called with.  `tolerance`: relative and absolute; None: torch's own.
    """
    example = inputs(2)
    dynamic = tuple({0: torch.export.Dim.DYNAMIC} for _ in example)
    exported = torch.export.export(network, example, dynamic_shapes=dynamic)
    called = {node.target for node in exported.graph.nodes if node.op == "call_function"} - {operator.getitem}
    assert called and all(str(target).startswith("aten.") for target in called), called
    for batch in (1, 2, 7):
        given = inputs(batch)
        torch.testing.assert_close(exported.module()(*given), network(*given), rtol=tolerance, atol=tolerance)
