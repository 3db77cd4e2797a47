"""The results of the data checks as plain values; checks.json is `dataclasses.asdict` of a verdict."""

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Literal, Self, TypedDict

Unit = Literal["count", "share", "value", "answer"]  # how a figure is displayed


class Severity(StrEnum):
    """The effect of a broken rule: the flow stops, it is reported, or a feature or series is dropped."""

    FAIL = "fail"
    WARN = "warn"
    DROP = "drop"


class Extent(TypedDict):
    """What was checked: numbers of series and rows, first and last time.

    `to_forecast`: the rows after the last observed target (not included above), and their series.
    """

    series: int
    rows: int
    first: str
    last: str
    to_forecast: tuple[int, int]


class SuiteResult(TypedDict):
    """The result of a Great Expectations suite as JSON, of which only this is read."""

    success: bool
    results: list[Any]


@dataclass(frozen=True)
class Finding:
    """The outcome of a rule: `series` that failed it (empty for table rules), and the `worst` value."""

    name: str
    severity: Severity
    passed: bool
    feature: str | None
    series: list[str]
    worst: float | None
    low: float | None
    high: float | None
    about: str
    unit: Unit

    @property
    def failed(self) -> bool:
        """Whether it stops the flow."""
        return not self.passed and self.severity == Severity.FAIL

    @property
    def dropped(self) -> bool:
        """Whether it drops a feature or series."""
        return not self.passed and self.severity == Severity.DROP

    def less(self, dropped: list[str]) -> Self:
        """The same without series that are dropped anyway."""
        return replace(self, series=[name for name in self.series if name not in dropped])


@dataclass(frozen=True)
class Verdict:
    """The answer of the checks, JSON-ready; `library` holds the results of Great Expectations.

    `told`: remarks on the table whatever the outcome."""

    passed: bool
    findings: list[Finding]
    dropped_features: list[str]
    dropped_series: list[str]
    facts: Extent
    library: list[SuiteResult]
    told: list[str] = field(default_factory=list)

    @property
    def failed(self) -> list[Finding]:
        """The findings that stop a comparison."""
        return [finding for finding in self.findings if finding.failed]
