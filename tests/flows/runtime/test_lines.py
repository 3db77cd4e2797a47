"""What a run says stands in its log at Prefect, from every thread and once; a Prefect that is gone costs it nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
FLOW = """
import asyncio, json, sys, threading
from pathlib import Path
from flows.runtime.state import ready
ready()
from prefect import flow, runtime, task
from prefect.client.schemas.filters import LogFilter
from prefect.client.orchestration import get_client
from flows.runtime.artifacts import run_name
from flows.runtime.lines import to_prefect
from flows.runtime.progress import Board
from prefect.logging.handlers import APILogWorker

RUNS = []

@task(task_run_name="fit")
def fit(board):
    board.say("of a task")

@flow(flow_run_name=run_name("compare"))
def compare(params, settings=None, plan=None):
    RUNS.append(runtime.flow_run.id)
    with Board(log=to_prefect()) as board, board.stage("stage"):
        fit.submit(board).result()
        thread = threading.Thread(target=board.say, args=("of a thread",))
        thread.start()
        thread.join()
        board.log("not for the terminal")

@flow
def outer():
    file = f"{sys.argv[1]}/smoke.yaml"
    for given in ((file, []), (file, ["name=due"]), ("/no/such.yaml", None)):
        compare(*given)

async def seen():
    async with get_client() as client:
        names = {run: (await client.read_flow_run(run)).name for run in RUNS}
        lines = await client.read_logs(LogFilter(flow_run_id={"any_": RUNS}))
        return [(names[str(line.flow_run_id)], line.level, line.message, line.task_run_id) for line in lines]

outer()
APILogWorker.drain_all(timeout=30)
print(json.dumps(asyncio.run(seen()), default=bool))
"""
GONE = """
import os, time
from flows.runtime.state import ready
home = ready()
from flows.runtime.server import start_prefect
server = start_prefect(home)
server.wait()
from prefect import flow, get_run_logger
from flows.runtime.lines import to_prefect

@flow
def run():
    log = to_prefect()
    log("while it is there")
    time.sleep(3)
    return log

log = run()
server.watch.over()  # else it is started again
server.child.process.kill()
server.child.process.wait()
log("for nobody")
server.stop()
print("ended", flush=True)
"""


@pytest.mark.slow
def test_a_run_has_its_lines_at_prefect_and_a_name_without_a_path(
    new_home, tmp_path: Path, prefect_api: dict[str, str]
) -> None:
    environment = {**os.environ, **prefect_api, "LAGLINE_HOME": str(new_home(tmp_path / "home")), "COLUMNS": "120"}
    command = [sys.executable, "-c", FLOW, str(ROOT / "params")]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if "done in" not in line]
    assert lines == ["stage ...", "of a task", "of a thread"] * 3  # and nothing of Prefect's
    told = json.loads(done.stdout)
    for name in ("compare smoke", "compare due", "compare such"):
        ours = [(text, task) for run, level, text, task in told if run == name and level == 20]
        texts = [text for text, _ in ours]
        for text in ("stage ...", "of a task", "of a thread", "not for the terminal", "Finished in state Completed()"):
            assert text in texts, (name, texts)
        assert [text for text, task in ours if task and "Finished" not in text] == ["of a task"]
        assert texts.count("stage ...") == texts.count("of a thread") == 1
    assert not [run for run, *_ in told if "/" in run]


@pytest.mark.slow
@pytest.mark.fault
def test_a_run_ends_though_prefect_takes_no_lines_any_more(new_home, tmp_path: Path) -> None:
    """Prefect's own sender tries again and again, and prints that it could not."""
    environment = {**os.environ, "LAGLINE_HOME": str(new_home(tmp_path / "home"))}
    with subprocess.Popen(
        [sys.executable, "-c", GONE], cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None and process.stderr is not None
            assert process.stdout.readline() == "ended\n", process.stderr.read()
            assert process.wait(40) == 0
            assert process.stderr.read() == ""
        finally:
            process.kill()
