"""The memory card: how much of its window a network uses, measured rather than derived.

Hochreiter 1991 and Bengio et al. 1994 (vanishing and exploding gradients through time).
Shapes: B batch, L lookback, F past channels, N network inputs, H horizon, K rows before the cutoff, D hidden
size.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from models.data.window import WindowParams
from models.data.windows import Inputs
from models.ensemble import Ensemble, Model
from models.forecaster import Forecaster

MOST_STEPS = 24  # steps whose gradients are taken, evenly spread over a longer horizon
ROUNDING = 1e-9  # relative tolerance: the half-life of a constant sensitivity is the middle row despite rounding
FAINT = 0.01  # the oldest rows count as unused below this share of the total sensitivity
SATURATED = 0.1  # a gate below this, or above 1 minus this, hardly moves
GATES = {"LSTM": ("input", "forget", "candidate", "output"), "GRU": ("reset", "update", "candidate")}


@dataclass(frozen=True)
class MemoryCard:
    """What a trained network remembers; rows count back from the cutoff's own row, 1, at any sampling rate.

    `sensitivity`: per row, the mean |d forecast / d x| over steps and over the windows that observed x,
    summed over the past channels; forecast and x are scaled, and y is relative to its window's level (which
    is treated as constant), so that channels are comparable and units cancel.
    `half_life`: the smallest number of newest rows that hold half of it.  `receptive_field`: the oldest row
    that moves any forecast; 0 if none does.  `theoretical_field`: what the structure allows, if known.
    `rows`: the rows of the window.
    `spectral_radius`: the largest |eigenvalue| of each recurrent matrix, per gate.  `gates`: for the first
    LSTM or GRU layer, the mean of each gate and its `saturated` share.  `attention`: [H, L], the mean
    weights.
    """

    sensitivity: list[float]
    half_life: int
    receptive_field: int
    rows: int
    theoretical_field: int | None = None
    spectral_radius: dict[str, float] = dataclasses.field(default_factory=dict)
    gates: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)
    attention: list[list[float]] | None = None

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Self:
        """The inverse of `dataclasses.asdict`."""
        return cls(**raw)

    @property
    def unused_from(self) -> int | None:
        """The first of the oldest rows that together hold less than 1 % of the sensitivity.

        None if these are less than a quarter of the window, or if no row moves the forecast.
        """
        total, older, used = sum(self.sensitivity), 0.0, self.rows
        while used and total and (older + self.sensitivity[used - 1]) / total < FAINT:
            older += self.sensitivity[used - 1]
            used -= 1
        return used + 1 if total and self.rows - used >= max(self.rows / 4, 1) else None

    @property
    def warning(self) -> str:
        """A sentence if much or all of the window is unused, otherwise empty."""
        if not sum(self.sensitivity):
            return "nothing in the window moves the forecast"
        if self.unused_from is None:
            return ""
        return f"rows {self.unused_from} to {self.rows} before the cutoff move the forecast by less than 1 %"


def memory_card(forecaster: Model, params: WindowParams, inputs: Inputs) -> MemoryCard:
    """The card of a trained forecaster (on the CPU; left in 64 bits and eval mode) over some windows.

    The card of an ensemble is the mean of its members'.
    """
    if isinstance(forecaster, Ensemble):
        return _mean_card([memory_card(member, params, inputs) for member in forecaster.members])  # type: ignore[arg-type]
    doubled = forecaster.double().eval()
    network = doubled.network
    with torch.no_grad():
        seen = doubled.inputs(*(part.double() if part.is_floating_point() else part for part in inputs))
    beside = {} if seen.ahead_BHK is None else {"ahead_BHK": seen.ahead_BHK}
    sensitivity = _by_row(
        _sensitivity(doubled.mapped, seen.x_BLN, beside, ~inputs.past_BLF[:, -doubled.lookback :].isnan()), params
    )
    with torch.no_grad():
        weights_BHL = network.weights(seen.x_BLN, seen.ahead_BHK)
        gates = gate_saturation(network, seen.x_BLN, beside)
    return dataclasses.replace(
        _reach(sensitivity),
        theoretical_field=_theoretical(doubled, params) if doubled.skip is None else None,
        spectral_radius=spectral_radius(network),
        gates=gates,
        attention=None if weights_BHL is None else weights_BHL.mean(0).tolist(),
    )


def _reach(sensitivity: Tensor) -> MemoryCard:
    """A card with only what follows from a sensitivity by row."""
    cumulative, total = sensitivity.cumsum(0), float(sensitivity.sum())
    moved = sensitivity.nonzero()
    return MemoryCard(
        sensitivity=sensitivity.tolist(),
        half_life=int((cumulative < total / 2 * (1 - ROUNDING)).sum()) + 1 if total else 0,
        receptive_field=int(moved.max()) + 1 if len(moved) else 0,
        rows=len(sensitivity),
    )


def _mean_card(cards: list[MemoryCard]) -> MemoryCard:
    return _reach(torch.tensor([card.sensitivity for card in cards], dtype=torch.float64).mean(0))


def _sensitivity(network: Callable[..., Tensor], x_BLN: Tensor, beside: Mapping[str, Tensor], observed_BLF: Tensor) -> Tensor:
    """[L, F]: the mean |d forecast / d x| over steps and the windows that observed x; 0 if none did."""
    x_BLN = x_BLN.detach().requires_grad_()
    forecast_BH = network(x_BLN, **beside)
    steps = torch.linspace(0, forecast_BH.shape[1] - 1, min(MOST_STEPS, forecast_BH.shape[1])).long().unique().tolist()
    total_LF = x_BLN.new_zeros(observed_BLF.shape[1:])
    for step in steps:
        (slope_BLN,) = torch.autograd.grad(forecast_BH[:, step].sum(), x_BLN, retain_graph=True)
        total_LF += (slope_BLN[..., : observed_BLF.shape[2]].abs() * observed_BLF).sum(0)
    return total_LF / (len(steps) * observed_BLF.sum(0).clamp(min=1))


def _by_row(slope_LF: Tensor, params: WindowParams) -> Tensor:
    """[K]: the sensitivity of every sample, added at the row it was read from; 0 is the cutoff's row."""
    by_row = slope_LF.new_zeros(params.reach + 1)
    slope_LF = nn.functional.pad(
        slope_LF, (0, 0, params.lookback - slope_LF.shape[0], 0)
    )  # samples that the network does not see
    for column, window in enumerate(params.channels.values()):
        rows = window.delay + window.sampling_rate * torch.arange(window.lookback - 1, -1, -1)
        by_row.index_add_(0, rows, slope_LF[slope_LF.shape[0] - window.lookback :, column])
    return by_row


def _theoretical(forecaster: Forecaster, params: WindowParams) -> int | None:
    """The rows covered by the network's own receptive field; None if it states none."""
    field = forecaster.network.receptive_field
    if field is None:
        return None
    field = min(field, forecaster.lookback)
    windows = params.channels.values()
    return max(w.delay + w.sampling_rate * (min(field, w.lookback) - 1) for w in windows) + 1


def spectral_radius(network: nn.Module) -> dict[str, float]:
    """The largest |eigenvalue| of each recurrent matrix: below 1 a linear recurrence forgets, above 1 it may explode."""
    radii = {}
    for name, module in network.named_modules():
        if isinstance(module, nn.RNNBase | nn.RNNCellBase):
            kind = type(module).__name__.removesuffix("Cell").upper()
            for weight_name, weight in module.named_parameters():
                if weight_name.startswith("weight_hh"):
                    for gate, matrix in zip(GATES.get(kind, ("",)), weight.detach().split(module.hidden_size), strict=True):
                        label = f"{name}.{weight_name}" + (f".{gate}" if gate else "")
                        radii[label] = float(torch.linalg.eigvals(matrix.double()).abs().max())
    return radii


def gate_saturation(network: nn.Module, x_BLN: Tensor, beside: Mapping[str, Tensor]) -> dict[str, dict[str, float]]:
    """gate -> mean and saturated share, for the first LSTM or GRU on the window; empty without one."""
    layer = next((module for module in network.modules() if isinstance(module, nn.LSTM | nn.GRU)), None)
    if layer is None:
        return {}
    with _inputs_of(layer) as caught:
        network(x_BLN, **beside)
    if not caught:
        return {}
    by_gate = {}
    for gate, values in run_gates(layer, caught[0])[0].items():
        saturated = ((values < SATURATED) | (values > 1 - SATURATED)).double().mean()
        by_gate[gate] = {"mean": float(values.mean()), "saturated": float(saturated)}
    return by_gate


@contextlib.contextmanager
def _inputs_of(module: nn.Module) -> Iterator[list[Tensor]]:
    """Collects the first argument of each call of a module."""
    caught: list[Tensor] = []
    handle = module.register_forward_pre_hook(lambda _, arguments: caught.append(arguments[0].detach()))
    try:
        yield caught
    finally:
        handle.remove()


def run_gates(layer: nn.LSTM | nn.GRU, x_BLF: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """The gates [B, L, D] of the first forward layer, by its equations, and its states [B, L, D]."""
    weights = [getattr(layer, f"{name}_l0").detach() for name in ("weight_ih", "bias_ih", "weight_hh", "bias_hh")]
    w, b, u, c = weights
    gated_BLG = x_BLF @ w.T + b
    h = memory = x_BLF.new_zeros(x_BLF.shape[0], layer.hidden_size)
    names = ("input", "forget", "output") if isinstance(layer, nn.LSTM) else ("reset", "update")
    gates: dict[str, list[Tensor]] = {name: [] for name in names}
    states = []
    for step in range(x_BLF.shape[1]):
        recurrent = h @ u.T + c
        if isinstance(layer, nn.LSTM):
            i, f, g, o = (gated_BLG[:, step] + recurrent).chunk(4, dim=1)
            opened = (i.sigmoid(), f.sigmoid(), o.sigmoid())
            memory = opened[1] * memory + opened[0] * g.tanh()
            h = opened[2] * memory.tanh()
        else:
            (r, z, n), (hr, hz, hn) = gated_BLG[:, step].chunk(3, dim=1), recurrent.chunk(3, dim=1)
            opened = ((r + hr).sigmoid(), (z + hz).sigmoid())  # type: ignore[assignment]
            h = (1 - opened[1]) * (n + opened[0] * hn).tanh() + opened[1] * h
        for name, gate in zip(names, opened, strict=True):
            gates[name].append(gate)
        states.append(h)
    return {name: torch.stack(values, dim=1) for name, values in gates.items()}, torch.stack(states, dim=1)


def receptive_field(forecaster: Forecaster, params: WindowParams) -> int:
    """Samples from the newest to the oldest that moves any forecast, by the gradient at a random window."""
    generator = torch.Generator().manual_seed(0)
    blank = Inputs.zeros(params, 8)
    past_BLF = torch.randn(blank.past_BLF.shape, generator=generator, dtype=torch.float64).abs()  # positive for log1p
    past_BLF.requires_grad_()
    doubled = forecaster.double().eval()
    wide_BLE = past_BLF[..., doubled.wide]
    given = blank._replace(past_BLF=past_BLF, ahead_BAK=blank.ahead_BAK.double(), wide_BLE=wide_BLE)
    doubled(*given).abs().sum().backward()
    assert past_BLF.grad is not None
    moved_L = past_BLF.grad.abs().sum(dim=(0, 2)) > 0
    return int(params.lookback - moved_L.int().argmax()) if bool(moved_L.any()) else 0
