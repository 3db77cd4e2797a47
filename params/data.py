"""Where the table of a run is and what its columns are called."""

import codecs
import json
import math
import re
from datetime import date
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, StringConstraints, field_validator, model_validator

from params.section import MOST, NonNegative, Section, Span, Text, as_tuple, zone_name
from params.shown import masked

# places where a ; does not end a statement: quoted names, strings, comments
SQL_ASIDE = re.compile(r"'(?:[^']|'')*'|\"[^\"]*\"|`[^`]*`|(\$\w*\$).*?\1|--[^\n]*|/\*.*?\*/", re.DOTALL)

YEARS = "YyGFD"
DIRECTIVES = "YymbBhdejqGVuHkIlMSfpPzaAFTRD%"  # supported in data.time_format
HOLIDAY_CODE = re.compile(r"[A-Z][A-Z0-9]{1,4}(-[A-Za-z0-9]{1,6})?", re.ASCII)

Names = Annotated[Text | tuple[Text, ...], BeforeValidator(as_tuple)]


ADDRESS = re.compile(r"(?:s3a?|gs|gcs|az|azure|abfss?|https?)://", re.IGNORECASE)
NOT_OF_FILES = ("unicode-escape", "raw-unicode-escape", "idna", "punycode", "undefined", "utf-7", "mbcs", "oem")


def in_environment(path: str) -> str | None:
    """The variable that holds a table's address, if `path` is env:NAME; else None."""
    match = re.fullmatch(r"env:([A-Za-z_][A-Za-z0-9_]*)", path)
    return match[1] if match else None


def no_table(path: str) -> str | None:
    """Why a text cannot be a table's path, and what to write instead; None if it can."""
    if re.match(r"[\w+-]+:/", path) and not ADDRESS.match(path):
        return (
            "an address is no path, unless it begins with s3://, gs://, az://, abfss:// or https://: write files without "
            "file:, and for a database data.query and data.uri: env:NAME"
        )
    if path.startswith("env:") and in_environment(path) is None:
        return "write env:NAME, NAME being an environment variable that holds the address of a table"
    if ADDRESS.match(path) and masked(path) != path:
        return (
            "this address holds a password, a key or a signature, which belongs in no file and no command: put the address "
            "into an environment variable and write env:NAME in its place (of s3://, gs:// and az:// the credentials alone)"
        )
    return None


def _as_tab(value: object) -> object:
    return "\t" if value in ("\\t", "tab", "TAB") else value


def _yaml(value: object) -> str:
    return str(value) if isinstance(value, int) or re.fullmatch("[A-Za-z][\\w-]*", str(value)) else json.dumps(value)


class CsvParams(Section):
    """The format of a table's text files, where it differs from what their ending suggests.

    `skip`: lines before the header.
    """

    separator: Annotated[str, BeforeValidator(_as_tab)] | None = None  # between two cells; null: by the ending
    decimal: Literal[".", ","] = "."  # the decimal mark
    thousands: str | None = None  # what groups digits, such as "."
    encoding: Text = "utf-8"  # any that Python knows, such as cp1252
    skip: NonNegative = 0  # lines before the header

    @property
    def written(self) -> str:
        """What differs from the defaults, in the syntax of a run file."""
        return "{" + ", ".join(f"{key}: {_yaml(value)}" for key, value in self.model_dump(exclude_defaults=True).items()) + "}"

    @property
    def is_utf8(self) -> bool:
        """Whether the bytes are UTF-8, with or without a byte order mark."""
        return codecs.lookup(self.encoding).name in ("utf-8", "utf-8-sig", "ascii")

    @field_validator("separator")
    @classmethod
    def _separates(cls, value: str | None) -> str | None:
        if value is not None and (len(value) != 1 or not value.isascii() or value.isalnum() or value in '"\r\n\0.+-'):
            raise ValueError('write one character that stands between two cells, such as ";", "|" or "\\t" (a tab)')
        return value

    @field_validator("thousands")
    @classmethod
    def _groups(cls, value: str | None) -> str | None:
        if value is not None and (len(value) != 1 or value.isalnum() or value in '"\r\n\0+-\u2212'):
            raise ValueError('write the one character that stands between thousands: ".", ",", "\'" or " " (any space)')
        return value

    @field_validator("encoding")
    @classmethod
    def _is_known(cls, value: str) -> str:
        try:
            if codecs.lookup(value)._is_text_encoding and codecs.lookup(value).name.replace("_", "-") not in NOT_OF_FILES:
                return value
        except (LookupError, ValueError):
            pass
        raise ValueError("no encoding of text that is known here: write one such as utf-8, utf-16, cp1252 or latin-1")

    @model_validator(mode="after")
    def _two_marks(self) -> Self:
        if self.decimal == self.thousands:
            raise ValueError(f"decimal and thousands are both {self.decimal!r}: no number could be read")
        return self


class DataParams(Section):
    """Where the table is and what its columns are called.

    It lies in files (`path`), or is the result of `query` in the database whose URL is in the environment
    variable named by `uri`.  `id`, `time`: one column, or several that together name a series or a time.
    `lowest`, `highest`, `integer`: bounds on what a forecast can be.
    """

    path: Text | None = None  # a file, a folder, a glob, an address, or env:NAME
    query: Annotated[str, StringConstraints(max_length=100_000)] | None = None  # one SELECT, in place of path
    uri: str | None = None  # env:NAME, the variable that holds the URL of the database
    csv: CsvParams | None = None  # how text files are written
    id: Names | None = None  # the columns that name a series; null: there is one series
    time: Names  # the columns that say the time
    time_zone: Text | None = None  # whose clocks local times are of, such as Europe/Berlin
    time_format: Text | None = None  # how text says a time, such as '%d/%m/%Y %H:%M'
    time_unit: Literal["s", "ms", "us", "ns"] | None = None  # of whole numbers that count from 1970
    target: Text  # the column to forecast; it becomes y
    frequency: Span  # the distance of two rows of a series
    holidays: Annotated[Text | tuple[Text, ...], BeforeValidator(as_tuple)] | None = None  # dates, or codes such as DE
    lowest: Annotated[float, Field(ge=-MOST, le=MOST)] | None = None  # no forecast is below
    highest: Annotated[float, Field(ge=-MOST, le=MOST)] | None = None  # no forecast is above
    integer: bool = False  # forecasts are rounded to whole numbers

    @property
    def ids(self) -> tuple[str, ...]:
        """The columns that together name a series; empty for a single series."""
        return () if self.id is None else (self.id,) if isinstance(self.id, str) else self.id

    @property
    def times(self) -> tuple[str, ...]:
        """The columns that together give a time."""
        return (self.time,) if isinstance(self.time, str) else self.time

    @property
    def where(self) -> str:
        """The name of the source in messages."""
        return f"data.path {self.path}" if self.path is not None else f"data.query ({self.uri})"

    @field_validator("id", "time")
    @classmethod
    def _some_columns(cls, value: str | tuple[str, ...] | None) -> str | tuple[str, ...] | None:
        if value == ():
            raise ValueError("the list is empty: name a column, or several that belong together, such as [Store, Dept]")
        return value

    @field_validator("time_zone")
    @classmethod
    def _a_zone(cls, value: str | None) -> str | None:
        return None if value is None else zone_name(value)

    @field_validator("holidays")
    @classmethod
    def _dates_or_codes(cls, value: str | tuple[str, ...] | None) -> str | tuple[str, ...] | None:
        for text in (value,) if isinstance(value, str) else value or ():
            if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text, re.ASCII):
                try:
                    date.fromisoformat(text)
                except ValueError:
                    raise ValueError(f"{text} is no date of the calendar") from None
            elif not HOLIDAY_CODE.fullmatch(text):
                raise ValueError(
                    f"{text[:40]!r} is neither a date nor a code: write dates such as 2024-12-25, a country such as DE, a part "
                    "of one such as DE-BY, or an exchange such as XNYS"
                )
        return value

    @field_validator("path")
    @classmethod
    def _names_a_table(cls, value: str | None) -> str | None:
        if value is not None and (why := no_table(value)) is not None:
            raise ValueError(why)
        return value

    @field_validator("query")
    @classmethod
    def _reads_once(cls, value: str | None) -> str | None:
        bare = SQL_ASIDE.sub(" ", value or "").strip()
        if value is not None and not re.match(r"\W*(select|with|values|table)\b", bare, re.IGNORECASE):
            raise ValueError("write one SQL query that reads: it begins with SELECT, WITH, VALUES or TABLE")
        if ";" in bare.rstrip("; \t\r\n"):
            raise ValueError("these are several statements: write one query")
        return value

    @field_validator("uri")
    @classmethod
    def _in_the_environment(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"env:[A-Za-z_][A-Za-z0-9_]*", value):
            raise ValueError(
                "write env:NAME, NAME being an environment variable that holds the database's URL: a URL may hold a password, "
                "which belongs in no file"
            )
        return value

    @model_validator(mode="after")
    def _has_a_clock(self) -> Self:
        for key in ("time_zone", "holidays") if isinstance(self.frequency, int) else ():
            if getattr(self, key) is not None:
                raise ValueError(f"{key}: integer time steps have no calendar; take it out")
        return self

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.query is None) != (self.uri is None):
            raise ValueError(f"give query and uri together: {'uri' if self.uri is None else 'query'} is missing")
        if self.path is None and self.query is None:
            raise ValueError("the key 'path' is missing: give path (files), or query and uri (a database)")
        if self.path is not None and self.query is not None:
            raise ValueError("give path (files), or query and uri (a database), not both")
        return self

    @field_validator("time_format")
    @classmethod
    def _can_be_read(cls, value: str | None) -> str | None:
        directives = re.findall(r"%[-_0:#.3-9]*(.?)", value or "")
        unknown = [letter for letter in directives if letter not in DIRECTIVES or not letter]
        hints = {"s": "; for seconds since 1970 write data.time_unit: s", "Z": "; a zone is named by data.time_zone"}
        if unknown:
            raise ValueError(
                f"%{unknown[0]} cannot be read: known are {' '.join(f'%{letter}' for letter in DIRECTIVES)}"
                f"{hints.get(unknown[0], '')}"
            )
        if any(
            sum(letter in part for letter in directives) > 1
            for part in (YEARS, "mbBhqjFD", "deFD", "HkIlTR", "MTR", "STf", "pP", "z")
        ):
            raise ValueError("it says one part of a time twice")
        if value is not None and not set(directives) & set(YEARS):
            raise ValueError("it says no year: write %Y, or %y for two digits")
        if set(directives) & set("Il") and not set(directives) & set("pP"):
            raise ValueError("%I is an hour of twelve: write %p for AM and PM beside it, or %H")
        return value

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        given = [key for key in ("time_format", "time_unit") if getattr(self, key) is not None]
        if len(given) == 2:
            raise ValueError("give time_format (texts) or time_unit (numbers since 1970), not both")
        if given and isinstance(self.frequency, int):
            raise ValueError(f"{given[0]} makes times of what {self.time!r} holds: write frequency as a duration, such as 1h")
        if self.time_unit is not None and len(self.times) > 1:
            raise ValueError("time_unit reads one column of numbers since 1970: name that column alone in data.time")
        if not self.times or len(set(self.times)) < len(self.times):
            raise ValueError("time: name each column once")
        return self

    @model_validator(mode="after")
    def _has_room(self) -> Self:
        low, high = self.lowest, self.highest
        if low is not None and high is not None and low > high:
            raise ValueError(f"lowest ({low:,.15g}) is above highest ({high:,.15g}): no forecast lies between them")
        if self.integer and low is not None and high is not None and math.ceil(low) > math.floor(high):
            raise ValueError(f"integer: no whole number lies between lowest ({low:,.15g}) and highest ({high:,.15g})")
        return self

    @field_validator("frequency")
    @classmethod
    def _steps_forward(cls, value: str | int) -> str | int:
        if value == 0:
            raise ValueError("a frequency of 0 does not step forward")
        return value
