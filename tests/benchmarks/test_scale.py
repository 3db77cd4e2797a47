"""The arithmetic of benchmarks/scale.py, and that it reads the stages that a command says."""

from pathlib import Path

import polars as pl
import pytest

from benchmarks.scale import ROWS, Size, Spent, exponent, lines, make_table, watched


def test_what_the_smallest_table_takes_is_taken_off() -> None:
    """By hand: 2 s and 600 bytes more than the fixed cost at 30 rows are 20 B a row and 4 passes of 0.5 s."""
    fixed = Size(1, 1, {"validate": Spent(1.0, 400, {"check": 1.0}, {"check": 300})}, {}, 0.1)
    one = Size(10, 30, {"validate": Spent(3.0, 1000, {"check": 2.0}, {"check": 900})}, {"panel": 60}, 0.5)
    ten = Size(100, 300, {"validate": Spent(21.0, 2497, {"check": 2.0}, {"check": 900})}, {"panel": 60}, 0.5)
    head, _, whole, stage, files, *rest = lines(fixed, [one, ten])
    assert "10 series" in head and whole.split() == ["validate", "3.0", "4.0", "0", "20.0"]
    assert stage.split() == ["check", "2.0", "2.0", "0", "20.0"] and "2.0 B a row" in files
    assert rest[-1] == "  validate: from 10 to 100 series CPU n^1.00, memory n^0.54"
    assert exponent(0.0, 1.0, (1, 2)) is None


def test_a_table_has_the_same_rows_each_time(tmp_path: Path) -> None:
    assert make_table(tmp_path / "one.parquet", 3) == make_table(tmp_path / "two.parquet", 3) == 3 * ROWS
    one, two = (pl.read_parquet(tmp_path / f"{name}.parquet") for name in ("one", "two"))
    assert one.equals(two) and one["unique_id"].n_unique() == 3 and len(one["unique_id"][0]) == 10


@pytest.mark.slow
def test_a_command_is_watched_stage_by_stage(tmp_path: Path) -> None:
    spent = watched(["validate", "params/smoke.yaml"], tmp_path / "home")
    assert spent.status == 0, spent.said
    assert "check the data" in spent.cpu_of and sum(spent.cpu_of.values()) == pytest.approx(spent.cpu)
    assert spent.peak == max(spent.peak_of.values()) > 50e6
