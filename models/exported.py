"""A forecaster as an exported graph: what a bundle holds, and what the contract of a family asks for."""

import io
import warnings

import torch

from models.data.window import WindowParams
from models.data.windows import Inputs
from models.ensemble import Model

TRACES = ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn")


@torch.no_grad()
def export(forecaster: Model, params: WindowParams) -> bytes:
    """A .pt2 archive of a forecaster on the CPU: `Inputs` -> [B, H, Q], any B.

    It holds only numbers and calls of aten: no sample inputs (torch would unpickle them), no guards (it would
    run them), and no stack traces (they name local folders).
    """
    batch = {0: torch.export.Dim.DYNAMIC}
    with warnings.catch_warnings():  # export warns of the weight lists in torch's recurrent layers
        warnings.filterwarnings("ignore", message="The tensor attributes .*_flat_weights")
        program = torch.export.export(forecaster, tuple(Inputs.zeros(params, 2)), dynamic_shapes=(batch,) * len(Inputs._fields))
    program.example_inputs = None
    program._guards_code = []
    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ():
            for key in TRACES:
                node.meta.pop(key, None)
    archive = io.BytesIO()
    torch.export.save(program, archive)
    return archive.getvalue()
