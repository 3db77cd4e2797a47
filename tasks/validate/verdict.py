"""What the data checks found, as plain values; `dataclasses.asdict` of a verdict is what checks.json holds."""

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Literal, Self, TypedDict

Unit = Literal["count", "share", "value", "answer"]  # how people read a figure


class Severity(StrEnum):
    """What happens where a rule does not hold: the flow stops, it is reported, or a feature or series is left out."""

    FAIL = "fail"
    WARN = "warn"
    DROP = "drop"


class Extent(TypedDict):
    """How much was checked: the numbers of series and rows, the first and the last time.

    `to_forecast`: the rows after the last observed target, which are none of them, and of how many series.
    """

    series: int
    rows: int
    first: str
    last: str
    to_forecast: tuple[int, int]


class SuiteResult(TypedDict):
    """The result of a Great Expectations suite as JSON; it holds more than is read here."""

    success: bool
    results: list[Any]


@dataclass(frozen=True)
class Finding:
    """The outcome of a rule: `series` names those that failed it (none for the whole table), `worst` the value found."""

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
        """Whether a feature or series is left out for it."""
        return not self.passed and self.severity == Severity.DROP

    def less(self, dropped: list[str]) -> Self:
        """The same without the series that are left out anyway."""
        return replace(self, series=[name for name in self.series if name not in dropped])


@dataclass(frozen=True)
class Verdict:
    """The answer of the checks, JSON-ready; `library` holds the results of Great Expectations.

    `told`: what is said of the table whatever the outcome."""

    passed: bool
    findings: list[Finding]
    dropped_features: list[str]
    dropped_series: list[str]
    facts: Extent
    library: list[SuiteResult]
    told: list[str] = field(default_factory=list)
