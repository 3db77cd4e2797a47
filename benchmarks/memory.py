"""What each network can remember: the adding problem and copy memory, all under one budget; never a test.

    python -m benchmarks.memory                        lengths 50 and 200
    python -m benchmarks.memory --full                 also 600
    python -m benchmarks.memory --only gru,tcn         these networks alone (--tasks, --lengths, --steps narrow it further)
    python -m benchmarks.memory --published            adding 600 and copying over 1000 blanks, to 1e-4 (about an hour)
    python -m benchmarks.memory --set gru.hidden_size=128   another number in place of the variant's

Adding (Hochreiter & Schmidhuber 1997): of L numbers between 0 and 1 two are marked, one in each half; the forecast is their
sum.  Guessing the mean costs 1/6 = 0.167; solved: a test error (MSE) below 0.01.
Copying (the same; Bai et al. 2018, arXiv 1803.01271), as a forecast: 10 symbols out of 8 stand at the oldest end of a window
of L samples, blanks after them; the horizon of 10 steps is the symbols, each step with a score (outputs = 8) of every symbol.
Guessing costs ln 8 = 2.079 a step (cross-entropy); solved: below half of it.  Harder than Bai's for whoever keeps one state,
since all 10 symbols leave it at once.  Under --published its loss is in the paper's unit, spread over all T + 20 steps of its
sequences (10 of them symbols; guessing costs 10 ln 8 / 1020 = 0.0204), both problems count as solved below 1e-4, and
copying has a smaller learning rate, a TCN with the paper's kernel of 8 (at 4e-3 and with 3 it learns nothing), and a
GRU over segments of 48 samples, which takes 22 steps where a GRU takes 1,010.
The network of each variant is built as its YAML says but for dropout, which is 0 (there is no noise to fit).  One budget for
all: Adam, gradients clipped to norm 1, so many steps with batches never seen before, the learning rate falling to a tenth
over the last half; a run ends early once 1,024 test windows say that it is solved.  Beside it stands how far a gradient
reaches: the norm of d loss / d x_t over the oldest tenth of the window, divided by that over the newest, before and after
training.  Each run has one thread and as many run side by side as there are cores.  Last line: JSON.
"""

import argparse
import copy
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from models.families import FAMILIES
from params.load import PARAMS
from params.strict_yaml import read_yaml

NETWORKS = ("elman", "lstm", "gru", "attention_gru", "cnn", "tcn", "min_gru", "dilated_lstm")
SYMBOLS, COPIED = 8, 10
STEPS, BATCH, LEARNING_RATE, CLIP = 1000, 64, 4e-3, 1.0
BLANKS, SOLVED = 1000, 1e-4  # of the published copying, and where both problems end under --published
TESTED, EVERY = 1024, 100  # test windows; steps between two looks at them


class Task(NamedTuple):
    """A problem: its windows, the shape of the forecast, what it costs to be wrong and to guess, and when it is solved."""

    draw: Callable[[int, int, torch.Generator], tuple[Tensor, Tensor]]
    features: int
    horizon: int
    outputs: int
    loss: Callable[[Tensor, Tensor], Tensor]
    guessing: float
    solved: float
    unit: float = 1.0  # what the test loss is multiplied with where it is told


@dataclass(frozen=True)
class Found:
    """One run: the test loss at its end, the steps it took, and the reach of the gradient before and after."""

    network: str
    task: str
    length: int
    loss: float
    guessing: float
    solved: bool
    steps: int
    seconds: float
    num_parameters: int
    reach_before: float | None
    reach: float | None


def adding(size: int, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """[B, L, 2] numbers and marks, [B] sums."""
    values_BL = torch.rand(size, length, generator=generator)
    first_B = torch.randint(length // 2, (size,), generator=generator)
    second_B = torch.randint(length // 2, length, (size,), generator=generator)
    rows = torch.arange(size)
    marks_BL = torch.zeros(size, length)
    marks_BL[rows, first_B] = marks_BL[rows, second_B] = 1.0
    return torch.stack((values_BL, marks_BL), dim=-1), (values_BL * marks_BL).sum(1)


def copying(size: int, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """[B, L, 8] symbols as ones, blanks as zeros; [B, 10] the numbers of the symbols."""
    symbols_BH = torch.randint(SYMBOLS, (size, COPIED), generator=generator)
    x_BLF = torch.zeros(size, length, SYMBOLS)
    x_BLF[:, :COPIED] = nn.functional.one_hot(symbols_BH, SYMBOLS).float()
    return x_BLF, symbols_BH


def squared(forecast_BHO: Tensor, y_B: Tensor) -> Tensor:
    """Mean squared error of the one step."""
    return nn.functional.mse_loss(forecast_BHO[:, 0, 0], y_B)


def surprise(forecast_BHO: Tensor, y_BH: Tensor) -> Tensor:
    """Cross-entropy a step."""
    return nn.functional.cross_entropy(forecast_BHO.flatten(0, 1), y_BH.flatten())


TASKS = {
    "adding": Task(adding, 2, 1, 1, squared, 1 / 6, 0.01),
    "copying": Task(copying, SYMBOLS, COPIED, SYMBOLS, surprise, math.log(SYMBOLS), math.log(SYMBOLS) / 2),
}
SHARE = COPIED / (BLANKS + 2 * COPIED)  # of the published sequence's steps that are symbols; the others are blank and certain
PUBLISHED = {
    "adding": TASKS["adding"]._replace(solved=SOLVED),
    "copying": TASKS["copying"]._replace(unit=SHARE, guessing=SHARE * math.log(SYMBOLS), solved=SOLVED),
}


class Budget(NamedTuple):
    """What a run has: its steps, Adam's first learning rate, other numbers for a network, whether it is of PUBLISHED."""

    steps: int
    learning_rate: float
    changes: dict[str, dict[str, int | float]]  # by network
    published: bool = False


PUBLISHED_RUNS = {
    "adding": (600, ("lstm", "gru", "min_gru"), Budget(20_000, LEARNING_RATE, {}, True)),
    "copying": (
        BLANKS + COPIED,
        ("tcn", "segment_gru", "gru"),
        Budget(
            6_000, 1e-3, {"tcn": {"kernel_size": 8, "channels": 64}, "segment_gru": {"hidden_size": 128, "segment": 48}}, True
        ),
    ),
}


def build(network: str, task: Task, length: int, changes: dict[str, int | float]) -> nn.Module:
    """The network of a variant, without dropout, with other numbers where `changes` has them."""
    content, _ = read_yaml(PARAMS / "variants" / f"{network}.yaml")
    arguments = {name: value for name, value in content["network"].items() if name != "dropout"} | changes
    kind: Any = FAMILIES[content["family"]]
    built: nn.Module = kind(
        num_features=task.features, lookback=length, horizon=task.horizon, outputs=task.outputs, **arguments
    )
    return built


def gradient_reach(network: nn.Module, task: Task, x_BLF: Tensor, y: Tensor) -> float | None:
    """The norm of d loss / d x_t over the oldest tenth of the window, divided by that over the newest; in 64 bits.

    32 bits end at 1e-38, and what an untrained GRU hands back over 200 samples lies below.  None where the newest have no
    gradient at all: the blanks of copy memory in front of a ReLU whose bias is still 0.
    """
    doubled, x_BLF = copy.deepcopy(network).double(), x_BLF.double().requires_grad_()
    (slope_BLF,) = torch.autograd.grad(task.loss(doubled(x_BLF), y.double() if y.is_floating_point() else y), x_BLF)
    by_sample_L, tenth = slope_BLF.norm(dim=2).mean(0), max(x_BLF.shape[1] // 10, 1)
    oldest, newest = float(by_sample_L[:tenth].mean()), float(by_sample_L[-tenth:].mean())
    return oldest / newest if newest else None


def trained(name: str, task_name: str, length: int, budget: Budget) -> Found:
    """One run in this process."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    started, steps = time.perf_counter(), budget.steps
    task = (PUBLISHED if budget.published else TASKS)[task_name]
    network = build(name, task, length, budget.changes.get(name, {}))
    training, testing = torch.Generator().manual_seed(1), torch.Generator().manual_seed(2)
    x_test, y_test = task.draw(TESTED, length, testing)
    before = gradient_reach(network, task, x_test[:128], y_test[:128])
    optimiser = torch.optim.Adam(network.parameters(), budget.learning_rate)
    falling = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 0.1 ** max(0.0, 2 * step / steps - 1))
    loss, step = math.inf, 0
    for step in range(1, steps + 1):
        x_BLF, y = task.draw(BATCH, length, training)
        optimiser.zero_grad()
        task.loss(network(x_BLF), y).backward()
        nn.utils.clip_grad_norm_(network.parameters(), CLIP)
        optimiser.step()
        falling.step()
        if step % EVERY == 0 or step == steps:
            loss = tested(network, task, x_test, y_test)
            if step % (10 * EVERY) == 0:
                print(f"  {name} {task_name} {length}: step {step:,} of {steps:,}, {loss:.4g}", file=sys.stderr, flush=True)
            if loss < task.solved:
                break
    after = gradient_reach(network, task, x_test[:128], y_test[:128])
    size = sum(weight.numel() for weight in network.parameters())
    taken = time.perf_counter() - started
    return Found(name, task_name, length, loss, task.guessing, loss < task.solved, step, taken, size, before, after)


@torch.no_grad()
def tested(network: nn.Module, task: Task, x_BLF: Tensor, y: Tensor) -> float:
    """The loss on the test windows, in eval mode."""
    network.eval()
    loss = float(task.loss(network(x_BLF), y)) * task.unit
    network.train()
    return loss


def all_runs(runs: list[tuple[str, str, int, Budget]]) -> Iterator[Found]:
    """Every run as it ends, the longest begun first."""
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        for done in as_completed([pool.submit(trained, *run) for run in runs]):
            yield done.result()


def line_of(run: Found) -> str:
    """One line."""
    verdict = f"solved in {run.steps:,} steps" if run.solved else f"not solved in {run.steps:,}"
    before, after = ("-" if value is None else f"{value:.1e}" for value in (run.reach_before, run.reach))
    reach = f"gradient oldest / newest {before:>8s} -> {after:>8s}"
    loss = f"{run.loss:8.4g} (guessing {run.guessing:.4f})"
    return f"{run.task:8s} {run.length:4d}  {run.network:14s} {loss}  {verdict:22s} {reach}  {run.seconds:5.0f} s"


def change(text: str) -> tuple[str, str, int | float]:
    """(network, argument, number) of NETWORK.NAME=NUMBER.  Raises ValueError, which argparse tells, for anything else."""
    where, _, number = text.partition("=")
    network, name = where.split(".")
    return network, name, float(number) if "." in number else int(number)


def parsed() -> list[tuple[str, str, int, Budget]]:
    """The runs (network, task, length, budget), the longest first, from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="also length 600")
    parser.add_argument(
        "--published", action="store_true", help="the published lengths, to 1e-4, each with a budget of its own"
    )
    parser.add_argument("--only", default="", help="networks, by their variants' names")
    parser.add_argument("--tasks", default=",".join(TASKS), help="adding, copying")
    parser.add_argument("--lengths", default="", help="lengths in place of 50 and 200")
    parser.add_argument("--steps", type=int, help=f"in place of {STEPS:,}, or of the published problem's own")
    parser.add_argument("--learning-rate", type=float, help=f"in place of {LEARNING_RATE:g}, or of the published problem's own")
    parser.add_argument(
        "--set", type=change, action="append", default=[], metavar="NETWORK.NAME=NUMBER", help="as gru.hidden_size=128"
    )
    given = parser.parse_args()
    own_lengths, only = [int(part) for part in given.lengths.split(",") if part], [n for n in given.only.split(",") if n]
    if given.published and (own_lengths or given.full):
        parser.error("--published has lengths of its own, and its unit belongs to them: leave out --lengths and --full")
    changes: dict[str, dict[str, int | float]] = {}
    for network, name, number in given.set:
        changes.setdefault(network, {})[name] = number
    runs = []
    for task in given.tasks.split(","):
        length, names, budget = PUBLISHED_RUNS[task]
        if not given.published:
            names, budget = NETWORKS, Budget(STEPS, LEARNING_RATE, {})
        rate = given.learning_rate or budget.learning_rate
        by_network = {
            network: budget.changes.get(network, {}) | changes.get(network, {}) for network in budget.changes | changes
        }
        budget = budget._replace(steps=given.steps or budget.steps, learning_rate=rate, changes=by_network)
        lengths = own_lengths or ([length] if given.published else [50, 200] + [600] * given.full)
        runs += [(name, task, size, budget) for size in lengths for name in only or names]
    return sorted(runs, key=lambda run: -run[2])


def main() -> None:
    """Prints each run as it ends, then all of them in order, then JSON."""
    runs = parsed()
    print(f"{os.cpu_count()} cores; batches of {BATCH} windows, gradients clipped to {CLIP:g}")
    for task, budget in {run[1]: run[3] for run in runs}.items():
        print(f"{task}: {budget.steps:,} steps, Adam {budget.learning_rate:g} {budget.changes or ''}")
    started, results, order = time.perf_counter(), [], [run[:3] for run in runs]
    for run in all_runs(runs):
        results.append(run)
        print(line_of(run), flush=True)
    results.sort(key=lambda run: (run.task, run.length, order.index((run.network, run.task, run.length))))
    print(f"\n{(time.perf_counter() - started) / 60:.1f} minutes; in order:")
    for run in results:
        print(line_of(run))
    for task, length in dict.fromkeys((run.task, run.length) for run in results):
        names = [run.network for run in results if (run.task, run.length, run.solved) == (task, length, True)]
        print(f"{task} {length}: solved by {', '.join(names) or 'none'}")
    print(json.dumps([{k: float(f"{v:.4g}") if type(v) is float else v for k, v in asdict(run).items()} for run in results]))


if __name__ == "__main__":
    main()
