"""The stack of deploy/compose.yaml, from packages: a champion from three homes, and what docs/cluster.md backs up."""

import base64
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
import yaml

from tests.deploy.stack import COMPOSE, PLAIN, ROOT, Stack
from tests.postgresql import Postgres

pytestmark = [pytest.mark.stack, pytest.mark.slow]
SETTINGS = ("name=story", "windows.horizon=12", "windows.stride=6", "evaluation.stride=6", "variants=[gru]")
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped data up to October, and up to December, as two tables in a folder."""
    folder = tmp_path_factory.mktemp("data")
    rows = pl.read_parquet(ROOT / "data" / "nyc_weather.parquet")
    for name, month in (("early", 10), ("late", 12)):
        rows.filter(pl.col("time_hour") < datetime(2013, month, 1, tzinfo=UTC)).write_parquet(folder / f"{name}.parquet")
    return folder


def test_a_champion_s_story_from_three_homes(flows: Run, stack: Stack, data: Path, tmp_path: Path) -> None:
    homes = [tmp_path / name for name in ("ann", "bob", "cat")]

    def run(home: Path, *words: str, engine: str = "ray") -> str:
        done = flows(*words, home=home, cwd=ROOT, **stack.user(engine))
        said = " ".join((done.stdout + done.stderr).split())
        assert done.returncode == 0 and not [secret for secret in stack.secrets.values() if secret in said], said
        assert "View run" not in said  # what MLflow's client prints where the store is a server
        return said

    def compare(home: Path, table: str, epochs: int) -> str:
        settings = (*SETTINGS, f"data.path={data / table}.parquet", f"training.max_epochs={epochs}")
        return run(home, "compare", "params/smoke.yaml", *(part for one in settings for part in ("--set", one)))

    ann, bob, cat = homes
    assert "Registered as story version 1" in compare(ann, "early", 1)
    assert "Promoted: story version 1 is champion (entry 1" in run(bob, "promote", "story", "--allow-dirty", engine="local")
    assert "Registered as story version 2" in compare(bob, "late", 8)
    assert "Promoted: story version 2 is champion (entry 2" in run(ann, "promote", "story", "--allow-dirty")
    assert "the same weights, bit for bit" in run(cat, "reproduce", "story@champion", engine="local")  # on no cluster
    out = tmp_path / "forecasts.parquet"
    run(cat, "forecast", "story@champion", "--data", str(data / "late.parquet"), "--out", str(out), engine="local")
    assert pl.read_parquet(out).height == 3 * 12
    assert "version 1 is champion again" in run(cat, "rollback", "story", engine="local")
    history = json.loads(flows("history", "story", "--json", home=ann, **stack.user("local")).stdout)
    told = [(entry["number"], entry["decision"], entry["champion"]) for entry in history["entries"]]
    assert told == [(1, "promoted", "1"), (2, "promoted", "2"), (3, "rollback", "1")]

    # where it all lies: nothing of it in the checkout, files and panels in the bucket, runs in the databases
    assert not (ROOT / "mlruns").exists()
    assert "presigned" not in (stack.folder / "mlflow.log").read_text()  # who speaks to the server need not reach its bucket
    assert stack.objects("mlflow/") and len({key.split("/")[2] for key in stack.objects("shelf/panels/")}) == 2
    assert [list((home / "artifacts").iterdir()) for home in homes] == [[], [], []]
    ((flow_runs,),) = stack.postgres.sql("SELECT count(*) FROM flow_run WHERE state_type = 'COMPLETED'", "prefect")
    assert flow_runs == 4  # two comparisons and two promotions
    held = "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database WHERE locktype = 'advisory'"
    ((left,),) = stack.postgres.sql(f"{held} AND datname = 'mlflow'")  # Prefect has some of its own
    assert left == 0


def test_the_servers_ask_for_passwords_and_know_their_own_names(stack: Stack) -> None:
    def status(name: str, path: str, host: str = "127.0.0.1", **headers: str) -> int:
        headers |= {"Host": f"{host}:{stack.ports[name]}"}
        request = urllib.request.Request(f"http://127.0.0.1:{stack.ports[name]}{path}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    def known(password: str) -> str:
        return f"Basic {base64.b64encode(f'lagline:{password}'.encode()).decode()}"

    search, flows = "/api/2.0/mlflow/experiments/search?max_results=1", "/api/admin/version"
    assert [status("mlflow", search), status("prefect", flows)] == [401, 401]
    mlflow, prefect = known(stack.secrets["MLFLOW_PASSWORD"]), known(stack.secrets["PREFECT_PASSWORD"])
    assert [status("mlflow", search, Authorization=mlflow), status("prefect", flows, Authorization=prefect)] == [200, 200]
    assert status("mlflow", search, host="mlflow", Authorization=mlflow) == 200  # as the other containers call it
    assert status("mlflow", search, host="elsewhere.example", Authorization=mlflow) == 403
    assert status("mlflow", search, Authorization=prefect) == 401


def test_a_worker_runs_what_prefect_yaml_deploys(stack: Stack, data: Path, tmp_path: Path) -> None:
    """The deployment of the shipped file, with the params of this test and no schedule."""
    told = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    (deployment,) = told["deployments"]
    settings = [*SETTINGS[1:], "name=scheduled", f"data.path={data}/early.parquet", "training.max_epochs=1"]
    deployment["parameters"] = {"params": "params/smoke.yaml", "settings": settings, "allow_dirty": True}
    deployment["schedules"] = []
    (tmp_path / "prefect.yaml").write_text(yaml.safe_dump(told))
    environment = PLAIN | stack.user("local") | {"LAGLINE_CHECKOUT": str(ROOT), "LAGLINE_HOME": str(tmp_path / "home")}
    environment |= {"PREFECT_HOME": str(tmp_path / "prefect"), "DO_NOT_TRACK": "true", "COLUMNS": "200"}

    def prefect(*words: str) -> str:
        command = [sys.executable, "-m", "prefect", "--no-prompt", *words]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    words = COMPOSE["services"]["prefect-worker"]["command"]
    prefect("work-pool", "create", "lagline", "--type", "process")
    prefect("deploy", "--all", "--prefect-file", str(tmp_path / "prefect.yaml"))
    with (tmp_path / "worker.log").open("wb") as log:
        command = [sys.executable, "-m", "prefect", *words]
        worker = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        said = prefect("deployment", "run", "retrain/nyc-weather", "--watch")
    finally:
        os.killpg(worker.pid, signal.SIGTERM)
        worker.wait(60)
    assert "Completed" in said, said + (tmp_path / "worker.log").read_text()
    ((champions,),) = stack.postgres.sql(
        "SELECT count(*) FROM registered_model_aliases WHERE name = 'scheduled' AND alias = 'champion'", "mlflow"
    )
    assert champions == 1, (tmp_path / "worker.log").read_text()


def test_a_version_goes_to_a_store_of_its_own_and_is_proved_there(flows: Run, stack: Stack, tmp_path: Path) -> None:
    """The last of the story before."""
    file, alone = tmp_path / "story.lagline", tmp_path / "alone"
    sent = flows("export", "story@2", str(file), home=tmp_path / "dan", **stack.user("local"))
    assert sent.returncode == 0, sent.stderr
    seal = next(line for line in sent.stdout.splitlines() if line.startswith("Its seal: ")).removeprefix("Its seal: ")
    taken = flows("import", str(file), home=alone)
    assert taken.returncode == 0 and "Registered as story version 1, alias challenger." in taken.stdout, taken.stderr
    assert f"It was version 2 where it comes from, with the seal {seal}" in taken.stdout
    proved = flows("promote", "story", "--allow-dirty", home=alone)
    assert proved.returncode == 0 and "Promoted: story version 1 is champion" in proved.stdout, proved.stdout + proved.stderr
    assert "bit for bit" in proved.stdout
    assert "already: no new version" in flows("import", str(file), home=alone).stdout


def test_a_backup_of_database_and_bucket_comes_back_as_it_was(
    flows: Run, stack: Stack, postgres: Postgres, tmp_path: Path
) -> None:
    """By the commands of docs/cluster.md, into another database and another folder of the bucket."""
    dump = subprocess.run(
        [postgres.program("pg_dump"), "--format=custom", postgres.address("mlflow")], check=True, capture_output=True
    ).stdout
    for key in stack.objects("mlflow/"):
        stack.client().copy({"Bucket": "lagline", "Key": key}, "lagline", f"restored/{key.removeprefix('mlflow/')}")
    postgres.sql("CREATE DATABASE restored")
    subprocess.run(
        [postgres.program("pg_restore"), "--exit-on-error", "--dbname", postgres.address("restored")], input=dump, check=True
    )
    stack.end("mlflow")
    for key in stack.objects("mlflow/"):
        stack.client().delete_object(Bucket="lagline", Key=key)
    postgres.sql("DROP DATABASE mlflow WITH (FORCE)")
    postgres.sql("ALTER DATABASE restored RENAME TO mlflow")
    stack.start_mlflow(files="restored")
    home = tmp_path / "eve"
    history = json.loads(flows("history", "story", "--json", home=home, **stack.user("local")).stdout)
    assert history["champion"] == "1" and history["faults"] == [] and len(history["entries"]) == 3
    proved = flows("reproduce", "story@champion", home=home, **stack.user("local"))
    assert proved.returncode == 0 and "the same weights, bit for bit" in proved.stdout, proved.stderr
