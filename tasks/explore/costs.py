"""The cost of a fit by `params/rules/costs.yaml`, measured once by `python -m benchmarks.costs`."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from params.load import PARAMS
from params.strict_yaml import read_yaml

START = 6.0  # core seconds to start and end a fit's process
EVERY_RUN = 45.0  # seconds of a comparison besides fits and baselines
STEP, BATCH = 1.5e-3, 256  # fixed seconds per step, and the measured batch size
MEMORY = 0.3, 1.1  # GB of a fit's process, and of the comparison with its server, besides their data


@dataclass(frozen=True)
class Cost:
    """Core microseconds per training window: `fixed`, per sample, per cell (a sample of a channel), per
    square of the cells; `forecast`: the share of that per forecast window."""

    fixed: float
    sample: float
    cell: float
    square: float
    forecast: float

    @property
    def solved(self) -> bool:
        """Whether it is a closed form, which has no epochs."""
        return self.square > 0

    def window(self, samples: int, channels: int) -> float:
        """Microseconds per training window."""
        cells = samples * channels
        return self.fixed + self.sample * samples + self.cell * cells + self.square * cells**2


@dataclass(frozen=True)
class Work:
    """The work of every fit of a run: samples and channels per window, windows per split."""

    samples: int
    channels: int
    train: int
    validation: int
    test: int


@cache
def costs() -> dict[str, Cost]:
    """Variant -> its cost."""
    return {
        name: Cost(**values)
        for name, values in read_yaml(PARAMS / "rules" / "costs.yaml", "params/rules/costs.yaml")[0].items()
    }


def cost_of(variant: str) -> Cost:
    """The cost of a variant that is not an ensemble; an unmeasured one counts as the most expensive."""
    return costs().get(variant) or max(costs().values(), key=lambda cost: cost.window(96, 3))


def fit_seconds(cost: Cost, work: Work, epochs: int, batch: int = BATCH, skip: object = None) -> float:
    """Core seconds of a fit, including its start and its forecasts.
    `skip`: the path parallel to the network; a ridge regression is solved first."""
    passes = 1 if cost.solved else epochs
    windows = work.train * passes + cost.forecast * (work.validation * (passes + 1) + work.test)
    steps = 0.0 if cost.solved else STEP * work.train * epochs * max(0.0, 1 / batch - 1 / BATCH)  # extra
    solved = cost_of("ridge").window(work.samples, work.channels) * work.train / 1e6 if skip == "ridge" else 0.0
    return START + solved + steps + cost.window(work.samples, work.channels) * windows / 1e6


def run_seconds(
    variants: Mapping[str, Sequence[str]], work: Work, epochs: int, batch: int, linear: Collection[str] = ()
) -> float:
    """Core seconds of all fits of a run, each once with one seed, beside a ridge unless `linear`.

    `variants`: the members of each ensemble, else none."""
    fits = {name for variant, members in variants.items() for name in members or (variant,)}
    ensembles = sum(bool(members) for members in variants.values())
    each = (fit_seconds(cost_of(name), work, epochs, batch, None if name in linear else "ridge") for name in fits)
    return START * ensembles + sum(each)
