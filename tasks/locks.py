"""Locks between processes of one machine (flock), and between machines (PostgreSQL): freed however their holder dies.

A lock of one machine is in its kernel, one between machines in the session of a connection: there is never a file to clean up.
"""

import errno
import fcntl
import getpass
import hashlib
import os
import socket
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from params.errors import Unavailable, UserError
from params.shown import shown

VARIABLE, STORE = "LAGLINE_LOCKS", "MLFLOW_TRACKING_URI"
AGAIN = 0.2  # seconds between two tries
# of a session: a machine that is gone is missed after a minute, and no limit of the server's own ends the wait for a long block
SETTINGS = {
    "statement_timeout": 0,
    "idle_session_timeout": 0,
    "tcp_keepalives_idle": 30,
    "tcp_keepalives_interval": 10,
    "tcp_keepalives_count": 3,
}
CONNECT = 10  # seconds
ALONE = (
    "decisions on a name are guarded within one LAGLINE_HOME alone: use one home for each name, or set "
    f"{VARIABLE}=postgresql://USER@HOST/DATABASE, which guards them across homes and machines"
)


class Held(UserError):
    """Another process holds the lock."""


def whole() -> None:
    """What a lock of one machine says when it is asked whether it still holds: the kernel takes none away."""


@contextmanager
def lock(home: Path, name: str, wait: bool = True) -> Iterator[int]:
    """Holds `<home>/locks/<name>.lock` for the block; the file stays, the lock is in the kernel.

    Gives its descriptor: a child that inherits it (`pass_fds`) holds the lock too, for as long as it lives, should we die.
    Raises Held where another holds it and `wait` is False.  Not reentrant: the same name inside the block waits for ever.
    """
    path = home / "locks" / f"{name}.lock"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = _opened(path)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            raise Held(f"{path}: held by another lagline process ({holder}); wait until it ends and try again") from None
        os.ftruncate(descriptor, 0)
        with suppress(OSError):  # on a full disk the lock holds as well, and its holder is "unknown"
            os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
        try:
            yield descriptor
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # closing alone frees nothing while a forked child shares the descriptor
    finally:
        os.close(descriptor)


def _opened(path: Path) -> int:
    """A descriptor of the file of a lock, which is made where it is missing.

    Raises UserError for what is no plain file: a link would have its target emptied, at a pipe one would wait.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            raise
        descriptor = -1
    if descriptor < 0 or not stat.S_ISREG(os.fstat(descriptor).st_mode):
        if descriptor >= 0:
            os.close(descriptor)
        raise UserError(f"{path}: this is no lock of ours, but a link, a folder or a pipe: remove it, and start the same again")
    return descriptor


@contextmanager
def shared(home: Path, name: str, wait: bool = True) -> Iterator[Callable[[], None]]:
    """The same between all homes of one store, for what is decided there: `name` is held at the database of `database`.

    Gives what raises Unavailable once the lock is lost, the server having gone or ended the session: to be called before what
    cannot be taken back.  Where no database is named it is a lock of this home alone.  Raises Held, UserError for an address
    that is none or whose driver is missing, Unavailable where the database does not answer.
    """
    address = database()
    with lock(home, name, wait):
        if address is None:
            yield whole
            return
        connection = _connected(address, name)
        try:
            _take(connection, name, wait)
            yield lambda: _holds(connection, name)
        finally:
            with suppress(Unavailable):  # a session that is gone has freed it, and one that only ends frees it a moment later
                _asked(connection, name, "SELECT pg_advisory_unlock(%s)")
            connection.close()


def database() -> str | None:
    """The address of the PostgreSQL that holds locks between homes: LAGLINE_LOCKS, or the store itself where that is one.

    Raises UserError for another address in LAGLINE_LOCKS.
    """
    address, store = os.environ.get(VARIABLE, "").strip(), os.environ.get(STORE, "")
    kind, separator, rest = (address or store).partition("://")
    ours = kind.partition("+")[0] in ("postgresql", "postgres") and bool(separator and rest)
    if address and not ours:
        raise UserError(shown(f"{VARIABLE}={address}: write postgresql://USER:PASSWORD@HOST/DATABASE, or leave it out"))
    return f"postgresql://{rest}" if ours else None


def unguarded() -> str | None:
    """What to say where other homes may decide in the same store, and nothing keeps them apart; else None."""
    own = os.environ.get(STORE, "sqlite:").startswith("sqlite:")
    return None if own or database() else f"{shown(os.environ[STORE])}: {ALONE}"


def _connected(address: str, name: str) -> Any:
    """A session of its own.  It says who it is, for those that it keeps waiting."""
    try:
        import psycopg2
    except ModuleNotFoundError:
        why = "the driver of this database is missing (psycopg2): python -m pip install -c constraints.txt -e '.[postgresql]'"
        raise UserError(f"{_source()}: {why}") from None
    try:
        who = f"lagline {os.getpid()} {me()}"[:63]
        options = " ".join(f"-c {name}={value}" for name, value in SETTINGS.items())
        found = psycopg2.connect(address, connect_timeout=CONNECT, options=options, application_name=who)
    except psycopg2.Error as error:
        raise _silent(error, f"the lock {name} cannot be taken") from None
    found.autocommit = True
    return found


def _take(connection: Any, name: str, wait: bool) -> None:
    """Takes the lock, or waits until it is free: by asking again, so that Ctrl-C ends the wait.  Raises Held."""
    while not _asked(connection, name, "SELECT pg_try_advisory_lock(%s)"):
        if not wait:
            raise Held(
                f"{name}: held by another lagline process ({_holder(connection, name)}); wait until it ends and try again"
            )
        time.sleep(AGAIN)


def _holds(connection: Any, name: str) -> None:
    """Raises Unavailable where the session that holds a lock has ended."""
    _asked(connection, name, "SELECT %s IS NOT NULL")


def _asked(connection: Any, name: str, query: str) -> Any:
    """What the session answers to a query about the number of a name."""
    import psycopg2

    try:
        with connection.cursor() as cursor:
            cursor.execute(query, (number(name),))
            found = cursor.fetchone()
    except psycopg2.Error as error:
        raise _silent(error, f"the lock {name} is lost, and nothing goes on without it") from None
    return found[0] if found else None


def _holder(connection: Any, name: str) -> str:
    """Who holds a lock, as its session says."""
    query = (
        "SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
        " WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1"
        " AND (l.classid::bigint << 32 | l.objid::bigint) = %s AND l.database = a.datid"
    )
    return shown(str(_asked(connection, name, query) or "unknown")).removeprefix("lagline ")


@cache
def number(name: str) -> int:
    """The number, of 64 bits with a sign, by which PostgreSQL knows a name."""
    return int.from_bytes(hashlib.sha256(f"lagline:{name}".encode()).digest()[:8], "big", signed=True)


def _silent(error: Exception, what: str) -> Unavailable:
    why = " ".join(str(error).split())[:300] or type(error).__name__
    return Unavailable(shown(f"{_source()}: {what} ({why}): start the same command again once the database answers"))


def _source() -> str:
    """The variable that names the database, and what it says."""
    name = VARIABLE if os.environ.get(VARIABLE, "").strip() else STORE
    return f"{name}={os.environ[name]}"


def me() -> str:
    """USER@MACHINE, for those who ask who it is or was."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container may have no name for its user
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
