"""An average of the weights over the last steps of a fit, which forecasts better than any single step's.

Polyak & Juditsky 1992 (SIAM J. Control Optim. 30); as an exponential moving average, Tarvainen & Valpola 2017
(1703.01780).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

EARLY = 4  # the newest weights count one half at this step: early ones are soon forgotten


class Average:
    """An exponential moving average of weights over about `steps` steps; with one or less it does nothing.

    `values`: the averages, in the order of the weights; empty if there is none.
    """

    def __init__(self, weights: Sequence[nn.Parameter], steps: float) -> None:
        self.weights: list[Tensor] = [*weights]
        self.steps = steps
        self.values: list[Tensor] = [weight.detach().clone() for weight in weights] if steps > 1 else []

    @torch.no_grad()
    def take(self, step: int) -> None:
        """Adds the weights after a step, counted from 1, to the average."""
        if self.values:
            torch._foreach_lerp_(self.values, self.weights, max(1 / self.steps, EARLY / (step + EARLY)))

    def put(self) -> None:
        """Replaces the weights by the averages, if there are any."""
        self._set(self.values)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The averages in place of the weights, for a block."""
        originals = [weight.detach().clone() for weight in self.weights] if self.values else []
        self.put()
        try:
            yield
        finally:
            self._set(originals)

    def load(self, values: Sequence[Tensor]) -> None:
        """Restores the averages of a checkpoint."""
        for average, value in zip(self.values, values, strict=True):
            average.copy_(value)

    @torch.no_grad()
    def _set(self, values: Sequence[Tensor]) -> None:
        for weight, value in zip(self.weights, values, strict=False):
            weight.copy_(value)
