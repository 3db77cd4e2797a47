"""The contract of a network: what the forecaster and the training loop may ask of it, and the parts that networks share.

Shapes: B batch, L lookback, F features, H horizon, O outputs, K channels known ahead, D hidden size.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor, nn

Arguments = Mapping[str, int | float | str]  # of a constructor, as a variant's `network` gives them
Cell = Literal["elman", "lstm", "gru"]


class Network(nn.Module):
    """[B, L, F] -> [B, H, O]; a family is a subclass of this one.

    The constructor takes `num_features`, `lookback` and `horizon` by name, and after them its own arguments, which are the only
    schema of a variant's `network` section.  With `outputs` it has quantiles, which a `Head` trains apart from the point; with
    `num_ahead` its forward takes `ahead_BHK`.

    `closed_form`: it is solved and not trained (`ClosedForm`).  `linear`: a linear map beside it would add nothing.
    `guided`: in training its forward takes the targets `y_BH`, NaN where missing.
    `dense`: in training it forecasts from every sample, [B, L, H, O].
    `fixed_cell`: that of its recurrence, where it is no argument of the constructor.
    `micro_batched`: on a CPU its batches are trained in parts, by `params/rules/micro_batches.yaml`.
    """

    closed_form: ClassVar[bool] = False
    linear: ClassVar[bool] = False
    guided: ClassVar[bool] = False
    dense: ClassVar[bool] = False
    fixed_cell: ClassVar[Cell | None] = None
    micro_batched: ClassVar[bool] = False

    @property
    def receptive_field(self) -> int | None:
        """How many of the newest samples can move the forecast; None where the structure sets no limit."""
        return None

    def weights(self, x_BLF: Tensor, ahead_BHK: Tensor | None = None) -> Tensor | None:
        """[B, H, L]: how much each step attends to each sample; None for a network without attention."""
        return None


class ClosedForm(Network, ABC):
    """A network whose weights are the solution of equations, one for each penalty: no epochs and no seeds, and on the CPU."""

    closed_form = True
    penalties: ClassVar[tuple[float, ...]]

    @abstractmethod
    def candidates(
        self, batches: Iterable[tuple[Tensor, Tensor]], penalties: Sequence[float]
    ) -> Iterator[tuple[float, dict[str, Tensor]]]:
        """Each penalty that has a solution, with its weights, over all (x [B, L, F], y [B, H])."""


class Still(nn.Linear):
    """A linear map that begins at zero and draws nothing."""

    def reset_parameters(self) -> None:
        """Zero weights and biases."""
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)


class Head(nn.Linear):
    """The last map of a network, from one vector to all steps and outputs: [..., D] -> [..., H, O].

    Output 0 is its own; those after it are of `beside`, whose weights begin at zero and draw nothing.  `apart`: in training
    these learn from the vector and it learns nothing from them, so that output 0 is trained as if they were not there.
    """

    def __init__(self, width: int, horizon: int, outputs: int) -> None:
        super().__init__(width, horizon)
        self.shape, self.apart = (horizon, outputs - 1), False
        self.beside: nn.Linear | None = None
        if outputs > 1:
            self.beside = Still(width, horizon * (outputs - 1))

    if TYPE_CHECKING:  # nn.Module says Any

        def __call__(self, input: Tensor) -> Tensor: ...

    def forward(self, input: Tensor) -> Tensor:
        """[..., D] -> [..., H, O]."""
        first: Tensor = super().forward(input).unsqueeze(-1)
        if self.beside is None:
            return first
        others = self.beside(input.detach() if self.apart and self.training else input).unflatten(-1, self.shape)
        return torch.cat((first, others), dim=-1)


def check_ranges(
    *, least: Mapping[str, int] | None = None, dropout: float | None = None, teacher_share: float | None = None, **sizes: int
) -> None:
    """Raises ValueError unless each size is at least 1 (or `least`), dropout in [0, 1) and teacher_share in [0, 1]."""
    least = least or {}
    outside = any(size < least.get(name, 1) for name, size in sizes.items())
    outside |= dropout is not None and not 0 <= dropout < 1
    if not outside and (teacher_share is None or 0 <= teacher_share <= 1):
        return
    *others, last = [name for name in sizes if name not in least] or ["dropout"]
    ranges = [f"{', '.join(others)} and {last}" if others else last]
    ranges[0] += " must be at least 1" if sizes else " must be at least 0 and below 1"
    ranges += [f"{name} {floor}" for name, floor in least.items()]
    ranges += ["dropout at least 0 and below 1"] if dropout is not None and sizes else []
    ranges += ["teacher_share between 0 and 1"] if teacher_share is not None else []
    raise ValueError(", ".join(ranges))
