"""Reference pages of the site, made from the code: params, commands, variants, columns, the Python API."""

import ast
import re
import tokenize
from collections.abc import Iterator, Sequence
from inspect import cleandoc
from io import StringIO
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
import yaml
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

ROOT = Path(__file__).resolve().parents[2]
NAMED = {  # types of params/section.py and their neighbours by the function that checks them: what a user writes
    "_is_span": "duration or whole number",
    "_is_border": "duration, date or number of rows",
}
FAR = 1e6  # a bound from here on only keeps out what no machine can do
PLAIN = {int: "whole number", float: "number", str: "text", bool: "true or false"}


def cell(text: str) -> str:
    """A text as a cell of a Markdown table."""
    return text.replace("|", "\\|").replace("\n", " ").strip()


def table(headings: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [headings, tuple("---" for _ in headings), *rows]
    return "\n".join(f"| {' | '.join(map(cell, line))} |" for line in lines)


def comments(text: str) -> dict[int, str]:
    """The comment at the end of each line of Python source, by line."""
    tokens = tokenize.generate_tokens(StringIO(text).readline)
    return {token.start[0]: token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT}


def written_next_to_fields(model: type[BaseModel]) -> dict[str, str]:
    """The comment next to each field of a section's class."""
    by_field: dict[str, str] = {}
    for part in (base for base in model.__mro__ if base.__module__.startswith("params.")):
        text = (ROOT / (part.__module__.replace(".", "/") + ".py")).read_text(encoding="utf-8")
        by_line = comments(text)
        (node,) = (node for node in ast.parse(text).body if isinstance(node, ast.ClassDef) and node.name == part.__name__)
        for field in node.body:
            if isinstance(field, ast.AnnAssign) and field.end_lineno in by_line:
                by_field.setdefault(ast.unparse(field.target), by_line[field.end_lineno])
    return by_field


def written_in_yaml(path: Path) -> dict[str, str]:
    """The comment next to each key of a run file, by its dotted name."""
    lines = path.read_text(encoding="utf-8").splitlines()
    by_key: dict[str, str] = {}

    def visit(node: yaml.Node | None, prefix: str) -> None:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                name = f"{prefix}{key.value}"
                comment = re.search(r" # (.*)$", lines[key.start_mark.line])
                if comment and key.start_mark.line == value.end_mark.line:
                    by_key.setdefault(name, comment[1].strip())
                visit(value, f"{name}.")

    visit(yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader), "")
    texts = list(by_key.values())
    once = [name for name, text in by_key.items() if texts.count(text) == 1]  # next to several keys: of none alone
    return {name: by_key[name] for name in once}


def type_words(kind: Any) -> str:
    """A type of the schema in the words of a run file."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        checks = [getattr(getattr(one, "func", None), "__name__", "") for one in inner[1:]]
        return next((NAMED[name] for name in checks if name in NAMED), type_words(inner[0]))
    if origin in (Union, UnionType):
        if {int, str} < {*inner}:
            return "value"
        return " or ".join(dict.fromkeys(type_words(one) for one in inner if one is not NoneType))
    if origin is Literal:
        return " or ".join(f"`{one}`" for one in inner)
    if origin is tuple:
        return "list of " + type_words(inner[0]) if inner[1:] == (...,) else f"list of {len(inner)}: {type_words(inner[0])}"
    if origin in (dict, frozenset):
        return f"name: {type_words(inner[-1])}"
    return PLAIN.get(kind, "keys of its own")


def bounds(kind: Any, metadata: list[Any]) -> str:
    """The bounds of a number in words; empty if there are none."""
    names = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    limits = {name: getattr(one, name) for one in metadata for name in names if getattr(one, name, None) is not None}
    limits = {name: value for name, value in limits.items() if abs(value) < FAR}
    own = ", ".join(f"{names[name]} {value:,g}" for name, value in limits.items())
    inner = [bounds(one, getattr(one, "__metadata__", [])) for one in get_args(kind) if get_origin(kind) in (Union, UnionType)]
    flat = [part for one in metadata for part in getattr(one, "metadata", [])]
    return own or (bounds(None, flat) if flat else "") or next(filter(None, inner), "")


def section_of(kind: Any) -> type[BaseModel] | None:
    """The section that a field holds, alone or by name; None if it holds values."""
    for part in (kind, *get_args(kind)):
        if isinstance(part, type) and issubclass(part, BaseModel):
            return part
        if get_args(part) and part is not kind and (deeper := section_of(part)):
            return deeper
    return None


def sections(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """Every section below a model with its dotted name, the run file itself first."""
    yield prefix.rstrip("."), model
    for name, field in model.model_fields.items():
        below = section_of(field.annotation)
        if below is not None:
            by_name = "NAME." if get_origin(field.annotation) is dict or "dict" in str(field.annotation) else ""
            yield from sections(below, f"{prefix}{name}.{by_name}")


def default_of(tree: Any, name: str, field: Any) -> str:
    """What holds where a run file says nothing: the value in base.yaml, else that of the schema."""
    for key in name.split("."):
        tree = tree.get(key, PydanticUndefined) if isinstance(tree, dict) else PydanticUndefined
    if tree is PydanticUndefined:
        if field.is_required():
            return "required"
        tree = field.get_default(call_default_factory=True)
        tree = list(tree) if isinstance(tree, tuple) else tree
    if isinstance(tree, (BaseModel, dict)) and tree:
        return "below"
    text = yaml.safe_dump(tree, default_flow_style=True, width=1_000).replace("\n...", "").strip()
    return f"`{text}`"


def params_page() -> str:
    """Every key of a run file: type, default and meaning, section by section."""
    from params.schema import RunParams

    base = ROOT / "params" / "base.yaml"
    tree, by_key = yaml.safe_load(base.read_text(encoding="utf-8")), written_in_yaml(base)
    parts = [
        "# Every key of a run file",
        "Made from `params/schema.py` and `params/base.yaml`. A run file overrides what it names; `--set KEY=VALUE` "
        "overrides both. Durations are written `15m`, `1h`, `28d`, `1w`, `1mo`. An unknown key is an error.",
    ]
    for prefix, model in sections(RunParams):
        own, rows = written_next_to_fields(model), []
        for name, field in model.model_fields.items():
            full, limits = f"{prefix}.{name}".lstrip("."), bounds(field.annotation, field.metadata)
            kind = type_words(Annotated[field.annotation, "", *field.metadata]) + (f" ({limits})" if limits else "")
            rows.append((f"`{name}`", kind, default_of(tree, full, field), by_key.get(full, own.get(name, ""))))
        title = f"## `{prefix}`" if prefix else "## The file itself"
        parts += [title, cleandoc(model.__doc__ or ""), table(("key", "type", "default", "meaning"), rows)]
    return "\n\n".join(parts) + "\n"


def without_rich(text: str) -> str:
    """Help without rich's colours."""
    return re.sub(r"\[/?[a-z ]+\]", "", text)


def commands_page() -> str:
    """Every verb of the command line: usage, purpose, arguments and options, from its own help."""
    from flows.__main__ import app

    group: Any = typer.main.get_command(app)
    parts = [
        "# Every option of every command",
        "Made from `python -m flows VERB --help`. [Commands](../commands.md) explains them in context.",
    ]
    for verb, command in group.commands.items():
        rows = []
        for param in command.params:
            value = "" if getattr(param, "is_flag", False) else f" {param.metavar or param.name.upper()}"
            shown = f"`{(', '.join(param.opts) + value) if param.param_type_name == 'option' else value.strip()}`"
            default = "required" if param.required else "" if param.default in (None, False, "") else f"`{param.default}`"
            rows.append((shown, default, without_rich(getattr(param, "help", "") or "")))
        words = without_rich(command.help or "")
        parts += [f"## {verb}", words, *([table(("argument", "default", "meaning"), rows)] if rows else [])]
    return "\n\n".join(parts) + "\n"


def variants_page() -> str:
    """Every shipped variant: family, what it is for, its file."""
    folder, rows = ROOT / "params" / "variants", []
    for path in sorted(folder.glob("*.yaml")):
        read = yaml.safe_load(path.read_text(encoding="utf-8"))
        network = ", ".join(f"{key} {value}" for key, value in read.get("network", {}).items())
        searched = ", ".join(f"`{key}`" for key in read.get("search", {}))
        rows.append((f"`{path.stem}`", read.get("family", "ensemble"), read["about"], network, searched))
    words = (
        "Made from `params/variants/`; `python -m flows variants` adds their size. [Variants](../variants.md) explains them."
    )
    headings = ("variant", "family", "what it is for", "network", "searched by `tune`")
    return f"# Every variant\n\n{words}\n\n{table(headings, rows)}\n"


def columns_page() -> str:
    """Every column of a leaderboard: heading, name, meaning and metric."""
    from tasks.report.columns import COLUMNS

    rows = []
    for column in COLUMNS:
        meaning = "; ".join(part for part in (column.words, column.meaning) if part)
        rows.append((f"`{column.name}`", column.heading, meaning, f"`{column.metric}`" if column.metric else ""))
    words = "Made from `tasks/report/columns.py`. [How to read a comparison](../comparison.md) explains how to use them."
    return f"# Every column and metric\n\n{words}\n\n{table(('column', 'heading', 'meaning', 'metric in MLflow'), rows)}\n"


def api_page() -> str:
    """The functions of flows/api.py, from their signatures and docstrings."""
    return "# The Python API\n\n::: flows.api\n"


def reference_pages() -> dict[str, str]:
    """The reference as Markdown, by its place in the site."""
    made = {"params": params_page, "commands": commands_page, "variants": variants_page, "columns": columns_page}
    if (ROOT / "flows" / "api.py").is_file():
        made["api"] = api_page
    return {f"reference/{name}.md": make() for name, make in made.items()}
