"""The arguments of flows/api.py as the plan of a run: a run file drafted as `init` does, and settings."""

import difflib
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from params.errors import UserError
from params.load import load_plan, load_run

if TYPE_CHECKING:
    from params.load import Plan
    from params.schema import RunParams
    from tasks.explore.asked import Asked
    from tasks.load.memory import Table

SECTIONS = ("data", "windows", "split", "validation", "scaling", "network", "training", "evaluation", "promotion")
Names = str | Sequence[str]
Settings = Mapping[str, Any] | Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a caller said: a table, the roles of its columns, a run file, and values of its keys.

    `horizon`: rows, or a duration such as 28d.  `sections`: by section, or `settings`: dotted keys with
    values, or texts as of `--set`.
    """

    table: "Table | None" = None
    id: Names | None = None
    time: Names | None = None
    target: str | None = None
    horizon: int | str | None = None
    future: Names = ()
    static: Names = ()
    variants: Names | None = None
    name: str | None = None
    params: str | Path | None = None
    sections: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises UserError for what can be known to be wrong before a table is read."""
        known = (*SECTIONS, "settings")
        for key in self.sections:
            if key not in known:
                close = difflib.get_close_matches(key, (*known, *(own for own in vars(self) if own != "sections")), n=1)
                hint = f"; did you mean {close[0]}=?" if close else f"; sections are {', '.join(SECTIONS)}"
                raise UserError(f"{key}=: there is no such argument{hint}")
        for key in SECTIONS:
            if not isinstance(self.sections.get(key, {}), Mapping):
                raise UserError(f"{key}=: write its keys and values as a dict, such as {key}={{...}}")
        if self.name is not None:
            from tasks.registry.versions import check_name

            check_name(self.name)
        if self.table is None and self.params is None:
            raise UserError(
                "give a table (a polars or pandas DataFrame, or a path), or the run file of one: params='sales.yaml'"
            )
        if self.params is not None and _names(self.static):
            raise UserError("static=: with a run file, say what kind they are: windows={'static': {'size': 'numeric'}}")

    def settings(self) -> list[str]:
        """What was said beyond the table, as texts of `--set`; each replaces what a run file says there."""
        own: dict[str, Any] = {"variants": None if self.variants in (None, "all") else _names(self.variants)}
        if self.params is not None:  # a drafted file says these itself
            own |= {"name": self.name, "data.id": self.id, "data.time": self.time, "data.target": self.target}
            own |= {"windows.horizon": self.horizon, "windows.future": _names(self.future) or None}
        by_key = {key: value for key, value in own.items() if value is not None}
        for section in SECTIONS:
            by_key |= {f"{section}.{key}": value for key, value in self.sections.get(section, {}).items()}
        texts = [f"{key}={_text(value)}" for key, value in by_key.items()]
        given = self.sections.get("settings", ())
        if isinstance(given, Mapping):
            return texts + [f"{key}={_text(value)}" for key, value in given.items()]
        return texts + ([given] if isinstance(given, str) else list(given))


@contextmanager
def planned(wanted: Wanted, home: Path) -> Iterator["Plan"]:
    """The plan of a comparison; a table in memory and the drafted run file are kept in the state folder.

    Raises UserError for a table that cannot be forecast, or values that no run file may have.
    """
    if wanted.table is None:
        yield load_plan(wanted.params or "", wanted.settings() + _all(wanted))
        return
    from tasks.load.memory import called, in_memory, keep

    path = str(wanted.table)
    if in_memory(wanted.table):
        if wanted.name is None and wanted.params is None:
            raise UserError("name=: say what a table in memory is called, such as name='sales'")
        path = str(keep(_checked(wanted), home))
    with called(path):
        file, settings = _run_file(wanted, path, home / "tables")
        yield load_plan(file, settings + _all(wanted))


@contextmanager
def run_of(wanted: Wanted, home: Path, trains: bool = True) -> Iterator["RunParams"]:
    """The run alone, for a call that keeps nothing; where nothing is trained, its split is ignored."""
    above = [] if trains else ["split={validation: 1, test: 1}", "variants=[ridge]"]
    if wanted.table is None:
        yield load_run(wanted.params or "", wanted.settings() + above)
        return
    from tempfile import TemporaryDirectory

    from tasks.load.memory import in_memory, opened

    table = _checked(wanted) if in_memory(wanted.table) else wanted.table
    with opened(table, home) as path, TemporaryDirectory(prefix=".table-", dir=home) as folder:
        file, settings = _run_file(wanted, path, Path(folder))
        yield load_run(file, settings + above)


def _checked(wanted: Wanted) -> Any:
    """The frame of a table in memory, with every column that was named."""
    from tasks.load.memory import frame_of, require_columns

    assert wanted.table is not None
    times = _names(wanted.time)
    frame = frame_of(wanted.table, times[0] if len(times) == 1 else None)
    named = {"id": wanted.id, "time": wanted.time, "target": wanted.target, "future": wanted.future, "static": wanted.static}
    require_columns(frame, {key: _names(names) for key, names in named.items()})
    return frame


def _run_file(wanted: Wanted, path: str, folder: Path) -> tuple[Path, list[str]]:
    """The run file of a table at `path`, drafted into `folder` if none was given, and the settings."""
    if wanted.params is not None:
        here = {"path": str(Path(path).absolute()) if Path(path).exists() else path, "query": None, "uri": None, "csv": None}
        return Path(wanted.params), [f"data.{key}={_text(value)}" for key, value in here.items()] + wanted.settings()
    from tasks.explore.look import look_at
    from tasks.files import placed

    look = look_at(path, folder / "run.yaml", False, _asked(wanted))
    text = replace(look.draft, name=wanted.name or look.draft.name).text()
    folder.mkdir(mode=0o700, exist_ok=True)
    file = folder / f"{wanted.name or look.draft.name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.yaml"
    with placed(file) as partial:
        partial.write_text(text, encoding="utf-8")
    return file, wanted.settings()


def _asked(wanted: Wanted) -> "Asked":
    from tasks.explore.asked import Asked

    return Asked(
        target=wanted.target,
        ids=_names(wanted.id),
        times=_names(wanted.time),
        horizon=None if wanted.horizon is None else str(wanted.horizon),
        future=_names(wanted.future),
        static=_names(wanted.static),
    )


def _all(wanted: Wanted) -> list[str]:
    """The setting of `variants="all"`."""
    from params.load import variant_names, variants_setting

    return [variants_setting(variant_names())] if wanted.variants == "all" else []


def _names(given: Names | None) -> tuple[str, ...]:
    return () if given is None else (given,) if isinstance(given, str) else tuple(given)


def _text(value: Any) -> str:
    """A value as a run file writes it.  Raises UserError for one that no run file can hold."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, default=_plain)
    except (TypeError, ValueError) as error:
        raise UserError(f"{str(value)[:60]}: no run file can hold this ({error})") from None


def _plain(value: Any) -> Any:
    """What JSON has no word for: dates, paths, numbers of numpy, tuples and sets."""
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"a {type(value).__name__} is no number, text, list or dict")
