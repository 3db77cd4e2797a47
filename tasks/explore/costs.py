"""What a fit costs, by `params/rules/costs.yaml`: found once by `python -m benchmarks.costs`, never while a fit runs."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from params.load import PARAMS
from params.strict_yaml import read_yaml

START = 6.0  # seconds of a core that the process of a fit takes to start and to end
EVERY_RUN = 45.0  # seconds that a comparison takes beside its fits and baselines
STEP, BATCH = 1.5e-3, 256  # seconds of a step whatever its windows, and the batch that was measured
MEMORY = 0.3, 1.1  # GB that the process of a fit holds, and that of the comparison with its server, beside their data


@dataclass(frozen=True)
class Cost:
    """Microseconds of a core for a window in training: `fixed`, for each sample, each cell (a sample of a channel), each square
    of the cells; `forecast`: the share of that in forecasting."""

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
        """Microseconds of a window in training."""
        cells = samples * channels
        return self.fixed + self.sample * samples + self.cell * cells + self.square * cells**2


@dataclass(frozen=True)
class Work:
    """What every fit of a run goes through: samples and channels of a window, windows of each split."""

    samples: int
    channels: int
    train: int
    validation: int
    test: int


@cache
def costs() -> dict[str, Cost]:
    """Variant -> its cost."""
    return {name: Cost(**one) for name, one in read_yaml(PARAMS / "rules" / "costs.yaml", "params/rules/costs.yaml")[0].items()}


def cost_of(variant: str) -> Cost:
    """Of a variant that is no ensemble; one that was never measured is taken for the dearest."""
    return costs().get(variant) or max(costs().values(), key=lambda cost: cost.window(96, 3))


def fit_seconds(cost: Cost, work: Work, epochs: int, batch: int = BATCH, skip: object = None) -> float:
    """Seconds of a core that a fit takes, its start and its forecasts included.  `skip`: what stands beside the network; a
    ridge regression is solved first."""
    passes = 1 if cost.solved else epochs
    windows = work.train * passes + cost.forecast * (work.validation * (passes + 1) + work.test)
    steps = 0.0 if cost.solved else STEP * work.train * epochs * max(0.0, 1 / batch - 1 / BATCH)  # beside those of such batches
    solved = cost_of("ridge").window(work.samples, work.channels) * work.train / 1e6 if skip == "ridge" else 0.0
    return START + solved + steps + cost.window(work.samples, work.channels) * windows / 1e6


def run_seconds(
    variants: Mapping[str, Sequence[str]], work: Work, epochs: int, batch: int, linear: Collection[str] = ()
) -> float:
    """The seconds of all fits of a run, each once and with one seed, beside a ridge regression but for the `linear` ones.

    `variants`: the members of each ensemble, else none."""
    fits = {name for variant, members in variants.items() for name in members or (variant,)}
    ensembles = sum(bool(members) for members in variants.values())
    each = (fit_seconds(cost_of(name), work, epochs, batch, None if name in linear else "ridge") for name in fits)
    return START * ensembles + sum(each)
