"""What the levels of a distribution's quantiles say: where those of a normal one lie, and what each counts in the mean."""

from collections.abc import Sequence
from statistics import NormalDist

import torch
from torch import Tensor


def normal_steps(quantiles: Sequence[float]) -> Tensor:
    """[Q]: of a standard normal distribution, where its middle quantile lies and how far each other from the next inwards."""
    places, middle = [NormalDist().inv_cdf(level) for level in quantiles], (len(quantiles) - 1) // 2
    steps = [places[at + 1] - one if at < middle else one - places[at - 1] for at, one in enumerate(places[:-1])]
    steps += [places[-1] - places[-2]] if len(places) > 1 else places
    return torch.tensor([places[at] if at == middle else one for at, one in enumerate(steps)])


def shares(quantiles: Sequence[float]) -> Tensor:
    """[Q]: what each quantile counts in the mean of a distribution, the integral of its quantiles over their levels: half the
    way to the next level on each side, the outermost up to 0 and 1."""
    levels = torch.tensor([-quantiles[0], *quantiles, 2 - quantiles[-1]], dtype=torch.float64)
    return ((levels[2:] - levels[:-2]) / 2).float()
