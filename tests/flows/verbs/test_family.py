"""flows/verbs/family.py: one line a check, exit status 1 where one fails, one error for what is no network."""

from pathlib import Path

import pytest

from flows.verbs.family import check_baseline, check_family
from models.baseline_checks import CHECKS
from params.errors import ChecksFailed, UserError

NETS = """
import torch
from torch import nn


class Line(nn.Module):
    def __init__(self, *, num_features: int, lookback: int, horizon: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.line = nn.Linear(lookback * num_features, horizon)

    def forward(self, x):
        return self.line(x.flatten(1)) * self.scale


def level(history, steps, season):
    return [float(history[-1])] * steps


def noisy(history, steps, season):
    return torch.randn(steps)


class Noisy(Line):
    def forward(self, x):
        found = super().forward(x)
        return found + torch.randn_like(found)
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "checked_nets.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)


def test_each_check_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    check_family("checked_nets:Line", ["scale=0.5"])
    lines = [line.split("  ") for line in capsys.readouterr().out.splitlines()]
    assert {line[0] for line in lines} == {"passed"}
    assert [line[1] for line in lines][-2:] == ["repeatable", "export"] and len(lines) == 8


def test_a_failed_check_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ChecksFailed, match=r"checked_nets:Noisy does not meet the contract of a family: [1-8] of the checks"):
        check_family("checked_nets:Noisy", ["scale=1.0"])
    told = "failed  repeatable  two forecasts of the same window differ; draw random numbers by torch alone"
    assert told in capsys.readouterr().out


@pytest.mark.parametrize(
    ("code", "settings", "told"),
    [
        ("checked_nets:Line", [], "checked_nets:Line: network.scale: family checked_nets:Line needs it"),
        ("checked_nets:Line", ["scale=x"], "network.scale: 'x' is not a number"),
        ("checked_nets:Line", ["scale=1.0", "wide=2"], "network.wide: family checked_nets:Line has no such argument"),
        ("checked_nets:Line", ["a.b=1"], "--set a.b=1: write an argument of the constructor and one value"),
        ("checked_nets", [], "checked_nets: write the module and the name in it, such as my_package.nets:MyNet"),
        ("checked_nets:torch", [], "checked_nets:torch: 'torch' is no class derived from torch.nn.Module"),
        ("os:system", [], "os:system: a module of your own cannot be called os"),
    ],
)
def test_what_is_no_network_is_one_error(code: str, settings: list[str], told: str) -> None:
    with pytest.raises(UserError) as error:
        check_family(code, settings)
    assert told in str(error.value)


def test_a_baseline_is_checked_likewise(capsys: pytest.CaptureFixture[str]) -> None:
    check_baseline("checked_nets:level")
    lines = [line.split("  ") for line in capsys.readouterr().out.splitlines()]
    assert [line[:2] for line in lines] == [["passed", check.name] for check in CHECKS]
    with pytest.raises(ChecksFailed, match="checked_nets:noisy does not meet the contract of a baseline: 1 of the checks"):
        check_baseline("checked_nets:noisy")
    assert (
        "failed  repeatable  it returns other numbers for the same history when it is called again" in capsys.readouterr().out
    )
    with pytest.raises(UserError, match="checked_nets:Line is no function of history, steps and season"):
        check_baseline("checked_nets:Line")
