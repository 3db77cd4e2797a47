"""The rows of a database query, batch by batch, read-only; the URL and password are never shown.

Every driver message goes through `_masked`, since its text may contain either.
"""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from params.errors import UserError
from params.shown import masked

if TYPE_CHECKING:
    from sqlalchemy import URL

BATCH = 50_000  # rows in memory at a time
SECRET = re.compile(r"pass|pwd|secret|token|key|odbc_connect", re.IGNORECASE)
LONGEST_REASON = 300

Batch = tuple[list[str], Sequence[Any]]  # column names, and rows


def url_text(uri: str) -> str:
    """The database URL in the variable of `env:NAME`.  Raises UserError if it is empty."""
    name = uri.removeprefix("env:")
    text = os.environ.get(name, "").strip()
    if not text:
        raise UserError(
            f"data.uri {uri}: the environment variable {name} is not set, or empty; set it to the database's URL, such as "
            "sqlite:////folder/file.db or postgresql://user@host/name"
        )
    return text


def read_batches(query: str, uri: str) -> Iterator[Batch]:
    """Column names with at most BATCH rows at a time; an empty result yields one empty batch.

    Raises UserError, without the URL, for any error of SQLAlchemy or the driver.
    """
    import sqlalchemy

    url = _url_of(uri, url_text(uri))
    try:
        engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool, hide_parameters=True)
        with engine.connect() as plain:
            connection = plain.execution_options(
                stream_results=True, max_row_buffer=BATCH, no_parameters=True, **_read_only(url)
            )
            if url.get_backend_name() == "sqlite":
                connection.exec_driver_sql("PRAGMA query_only = ON")
            result = connection.exec_driver_sql(query)  # verbatim: `:name` and `%` are not parameters
            if not result.returns_rows:
                raise UserError(f"data.query ({uri}): this statement gives no table; write a SELECT")
            names, some = list(result.keys()), False
            for rows in result.partitions(BATCH):
                some = True
                yield names, rows
            if not some:
                yield names, []
    except ImportError as error:
        name = error.name or "its driver"
        raise UserError(
            f"data.uri {uri}: the driver of {url.drivername} is missing ({name}); install it: pip install {name}"
        ) from None
    except UserError:
        raise
    except Exception as error:  # of any kind: its text may contain the URL
        raise UserError(f"data.query ({uri}): the database says: {_reason(error, url)}") from None


def _url_of(uri: str, text: str) -> "URL":
    """The parsed URL.  Raises UserError if invalid, or for a missing SQLite file (SQLite would create it)."""
    import sqlalchemy

    try:
        url = sqlalchemy.make_url(text)
        url.get_dialect()
    except (sqlalchemy.exc.ArgumentError, ValueError, ImportError):
        raise UserError(
            f"data.uri {uri}: the environment variable {uri[4:]} holds no database URL that can be read here (its value is "
            "not shown); write it like sqlite:////folder/file.db or postgresql://user@host/name"
        ) from None
    file = url.database or ""
    if url.get_backend_name() == "sqlite" and not file.startswith(("file:", ":memory:")) and not Path(file).is_file():
        raise UserError(
            f"data.uri {uri}: there is no SQLite file {file or '(no name)'}; a whole path has four slashes: sqlite:////"
        )
    return url


def _read_only(url: "URL") -> dict[str, bool]:
    return {"postgresql_readonly": True} if url.get_backend_name() == "postgresql" else {}


def _reason(error: BaseException, url: "URL") -> str:
    """The driver's message on one line, without SQLAlchemy's additions and secrets."""
    cause = getattr(error, "orig", None) or error
    text = " ".join(_masked(str(cause), url).split()) or type(cause).__name__
    return text[:LONGEST_REASON]


def _masked(text: str, url: "URL") -> str:
    """The text without the URL, its password and its secret options, in any spelling."""
    options = [value for key, value in url.query.items() if SECRET.search(key)]
    plain = [url.password, *(v for value in options for v in ([value] if isinstance(value, str) else value))]
    return masked(text, [url.render_as_string(hide_password=False), *filter(None, map(str, plain))])
