"""The head of a network as one linear map, for formulas written out."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from models.networks.contract import Head

Map = tuple[np.ndarray, np.ndarray]


@pytest.fixture
def map_of() -> Callable[[Head], Map]:
    """`map_of(head)`: weight [H O, D] and bias [H O] of all its outputs, in float64, those of a step side by side; weights that
    begin at zero, which would hide where they belong, are drawn first."""

    def drawn(head: Head) -> Map:
        assert head.beside is not None
        for parameter in head.beside.parameters():
            nn.init.normal_(parameter, std=0.5)
        (steps, others), width = head.shape, head.weight.shape[1]
        weights = head.weight.reshape(steps, 1, width), head.beside.weight.reshape(steps, others, width)
        biases = head.bias.reshape(steps, 1), head.beside.bias.reshape(steps, others)
        whole = torch.cat(weights, dim=1).reshape(-1, width), torch.cat(biases, dim=1).reshape(-1)
        return whole[0].detach().double().numpy(), whole[1].detach().double().numpy()

    return drawn
