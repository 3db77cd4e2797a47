"""Reads YAML strictly and lays the layers of a run: base < run file < variant < --set; never reads any data.

The reader takes the safe subset of YAML 1.2: no aliases, no tags, no repeated keys, `1e-3` is a number, `12:30` and `no`
are text. Every refusal names the file, the line and the key.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from params.errors import UserError, without_password
from params.schema import BASELINES, RunParams, VariantParams

PARAMS = Path(__file__).resolve().parent
MOST_BYTES = 1_000_000
ENSEMBLE = "ensemble"  # the family of a variant that combines others
TAKEN = ("unique_id", "ds", "cutoff", "step", "y", *BASELINES)  # columns of a forecast frame

_INT = re.compile(r"^[-+]?[0-9]+$")
_FLOAT = re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$")
_NOT_FINITE = re.compile(r"^([-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$")

Lines = dict[tuple[str, ...], str]  # where each key stands, as "file:line"
Settings = list[tuple[tuple[str, ...], Any, str]]  # --set texts: path, value, and the text for messages


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


def merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` laid on `under`, mapping by mapping."""
    result = dict(under)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = merge(result[key], value) if both else value
    return result


def parse_setting(text: str) -> tuple[tuple[str, ...], Any]:
    """`training.max_epochs=3` as (path, value); the value is read as YAML.  Raises UserError."""
    key, equals, value = text.partition("=")
    path = tuple(key.strip().split("."))
    if not equals or not all(path):
        raise UserError(f"--set {text}: write it as section.key=value, such as --set training.max_epochs=3")
    parsed, _ = parse_yaml(f"value: {value.strip()}", f"--set {key}")
    if set(parsed) != {"value"}:
        raise UserError(f"--set {key}: not one value")
    return path, parsed["value"]


def _assign(tree: dict[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """A copy of the tree with one value in place of what was there: a setting replaces, it does not merge."""
    key, rest = path[0], path[1:]
    below = tree.get(key)
    return tree | {key: _assign(below if isinstance(below, dict) else {}, rest, value) if rest else value}


def variants_setting(names: Sequence[str]) -> str:
    """The `--set` text that trains these variants."""
    return "variants=[" + ", ".join(f'"{name}"' for name in names) + "]"


def variant_names() -> list[str]:
    """Every variant of `params/variants/`, sorted."""
    return sorted(p.stem for p in (PARAMS / "variants").glob("*.yaml"))


def _suggest(word: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; there are: {', '.join(known)}"


def _known_keys(model: type[BaseModel], path: tuple[str, ...]) -> list[str]:
    for part in path:
        field = model.model_fields.get(part)
        inner = field.annotation if field else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return []
        model = inner
    return list(model.model_fields)


def _explain(error: ValidationError, lines: Lines, fallback: str) -> UserError:
    """All that is wrong in a run, one line a problem: where, which key, what to write."""
    problems = []
    for item in error.errors(include_url=False):
        path = tuple(str(part) for part in item["loc"] if not str(part).startswith(("function-", "constrained", "[")))
        where = next((lines[path[:n]] for n in range(len(path), 0, -1) if path[:n] in lines), fallback)
        key = ".".join(path) or "run"
        if item["type"] == "extra_forbidden":
            text = f"unknown key {key!r}" + _suggest(path[-1], _known_keys(RunParams, path[:-1]) or ["nothing"])
        elif item["type"] == "missing":
            text = f"the key {key!r} is missing"
        else:
            given = item["input"]
            secret = path[-1:] == ("uri",)
            shown = "" if secret or isinstance(given, Mapping | BaseModel) else f" (found {_shown(given)})"
            text = f"{key}: {item['msg'].removeprefix('Value error, ')}{shown}"
            if "pattern" in item["type"] and path and path[-1] == "name":
                text = f"name: use 1 to 64 of a-z 0-9 . _ - and begin with a letter or digit{shown}"
        problems.append(f"{where}: {text}")
    return UserError("\n".join(dict.fromkeys(problems)))


def _shown(value: object) -> str:
    text = without_password(repr(value))
    return text if len(text) <= 60 else text[:57] + "..."


def _layers(path: Path, settings: Sequence[str]) -> tuple[dict[str, Any], Settings, Lines, str]:
    """Base and run file merged, the settings to lay above, the place of each key, and the file's name for messages."""
    if not path.exists() and not path.is_absolute() and (PARAMS.parent / path).exists():
        path = PARAMS.parent / path
    base, lines = read_yaml(PARAMS / "base.yaml", "params/base.yaml")
    run, run_lines = read_yaml(path)
    parsed = [(*parse_setting(text), f"--set {text}") for text in settings]
    return merge(base, run), parsed, lines | run_lines, str(path)


def _with_settings(tree: dict[str, Any], lines: Lines, settings: Settings) -> tuple[dict[str, Any], Lines]:
    for path, value, name in settings:
        tree = _assign(tree, path, value)
        lines = {known: where for known, where in lines.items() if known[: len(path)] != path} | {path: name}
    return tree, lines


def load_run(path: str | Path, settings: Sequence[str] = ()) -> RunParams:
    """The run that a params file describes, below `--set` texts.

    Raises UserError naming file, line and key for an unknown key, a wrong type or a value out of range; reads no data.
    """
    under, above, lines, name = _layers(Path(path), settings)
    tree, lines = _with_settings(under, lines, above)
    try:
        run = RunParams.model_validate(tree)
    except ValidationError as error:
        raise _explain(error, lines, name) from None
    known = variant_names()
    for variant in run.variants:
        if variant in TAKEN or variant.endswith(("-lo-90", "-hi-90")):
            raise UserError(f"params/variants/{variant}.yaml: {variant!r} is a column of every forecast frame; rename the file")
        if variant not in known:
            where = lines.get(("variants",), name)
            raise UserError(f"{where}: unknown variant {variant!r}{_suggest(variant, known)}")
    return run


def load_variant(variant: str, path: str | Path, settings: Sequence[str] = ()) -> VariantParams:
    """One variant of a run: its own YAML laid between the run file and `--set`.

    Raises UserError for an unknown variant or key.  Whether `network` fits the constructor is checked where it is built.
    """
    if variant not in variant_names():
        raise UserError(f"unknown variant {variant!r}{_suggest(variant, variant_names())}")
    under, above, lines, _ = _layers(Path(path), settings)
    file = f"params/variants/{variant}.yaml"
    own, own_lines = read_yaml(PARAMS / "variants" / f"{variant}.yaml", file)
    keys = ("about", "ensemble", "combine") if "ensemble" in own else ("family", "about", "network", "training")
    for key in own:
        if key not in keys:
            what = "an ensemble" if "ensemble" in own else "a variant"
            raise UserError(f"{own_lines[(key,)]}: unknown key {key!r}; {what} has {', '.join(keys[:-1])} and {keys[-1]}")
    members = _members(variant, own, own_lines, path, settings)
    shared = frozenset(
        {*under.get("network", {}), *(path[1] for path, _, _ in above if path[0] == "network" and len(path) > 1)}
    )
    merged = merge(under, {k: own[k] for k in ("network", "training") if k in own})
    merged, lines = _with_settings(merged, lines | own_lines, above)
    try:
        run = RunParams.model_validate(merged)
        return VariantParams.model_validate(
            {
                "variant": variant,
                "family": ENSEMBLE if members else own.get("family"),
                "about": own.get("about"),
                "network": {} if members else run.network,
                "shared": shared,
                "run": run,
                "members": members,
                "combine": own.get("combine", "median"),
            }
        )
    except ValidationError as error:
        raise _explain(error, lines, file) from None


def _members(
    variant: str, own: Mapping[str, Any], lines: Lines, path: str | Path, settings: Sequence[str]
) -> tuple[VariantParams, ...]:
    """The variants that an ensemble combines; empty for what is none."""
    if "ensemble" not in own:
        return ()
    names, where = own["ensemble"], lines[("ensemble",)]
    if not isinstance(names, list) or not names or len({str(name) for name in names}) < len(names):
        raise UserError(f"{where}: ensemble: write the variants that it combines, each once, such as [gru, lstm, tcn]")
    found = []
    for name in names:
        if name not in variant_names():
            raise UserError(f"{where}: ensemble: unknown variant {name!r}{_suggest(str(name), variant_names())}")
        if name == variant or "ensemble" in read_yaml(PARAMS / "variants" / f"{name}.yaml")[0]:
            raise UserError(f"{where}: ensemble: {name!r} is an ensemble itself; name what it combines")
        found.append(load_variant(name, path, settings))
    return tuple(found)


@cache
def _micro_batch_rule() -> dict[str, dict[str, int]]:
    """Cell -> `values` and `rows`."""
    return read_yaml(PARAMS / "rules" / "micro_batches.yaml", "params/rules/micro_batches.yaml")[0]


def parts_by_rule(family: str, network: Mapping[str, Any], lookback: int, batch_size: int) -> int:
    """In how many parts `params/rules/micro_batches.yaml` has a batch trained, by cell, hidden size, lookback and batch."""
    cell = str(network.get("cell", "lstm" if family in ("cnn_lstm", "dilated_lstm") else ""))
    rule = _micro_batch_rule().get(cell)
    if rule is None or family not in ("recurrent", "cnn_lstm", "dilated_lstm", "seq2seq", "encoder_decoder"):
        return 1
    most = max(1, rule["values"] // (lookback * int(network.get("hidden_size", 32))))
    return max(1, min(-(-batch_size // most), batch_size // rule["rows"]))


def micro_batches(variant: VariantParams, lookback: int) -> int:
    """In how many parts a batch of a variant is trained on a CPU: as its `training.micro_batches` says, or by the rule."""
    training = variant.run.training
    if training.micro_batches != "auto":
        return min(training.micro_batches, training.batch_size)
    return parts_by_rule(variant.family, variant.network, lookback, training.batch_size)
