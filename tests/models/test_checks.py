"""models/checks.py: networks that break one rule of the contract each fail its check, and only what follows from it."""

import pytest
import torch
from torch import Tensor, nn

from models import checks, families, outside
from models.checks import CHECKS, Subject, failures


class _Good(nn.Module):
    """A straight line."""

    def __init__(self, *, num_features: int, lookback: int, horizon: int) -> None:
        super().__init__()
        self.line = nn.Linear(lookback * num_features, horizon)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.line(x.flatten(1))
        return found


class _Fixed(_Good):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)[:, :1]


class _Unused(_Good):
    def __init__(self, *, num_features: int, lookback: int, horizon: int) -> None:
        super().__init__(num_features=num_features, lookback=lookback, horizon=horizon)
        self.other = nn.Linear(2, 2)


class _Batch(_Good):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + x.mean()


class _Noise(_Good):
    def forward(self, x: Tensor) -> Tensor:
        found = super().forward(x)
        return found + torch.randn_like(found)


class _Deciding(_Good):
    def forward(self, x: Tensor) -> Tensor:
        found = super().forward(x)
        return found if float(found.detach().sum()) > 1e9 else found * 2


class _Divides(_Good):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) / x[..., 0].abs().sum(1, keepdim=True)


class _Single(_Good):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).float()


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (_Good, set()),
        (_Fixed, {"sizes", "meta device"}),
        (_Unused, {"gradients"}),
        (_Batch, {"batch"}),
        (_Noise, {"batch", "repeatable", "export"}),
        (_Deciding, {"meta device", "export"}),
        (_Divides, {"finite"}),
        (_Single, {"precision"}),
    ],
)
def test_a_broken_rule_fails_its_check(kind: type[nn.Module], expected: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    network = outside.as_network(kind)
    monkeypatch.setattr(checks, "family_of", lambda name: network)
    monkeypatch.setattr(families, "family_of", lambda name: network)
    found = list(failures(Subject("own:Net", {})))
    assert [check for check, _ in found] == list(CHECKS)
    assert {check.name for check, wrong in found if wrong} == expected


def test_no_random_number_of_the_caller_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    assert not any(wrong for _, wrong in failures(Subject("dense", {"hidden_size": 2}), ("finite", "repeatable")))
    assert torch.equal(before, torch.random.get_rng_state())
