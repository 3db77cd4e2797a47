"""The contract of a family as checks: what every network must do, whether ours or from outside.

Shapes: B batch, L lookback, F features, H horizon, Q outputs.
"""

import logging
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from models.data.window import FeatureWindow, WindowParams
from models.data.windows import Inputs
from models.exported import export
from models.families import build_forecaster, family_of
from models.fit.settings import own_generators
from models.fit.step import batch_loss
from models.forecaster import Forecaster
from models.networks.contract import Arguments, Network, takes

SIZES = ((1, 1, 1), (3, 7, 2), (5, 1, 12), (2, 30, 5))  # features, lookback, horizon
WINDOWS = WindowParams(4, {"y": FeatureWindow(24), "x": FeatureWindow(6, 2)})
QUANTILES = (0.05, 0.5, 0.95)
BATCHES = (1, 2, 7)  # windows for which an exported graph is tried
CLOSE = 1e-5  # relative and absolute, in scaled units


class Broken(Exception):
    """A check that a family fails, in words."""


@dataclass(frozen=True)
class Subject:
    """A family with arguments for its constructor, but for those that the forecaster supplies."""

    family: str
    network: Arguments

    @property
    def kind(self) -> type[Network]:
        """The network's class.  Raises ValueError for an unknown family."""
        kind = family_of(self.family)
        if kind is None:
            raise ValueError(f"unknown family {self.family!r}")
        return kind

    def own(self, features: int, lookback: int, horizon: int) -> Network:
        """The bare network, with three quantiles if it has such outputs."""
        outputs = {"outputs": 4} if takes(self.kind, "outputs") else {}
        given: dict[str, Any] = {name: one for name, one in self.network.items() if name not in ("skip", "lookback")}
        return self.kind(num_features=features, lookback=lookback, horizon=horizon, **outputs, **given)

    def forecaster(self, seed: int = 0) -> Forecaster:
        """A forecaster of the network, with weights drawn from a seed."""
        torch.manual_seed(seed)
        return build_forecaster(self.family, self.network, WINDOWS, level="last", quantiles=QUANTILES)


@dataclass(frozen=True)
class Check:
    """One property of a subject: its name, what must hold, what to do otherwise, and the test, which raises Broken."""

    name: str
    must: str
    remedy: str
    test: Callable[[Any], None]


def failures(subject: Subject, names: Collection[str] | None = None) -> Iterator[tuple[Check, str]]:
    """Every check of a family, or those of some names, with what is wrong; empty where it passes."""
    yield from tried([check for check in CHECKS if names is None or check.name in names], subject)


def tried(checks: Iterable[Check], subject: object) -> Iterator[tuple[Check, str]]:
    """Checks with what is wrong; empty where a subject passes.  No random numbers are drawn from the caller's."""
    for check in checks:
        with own_generators(), _quiet():
            try:
                check.test(subject)
            except Broken as broken:
                yield check, str(broken)
            except Exception as error:  # whatever the network raises
                first = next(iter(str(error).strip().splitlines()), "")
                yield check, f"{type(error).__name__}: {first}"
            else:
                yield check, ""


@contextmanager
def _quiet() -> Iterator[None]:
    """No warnings and no log: torch prints the whole graph of a network that it cannot export."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _sizes(subject: Subject) -> None:
    for features, lookback, horizon in SIZES:
        network = subject.own(features, lookback, horizon).eval()
        _shaped(network(torch.randn(6, lookback, features)), network, 6, horizon, f"{features} features, lookback {lookback}")


def _shaped(output: Tensor, network: Network, batch: int, horizon: int, of: str) -> None:
    expected = (batch, horizon, 4) if takes(type(network), "outputs") else (batch, horizon)
    if not isinstance(output, Tensor):
        raise Broken(f"forward gives {type(output).__name__}, not a tensor ({of})")
    if output.shape != expected and output.shape != (*expected[:2], 1):
        raise Broken(f"with {of} it gives {list(output.shape)}, not {list(expected)}")


def _meta(subject: Subject) -> None:
    with torch.device("meta"):
        network = subject.own(3, 7, 2)
        _shaped(network.eval()(torch.zeros(2, 7, 3)), network, 2, 2, "no memory")


def _precision(subject: Subject) -> None:
    network = subject.own(3, 7, 2).eval()
    for kind in (torch.float32, torch.float64):
        output = network.to(kind)(torch.zeros(2, 7, 3, dtype=kind))
        if output.dtype != kind:
            raise Broken(f"it gives {output.dtype} for {kind}")


def _some(size: int, seed: int = 1) -> Inputs:
    """Windows of random numbers; the last lacks its oldest half."""
    generator = torch.Generator().manual_seed(seed)
    past_BLF = torch.randn(size, WINDOWS.lookback, len(WINDOWS.channels), generator=generator)
    past_BLF[-1, : WINDOWS.lookback // 2] = torch.nan
    return Inputs.zeros(WINDOWS, size)._replace(past_BLF=past_BLF)


def _finite(subject: Subject) -> None:
    forecaster, inputs = subject.forecaster().eval(), _some(9)
    blank = inputs._replace(past_BLF=torch.full_like(inputs.past_BLF, torch.nan))
    for what, given in (("random numbers", inputs), ("a window without any value", blank)):
        if not torch.isfinite(forecaster(*given)).all():
            raise Broken(f"its forecast for {what} is not finite")


def _gradients(subject: Subject) -> None:
    forecaster, inputs = subject.forecaster().train(), _some(64)
    rows = WINDOWS.horizon + (forecaster.rate * (forecaster.lookback - 1) if forecaster.dense else 0)
    y_BT = torch.randn(64, rows, generator=torch.Generator().manual_seed(2))
    loss = batch_loss(forecaster, inputs, y_BT, "mae")
    if not torch.isfinite(loss):
        raise Broken("its loss on random numbers is not finite")
    loss.backward()
    for name, parameter in forecaster.named_parameters():
        if parameter.requires_grad and (parameter.grad is None or not parameter.grad.abs().sum() > 0):
            raise Broken(f"{name} gets no gradient")


def _alone(subject: Subject) -> None:
    forecaster, inputs = subject.forecaster().eval(), _some(9)
    alone = torch.cat([forecaster(*(part[i : i + 1] for part in inputs)) for i in range(9)])
    _close(forecaster(*inputs), alone, "a window's forecast in a batch and by itself")


def _repeatable(subject: Subject) -> None:
    inputs = _some(9)
    first, second, again = subject.forecaster(), subject.forecaster(), subject.forecaster(1).eval()
    for (name, weights), other in zip(first.state_dict().items(), second.state_dict().values(), strict=True):
        if not torch.equal(weights, other):
            raise Broken(f"{name} differs between two networks of the same seed")
    first.eval()
    for forecaster in (first, again):
        if not torch.equal(forecaster(*inputs), forecaster(*inputs)):
            raise Broken("two forecasts of the same window differ")
    if not torch.equal(first(*inputs), second.eval()(*inputs)):
        raise Broken("two networks with the same weights forecast differently")


def _exported(subject: Subject) -> None:
    from models.serving import open_graph

    forecaster = subject.forecaster().eval()
    graph = open_graph(export(forecaster, WINDOWS))
    for size in BATCHES:
        _close(graph(*_some(size)), forecaster(*_some(size)), f"the graph and the network, for {size} windows,")


def _close(computed: Tensor, expected: Tensor, what: str) -> None:
    if computed.shape != expected.shape or not torch.allclose(computed, expected, rtol=CLOSE, atol=CLOSE):
        apart = (computed - expected).abs().max() if computed.shape == expected.shape else "in shape"
        raise Broken(f"{what} differ ({apart:.2g})" if isinstance(apart, Tensor) else f"{what} differ {apart}")


CHECKS = (
    Check("sizes", "any number of features, lookback and horizon gives [B, H] or, with outputs, [B, H, outputs]",
          "take num_features, lookback, horizon and outputs from the constructor, and shape the forecast by them", _sizes),
    Check("meta device", "it can be built and called without memory",
          "make tensors in forward on the device of the input, such as x.new_zeros(...)", _meta),
    Check("precision", "the forecast has the type of the input",
          "make no tensor of a fixed type in forward; keep constants as buffers", _precision),
    Check("finite", "forecasts are finite, also for a window without any value",
          "avoid divisions by zero and logarithms of what may be zero", _finite),
    Check("gradients", "every parameter gets a gradient",
          "remove layers that forward does not use, and detach nothing", _gradients),
    Check("batch", "a window's forecast does not depend on the other windows of its batch",
          "normalize within a window (LayerNorm), not over a batch", _alone),
    Check("repeatable", "the same seed gives the same weights; in evaluation nothing is random",
          "draw random numbers by torch alone, and in forward only where self.training", _repeatable),
    Check("export", "torch.export gives a graph that forecasts the same for any batch size",
          "let no value of a tensor decide what is computed (if, while, .item()): use torch.where", _exported),
)  # fmt: skip
