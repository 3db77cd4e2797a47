"""HOW a forecast is computed: windows, networks, training; torch and numpy only, nothing else of ours.

A family is a class here and a line in FAMILIES; a variant is a YAML in `params/variants/` with the constructor's arguments.
"""

from models.attention import Attention
from models.convolutional import CnnLstm, Convolutional
from models.dilated import Tcn, WaveNet
from models.dilated_recurrent import DilatedLstm
from models.forecaster import build_forecaster
from models.linear import Dense, Linear, Ridge
from models.modern import ModernTcn, SegmentGru
from models.recurrent import Recurrent
from models.scan import MinGru
from models.sequence import EncoderDecoder, SeqToSeq, VecToSeq

FAMILIES = {
    "attention": Attention,
    "cnn_lstm": CnnLstm,
    "convolutional": Convolutional,
    "dense": Dense,
    "dilated_lstm": DilatedLstm,
    "encoder_decoder": EncoderDecoder,
    "linear": Linear,
    "min_gru": MinGru,
    "modern_tcn": ModernTcn,
    "recurrent": Recurrent,
    "ridge": Ridge,
    "segment_gru": SegmentGru,
    "seq2seq": SeqToSeq,
    "tcn": Tcn,
    "vec2seq": VecToSeq,
    "wavenet": WaveNet,
}

__all__ = ["FAMILIES", "build_forecaster"]
