"""What the data checks found, as plain values; never how it was found or how it is shown."""

from dataclasses import dataclass
from typing import Any

from tasks.validate.rules import Unit


@dataclass(frozen=True)
class Finding:
    """What became of a rule: `series` names those that failed it (`table` for the whole), `worst` the value found."""

    name: str
    severity: str
    passed: bool
    feature: str | None
    series: list[str]
    worst: float | None
    low: float | None
    high: float | None
    about: str
    unit: Unit


@dataclass(frozen=True)
class Verdict:
    """The answer of the checks, JSON-ready; `library` is the library's own result."""

    passed: bool
    findings: list[Finding]
    dropped_features: list[str]
    dropped_series: list[str]
    facts: dict[str, Any]
    library: list[dict[str, Any]]

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "Verdict":
        """The verdict that `dataclasses.asdict` took apart, as checks.json holds it."""
        return cls(**{**fields, "findings": [Finding(**finding) for finding in fields["findings"]]})
