"""A comparison over a query (tasks/load/database.py): it trains, and no password of the URL lies anywhere afterwards."""

import sqlite3
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

Done = Callable[..., Any]
SECRET = "t0psecret"

PARAMS = """
name: shops
data:
  query: SELECT shop, day, sold FROM sales ORDER BY shop, day
  uri: env:SALES_DB
  id: shop
  time: day
  target: sold
  frequency: 1d
windows: {horizon: 2, features: {y: {lookback: 7}}}
split: {validation: 14d, test: 14d}
variants: [ridge]
"""


@pytest.mark.story
def test_a_comparison_over_a_query_leaves_no_password_anywhere(warm: Done, home: Path, tmp_path: Path) -> None:
    file = tmp_path / "sales.db"
    start = datetime(2024, 1, 1)
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE sales (shop, day, sold)")
        rows = [(shop, str((start + timedelta(days=i)).date()), i % 7 + shop) for shop in (1, 2) for i in range(90)]
        connection.executemany("INSERT INTO sales VALUES (?, ?, ?)", rows)
    connection.close()
    (tmp_path / "shops.yaml").write_text(PARAMS)
    url = f"sqlite:///file:{file}?uri=true&password={SECRET}"
    done = warm("compare", str(tmp_path / "shops.yaml"), home=home, SALES_DB=url)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ridge" in done.stdout
    assert SECRET not in done.stdout + done.stderr
    held = [path for path in home.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]
    assert held == []
    again = warm("--debug", "validate", str(tmp_path / "shops.yaml"), home=home, SALES_DB=url.replace("sales.db", "gone/x.db"))
    assert again.returncode == 2
    assert "the database says: unable to open" in again.stderr
    assert SECRET not in again.stdout + again.stderr
