"""What the sections of a run file are made of: their base class, and the types of names, spans and borders."""

import re
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

MOST = 1e30  # what a 32-bit float surely holds
RESERVED = ("unique_id", "ds", "cutoff")
LEDGER, REALISED = ".promotions", ".realised"  # end the names of experiments that we keep beside that of a run file
DURATION = re.compile(r"^[1-9]\d*(s|m|h|d|w|mo|q|y)$")

Positive = Annotated[int, Field(ge=1)]
NonNegative = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
Text = Annotated[str, StringConstraints(min_length=1, max_length=4096)]


def owner(name: str) -> str | None:
    """The run file beside whose experiment we keep one of this name; None where the name is free."""
    return next((name.removesuffix(end) for end in (LEDGER, REALISED) if name.endswith(end)), None)


def _is_span(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ValueError("give a duration such as 1h, 28d or 1mo, or a whole number of rows")
    if isinstance(value, int) and value < 0:
        raise ValueError("must not be negative")
    if isinstance(value, str) and not DURATION.match(value):
        raise ValueError("not a duration: write a whole number and one of s m h d w mo q y, such as 15m, 1h, 28d, 1mo")
    return value


def _is_border(value: object) -> object:
    if isinstance(value, str) and re.match(r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2})?)?Z?$", value):
        return value
    return _is_span(value)


def as_tuple(value: object) -> object:
    """What a YAML list is kept as."""
    return tuple(value) if isinstance(value, list) else value


Span = Annotated[str | int, BeforeValidator(_is_span)]
Border = Annotated[str | int, BeforeValidator(_is_border)]


class Section(BaseModel):
    """A part of a run file: frozen, strict about types, deaf to unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
