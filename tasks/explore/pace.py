"""Sizes a first run so that it takes minutes, whatever the table: strides, variants, epochs."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from models.families import FAMILIES
from params.load import PARAMS, load_variant
from tasks.explore.costs import EVERY_RUN, Work, run_seconds
from tasks.explore.sizes import Sizes, coprime

WRITTEN = (
    "ridge",
    "segment_gru_skip",
    "cnn",
    "dense_relu",
    "ensemble_networks",
    "gru",
    "segment_gru",
    "tcn",
)  # dropped from the end
FEWEST = 5  # of these: an ensemble, its members and ridge
BASE = PARAMS / "smoke.yaml"  # any run file: only the ensembles' members are read
CORES = 2
FITS = 200.0  # core seconds, by the table of costs, for all fits together
BASELINES, ROW = 2 * 2 * 60.0, 2 * 30 * 1e-3  # core seconds of theta and auto_ets: at most, and per row
MOST_ORIGINS, MOST_FORECASTS = 10_000, 400_000  # per split: origins, and rows of the forecast frame
ENOUGH = 30_000  # training windows: epochs are cut before windows fall below this
EPOCHS = (30, 20, 12, 8)
BATCHES = ((4_000, 256), (800, 64), (0, 16))  # least windows, batch size


@dataclass(frozen=True)
class Pace:
    """What is trained and for how long: `windows` of `possible` windows, in about `seconds`."""

    variants: tuple[str, ...]
    epochs: int
    batch: int
    windows: int
    possible: int
    seconds: float

    @property
    def patience(self) -> int:
        """Epochs without improvement that end a fit."""
        return max(3, self.epochs // 5)

    def words(self, sizes: Sizes) -> str:
        """How long it takes, and what was cut for that."""
        cut = [] if sizes.stride == 1 else [f"windows.stride {sizes.stride} ({self.windows:,} of {self.possible:,} windows)"]
        cut += [] if self.epochs == EPOCHS[0] else [f"{self.epochs} epochs"]
        cut += [] if len(self.variants) == len(WRITTEN) else [f"{len(self.variants)} variants"]
        took = f"about {math.ceil(self.seconds / 60)} minutes at most on two cores"
        return took + (f", therefore {', '.join(cut)}" if cut else f" ({self.windows:,} windows to train on)")


def paced(sizes: Sizes, lengths: Sequence[int], seasons: Collection[int], channels: int) -> tuple[Sizes, Pace]:
    """The sizes with strides, and the pace, of a run that takes two cores about four minutes.

    Windows are thinned to ENOUGH first, then variants are cut, then epochs, then windows again.
    """
    sizes = _evaluated(sizes, lengths, seasons)
    origins, possible = sizes.origins(lengths), sizes.windows(lengths)
    loaded = {name: load_variant(name, BASE) for name in WRITTEN}
    known = {name: [member.variant for member in variant.members] for name, variant in loaded.items()}
    linear = {name for name, variant in loaded.items() if not variant.members and FAMILIES[variant.family].linear}

    def took(stride: int, epochs: int, variants: Sequence[str]) -> float:
        work = Work(sizes.lookback, channels, replace(sizes, stride=stride).windows(lengths), origins, origins)
        return run_seconds({name: known[name] for name in variants}, work, epochs, _batch(work.train), linear)

    def stride_for(epochs: int, variants: Sequence[str], most: int) -> int | None:
        """The first stride, up to `most`, that is fast enough."""
        stride = 1
        while took(stride, epochs, variants) > FITS:
            stride = coprime(stride + max(1, stride // 4), seasons)
            if stride > most:
                return None
        return stride

    most = max(1, possible // ENOUGH)
    choices = [(EPOCHS[0], WRITTEN[:n]) for n in range(len(WRITTEN), FEWEST, -1)]
    choices += [(epochs, WRITTEN[:FEWEST]) for epochs in EPOCHS]
    chosen = next(((s, e, v) for e, v in choices if (s := stride_for(e, v, most)) is not None), None)
    if chosen is None:
        epochs, variants = choices[-1]
        chosen = stride_for(epochs, variants, max(lengths)) or max(lengths), epochs, variants
    stride, epochs, variants = chosen
    windows = replace(sizes, stride=stride).windows(lengths)
    beside = min(BASELINES, ROW * sum(min(length, 500) for length in lengths))
    seconds = EVERY_RUN + (took(stride, epochs, variants) + beside) / CORES
    return replace(sizes, stride=stride), Pace(variants, epochs, _batch(windows), windows, possible, seconds)


def _batch(windows: int) -> int:
    return next(size for least, size in BATCHES if windows >= least)


def _evaluated(sizes: Sizes, lengths: Sequence[int], seasons: Collection[int]) -> Sizes:
    """Sets the evaluation stride: a quarter of the horizon, or what keeps the forecast frames small."""
    stride = coprime(max(1, sizes.horizon // 4), seasons)
    while stride < sizes.split:
        candidate = replace(sizes, evaluation_stride=stride)
        if candidate.origins(lengths) <= min(MOST_ORIGINS, MOST_FORECASTS // sizes.horizon):
            return candidate
        stride = coprime(stride + 1, seasons)
    return replace(sizes, evaluation_stride=stride)
