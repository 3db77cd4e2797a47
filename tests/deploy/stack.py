"""The stack of deploy/compose.yaml built from packages on this machine, without containers, as docs/cluster.md tells it."""

import logging
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import boto3
import yaml
from moto.server import ThreadedMotoServer

from tests.postgresql import Postgres

ROOT = Path(__file__).resolve().parents[2]
UP = 180  # seconds for a server
COMPOSE = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())
DATABASES = ("mlflow", "mlflow_auth", "prefect")
PLAIN = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("MLFLOW_", "PREFECT_", "AWS_", "LAGLINE_", "RAY_", "PG"))
}


def free_port() -> int:
    """A port of loopback on which nobody listens now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class Stack:
    """PostgreSQL, a store that speaks S3 (moto), MLflow and Prefect on both, behind passwords; a Ray cluster beside it."""

    def __init__(self, postgres: Postgres, folder: Path, ray_address: str) -> None:
        self.postgres, self.folder, self.ray_address = postgres, folder, ray_address
        names = re.findall(r"^(\w+)=$", (ROOT / "deploy" / "env.example").read_text(), re.MULTILINE)
        self.secrets = {name: secrets.token_hex(12) for name in names} | {"POSTGRES_PASSWORD": postgres.password}
        self.ports = {name: free_port() for name in ("mlflow", "prefect")}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.s3 = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)

    def start(self) -> None:
        """Everything, up and answering."""
        for name in DATABASES:
            self.postgres.sql(f"CREATE DATABASE {name}")
        logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request
        self.s3.start()
        self.client().create_bucket(Bucket="lagline")
        self.start_mlflow()
        self._start("prefect")
        self._wait("prefect", "/api/health")

    def start_mlflow(self, files: str = "mlflow") -> None:
        """The MLflow server on a folder of the bucket."""
        told = (ROOT / "deploy" / "mlflow-auth.ini").read_text()
        (self.folder / "mlflow-auth.ini").write_text(self._here(told))
        self._start("mlflow", **{"s3://lagline/mlflow": f"s3://lagline/{files}"})
        self._wait("mlflow", "/health")

    def client(self) -> Any:
        """What speaks to the store."""
        host, port = self.s3.get_host_and_port()
        return boto3.client(
            "s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1",
            aws_access_key_id=self.secrets["S3_ACCESS_KEY"], aws_secret_access_key=self.secrets["S3_SECRET_KEY"],
        )  # fmt: skip

    def objects(self, below: str) -> list[str]:
        """The keys in the bucket below a folder."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket="lagline", Prefix=below)
        return [found["Key"] for page in pages for found in page.get("Contents", [])]

    def user(self, engine: str = "ray") -> dict[str, str]:
        """The environment of who uses it, with fits on the cluster or here (`local`)."""
        told = {name: self._here(value) for name, value in COMPOSE["x-user"].items() if not name.startswith("RAY_AUTH")}
        return told | {"LAGLINE_ENGINE": engine, "MLFLOW_HTTP_REQUEST_TIMEOUT": "120"}  # all of it on one busy machine

    def _here(self, text: str, **instead: str) -> str:
        """What stands in the files of deploy/, with the addresses and passwords of this machine."""
        host, port = self.s3.get_host_and_port()
        there = {
            "postgres:5432": f"127.0.0.1:{self.postgres.port}", "http://s3:8333": f"http://{host}:{port}",
            "0.0.0.0": "127.0.0.1", "ray-head:6379": self.ray_address,
            "//mlflow:5000": "//127.0.0.1:5000", "//prefect:4200": "//127.0.0.1:4200",
            ":5000": f":{self.ports['mlflow']}", "=5000": f"={self.ports['mlflow']}",
            ":4200": f":{self.ports['prefect']}", "=4200": f"={self.ports['prefect']}",
            "/lagline/deploy": str(self.folder), "/state": str(self.folder), **instead,
        }  # fmt: skip
        for name, value in there.items():
            text = text.replace(name, value)
        return re.sub(r"\$\{(\w+):\?\}", lambda found: self.secrets[found[1]], text)

    def _start(self, library: str, **instead: str) -> None:
        """One of the servers, by the words and the environment that the file of compose has for it."""
        told = COMPOSE["services"][library]
        words = [self._here(word, **instead) for word in (*told["entrypoint"], *told["command"])]
        settings = PLAIN | {name: self._here(value) for name, value in told["environment"].items()}
        with (self.folder / f"{library}.log").open("ab") as log:
            self.processes[library] = subprocess.Popen(
                [sys.executable, *words[1:]], cwd=self.folder, env=settings, stdout=log, stderr=log, start_new_session=True
            )

    def _wait(self, name: str, path: str) -> None:
        """Until a server answers, with yes or with a question for the password."""
        until = time.monotonic() + UP
        while self.processes[name].poll() is None and time.monotonic() < until:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[name]}{path}", timeout=2):
                    return
            except urllib.error.HTTPError as error:
                if error.code == 401:
                    return
            except OSError:
                pass
            time.sleep(0.3)
        raise RuntimeError(f"{name} did not come up: {(self.folder / f'{name}.log').read_text()[-3000:]}")

    def end(self, name: str) -> None:
        """Ends one of the servers, with the processes that it started."""
        process = self.processes.pop(name)
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(20)

    def stop(self) -> None:
        """The end of all but PostgreSQL and Ray, which have fixtures of their own."""
        for name in list(self.processes):
            self.end(name)
        self.s3.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
