"""Locks between processes of one machine (flock), freed by the kernel however their holder dies; never a file to clean up."""

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from params.errors import UserError


class Held(UserError):
    """Another process holds the lock."""


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
