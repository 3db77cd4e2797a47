"""Whether a fit can multiply in bfloat16 here; checked once, before it begins.

Measured: a CPU without bfloat16 units raises for an LSTM and is ten times slower for the others.
"""

import torch

from models.data.windows import Batch
from models.fit.step import batch_loss
from models.forecaster import Forecaster

NEAR = 0.01  # relative to the float32 loss
CPU_UNITS = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")


def no_bfloat16(forecaster: Forecaster, batch: Batch, loss: str) -> str:
    """Why this network cannot train in bfloat16 here, from one forward and backward pass; "" if it can."""
    device = batch.y_BH.device
    if not has_units(device):
        return f"this {device.type} has no bfloat16 units"
    half = torch.autocast(device.type, torch.bfloat16)
    try:
        with half:
            whole_step = batch_loss(forecaster.train(), *batch, loss)
        whole_step.backward()
        with torch.no_grad():  # compare the loss in eval mode, without dropout
            last_BH = batch.y_BH[
                :, -forecaster.horizon :
            ]  # in eval mode a dense network forecasts from the newest sample alone
            exact = float(batch_loss(forecaster.eval(), batch.inputs, last_BH, loss))
            with half:
                rough = float(batch_loss(forecaster, batch.inputs, last_BH, loss))
    except RuntimeError as error:
        return f"it raises ({str(error).splitlines()[0]})"
    finally:
        forecaster.zero_grad(set_to_none=True)
    if not abs(rough - exact) <= NEAR * abs(exact):
        return f"its loss is {rough:.4g} in place of {exact:.4g}"
    return ""


def has_units(device: torch.device) -> bool:
    """Whether a device has bfloat16 hardware."""
    if device.type == "cpu":
        return any(bool(getattr(torch.cpu, name, bool)()) for name in CPU_UNITS)
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
