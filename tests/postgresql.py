"""A PostgreSQL of this machine's own package, for tests: its data in a temporary folder, reached over TCP with a password."""

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

PACKAGES = Path("/usr/lib/postgresql")  # where Debian and Ubuntu keep the programs of each version, out of PATH


def programs() -> Path | None:
    """The folder with initdb and postgres, of the newest version; None where PostgreSQL is not installed."""
    there = [Path(found).parent for found in [shutil.which("initdb")] if found]
    versions = [path.parent for path in PACKAGES.glob("*/bin/initdb")]
    found = [*there, *sorted(versions, key=lambda path: float(path.parent.name), reverse=True)]
    return next((folder for folder in found if (folder / "postgres").exists()), None)


class Postgres:
    """A server on a port of its own, up from `start` to `stop`."""

    def __init__(self, programs: Path) -> None:
        self.programs, self.password = programs, secrets.token_urlsafe(12)
        self.folder = Path(tempfile.mkdtemp(prefix="lagpg-"))  # a path that another user can reach
        self.user = "nobody" if os.geteuid() == 0 else None  # PostgreSQL does not run as root
        self.process: subprocess.Popen[bytes] | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    def address(self, database: str = "postgres") -> str:
        """What a client connects to."""
        return f"postgresql://lagline:{self.password}@127.0.0.1:{self.port}/{database}"

    def make(self) -> None:
        """The cluster of databases, its only user `lagline`."""
        secret = self.folder / "password"
        secret.write_text(self.password)
        if self.user:
            found = pwd.getpwnam(self.user)
            for path in (self.folder, secret):
                os.chown(path, found.pw_uid, found.pw_gid)
        options = ("--username", "lagline", "--auth", "scram-sha-256", "--encoding", "UTF8", "--no-sync")
        command = [self.programs / "initdb", "--pgdata", self.folder / "data", "--pwfile", secret, *options]
        subprocess.run(command, check=True, capture_output=True, user=self.user, cwd=self.folder, env=PLAIN)

    def start(self) -> None:
        """Returns once it takes connections."""
        given = {"port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off"}
        command = [str(self.programs / "postgres"), "-D", str(self.folder / "data")]
        command += [word for name, value in given.items() for word in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, user=self.user, cwd=self.folder, env=PLAIN, start_new_session=True
            )
        until = time.monotonic() + 60
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"PostgreSQL did not come up: {(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.1)

    def _answers(self) -> bool:
        import psycopg2

        try:
            return self.sql("SELECT 1") == [(1,)]
        except psycopg2.OperationalError:
            return False

    def sql(self, text: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """What a statement answers."""
        import psycopg2

        with contextlib.closing(psycopg2.connect(self.address(database))) as session:
            session.autocommit = True
            with session.cursor() as cursor:
                cursor.execute(text)
                return cursor.fetchall() if cursor.description else []

    def program(self, name: str) -> str:
        """A program that comes with the server, of its own version."""
        beside = (self.programs / "initdb").resolve().parent / name
        return str(beside if beside.exists() else name)

    def stop(self) -> None:
        """At once, its sessions with it."""
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)  # to PostgreSQL: without waiting for its clients
            self.process.wait(30)
            self.process = None

    def remove(self) -> None:
        """The end of it."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


PLAIN = {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C"}
