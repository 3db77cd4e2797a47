"""Panels on a shelf (tasks/shelf.py) by the command line: another home of the same registry proves a version with it."""

from pathlib import Path

import pytest

pytestmark = pytest.mark.story
RUN = ("params/smoke.yaml", "--set", "variants=[ridge]", "--set", "evaluation.baselines=[last_value, seasonal_naive]")


def test_a_version_is_proved_in_another_home_by_the_panel_of_the_shelf(warm, new_home, tmp_path: Path) -> None:
    home, other, shelf = new_home(tmp_path / "home"), tmp_path / "other", tmp_path / "shelf"
    wrong = warm("compare", *RUN, home=home, LAGLINE_SHELF=shelf.as_uri())
    assert wrong.returncode == 2 and f"there is no folder {shelf}" in wrong.stderr and "check the data" not in wrong.stderr
    shelf.mkdir()
    compared = warm("compare", *RUN, home=home, LAGLINE_SHELF=shelf.as_uri())
    assert compared.returncode == 0, compared.stderr
    (panel,) = (home / "panels").iterdir()
    assert [path.name for path in (shelf / "panels").iterdir()] == [panel.name]
    store = f"sqlite:///{home}/mlflow.db"
    without = warm("reproduce", "smoke@challenger", home=other, MLFLOW_TRACKING_URI=store)
    assert without.returncode == 2 and "set LAGLINE_SHELF to the shelf that has it" in without.stderr.replace("\n", " ")
    proved = warm("reproduce", "smoke@challenger", home=other, MLFLOW_TRACKING_URI=store, LAGLINE_SHELF=shelf.as_uri())
    assert proved.returncode == 0 and "the same weights, bit for bit" in proved.stdout, proved.stderr
    assert f"panel {panel.name[:12]} (" in proved.stderr and "came from the shelf file://" in proved.stderr
