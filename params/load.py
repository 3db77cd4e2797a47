"""The layers of a run: base.yaml < run file < variant < --set.  A `Plan` reads each file once."""

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from params.errors import UserError, clipped
from params.evaluation import BASELINES
from params.schema import RENAMED, RunParams, VariantParams
from params.search import SECTIONS, Dimension, Value, check_keys, tuned
from params.section import KEYS, NAME, owner
from params.shown import masked
from params.strict_yaml import MOST_DEPTH, MOST_KEY, Lines, parse_yaml, read_yaml

PARAMS = Path(__file__).resolve().parent
ENSEMBLE = "ensemble"  # the family of a variant that combines others
GREEDY = "greedy"  # in place of an ensemble's members: all of the run's, with learnt weights
TAKEN = (*KEYS, *BASELINES)  # columns of a forecast frame

SAID = {  # pydantic's messages speak of Python types; these of a run file
    "tuple_type": "write a list, such as [a, b]",
    "model_type": "write keys and values below it",
    "dict_type": "write keys and values below it",
}
OWN_KEYS = ("family", "about", *SECTIONS, "search", "draws_as")  # of a variant that is not an ensemble
DEFINE, LIKE = "define", "like"  # the run file's section of its own variants; the variant that one extends
MOST_PROBLEMS = 20  # listed in one message
SHOWN = 100  # characters of a setting in a message

Setting = tuple[tuple[str, ...], Any, str]  # a --set text: path, value, and the text for messages
Tree = dict[str, Any]  # the content of a file
Read = tuple[Tree, Lines]  # a file, and the location of each key


def merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` merged into `under`, mapping by mapping."""
    result = dict(under)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = merge(result[key], value) if both else value
    return result


def parse_setting(text: str) -> tuple[tuple[str, ...], Any]:
    """`training.max_epochs=3` as (path, value); the value is read as YAML.  Raises UserError."""
    key, equals, value = text.partition("=")
    path, shown = tuple(key.strip().split(".")), clipped(key, SHOWN)
    if not equals or not all(path):
        raise UserError(f"--set {clipped(text, SHOWN)}: write it as section.key=value, such as --set training.max_epochs=3")
    if len(path) > MOST_DEPTH or len(key) > MOST_DEPTH * MOST_KEY:
        raise UserError(f"--set {shown}: no key of a run file lies so deep: write section.key=value")
    quoted = json.dumps(value.strip()) if value.strip().startswith("%") else value.strip()  # a time format
    parsed, _ = parse_yaml(f"value: {quoted}", f"--set {shown}")
    if set(parsed) != {"value"}:
        raise UserError(f"--set {shown}: not one value")
    return path, parsed["value"]


def _assign(tree: dict[str, Any], path: tuple[str, ...], value: Any, name: str) -> dict[str, Any]:
    """A copy of the tree with one value set: a setting replaces, it does not merge."""
    key, rest = path[0], path[1:]
    below = tree.get(key)
    if rest and not isinstance(below, dict | None):
        raise UserError(f"{name}: {clipped(key)} is a list or one value and has no keys; write all of it")
    return tree | {key: _assign(below or {}, rest, value, name) if rest else value}


def variants_setting(names: Sequence[str]) -> str:
    """The `--set` text that selects these variants."""
    return "variants=[" + ", ".join(f'"{name}"' for name in names) + "]"


def variant_names() -> list[str]:
    """Every variant of `params/variants/`, sorted."""
    return sorted(p.stem for p in (PARAMS / "variants").glob("*.yaml"))


def place_of(variant: str) -> str:
    """Where a variant of a loaded run is defined: in its own file, or in the run file."""
    return f"params/variants/{variant}.yaml" if variant in variant_names() else f"{DEFINE} in the run file"


def _suggest(word: str, known: Sequence[str]) -> str:
    word = clipped(word)
    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; there are: {', '.join(known)}"


def _known_keys(model: type[BaseModel], path: tuple[str, ...]) -> list[str]:
    if path[:1] == ("search",):
        return list(Dimension.model_fields)
    for part in path:
        field = model.model_fields.get(part)
        inner = field.annotation if field else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return []
        model = inner
    return list(model.model_fields)


def _explain(error: ValidationError, lines: Lines, fallback: str) -> UserError:
    """All problems of a run, one line each: where, which key, what to write."""
    errors = error.errors(include_url=False)
    problems = dict.fromkeys(_problem(item, lines, fallback) for item in errors[:MOST_PROBLEMS])
    more = [f"{fallback}: and {len(errors) - MOST_PROBLEMS:,} more such problems"] if len(errors) > MOST_PROBLEMS else []
    return UserError("\n".join([*problems, *more]))


def _problem(item: ErrorDetails, lines: Lines, fallback: str) -> str:
    """One problem as a line."""
    path = tuple(str(part) for part in item["loc"] if not str(part).startswith(("function-", "constrained", "[")))
    above = (lines[path[:n]] for n in range(len(path), 0, -1) if path[:n] in lines)
    below = (place for known, place in lines.items() if path and known[: len(path)] == path)
    where = next(chain(above, below), fallback)
    key = ".".join(map(clipped, path)) or "run"
    if item["type"] == "extra_forbidden" and path[-1] in RENAMED.get(path[0], {}):
        return f"{where}: {key} is no key any more: write {RENAMED[path[0]][path[-1]]}"
    if item["type"] == "extra_forbidden":
        return f"{where}: unknown key {key!r}" + _suggest(path[-1], _known_keys(RunParams, path[:-1]) or ["nothing"])
    if item["type"] == "missing":
        return f"{where}: the key {key!r} is missing"
    given = item["input"]
    secret = path[-1:] == ("uri",)
    shown = "" if secret or isinstance(given, Mapping | BaseModel) else f" (found {_shown(given)})"
    if "pattern" in item["type"] and path and path[-1] == "name":
        return f"{where}: name: use 1 to 64 of a-z 0-9 . _ - and begin with a letter or digit{shown}"
    problem = SAID.get(item["type"]) or clipped(item["msg"].removeprefix("Value error, "), 1000)
    return f"{where}: {key}: {problem}{shown}"


def _shown(value: object) -> str:
    return clipped(masked(repr(value)))


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # an impossible file name, or an unreadable folder
        return False


def _with_settings(tree: dict[str, Any], lines: Lines, settings: Sequence[Setting]) -> Read:
    for path, value, name in settings:
        tree = _assign(tree, path, value, name)
        lines = {known: where for known, where in lines.items() if known[: len(path)] != path} | {path: name}
    return tree, lines


def _family(name: Any, outside: Mapping[str, str]) -> Any:
    """A variant's family; one from outside by its module and name, as its jobs and versions name it."""
    return outside.get(name, name) if isinstance(name, str) else name


def _setting(text: str) -> Setting:
    return (*parse_setting(text), f"--set {clipped(text, SHOWN)}")


def _defined(variants: object, lines: Lines, file: str) -> dict[str, Read]:
    """The variants that a run file defines itself, as the contents of their files.  Raises UserError."""
    if not isinstance(variants, Mapping):
        raise UserError(f"{lines[(DEFINE,)]}: {DEFINE}: write a name and, below it, what its file would say")
    defined = {}
    for name, content in variants.items():
        where = lines.get((DEFINE, name), file)
        if not re.fullmatch(NAME, name):
            raise UserError(f"{where}: {DEFINE}: {clipped(name)}: a variant is called by 1 to 64 of a-z 0-9 . _ -")
        if name in variant_names():
            raise UserError(f"{where}: {DEFINE}: {name} has a file in params/variants/: use another name, and like: {name}")
        if not isinstance(content, Mapping):
            raise UserError(
                f"{where}: {DEFINE}: {name}: write what its file would say, such as {{like: gru, network: {{...}}}}"
            )
        place = {path[2:]: where for path, where in lines.items() if path[:2] == (DEFINE, name)}
        defined[name] = (dict(content), {**place, (): where})
    return defined


@dataclass(frozen=True)
class _Layers:
    """base.yaml and a run file, each read once, and the settings; variant files are read once, on demand."""

    name: str  # of the run file, in messages
    under: dict[str, Any]
    lines: Lines
    above: tuple[Setting, ...]
    known: list[str] = field(default_factory=variant_names)
    read: dict[str, Read] = field(default_factory=dict)

    @classmethod
    def of(cls, path: Path, settings: Sequence[str]) -> "_Layers":
        """Raises UserError for an unreadable file or an invalid setting."""
        if not path.is_absolute() and not _is_there(path) and _is_there(PARAMS.parent / path):
            path = PARAMS.parent / path
        base, lines = read_yaml(PARAMS / "base.yaml", "params/base.yaml")
        run, run_lines = read_yaml(path)
        defined = _defined(run.pop(DEFINE, {}), run_lines, str(path))
        known = sorted({*variant_names(), *defined})
        return cls(str(path), merge(base, run), lines | run_lines, tuple(map(_setting, settings)), known, defined)

    def own(self, variant: str) -> Read:
        """The content of a variant, from its file or the run file.  Raises UserError if it is unknown."""
        if variant not in self.known:
            raise UserError(f"unknown variant {clipped(repr(variant))}{_suggest(variant, self.known)}")
        if variant not in self.read:
            self.read[variant] = read_yaml(PARAMS / "variants" / f"{variant}.yaml", f"params/variants/{variant}.yaml")
        content, lines = self.read[variant]
        if LIKE in content:
            other = content[LIKE]
            if not isinstance(other, str) or other not in variant_names():
                known = _suggest(str(other), variant_names())
                raise UserError(f"{lines[(LIKE,)]}: like: {clipped(repr(other))} is no variant with a file{known}")
            under, under_lines = self.own(other)
            merged = merge(under, {key: value for key, value in content.items() if key != LIKE})
            self.read[variant] = (merged, under_lines | lines)
        return self.read[variant]

    def _place(self, variant: str) -> str:
        """Where a variant is defined, for messages."""
        lines = self.read[variant][1] if variant in self.read else {}
        return lines.get((), f"params/variants/{variant}.yaml")

    def run(self) -> RunParams:
        """The run, without what its variants override."""
        tree, lines = _with_settings(self.under, self.lines, self.above)
        try:
            run = RunParams.model_validate(tree)
        except ValidationError as error:
            raise _explain(error, lines, self.name) from None
        if whose := owner(run.name):
            where = lines.get(("name",), self.name)
            raise UserError(f"{where}: name: {run.name!r} is what lagline calls an experiment of {whose!r}; use another name")
        for variant in run.variants:
            if variant in TAKEN or re.search(r"-(lo|hi)-\d+$", variant):
                raise UserError(
                    f"{self._place(variant)}: {variant!r} is a column of every forecast frame; give it another name"
                )
            if variant not in self.known:
                where = lines.get(("variants",), self.name)
                raise UserError(f"{where}: unknown variant {variant!r}{_suggest(variant, self.known)}")
        return run

    def variant(self, variant: str) -> VariantParams:
        """One variant: its own file merged between the run file and the settings."""
        content, own_lines = self.own(variant)
        keys = ("about", "ensemble", "combine") if "ensemble" in content else OWN_KEYS
        for key in content:
            if key not in keys:
                what = "an ensemble" if "ensemble" in content else "a variant"
                raise UserError(f"{own_lines[(key,)]}: unknown key {key!r}; {what} has {', '.join(keys[:-1])} and {keys[-1]}")
        check_keys(content.get("search"), own_lines, self._place(variant))
        members, greedy = self._members(variant), content.get("ensemble") == GREEDY
        everyones = {path[1] for path, _, _ in self.above if path[0] == "network" and len(path) > 1}
        merged = merge(self.under, {k: content[k] for k in SECTIONS if k in content})
        merged, lines = _with_settings(merged, self.lines | own_lines, self.above)
        try:
            run = RunParams.model_validate(merged)
            return VariantParams.model_validate(
                {
                    "variant": variant,
                    "family": ENSEMBLE if members else _family(content.get("family"), run.families),
                    "about": content.get("about"),
                    "network": {} if members else run.network,
                    "shared": frozenset({*self.under.get("network", {}), *everyones}),
                    "run": run,
                    "members": members,
                    "combine": "mean" if greedy else content.get("combine", "median"),
                    "greedy": greedy,
                    **{key: content[key] for key in ("search", "draws_as") if key in content},
                }
            )
        except ValidationError as error:
            raise _explain(error, lines, self._place(variant)) from None

    def _members(self, variant: str) -> tuple[VariantParams, ...]:
        """The variants and baselines that an ensemble combines; empty if it is not an ensemble."""
        content, lines = self.own(variant)
        if "ensemble" not in content:
            return ()
        names, where = content["ensemble"], lines[("ensemble",)]
        if names == GREEDY:
            return self._greedy_members(variant)
        if not isinstance(names, list) or not names or len({str(name) for name in names}) < len(names):
            raise UserError(f"{where}: ensemble: write what it combines, each once, such as [gru, nlinear, theta]")
        baselines = (*BASELINES, *self.run().baselines)
        for name in names:
            if name in baselines:
                continue
            if name not in self.known:
                raise UserError(f"{where}: ensemble: unknown variant {name!r}{_suggest(str(name), [*self.known, *baselines])}")
            if name == variant or "ensemble" in self.own(name)[0]:
                raise UserError(f"{where}: ensemble: {name!r} is an ensemble itself; name what it combines")
        if {*names} <= {*baselines}:
            raise UserError(
                f"{where}: ensemble: all of {', '.join(names)} are baselines; name a variant beside them, such as nlinear"
            )
        return tuple(self._baseline(name) if name in baselines else self.variant(name) for name in names)

    def _greedy_members(self, variant: str) -> tuple[VariantParams, ...]:
        """The members of a greedy ensemble: the run's variants except ensembles, then its baselines."""
        (content, lines), run = self.own(variant), self.run()
        if "combine" in content:
            raise UserError(f"{lines[('combine',)]}: combine: a greedy ensemble is a weighted mean; take this key out")
        names = [name for name in run.variants if "ensemble" not in self.own(name)[0]]
        if not names:
            where = _with_settings(self.under, self.lines, self.above)[1].get(("variants",), self.name)
            raise UserError(
                f"{where}: variants: {variant} combines the run's other variants; name one beside it that is no ensemble"
            )
        return (*map(self.variant, names), *map(self._baseline, run.evaluation.baselines))

    def _baseline(self, name: str) -> VariantParams:
        """A baseline as a member of an ensemble: it takes its season from the run and has no arguments."""
        about, run = "a baseline, which learns nothing", self.run()
        return VariantParams(
            variant=name, family=run.baseline_family(name), about=about, network={}, shared=frozenset(), run=run
        )


@dataclass(frozen=True)
class Plan:
    """The job of a command: a run and its variants, with the file and settings that they were read from."""

    path: Path
    settings: tuple[str, ...]
    run: RunParams
    variants: Mapping[str, VariantParams]
    layers: _Layers = field(repr=False, compare=False)

    def only(self, names: Sequence[str]) -> "Plan":
        """The same plan with other variants; files already read are not read again."""
        text = variants_setting(names)
        layers = replace(self.layers, above=(*self.layers.above, _setting(text)))
        return _plan(self.path, (*self.settings, text), layers)

    def tuned(self, variant: str, name: str, values: Mapping[str, Value], about: str = "a trial") -> tuple[VariantParams, Tree]:
        """A variant with other values of some searched keys, as if read from a file `name`, and its content.

        Raises UserError for values that a run does not allow.
        """
        tree = tuned(self.layers.own(variant)[0], variant, values, about)
        known = [*self.layers.known, name]
        return replace(self.layers, known=known, read={**self.layers.read, name: (tree, {})}).variant(name), tree


def _plan(path: Path, settings: tuple[str, ...], layers: _Layers) -> Plan:
    run = layers.run()
    return Plan(path, settings, run, {name: layers.variant(name) for name in run.variants}, layers)


def load_plan(path: str | Path, settings: Sequence[str] = ()) -> Plan:
    """The run that a params file describes, overridden by `--set` texts, with all its variants.

    Raises UserError naming file, line and key for an unknown key, a wrong type or a value out of
    range.  Whether `network` fits the constructor of a family is checked where it is built.
    """
    return _plan(Path(path), tuple(settings), _Layers.of(Path(path), settings))


def load_run(path: str | Path, settings: Sequence[str] = ()) -> RunParams:
    """The run alone, where nothing is trained.  Raises UserError as `load_plan` does."""
    return _Layers.of(Path(path), settings).run()


def load_variant(variant: str, path: str | Path, settings: Sequence[str] = ()) -> VariantParams:
    """One variant of a run, whether the run names it or not.  Raises UserError as `load_plan` does."""
    return _Layers.of(Path(path), settings).variant(variant)
