"""flows/__main__.py from outside: help, exit statuses, one clear message and no traceback; each verb on the shipped data.

Every verb runs once as a person runs it (`flows`); what more it can say is tried in this process (`here`), which is quicker.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

import flows.verbs.prune
import flows.verbs.variants
from flows.__main__ import run

ROOT = Path(__file__).resolve().parents[2]
SMOKE = "params/smoke.yaml"
FORECAST = ("forecast", "none@champion", "--data", "data/nyc_weather.parquet", "--out", "none.csv")
Done = subprocess.CompletedProcess[str]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """`flows` without a new interpreter: the same arguments, working folder, environment and result."""

    def call(*arguments: str, home: Path) -> Done:
        before = dict(os.environ)
        monkeypatch.chdir(ROOT)
        monkeypatch.setattr(sys, "argv", ["flows", *arguments])
        try:
            os.environ |= {"LAGLINE_HOME": str(home), "COLUMNS": "120"}
            capfd.readouterr()
            status = run()
        finally:
            os.environ.clear()
            os.environ.update(before)
        printed = capfd.readouterr()
        return subprocess.CompletedProcess(arguments, status, printed.out, printed.err)

    return call


def test_help_lists_the_verbs(flows) -> None:
    done = flows("--help")
    assert done.returncode == 0
    for verb in ("compare", "validate", "lags", "variants", "leaderboard", "ui"):
        assert verb in done.stdout
    assert flows().returncode in (0, 2)


def test_an_unknown_verb_or_option_is_refused(flows, refused) -> None:
    refused(flows("train"), 2, "train")
    refused(flows("compare", "--no-such-option"), 2, "--no-such-option")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("compare", "params/none.yaml"), ("params/none.yaml", "no such file")),
        (("leaderboard", "never-run"), ("never-run", "no finished comparison")),
    ],
    ids=lambda value: " ".join(value)[:60],
)
def test_a_mistake_is_one_message_with_status_2(
    flows, refused, arguments: tuple[str, ...], words: tuple[str, ...], tmp_path: Path
) -> None:
    refused(flows(*arguments, home=tmp_path / "home"), 2, *words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("compare", SMOKE, "--set", "training.max_epoch=3"), ("did you mean", "max_epochs")),
        (("compare", SMOKE, "--variants", "lstm,lsmt"), ("unknown variant 'lsmt'", "lstm")),
        (("compare", SMOKE, "--variants", ","), ("--variants",)),
        (("compare", SMOKE, "--set", "network.hidden=3"), ("network.hidden", "no variant of this run takes it")),
        (
            ("compare", SMOKE, "--set", "scaling.window=last", "--set", "windows.features={dewp: {lookback: 3}}"),
            ("scaling.window",),
        ),
        (("validate", SMOKE, "--set", "data.path=data/none.parquet"), ("data/none.parquet",)),
        (("validate", SMOKE, "--set", "data.target=tempp"), ("tempp", "did you mean 'temp'")),
        (("lags", SMOKE, "--head", "--edges", "cut"), ("keep or drop",)),
        (("lags", SMOKE, "--out", "no/such/folder/x.parquet"), ("no folder",)),
        ((*FORECAST, "--levels", "80;95"), ("--levels: '80;95' says no numbers", "80,95")),
        ((*FORECAST, "--quantiles", ""), ("--quantiles: '' says no numbers",)),
    ],
    ids=lambda value: " ".join(value)[:60],
)
def test_every_mistake_is_one_message_with_status_2(
    here, refused, arguments: tuple[str, ...], words: tuple[str, ...], tmp_path: Path
) -> None:
    refused(here(*arguments, home=tmp_path / "home"), 2, *words)


def test_a_home_that_cannot_be_used_is_refused(flows, refused, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused(flows("leaderboard", "x", home=tmp_path / "file" / "home"), 2, "LAGLINE_HOME")
    newer = tmp_path / "newer"
    newer.mkdir()
    (newer / "layout.json").write_text('{"layout": 99}')
    refused(flows("compare", SMOKE, home=newer), 2, "newer lagline")
    assert sorted(path.name for path in newer.iterdir()) == ["layout.json"]


def test_a_full_disk_is_one_message_with_status_2(here, refused, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fails(number: int) -> None:
        def full(*_: object) -> None:
            raise OSError(number, os.strerror(number), "/there")

        monkeypatch.setattr(flows.verbs.prune, "show_prune", full)

    fails(28)
    refused(here("prune", home=tmp_path / "home"), 2, "lagline: the disk is full (/there): make room")
    assert "Traceback" in here("--debug", "prune", home=tmp_path / "home").stderr
    fails(5)
    with pytest.raises(OSError, match="/there"):
        here("prune", home=tmp_path / "home")


def test_debug_shows_the_traceback(here, tmp_path: Path) -> None:
    done = here("--debug", "validate", "params/none.yaml", home=tmp_path / "home")
    assert done.returncode == 2
    assert "Traceback" in done.stderr


def test_validate_reports_and_its_status_is_the_answer(flows, here, refused, tmp_path: Path) -> None:
    good = flows("validate", SMOKE, home=tmp_path / "home")
    assert good.returncode == 0, good.stderr
    assert "wind_gust" in good.stdout and "left out" in good.stdout
    rows = pl.read_parquet(ROOT / "data" / "nyc_weather.parquet")
    pl.concat([rows, rows.head(3)]).write_parquet(tmp_path / "twice.parquet")
    bad = here("validate", SMOKE, "--set", f"data.path={tmp_path / 'twice.parquet'}", home=tmp_path / "home")
    refused(bad, 1, "unique keys", "EWR")


def test_variants_as_a_table_and_as_json(flows, here, tmp_path: Path) -> None:
    rows = json.loads(flows("variants", "--json").stdout)
    by_name = {row["name"]: row for row in rows}
    assert {"ridge", "elman", "stacked_elman", "bidirectional_elman", "lstm", "gru", "cnn"} <= set(by_name)
    assert set(by_name["gru"]) == {"name", "family", "parameters", "receptive_field", "about"}
    # by hand: three gates of 32 units over 19 inputs (5 features, 5 masks, 4 waves here
    # and 4 ahead, the level), 32 states, 2 biases; the head: 24 steps of the point and 13 quantiles; the ridge beside them
    assert by_name["gru"]["parameters"] == 3 * 32 * (19 + 32 + 2) + 24 * 14 * (32 + 1) + 24 * (72 * 19 + 1)
    assert {row["receptive_field"] for row in rows} == {72}, "every shipped variant sees its whole window"
    table = here("variants", home=tmp_path / "home").stdout
    assert "bidirectional_elman" in table and "recurrent" in table


def test_lags_prints_and_writes(flows, here, tmp_path: Path) -> None:
    head = flows("lags", SMOKE, "--head", home=tmp_path / "home")
    assert head.returncode == 0, head.stderr
    assert "y_lag24" in head.stdout and "y_step6" in head.stdout
    out = tmp_path / "lags.parquet"
    assert here("lags", SMOKE, "--out", str(out), home=tmp_path / "home").returncode == 0
    table = pl.read_parquet(out)
    assert table.height == 3 * (8730 + 1)
    assert table.columns[:2] == ["unique_id", "ds"]
    assert {"y_lag1", "y_lag24", "dewp_lag1", "dewp_lag11", "y_step1", "y_step6"} <= set(table.columns)
    assert "dewp_lag2" not in table.columns
    assert "wind_gust_lag3" not in table.columns  # the checks leave it out, as for compare
    assert "left out: feature wind_gust" in head.stderr and "39.92 " in head.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "lags.parquet"]


FIVE = """
name: five
data: {path: PATH, id: null, time: day, target: value, frequency: 1d}
windows:
  horizon: HORIZON
  features:
    y: {lookback: LOOKBACK}
"""


@pytest.mark.parametrize(
    ("horizon", "lookback", "rest"),
    [
        (2, 2, ""),
        (2, 2, "split: {validation: 2, test: 2}"),
        (12, 30, "split: {validation: 28d, test: 2099-01-01}\nvariants: [no]"),
    ],
)
def test_the_lag_table_of_five_rows_is_printed_whatever_the_split(
    here, tmp_path: Path, horizon: int, lookback: int, rest: str
) -> None:
    (tmp_path / "five.csv").write_text("day,value\n" + "".join(f"2024-01-0{i},{2**i}\n" for i in range(1, 6)))
    text = FIVE.replace("PATH", str(tmp_path / "five.csv")).replace("HORIZON", str(horizon)).replace("LOOKBACK", str(lookback))
    (tmp_path / "five.yaml").write_text(text + rest)
    done = here("lags", str(tmp_path / "five.yaml"), home=tmp_path / "home")
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if "2024-01-0" in line]
    assert len(rows) == 6 and ("lag30" in done.stdout) == (lookback == 30)
    if lookback == 2:
        cells = [[cell.strip() for cell in row.strip("│").split("┆")][2:] for row in rows]
        assert cells[2] == ["2.0", "4.0", "8.0", "16.0"] and cells[5] == ["16.0", "32.0", "null", "null"]


def test_the_lag_table_asks_for_a_table_all_the_same(here, refused, tmp_path: Path) -> None:
    (tmp_path / "five.csv").write_text("day,value\n2024-01-01,1\n2024-01-01,2\n2024-01-02,x\n")
    text = FIVE.replace("PATH", str(tmp_path / "five.csv")).replace("HORIZON", "1").replace("LOOKBACK", "1")
    (tmp_path / "five.yaml").write_text(text)
    refused(here("lags", str(tmp_path / "five.yaml"), home=tmp_path / "home"), 1, "unique keys", "holds text")


@pytest.mark.parametrize(
    ("arguments", "goes_on"), [(["compare"], True), (["compare", "--fresh"], False), (["validate"], False)], ids=str
)
def test_ctrl_c_ends_with_130_and_promises_no_more_than_is_true(start, tmp_path: Path, arguments: list[str], goes_on) -> None:
    output = tmp_path / "output.txt"
    verb, *options = arguments
    process = start(verb, "params/smoke.yaml", *options, home=tmp_path / "home", output=output)
    try:
        until = time.monotonic() + 60
        while "..." not in output.read_text():  # its first stage has begun, so that it is past its own start
            assert process.poll() is None and time.monotonic() < until, output.read_text()
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    finally:
        process.kill()
    told = output.read_text()
    assert "\nTraceback" not in told  # one of ours; where Ctrl-C comes in the midst of polars it panics, and quotes one
    said = [line for line in told.splitlines() if "interrupted" in line]
    assert said == [
        "lagline: interrupted" + ("; the same command goes on from the step that each fit was at" if goes_on else "")
    ]


IN_TEXT = """
import sys
from unittest.mock import patch
from flows.__main__ import run

def import_a_dataclass(*_):
    exec("raise KeyboardInterrupt")

with patch("flows.runtime.ui.ui", import_a_dataclass), patch("flows.verbs.variants.show_variants", import_a_dataclass):
    sys.exit(run())
"""


@pytest.mark.slow
@pytest.mark.parametrize(("verb", "status"), [("ui", 0), ("variants", 130)])
def test_ctrl_c_while_text_is_executed_ends_with_the_status_that_it_says(verb: str, status: int, tmp_path: Path) -> None:
    # Python marks such an interrupt and, run with -m, would end itself by the signal although it was caught
    (tmp_path / "interrupted.py").write_text(IN_TEXT)
    environment = {**os.environ, "LAGLINE_HOME": str(tmp_path / "home"), "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    done = subprocess.run([sys.executable, "-m", "interrupted", verb], env=environment, capture_output=True, text=True)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr


IN_POLARS = """
import sys
from unittest.mock import patch
import polars as pl
from flows.__main__ import run

def see_a_time(*_):
    def interrupted(*_, **__):
        raise KeyboardInterrupt
    with patch("polars.datatypes.classes.Datetime.__init__", interrupted):
        pl.LazyFrame({"ds": ["2024-01-01"]}).select(pl.col("ds").str.to_datetime()).collect_schema()

with patch("flows.verbs.variants.show_variants", see_a_time):
    sys.exit(run())
"""


@pytest.mark.slow
def test_ctrl_c_while_polars_makes_an_object_is_no_failure(tmp_path: Path) -> None:
    """polars panics there, with an error that is no KeyboardInterrupt, and says so in words of its own."""
    (tmp_path / "interrupted.py").write_text(IN_POLARS)
    environment = {**os.environ, "LAGLINE_HOME": str(tmp_path / "home"), "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    done = subprocess.run([sys.executable, "-m", "interrupted", "variants"], env=environment, capture_output=True, text=True)
    assert done.returncode == 130, done.stderr
    assert "panicked" in done.stderr and done.stderr.endswith("lagline: interrupted\n")


def test_lags_refuses_what_the_checks_refuse(here, refused, tmp_path: Path) -> None:
    rows = pl.read_parquet(ROOT / "data" / "nyc_weather.parquet")
    pl.concat([rows, rows.head(3)]).write_parquet(tmp_path / "twice.parquet")
    arguments = ("lags", SMOKE, "--out", str(tmp_path / "out.parquet"), "--set", f"data.path={tmp_path / 'twice.parquet'}")
    refused(here(*arguments, home=tmp_path / "home"), 1, "unique keys", "EWR")
    assert not (tmp_path / "out.parquet").exists()


def test_a_leaderboard_from_a_store_that_does_not_answer_is_one_message(warm, refused, tmp_path: Path) -> None:
    dead = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    refused(warm("leaderboard", "smoke", home=tmp_path / "home", **dead), 2, "MLFLOW_TRACKING_URI", "does not answer")
