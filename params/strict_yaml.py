"""A strict YAML reader: the safe subset of YAML 1.2, with the location of every key.

No aliases, tags or repeated keys; `1e-3` is a number, `12:30` and `no` are text.  Every error names the file,
line and key.  The size of the input is checked before parsing, and depth and values while parsing.
"""

import math
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from params.errors import UserError, clipped

MOST_BYTES = 300_000  # a query may take a third of them
MOST_VALUES = 10_000  # keys and values: enough for a thousand features with windows
MOST_DEPTH = 12  # nested mappings and lists, twice what any file has
MOST_KEY = 4096  # characters, as for any other name

_INT = re.compile(r"^[-+]?[0-9]+$")
_FLOAT = re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$")
_NOT_FINITE = re.compile(r"^([-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$")

Lines = dict[tuple[str, ...], str]  # the location of each key, as "file:line"


def _plain(text: str, where: str) -> Any:
    """The YAML 1.2 core value of an unquoted scalar."""
    if text in ("", "~", "null", "Null", "NULL"):
        return None
    if text in ("true", "True", "TRUE"):
        return True
    if text in ("false", "False", "FALSE"):
        return False
    if _INT.match(text):
        if len(text) > 18:
            raise UserError(f"{where}: {text[:24]}... is too large a number")
        return int(text)
    if _FLOAT.match(text) and math.isfinite(float(text)):
        return float(text)
    if _FLOAT.match(text) or _NOT_FINITE.match(text):
        raise UserError(f"{where}: {clipped(text)} is not a finite number")
    return text


def _line(event: yaml.Event, name: str) -> str:
    return f"{name}:{event.start_mark.line + 1}" if event.start_mark else name


def _events(text: str, name: str) -> Iterator[yaml.Event]:
    """The parser's events, up to the first that is not supported.

    PyYAML's time grows with the square of the depth, and is a second per few thousand values: both are
    bounded while they are counted, since it looks ahead by a line at most.
    """
    depth = values = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        where = _line(event, name)
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise UserError(f"{where}: anchors and aliases (& and *) are not read here; write the value out")
        tag = getattr(event, "tag", None)
        if tag:
            raise UserError(f"{where}: the tag {clipped(tag)} is not read here; write a plain value")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        values += isinstance(event, yaml.NodeEvent)
        if depth > MOST_DEPTH:
            raise UserError(f"{where}: nested too deeply: a params file has at most {MOST_DEPTH} levels")
        if values > MOST_VALUES:
            raise UserError(f"{where}: too much for a params file: at most {MOST_VALUES:,} keys and values are read")
        yield event


def _value(event: yaml.Event, rest: Iterator[yaml.Event], name: str, path: tuple[str, ...], lines: Lines) -> Any:
    """The value that begins with `event`; further events are taken from `rest`."""
    where = _line(event, name)
    lines.setdefault(path, where)
    if isinstance(event, yaml.ScalarEvent):
        return _plain(event.value, where) if event.style is None else event.value
    if isinstance(event, yaml.SequenceStartEvent):
        items: list[Any] = []
        while not isinstance(event := next(rest), yaml.SequenceEndEvent):
            items.append(_value(event, rest, name, (*path, str(len(items))), lines))
        return items
    result: dict[str, Any] = {}
    while not isinstance(event := next(rest), yaml.MappingEndEvent):
        where = _line(event, name)
        if not isinstance(event, yaml.ScalarEvent) or event.value == "<<":
            raise UserError(f"{where}: a key must be plain text")
        key = event.value
        if len(key) > MOST_KEY:
            raise UserError(f"{where}: the key {clipped(repr(key))} has {len(key):,} letters; at most {MOST_KEY:,} are read")
        if key in result:
            raise UserError(f"{where}: the key {clipped(repr(key))} stands twice; keep one of them")
        lines[(*path, key)] = where
        result[key] = _value(next(rest), rest, name, (*path, key), lines)
    return result


def parse_yaml(text: str, name: str) -> tuple[dict[str, Any], Lines]:
    """A YAML text as a mapping, and the location of each key.

    Raises UserError (with file and line) for anything but one plain mapping of a sensible size.
    """
    _check_size(len(text), name)
    lines: Lines = {}
    try:
        events = _events(text, name)
        first = next(event for event in events if not isinstance(event, yaml.StreamStartEvent | yaml.DocumentStartEvent))
        content = _value(first, events, name, (), lines) if isinstance(first, yaml.NodeEvent) else None
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                raise UserError(f"{_line(event, name)}: this is not valid YAML for us: another document (---) begins; keep one")
    except yaml.reader.ReaderError as error:
        where = f"{name}:{text.count(chr(10), 0, error.position) + 1}"
        raise UserError(f"{where}: this is not valid YAML (the character U+{ord(text[error.position]):04X})") from None
    except yaml.MarkedYAMLError as error:
        where = f"{name}:{error.problem_mark.line + 1}" if error.problem_mark else name
        raise UserError(f"{where}: this is not valid YAML ({clipped(error.problem or 'no reason given', 200)})") from None
    if not isinstance(content, dict):
        raise UserError(f"{name}: expected a mapping (`key: value` lines) at the top, see params/nyc_weather.yaml")
    return content, lines


def read_yaml(path: Path, name: str | None = None) -> tuple[dict[str, Any], Lines]:
    """The mapping in a YAML file, and the location of each key.  Raises UserError if it cannot be read."""
    name = name or clipped(str(path), MOST_KEY)
    try:
        content = _content(path, name)
        text = content.decode()
    except FileNotFoundError:
        raise UserError(f"{name}: there is no such file; the shipped ones are in params/") from None
    except UnicodeDecodeError:
        raise UserError(f"{name}: not UTF-8 text; is this a params file?") from None
    except OSError as error:
        raise UserError(f"{name}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise UserError(f"{name}: cannot be read ({error})") from None
    return parse_yaml(text, name)


def _content(path: Path, name: str) -> bytes:
    """The bytes of a regular file, up to MOST_BYTES; a pipe or a device is refused without blocking."""
    _check_kind(path.stat().st_mode, name)  # opening a device may have side effects
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        _check_kind(status.st_mode, name)
        _check_size(status.st_size, name)
        content = file.read(MOST_BYTES + 1)
    _check_size(len(content), name)
    return content


def _check_kind(mode: int, name: str) -> None:
    if stat.S_ISDIR(mode):
        raise UserError(f"{name}: this is a folder; name a params file such as params/nyc_weather.yaml")
    if not stat.S_ISREG(mode):
        raise UserError(f"{name}: this is a pipe, a socket or a device; write the params to a file and name that")


def _check_size(size: int, name: str) -> None:
    if size > MOST_BYTES:
        raise UserError(f"{name}: larger than {MOST_BYTES:,} bytes; a params file is a page of text")
