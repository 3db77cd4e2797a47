"""What validate, compare and forecast may hold in memory at 20,000 series, watched as benchmarks/scale.py does.

A forecast from the whole frame goes beyond its budget; a comparison in one block of all rows held 4,330 MB.
"""

from pathlib import Path

import pytest

from benchmarks.scale import NAME, RUN, make_table, watched

pytestmark = pytest.mark.fault
SERIES = 20_000
LESS = RUN.replace("stride: 7", "stride: 56").replace("[ridge, gru]", "[ridge]").replace(", drift", "")
VALIDATE, COMPARE, FORECAST = 400, 1_050, 800  # MB of RssAnon: imports take 270, 750 and 470 of them
PROGRAM = """
{patch}
from flows.__main__ import leave, run
leave(run())
"""
WHOLE = "from tasks.serve import forecast as f; f.newest = lambda model, frame, *_: f.Newest(frame.collect(), False)"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A table, its run file and room for a home."""
    make_table(tmp_path / "table.parquet", SERIES)
    (tmp_path / "run.yaml").write_text(LESS.format(table=tmp_path / "table.parquet"))
    return tmp_path


def peak(folder: Path, *arguments: str, patch: str = "") -> float:
    """The most that a command held, in MB."""
    program = ("-c", PROGRAM.format(patch=patch)) if patch else ("-m", "flows")
    spent = watched(arguments, folder / "home", program)
    assert spent.status == 0, spent.said
    return spent.peak / 1e6


def test_a_check_holds_little_more_than_its_imports(folder: Path) -> None:
    assert peak(folder, "validate", str(folder / "run.yaml")) < VALIDATE


def test_a_comparison_holds_a_block_and_a_forecast_what_windows_read(folder: Path) -> None:
    run, table = str(folder / "run.yaml"), str(folder / "table.parquet")
    assert peak(folder, "compare", run) < COMPARE
    made = ("forecast", f"{NAME}@challenger", "--data", table, "--out", str(folder / "made.parquet"))
    assert peak(folder, *made) < FORECAST
    assert peak(folder, *made, patch=WHOLE) > FORECAST
