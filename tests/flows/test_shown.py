"""Tables made to be obeyed by a terminal through every verb that prints (params/shown.py): nothing comes out raw."""

import math
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

Done = Callable[..., Any]
EVIL = "\x1b[31m\x9b5m\x07\r\n\tlagline: ok\x7f\x85\u2028\u202e\x1b]8;;http://x\x07y"
TEXTS = {"id": f"id{EVIL}", "time": f"time{EVIL}", "y": f"y{EVIL}", "x": f"x{EVIL}", "s": f"s{EVIL}"}
SERIES = (f"a{EVIL}", f"b{EVIL}", "http://user:t0psecret-1@host/c")
SMALL = ("name=evil", "variants=[ridge]", "evaluation.baselines=[last_value]", "windows.horizon=2")
REST = "name: a\nwindows: {horizon: 2, features: {y: {lookback: 3}}}\nsplit: {validation: 9, test: 9}\nvariants: [ridge]\n"
RAW = {*map(chr, range(32)), *map(chr, range(127, 160)), "\u2028", "\u202e"} - {"\n"}


def table(path: Path, days: int = 90) -> Path:
    rows = [
        (name, datetime(2024, 1, 1) + timedelta(days=t), math.sin(t) + number + t % 7, float(t % 5), "north\x1b[1m\nwest")
        for number, name in enumerate(SERIES)
        for t in range(days)
    ]
    pl.DataFrame(rows, schema=list(TEXTS.values()), orient="row").write_parquet(path)
    return path


def shown(done: Any, status: int | None = 0) -> str:
    """What a command printed, in which nothing is obeyed and no secret stands, and which no table row of data has broken."""
    said: str = done.stdout + done.stderr
    assert status is None or done.returncode == status, said
    assert not RAW & set(said), sorted(RAW & set(said))
    assert "t0psecret" not in said
    assert not any(line.startswith("lagline: ok") for line in said.splitlines())
    return said


@pytest.fixture
def evil(tmp_path: Path) -> Path:
    """A folder of an evil name with an evil table in it."""
    folder = tmp_path / "folder\x1b[31m\u202e"
    folder.mkdir()
    table(folder / "table\x1b[2J.parquet")
    return folder


@pytest.mark.story
def test_a_table_that_a_terminal_would_obey_goes_through_every_verb(warm: Done, home: Path, evil: Path, tmp_path: Path) -> None:
    data, run = str(evil / "table\x1b[2J.parquet"), str(tmp_path / "run.yaml")
    assert "\\x1b[31m" in shown(warm("init", data, "--out", run, home=home))
    assert not RAW & set(Path(run).read_text().replace("\n", ""))
    assert "\\x1b[31m" in shown(warm("lags", run, "--head", home=home))
    assert "\\x1b[31m" in shown(warm("validate", run, home=home))
    small = [text for key in SMALL for text in ("--set", key)]
    assert "Registered as" in shown(warm("compare", run, *small, home=home))
    for verb in ("leaderboard", "history", "promote", "history", "rollback"):
        shown(warm(verb, "evil", home=home), None)
    out = str(tmp_path / "out.parquet")
    for name in ("table\x1b[2J.parquet", "none\x1b[2J\x9b.csv"):
        shown(warm("forecast", "evil@1", "--data", str(evil / name), "--out", out, home=home), None)
    short = str(table(evil / "short.parquet", 3))
    shown(warm("forecast", "evil@1", "--data", short, "--out", out, home=home), None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f'name: "a{EVIL.encode("unicode_escape").decode()}"', "name"),
        ('"k\\e[31m": 1', "unknown key"),
        (f'data: {{path: "no\\e[31m\\u202ewhere.csv", time: t, target: y, frequency: 1h}}\n{REST}', "\\x1b[31m\\u202ewhere"),
        (f'data: {{path: DATA, time: "t\\e[31m", target: y, frequency: 1h}}\n{REST}', "\\x1b[31m"),
        (f'data: {{path: DATA, time: t, target: y, frequency: "1\\e[31m"}}\n{REST}', "frequency"),
    ],
)
def test_so_do_params_and_their_errors(warm: Done, home: Path, evil: Path, tmp_path: Path, text: str, words: str) -> None:
    run = tmp_path / "run\x1b[2J.yaml"
    run.write_text(text.replace("DATA", str(table(tmp_path / "table.parquet"))))
    for verb in ("validate", "lags"):
        assert words in shown(warm(verb, str(run), *(["--head"] if verb == "lags" else []), home=home), 2)


@pytest.mark.parametrize(
    "arguments",
    [
        ("no\x1b[31mverb",),
        ("lags", "params/smoke.yaml", "--edges", "\x1b[31m", "--head"),
        ("validate", "params/smoke.yaml", "--set", "\x1b[31m=1"),
        ("validate", "params/smoke.yaml", "--set", "a\x1b[31m\u202e"),
        ("validate", "--no\x1b[31m"),
        ("leaderboard", "a\x1b[31m"),
        ("history", "smoke", "--at", "\x1b[31m"),
        ("forecast", "smoke@\x1b[31m", "--data", "x", "--out", "y.parquet"),
        ("init", "a\x1b[31m\udcff.csv"),
        ("compare", "params/smoke.yaml", "--variants", "\x1b[31m"),
    ],
)
def test_so_do_arguments(warm: Done, home: Path, arguments: tuple[str, ...]) -> None:
    shown(warm(*arguments, home=home), 2)
