"""Locks between processes of a machine (flock) and between machines (PostgreSQL); freed if the holder dies.

The kernel holds a machine's locks, a database session those between machines: no file needs cleaning up.
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
# session settings: a vanished machine is noticed after a minute, and no limit of the server ends a session that holds a lock
SETTINGS = {
    "statement_timeout": 0,
    "idle_session_timeout": 0,
    "tcp_keepalives_idle": 30,
    "tcp_keepalives_interval": 10,
    "tcp_keepalives_count": 3,
}
CONNECT = 10  # seconds to wait for a connection
ALONE = (
    "decisions on a name are guarded within one LAGLINE_HOME alone: use one home for each name, or set "
    f"{VARIABLE}=postgresql://USER@HOST/DATABASE, which guards them across homes and machines"
)


class Held(UserError):
    """Another process holds the lock."""


def whole() -> None:
    """The check that `shared` yields without a database: the kernel takes no lock away, so it does nothing."""


@contextmanager
def lock(home: Path, name: str, wait: bool = True) -> Iterator[int]:
    """Holds `<home>/locks/<name>.lock` for the block; the file stays, the lock is in the kernel.

    Yields its descriptor: a child that inherits it (`pass_fds`) keeps the lock while it lives, even if this
    process dies.  Raises Held if another process has it and `wait` is False, UserError if the lock's file is
    not a regular file.  Not reentrant: nested, it deadlocks.
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
        with suppress(OSError):  # on a full disk the lock still holds, its holder "unknown"
            os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
        try:
            yield descriptor
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # closing frees nothing while a forked child shares it
    finally:
        os.close(descriptor)


def _opened(path: Path) -> int:
    """A descriptor of a lock's file, which is created if missing.

    Raises UserError if it is not a regular file: a link's target would be emptied, a pipe would block.
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
        raise UserError(f"{path}: this is not a lock file, but a link, a folder or a pipe: remove it, and start the same again")
    return descriptor


@contextmanager
def shared(home: Path, name: str, wait: bool = True) -> Iterator[Callable[[], None]]:
    """Like `lock`, between all homes of one store: also holds `name` in the database of `database`.

    Yields a check that raises Unavailable once the lock is lost (the server is gone or ended the session):
    call it before an irreversible step.  Without a database it is a lock of this home alone.  Raises Held,
    UserError for an invalid address or a missing driver, Unavailable if the database does not answer.
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
            with suppress(Unavailable):  # a session that is gone or about to end frees it anyway
                _asked(connection, name, "SELECT pg_advisory_unlock(%s)")
            connection.close()


def database() -> str | None:
    """The PostgreSQL address for locks between homes: LAGLINE_LOCKS, or the tracking store if it is one.

    Raises UserError for any other address in LAGLINE_LOCKS.
    """
    address, store = os.environ.get(VARIABLE, "").strip(), os.environ.get(STORE, "")
    kind, separator, rest = (address or store).partition("://")
    ours = kind.partition("+")[0] in ("postgresql", "postgres") and bool(separator and rest)
    if address and not ours:
        raise UserError(shown(f"{VARIABLE}={address}: write postgresql://USER:PASSWORD@HOST/DATABASE, or leave it out"))
    return f"postgresql://{rest}" if ours else None


def unguarded() -> str | None:
    """A warning if other homes may decide in the same store with nothing to keep them apart; else None."""
    is_sqlite = os.environ.get(STORE, "sqlite:").startswith("sqlite:")
    return None if is_sqlite or database() else f"{shown(os.environ[STORE])}: {ALONE}"


def _connected(address: str, name: str) -> Any:
    """A database session of its own, which identifies itself to those that it keeps waiting."""
    try:
        import psycopg2
    except ModuleNotFoundError:
        why = "the driver of this database is missing (psycopg2): python -m pip install -c constraints.txt -e '.[postgresql]'"
        raise UserError(f"{_source()}: {why}") from None
    try:
        who = f"lagline {os.getpid()} {me()}"[:63]
        options = " ".join(f"-c {setting}={value}" for setting, value in SETTINGS.items())
        session = psycopg2.connect(address, connect_timeout=CONNECT, options=options, application_name=who)
    except psycopg2.Error as error:
        raise _silent(error, f"the lock {name} cannot be taken") from None
    session.autocommit = True
    return session


def _take(connection: Any, name: str, wait: bool) -> None:
    """Takes the lock, or polls until it is free, so that Ctrl-C ends the wait.  Raises Held."""
    while not _asked(connection, name, "SELECT pg_try_advisory_lock(%s)"):
        if not wait:
            raise Held(
                f"{name}: held by another lagline process ({_holder(connection, name)}); wait until it ends and try again"
            )
        time.sleep(AGAIN)


def _holds(connection: Any, name: str) -> None:
    """Raises Unavailable if the session that holds a lock has ended: any query at all shows it."""
    _asked(connection, name, "SELECT %s IS NOT NULL")


def _asked(connection: Any, name: str, query: str) -> Any:
    """The first cell that the session answers to a query whose one parameter is the number of a name.

    Raises Unavailable if the session has ended.
    """
    import psycopg2

    try:
        with connection.cursor() as cursor:
            cursor.execute(query, (number(name),))
            row = cursor.fetchone()
    except psycopg2.Error as error:
        raise _silent(error, f"the lock {name} is lost, and nothing goes on without it") from None
    return row[0] if row else None


def _holder(connection: Any, name: str) -> str:
    """The holder of a lock, as its session identifies itself."""
    query = (
        "SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
        " WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1"
        " AND (l.classid::bigint << 32 | l.objid::bigint) = %s AND l.database = a.datid"
    )
    return shown(str(_asked(connection, name, query) or "unknown")).removeprefix("lagline ")


@cache
def number(name: str) -> int:
    """The signed 64-bit number that stands for a name in PostgreSQL."""
    return int.from_bytes(hashlib.sha256(f"lagline:{name}".encode()).digest()[:8], "big", signed=True)


def _silent(error: Exception, what: str) -> Unavailable:
    """The error for a database that does not answer; `what`: the consequence, a clause."""
    why = " ".join(str(error).split())[:300] or type(error).__name__
    return Unavailable(shown(f"{_source()}: {what} ({why}): start the same command again once the database answers"))


def _source() -> str:
    """The variable that names the database, with its value."""
    name = VARIABLE if os.environ.get(VARIABLE, "").strip() else STORE
    return f"{name}={os.environ[name]}"


def me() -> str:
    """USER@MACHINE of this process."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container may have no name for its user
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
