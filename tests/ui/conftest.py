"""A comparison, its MLflow pages and a headless browser, for the tests of what a person sees; never calls our functions.

Environment: LAGLINE_BROWSER (a Chromium), UI_PARAMS (the run file), SCREENSHOTS (a folder that keeps the pictures).
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

ROOT = Path(__file__).resolve().parents[2]
REPORT = "report.html"  # the artifact that tells the whole comparison
SMOKE = "params/smoke.yaml"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
WINDOW = {"width": 1600, "height": 1000}
START = 60.0  # seconds until the pages answer
PATIENCE = 30_000  # milliseconds until something stands on a page
# a browser that is new to MLflow gets a chat panel over a third of the window; the pictures are of one that closed it
# (the frame of a report has no storage to say so in)
SEEN = "try { localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true') } catch {}"


@dataclass(frozen=True)
class Pages:
    """A comparison as MLflow serves it to who opens the link: run and variant of each fit, its MAE on test computed here."""

    link: str
    prefect: str
    prefect_key: str
    base: str
    experiment: str
    parent: str
    runs: dict[str, str]
    variants: dict[str, str]
    trained: set[str]
    mae: dict[str, float]
    report: Path

    def of_variant(self) -> dict[str, float]:
        """The MAE of a variant: the mean over its seeds."""
        fits: dict[str, list[float]] = {}
        for name, variant in self.variants.items():
            fits.setdefault(variant, []).append(self.mae[name])
        return {variant: sum(found) / len(found) for variant, found in fits.items()}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium, closed at the end of the module: until then its loop is in the way of every `asyncio.run`."""
    api = pytest.importorskip(
        "playwright.sync_api", reason="playwright is missing: run `make setup` (or pip install playwright)"
    )
    with api.sync_playwright() as playwright:
        path = _chromium(Path(playwright.chromium.executable_path))
        root = hasattr(os, "geteuid") and os.geteuid() == 0
        found = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"] if root else [])
        yield found
        found.close()


def _chromium(own: Path) -> str:
    named = os.environ.get("LAGLINE_BROWSER")
    if named:
        assert shutil.which(named), f"LAGLINE_BROWSER={named}: there is no such program"
        return named
    for path in (*map(shutil.which, BROWSERS), str(own)):
        if path and Path(path).exists():
            return path
    pytest.skip(
        "there is no Chromium: install one (on Debian and Ubuntu the package chromium), run "
        "`.venv/bin/python -m playwright install chromium`, or name yours in LAGLINE_BROWSER"
    )


@pytest.fixture
def page(browser: Any, pages: Pages) -> Iterator[Any]:
    """A page in a window of its own that has been let in.  An error in a page's own script fails the test."""
    context, errors = browser.new_context(viewport=WINDOW), []
    context.set_default_timeout(PATIENCE)
    context.add_init_script(SEEN)
    context.on("weberror", lambda error: errors.append(str(error.error)))
    opened = context.new_page()
    opened.goto(pages.link)
    yield opened
    context.close()
    assert [error for error in errors if "ResizeObserver" not in error] == []  # MLflow's table; harmless, and no error of ours


@pytest.fixture(scope="module")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the pictures go."""
    folder = Path(os.environ.get("SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def pages(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    """A comparison made by the command line in a fresh state folder, and served by it.  Asks for the browser first: no
    comparison is made where there is none."""
    home = tmp_path_factory.mktemp("ui")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    environment |= {"LAGLINE_HOME": str(home), "PYTHONPATH": str(ROOT), "COLUMNS": "120"}
    _compare(environment)
    with (home / "ui.out").open("w") as out:
        command = [sys.executable, "-m", "flows", "ui", "--port", str(_free_port())]
        ui = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=out, start_new_session=True)
    try:
        yield _read(_printed(ui, home / "ui.out"), home)
    finally:
        ui.terminate()
        ui.wait(timeout=30)


def _compare(environment: dict[str, str]) -> None:
    params = os.environ.get("UI_PARAMS") or SMOKE
    seeds = ["--set", "training.seeds=2"] if params == SMOKE else []
    command = [sys.executable, "-m", "flows", "compare", params, *seeds]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _printed(ui: subprocess.Popen[bytes], out: Path) -> str:
    """What `flows ui` prints once it serves."""
    end = time.monotonic() + START
    while "its key: " not in (text := out.read_text()):
        assert ui.poll() is None and time.monotonic() < end, text
        time.sleep(0.2)
    return text


def _read(printed: str, home: Path) -> Pages:
    """What there is, over MLflow's REST interface; the errors from the forecasts themselves."""
    found = re.search(r"MLflow UI: (\S+) [^$]*Prefect UI: (\S+)  \(its key: (\S+)\)", printed)
    assert found, printed
    link, *prefect = found.groups()
    base, key = link.split("/?key=")
    shown = {"Authorization": f"Bearer {key}"}

    def ask(what: str, **question: Any) -> dict[str, Any]:
        data, headers = json.dumps(question).encode(), {"Content-Type": "application/json"} | shown
        request = urllib.request.Request(f"{base}/ajax-api/2.0/mlflow/{what}", data, headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return dict(json.load(answer))

    found = ask("experiments/search", max_results=10)["experiments"]
    experiment = next(one["experiment_id"] for one in found if one["name"] != "Default")
    runs = {run["info"]["run_name"]: run for run in ask("runs/search", experiment_ids=[experiment], max_results=100)["runs"]}
    tags = {name: {tag["key"]: tag["value"] for tag in run["data"]["tags"]} for name, run in runs.items()}
    parent = next(runs[name]["info"]["run_id"] for name, some in tags.items() if some["kind"] == "comparison")
    ids = {name: run["info"]["run_id"] for name, run in runs.items() if tags[name]["kind"] != "comparison"}
    for file in ("forecasts.parquet", REPORT):
        asked = urllib.request.Request(f"{base}/get-artifact?path={file}&run_uuid={parent}", headers=shown)
        with urllib.request.urlopen(asked, timeout=30) as answer:
            (home / file).write_bytes(answer.read())
    variants = {name: tags[name]["variant"] for name in ids}
    trained = {name for name in ids if tags[name]["kind"] == "variant"}
    mae = _errors(home / "forecasts.parquet", list(ids))
    return Pages(link, *prefect, base, experiment, parent, ids, variants, trained, mae, home / REPORT)


def _errors(path: Path, names: list[str]) -> dict[str, float]:
    """The mean absolute error of each fit over the rows in which it and the truth stand."""
    whole = pl.read_parquet(path)
    return {name: float((whole["y"] - whole[name]).abs().mean()) for name in names}  # type: ignore[arg-type]  # a null drops out


@pytest.fixture
def table() -> Callable[[Any, str], dict[str, str]]:
    """`table(page, "test MAE")`: name -> figure in the whole leaderboard of a report, opened; marks at names are cut."""

    def read(where: Any, heading: str) -> dict[str, str]:
        where.get_by_role("link", name="Leaderboard", exact=True).click()
        one = where.locator("#leaderboard table").first
        one.get_by_role("columnheader", name=heading, exact=True).wait_for()
        heads = one.locator("th").all_inner_texts()
        cells = [row.locator("td").all_inner_texts() for row in one.locator("tr", has=where.locator("td")).all()]
        name, figure = heads.index("name"), heads.index(heading)
        return {row[name].split()[0]: row[figure] for row in cells}

    return read
