"""A strict reader of YAML: the safe subset of YAML 1.2, with the place of every key.

No aliases, no tags, no repeated keys; `1e-3` is a number, `12:30` and `no` are text.  Every refusal names the file, the
line and the key.
"""

import re
from pathlib import Path
from typing import Any

import yaml

from params.errors import UserError

MOST_BYTES = 1_000_000

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
    if _FLOAT.match(text):
        return float(text)
    if _NOT_FINITE.match(text):
        raise UserError(f"{where}: {text} is not a finite number")
    return text


def _value(node: yaml.Node, name: str, path: tuple[str, ...], lines: Lines) -> Any:
    where = f"{name}:{node.start_mark.line + 1}"
    lines.setdefault(path, where)
    if isinstance(node, yaml.ScalarNode):
        return _plain(node.value, where) if node.style is None else node.value
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, name, (*path, str(i)), lines) for i, item in enumerate(node.value)]
    assert isinstance(node, yaml.MappingNode)
    result: dict[str, Any] = {}
    for key_node, value_node in node.value:
        where = f"{name}:{key_node.start_mark.line + 1}"
        if not isinstance(key_node, yaml.ScalarNode) or key_node.value == "<<":
            raise UserError(f"{where}: a key must be plain text")
        key = key_node.value
        if key in result:
            raise UserError(f"{where}: the key {key!r} stands twice; keep one of them")
        lines[(*path, key)] = where
        result[key] = _value(value_node, name, (*path, key), lines)
    return result


def _refuse_surprises(text: str, name: str) -> None:
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        where = f"{name}:{event.start_mark.line + 1}" if event.start_mark else name
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise UserError(f"{where}: anchors and aliases (& and *) are not read here; write the value out")
        tag = getattr(event, "tag", None)
        if tag:
            raise UserError(f"{where}: the tag {tag} is not read here; write a plain value")


def parse_yaml(text: str, name: str) -> tuple[dict[str, Any], Lines]:
    """A YAML text as a mapping, and the place of each key.

    Raises UserError (with file and line) for anything but one plain mapping.
    """
    try:
        _refuse_surprises(text, name)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{name}:{mark.line + 1}" if mark else name
        raise UserError(f"{where}: this is not valid YAML ({getattr(error, 'problem', None) or error})") from None
    except RecursionError:
        raise UserError(f"{name}: nested too deeply") from None
    if not isinstance(node, yaml.MappingNode):
        raise UserError(f"{name}: expected a mapping (`key: value` lines) at the top, see params/nyc_weather.yaml")
    lines: Lines = {}
    return _value(node, name, (), lines), lines


def read_yaml(path: Path, name: str | None = None) -> tuple[dict[str, Any], Lines]:
    """The mapping in a YAML file, and the place of each key; raises UserError where the file cannot be read."""
    name = name or str(path)
    try:
        if path.is_dir():
            raise UserError(f"{name}: this is a folder; name a params file such as params/nyc_weather.yaml")
        if path.stat().st_size > MOST_BYTES:
            raise UserError(f"{name}: larger than {MOST_BYTES:,} bytes; a params file is a page of text")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{name}: there is no such file; the shipped ones are in params/") from None
    except UnicodeDecodeError:
        raise UserError(f"{name}: not UTF-8 text; is this a params file?") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{name}: cannot be read ({error})") from None
    return parse_yaml(text, name)
