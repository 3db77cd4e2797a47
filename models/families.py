"""The network families by name, and `build_forecaster`; a new one is a class in `networks/` and a line."""

from collections.abc import Mapping, Sequence
from typing import get_args

from models.data.scaling import Scaling, Transform, no_scaling
from models.data.window import WindowParams
from models.forecaster import Forecaster, Level, Point, Skip, num_inputs
from models.networks.attention import Attention
from models.networks.contract import Arguments, Network, Target, check_arguments, takes
from models.networks.convolutional import CnnLstm, Convolutional
from models.networks.dilated import Tcn, WaveNet
from models.networks.dilated_lstm import DilatedLstm
from models.networks.esrnn import EsRnn
from models.networks.linear import Dense, Linear, Ridge
from models.networks.min_gru import MinGru
from models.networks.modern_tcn import ModernTcn
from models.networks.recurrent import Recurrent
from models.networks.segment_gru import SegmentGru
from models.networks.sequence import EncoderDecoder, SeqToSeq, VecToSeq
from models.networks.sparse_tsf import SparseTsf
from models.outside import network_of

FAMILIES: dict[str, type[Network]] = {
    "attention": Attention,
    "cnn_lstm": CnnLstm,
    "convolutional": Convolutional,
    "dense": Dense,
    "dilated_lstm": DilatedLstm,
    "encoder_decoder": EncoderDecoder,
    "esrnn": EsRnn,
    "linear": Linear,
    "min_gru": MinGru,
    "modern_tcn": ModernTcn,
    "recurrent": Recurrent,
    "ridge": Ridge,
    "segment_gru": SegmentGru,
    "seq2seq": SeqToSeq,
    "sparse_tsf": SparseTsf,
    "tcn": Tcn,
    "vec2seq": VecToSeq,
    "wavenet": WaveNet,
}


def family_of(name: str) -> type[Network] | None:
    """A family by its name: one of FAMILIES, or one from outside that this process has taken in."""
    return FAMILIES.get(name) or network_of(name)


def build_forecaster(
    family: str,
    network: Arguments,
    params: WindowParams,
    *,
    level: Level = "none",
    transform: Transform = "none",
    categories: Mapping[str, int] | None = None,
    scaling: Scaling | None = None,
    quantiles: Sequence[float] = (),
    point: Point | None = None,
) -> Forecaster:
    """A forecaster of a family (`family_of`), from its constructor's arguments.

    Without `scaling` nothing is scaled.  `categories`: how many each categorical covariate has.  `quantiles`:
    ascending, in addition to the point forecast; a family whose constructor has no `outputs` returns the
    point alone.  `point`: how it is derived from the quantiles, unless it is an output of its own.  `network`
    may also hold `skip: linear` or `skip: ridge`, for any family that is not itself linear, and `lookback`:
    how many of the newest samples of a window it sees.
    Raises ValueError for an unknown family, argument or type.
    """
    kind = family_of(family)
    if kind is None:
        raise ValueError(f"unknown family {family!r}; there are: {', '.join(FAMILIES)}")
    arguments = {name: value for name, value in network.items() if name != "lookback" and (name != "skip" or kind.linear)}
    check_arguments(kind, family, arguments)
    rule = network.get("skip", "none")
    if rule not in get_args(Skip):
        raise ValueError(f"network.skip: {rule!r} is not one of {', '.join(get_args(Skip))}")
    folded, lookback = not takes(kind, "num_ahead"), _lookback(network, params)
    width, known = num_inputs(params, level, categories, folded, lookback)
    quantiles = tuple(quantiles) if takes(kind, "outputs") else ()
    contract: dict[str, int | Target] = {"num_features": width, "lookback": lookback, "horizon": params.horizon}
    point = point if takes(kind, "outputs") else None
    if point == "median" and 0.5 not in quantiles:
        raise ValueError("training.point: median needs 0.5 among training.quantiles")
    if point == "mean" and not (quantiles and quantiles[0] < 0.5 < quantiles[-1]):
        raise ValueError("training.point: mean needs training.quantiles below and above 0.5")
    contract |= {"outputs": len(quantiles) + (point is None)} if takes(kind, "outputs") else {}
    contract |= {} if folded else {"num_ahead": known}
    contract |= {"target": target_of(family, params)} if takes(kind, "target") else {}
    built = kind(**contract, **arguments)
    skip: Linear | Ridge | None = None
    if rule == "linear":
        skip = Linear(num_features=width, lookback=lookback, horizon=params.horizon)
    elif rule == "ridge":
        skip = Ridge(num_features=width, lookback=lookback, horizon=params.horizon).requires_grad_(False)
    scaling = scaling or no_scaling(params)
    return Forecaster(built, params, scaling, level, transform, categories, quantiles, skip, point, lookback)


def _lookback(network: Arguments, params: WindowParams) -> int:
    """How many samples of a window a network sees.  Raises ValueError for a number out of range."""
    given = network.get("lookback", params.lookback)
    if isinstance(given, bool) or not isinstance(given, int) or not 1 <= given <= params.lookback:
        raise ValueError(f"network.lookback: write a whole number from 1 to {params.lookback}, the window's, not {given!r}")
    return given


def target_of(family: str, params: WindowParams) -> Target:
    """The position of y in a network's input sequence.  Raises ValueError if y is not a feature."""
    if "y" not in params.features:
        raise ValueError(f"family {family} needs y among the features")
    place, window = list(params.features).index("y"), params.features["y"]
    return Target(place, len(params.channels) + place, params.gap + window.delay, window.sampling_rate)
