"""HOW a forecast is computed: windows, networks, training; torch and numpy only, nothing else of ours.

A family is a class here and a line in FAMILIES; a variant is a YAML in `params/variants/` with the constructor's arguments.
"""

from models.convolutional import CnnLstm, Convolutional
from models.dilated import Tcn, WaveNet
from models.forecaster import build_forecaster
from models.linear import Dense, Linear, Ridge
from models.recurrent import Recurrent

FAMILIES = {
    "cnn_lstm": CnnLstm,
    "convolutional": Convolutional,
    "dense": Dense,
    "linear": Linear,
    "recurrent": Recurrent,
    "ridge": Ridge,
    "tcn": Tcn,
    "wavenet": WaveNet,
}

__all__ = ["FAMILIES", "build_forecaster"]
