"""Drafts the text of a run file from what was found in a table."""

import json
import math
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from params.shown import visible
from params.strict_yaml import parse_yaml
from tasks.explore.nature import Nature
from tasks.explore.pace import Pace
from tasks.explore.rhythm import Grid
from tasks.explore.roles import Roles
from tasks.explore.sizes import SHORT_SEASON, Sizes, split_text
from tasks.explore.times import Times

MOST_FEATURES = 12
MANY = 10  # series
NEARLY_A_YEAR = 300  # days
MAX_GAP_SHARE = 0.01  # params/base.yaml


@dataclass(frozen=True)
class Draft:
    """All that a run file says about a table.  `where`: lines of section data on how to read it."""

    name: str
    path: str
    roles: Roles
    grid: Grid
    seasons: dict[int, float]
    nature: Nature
    sizes: Sizes
    pace: Pace
    where: tuple[str, ...] = ()
    times: Times | None = None

    @property
    def features(self) -> tuple[str, ...]:
        """The columns read besides the target."""
        asked = self.roles.future
        rest = [name for name in self.roles.features if name not in asked]
        return (*asked, *rest[: max(0, MOST_FEATURES - len(asked))])

    def text(self) -> str:
        """The run file as commented YAML, one key per line; params/base.yaml has the rest."""
        lines = [
            f'# Written by `python -m flows init` from "{visible(self.path)}": a first guess to change.',
            "# What is not named here stands in params/base.yaml.",
            f"# A comparison takes {self.pace.words(self.sizes)}.",
            f"name: {scalar(self.name)}",
            *self._data(),
            *self._windows(),
            *self._split(),
            *self._checks(),
            *self._scaling(),
            *self._training(),
            *self._evaluation(),
        ]
        text = "\n".join(lines) + "\n"
        parse_yaml(text, "the run file that init wrote")
        return text

    def _data(self) -> Iterator[str]:
        roles, nature = self.roles, self.nature
        yield "data:"
        yield f"  path: {scalar(self.path)}"
        yield from self.where
        yield f"  id: {listed(roles.ids)}" if roles.ids else "  id: null  # a single series"
        yield f"  time: {listed(roles.times)}" + (f"  # {self.times.took}" if self.times and self.times.took else "")
        if self.times and self.times.form:
            yield f"  time_format: {json.dumps(self.times.form)}"
        if self.times and self.times.zone:
            yield f"  time_zone: {scalar(self.times.zone)}"
        if self.times and self.times.unit:
            yield f"  time_unit: {self.times.unit}"
        yield f"  target: {scalar(roles.target)}  # {roles.why}"
        if roles.others:
            another = f"python -m flows init {visible(shlex.quote(self.path))} --target NAME"
            yield f"  # another target: {another}, such as {some(roles.others)}"
        yield f"  frequency: {self.grid.span}"
        if not nature.negative:
            yield "  lowest: 0  # no value is negative, so no forecast is"
        if nature.whole:
            yield "  integer: true  # all values are whole numbers: forecasts are rounded"

    def _windows(self) -> Iterator[str]:
        roles, sizes = self.roles, self.sizes
        yield "windows:"
        yield f"  horizon: {sizes.horizon}  # steps to forecast"
        yield f"  stride: {sizes.stride}  # rows between two windows to train on"
        if sizes.padding:
            yield f"  start_padding: {sizes.padding}  # missing rows before each series, for those shorter than a window"
        yield "  features:  # each with its own window, in samples"
        yield "    y:"
        yield f"      lookback: {sizes.lookback}" + self._seasons_seen()
        if sizes.rate > 1:
            yield f"      sampling_rate: {sizes.rate}  # rows between two samples"
        for name in self.features:
            yield f"    {scalar(name)}:"
            yield f"      lookback: {sizes.features}"
        unused = [*(name for name in roles.features if name not in self.features), *roles.left]
        if unused:
            yield f"    # not used: {some(unused)}"
        if roles.future:
            yield f"  future: {listed(roles.future, as_list=True)}  # known ahead, as you asked"
        if roles.ahead:
            yield "  # known ahead, up to the last step forecast?  Uncomment the next line, and give `forecast` those rows:"
            yield f"  # future: {listed((*roles.future, *roles.ahead), as_list=True)}"
        yield from self._calendar()
        if roles.static:
            yield "  static:  # constant for a series"
            yield from (f"    {scalar(name)}: {kind}" for name, kind in roles.static.items())

    def _seasons_seen(self) -> str:
        season, reach = self.sizes.season, self.sizes.reach
        return f"  # {reach / season:.3g} seasons of {season} rows" if season > 1 and reach >= season else ""

    def _calendar(self) -> Iterator[str]:
        if isinstance(self.grid.span, int):
            return
        unit = re.sub(r"\d", "", self.grid.span)
        names = {
            "s": "hour, weekday",
            "m": "hour, weekday",
            "h": "hour, weekday",
            "d": "weekday, month",
            "bd": "weekday, month",
        }
        features = names.get(unit, "month")
        if unit in ("s", "m", "h") and self.grid.days >= NEARLY_A_YEAR:
            features = "hour, weekday, yearday"
        if unit in ("d", "bd") and 365 in self.seasons:
            features = "weekday, yearday"
        if unit == "y":
            return
        yield f"  calendar: [{features}]  # known ahead"
        if unit in ("h", "d", "bd"):
            yield f"  # calendar: [{features}, holiday]  # with data.holidays: DE"

    def _split(self) -> Iterator[str]:
        border = split_text(self.sizes.split, self.grid)
        yield "split:  # counted back from the end" + (" of each series, in rows" if isinstance(border, int) else "")
        yield f"  validation: {border}"
        yield f"  test: {border}"

    def _checks(self) -> Iterator[str]:
        """The limits of params/base.yaml that this table would exceed, widened as needed."""
        limits = []
        if self.grid.worst_gap_share > MAX_GAP_SHARE:
            limits.append(f"  max_gap_share: {min(1.0, math.ceil(self.grid.worst_gap_share * 110) / 100)}")
        if self.nature.constant:
            limits.append("  on_constant_target: warn")
        return iter(["validation:  # what this table needs", *limits] if limits else [])

    def _scaling(self) -> Iterator[str]:
        nature, long = self.nature, self.sizes.season > SHORT_SEASON
        if not (nature.log1p or self.pooled or long):
            return
        yield "scaling:"
        if self.pooled:
            yield "  per: global  # one scale for all series: each window is measured against itself"
            yield "  window: revin  # by its mean and deviation"
        elif long:
            yield "  window: mean  # of so short a step the last value says less than the mean of a window"
        if nature.log1p:
            why = "series differ in size" if nature.spread else "large values are far from the rest"
            yield f"  target: log1p  # {why}: ratios count"

    @property
    def pooled(self) -> bool:
        """Whether all series share one scale, with each window measured against itself: what they have in
        common is worth more than the few rows of each."""
        nature, many = self.nature, len(self.grid.lengths) >= MANY
        return nature.log1p if nature.spread else many

    def _training(self) -> Iterator[str]:
        pace = self.pace
        yield f"variants: [{', '.join(pace.variants)}]"
        yield "network:"
        yield "  skip: ridge  # a ridge regression beside each network, which learns what that leaves"
        yield "training:"
        yield f"  max_epochs: {pace.epochs}"
        yield f"  patience_epochs: {pace.patience}"
        yield f"  batch_size: {pace.batch}"
        yield "  weight_decay: 1.0  # draws each network towards the ridge regression alone"
        yield "  average_epochs: 1  # what is kept are weights averaged over the last epoch"
        if self.nature.spread:
            yield "  monitor: loss  # the best epoch by the scaled loss: series differ in size"
        yield "  refit: all  # what is chosen is trained once more on all rows, for what `forecast` gives"

    def _evaluation(self) -> Iterator[str]:
        season = ", ".join(f"{s} ({v:.2f})" for s, v in self.seasons.items()) or "none is clear"
        yield "evaluation:"
        yield f"  stride: {self.sizes.evaluation_stride}"
        yield f"  season: {self.sizes.season}  # autocorrelation by season: {season}"
        if self.nature.spread:
            yield "  choose_by: mase  # series differ in size: each counts alike"


def name_of(stem: str) -> str:
    """A file name as the name of an experiment and a model."""
    text = re.sub(r"[^a-z0-9._-]+", "-", stem.lower()).strip("-._")
    return text[:64] or "series"


def some(names: Sequence[str], most: int = 10) -> str:
    """Names for a comment: none of them ends its line."""
    shown = ", ".join(visible(name) for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")


def listed(names: Sequence[str], as_list: bool = False) -> str:
    """One name as it is, several as a YAML list."""
    return f"[{', '.join(map(scalar, names))}]" if as_list or len(names) != 1 else scalar(names[0])


def scalar(text: str) -> str:
    """A text as YAML that reads back as the same text."""
    plain = re.fullmatch(r"[A-Za-z_][\w./-]*", text, re.ASCII) and text.lower() not in YAML_WORDS
    return text if plain else json.dumps(text)


YAML_WORDS = ("null", "true", "false", "yes", "no", "on", "off", "y", "n", "nan", "inf")
