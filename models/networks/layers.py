"""Initial weights: one rule per kind of layer, the same in every network."""

from typing import Literal

import torch
from torch import nn


def initialise(layer: nn.Conv1d | nn.Linear, nonlinearity: Literal["relu", "tanh"] = "relu") -> None:
    """Zero bias; Kaiming weights (He et al. 2015) before a ReLU, else Xavier (Glorot & Bengio 2010)."""
    if nonlinearity == "relu":
        nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
    else:
        nn.init.xavier_uniform_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


@torch.no_grad()
def initialise_recurrence(recurrence: nn.RNNBase | nn.RNNCellBase) -> None:
    """Orthogonal recurrent weights gate by gate, Xavier input weights, zero biases, LSTM forget gate bias 1."""
    hidden_size = recurrence.hidden_size
    for name, weight in recurrence.named_parameters():
        if name.startswith("bias"):
            nn.init.zeros_(weight)
            if isinstance(recurrence, nn.LSTM | nn.LSTMCell) and name.startswith("bias_ih"):
                weight[hidden_size : 2 * hidden_size] = 1.0
            continue
        for gate in weight.split(hidden_size):
            nn.init.orthogonal_(gate) if name.startswith("weight_hh") else nn.init.xavier_uniform_(gate)
