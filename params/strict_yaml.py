"""A strict reader of YAML: the safe subset of YAML 1.2, with the place of every key.

No aliases, no tags, no repeated keys; `1e-3` is a number, `12:30` and `no` are text.  Every refusal names the file, the
line and the key.  What is read is bounded before it is parsed, and parsed no further than it may go.
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

MOST_BYTES = 300_000  # a query may have a third of them
MOST_VALUES = 10_000  # keys and values: a thousand features of their own windows
MOST_DEPTH = 12  # of mappings and lists in each other, twice what any file has
MOST_KEY = 4096  # letters, as of any other name

_INT = re.compile(r"^[-+]?[0-9]+$")
_FLOAT = re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$")
_NOT_FINITE = re.compile(r"^([-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$")

Lines = dict[tuple[str, ...], str]  # where each key stands, as "file:line"


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
    """What the parser finds, one after the other, up to the first that is not read here.

    PyYAML takes time that grows with the square of the depth, and a second for every few thousand values: both are bounded
    while they are counted, since it looks ahead by a line at most.
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
    """The value that begins with an event, its others taken from the rest."""
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
    """A YAML text as a mapping, and the place of each key.

    Raises UserError (with file and line) for anything but one plain mapping of a sensible size.
    """
    _check_size(len(text), name)
    lines: Lines = {}
    try:
        events = _events(text, name)
        first = next(event for event in events if not isinstance(event, yaml.StreamStartEvent | yaml.DocumentStartEvent))
        found = _value(first, events, name, (), lines) if isinstance(first, yaml.NodeEvent) else None
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                raise UserError(f"{_line(event, name)}: this is not valid YAML for us: another document (---) begins; keep one")
    except yaml.reader.ReaderError as error:
        where = f"{name}:{text.count(chr(10), 0, error.position) + 1}"
        raise UserError(f"{where}: this is not valid YAML (the character U+{ord(text[error.position]):04X})") from None
    except yaml.MarkedYAMLError as error:
        where = f"{name}:{error.problem_mark.line + 1}" if error.problem_mark else name
        raise UserError(f"{where}: this is not valid YAML ({clipped(error.problem or 'no reason given', 200)})") from None
    if not isinstance(found, dict):
        raise UserError(f"{name}: expected a mapping (`key: value` lines) at the top, see params/nyc_weather.yaml")
    return found, lines


def read_yaml(path: Path, name: str | None = None) -> tuple[dict[str, Any], Lines]:
    """The mapping in a YAML file, and the place of each key; raises UserError where the file cannot be read."""
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
    """The bytes of a plain file, no more than may be read of it; a pipe or a device is refused and never waited for."""
    _check_kind(path.stat().st_mode, name)  # a device may do something when it is opened
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        _check_kind(found.st_mode, name)
        _check_size(found.st_size, name)
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
