"""Whether a scheduled run has anything to do, which runs were missed, and whether a failed one is retried."""

import errno
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path

from models.fit.checkpoint import write_bytes
from params.errors import Unavailable, UserError

WAITS = (30.0, 120.0, 480.0)  # seconds before each retry of a scheduled run
SERVERS = (
    "httpx",
    "requests",
    "urllib3",
    "sqlalchemy",
    "sqlite3",
    "mlflow",
)  # libraries whose errors come from a server or a store
# a wrong or inaccessible path: waiting does not help
PATHS = (FileNotFoundError, FileExistsError, PermissionError, NotADirectoryError, IsADirectoryError)
PATH_ERRNOS = (errno.ELOOP, errno.ENAMETOOLONG, errno.EROFS, errno.EINVAL, errno.ENOTEMPTY, errno.EXDEV)


@dataclass(frozen=True)
class Memory:
    """What is known of a name's runs.

    When the last one `began`; when the running or interrupted one did (`open`); up to when the due times of
    `cron` in `zone` are `accounted` for: each had its run or was reported as missed.
    """

    began: datetime | None = None
    open: datetime | None = None
    accounted: datetime | None = None
    cron: str | None = None
    zone: str | None = None

    def ahead(self, now: datetime) -> datetime | None:
        """One of its times that lies in the future, from a clock that was ahead; None if there is none."""
        return max((time for time in (self.began, self.open, self.accounted) if time is not None and time > now), default=None)

    def without(self, now: datetime) -> "Memory":
        """The same without times in the future."""
        some = {name: None for name in ("began", "open", "accounted") if (getattr(self, name) or now) > now}
        return replace(self, **some)


@dataclass(frozen=True)
class Missed:
    """Scheduled runs that did not happen: when they were `due`, and when an interrupted one began."""

    due: Sequence[datetime]
    cut_off: datetime | None = None

    @property
    def runs(self) -> int:
        """The number of runs."""
        return len(self.due) + (self.cut_off is not None)

    @property
    def since(self) -> datetime:
        """The first of them."""
        return min([*self.due, *([self.cut_off] if self.cut_off else [])])

    @property
    def words(self) -> str:
        """The same in words."""
        parts = []
        if self.due:
            first, last = _shown(min(self.due)), _shown(max(self.due))
            some = f"a run did not happen, due at {first}"
            if len(self.due) > 1:
                some = f"{len(self.due):,} runs did not happen, due from {first} to {last}"
            parts.append(f"{some} (the machine was off or asleep, the schedule not served, or another run at work)")
        if self.cut_off:
            parts.append(f"the run that began at {_shown(self.cut_off)} was cut off before its end")
        return "; ".join(parts)


def missed(due: Sequence[datetime], starting: datetime | None, cut_off: datetime | None) -> Missed | None:
    """The `due` runs that did not happen, except the one starting now, and an interrupted one; or None."""
    others = [time for time in due if starting is None or abs((time - starting).total_seconds()) >= 1]
    return Missed(others, cut_off) if others or cut_off else None


def may_pass(error: BaseException) -> bool:
    """Whether a retry may help: an unreachable server or full disk, not bad data, a wrong path or a bug."""
    if isinstance(error, UserError):
        return isinstance(error, Unavailable)
    if isinstance(error, PATHS) or (isinstance(error, OSError) and error.errno in PATH_ERRNOS):
        return False
    return isinstance(error, OSError) or type(error).__module__.split(".")[0] in SERVERS


def superseded(home: Path, name: str, due: datetime | None, now: datetime | None = None) -> bool:
    """Whether a run was due before the last one of its name began: after sleep, one of several is enough.

    A start in the future says nothing: the clock was ahead.
    """
    began = recall(home, name).began
    return due is not None and began is not None and due <= began <= (now or datetime.now(UTC))


def remember(home: Path, name: str, memory: Memory) -> None:
    """Stores what is known of a name's runs."""
    path = _memory(home, name)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    known = {key: value.isoformat() if isinstance(value, datetime) else value for key, value in asdict(memory).items()}
    write_bytes(path, json.dumps(known).encode())


def recall(home: Path, name: str) -> Memory:
    """What is known of a name's runs; nothing if the file is unreadable: better an extra run than none."""
    try:
        known = json.loads(_memory(home, name).read_bytes())
        texts = {field.name: str(known[field.name]) for field in fields(Memory) if known.get(field.name)}
        began, at_work, accounted = (_utc(texts.get(key)) for key in ("began", "open", "accounted"))
        return Memory(began, at_work, accounted, texts.get("cron"), texts.get("zone"))
    except (OSError, ValueError, AttributeError, RecursionError):
        return Memory()


def _shown(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _utc(text: str | None) -> datetime | None:
    time = datetime.fromisoformat(text) if text else None
    return time if time is None or time.tzinfo else time.replace(tzinfo=UTC)


def _memory(home: Path, name: str) -> Path:
    return home / "schedule" / f"{name}.json"
