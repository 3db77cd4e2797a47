"""Sums by group equal a plain loop, and are the same bits for any number of threads."""

import os
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tasks.compare.sums import merged, summed

ROOT = Path(__file__).parents[3]


def a_frame(rows: int = 400) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    start = datetime(2024, 1, 1)
    return pl.DataFrame(
        {
            "name": [[None, "b", "a", "c"][place] for place in rng.integers(0, 4, rows)],
            "step": rng.integers(3, 6, rows),
            "wide": rng.choice([-(10**12), 5, 10**12], rows),
            "at": [start + timedelta(hours=int(hour)) for hour in rng.integers(0, 5, rows)],
            "x": rng.normal(size=rows),
        }
    )


@pytest.mark.parametrize("keys", [["name"], ["step"], ["wide"], ["at"], ["at", "step"], ["name", "step", "wide"]])
def test_sums_are_those_of_a_loop_in_the_order_of_the_keys(keys: list[str]) -> None:
    frame = a_frame()
    wanted: dict[tuple[object, ...], float] = {}
    for *key, x in frame.drop_nulls(keys).select(*keys, "x").iter_rows():
        wanted[tuple(key)] = wanted.get(tuple(key), 0.0) + x
    found = summed(frame.select(keys), {"x": frame["x"].to_numpy(), "one": np.ones(frame.height)})
    assert {tuple(row[: len(keys)]): row[len(keys)] for row in found.iter_rows()} == wanted
    assert found.select(keys).equals(frame.select(keys).drop_nulls().unique().sort(keys))
    assert found["one"].sum() == frame.drop_nulls(keys).height
    halves = [summed(part.select(keys), {"x": part["x"].to_numpy()}) for part in (frame[:150], frame.clear(), frame[150:])]
    again = merged(halves, keys)
    assert again.select(keys).equals(found.select(keys))
    np.testing.assert_allclose(again["x"].to_numpy(), found["x"].to_numpy(), rtol=1e-12)


def test_of_no_rows_there_is_no_sum() -> None:
    frame = a_frame().clear()
    assert summed(frame.select("name", "step"), {"x": np.empty(0)}).shape == (0, 3)
    nothing = pl.DataFrame({"name": pl.Series([None, None], dtype=pl.String)})
    assert summed(nothing, {"x": np.ones(2)}).shape == (0, 2)


def test_the_bits_do_not_hang_on_the_number_of_threads() -> None:
    code = (
        "import numpy as np, polars as pl; from tasks.compare.sums import summed; rng = np.random.default_rng(0);"
        "frame = pl.DataFrame({'step': np.tile(np.arange(10), 20000)});"
        "print(summed(frame, {'x': rng.normal(size=200000)})['x'].to_list())"
    )
    printed = set()
    for threads in ("1", "8"):
        several = os.environ | {"POLARS_MAX_THREADS": threads}
        printed.add(subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=several, capture_output=True, check=True).stdout)
    assert len(printed) == 1
