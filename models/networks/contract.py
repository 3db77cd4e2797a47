"""The network contract: what forecaster and training loop may ask of a network, and shared parts of networks.

Shapes: B batch, L lookback, F features, H horizon, O outputs, K channels known ahead, D hidden size.
"""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, get_args, get_origin, get_type_hints

import torch
from torch import Tensor, nn

Arguments = Mapping[str, int | float | str]  # constructor arguments, from a variant's `network` section
CONTRACT = ("num_features", "lookback", "horizon", "outputs", "num_ahead", "target")  # arguments that the forecaster supplies
Cell = Literal["elman", "lstm", "gru"]


class Apart(NamedTuple):
    """The training output of a dense network whose `Head` is apart."""

    points_BLH1: Tensor  # for every sample
    others_BHQ: Tensor  # become the quantiles; for the newest sample only


class Target(NamedTuple):
    """Where and when a network that treats y specially finds it in its input.

    `channel`: that of y; `mask`: the channel that is 1 where y is observed, else 0 (None: observed
    everywhere).  `gap`: rows between the newest sample and the first step.  `rate`: rows between two samples.
    """

    channel: int = 0
    mask: int | None = None
    gap: int = 0
    rate: int = 1

    def season(self, rows: int, lookback: int) -> int:
        """Samples per season of `rows` rows; 1 (no season) if that is longer than the window or not whole."""
        return rows // self.rate if rows % self.rate == 0 and rows // self.rate <= lookback else 1

    def steps(self, horizon: int) -> list[int]:
        """How many samples after the newest each step lies; rounded up between two samples."""
        return [-(-(self.gap + step) // self.rate) for step in range(1, horizon + 1)]


FIRST = Target()  # y is the first channel and always observed


class Network(nn.Module):
    """[B, L, F] -> [B, H, O]; each family is a subclass.

    The constructor takes `num_features`, `lookback` and `horizon` by name, followed by its own arguments,
    which are the only schema of a variant's `network` section.  With `outputs` it has quantiles, which a
    `Head` trains apart from the point; with `num_ahead` its forward takes `ahead_BHK`; with `target` it
    learns which channel is y, and with `season`, optional in a variant, the rows of a season
    (`evaluation.season`).

    `closed_form`: solved rather than trained (`ClosedForm`).  `linear`: a linear skip map would add nothing.
    `guided`: in training its forward takes the targets `y_BH`, NaN where missing.
    `dense`: in training it forecasts from every sample, [B, L, H, O]; quantiles trained apart are learnt at the
    newest sample only, at no more cost than without `dense`: its head returns `Apart` then (`Head.of_every`).
    `fixed_cell`: the cell of its recurrence, if not a constructor argument.
    `micro_batched`: on a CPU its batches are split into parts, by `params/rules/micro_batches.yaml`.
    """

    closed_form: ClassVar[bool] = False
    linear: ClassVar[bool] = False
    guided: ClassVar[bool] = False
    dense: ClassVar[bool] = False
    fixed_cell: ClassVar[Cell | None] = None
    micro_batched: ClassVar[bool] = False

    @property
    def receptive_field(self) -> int | None:
        """How many of the newest samples can move the forecast; None if the structure sets no limit."""
        return None

    def weights(self, x_BLF: Tensor, ahead_BHK: Tensor | None = None) -> Tensor | None:
        """[B, H, L]: each step's attention to each sample; None for a network without attention."""
        return None


class ClosedForm(Network, ABC):
    """A network whose weights solve equations, one set per penalty: no epochs, no seeds, on the CPU."""

    closed_form = True
    penalties: ClassVar[tuple[float, ...]]

    @abstractmethod
    def candidates(
        self, batches: Iterable[tuple[Tensor, Tensor]], penalties: Sequence[float]
    ) -> Iterator[tuple[float, dict[str, Tensor]]]:
        """Each solvable penalty with its weights, over all (x [B, L, F], y [B, H])."""


class Still(nn.Linear):
    """A linear map that starts at zero and draws no random numbers."""

    def reset_parameters(self) -> None:
        """Zero weights and biases."""
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)


class Head(nn.Linear):
    """The last map of a network, from one vector to all steps and outputs: [..., D] -> [..., H, O].

    Output 0 has its own weights; the others come from `beside`, whose weights start at zero without random
    draws.  `apart`: in training the others send no gradient to the vector, so that output 0 trains as if they
    did not exist.
    """

    def __init__(self, width: int, horizon: int, outputs: int) -> None:
        super().__init__(width, horizon)
        self.shape, self.apart = (horizon, outputs - 1), False
        self.beside: nn.Linear | None = None
        if outputs > 1:
            self.beside = Still(width, horizon * (outputs - 1))

    def begin_at_zero(self) -> None:
        """Makes output 0 zero for any vector until it is trained."""
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)

    if TYPE_CHECKING:  # nn.Module declares Any

        def __call__(self, input: Tensor) -> Tensor: ...

    def forward(self, input: Tensor) -> Tensor:
        """[..., D] -> [..., H, O]."""
        first: Tensor = super().forward(input).unsqueeze(-1)
        if self.beside is None:
            return first
        others = self.beside(input.detach() if self.apart and self.training else input).unflatten(-1, self.shape)
        return torch.cat((first, others), dim=-1)

    def of_every(self, states_BLD: Tensor) -> Tensor | Apart:
        """A dense network's training output, from the vectors of every sample."""
        if self.beside is None or not self.apart:
            return self(states_BLD)
        others_BHQ = self.beside(states_BLD[:, -1].detach()).unflatten(-1, self.shape)
        return Apart(super().forward(states_BLD).unsqueeze(-1), others_BHQ)


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


def takes(kind: type, argument: str) -> bool:
    """Whether the constructor of a network has an argument."""
    return argument in inspect.signature(kind).parameters


def check_arguments(kind: type, family: str, given: Arguments) -> None:
    """Raises ValueError for constructor arguments that are unknown, missing or of another type."""
    signature = inspect.signature(kind).parameters
    accepted = [name for name in signature if name not in CONTRACT]
    for name in given:
        if name not in accepted:
            raise ValueError(f"network.{name}: family {family} has no such argument; it has: {', '.join(accepted) or 'none'}")
    for name in accepted:
        if name not in given and signature[name].default is inspect.Parameter.empty:
            raise ValueError(f"network.{name}: family {family} needs it")
    hints = get_type_hints(kind.__init__)  # type: ignore[misc]
    for name, value in given.items():
        if name in hints and not _fits(value, hints[name]):
            raise ValueError(f"network.{name}: {value!r} is not {_words(hints[name])}")


def _fits(value: Any, hint: Any) -> bool:
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is hint


def _words(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(map(str, get_args(hint)))
    return {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}.get(hint, str(hint))
