"""What `tune` may change in a variant: the section `search` of its file, and the file with the best values.

A key is an argument of the network (`hidden_size`), the training or the scaling (`training.learning_rate`).
"""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from params.errors import UserError, clipped
from params.section import Section, as_tuple
from params.strict_yaml import Lines

Value = bool | int | float | str
SECTIONS = ("network", "scaling", "training")  # of a run, which a variant may override
TUNABLE = {
    "training": ("learning_rate", "weight_decay", "clip_norm", "batch_size", "average_epochs"),
    "scaling": ("per", "method", "window", "target"),
}
DIGITS = 4  # significant digits of a drawn value, so that a file holds exactly what was tried
MOST_DIMENSIONS, MOST_CHOICES = 30, 50


class Dimension(Section):
    """The values of one key: `low` to `high`, uniform or log-uniform, in steps of `step`; or `choices`.

    Integers are drawn if both ends are integers.
    """

    low: int | float | None = None
    high: int | float | None = None
    log: bool = False
    step: Annotated[float, Field(gt=0)] | Annotated[int, Field(ge=1)] | None = None
    choices: Annotated[tuple[Value, ...], BeforeValidator(as_tuple), Field(max_length=MOST_CHOICES)] = ()

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        low, high = self.low, self.high
        if self.choices:
            if (low, high, self.step) != (None, None, None) or self.log:
                raise ValueError("choices stand alone: leave low, high, log and step out")
            if len(self.choices) < 2 or len({(type(choice), choice) for choice in self.choices}) < len(self.choices):
                raise ValueError("write at least two choices, each once, such as choices: [16, 32, 64]")
            return self
        if low is None or high is None:
            raise ValueError("write low and high, such as {low: 16, high: 256, log: true}, or choices: [a, b]")
        if low >= high:
            raise ValueError(f"low {low} must lie below high {high}")
        if self.log and (low <= 0 or self.step is not None):
            raise ValueError("log: true needs a low above 0, and no step")
        if self.step is not None and (self.step > high - low or (self.whole and not isinstance(self.step, int))):
            raise ValueError(f"step {self.step} must be at most high - low, and whole where they are")
        return self

    @property
    def whole(self) -> bool:
        """Whether only integers are drawn."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def holds(self, value: Value | None) -> bool:
        """Whether a value may be drawn."""
        if self.choices:
            return any(type(choice) is type(value) and choice == value for choice in self.choices)
        if value is None or isinstance(value, bool | str) or self.low is None or self.high is None:
            return False
        if not self.low <= value <= self.high or (self.whole and not isinstance(value, int)):
            return False
        steps = 0.0 if self.step is None else (value - self.low) / self.step
        return math.isclose(steps, round(steps), abs_tol=1e-9)

    def rounded(self, value: Value) -> Value:
        """A drawn value as it is tried and stored: rounded, and within the ends."""
        if self.choices or self.whole or isinstance(value, bool | str) or self.low is None or self.high is None:
            return value
        return float(min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high))

    @property
    def ends(self) -> tuple[Value, ...]:
        """Extreme values, to test in place of all others: low and high, or every choice."""
        extremes = (self.low, self.high) if not self.choices else self.choices
        return tuple(value for value in extremes if value is not None)


def check_keys(search: object, lines: Lines, file: str) -> None:
    """Raises UserError, with its line, for a key that cannot be searched."""
    if not isinstance(search, Mapping):
        return  # the schema reports it
    if len(search) > MOST_DIMENSIONS:
        raise UserError(f"{lines[('search',)]}: search: {len(search)} keys are too many to search; {MOST_DIMENSIONS} at most")
    for key in search:
        where, (section, name) = lines.get(("search", key), file), path_of(str(key))
        if section in TUNABLE and name not in TUNABLE[section]:
            known = ", ".join(f"{section}.{tunable}" for tunable in TUNABLE[section])
            raise UserError(f"{where}: search: {clipped(str(key))} is not searched; of the {section}: {known}")
        if section == "network" and "." in name:
            what = "the data and how they are cut and judged are the run's, not a variant's"
            raise UserError(
                f"{where}: search: {clipped(str(key))} is not searched: {what}; write an argument of the network, such as "
                "hidden_size, or training.learning_rate"
            )


def path_of(key: str) -> tuple[str, str]:
    """Where a searched key belongs in a run: (section, name)."""
    section, dot, name = key.partition(".")
    return (section, name) if dot and section in TUNABLE else ("network", key)


def tuned(content: Mapping[str, Any], variant: str, values: Mapping[str, Value], about: str) -> dict[str, Any]:
    """The content of a variant file that equals another (its `content`) except for some values.

    It draws the same random numbers as the other, so that its fit is that of the trial.
    """
    head: dict[str, Any] = {"family": content.get("family"), "about": about, "draws_as": content.get("draws_as", variant)}
    sections = {name: dict(content.get(name) or {}) for name in SECTIONS}
    for key, value in values.items():
        section, name = path_of(key)
        sections[section][name] = value
    return head | {name: section for name, section in sections.items() if section}
