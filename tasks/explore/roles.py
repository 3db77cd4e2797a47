"""The roles of a table's columns: target, features, values known ahead, static covariates."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from models.data.window import CALENDAR
from params.data import DataParams
from params.errors import UserError
from params.section import RESERVED
from tasks.explore.asked import Asked
from tasks.explore.columns import Column
from tasks.explore.names import AHEAD, CALENDAR_NAMES, CATEGORY, ENTITIES, Likely, likely_target, says

MOST_NULL = 0.2  # params/base.yaml drops features above this
MOST_STATIC, MOST_CATEGORIES = 8, 50
SAID = {
    Likely.CALLED_TARGET: "it is called so",
    Likely.AMOUNT: "its name says an amount",
    Likely.GENERAL: "its name says a value",
    Likely.PLAIN: "the first that is no price, rate, name or weather",
    Likely.RATE: "no column says an amount",
    Likely.WEATHER: "no column says an amount",
    Likely.OTHER: "no other may be",
}


@dataclass(frozen=True)
class Roles:
    """The role of each column.  `why`: for the target; `others`: other possible targets; `left`: unused.

    `future`: known ahead, as asked; `ahead`: features that may be known ahead.
    """

    times: tuple[str, ...]
    ids: tuple[str, ...]
    target: str
    why: str
    others: tuple[str, ...]
    features: tuple[str, ...]
    future: tuple[str, ...]
    ahead: tuple[str, ...]
    static: dict[str, Literal["numeric", "categorical"]]
    left: tuple[str, ...]


def roles_of(
    columns: Sequence[Column], constant: Sequence[str], asked: Asked, series: int, keys: DataParams, source: str
) -> Roles:
    """Assigns target and features.  `constant`: the columns that never change within a series, of `series`.

    Raises UserError if no column can be a target, or a request cannot be met.
    """
    ids, times = keys.ids, keys.times
    rest = [c for c in columns if c.name not in (*times, *ids)]
    _check_static(rest, constant, asked)
    spoken = {asked.target, *asked.future, *asked.static}
    numbers = [c for c in rest if c.number and c.distinct > 1 and c.name not in constant]
    ranked = _targets([c for c in numbers if c.name == asked.target or c.name not in spoken])
    if not ranked:
        raise UserError(
            f"{source}: no column can be the target: it needs one with numbers that change (columns found: "
            f"{', '.join(repr(c.name) for c in columns)[:300]})"
        )
    target = next((c for c in ranked if c.name == asked.target), ranked[0])
    why = "as you asked" if asked.target else SAID[likely_target(target.name)[0]]
    waves = {f"{name}_{wave}" for name in CALENDAR for wave in ("sin", "cos")}
    usable = [c for c in numbers if c is not target and c.name not in {*RESERVED, *waves, "y", *asked.static}]
    features = [c for c in usable if c.name in asked.future or _may_be_feature(c)]
    ahead = [c.name for c in features if c.name not in asked.future and (c.switch or says(c.name, AHEAD))]
    static = _static(rest, columns, constant, ids, asked, series)
    used = {target.name, *(c.name for c in features), *static}
    others = tuple(c.name for c in ranked if c is not target and not c.switch)
    left = tuple(c.name for c in rest if c.name not in used)
    names = tuple(c.name for c in features)
    return Roles(times, ids, target.name, why, others, names, asked.future, tuple(ahead), static, left)


def check_numbers(columns: Sequence[Column], asked: Asked) -> None:
    """Raises UserError for a column that was requested as a number but is not."""
    for option, names in (("--target", (asked.target,)), ("--future", asked.future)):
        for column in columns:
            if column.name in names and not column.number:
                raise UserError(f"{option} {column.name}: this column holds no numbers ({column.kind})")
            if column.name == asked.target and column.distinct < 2:
                raise UserError(f"--target {column.name}: this column has one value in all rows: there is nothing to forecast")


def _check_static(rest: Sequence[Column], constant: Sequence[str], asked: Asked) -> None:
    """Raises UserError for a column that was requested as static but varies."""
    for column in rest:
        if column.name in asked.static and column.name not in constant:
            raise UserError(
                f"--static {column.name}: this column changes within a series: name it in --future, or leave it out"
            )


def _targets(numbers: Sequence[Column]) -> list[Column]:
    """The possible targets, likeliest first."""
    likely = [c for c in numbers if not c.switch and c.name.lower() not in CALENDAR_NAMES and c.null_share <= MOST_NULL]
    return [*sorted(likely, key=lambda c: likely_target(c.name)), *(c for c in numbers if c not in likely)]


def _may_be_feature(column: Column) -> bool:
    return column.null_share <= MOST_NULL and column.name.lower() not in CALENDAR_NAMES


def _static(
    rest: Sequence[Column], columns: Sequence[Column], constant: Sequence[str], ids: Sequence[str], asked: Asked, series: int
) -> dict[str, Literal["numeric", "categorical"]]:
    """Columns that describe a series without renaming it: some numbers, and categories that series share."""
    named = {c.distinct for c in columns if c.name in ids}
    kinds: dict[str, Literal["numeric", "categorical"]] = {}
    for column in rest:
        if column.name not in constant or column.name in RESERVED or column.distinct < 2 or column.name == "y":
            continue
        category = not column.number or (column.whole and not column.switch and says(column.name, CATEGORY))
        again = column.distinct in named and (category or (column.whole and says(column.name, ENTITIES)))
        many = category and column.distinct > min(MOST_CATEGORIES, max(2, series // 2))
        if column.name in asked.static or not (again or many or column.null_share > MOST_NULL):
            kinds[column.name] = "categorical" if category else "numeric"
    wanted = [name for name in kinds if name in asked.static]
    return {name: kinds[name] for name in [*wanted, *(n for n in kinds if n not in wanted)][: max(MOST_STATIC, len(wanted))]}
