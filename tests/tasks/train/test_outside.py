"""tasks/train/outside.py: where a run file's code lies, what is hashed of it, and what may be imported for a version."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import torch

from models.data.panel import Split
from models.fit.job import Job
from models.fit.losses import masked_loss
from models.outside import Outside, take_in
from params.errors import UserError
from params.load import Plan, load_plan
from tasks.compare.board import Board, ScoreRow
from tasks.compare.own import OwnMeasures
from tasks.registry.facts import _job, _stored
from tasks.report.leaderboard import to_markdown
from tasks.train.check import check_plan
from tasks.train.identity import identity
from tasks.train.job import make_job
from tasks.train.kind import Kind
from tasks.train.outside import code_of, find, located, outside_of, take_in_all
from tests.tree import write_tree

pytestmark = pytest.mark.slow

SMOKE = Path("params/smoke.yaml").read_text()
NET = """
import numpy
from torch import nn
import {cells}

class Net(nn.Module):
    def __init__(self, *, num_features: int, lookback: int, horizon: int, hidden: int = 2) -> None:
        super().__init__()
        {init}
        self.line = nn.Linear(lookback * num_features, horizon)

    def forward(self, x):
        return {forward}
"""


def write(folder: Path, init: str = "pass", forward: str = "self.line(x.flatten(1))", cells: str = "") -> None:
    """A module `net_<folder>` and one that it imports; named by the folder, so that no two tests share modules."""
    name = folder.name.replace("-", "_")
    (folder / f"net_{name}.py").write_text(NET.format(cells=cells or f"cells_{name}", init=init, forward=forward))
    (folder / f"cells_{name}.py").write_text("WIDTH = 1\n")


def plan_in(folder: Path, key: str = "own", target: str = "", more: str = "") -> Plan:
    target = target or f"net_{folder.name.replace('-', '_')}:Net"
    text = f"families: {{{key}: {target}}}\ndefine: {{mine: {{family: {key}, about: our own, network: {{hidden: 3}}}}}}\n"
    path = folder / "run.yaml"
    path.write_text(SMOKE.replace("variants: [ridge, elman, cnn]", "variants: [mine]") + text + more)
    return load_plan(path)


def job_of(plan: Plan, panel: Path) -> Job:
    windows = plan.run.windows.window_params()
    return make_job(plan.variants["mine"], 0, panel, windows, Split("time", 1, 2), "cpu")


def test_the_module_and_what_it_imports_there_are_hashed_and_make_the_identity(tmp_path: Path) -> None:
    write(tmp_path)
    name = tmp_path.name.replace("-", "_")
    plan = plan_in(tmp_path)
    take_in_all(plan)
    (code,) = code_of(plan.variants["mine"].family)
    assert set(code.files) == {f"net_{name}.py", f"cells_{name}.py"}
    assert list(code.libraries) == ["numpy"]
    before = identity(job_of(plan, Path("panel")), "d")
    moved = replace(job_of(plan, Path("panel")), outside=(replace(code, root="/elsewhere"),))
    assert identity(moved, "d") == before  # no path in it
    (tmp_path / f"cells_{name}.py").write_text("WIDTH = 2\n")
    take_in_all(plan)
    assert identity(job_of(plan, Path("panel")), "d") != before


def test_a_package_is_hashed_as_far_as_it_is_imported(tmp_path: Path) -> None:
    empty = ("pack_a/__init__.py", "pack_a/last.py", "pack_a/unused.py", "pack_b.py")
    importing = {
        "pack_a/nets.py": "from . import cells\nfrom .deep.more import x\ndef f():\n    import json, torch, pack_b\n",
        "pack_a/cells.py": "from .. import none\n",
        "pack_a/deep/more.py": "import pack_a.last as y\n",
    }
    write_tree(tmp_path, dict.fromkeys(empty, "") | importing)
    found = find("pack_a.nets:X", tmp_path, "families.own")
    expected = ["__init__", "cells", "deep/more", "last", "nets"]
    assert sorted(found.files) == [*(f"pack_a/{one}.py" for one in expected), "pack_b.py"]
    assert found.libraries == {}


def test_what_python_s_path_has_and_no_library_owns_is_hashed_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = tmp_path / "shared"
    files = {"net_on_path.py": "import cells_on_path, yaml, net_beside_run\n", "cells_on_path.py": "", "net_unused.py": ""}
    write_tree(shared, files)
    write_tree(tmp_path, {"net_beside_run.py": ""})
    monkeypatch.syspath_prepend(shared)
    found = find("net_on_path:Net", tmp_path, "families.own")
    assert sorted(found.files) == ["cells_on_path.py", "net_on_path.py"] and found.root == str(shared)
    assert list(found.libraries) == ["PyYAML"]


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("os:system", "families.own: a module of your own cannot be called os, as one of Python itself is"),
        ("models.families:FAMILIES", "families.own: a module of your own cannot be called models, as one of lagline is"),
        ("none_such:Net", "families.own: there is no module none_such in"),
        ("torch.none:Net", "families.own: there is no module torch.none in"),
        ("broken_net:Net", "families.own: .*broken_net.py:1: invalid syntax"),
    ],
)
def test_code_that_is_not_there_is_one_error(target: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "broken_net.py").write_text("class Net(:\n")
    with pytest.raises(UserError, match=told):
        take_in_all(plan_in(tmp_path, target=target))


def test_a_name_of_ours_and_a_target_that_is_none_are_refused(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(UserError, match=r"families.recurrent: recurrent is a family of lagline itself"):
        take_in_all(plan_in(tmp_path, key="recurrent"))
    with pytest.raises(UserError, match=r"families.own: write the module and the name in it, such as my_package.nets:MyNet"):
        plan_in(tmp_path, target="net")


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ({"init": "raise KeyError(horizon)"}, r"variant mine \(define in the run file\): families.own: KeyError: 6"),
        ({"forward": "self.line(x.flatten(1))[:, :2]"}, r"families.own gives \(2, 2, 1\), not \[batch, 6, outputs\]"),
        ({"forward": "self.line(x.flatten(1)) / 0"}, r"families.own fails the check finite: its forecast .* is not finite"),
        ({"forward": "self.line(x.flatten(1)).detach()"}, r"families.own fails the check gradients"),
        (
            {"forward": "self.line(x.flatten(1)) * (1 if x.device.type == 'meta' or x.sum() > 0 else 2)"},
            r"families.own fails the check export: .*all checks: python -m flows check-family net_",
        ),
    ],
)
def test_a_network_that_would_fail_later_is_refused_before_data_are_read(
    parts: dict[str, str], told: str, tmp_path: Path
) -> None:
    write(tmp_path, **parts)
    with pytest.raises(UserError, match=told):
        check_plan(plan_in(tmp_path))


def test_a_version_does_not_say_where_code_lies(tmp_path: Path) -> None:
    write(tmp_path)
    plan = plan_in(tmp_path)
    take_in_all(plan)
    job = job_of(plan, Path("panel"))
    assert job.outside[0].root == str(tmp_path)
    stored = json.loads(json.dumps(_stored(job)))
    assert str(tmp_path) not in json.dumps(stored)
    stored["outside"][0]["root"] = str(tmp_path)
    assert _job(stored).outside[0].root == ""


def test_code_of_a_version_is_found_by_the_local_run_file_alone(tmp_path: Path) -> None:
    write(tmp_path)
    plan, home = plan_in(tmp_path), tmp_path / "home"
    home.mkdir()
    take_in_all(plan)
    kept = _job(_stored(job_of(plan, Path("panel"))))
    with pytest.raises(UserError, match=r"no run file of smoke was compared in .*home: it is imported only where"):
        located(kept, "smoke", home)
    take_in_all(plan, home)
    assert outside_of(located(kept, "smoke", home)) == job_of(plan, Path("panel")).outside
    plan.path.write_text(SMOKE)
    with pytest.raises(UserError, match=r"run.yaml does not name it"):
        located(kept, "smoke", home)
    other = replace(kept, outside=(Outside(target="os:system", files={"os.py": "0" * 64}),))
    plan_in(tmp_path)
    with pytest.raises(UserError, match=r"os:system is code from outside this repository, and .*run.yaml does not name it"):
        located(other, "smoke", home)


LOSSES = {
    "good": "return (forecast - y).abs() ** 1.5",
    "one": "return (forecast - y).abs().mean()",
    "still": "return (forecast - y).abs().detach()",
    "flat": "return (forecast - y).sign() + 0 * forecast",
    "root": "return (forecast - y).abs().sqrt()",
    "raises": "raise KeyError(1)",
    "infinite": "return (forecast - y) / 0",
}
METRICS = {
    "good": "return (np.abs(y - forecast) > 1).astype(float)",
    "one": "return np.abs(y - forecast).mean()",
    "infinite": "return np.log(np.abs(y - forecast))",
    "raises": "raise KeyError(1)",
}


def own_functions(folder: Path, kind: str, arguments: str, bodies: Mapping[str, str]) -> str:
    """The name of a new module of functions."""
    module = f"{kind}_{folder.name.replace('-', '_')}"
    functions = [f"def {name}({arguments}):\n    {body}\n" for name, body in bodies.items()]
    (folder / f"{module}.py").write_text("\n".join(["import numpy as np\n", *functions]))
    return module


def run_file(folder: Path, more: str) -> Path:
    path = folder / "run.yaml"
    path.write_text(SMOKE + more)
    return path


def loss_plan(folder: Path, name: str, text: str = "") -> Plan:
    module = own_functions(folder, "losses", "forecast, y", LOSSES)
    return load_plan(run_file(folder, text or f"losses: {{own: {module}:{name}}}\n"), ["training.loss=own"])


def metric_plan(folder: Path, name: str) -> Plan:
    module = own_functions(folder, "metrics", "y, forecast", METRICS)
    return load_plan(run_file(folder, f"metrics: {{far: {module}:{name}}}\n"))


def test_a_loss_of_ones_own_trains_and_makes_the_identity(tmp_path: Path) -> None:
    plan = loss_plan(tmp_path, "good")
    take_in_all(plan)
    job = make_job(plan.variants["elman"], 0, Path("panel"), plan.run.windows.window_params(), Split("time", 1, 2), "cpu")
    (code,) = job.outside
    assert job.training.loss == code.target
    forecast, y = torch.tensor([[1.0, 5.0]]), torch.tensor([[5.0, torch.nan]])
    assert float(masked_loss(code.target, forecast, y)) == pytest.approx(8.0)  # by hand: 4 ** 1.5
    assert identity(job, "d") != identity(replace(job, outside=()), "d")


@pytest.mark.filterwarnings("ignore:divide by zero")
@pytest.mark.parametrize(
    ("plan_with", "name", "told"),
    [
        (loss_plan, "one", r"must give one loss for each forecast, a tensor of \[2, 3\], not \[\]"),
        (loss_plan, "still", "has no gradient"),
        (loss_plan, "flat", "has a gradient of zero everywhere"),
        (loss_plan, "root", "has a gradient that is not finite where a forecast equals its target"),
        (loss_plan, "raises", "raised KeyError: 1"),
        (loss_plan, "infinite", "gives a loss that is not finite"),
        (loss_plan, "none", "has no none"),
        (metric_plan, "one", r"must give one number for each row, an array of \[3\], not \[\]"),
        (metric_plan, "infinite", "gives a number that is not finite"),
        (metric_plan, "raises", "raised KeyError: 1"),
        (metric_plan, "none", "has no none"),
    ],
)
def test_a_loss_that_cannot_train_and_a_measure_that_is_none_are_refused(
    plan_with: Callable[[Path, str], Plan], name: str, told: str, tmp_path: Path
) -> None:
    place = "losses.own: losses_" if plan_with is loss_plan else "metrics.far: metrics_"
    with pytest.raises(UserError, match=f"{place}.*{told}"):
        take_in_all(plan_with(tmp_path, name))


def test_a_loss_that_no_key_names_is_refused_with_the_others(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"training.loss: 'own' is not one of mae, mse, huber"):
        loss_plan(tmp_path, "good", "losses: {}\n")
    with pytest.raises(UserError, match=r"losses: mae is a loss of lagline itself"):
        loss_plan(tmp_path, "good", "losses: {mae: a:b, own: a:b}\n")


def test_a_measure_of_ones_own_is_a_mean_over_the_rows_with_both(tmp_path: Path) -> None:
    plan = metric_plan(tmp_path, "good")
    take_in_all(plan)
    own = OwnMeasures("gru", plan.run.metrics)
    own.add(pl.DataFrame({"y": [1.0, 5.0, None], "gru": [9.0, 5.0, 1.0]}))
    own.add(pl.DataFrame({"y": [1.0, 2.0], "gru": [None, 9.0]}))
    assert own.score() == {"test_own_far": pytest.approx(2 / 3)}
    assert OwnMeasures("gru", plan.run.metrics).score() == {"test_own_far": None}
    board = to_markdown(
        Board.of([ScoreRow(name="gru", kind=Kind.VARIANT, variant="gru", numbers={"val_mae": 1.0, **own.score()})], "", "")
    )
    assert "far" in board.splitlines()[0] and "0.667" in board


@pytest.mark.filterwarnings("ignore:divide by zero")
def test_a_measure_that_is_not_finite_on_the_data_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "inverse_measure.py").write_text("def inverse(y, forecast):\n    return 1 / (y + forecast - 4)\n")
    take_in(find("inverse_measure:inverse", tmp_path, "metrics.far"))
    own = OwnMeasures("gru", {"far": "inverse_measure:inverse"})
    own.add(pl.DataFrame({"y": [1.0], "gru": [1.0]}))
    with pytest.raises(UserError, match=r"metrics.far: of gru: inverse_measure:inverse gives a number that is not finite"):
        own.add(pl.DataFrame({"y": [2.0], "gru": [2.0]}))
