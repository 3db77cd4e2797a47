"""tasks/train/outside.py: the code of docs/bring_your_own.md from its comparison to its promotion and reproduction."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from params.strict_yaml import parse_yaml
from tests.flows.served import Warm

PAGE = Path("docs/bring_your_own.md")
FOREST = "[last_value, seasonal_naive, forest]"
BLOCK = re.compile(r"^```python\n# (\w+\.py)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
YAML = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SERVED = """
import sys, mlflow, pandas as pd
rows = pd.DataFrame({"unique_id": "JFK", "ds": pd.date_range("2013-12-01", periods=96, freq="h", tz="UTC"), "y": 50.0})
for name, model in zip(sys.argv[1:], ("pls", "blend_small", "forest"), strict=True):
    made = mlflow.pyfunc.load_model(name).predict(rows.assign(dewp=40.0, wind_gust=20.0))
    assert made["model"].tolist() == [model] * 6, made
assert not {"my_nets", "my_pls", "models", "tasks"} & set(sys.modules)
"""


pytestmark = pytest.mark.story


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files of the page and a run file with its sections, in eight epochs."""
    folder, text = tmp_path_factory.mktemp("project"), PAGE.read_text()
    for name, code in BLOCK.findall(text):
        (folder / name).write_text(code)
    network, both, others, own = map(strict_yaml, YAML.findall(text))
    run = strict_yaml(Path("params/smoke.yaml").read_text())
    assert network["define"]["blend_small"] == both["define"]["blend_small"]
    run |= both | {"name": "own", "variants": ["blend_small", "pls"]} | {key: others[key] for key in ("losses", "metrics")}
    run["baselines"] = own["baselines"]
    assert own["evaluation"]["baselines"] == yaml.safe_load(FOREST)
    run["training"] |= others["training"] | {"max_epochs": 8}
    (folder / "run.yaml").write_text(yaml.safe_dump(run))
    return folder


def strict_yaml(text: str) -> dict[str, Any]:
    return dict(parse_yaml(text, "page")[0])


@pytest.fixture(scope="module")
def compared(warm: Warm, new_home: Callable[[Path], Path], project: Path) -> Path:
    """The state folder after a comparison that registers the model of the other library, and one that registers the network."""
    home, run = new_home(project / "home"), str(project / "run.yaml")
    for version, names in enumerate(("blend_small,pls", "blend_small"), start=1):
        done = warm("compare", run, "--variants", names, home=home)
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"Registered as own version {version}, alias challenger." in done.stdout, done.stdout
        assert "no variant beats" not in done.stdout, done.stdout
    untrained = ("training.max_epochs=1", "training.learning_rate=1e-9", "evaluation.baseline_origins=10", "name=grown")
    settings = [part for text in (*untrained, f"evaluation.baselines={FOREST}") for part in ("--set", text)]
    done = warm("compare", run, "--variants", "blend_small", *settings, home=home)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "It is the baseline forest, which no variant beats" in " ".join(done.stdout.split()), done.stdout
    return home


def test_a_model_of_another_library_is_promoted_and_a_network_reproduced(warm: Warm, compared: Path) -> None:
    done = warm("promote", "own", "--version", "1", "--allow-dirty", "--allow-chance", home=compared)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed reproduction the same weights, bit for bit" in " ".join(done.stdout.split())
    done = warm("reproduce", "own@2", home=compared)
    assert done.returncode == 0 and "the same weights, bit for bit" in done.stdout, done.stdout + done.stderr


def test_a_baseline_of_another_library_is_promoted_and_forecasts(warm: Warm, compared: Path, tmp_path: Path) -> None:
    done = warm("promote", "grown", "--allow-dirty", home=compared)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed reproduction the same forecasts, bit for bit" in " ".join(done.stdout.split())
    out = tmp_path / "forecasts.csv"
    done = warm("forecast", "grown@champion", "--data", "data/nyc_weather.parquet", "--out", str(out), home=compared)
    assert done.returncode == 0, done.stdout + done.stderr
    made = pl.read_csv(out)
    assert made.height == 3 * 6 and set(made["model"]) == {"forest"}
    (root,) = (path.parent for path in (compared / "artifacts" / "grown").rglob("seal.json"))
    assert "scikit-learn==" in (root / "requirements.txt").read_text()


def test_its_measure_is_on_the_leaderboard(warm: Warm, compared: Path) -> None:
    rows = json.loads(warm("leaderboard", "own", "--json", home=compared).stdout)["rows"]
    assert {row["name"] for row in rows} >= {"blend_small", "last_value"}
    assert all(0 < row["test_own_far"] < 1 for row in rows)


def test_its_bundle_forecasts_without_its_code(compared: Path, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["MLFLOW_TRACKING_URI"] = f"sqlite:///{compared}/mlflow.db"
    command = [sys.executable, "-P", "-c", SERVED, "models:/own/1", "models:/own/2", "models:/grown/1"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_a_baseline_of_changed_or_unnamed_code_neither_forecasts_nor_is_judged(
    warm: Warm, compared: Path, project: Path, tmp_path: Path, refused: Callable[..., None]
) -> None:
    code, run, out = project / "my_forest.py", project / "run.yaml", tmp_path / "forecasts.csv"
    verbs = ("forecast", "grown@1", "--data", "data/nyc_weather.parquet", "--out", str(out)), ("watch", "grown@1")
    before = code.read_text(), run.read_text()
    try:
        code.write_text("raise SystemExit('it ran')\n" + before[0])
        for verb in verbs:
            refused(warm(*verb, home=compared), 2, "my_forest.py is not as recorded", "it is not imported")
        refused(
            warm("reproduce", "grown@1", home=compared), 1, "outside (my_forest:forest.files.my_forest.py:", "cannot forecast"
        )
        run.write_text(before[1].replace("forest: my_forest:forest\n", ""))
        for verb in verbs:
            refused(warm(*verb, home=compared), 2, "run.yaml does not name it: it is imported only where a local run file")
    finally:
        code.write_text(before[0])
        run.write_text(before[1])
    assert not out.exists()


def test_changed_code_and_a_run_file_that_does_not_name_it_reproduce_nothing(
    warm: Warm, compared: Path, project: Path, refused: Callable[..., None]
) -> None:
    code, run = project / "my_nets.py", project / "run.yaml"
    before = code.read_text(), run.read_text()
    try:
        code.write_text("raise SystemExit('it ran')\n" + before[0])
        refused(
            warm("reproduce", "own@2", home=compared), 1, "outside (my_nets:Blend.files.my_nets.py:", "cannot be trained again"
        )
        run.write_text(before[1].replace("blend: my_nets:Blend\n", ""))
        refused(warm("reproduce", "own@2", home=compared), 1, "run.yaml does not name it: it is imported only where a local")
    finally:
        code.write_text(before[0])
        run.write_text(before[1])
