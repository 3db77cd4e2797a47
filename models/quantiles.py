"""The positions of a normal distribution's quantiles, and their weights in the mean of a distribution."""

from collections.abc import Sequence
from statistics import NormalDist

import torch
from torch import Tensor


def normal_steps(quantiles: Sequence[float]) -> Tensor:
    """[Q]: the middle quantile of a standard normal, and each other's distance from its inner neighbour."""
    places, middle = [NormalDist().inv_cdf(level) for level in quantiles], (len(quantiles) - 1) // 2
    steps = [places[at + 1] - value if at < middle else value - places[at - 1] for at, value in enumerate(places[:-1])]
    steps += [places[-1] - places[-2]] if len(places) > 1 else places
    return torch.tensor([places[at] if at == middle else value for at, value in enumerate(steps)])


def shares(quantiles: Sequence[float]) -> Tensor:
    """[Q]: each quantile's weight in the mean of a distribution, which integrates quantiles over levels.

    A quantile's interval reaches half-way to the next level on each side; the outermost reach to 0 and 1.
    """
    levels = torch.tensor([-quantiles[0], *quantiles, 2 - quantiles[-1]], dtype=torch.float64)
    return ((levels[2:] - levels[:-2]) / 2).float()
