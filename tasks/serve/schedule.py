"""Whether a scheduled run has anything to do, and whether one that failed is tried again."""

import json
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from models.fit.checkpoint import write_bytes
from params.errors import Unavailable, UserError

WAITS = (30.0, 120.0, 480.0)  # seconds before another try
T = TypeVar("T")
SERVERS = ("httpx", "requests", "urllib3", "sqlalchemy", "sqlite3", "mlflow")  # whose errors are of a server or a store


def again(call: Callable[[], T], waits: tuple[float, ...] = WAITS) -> T:
    """What a call gives, tried again after each of `waits` seconds where its error may pass."""
    for seconds in waits:
        try:
            return call()
        except Exception as error:
            if not may_pass(error):
                raise
            time.sleep(seconds)
    return call()


def may_pass(error: BaseException) -> bool:
    """Whether another try may do: a server that is away, a full disk; not bad data, a bad params file, or a fault of ours."""
    if isinstance(error, UserError):
        return isinstance(error, Unavailable)
    return isinstance(error, OSError) or type(error).__module__.split(".")[0] in SERVERS


def superseded(home: Path, name: str, due: datetime | None) -> bool:
    """Whether a run was due before the last one of its name began: of several that a machine slept over, one is enough."""
    path = _memory(home, name)
    if due is None or not path.exists():
        return False
    return due <= datetime.fromisoformat(json.loads(path.read_text())["began"])


def remember(home: Path, name: str, began: datetime) -> None:
    """A run of a name has begun."""
    path = _memory(home, name)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    write_bytes(path, json.dumps({"began": began.isoformat()}).encode())


def _memory(home: Path, name: str) -> Path:
    return home / "schedule" / f"{name}.json"
