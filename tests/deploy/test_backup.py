"""A home is backed up and restored by the words of docs/cluster.md."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RUN = ("params/smoke.yaml", "--set", "variants=[ridge]", "--set", "evaluation.baselines=[last_value, seasonal_naive]")


@pytest.mark.story
def test_a_home_that_was_lost_comes_back_to_its_place(
    warm: Callable[..., "subprocess.CompletedProcess[str]"], tmp_path: Path
) -> None:
    home = tmp_path / "the home"
    compared = warm("compare", *RUN, home=home)
    assert compared.returncode == 0, compared.stderr
    save, restore = re.findall(r"`(tar -c[^`]+|tar -x[^`]+)`", (ROOT / "docs" / "cluster.md").read_text())
    settings = {"LAGLINE_HOME": str(home), "PATH": "/usr/bin:/bin"}
    subprocess.run(["sh", "-c", save], cwd=tmp_path, env=settings, check=True)
    shutil.rmtree(home)
    subprocess.run(["sh", "-c", restore], cwd=tmp_path, env=settings, check=True)
    again = warm("compare", *RUN, home=home)
    assert again.returncode == 0 and "--fresh trains again" in " ".join(again.stdout.split()), again.stdout + again.stderr
    proved = warm("reproduce", "smoke@challenger", home=home)
    assert proved.returncode == 0 and "the same weights, bit for bit" in proved.stdout, proved.stdout + proved.stderr
