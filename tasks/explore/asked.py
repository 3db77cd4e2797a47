"""What the caller of `init` specifies about a table; the rest is guessed."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from params.data import CsvParams
from params.errors import UserError
from params.section import DURATION, zone_name
from params.strict_yaml import parse_yaml
from tasks.load.files import did_you_mean
from tasks.load.text import listed


@dataclass(frozen=True)
class Asked:
    """The values of each option as given; empty if not given.  `horizon`: rows, or a duration such as 28d."""

    target: str | None = None
    ids: tuple[str, ...] = ()
    times: tuple[str, ...] = ()
    horizon: str | None = None
    future: tuple[str, ...] = ()
    static: tuple[str, ...] = ()
    time_format: str | None = None
    time_zone: str | None = None
    csv: str | None = None

    def of(self, known: Sequence[str]) -> "Asked":
        """The same with column names only: each word is one name, or several separated by commas.

        Raises UserError for a word that is not a column, and for a column given two roles.
        """
        target = next(iter(_named((self.target,), known, "--target")), None) if self.target else None
        ids, times = _named(self.ids, known, "--id"), _named(self.times, known, "--time")
        future, static = _named(self.future, known, "--future"), _named(self.static, known, "--static")
        parts = {"--target": (target,) if target else (), "--id": ids, "--time": times, "--future": future, "--static": static}
        taken: dict[str, str] = {}
        for option, names in parts.items():
            for name in names:
                if name in taken:
                    both = f"{taken[name]} and {option}" if taken[name] != option else f"{option} twice"
                    raise UserError(f"{both}: the column {name!r} can be one thing alone")
                taken[name] = option
        return replace(self, target=target, ids=ids, times=times, future=future, static=static)

    @property
    def form(self) -> dict[str, Any]:
        """The given keys of data.csv.  Raises UserError for invalid ones."""
        if self.csv is None:
            return {}
        try:
            return CsvParams(**parse_yaml(self.csv, "--csv")[0]).model_dump(exclude_unset=True)
        except (ValidationError, TypeError) as error:
            problem = error.errors()[0] if isinstance(error, ValidationError) else {"loc": (), "msg": str(error)}
            key, what = ".".join(map(str, problem["loc"])), str(problem["msg"]).removeprefix("Value error, ")
            raise UserError(
                f'--csv {self.csv[:100]}: {key}: {what}; write it like \'{{separator: ";", decimal: ","}}\''
            ) from None

    @property
    def zone(self) -> str | None:
        """The zone of local times.  Raises UserError for an unknown zone."""
        try:
            return None if self.time_zone is None else zone_name(self.time_zone)
        except ValueError as error:
            raise UserError(f"--time-zone {self.time_zone}: {error}") from None

    @property
    def names(self) -> tuple[str, ...]:
        """All columns that were named."""
        return (*self.ids, *self.times, *self.future, *self.static, *([self.target] if self.target else []))

    @property
    def steps(self) -> str | int | None:
        """The horizon as a run file writes a span.  Raises UserError if it is invalid."""
        if self.horizon is None:
            return None
        text = self.horizon.strip()
        if re.fullmatch(r"[1-9]\d{0,4}", text, re.ASCII) and int(text) <= 10_000:
            return int(text)
        if not DURATION.match(text) or len(text) > 9:
            raise UserError(
                f"--horizon {text[:40]}: write a number of steps from 1 to 10,000, or a duration such as 28d or 12mo"
            )
        return text


def _named(words: Sequence[str | None], known: Sequence[str], option: str) -> tuple[str, ...]:
    """Each word as a column, or split at commas into columns."""
    columns: list[str] = []
    for word in filter(None, words):
        parts = [word] if word in known else [part.strip() for part in word.split(",")]
        for part in parts:
            if part not in known:
                hint = did_you_mean(part, known)
                raise UserError(f"{option} {word}: there is no column {part!r}; columns found: {listed(list(known))}{hint}")
            columns.append(part)
    return tuple(columns)
