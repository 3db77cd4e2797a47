"""Serves a bundle: long frame -> grid -> windows -> graph -> frame; never unpickles or changes its input.

Needs numpy, pandas, torch and nothing of ours: a verbatim copy of this one file travels in each bundle (hence
its length), and our own `forecast` uses it too.  Behind `mlflow models serve` it also reads the requests,
within limits.
Timestamps are microseconds internally (UTC, or local time of the table's zone for steps of a day or more), or
integers where the frequency is one; a position counts steps from the first row.
Shapes: B batch, L lookback, F past channels, A rows ahead, K channels known ahead, C static covariates, H
horizon, S series."""

import contextlib
import csv
import hashlib
import io
import json
import logging
import os
import re
import sys
import zipfile
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from importlib import import_module
from importlib.util import cache_from_source, decode_source
from itertools import islice
from pathlib import Path
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

Graph = Callable[..., torch.Tensor]
SOURCE = Path(__file__).read_bytes()  # the running code, to compare with the copy that a manifest lists
OUTSIDE = "baseline:"  # begins the name of a baseline from outside lagline, before its module:function
TAKEN_IN: dict[str, Callable[..., Any]] = {}  # those whose code this process may run, by name
BATCH = 256
MICROSECONDS = {"s": 10**6, "m": 60 * 10**6, "h": 3600 * 10**6, "d": 86400 * 10**6, "w": 7 * 86400 * 10**6}
MONTHS = {"mo": 1, "q": 3, "y": 12}
# null in a CSV cell, in any letter case, except for series, which may have such names
NULLS = ("", "na", "n/a", "nan", "null", "none")
# in series names, as in tasks/load/ids.py: surrounding blanks, whole numbers with only zeros after the point
BLANKS = "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"
WHOLE = re.compile(r"(?:-(0)|(0|-?[1-9][0-9]*))\.0+", re.ASCII)
TRUTHS = {"True": "true", "TRUE": "true", "False": "false", "FALSE": "false"}
BEFORE = {"true": "1", "false": "0"}  # names of the categories true and false in an older lagline
NAMED = 5  # series named in a message
LEAST = 10  # values (or two seasons) that a baseline needs to replace another model
ERRORS = 8  # seasonal naive errors needed for a series' unit
MOST_STEPS = 10**6  # the longest grid a baseline may read, however few the rows
BLIND = "no observed y in its window"
JSON_FORMS = ("dataframe_split", "dataframe_records", "inputs", "instances")
SERVES = "__pyfunc_model_path__"  # MLflow names the model to the serving process in this variable
MOST = {"LAGLINE_SERVE_MAX_BYTES": 16 * 2**20, "LAGLINE_SERVE_MAX_ROWS": 100_000}  # of one request
INFINITE = (np.inf, -np.inf)
LONGEST_ANSWER = 500  # letters of an error message
MOST_ASKED = 99  # levels or quantiles in one request
OLD_INPUTS = {"past_BLF": "float32", "ahead_BAK": "float32", "static_BC": "float32", "series_B": "int64"}  # of lagline 0.1
DAY = MICROSECONDS["d"]
HOLIDAY = "holiday"
SKIPPED = 25 * MICROSECONDS["h"]  # no clock was ever moved forward by more
ZONED = re.compile(r"\d[T ].*([Zz]|[+-]\d\d(:?\d\d)?)$")  # a time with a UTC offset
MOST_SIZE, LOG1P = 1e30, -1.0  # as in models/data/refused.py, with the words
REFUSED = {
    "text": "text where numbers are needed",
    "infinite": "infinite values: correct the source, or leave the value empty where it is not known",
    "huge": "values beyond 1e30: give it another unit, or leave the value empty where it is not known",
    "log1p": "scaling.target: log1p is not defined at -1 and below: take asinh, or correct the rows",
}
PERIODS = {"hour": 24.0, "weekday": 7.0, "monthday": 31.0, "yearday": 365.25, "month": 12.0}

# The contents of a legitimate archive.  torch.export.load would unpickle anything, and evaluate expressions and guards.
_MEMBER = re.compile(
    r"archive/(data/(weights/(weight_\d+|model_weights_config\.json)|constants/(tensor_\d+|model_constants_config\.json)"
    r"|sample_inputs/model\.pt)|models/model\.json|archive_format|archive_version|byteorder|\.data/(version|serialization_id))"
)
_TARGET = re.compile(r"torch\.ops\.aten\.\w+\.\w+|_operator\.(add|sub|mul|floordiv|mod|eq|ne|lt|le|gt|ge)")
_TEXT = re.compile(
    r"[A-Za-z0-9_.+]*"  # a name
    r"|(\b(Symbol|Integer|Mul|Add|FloorDiv|Mod|positive|integer|True|s\d+)\b|[0-9(),=' -])*"  # a size
    r'|("(type|context|children_spec|builtins\.tuple|builtins\.dict|null|\[\])"|null|[\[\]{},: 1])*'  # how arguments nest
)
USUAL = re.compile(r"\d{4}-\d{2}-\d{2}([Tt ]([01]\d|2[0-3]):\d{2}[^AaPp,]*)?")  # what pandas reads
CLOCK = (
    r"(?P<hour>\d{1,2})(?::(?P<minute>\d{2})(?::(?P<second>\d{2}(?:[.,]\d+)?))?)?"
    r"|(?P<hours>\d{2})(?P<minutes>\d{2})(?P<seconds>\d{2}(?:[.,]\d+)?)?"
)
YEAR_FIRST = re.compile(
    r"(?P<year>\d{4})(?:-(?P<month>\d{1,2})(?:-(?P<day>\d{1,2}))?|(?P<months>\d{2})(?P<days>\d{2})?"
    r"|[-: ]?[Qq](?P<quarter>[1-4])|[-: ]?[Mm](?P<number>\d{1,2})|-?[Ww](?P<week>\d{2})(?:-?(?P<weekday>[1-7]))?)?"
    rf"(?:(?:[Tt]| +)(?:{CLOCK})(?: ?(?P<half>[AaPp])\.?[Mm]\.?)?(?: ?(?P<zone>UTC|GMT|[Zz]|[+-]\d\d(?::?\d\d)?))?)?$",
    re.ASCII,
)


def load(folder: str | Path, digest: str | None = None) -> "Model":
    """The model of a bundle folder.  Raises ValueError as `check` and `open_graph` do."""
    contents = check(folder, digest)
    facts = json.loads(contents["model.json"])
    if is_baseline(facts.get("family", "")):  # baselines are computed below
        return Model(facts)
    refitted = open_graph(contents["refitted.pt2"], "refitted.pt2") if "refitted.pt2" in contents else None
    return Model(facts, open_graph(contents.get("graph.pt2", b"")), refitted)


def _load_pyfunc(path: str) -> "Model":
    """MLflow's entry point; also refuses a bundle whose copy of this file is not the running one."""
    with contextlib.suppress(OSError):  # removes Python's bytecode, which would be an extra file in a version loaded in place
        written = Path(cache_from_source(__file__))
        written.unlink()
        written.parent.rmdir()
    contents = check(path)
    if contents.get(f"code/{Path(__file__).name}") != SOURCE:
        raise ValueError(f"{path}: {Path(__file__).name} is not the file that was registered")
    model = load(path)
    _take_in(model, Path(path) / "outside.zip", contents)
    _read_requests(model)
    return model


def _take_in(model: "Model", code: Path, contents: dict[str, bytes]) -> None:
    """Imports the baselines from outside that a bundle carries.  Raises ValueError for another module of their name."""
    if code.name in contents:
        sys.path.insert(0, str(code))  # Python reads an archive without writing bytecode next to it
        with zipfile.ZipFile(io.BytesIO(contents[code.name])) as archive:
            for file in archive.namelist():
                name = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
                there = getattr(sys.modules.get(name), "__loader__", None)
                if there is not None and there.get_source(name).split() != decode_source(archive.read(file)).split():
                    raise ValueError(f"{code}: another module {name} is loaded already: load this version in another process")
    for name in [one.name for one in (model.alone, *model.combined) if one is not None and one.name.startswith(OUTSIDE)]:
        module, _, function = name.removeprefix(OUTSIDE).partition(":")
        TAKEN_IN[name] = getattr(import_module(module), function)


def check(folder: str | Path, digest: str | None = None) -> dict[str, bytes]:
    """Name -> content of every file of a bundle, read once and verified against manifest.json.

    Raises ValueError naming a missing, extra or changed file; `digest`: the manifest's expected sha256."""
    folder = Path(folder)
    here = {p.relative_to(folder).as_posix(): p for p in sorted(folder.rglob("*")) if p.is_symlink() or not p.is_dir()}
    if "manifest.json" not in here:
        raise ValueError(f"{folder}: manifest.json is missing, so this is no whole bundle")
    text = here.pop("manifest.json").read_bytes()
    if digest is not None and hashlib.sha256(text).hexdigest() != digest:
        raise ValueError(f"{folder}: manifest.json is not the one that was registered (sha256 {digest[:12]}...)")
    try:
        listed = {name: (str(entry["sha256"]), int(entry["bytes"])) for name, entry in json.loads(text)["files"].items()}
    except (ValueError, LookupError, TypeError, AttributeError):
        raise ValueError(f"{folder}: manifest.json cannot be read") from None
    for name in sorted(set(here) ^ set(listed)):
        what = "is missing" if name in listed else "is extra: manifest.json does not list it"
        raise ValueError(f"{folder}: {name} {what}")
    contents = {}
    for name, (sha256, size) in listed.items():
        if here[name].is_symlink() or not here[name].is_file():
            raise ValueError(f"{folder}: {name} is not a plain file")
        contents[name] = here[name].read_bytes()
        if len(contents[name]) != size or hashlib.sha256(contents[name]).hexdigest() != sha256:
            raise ValueError(f"{folder}: {name} has changed since it was registered")
    return contents


def open_graph(content: bytes, name: str = "graph.pt2") -> Graph:
    """The program in a .pt2 archive.  Raises ValueError if it holds more than numbers and aten calls."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            _refuse_code(archive, name)
    except (zipfile.BadZipFile, UnicodeDecodeError, json.JSONDecodeError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"{name} is refused: not an archive of torch.export ({error})") from None
    graph: Graph = torch.export.load(io.BytesIO(content)).module(check_guards=False)
    return graph


def _refuse_code(archive: zipfile.ZipFile, of: str) -> None:
    def refuse(what: str) -> None:
        raise ValueError(f"{of} is refused: {what} could run code when it is loaded")

    names = [member.filename for member in archive.infolist()]
    for member in archive.infolist():
        name = member.filename
        if not _MEMBER.fullmatch(name) or names.count(name) > 1 or (name.endswith(".pt") and member.file_size):
            refuse(f"its member {name!r}")
        if name.endswith("_config.json"):
            for entry in json.loads(archive.read(name))["config"].values():
                if entry["use_pickle"] is not False or not re.fullmatch(r"(weight|tensor)_\d+", entry["path_name"]):
                    refuse(f"{entry['path_name']!r} in {name}")
    program = json.loads(archive.read("archive/models/model.json"))
    for key, text in _texts(program):
        if not (_TARGET if key == "target" else _TEXT).fullmatch(text):
            refuse(f"the {key} {text[:80]!r}")


def _texts(node: Any, key: str = "key") -> Iterator[tuple[str, str]]:
    """Every text in a JSON tree with its key, and every key."""
    if isinstance(node, str):
        yield key, node
    for name, below in node.items() if isinstance(node, dict) else [(key, x) for x in node] if isinstance(node, list) else []:
        yield "key", name
        yield from _texts(below, name)


class _Grid(NamedTuple):
    """The time axis: a step, the zone that defines its days (None: unknown), the holidays it may skip."""

    span: str | int
    zone: str | None = "UTC"
    holidays: np.ndarray = np.empty(0, "datetime64[D]")

    @property
    def unit(self) -> str:
        return "" if isinstance(self.span, int) else self.span.lstrip("0123456789")

    @property
    def step(self) -> int:
        """A step's length in microseconds, months, business days or whole numbers."""
        if isinstance(self.span, int):
            return self.span
        number = int(self.span.removesuffix(self.unit))
        return number * (MICROSECONDS | MONTHS | {"bd": 1})[self.unit]

    @property
    def by_day(self) -> bool:
        """Whether a step is a day or more, and so counted in local time."""
        return bool(self.unit) and (self.unit not in MICROSECONDS or self.step >= DAY)

    def shown(self, time: int) -> str:
        """A time as text for people."""
        if not self.unit:
            return str(time)
        named = self.by_day and self.zone not in (None, "UTC")
        return f"{pd.Timestamp(time, unit='us', tz=None if named else 'UTC')}{f' in {self.zone}' if named else ''}"


class Bounds(NamedTuple):
    """The possible forecasts: from `lowest` to `highest`, whole numbers if `integer`."""

    lowest: float | None = None
    highest: float | None = None
    integer: bool = False

    def of(self, values: np.ndarray) -> np.ndarray:
        """The nearest possible values: rounded (half to even), then clipped; NaN stays."""
        return self._clipped(np.rint(values) if self.integer else values)

    def _clipped(self, values: np.ndarray) -> np.ndarray:
        low = -np.inf if self.lowest is None else np.ceil(self.lowest) if self.integer else self.lowest
        high = np.inf if self.highest is None else np.floor(self.highest) if self.integer else self.highest
        return np.asarray(np.clip(values, low, high)) + 0.0  # no -0

    def outward(self, quantiles: np.ndarray, levels: np.ndarray) -> np.ndarray:
        """Quantiles [..., Q] at levels [Q], rounded down below one half and up above it, then clipped."""
        if self.integer:
            quantiles = np.where(levels < 0.5, np.floor(quantiles), np.ceil(quantiles))
        return self._clipped(quantiles)


TRANSFORMS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], Callable[[np.ndarray], np.ndarray]]] = {
    "none": (np.asarray, np.asarray),
    "log1p": (np.log1p, np.expm1),
    "asinh": (np.arcsinh, np.sinh),
}


class Calibration(NamedTuple):
    """The quantiles of a model's forecasts, learnt from its validation errors.  R rows, G groups of series.

    `levels` [Q], ascending.  `offsets` [G, H, Q]: what is added, in units of the series; NaN with too few
    errors.
    `own`: added to the model's own quantiles at these levels, else to the point.  `transform`: the scale it
    is added on.
    `units`, `groups` [S + 1]: per training series and, last, for series not in training.
    `ratio`: the typical series' unit over its mean |y_t - y_(t - season)|, on the transform's scale: a series
    not in training has this multiple of its own mean if its rows suffice; None: always the last unit.
    `latest` [S + 1]: the units after the newest row, for a model trained on all rows; None: the same."""

    levels: np.ndarray
    offsets: np.ndarray
    units: np.ndarray
    groups: np.ndarray
    own: bool = False
    transform: str = "none"
    season: int = 1
    ratio: float | None = None
    latest: np.ndarray | None = None

    @classmethod
    def of(cls, said: dict[str, Any], series: int) -> "Calibration":
        """The calibration in a model.json or a fallback; an older one has only 90 % half widths."""
        found = said.get("calibration")
        if found is None:
            half = np.array([np.nan if width is None else width for width in said.get("half_widths", ())], np.float64)
            offsets = np.stack([-half, half], -1)[None]
            return cls(np.array([0.05, 0.95]), offsets, np.ones(series + 1), np.zeros(series + 1, np.int64))
        arrays = {name: np.array(found[name], np.float64) for name in ("levels", "offsets", "units", "latest") if found[name]}
        arrays["groups"] = np.array(found["groups"], np.int64)
        return cls(**{name: found[name] for name in cls._fields} | arrays)

    def told(self) -> dict[str, Any]:
        """As stored in model.json, the inverse of `of`."""
        offsets = self.offsets.astype(object)
        offsets[~np.isfinite(self.offsets)] = None
        parts = self._replace(offsets=offsets)._asdict().items()
        return {name: part.tolist() if isinstance(part, np.ndarray) else part for name, part in parts}

    def quantiles(
        self,
        point: np.ndarray,
        step: np.ndarray,
        series: np.ndarray,
        own: np.ndarray | None = None,
        units: np.ndarray | None = None,
    ) -> np.ndarray:
        """[R, Q] ascending quantiles; intervals of 50 % and more keep both ends on their side of the point.

        `point`, `step` (from 0), `series` (its number) [R]; `own` [R, Q]; `units` [R] if they are not those
        of the series.  Raises ValueError if quantiles it needs are missing."""
        if self.own and own is None:
            raise ValueError("these intervals are made from the model's own quantiles, and there are none")
        there, back = TRANSFORMS[self.transform]
        base = own if self.own and own is not None else point[:, None]
        moved = (self.units[series] if units is None else units)[:, None] * self.offsets[self.groups[series], step]
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            found = np.asarray(back(there(base) + moved))
        found = _around(found, self.levels, point)
        whole = ~np.isnan(found).any(axis=-1)
        found[whole] = np.sort(found[whole], axis=-1)
        some = found[~whole]
        found[~whole] = np.where(np.isnan(some), np.nan, np.fmax.accumulate(some, axis=-1))
        return found

    def asked(self, quantiles: np.ndarray, point: np.ndarray, levels: Sequence[float], bounds: Bounds) -> np.ndarray:
        """[R, len(levels)] the quantiles to return: `at`, around the point, bounded, rounded outward."""
        wanted = np.array(levels, np.float64)
        return bounds.outward(_around(self.at(quantiles, levels), wanted, point), wanted)

    def own_units(self, position: np.ndarray, y: np.ndarray, until: np.ndarray) -> np.ndarray:
        """[B] the unit at cutoffs `until` [B] of a series not in training: `y` [T] at ascending positions."""
        found = np.full(len(until), self.units[-1])
        with np.errstate(invalid="ignore", divide="ignore"):
            values = np.asarray(TRANSFORMS[self.transform][0](y), np.float64)
        position, values = position[np.isfinite(values)], values[np.isfinite(values)]
        if self.ratio is None or not len(values):
            return found
        before = np.searchsorted(position, position - self.season)
        there = position[before] == position - self.season
        sums = np.append(0, np.cumsum(np.where(there, np.abs(values - values[before]), 0)))
        seen = np.searchsorted(position, until, side="right")
        counts, sums = np.append(0, np.cumsum(there))[seen], sums[seen]
        enough = (counts >= ERRORS) & (sums > 0)
        found[enough] = self.ratio * sums[enough] / counts[enough]
        return found

    def at(self, quantiles: np.ndarray, asked: Sequence[float]) -> np.ndarray:
        """[R, len(asked)] the quantiles at other levels, interpolated along a normal distribution.

        Raises ValueError for a level outside them."""
        bad = [level for level in asked if not self.levels[0] - 1e-9 <= level <= self.levels[-1] + 1e-9]
        if bad or not len(self.levels):
            low, high = self.levels[[0, -1]]
            raise ValueError(f"quantile {bad[0]:g} lies outside those that are forecast, {low:g} to {high:g}")
        known = np.array([NormalDist().inv_cdf(level) for level in self.levels])
        wanted = np.array([NormalDist().inv_cdf(min(max(level, self.levels[0]), self.levels[-1])) for level in asked])
        above = np.clip(np.searchsorted(known, wanted - 1e-12), 1, len(known) - 1)
        share = (wanted - known[above - 1]) / (known[above] - known[above - 1])
        low, high = quantiles[:, above - 1], quantiles[:, above]
        return np.asarray(np.where(share <= 0, low, np.where(share >= 1, high, low + share * (high - low))))


def _around(quantiles: np.ndarray, levels: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Quantiles [R, Q], in place, keeping intervals of 50 % and more on both sides of the point [R]."""
    low, high = levels <= 0.25, levels >= 0.75
    quantiles[:, low] = np.minimum(quantiles[:, low], point[:, None])
    quantiles[:, high] = np.maximum(quantiles[:, high], point[:, None])
    return quantiles


def ends_of(level: float) -> tuple[float, float]:
    """The quantiles at the ends of a level's interval in percent: 90 -> 0.05, 0.95."""
    outside = round((100 - level) / 200, 6)
    return outside, round(1 - outside, 6)


class _Rows(NamedTuple):
    """A long frame sorted by series and time; the first five after `ids` are per row, the others [S]."""

    ids: list[str]
    series: np.ndarray
    position: np.ndarray
    order: np.ndarray  # each row's index in the frame, and so in `values`
    values: list[np.ndarray]  # the features, then values known ahead; in frame order: windows read few
    y: np.ndarray  # as observed; all NaN if the frame has none
    first: np.ndarray  # time of the first row
    day: np.ndarray  # day of the month that a calendar grid keeps, from 0
    last: np.ndarray  # position of the last row that may be a cutoff; -1 if there is none
    end: np.ndarray  # position of the last row
    static: np.ndarray  # [S, C]


class _Own(NamedTuple):
    """The run's own names for series (one column, several, none), time and target; a request may use them."""

    ids: list[str]
    time: str
    target: str
    single: str  # the name of a series without id columns

    @classmethod
    def of(cls, facts: dict[str, Any]) -> "_Own | None":
        """None if a time is spread over several columns: such requests use unique_id and ds."""
        ids, time, target = (facts.get("columns", {}).get(key) for key in ("unique_id", "ds", "y"))
        ids = [ids] if isinstance(ids, str) else list(ids or [])
        return cls(ids, time, target, facts["ids"][0]) if isinstance(time, str) and isinstance(target, str) else None

    @property
    def names(self) -> list[str]:
        return [*self.ids, self.time, self.target]

    def names_of(self, there: set[str]) -> bool:
        """Whether these columns use the run's own names.  Raises ValueError for a mixture."""
        keys, house = {*self.ids, self.time}, {"unique_id", "ds"} <= there
        own = not house and keys <= there
        mine, ours = (keys | {self.target}) - {"unique_id", "ds", "y"}, {"unique_id", "ds", "y"} - {*self.names}
        if own and self.target not in there and "y" in there - {*self.names}:
            given = ["y", *sorted(keys)]
        elif not house and not own and there & mine - {self.target} and there & ours - {"y"}:
            given = sorted(there & (mine | ours))
        else:
            return own
        which, names = ", ".join(map(repr, given)), ", ".join(self.names)
        raise ValueError(f"columns {which} are named in two ways; give unique_id, ds, y, or {names}")

    def house(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The same rows under unique_id, ds and y."""
        names = series_names([frame[name] for name in self.ids]) if self.ids else self.single
        target = {"y": frame[self.target]} if self.target in frame.columns else {}
        return frame.assign(**({"unique_id": names, "ds": frame[self.time]} | target))

    def back(self, made: pd.DataFrame, frame: pd.DataFrame, grid: _Grid) -> pd.DataFrame:
        """Forecasts in a request's columns: its series cells and time type; NAME_ if it uses our name."""
        values = made.drop(columns=["unique_id", "ds"])
        found: dict[str, Any] = {}
        if self.ids:
            names = pd.Series(np.arange(len(frame))).groupby(series_names([frame[name] for name in self.ids])).first()
            at = names.loc[made["unique_id"]].to_numpy()
            found = {name: frame[name].iloc[at].reset_index(drop=True) for name in self.ids}
        found[self.time] = _like(frame[self.time], made["ds"], grid)
        values["cutoff"] = _like(frame[self.time], made["cutoff"], grid)
        for name in (*self.ids, self.time):
            called = name
            while called in values.columns or (called != name and called in found):
                called += "_"
            found = {called if one == name else one: cells for one, cells in found.items()}
        return pd.concat([pd.DataFrame(found), values], axis=1)


class History(NamedTuple):
    """What a baseline reads: `y` [rows] of all series, NaN where missing; [origins] first and cutoff row."""

    y: np.ndarray
    start: np.ndarray
    at: np.ndarray


class _Baseline(NamedTuple):
    """A baseline that replaces a model, or is part of it."""

    name: str
    arguments: dict[str, int]
    calibration: Calibration | None = None

    @classmethod
    def of(cls, said: dict[str, Any], series: int = 0) -> "_Baseline":
        """From model.json, with the calibration that a fallback has."""
        return cls(str(said["name"]), dict(said["arguments"]), Calibration.of(said, series))


class Model:
    """A bundle in memory; `facts`: its model.json; `graph`: the judged one, which has not seen the test.

    `refitted`: the same network trained on all rows, if any; forecasts come from it.  A baseline has no
    graph.  For an ensemble with baselines, the graph forecasts its networks, and `combined` joins them with
    the baselines."""

    def __init__(self, facts: dict[str, Any], graph: Graph | None = None, refitted: Graph | None = None) -> None:
        self.facts, self.graph, self.refitted = facts, graph, refitted
        self.name = str(facts.get("variant", ""))
        family = str(facts.get("family", ""))
        self.alone = _Baseline(family, dict(facts["network"])) if is_baseline(family) else None
        combined = facts.get("combined") or {"how": "median", "baselines": []}
        self.how, self.counts = str(combined["how"]), np.array(combined.get("counts", 1))
        self.combined = [_Baseline.of(one) for one in combined["baselines"]]
        self.fallbacks = [_Baseline.of(one, len(facts["ids"])) for one in facts.get("fallbacks") or ()]
        self.calibration = Calibration.of(facts, len(facts["ids"]))
        self.older = "calibration" not in facts
        self.span: str | int = facts["frequency"]
        self.grid = _Grid(self.span, facts.get("zone", "UTC"), np.array(facts.get("holidays", []), "datetime64[D]"))
        self.own = _Own.of(facts)
        self.ids = ["unique_id", *(self.own.ids if self.own is not None else [])]  # columns that hold names
        self.features: list[str] = list(facts["windows"]["features"])
        self.future: list[str] = list(facts["windows"]["future"])
        self.static: dict[str, str] = dict(facts["windows"]["static"])
        self.horizon, self.gap = int(facts["windows"]["horizon"]), int(facts["windows"]["gap"])
        self.ahead = self.gap + self.horizon
        self.known: dict[str, int] = {}  # each training series' number
        for number, name in enumerate(facts["ids"]):
            self.known.setdefault(text_of(name) or "", number)
        self.columns = list(dict.fromkeys([*self.features, *self.future, *(n for n in self.static if n != "unique_id")]))
        if self.combined and "y" not in self.columns:
            self.columns.append("y")
        self.channels = [(int(c["lookback"]), int(c["sampling_rate"]), int(c["delay"])) for c in facts["channels"]]
        self.lookback = max(n for n, _, _ in self.channels)
        self.reach = max(d + r * (n - 1) for n, r, d in self.channels)
        self.padding = int(facts["windows"].get("start_padding", 0))  # missing rows before each series' first
        self.behind = self.reach - self.padding
        wide = facts["windows"].get("wide", [])  # columns read in 64 bits
        self.wide = [place for place, name in enumerate(self.features) if name in wide]
        waves = 2 * len(facts["windows"]["calendar"])
        self.wide_ahead = [waves + place for place, name in enumerate(self.future) if name in wide]
        run = facts.get("trained_on", {}).get("run", {})
        self.log1p = "log1p" in _transforms(facts.get("trained_on", {}).get("job", {}))
        self.gaps = float(run.get("validation", {}).get("max_gap_share", 0))  # share of missing steps that the checks allow
        self.data: dict[str, Any] = run.get("data", {})
        self.bounds = Bounds(self.data.get("lowest"), self.data.get("highest"), bool(self.data.get("integer")))

    def predict(self, frame: Any, params: Any = None) -> pd.DataFrame:
        """MLflow's entry point: the next horizon of every series, under the frame's own names.

        Logs new series and those a baseline forecasts.  `params`: `levels` and `quantiles`, as in `forecast`."""
        frame = frame.to_pandas() if hasattr(frame, "to_pandas") else frame
        own = self.own if self.own is not None and self.own.names_of({*frame.columns}) else None
        asked = _asked(params)
        levels, quantiles = asked.get("levels", (90,)), asked.get("quantiles", ())
        made = self.forecast(frame if own is None else own.house(frame), levels=levels, quantiles=quantiles)
        for told in self.notes(made["unique_id"], made["model"]):
            logging.getLogger(__name__).warning(told)
        return made if own is None else own.back(made, frame, self.grid)

    def forecast(
        self,
        frame: Any,
        start: str | int | datetime | None = None,
        stride: int = 1,
        judged: bool = False,
        left_out: list[str] | None = None,
        strict: bool = False,
        levels: Sequence[float] = (90,),
        quantiles: Sequence[float] = (),
    ) -> pd.DataFrame:
        """Forecasts of a long frame: unique_id, ds, covariates; any row order; pandas, or polars (to_pandas).

        Columns unique_id, cutoff, ds, yhat, yhat-lo-90, yhat-hi-90, model; times are UTC.  A time without
        zone is in the zone of the training table, or UTC if that had none.  `levels`: of the intervals, in
        percent (80 gives yhat-lo-80 and yhat-hi-80); `quantiles`: 0.1 gives yhat-q-0.1.
        Cutoffs: every series' last row with a y (if y is given: the rows after it are to be forecast, and
        hold values known ahead), or, with `start`, every `stride` rows from the first row at or after it with
        a complete history.  A series not in training is scaled like all series together, with the static
        covariates in its rows.  `judged`: by `graph`, even if there are refitted weights.
        A series that the model cannot forecast at any of these cutoffs (too short, or no y in its window) is
        forecast by the first fallback that its history allows, named in `model`; not if `strict`.  A series
        without any y, or that no fallback forecasts, gets no forecast: its name is added to `left_out`, if
        given.  Raises ValueError naming series and column for anything it cannot use."""
        if stride < 1:
            raise ValueError(f"stride must be at least 1, not {stride}")
        wanted = self.columns_of(levels, quantiles)
        rows = self._read(frame)
        named = start is None or left_out is not None  # lists every series without a forecast
        if named:
            _leave_out(rows.ids, np.flatnonzero(rows.last < 0), left_out)
        series, origin = self._cutoffs(rows, start, stride)
        others = [] if strict else self.fallbacks
        if not others:
            self._refuse_short(rows, np.unique(series))
            if (origin < self.behind).all():
                raise ValueError(f"no cutoff from {start} with a stride of {stride} has {self.behind + 1} rows behind it")
        forecasts, by, own = self._own(rows, series, origin, judged)
        if others:
            self._fall_back(rows, series, origin, forecasts, by)
        some = by >= 0
        lacking = np.setdiff1d(series, series[some])
        if named:
            if left_out is None:
                self._refuse_short(rows, lacking)
            _leave_out(rows.ids, lacking, left_out, BLIND if self.alone is None else f"too short a history for {self.name}")
        if not some.any():
            what = f"enough history for {self.name}" if self.alone or others else "one observed y in its window"
            raise ValueError(f"no cutoff has {what}{'' if start is None else f' from {start} on'}")
        latest = not judged and self.refitted is not None
        made = _Made(series[some], origin[some], forecasts[some], by[some], None if own is None else own[some], latest)
        return self._frame(rows, made, wanted)

    def columns_of(self, levels: Sequence[float], quantiles: Sequence[float]) -> dict[str, float]:
        """The columns of some intervals and quantiles, with their levels.  Raises ValueError for others."""
        found: dict[str, float] = {}
        for level in levels:
            if not 0 < level < 100:
                raise ValueError(f"levels: {level:g} is no percentage between 0 and 100")
            found |= dict(zip((f"yhat-lo-{level:g}", f"yhat-hi-{level:g}"), ends_of(level), strict=True))
        for level in quantiles:
            if not 0 < level < 1:
                raise ValueError(f"quantiles: {level:g} does not lie between 0 and 1; write 0.1 for the quantile of 10 %")
            found[f"yhat-q-{level:g}"] = level
        low, high = self.calibration.levels[[0, -1]]
        for name, level in found.items():
            if self.older and min(abs(level - low), abs(level - high)) > 1e-9:
                what = "this version has the 90 % interval alone: the lagline that registered it made no other quantiles"
                raise ValueError(f"{name}: {what}; a version of a new comparison has them")
            if not low - 1e-9 <= level <= high + 1e-9:
                most = f"levels up to {100 * min(1 - 2 * low, 2 * high - 1):g}, quantiles from {low:g} to {high:g}"
                raise ValueError(f"{name}: the quantile {level:g} lies outside those that are forecast: {most}")
        return found

    def _own(
        self, rows: _Rows, series: np.ndarray, origin: np.ndarray, judged: bool
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """[B, H] the model's forecasts, [B] 0 if there is one, else -1, [B, H, Q] quantiles minus these."""
        forecasts, by = np.full((len(series), self.horizon), np.nan), np.full(len(series), -1)
        if self.alone is not None:
            forecasts = self.points(None, _history(rows, series, origin))
            by[np.isfinite(forecasts).all(axis=1)] = 0
            return forecasts, by, None
        whole = np.flatnonzero(origin >= self.behind)
        values, at = self._grid(rows, series[whole], origin[whole])
        if "y" in self.features:
            seen = self._sees_y(values, at)
            whole, at = whole[seen], at[seen]
        self._refuse_unknown(rows, series[whole], origin[whole])
        number, own, parts = self._numbers_of(rows.ids), series[whole], []
        graph = self.graph if judged or self.refitted is None else self.refitted
        assert graph is not None
        for begin in range(0, len(at), BATCH):
            some, these = at[begin : begin + BATCH], own[begin : begin + BATCH]
            ahead = values[some[:, None] + 1 + np.arange(self.ahead), len(self.features) :]
            past = self._past(values, some)
            inputs = {"past_BLF": past, "ahead_BAK": ahead, "static_BC": rows.static[these], "series_B": number[these]}
            inputs |= {"wide_BLE": past[..., self.wide], "wide_BAE": ahead[..., self.wide_ahead]}
            with torch.no_grad():
                raw = self.run(graph, {name: torch.from_numpy(part) for name, part in inputs.items()})
            parts.append(raw.numpy())
        quantiles: np.ndarray | None = None
        if parts:
            history = _history(rows, own, origin[whole]) if self.combined else None
            given = np.concatenate(parts)
            forecasts[whole], by[whole] = self.points(given, history), 0
            if (beside := self.own_quantiles(given)) is not None:
                quantiles = np.full((*forecasts.shape, beside.shape[-1]), np.nan)
                quantiles[whole] = beside
        return forecasts, by, quantiles

    def own_quantiles(self, raw: np.ndarray) -> np.ndarray | None:
        """[B, H, Q] float32, a graph output's quantiles minus its points; None if intervals use none."""
        levels = np.array(self.facts.get("quantiles", ()))
        if not self.calibration.own:
            return None
        places = [int(np.abs(levels - level).argmin()) - len(levels) for level in self.calibration.levels]
        found = raw[..., places]
        return np.asarray(found if self.combined else found - raw[..., :1], np.float32)

    def points(self, raw: np.ndarray | None, history: History | None = None) -> np.ndarray:
        """[B, H] float64 points from graph output: [B, H, Q], [B, H, M] (ensemble) or None (baseline)."""
        if history is None or not (self.alone or self.combined):
            return np.asarray(raw, np.float64)[..., 0]
        if self.alone is not None:
            return self._baseline(self.alone, history)
        assert raw is not None
        members = raw.shape[-1] - len(self.facts.get("quantiles", ()))
        networks, others = np.asarray(raw[..., :members], np.float64), [self._baseline(one, history) for one in self.combined]
        whole = np.isfinite(networks).all(axis=-1)  # as in models/mixed.py
        return np.where(whole, combine(np.concatenate([networks, np.stack(others, -1)], -1), self.how, self.counts), np.nan)

    def _baseline(self, one: _Baseline, history: History) -> np.ndarray:
        ahead = self.gap + np.arange(1, self.horizon + 1)
        return np.asarray(baseline(one.name, one.arguments, *history, ahead), np.float64)

    def _fall_back(self, rows: _Rows, series: np.ndarray, origin: np.ndarray, forecasts: np.ndarray, by: np.ndarray) -> None:
        """Fills in series without any forecast, by the first fallback their history allows (number in `by`)."""
        lacking = np.flatnonzero(~np.isin(series, series[by >= 0]))
        if not len(lacking):
            return
        history = _history(rows, series[lacking], origin[lacking])
        for number, other in enumerate(self.fallbacks, start=1):
            some = np.flatnonzero((by[lacking] < 0) & suffices(other.name, other.arguments, history))
            made = self._baseline(other, History(history.y, history.start[some], history.at[some]))
            whole = np.isfinite(made).all(axis=1)
            forecasts[lacking[some[whole]]], by[lacking[some[whole]]] = made[whole], number

    def run(self, graph: Graph, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """A graph's raw forecasts [B, H, Q], from those of the inputs that it takes."""
        takes = self.facts.get("inputs", OLD_INPUTS)
        return graph(*(inputs[name].to(getattr(torch, kind)) for name, kind in takes.items()))

    def _read(self, frame: Any) -> _Rows:
        frame = frame.to_pandas() if hasattr(frame, "to_pandas") else frame
        for name in ("unique_id", "ds", *self.columns, *(["y"] if self.future else [])):
            if name not in frame.columns:
                own = f", or {', '.join(self.own.names)}" if self.own is not None and name in ("unique_id", "ds") else ""
                raise ValueError(f"column {name!r} is missing; needed are unique_id, ds, {', '.join(self.columns)}{own}")
        if not len(frame):
            raise ValueError("the frame has no rows: nothing to forecast from")
        row_ids = series_names([frame["unique_id"]])
        if pd.isna(row_ids).any():
            raise ValueError("column 'unique_id' has an empty value: every row needs the name of its series")
        times = _times(frame["ds"], row_ids, self.grid, self.data)
        values = [_numbers(frame[name], name, row_ids) for name in (*self.features, *self.future)]
        y = np.full(len(frame), np.nan)
        if "y" in frame.columns:  # as the checks do, even if no feature reads it
            y = _numbers(frame["y"], "y", row_ids)
            _refuse("y", frame["y"], row_ids, (y <= LOG1P) & self.log1p, f"is too low; {REFUSED['log1p']}")
        codes, ids = pd.factorize(row_ids, sort=True)
        order = np.lexsort((times, codes))
        series, times = codes[order], times[order]
        starts = np.flatnonzero(np.diff(series, prepend=-1))
        first, day = times[starts], _days(times, starts, self.grid)
        position, on_grid = positions(times, first[series], day[series], self.grid)
        _refuse_rows(ids, series, times, on_grid, self.grid)
        _refuse_coarse(ids, position, starts, self.span, self.gaps)
        ends = np.append(starts[1:], len(times)) - 1
        last = end = position[ends]
        if "y" in frame.columns:  # rows after the last y are to be forecast
            seen = ~np.isnan(y[order])
            if seen.any() or self.future or "y" in self.columns:
                last = np.maximum.reduceat(np.where(seen, position, -1), starts)
        static = self._static(frame, ids, row_ids, order, starts)
        return _Rows(ids.tolist(), series, position, order, values, y[order], first, day, last, end, static)

    def _static(self, frame: Any, ids: Any, row_ids: np.ndarray, order: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """[S, C]: the first number given, or the first category's training code; 0 for a new one."""
        found = np.zeros((len(ids), len(self.static)))
        for column, (name, kind) in enumerate(self.static.items()):
            if kind == "numeric":
                given: Any = pd.Series(_numbers(frame[name], name, row_ids)[order])
            else:
                given = pd.Series(row_ids if name == "unique_id" else _texts_of(frame[name], NULLS), dtype=object)[order]
            first = given.groupby(np.searchsorted(starts, np.arange(len(order)), side="right") - 1).first()
            codes = {text_of(text): code for code, text in enumerate(self.facts["categories"].get(name, ()), start=1)}
            known = (codes.get(text, codes.get(BEFORE.get(text), 0)) for text in first)
            found[:, column] = first if kind == "numeric" else list(known)
        return found

    def _cutoffs(self, rows: _Rows, start: str | int | datetime | None, stride: int) -> tuple[np.ndarray, np.ndarray]:
        """Series and position of every cutoff, by series and time, with any history."""
        begin, known = rows.last, rows.last >= 0
        if not known.any():
            raise ValueError("no series has one observed y: there is nothing to forecast from")
        if start is not None:
            begin = first_from(moment_of(start, self.grid), rows.first, rows.day, self.grid)
            known &= rows.last >= begin
            if not known.any():
                raise ValueError(f"no series has a row at or after {start}")
        step = min(stride, int(rows.last.max()) + 1)  # already reaches past every last row
        counts = np.where(known, np.maximum((rows.last - begin) // step + 1, 0), 0)
        series = np.repeat(np.arange(len(rows.ids)), counts)
        number = np.arange(len(series)) - np.repeat(np.cumsum(counts) - counts, counts)
        return series, begin[series] + step * number

    def _refuse_short(self, rows: _Rows, some: np.ndarray) -> None:
        """Raises ValueError for one of some series that the windows do not fit into."""
        short = some[rows.last[some] < self.behind]
        if len(short):
            more = f" (and {len(short) - 1} more series)" if len(short) > 1 else ""
            given, needed = int(rows.last[short[0]]) + 1, f"{self.behind + 1} rows at {self.span} are needed up to the cutoff"
            given_words = f"{given} {'is' if given == 1 else 'are'} given"
            raise ValueError(f"series {rows.ids[short[0]]!r}{more}: too short a history, {needed} and {given_words}")

    def _refuse_unknown(self, rows: _Rows, series: np.ndarray, origin: np.ndarray) -> None:
        """Raises ValueError for a cutoff without the following rows of values known ahead."""
        late = np.flatnonzero(origin + self.ahead > rows.end[series])
        if self.future and len(late):
            lacking = int((origin + self.ahead - rows.end[series])[late[0]])
            what = f"{', '.join(self.future)} must be given for {self.ahead} rows after a cutoff, and the last {lacking} are"
            raise ValueError(f"series {rows.ids[series[late[0]]]!r}: {what} missing; add rows with them, y left empty")

    def _grid(self, rows: _Rows, series: np.ndarray, origin: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The part of the regular grid that windows read, float64 [rows, F], and each origin's row in it."""
        limit, none = int(self.facts["forward_fill"]), np.iinfo(np.int64).max
        low, high = np.full(len(rows.ids), none), np.full(len(rows.ids), -1)
        np.minimum.at(low, series, origin)
        np.maximum.at(high, series, origin + self.ahead)
        base = np.where(high < 0, 0, np.maximum(low - self.reach - limit, -self.padding))
        offsets = np.concatenate(([0], np.cumsum(high + 1 - base)))
        owner = np.repeat(np.arange(len(rows.ids)), np.diff(offsets))
        calendar, features = self.facts["windows"]["calendar"], len(self.features)
        waves = sum(1 if name == HOLIDAY else 2 for name in calendar)
        values = np.full((offsets[-1], features + waves + len(self.future)), np.nan)
        keep = (rows.position >= base[rows.series]) & (rows.position <= high[rows.series])
        at = (offsets[rows.series] + rows.position - base[rows.series])[keep]
        for number, given in enumerate(rows.values):
            column = number if number < features else number + waves
            values[at, column] = given[rows.order[keep]]
            if column < features:
                _carry_forward(values[:, column], offsets[owner], limit)
        times = time_at(rows.first[owner], rows.day[owner], np.arange(len(values)) - offsets[owner] + base[owner], self.grid)
        known = [channel for name in calendar for channel in _calendar(times, name, self.grid)]
        for column, channel in enumerate(known, start=features):
            values[:, column] = channel
        return values, offsets[series] + origin - base[series]

    def _past(self, values: np.ndarray, at: np.ndarray) -> np.ndarray:
        """[B, L, F]: per channel the rows t - d - r * (n - 1 - j), right-aligned, NaN in older places."""
        past = np.full((len(at), self.lookback, len(self.channels)), np.nan)
        for column, (n, r, d) in enumerate(self.channels):
            past[:, self.lookback - n :, column] = values[at[:, None] - d - r * np.arange(n - 1, -1, -1), column]
        return past

    def _sees_y(self, values: np.ndarray, at: np.ndarray) -> np.ndarray:
        """Whether each origin's window, by its row, has an observed y."""
        y = self.features.index("y")
        n, r, d = self.channels[y]
        seen = np.zeros(len(at), bool)
        for sample in range(n):
            seen |= ~np.isnan(values[at - d - r * sample, y])
        return seen

    def _numbers_of(self, ids: list[str]) -> np.ndarray:
        """Each series' number in training; one past the last for an unknown one."""
        return np.array([self.known.get(name, len(self.facts["ids"])) for name in ids], np.int64)

    def notes(self, ids: Iterable[str], models: Iterable[str]) -> list[str]:
        """Notes from each row's series and model: which series are new, and which another model forecasts."""
        by: dict[str, dict[str, None]] = {}
        for name, model in dict.fromkeys(zip(ids, models, strict=True)):
            by.setdefault(model, {})[name] = None
        total, own = len(set().union(*by.values())), by.pop(self.name, {})
        other, told = len(set().union(*by.values())), [self.unseen(own) if self.alone is None else None]
        if other:
            which = ", ".join(f"by {model} ({_some(list(names))})" for model, names in by.items())
            lacking = f"{other} of {total} series {'has' if other == 1 else 'have'} too little history for {self.name}"
            told.append(f"{lacking}: forecast {which}")
        return [words for words in told if words]

    def unseen(self, ids: Iterable[str]) -> str | None:
        """A note on series not in training: which, and how they are scaled; None if there are none."""
        names = list(dict.fromkeys(ids))
        new = [name for name in names if name not in self.known]
        if not new:
            return None
        are = "is" if len(new) == 1 else "are"
        which = f"{len(new)} of {len(names)} series {are} not among those of training ({_some(new)})"
        return f"{which}: scaled as all of those together are"

    def _frame(self, rows: _Rows, made: "_Made", wanted: dict[str, float]) -> pd.DataFrame:
        owner = np.repeat(made.series, self.horizon)
        ahead = (made.origin[:, None] + self.gap + 1 + np.arange(self.horizon)).ravel()
        points = self.bounds.of(made.points).ravel()
        found = self._quantiles(rows, made, points, [*wanted.values()])
        models = np.array([self.name, *(other.name for other in self.fallbacks)], object)

        def times(position: np.ndarray) -> Any:
            at = time_at(rows.first[owner], rows.day[owner], position, self.grid)
            if isinstance(self.span, int):
                return at
            at = _instants(at, self.grid.zone) if self.grid.by_day else at
            return pd.Series(at.astype("datetime64[us]")).dt.tz_localize("UTC")

        columns = {
            "unique_id": pd.Series(np.array(rows.ids, object)[owner], dtype="str"),
            "cutoff": times(np.repeat(made.origin, self.horizon)),
            "ds": times(ahead),
            "yhat": points,
            **{name: found[:, number] for number, name in enumerate(wanted)},
            "model": pd.Series(np.repeat(models[made.by], self.horizon), dtype="str"),
        }
        return pd.DataFrame(columns)

    def _quantiles(self, rows: _Rows, made: "_Made", points: np.ndarray, asked: Sequence[float]) -> np.ndarray:
        """[B H, asked] forecast quantiles, each row's by the calibration of the model that made it."""
        found = np.full((len(points), len(asked)), np.nan)
        numbers, step = self._numbers_of(rows.ids)[made.series], np.tile(np.arange(self.horizon), len(made.by))
        others = [other.calibration for other in self.fallbacks]
        for by, one in enumerate((self.calibration, *others)):
            origins = np.flatnonzero(made.by == by)
            if one is None or not len(origins):
                continue
            one = one if one.latest is None or not made.latest else one._replace(units=one.latest)
            units = one.units[numbers[origins]]
            for new in np.unique(made.series[origins][numbers[origins] == len(self.facts["ids"])]):
                some, its = made.series[origins] == new, rows.series == new
                units[some] = one.own_units(rows.position[its], rows.y[its], made.origin[origins][some])
            at = (origins[:, None] * self.horizon + np.arange(self.horizon)).ravel()
            own = None if by or made.own is None else made.own[origins].reshape(len(at), -1) + points[at, None]
            series, units = (np.repeat(each, self.horizon) for each in (numbers[origins], units))
            every = one.quantiles(points[at], step[at], series, own, units)
            found[at] = one.asked(every, points[at], asked, self.bounds)
        return found


class _Made(NamedTuple):
    """Forecasts: series, cutoff position and model (0: its own, then fallbacks) [B].

    `points` [B, H]; `own` [B, H, Q]: the model's quantiles minus its points; `latest`: trained on all rows."""

    series: np.ndarray
    origin: np.ndarray
    points: np.ndarray
    by: np.ndarray
    own: np.ndarray | None
    latest: bool


def combine(members: np.ndarray, how: str, counts: Any = 1) -> np.ndarray:
    """The last axis' median, or mean by `counts` (equal if all are 0), ignoring NaN; NaN if all is."""
    there = ~np.isnan(members)
    if how == "mean":
        counts = there * np.where((there * counts).any(-1, keepdims=True), counts, 1)
        with np.errstate(invalid="ignore"):
            return np.asarray(np.nansum(members * counts, -1) / counts.sum(-1))
    there = there.sum(-1, keepdims=True)
    ordered = np.sort(members, axis=-1)  # NaN last
    low, high = (np.take_along_axis(ordered, np.maximum(at, 0) // 2, -1)[..., 0] for at in (there - 1, there))
    return np.asarray((low + high) / 2)


def is_baseline(name: str) -> bool:
    """Whether `baseline` knows a name."""
    return name in ("last_value", "drift", "seasonal_naive", *_FITS) or str(name).startswith(OUTSIDE)


def baseline(
    name: str,
    arguments: dict[str, int],
    y: np.ndarray,
    start: np.ndarray,
    at: np.ndarray,
    ahead: np.ndarray,
    told: Callable[[int], None] = lambda done: None,
) -> np.ndarray:
    """[origins, horizon] forecasts of a baseline, NaN where it has none.

    `y` [rows]: all series end to end, NaN where missing; `start`, `at` [origins]: the first row of the
    origin's series and the row of its cutoff; `ahead` [horizon]: rows after the cutoff.  `arguments`:
    `season`, and the `rows` of history for a fit (models/baselines.py).  `told` receives the number of fits
    done after each.  Raises ValueError for an unknown name."""
    season = arguments["season"]
    newest = np.maximum.accumulate(np.where(np.isnan(y), -1, np.arange(len(y))))
    last = newest[at]
    value = np.where(last < start, np.nan, y[last])[:, None]
    if name == "last_value":
        return np.broadcast_to(value, (len(at), len(ahead)))
    if name == "drift":
        observed = np.append(np.flatnonzero(~np.isnan(y)), len(y) - 1)  # the end, so that a search always finds one
        first = observed[np.searchsorted(observed[:-1], start)]
        slope = (value[:, 0] - y[first]) / np.maximum(last - first, 1)
        return np.asarray(value + slope[:, None] * ((at - last)[:, None] + ahead))
    if name == "seasonal_naive":
        return seasonal(y, at[:, None] + ahead - -(-ahead // season) * season, start[:, None], season)
    if not is_baseline(name):
        raise ValueError(f"unknown baseline {name!r}")
    fit = _FITS.get(name) or partial(_from_outside, name)
    found, model = np.full((len(at), len(ahead)), np.nan), fit(season)
    for origin, (begin, end) in enumerate(zip(start, at, strict=True)):
        low = max(begin, end + 1 - arguments.get("rows", end + 1))
        filled = newest[low : end + 1]
        past = y[filled[filled >= low]]  # gaps repeat the value before them
        if len(past):
            found[origin] = model(past, ahead)
        told(origin + 1)
    return found


def suffices(name: str, arguments: dict[str, Any], history: History) -> np.ndarray:
    """[origins] whether a baseline has enough values to replace another model."""
    seen, end = np.append(0, np.cumsum(~np.isnan(history.y))), history.at + 1
    observed = seen[end] - seen[np.maximum(history.start, end - arguments.get("rows", end))]
    least = max(2 * arguments["season"], LEAST)  # a drift over few values is far worse than the last value
    return np.asarray(observed >= (1 if name in ("last_value", "seasonal_naive") else least))


def _history(rows: _Rows, series: np.ndarray, origin: np.ndarray) -> History:
    """The history at some cutoffs on the grid.  Raises ValueError if that is far larger than the frame."""
    sizes = np.zeros(len(rows.ids), np.int64)
    np.maximum.at(sizes, series, origin + 1)
    if sizes.sum() > max(MOST_STEPS, 100 * len(rows.y)):
        most = int(sizes.argmax())
        raise ValueError(f"series {rows.ids[most]!r}: its rows are spread over {sizes[most]:,} steps; remove those far off")
    offsets = np.cumsum(sizes) - sizes
    y = np.full(sizes.sum(), np.nan)
    keep = rows.position < sizes[rows.series]
    y[(offsets[rows.series] + rows.position)[keep]] = rows.y[keep]
    return History(y, offsets[series], offsets[series] + origin)


def seasonal(y: np.ndarray, source: np.ndarray, start: np.ndarray, season: int) -> np.ndarray:
    """The newest observed value a whole number of seasons (or 0) before each row of `source`, else NaN.

    `y` [rows]: all series end to end, NaN where missing; `start`: the first row of each source's series."""
    rows = np.arange(len(y))
    back = np.where(np.isnan(y) & (rows >= season), rows - season, rows)  # the nearest row with a value, in any series
    while not np.array_equal(further := back[back], back):  # each round doubles the distance of a step back
        back = further
    found = back[np.maximum(source, 0)]
    # The result may be in the previous series: then nothing was observed.
    return np.where((source >= start) & (found >= start), y[found], np.nan)


def _naive2(season: int) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """The M4 competition's benchmark: the last value, seasonally adjusted if the series is seasonal.

    Makridakis et al. 2020, "The M4 Competition"; additive if a value is not positive, which M4 did not have."""

    def forecast(y: np.ndarray, ahead: np.ndarray) -> np.ndarray:
        if not _is_seasonal(y, season):
            return np.full(len(ahead), y[-1])
        places = np.arange(len(y))
        weights = np.full(season, 1 / season) if season % 2 else np.r_[0.5, np.ones(season - 1), 0.5] / season
        trend = np.convolve(y, weights, "valid")
        inside = slice(season // 2, season // 2 + len(trend))
        times = bool((y > 0).all())
        apart, place = (y[inside] / trend if times else y[inside] - trend), places[inside] % season
        figure = np.bincount(place, apart, season) / np.bincount(place, minlength=season)
        figure = figure / figure.mean() if times else figure - figure.mean()
        now, later = figure[(len(y) - 1) % season], figure[(len(y) - 1 + ahead) % season]
        return np.asarray(y[-1] / now * later if times else y[-1] - now + later)

    return forecast


def _is_seasonal(y: np.ndarray, season: int) -> bool:
    """Whether the seasonal autocorrelation differs from zero (90 %); never with less than three seasons."""
    if season < 2 or len(y) < 3 * season:
        return False
    apart = y - y.mean()
    total = apart @ apart
    if total <= 0:
        return False
    r = np.array([apart[lag:] @ apart[:-lag] for lag in range(1, season + 1)]) / total
    return bool(abs(r[-1]) > 1.645 * np.sqrt((1 + 2 * (r[:-1] @ r[:-1])) / len(y)))


def _statsforecast(name: str, season: int) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Theta or AutoETS from statsforecast; NaN if the library cannot fit."""
    from statsforecast import models  # takes seconds to import

    model = getattr(models, name)(season_length=season)

    def forecast(y: np.ndarray, ahead: np.ndarray) -> np.ndarray:
        try:
            with np.errstate(all="ignore"):  # a constant series divides by its zero variance, yet forecasts correctly
                mean = model.forecast(y=y, h=int(ahead[-1]))["mean"][ahead - 1]
        except Exception:  # too short, for example: the library has no exception type for it
            return np.full(len(ahead), np.nan)
        return np.where(np.isfinite(mean), mean, np.nan)

    return forecast


def _from_outside(name: str, season: int) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """A baseline from outside lagline; NaN where it returns None.  Raises ValueError for anything but finite numbers."""
    called = name.removeprefix(OUTSIDE)
    if name not in TAKEN_IN:
        raise ValueError(f"{called} is code from outside lagline, and nobody here has named it")

    def forecast(y: np.ndarray, ahead: np.ndarray) -> np.ndarray:
        try:
            given = TAKEN_IN[name](y.copy(), int(ahead[-1]), season)
            made = np.full(ahead[-1], np.nan) if given is None else np.asarray(given, np.float64)
        except Exception as error:
            raise ValueError(f"{called}, given {len(y)} values, raised {type(error).__name__}: {error}") from error
        if made.shape != (ahead[-1],) or (given is not None and not np.isfinite(made).all()):
            raise ValueError(f"{called}, given {len(y)} values, must return {ahead[-1]} finite ones or None, not {given!r:.99}")
        return np.asarray(made[ahead - 1])

    return forecast


_FITS: dict[str, Callable[[int], Callable[[np.ndarray, np.ndarray], np.ndarray]]] = {
    "naive2": _naive2,
    "theta": partial(_statsforecast, "Theta"),
    "auto_ets": partial(_statsforecast, "AutoETS"),
}


def text_of(cell: Any) -> str | None:
    """The series name in a cell, None if empty; the rule of tasks/load/ids.py."""
    if isinstance(cell, str):
        text = cell.strip(BLANKS)
        whole = WHOLE.fullmatch(text)
        return ((whole[1] or whole[2]) if whole else TRUTHS.get(text, text)) or None
    if isinstance(cell, bool | np.bool_):
        return "true" if cell else "false"
    if cell is None or cell is pd.NA or cell != cell:
        return None
    if isinstance(cell, float | np.floating | Decimal):
        whole_number = abs(cell) != float("inf") and cell == int(cell)
        return str(int(cell)) if whole_number else f"{cell.normalize():f}" if isinstance(cell, Decimal) else str(cell)
    midnight = isinstance(cell, datetime) and cell.tzinfo is None and cell.time() == time()
    return str(cell.date() if midnight else cell)


def _texts_of(column: Any, nothing: Sequence[str] = ()) -> np.ndarray:
    """A column's texts, each value converted once; None for null and for texts that mean it."""

    def told(cell: Any) -> str | None:
        text = text_of(cell)
        return None if isinstance(cell, str) and (text or "").lower() in nothing else text

    if pd.api.types.infer_dtype(column, skipna=True).startswith("mixed"):  # 1 and true would be equal
        return np.array([told(cell) for cell in column], object)
    codes, values = pd.factorize(column)
    cells = values.to_numpy() if values.dtype.kind == "f" else values  # keeps the digits of its own width
    return np.asarray(np.array([*map(told, cells), None], object)[codes])


def series_names(columns: Sequence[Any]) -> np.ndarray:
    """Each row's series name as text, None if a column has none; several columns are joined by `/`."""
    parts = [_texts_of(column) for column in columns]
    if len(parts) == 1:
        return parts[0]
    codes, rows = pd.factorize(pd.MultiIndex.from_arrays(parts))
    return np.asarray(np.array([*map(_joined, rows), None], object)[codes])


def _joined(parts: Sequence[str | None]) -> str | None:
    """One text from several; a `/` or `\\` inside one is escaped by `\\`, so that names stay distinct."""
    texts = [re.sub(r"([\\/])", r"\\\1", text) for text in parts if isinstance(text, str)]
    return "/".join(texts) if len(texts) == len(parts) else None


def _transforms(job: dict[str, Any]) -> set[str]:
    """The target transforms of a job, or of an ensemble's members."""
    return {str(job.get("scaling", {}).get("target", "none"))}.union(*map(_transforms, job.get("members", ())))


def _leave_out(ids: list[str], some: np.ndarray, left_out: list[str] | None, why: str = BLIND) -> None:
    """Records series without a forecast.  Raises ValueError if nobody asked for their names."""
    if len(some) and left_out is None:
        more = f" (and {len(some) - 1} more series)" if len(some) > 1 else ""
        raise ValueError(f"series {ids[some[0]]!r}{more}: {why}, so there is nothing to forecast from")
    if left_out is not None:
        left_out += [ids[number] for number in some]


def _some(names: list[str]) -> str:
    """The first of some series names, for a message."""
    return ", ".join(map(repr, names[:NAMED])) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def _refuse_rows(ids: np.ndarray, series: np.ndarray, times: np.ndarray, on_grid: np.ndarray, grid: _Grid) -> None:
    """Raises for a duplicate time in a series or one off its grid; rows are sorted."""
    twice = (np.diff(series, prepend=-1) == 0) & (np.diff(times, prepend=0) == 0)
    off = f"is not a whole number of steps of {grid.span} after its first row"
    if grid.unit == "bd":
        off = f"is a weekend or a holiday, or {off}; remove such rows"
    for wrong, what in ((twice, "stands twice; keep one row of each time"), (~on_grid, off)):
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise ValueError(f"series {str(ids[series[row]])!r}, column 'ds': {grid.shown(int(times[row]))} {what}")


def _refuse_coarse(ids: np.ndarray, position: np.ndarray, starts: np.ndarray, span: str | int, gaps: float) -> None:
    """Raises for a series of over two rows on a coarser grid, unless training had as many `gaps`."""
    apart = np.gcd.reduceat(position, starts)  # the step of the coarsest grid that holds a series' rows
    lacking = 1 - 1 / np.maximum(apart, 1)  # the share of missing steps on the right grid
    for at in np.flatnonzero((lacking > gaps) & (np.diff(starts, append=len(position)) > 2)):
        size = re.sub(r"\d+", lambda step, times=apart[at]: str(int(step[0]) * times), str(span))  # type: ignore[misc]
        raise ValueError(f"series {str(ids[at])!r}: its rows are {size} apart, the model's frequency is {span}; resample them")


def _times(column: Any, ids: np.ndarray, grid: _Grid, data: dict[str, Any] | None = None) -> np.ndarray:
    """int64: whole numbers, or microseconds as counted on the grid."""
    span = grid.span
    numeric = column.dtype.kind in "iuf"
    if isinstance(span, int):
        bad = ~(pd.to_numeric(column, errors="coerce") % 1 == 0).to_numpy(bool) if numeric else np.ones(len(column), bool)
        _refuse("ds", column, ids, bad, f"is not a whole number (the time step of this model is {span})")
        far = (pd.to_numeric(column).abs() >= 2**60).to_numpy(bool)
        _refuse("ds", column, ids, far, "is too large for a time: a forecast after it could not be counted")
        return np.asarray(column.to_numpy(np.int64))
    given = column
    if column.dtype.kind in "iufO":
        column = _as_times(column, grid, data or {})
        numeric = column.dtype.kind in "iuf"
    _refuse("ds", column, ids, np.full(len(column), numeric or column.dtype.kind == "b"), f"is not a time (one row is {span})")
    if column.dtype.kind == "M":
        parsed = pd.to_datetime(column, utc=True)
        named = np.full(len(column), getattr(column.dt, "tz", None) is not None)
    else:
        dated = column.where(column.map(_dated))
        parsed, named = pd.to_datetime(dated, utc=True, errors="coerce", format="ISO8601"), column.map(_zoned).to_numpy(bool)
    _refuse("ds", given, ids, parsed.isna().to_numpy(), "is not a time; write 2013-01-31 or 2013-01-31T23:00:00Z")
    instants = _whole(parsed.dt.tz_localize(None))
    if not grid.by_day and (grid.zone in (None, "UTC") or named.all()):
        return instants
    written = column if column.dtype.kind == "M" else parsed
    if column.dtype.kind != "M" and named.any():
        written = pd.to_datetime(dated.map(_as_written), utc=True, errors="coerce", format="ISO8601")
    clock = _whole(written.dt.tz_localize(None))
    if grid.by_day:
        return np.where(named, clock if grid.zone is None else _shown(instants, grid.zone), clock)
    instants[~named] = _localized(clock[~named], ids[~named], str(grid.zone))
    return instants


def _as_times(column: Any, grid: _Grid, data: dict[str, Any]) -> Any:
    """Texts and numbers as times, by the run table's format (`data`) or year first; others unchanged."""
    if data.get("time_unit") and pd.to_numeric(column, errors="coerce").notna().all():
        return pd.to_datetime(pd.to_numeric(column), unit=data["time_unit"], utc=True)
    if data.get("time_format") and column.dtype.kind == "O":
        form = re.sub("%[-_0]", "%", data["time_format"]).replace("%.f", ".%f").replace("%e", "%d").replace("%F", "%Y-%m-%d")
        found = pd.to_datetime(column, format=form.replace("%T", "%H:%M:%S").replace("%R", "%H:%M"), errors="coerce")
        if found.notna().all():
            return found
    if column.dtype.kind == "O":
        return column.map(partial(_year_first, years=grid.unit == "y"))
    dates = column.map(lambda cell: _year_first(str(int(cell)), grid.unit == "y") if cell == cell and cell % 1 == 0 else cell)
    return dates if dates.map(lambda cell: isinstance(cell, str) and "-" in cell).all() else column


def _year_first(cell: Any, years: bool) -> Any:
    """A year-first time text as ISO 8601; others unchanged.  See tasks/grid/forms.py."""
    if not isinstance(cell, str) or USUAL.fullmatch(cell.strip()):
        return cell
    text = re.sub(r"^(\d{4})([/.])(\d{1,2})\2(\d{1,2})(?!\d)", r"\1-\3-\4", cell.strip())
    found = YEAR_FIRST.match(re.sub(r"^(\d{4})/(\d{1,2})$", r"\1-\2", text))
    if found is None:
        return None if re.fullmatch(r"[\d.]+", text) else cell
    part: dict[str, str] = {name: text for name, text in found.groupdict().items() if text is not None}
    day, hour = part.get("day", part.get("days", part.get("weekday"))), part.get("hour", part.get("hours"))
    month = part.get("month", part.get("months", part.get("number", str(3 * int(part.get("quarter", 1)) - 2))))
    alone = not part.keys() & {"month", "months", "number", "quarter", "week"}
    if (alone and not years) or (hour and not day) or ((alone or "months" in part) and not 1677 <= int(part["year"]) <= 2262):
        return None
    minute, second = part.get("minute", part.get("minutes", "00")), part.get("second", part.get("seconds", "00"))
    try:
        year, number = int(part["year"]), int(day or 1)
        whole = date.fromisocalendar(year, int(part["week"]), number) if "week" in part else date(year, int(month), number)
        hours, rest = int(hour or 0), f"{minute}:{second}"
        if "half" in part:
            hours = hours % 12 + 12 * (part["half"] in "Pp") if 1 <= hours <= 12 else 99
        if hours == 24 and rest == "00:00":
            hours, whole = 0, whole + timedelta(days=1)
        return f"{whole} {hours:02}:{rest.replace(',', '.')}{part.get('zone', '')}"
    except ValueError:
        return None


def _whole(times: Any) -> np.ndarray:
    return np.asarray(times.to_numpy().astype("datetime64[us]").astype(np.int64))


def _zoned(value: Any) -> bool:
    """Whether a value has a UTC offset or a zone."""
    return bool(ZONED.search(value.strip())) if isinstance(value, str) else getattr(value, "tzinfo", None) is not None


def _as_written(value: Any) -> Any:
    """A time without its zone."""
    if isinstance(value, str):
        found = ZONED.search(value.strip())
        return value.strip()[: found.start(1)].strip() if found else value
    return value.replace(tzinfo=None) if getattr(value, "tzinfo", None) is not None else value


def _clock(instants: np.ndarray, zone: str | None) -> np.ndarray:
    """Instants as local times of a zone."""
    if zone in (None, "UTC"):
        return instants
    return _whole(pd.DatetimeIndex(instants.astype("datetime64[us]")).tz_localize("UTC").tz_convert(zone).tz_localize(None))


def _shown(instants: np.ndarray, zone: str | None) -> np.ndarray:
    """The same for steps of a day or more: a day's first instant is midnight, even if clocks skipped it."""
    if zone in (None, "UTC"):
        return instants
    clock = _clock(instants, zone)
    midnight = clock - clock % DAY
    return np.where(_instants(midnight, zone) == instants, midnight, clock)


def _instants(clock: np.ndarray, zone: str | None, second: bool = False) -> np.ndarray:
    """The instants of local times: the first (or `second`) of two; skipped ones move by the gap."""
    if zone in (None, "UTC"):
        return clock
    found, after = _found(clock, zone, second), _found(clock - SKIPPED, zone, second) + SKIPPED
    return np.where(found == np.iinfo(np.int64).min, after, found)


def _found(clock: np.ndarray, zone: str | None, second: bool) -> np.ndarray:
    """The same, but the least int64 for skipped times."""
    times = pd.DatetimeIndex(clock.astype("datetime64[us]"))
    local = times.tz_localize(zone, ambiguous=np.full(len(clock), not second), nonexistent="NaT")
    return _whole(local.tz_convert("UTC").tz_localize(None))


def _localized(clock: np.ndarray, ids: np.ndarray, zone: str) -> np.ndarray:
    """Local times as instants; row order tells which of a repeated hour is meant.

    Raises ValueError for a skipped or ambiguous time."""
    one, two = (_found(clock, zone, second) for second in (False, True))

    def refuse(row: int, what: str) -> None:
        time = pd.Timestamp(int(clock[row]), unit="us")
        raise ValueError(f"series {ids[row]!r}, column 'ds': {time} {what} in {zone}; write times with their offset from UTC")

    for row in np.flatnonzero(one == np.iinfo(np.int64).min)[:1]:
        refuse(int(row), "was never shown: clocks went forward then")
    twice = np.flatnonzero(one != two)
    for _, part in pd.Series(twice).groupby([ids[twice], clock[twice] // DAY], sort=False):
        rows = part.to_numpy()
        own = clock[ids == ids[rows[0]]]
        turns = np.diff(clock[rows], prepend=clock[rows[0]] - 1) * (-1 if own[0] > own[-1] else 1) <= 0
        turns[0] = False
        alone = np.full(len(rows), clock[rows].max() != own.max())
        if turns.sum() > 1 or (not turns.any() and alone[0] and clock[rows].min() != own.min()):
            refuse(int(rows[0]), "came twice: clocks went back then, and the rows do not tell which one it is,")
        later = alone if not turns.any() else (np.cumsum(turns) == 1) ^ (own[0] > own[-1])
        one[rows[later]] = two[rows[later]]
    return one


def _like(column: Any, times: Any, grid: _Grid) -> Any:
    """Times (UTC) in a column's own form: naive ones in the table's zone, dates as dates, days as text."""
    if not grid.unit:
        return times.astype(column.dtype) if column.dtype.kind in "iu" else times
    zone, instants = getattr(column.dtype, "tz", None), _whole(times.dt.tz_localize(None))
    shown = (_shown if grid.by_day else _clock)(instants, grid.zone)
    clock = pd.Series(shown.astype("datetime64[us]"))
    if zone is not None:
        bare = grid.by_day and grid.zone is None  # days without a zone match any
        local = clock.dt.tz_localize(zone, ambiguous=np.full(len(clock), True), nonexistent="shift_forward") if bare else times
        return local.dt.tz_convert(zone).dt.as_unit(column.dt.unit)
    if column.map(_zoned).any():
        return times
    texts = [value.strip() for value in column if isinstance(value, str)]
    if texts and all(re.fullmatch(r"\d{4}-\d\d-\d\d", text) for text in texts):
        return clock.dt.strftime("%Y-%m-%d").astype(object)
    days = len(column) and all(isinstance(value, date) and not isinstance(value, datetime) for value in column)
    return clock.dt.date if days else clock.dt.as_unit(column.dt.unit) if column.dtype.kind == "M" else clock


def _dated(value: Any) -> bool:
    """Whether a value can be a time: pandas also accepts "now", "today" and numbers."""
    return value.strip()[:1].isdigit() if isinstance(value, str) else isinstance(value, date | np.datetime64)


def _numbers(column: Any, name: str, ids: np.ndarray) -> np.ndarray:
    """float64, NaN where missing."""
    if column.dtype.kind in "biuf":
        values = column.to_numpy(np.float64, na_value=np.nan)
    else:
        values = pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)
        text = column.map(lambda value: isinstance(value, str)).to_numpy(bool)
        other = np.isnan(values) & column.notna().to_numpy() if column.dtype.kind == "O" else column.notna().to_numpy()
        _refuse(name, column, ids, text | other, f"is not a number; the column holds {REFUSED['text']}")
    _refuse(name, column, ids, np.isinf(values), f"is infinite; the column holds {REFUSED['infinite']}")
    _refuse(name, column, ids, np.abs(values) > MOST_SIZE, f"is too large; the column holds {REFUSED['huge']}")
    return np.asarray(values)


def _refuse(name: str, column: Any, ids: np.ndarray, bad: np.ndarray, what: str) -> None:
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        value = column.iloc[row]
        shown = value.item() if isinstance(value, np.generic) else value
        raise ValueError(f"series {ids[row]!r}, column {name!r}: {shown!r} {what}")


def _carry_forward(values: np.ndarray, start: np.ndarray, limit: int) -> None:
    """Fills NaN in place with the same series' last value (from row `start` on), at most `limit` rows old."""
    rows = np.arange(len(values))
    last = np.maximum.accumulate(np.where(np.isnan(values), -1, rows))
    usable = np.isnan(values) & (last >= start) & (rows - last <= limit)
    values[usable] = values[last[usable]]


def _calendar(times: np.ndarray, name: str, grid: _Grid) -> tuple[np.ndarray, ...]:
    """Sine and cosine of the hour (with minutes), weekday (Monday 0), day or month, from 0; 1 on a holiday, else 0."""
    if name == HOLIDAY:
        today = (times if grid.by_day else _clock(times, grid.zone)) // DAY
        return (np.isin(today, grid.holidays.astype(np.int64)).astype(np.float64),)
    ds = pd.DatetimeIndex(times.astype("datetime64[us]"))
    days = {"weekday": ds.day_of_week, "monthday": ds.day - 1, "yearday": ds.day_of_year - 1, "month": ds.month - 1}
    value = (days[name] if name in days else ds.hour + ds.minute / 60).to_numpy(np.float64)
    angle = 2 * np.pi * value / PERIODS[name]
    return np.sin(angle), np.cos(angle)


def _month(times: np.ndarray) -> np.ndarray:
    return times.astype("datetime64[us]").astype("datetime64[M]").astype(np.int64)


def _days(times: np.ndarray, starts: np.ndarray, grid: _Grid) -> np.ndarray:
    """[S] the day of the month, from 0, of each series' grid: its rows' maximum, 30 if all are month ends."""
    if grid.unit not in MONTHS:
        return np.zeros(len(starts), np.int64)
    stamps = times.astype("datetime64[us]").astype("datetime64[D]")
    days = (stamps - stamps.astype("datetime64[M]").astype("datetime64[D]")).astype(np.int64)
    ends = (stamps + 1).astype("datetime64[M]") != stamps.astype("datetime64[M]")
    return np.where(np.logical_and.reduceat(ends, starts), 30, np.maximum.reduceat(days, starts))


def positions(times: np.ndarray, first: np.ndarray, day: np.ndarray, grid: _Grid) -> tuple[np.ndarray, np.ndarray]:
    """Whole steps from `first`, rounded down (months: to the month), and whether each time is on the grid."""
    if grid.unit in MONTHS:
        position = (_month(times) - _month(first)) // grid.step
    elif grid.unit == "bd":
        position = (_workday(times - first % DAY, grid) - _workday(first, grid)) // grid.step
    else:
        position = (times - first) // grid.step
    return position, time_at(first, day, position, grid) == times


def _workday(times: np.ndarray, grid: _Grid) -> np.ndarray:
    """The number of a time's business day, or of the last one before it."""
    after = (times // DAY + 1).astype("datetime64[D]")
    return np.asarray(np.busday_count(np.datetime64("0001-01-01"), after, holidays=grid.holidays).astype(np.int64))


def time_at(first: np.ndarray, day: np.ndarray, position: np.ndarray, grid: _Grid) -> np.ndarray:
    """The time `position` steps after `first`; calendar steps keep the day, or a shorter month's last."""
    if grid.unit == "bd":
        begin = (first // DAY).astype("datetime64[D]")
        found = np.busday_offset(begin, position * grid.step, roll="backward", holidays=grid.holidays)
        return np.asarray(found.astype(np.int64) * DAY + first % DAY)
    if grid.unit not in MONTHS:
        return np.asarray(first + position * grid.step)
    month = (_month(first) + position * grid.step).astype("datetime64[M]")
    begin, end = (m.astype("datetime64[D]").astype(np.int64) for m in (month, month + 1))
    return np.asarray((np.minimum(begin + day, end - 1)) * DAY + first % DAY)


def first_from(start: int, first: np.ndarray, day: np.ndarray, grid: _Grid) -> np.ndarray:
    """The position of the first step at or after `start`."""
    position, _ = positions(np.full_like(first, start), first, day, grid)
    return np.asarray(np.maximum(position + (time_at(first, day, position, grid) < start), 0))


def moment_of(start: str | int | datetime, grid: _Grid) -> int:
    """A time as counted on the grid; without a zone it is in the model's own."""
    try:
        if isinstance(grid.span, int):
            return int(np.int64(int(start)))  # type: ignore[arg-type]
        moment = pd.to_datetime(start if str(start).strip()[:1].isdigit() else None, format="ISO8601")  # not "now"
        named = moment.tzinfo is not None
        if named and not (grid.by_day and grid.zone is None):
            moment = moment.tz_convert("UTC")
        bare = moment.tz_localize(None)
        time = np.array([(bare - pd.Timestamp("1970-01-01")) // pd.Timedelta(1, "us")])
        if grid.by_day:
            return int((_shown(time, grid.zone) if named else time)[0])
        return int((time if named else _instants(time, grid.zone))[0])
    except (ValueError, TypeError, OverflowError, AttributeError):
        what = "whole number" if isinstance(grid.span, int) else "time; write a time such as 2012-03-28"
        raise ValueError(f"start: {start!r} is not a {what}") from None


def _asked(params: Any) -> dict[str, Sequence[float]]:
    """The `levels` and `quantiles` of a request.  Raises ValueError for anything else."""
    numbers = (int, float, np.integer, np.floating)
    if not isinstance(params, dict | None) or {*(params or ())} - {"levels", "quantiles"}:
        raise ValueError('params: an object with "levels", "quantiles" or both, such as {"levels": [80, 95]}')
    for name, given in (params or {}).items():
        if (
            not isinstance(given, list | tuple | np.ndarray)
            or len(given) > MOST_ASKED
            or not all(isinstance(one, numbers) and not isinstance(one, bool) and -1e9 < one < 1e9 for one in given)
        ):
            raise ValueError(f"params: {name} is a list of at most {MOST_ASKED} numbers")
    return {name: [float(one) for one in given] for name, given in (params or {}).items()}


class TooLarge(ValueError):
    """A request with too many bytes or rows."""


def _read_requests(model: Model) -> None:
    """Reads requests instead of MLflow's server, in a process MLflow started to serve; else does nothing.

    MLflow accepts requests of any size, fails on deeply nested JSON, and has no column type for both the
    times and whole numbers of a CSV and those of a data frame; a model cannot say elsewhere what it accepts."""
    server: Any = sys.modules.get("mlflow.pyfunc.scoring_server")
    if not os.environ.get(SERVES) or server is None:
        return
    from starlette.requests import Request

    most_bytes, most_rows = map(_limit, MOST)
    whole = Request.stream

    async def stream(request: Request) -> AsyncIterator[bytes]:
        """The body, kept only up to the size that shows it is too large."""
        size = 0
        async for part in whole(request):
            if size <= most_bytes:
                yield part
            size += len(part)

    def answer(body: bytes, kind: str | None, *_: Any) -> Any:
        status, text = _answer(model, body, kind, most_bytes, most_rows)
        return server.InvocationsResponse(text, status, "application/json")

    Request.stream = stream  # type: ignore
    server.invocations = answer


def _limit(name: str) -> int:
    text = os.environ.get(name, "").strip() or str(MOST[name])
    if not re.fullmatch(r"[1-9]\d{0,17}", text):
        raise ValueError(f"{name}={text[:40]}: write a whole number above 0, such as {MOST[name]}")
    return int(text)


def _answer(model: Model, body: bytes, kind: str | None, most_bytes: int, most_rows: int) -> tuple[int, str]:
    """The status and JSON that answer a request, as MLflow's server writes it; an error: one sentence."""
    try:
        if len(body) > most_bytes:
            raise TooLarge(f"a request has at most {most_bytes:,} bytes (LAGLINE_SERVE_MAX_BYTES); send fewer rows or series")
        records = _records(model.predict(*_frame_of(body, kind, model, most_rows)))
        return 200, json.dumps({"predictions": records}, allow_nan=False, default=lambda time: time.isoformat())
    except (ValueError, OverflowError) as error:
        return 413 if isinstance(error, TooLarge) else 415 if isinstance(error, _OtherKind) else 400, _refusal(str(error))
    except Exception as error:
        logging.getLogger(__name__).exception("a request could not be answered")
        return 400, _refusal(f"the request cannot be used ({type(error).__name__})")


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as objects; null for what JSON cannot represent: a missing value, an infinite number."""
    columns = [[None if cell != cell or cell in INFINITE else cell for cell in one.tolist()] for _, one in frame.items()]
    return [dict(zip(frame.columns, row, strict=True)) for row in zip(*columns, strict=True)]


def _refusal(words: str) -> str:
    words = words if len(words) <= LONGEST_ANSWER else f"{words[:LONGEST_ANSWER]}..."
    return json.dumps({"error_code": "BAD_REQUEST", "message": words})


class _OtherKind(ValueError):
    """An unsupported content type."""


def _frame_of(body: bytes, kind: str | None, model: Model, most_rows: int) -> tuple[pd.DataFrame, Any]:
    """The long frame in a request, with only the columns that the model reads, and a JSON request's params.

    Raises ValueError for what it cannot use."""
    name, _, more = (kind or "").lower().replace(" ", "").partition(";")
    if name not in ("text/csv", "application/json") or more not in ("", "charset=utf-8"):
        raise _OtherKind("send text/csv or application/json, in UTF-8, as the Content-Type")
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"the body is not UTF-8 text (byte {error.start}); send it uncompressed") from None
    own = model.own.names if model.own is not None else []
    wanted = list(dict.fromkeys(("unique_id", "ds", *model.columns, "y", *own)))
    given = _json_object(text) if name == "application/json" else {}
    columns = _json_columns(given, wanted, most_rows) if given else _csv_columns(text, wanted, most_rows, model)
    for name, column in columns.items():
        for row, cell in enumerate(column):
            if isinstance(cell, list | dict):
                raise ValueError(f"column {name!r}, row {row + 1}: a cell is one number or text, not a {type(cell).__name__}")
            if isinstance(cell, int) and cell.bit_length() > 1000:
                raise ValueError(f"column {name!r}, row {row + 1}: the number is too large")
    exact = {*model.ids, *(name for name, kind in model.static.items() if kind != "numeric")}  # whole numbers next to nulls
    series = {name: pd.Series(cells, dtype=object if name in exact else None) for name, cells in columns.items()}
    return pd.DataFrame(series), given.get("params")


def _csv_columns(text: str, wanted: list[str], most_rows: int, model: Model) -> dict[str, Any]:
    """The wanted columns of a comma-separated CSV with a header: text for names and times, else numbers."""
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(lines, [])
        rows = list(islice((row for row in lines if row), most_rows + 1))
    except csv.Error as error:
        raise ValueError(f"line {lines.line_num} of the CSV: {error}") from None
    _refuse_many(len(rows), most_rows)
    for number, row in enumerate(rows, start=1):
        if len(row) != len(header):
            raise ValueError(f"row {number} of the CSV has {len(row)} fields, its header {len(header)}")
    places = _places(header, wanted)
    times = ["ds", *([model.own.time] if model.own is not None else [])]
    kinds = {name: kind for name, kind in model.static.items() if kind != "numeric"} | dict.fromkeys(model.ids, "name")
    kinds |= dict.fromkeys(times, "whole" if isinstance(model.span, int) else "text")
    return {
        name: _csv_cells(pd.Series([row[at].strip() for row in rows], dtype=object), kinds.get(name, "number"))
        for name, at in places.items()
    }


def _csv_cells(texts: Any, kind: str) -> Any:
    """A column's texts as values; what is not a number stays text, which `_numbers` then refuses."""
    words = texts.str.lower() if len(texts) else texts
    if kind not in ("number", "whole"):
        return texts.where(texts != "" if kind == "name" else ~words.isin(NULLS), None)
    if kind == "whole" and all(re.fullmatch(r"[+-]?\d{1,18}", text) for text in texts):
        return texts.astype(np.int64)
    truths = words.map({"true": 1.0, "false": 0.0}).astype(float)
    numbers = pd.to_numeric(texts, errors="coerce").astype(float).fillna(truths)
    known = numbers.notna() | words.isin(NULLS)
    return numbers if known.all() else numbers.astype(object).where(known, texts)


def _json_object(text: str) -> dict[str, Any]:
    """A JSON object in one of the table forms that MLflow's clients send."""
    try:
        given = json.loads(text)
    except RecursionError:
        raise ValueError("the body is JSON that is nested too deep") from None
    except ValueError as error:
        raise ValueError(f"the body is not JSON ({error})") from None
    forms = [form for form in JSON_FORMS if form in given] if isinstance(given, dict) else []
    if len(forms) != 1:
        raise ValueError(f"the body is a JSON object with one of {', '.join(JSON_FORMS)}")
    return dict(given)


def _json_columns(given: dict[str, Any], wanted: list[str], most_rows: int) -> dict[str, Any]:
    """The wanted columns of a JSON object's table."""
    form = next(form for form in JSON_FORMS if form in given)
    table = given[form]
    if form == "dataframe_split":
        return _of_split(table, wanted, most_rows)
    if form in ("inputs", "instances") and isinstance(table, dict):
        columns = {name: table[name] for name in wanted if name in table}
        if not all(isinstance(column, list) for column in columns.values()) or len(set(map(len, columns.values()))) > 1:
            raise ValueError(f"{form}: give every column as a list, all of one length")
        _refuse_many(max(map(len, columns.values()), default=0), most_rows)
        return columns
    if not isinstance(table, list) or not all(isinstance(row, dict) for row in table):
        raise ValueError(f"{form}: give a list of rows, each an object with a value for each column")
    _refuse_many(len(table), most_rows)
    there = {name for row in table for name in row} if table else wanted
    return {name: [row.get(name) for row in table] for name in wanted if name in there}


def _of_split(table: Any, wanted: list[str], most_rows: int) -> dict[str, Any]:
    names, rows = (table.get(key) if isinstance(table, dict) else None for key in ("columns", "data"))
    if not isinstance(names, list) or not isinstance(rows, list):
        raise ValueError('dataframe_split: give an object with "columns", a list of names, and "data", a list of rows')
    _refuse_many(len(rows), most_rows)
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, list) or len(row) != len(names):
            raise ValueError(f"dataframe_split: row {number} is no list of {len(names)} values, one for each column")
    return {name: [row[at] for row in rows] for name, at in _places(names, wanted).items()}


def _places(names: list[Any], wanted: list[str]) -> dict[str, int]:
    """The index of each wanted column in `names`, if present.  Raises ValueError for a duplicate."""
    for name in wanted:
        if names.count(name) > 1:
            raise ValueError(f"column {name!r} stands {names.count(name)} times; name each column once")
    return {name: names.index(name) for name in wanted if name in names}


def _refuse_many(rows: int, most: int) -> None:
    if rows > most:
        what = f"a request has at most {most:,} rows (LAGLINE_SERVE_MAX_ROWS)"
        raise TooLarge(f"{what}; send fewer series, or only the newest rows")
