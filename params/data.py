"""Where the table of a run is and what its columns are called; never opens it."""

import re
from typing import Annotated, Self

from pydantic import StringConstraints, field_validator, model_validator

from params.section import Section, Span, Text

# what may hold a ; without ending a statement: quoted names and text, comments
SQL_ASIDE = re.compile(r"'(?:[^']|'')*'|\"[^\"]*\"|`[^`]*`|(\$\w*\$).*?\1|--[^\n]*|/\*.*?\*/", re.DOTALL)


class DataParams(Section):
    """Where the table is and what its columns are called.

    It lies in files (`path`), or is what a `query` gives in the database whose URL the environment variable of `uri` holds.
    """

    path: Text | None = None
    query: Annotated[str, StringConstraints(max_length=100_000)] | None = None
    uri: str | None = None
    id: Text | None = None
    time: Text
    target: Text
    frequency: Span

    @property
    def where(self) -> str:
        """What messages call the source."""
        return f"data.path {self.path}" if self.path is not None else f"data.query ({self.uri})"

    @field_validator("path")
    @classmethod
    def _no_address(cls, value: str | None) -> str | None:
        if value is not None and re.match(r"[\w+]+://", value):
            raise ValueError("an address is no path: for a database write data.query and data.uri: env:NAME")
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
    def _one_source(self) -> Self:
        if (self.query is None) != (self.uri is None):
            raise ValueError(f"give query and uri together: {'uri' if self.uri is None else 'query'} is missing")
        if self.path is None and self.query is None:
            raise ValueError("the key 'path' is missing: give path (files), or query and uri (a database)")
        if self.path is not None and self.query is not None:
            raise ValueError("give path (files), or query and uri (a database), not both")
        return self

    @field_validator("frequency")
    @classmethod
    def _steps_forward(cls, value: str | int) -> str | int:
        if value == 0:
            raise ValueError("a frequency of 0 does not step forward")
        return value
